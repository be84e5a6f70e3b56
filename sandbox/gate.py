"""The way to the platform: counts calls, holds back those over the limit, and plays faults.

An ASGI application around the application, since a fault may have to close the connection itself. The server
hands the connection over in the scope (``server.SandboxProtocol``); without one, a dropped connection is a
``ConnectionAbortedError`` in the caller's own process.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.access import OAUTH_HEADER
from sandbox.cross_site import is_cross_site
from sandbox.faults import Fault, FaultKind, Route, When
from sandbox.platform import Platform
from sandbox.replies import CODES, Reply, error_body

CONNECTION = "sandbox.connection"
WINDOW_S = 60.0
WORKFLOW = "/api_gateway/v2/request-workflow/"
REQUESTS = WORKFLOW + "requests"
BADGES = "/api_gateway/v1/badges"
HTML = (("content-type", "text/html; charset=utf-8"),)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST in place of FIN
FLUSH_S = 0.05


@dataclass(slots=True)
class _Captured:
    """A reply that the application has made and nobody has seen yet."""

    status: int = 500
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    async def send(self, message: Message) -> None:
        """Takes one part of the reply."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple(message["headers"])
        else:
            self.body += message.get("body", b"")


class CallLimit:
    """At most so many calls of one credential in any 60 s; a refused call does not count (an assumption)."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._calls: dict[str, deque[float]] = {}

    def wait_s(self, credential: str) -> float:
        """Seconds until the credential may call again; 0 lets this call pass, and counts it."""
        most = self._platform.settings.calls_per_minute
        if not most:
            return 0.0
        now = self._platform.clock()
        calls = self._calls.setdefault(credential, deque())
        while calls and calls[0] <= now - WINDOW_S:
            calls.popleft()
        if len(calls) < most:
            calls.append(now)
            return 0.0
        return calls[-most] + WINDOW_S - now


class Gate:
    """The ASGI application that a server serves."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform
        self._limit = CallLimit(platform)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a call through, or answers it here."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/_sandbox") and is_cross_site(scope):
            await _reply(send, Reply(403, _page("Use the sandbox's own page"), HTML))
            return
        if scope["type"] != "http" or path == "/" or path.startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        send = self._dated(send)
        route = route_of(scope["method"], path)
        self._platform.count(route)
        if self._platform.settings.latency_s:
            await asyncio.sleep(self._platform.settings.latency_s)
        wait_s = self._limit.wait_s(_credential(scope))
        fault = None if wait_s else self._platform.faults.take(route)
        if wait_s:
            await _reply(send, self._too_many(wait_s))
        elif fault is None:
            await self._app(scope, receive, send)
        else:
            await self._play(fault, scope, receive, send)

    def _dated(self, send: Send) -> Send:
        """Gives every reply the platform's own ``Date``, which a test may have turned."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(self._platform.clock(), usegmt=True).encode())
                message = {**message, "headers": [*message["headers"], date]}
            await send(message)

        return dated

    def _too_many(self, wait_s: float) -> Reply:
        retry_after = (("retry-after", str(math.ceil(wait_s))),) if self._platform.settings.retry_after else ()
        return Reply(429, error_body(429, CODES[429].message), retry_after)

    async def _play(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind is FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
            return
        made = _Captured()
        if fault.when is When.AFTER:
            await self._app(scope, receive, made.send)
        elif fault.kind is FaultKind.DROP:
            await _to_the_end(receive)
        if fault.kind is FaultKind.HANG:
            await _until_gone(receive, fault.seconds)
            await _close(scope, receive, reset=False)
        elif fault.kind is FaultKind.DROP:
            await _close(scope, receive, reset=False)
        elif fault.kind is FaultKind.RESET:
            await send({"type": "http.response.start", "status": made.status, "headers": list(made.headers)})
            half = made.body[: len(made.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await asyncio.sleep(FLUSH_S)
            await _close(scope, receive, reset=True)
        elif fault.kind is FaultKind.TRUNCATED:
            await _reply(send, Reply(made.status, made.body[: len(made.body) // 2]))
        elif fault.kind is FaultKind.HTML:
            await _reply(send, Reply(200, _page("Please sign in"), HTML))
        else:
            await _reply(send, _failure(fault))


def route_of(method: str, path: str) -> Route:
    """The name of the call that a method and a path make."""
    if path.startswith("/v3/oauth/"):
        return Route.TOKEN
    if path.startswith(BADGES):
        return Route.BADGES
    if path == REQUESTS:
        return Route.LIST
    if path.startswith(REQUESTS + "/"):
        return Route.GET
    if path.startswith(WORKFLOW):
        return {"POST": Route.SUBMIT, "PUT": Route.DECIDE}.get(method, Route.OTHER)
    return Route.OTHER


def _credential(scope: Scope) -> str:
    """What calls are counted by: a digest, so that no credential is kept."""
    headers = Headers(scope=scope)
    sent = headers.get(OAUTH_HEADER) or headers.get("authorization") or ""
    return hashlib.sha256(sent.encode()).hexdigest()


def _failure(fault: Fault) -> Reply:
    retry_after = (("retry-after", fault.retry_after),) if fault.retry_after is not None else ()
    if fault.code is None:
        return Reply(fault.status, _page(_phrase(fault.status)), HTML + retry_after)
    message = CODES[fault.code].message if fault.code in CODES else "Error."
    return Reply(fault.status, error_body(fault.code, message), retry_after)


def _phrase(status: int) -> str:
    """A status as a proxy's page words it; some that proxies send are in no standard."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Error"


def _page(title: str) -> bytes:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()


async def _reply(send: Send, reply: Reply) -> None:
    headers = dict(reply.headers)
    headers.setdefault("content-type", "application/json")
    headers["content-length"] = str(len(reply.body))
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": reply.body})


async def _to_the_end(receive: Receive) -> None:
    """Reads a call: closed over what nobody has read, a connection is reset."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _until_gone(receive: Receive, seconds: float) -> None:
    """Waits, but no longer than the caller does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _close(scope: Scope, receive: Receive, *, reset: bool) -> None:
    connection = (scope.get("extensions") or {}).get(CONNECTION)
    if connection is None:
        raise ConnectionAbortedError("The sandbox dropped the connection, as a fault asked for.")
    transport = connection["transport"]
    if reset:
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
