"""Routes that the platform does not have: faults, switches, badges and the books, all under ``/_sandbox``.

They take and give JSON with the names of the Python fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import TypeVar

from fastapi import FastAPI, Request, Response

from sandbox.badges import Badge, BadgeError
from sandbox.documents import parse, text
from sandbox.faults import Fault, FaultError
from sandbox.platform import Platform
from sandbox.replies import PlatformError, Reply, ok
from sandbox.settings import SWITCHES, SandboxSettings, SettingsError

Made = TypeVar("Made")


def add_admin_routes(app: FastAPI, platform: Platform) -> None:
    """The routes, for programs; they need no credential."""
    _add_fault_routes(app, platform)
    _add_decision_routes(app, platform)
    _add_book_routes(app, platform)

    @app.get("/_sandbox/switches")
    async def switches() -> Response:
        return _sent(ok(_switches(platform.settings)))

    @app.patch("/_sandbox/switches")
    async def switch(request: Request) -> Response:
        changes = parse(await request.body(), code=400)
        if isinstance(unknown := changes.get("unknown_customers"), list):
            changes["unknown_customers"] = frozenset(unknown)
        return _sent(ok(_switches(_made(lambda: platform.switch(**changes)))))

    @app.post("/_sandbox/badges")
    async def add_badge(request: Request) -> Response:
        document = parse(await request.body(), code=400)
        document.pop("number", None)
        badge = _made(lambda: Badge(**document))  # type: ignore[arg-type]  # Badge checks them
        return _sent(ok(asdict(platform.catalogue.save(badge))))

    @app.post("/_sandbox/ui-token")
    async def ui_token(request: Request) -> Response:
        username = text(parse(await request.body(), code=400), "till") or ""
        return _sent(ok({"token": platform.access.ui_token(username)}))


def _add_fault_routes(app: FastAPI, platform: Platform) -> None:
    @app.get("/_sandbox/faults")
    async def faults() -> Response:
        return _sent(ok([asdict(fault) for fault in platform.faults.waiting()]))

    @app.post("/_sandbox/faults")
    async def add_fault(request: Request) -> Response:
        document = parse(await request.body(), code=400)
        fault = _made(lambda: Fault(**document))  # type: ignore[arg-type]  # Fault checks them
        platform.faults.add(fault)
        return _sent(ok(asdict(fault)))

    @app.delete("/_sandbox/faults")
    async def clear_faults() -> Response:
        platform.faults.clear()
        return _sent(ok([]))


def _add_decision_routes(app: FastAPI, platform: Platform) -> None:
    @app.post("/_sandbox/approve-all")
    async def approve_all() -> Response:
        return _sent(ok({"decided": platform.approve_all()}))

    @app.post("/_sandbox/approve")
    async def approve(request: Request) -> Response:
        key, message = _key_and_message(parse(await request.body(), code=400))
        return _sent(ok({"decided": platform.approve(key, message or "Approved.")}))

    @app.post("/_sandbox/reject")
    async def reject(request: Request) -> Response:
        key, message = _key_and_message(parse(await request.body(), code=400))
        return _sent(ok({"decided": platform.reject(key, message or "Rejected.")}))


def _add_book_routes(app: FastAPI, platform: Platform) -> None:
    @app.get("/_sandbox/calls")
    async def calls() -> Response:
        return _sent(ok({str(route): count for route, count in platform.calls.items()}))

    @app.get("/_sandbox/requests")
    async def requests() -> Response:
        return _sent(ok([asdict(record) for record in platform.requests()]))

    @app.get("/_sandbox/enrolments/{badge_id}")
    async def enrolments(badge_id: str) -> Response:
        try:
            found = platform.enrolments(badge_id)
        except LookupError as error:
            raise PlatformError(404, str(error)) from error
        return _sent(ok({str(customer): [asdict(each) for each in issuals] for customer, issuals in found.items()}))


def _made(make: Callable[[], Made]) -> Made:
    """What a constructor returns; error 400 with its message where the caller's fields do not fit."""
    try:
        return make()
    except (TypeError, SettingsError, FaultError, BadgeError, ValueError) as error:
        raise PlatformError(400, str(error)) from error


def _key_and_message(document: dict[str, object]) -> tuple[str, str]:
    key = text(document, "request_key")
    if key is None:
        raise PlatformError(400, "request_key is missing.")
    return key, text(document, "message") or ""


def _switches(settings: SandboxSettings) -> dict[str, object]:
    shown = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name in SWITCHES}
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in shown.items()}


def _sent(reply: Reply) -> Response:
    return Response(reply.body, reply.status, media_type="application/json")
