"""The two checkers of the sandbox: a person at a web page, and one that decides by itself.

Both decide as the first till that may check, through the same code as ``PUT request-workflow``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from sandbox.books_schema import RequestRow
from sandbox.checker_lines import Line, counted, line_of, offset
from sandbox.origins import Origins
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
DECISIONS = {"approve": APPROVED, "reject": REJECTED}


async def decide_automatically(platform: Platform) -> None:
    """Decides whatever is due, forever, as long as the switch ``checker`` says so."""
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
    pages = _Pages(platform, form_token)

    @app.get("/")
    async def home() -> Response:
        return RedirectResponse(PAGE, 302)

    @app.get(PAGE)
    async def page() -> Response:
        return await pages.all_requests()

    @app.get(PAGE + "/{request_id}")
    async def detail(request_id: str) -> Response:
        row = _row(platform, request_id)
        if row is None:
            return pages.notice(404, "There is no such request.", "It may stand in other books.")
        return await pages.one_request(row)

    @app.post(PAGE + "/decide")
    async def decide(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        if not hmac.compare_digest(form.get("token", "").encode(), form_token.encode()):
            return pages.notice(403, "Nothing was decided.", "The sandbox has restarted, or the form is not from here.")
        return _decide(platform, pages, form)


def _decide(platform: Platform, pages: _Pages, form: dict[str, str]) -> Response:
    """Does what a form of this page asks for, or says why not."""
    message = form.get("message", "").strip()[:MESSAGE_LIMIT]
    action = form.get("action", "")
    if action == "approve_all":
        return _approve_all(platform, pages, given=form.get("count", ""), message=message)
    if action not in DECISIONS:
        return pages.notice(400, "Nothing was decided.", "action must be approve, reject or approve_all.")
    row = _row(platform, form.get("request", ""))
    if row is None:
        return pages.notice(404, "Nothing was decided.", "There is no such request.")
    decision = DECISIONS[action]
    if row.decided or not platform.decide(row, decision, message or f"{decision.capitalize()}."):
        return pages.notice(409, "Nothing was decided.", "Somebody else has decided this request already.")
    return RedirectResponse(PAGE, 303)


def _approve_all(platform: Platform, pages: _Pages, *, given: str, message: str) -> Response:
    """Approves everything, if the checker has typed how many requests that is."""
    waiting = platform.books.count_requests("decided = 0")
    if given.strip() != str(waiting):
        are = "request waits" if waiting == 1 else "requests wait"
        typed = f"the number typed is {given.strip()[:20]!r}" if given.strip() else "no number was typed"
        return pages.notice(409, "Nothing was decided.", f"{waiting:,} {are} now, and {typed}: look again.")
    platform.approve_all(message or "Approved.")
    return RedirectResponse(PAGE, 303)


class _Pages:
    """What the checker sees."""

    def __init__(self, platform: Platform, form_token: str) -> None:
        self._platform = platform
        self._origins = Origins(platform.settings.ledger)
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            page=PAGE,
            form_token=form_token,
            organisation=platform.settings.organisation,
            message_limit=MESSAGE_LIMIT,
        )

    async def all_requests(self) -> Response:
        """What waits and what was decided."""
        books = self._platform.books
        waiting = books.requests("decided = 0", order="started, seq", limit=SHOWN_WAITING, bodies=False)
        decided = books.requests("decided = 1", order="ended DESC, seq DESC", limit=SHOWN_DECIDED, bodies=False)
        lines, ledger_is_silent = await self._lines([*waiting, *decided])
        waiting_count = books.count_requests("decided = 0")
        return self._page(
            "checker.html",
            refresh_s=REFRESH_S,
            ledger_is_silent=ledger_is_silent,
            automatic=self._platform.settings.checker is CheckerMode.AUTOMATIC,
            checker=self._platform.access.checker().user_name,
            waiting=lines[: len(waiting)],
            waiting_count=waiting_count,
            waiting_shown=counted(waiting_count, "request"),
            waiting_customers=counted(books.count_customers("decided = 0"), "customer"),
            decided=lines[len(waiting) :],
            decided_count=books.count_requests("decided = 1"),
        )

    async def one_request(self, row: RequestRow) -> Response:
        """One request with its customers."""
        customers = record(row).customers
        (line,), ledger_is_silent = await self._lines([row])
        left_out = max(0, len(customers) - SHOWN_WAITING)
        return self._page(
            "request.html",
            line=line,
            ledger_is_silent=ledger_is_silent,
            customers=customers[:SHOWN_WAITING],
            left_out=left_out,
        )

    def notice(self, status: int, title: str, text: str) -> Response:
        """A page that says what is wrong and leads back."""
        return self._page("notice.html", status=status, title=title, text=text)

    async def _lines(self, rows: list[RequestRow]) -> tuple[list[Line], bool]:
        """The rows in words, and whether the ledger, asked who made them, does not answer."""
        keys = [row.request_key for row in rows if row.request_key]
        origins = await asyncio.to_thread(self._origins.of, keys)
        lines = [
            line_of(
                row,
                badge=self._platform.catalogue.get(row.badge_id or ""),
                origin=(origins or {}).get(row.request_key or ""),
                zone=self._platform.settings.zone,
                now=self._platform.clock(),
            )
            for row in rows
        ]
        return lines, origins is None

    def _page(self, template: str, *, status: int = 200, **shown: object) -> Response:
        local = datetime.fromtimestamp(self._platform.clock(), self._platform.settings.zone)
        times = f"times in {self._platform.settings.timezone} ({offset(local)})"
        return HTMLResponse(
            self._templates.get_template(template).render(times=times, **shown),
            status,
            headers={"cache-control": "no-store", "x-frame-options": "DENY"},
        )


def _row(platform: Platform, request_id: str) -> RequestRow | None:
    rows = platform.books.requests("platform_request_id = ?", (request_id,), bodies=True)
    return rows[0] if rows else None
