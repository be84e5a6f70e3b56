"""The two checkers of the sandbox: a person at a web page, and one that decides by itself.

Both decide as the first till that may check, through the same code as ``PUT request-workflow``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from sandbox.books_schema import RequestRow
from sandbox.payloads import APPROVED, REJECTED
from sandbox.platform import Platform, record
from sandbox.replies import PlatformError
from sandbox.settings import CheckerMode

log = logging.getLogger(__name__)

PAGE = "/_sandbox/checker"
SHOWN_WAITING = 100
SHOWN_DECIDED = 50
REFRESH_S = 5
TICK_S = 0.1
DECIDED_PER_TICK = 20
MESSAGE_LIMIT = 500


@dataclass(frozen=True, slots=True)
class _Line:
    """One request as the page shows it."""

    platform_request_id: str
    key: str
    badge: str
    customers: str
    age: str
    state: str
    enrolled: int | None
    refused: int | None
    message: str
    decided_at: str
    maker: str


async def decide_automatically(platform: Platform) -> None:
    """Decides whatever is due, for ever, as long as the switch ``checker`` says so."""
    while True:
        found = 0
        settings = platform.settings
        if settings.checker is CheckerMode.AUTOMATIC:
            due = platform.workflow.due(platform.clock() - settings.delay_s, limit=DECIDED_PER_TICK)
            found = len(due)
            for row in due:
                rejected = settings.reject_every and row.seq % settings.reject_every == 0
                decision = REJECTED if rejected else APPROVED
                try:
                    platform.decide(row, decision, f"{decision.capitalize()} by the automatic checker.")
                except PlatformError:
                    log.exception("The automatic checker may not decide; it is switched to manual.")
                    platform.switch(checker=CheckerMode.MANUAL)
                    break
                await asyncio.sleep(0)
        await asyncio.sleep(0 if found == DECIDED_PER_TICK else TICK_S)


def add_checker_routes(app: FastAPI, platform: Platform) -> None:
    """The page, and the forms on it. A form carries a token that only the page knows."""
    form_token = secrets.token_urlsafe(24)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    @app.get("/")
    async def home() -> Response:
        return RedirectResponse(PAGE, 302)

    @app.get(PAGE)
    async def page() -> Response:
        now = platform.clock()
        books = platform.books
        waiting = books.requests("decided = 0", order="started, seq", limit=SHOWN_WAITING, bodies=False)
        decided = books.requests("decided = 1", order="ended DESC, seq DESC", limit=SHOWN_DECIDED, bodies=False)
        return HTMLResponse(
            templates.get_template("checker.html").render(
                page=PAGE,
                form_token=form_token,
                refresh_s=REFRESH_S,
                organisation=platform.settings.organisation,
                automatic=platform.settings.checker is CheckerMode.AUTOMATIC,
                checker=platform.access.checker().user_name,
                waiting=[_line(platform, row, now) for row in waiting],
                waiting_count=books.count_requests("decided = 0"),
                decided=[_line(platform, row, now) for row in decided],
                decided_count=books.count_requests("decided = 1"),
            ),
            headers={"cache-control": "no-store", "x-frame-options": "DENY"},
        )

    @app.get(PAGE + "/{request_id}")
    async def detail(request_id: str) -> Response:
        row = _row(platform, request_id)
        found = record(row)
        return HTMLResponse(
            templates.get_template("request.html").render(
                page=PAGE,
                form_token=form_token,
                organisation=platform.settings.organisation,
                line=_line(platform, row, platform.clock()),
                decided=row.decided,
                customers=found.customers[:SHOWN_WAITING],
                message_limit=MESSAGE_LIMIT,
            ),
            headers={"cache-control": "no-store", "x-frame-options": "DENY"},
        )

    @app.post(PAGE + "/decide")
    async def decide(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        if not hmac.compare_digest(form.get("token", "").encode(), form_token.encode()):
            raise HTTPException(403, "The form is not from this page, or the sandbox has restarted: reload the page.")
        message = form.get("message", "").strip()[:MESSAGE_LIMIT]
        action = form.get("action", "")
        if action == "approve_all":
            platform.approve_all(message or "Approved.")
        elif action == "approve":
            platform.decide(_row(platform, form.get("request", "")), APPROVED, message or "Approved.")
        elif action == "reject":
            platform.decide(_row(platform, form.get("request", "")), REJECTED, message or "Rejected.")
        else:
            raise HTTPException(400, "action must be approve, reject or approve_all.")
        return RedirectResponse(PAGE, 303)


def _row(platform: Platform, request_id: str) -> RequestRow:
    rows = platform.books.requests("platform_request_id = ?", (request_id,), bodies=True)
    if not rows:
        raise HTTPException(404, "There is no such request.")
    return rows[0]


def _line(platform: Platform, row: RequestRow, now: float) -> _Line:
    badge = platform.catalogue.get(row.badge_id or "")
    return _Line(
        platform_request_id=row.platform_request_id,
        key=row.request_key or "no key",
        badge=badge.name if badge else f"unknown badge {row.badge_id or ''}",
        customers=f"{row.customers:,}",
        age=age(now - row.started),
        state=row.state,
        enrolled=row.enrolled,
        refused=row.refused,
        message=row.message or "",
        decided_at=_clock_time(platform, row.ended),
        maker=row.user_name,
    )


def _clock_time(platform: Platform, at: float | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at, platform.settings.zone).strftime("%d %b %H:%M:%S")


def age(seconds: float) -> str:
    """A time span in its largest unit: 12 s, 3 min, 5 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
