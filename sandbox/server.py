"""Running the sandbox: in a thread for tests, or as a process of its own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.app import sandbox_app
from sandbox.faults import Fault, FaultKind, Route, When
from sandbox.gate import CONNECTION
from sandbox.platform import Platform
from sandbox.settings import SandboxSettings, SettingsError

START_TIMEOUT_S = 10.0
STOP_GRACE_S = 1
BACKLOG = 512


class SandboxProtocol(HttpToolsProtocol):
    """HTTP with the connection in the scope, so that a fault can close it."""

    def on_message_begin(self) -> None:
        """Adds the connection to the scope of each call."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: {"transport": self.transport}}


class PortTakenError(OSError):
    """Another process listens there already. The message names the port and the remedy."""


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A sandbox that answers at ``url``; ``platform`` holds its books. Safe to use from any thread."""

    url: str
    platform: Platform

    def approve_all(self, message: str = "Approved.") -> int:
        """Approves every request once on the node it is parked on; returns how many there were."""
        return self.platform.approve_all(message)

    def approve(self, request_key: str, message: str = "Approved.") -> int:
        """Approves what waits under a request key; returns how many requests that were."""
        return self.platform.approve(request_key, message)

    def reject(self, request_key: str, message: str = "Rejected.") -> int:
        """Rejects what waits under a request key; returns how many requests that were."""
        return self.platform.reject(request_key, message)

    def switch(self, **changes: object) -> None:
        """Changes switches, named as in ``SandboxSettings``."""
        self.platform.switch(**changes)

    def fault(
        self,
        route: Route | str,
        kind: FaultKind | str,
        *,
        when: When | str = When.AFTER,
        seconds: float = 0.0,
        status: int = 500,
        code: int | None = None,
        retry_after: str | None = None,
        times: int = 1,
    ) -> None:
        """Queues a fault; see ``Fault`` for the fields."""
        self.platform.faults.add(
            Fault(
                route=Route(route),
                kind=FaultKind(kind),
                when=When(when),
                seconds=seconds,
                status=status,
                code=code,
                retry_after=retry_after,
                times=times,
            )
        )


@contextmanager
def running_sandbox(
    settings: SandboxSettings | None = None,
    *,
    port: int = 0,
    clock: Callable[[], float] = time.time,
) -> Iterator[RunningSandbox]:
    """A sandbox on 127.0.0.1, served from a thread until the block ends.

    Args:
        settings: how it behaves; by default as ``SandboxSettings()``.
        port: 0 for a free one.
        clock: gives seconds since 1970 UTC.
    """
    listener = listen("127.0.0.1", port)
    platform = Platform(settings or SandboxSettings(), clock=clock)
    server = uvicorn.Server(_config(platform, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
    thread.start()
    try:
        started_by = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > started_by:
                raise RuntimeError("The sandbox did not start; run it by hand to see why: python -m sandbox")
            time.sleep(0.005)
        yield RunningSandbox(url_of(listener), platform)
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()
        platform.close()


def serve(settings: SandboxSettings, *, host: str, port: int, log_level: str) -> None:
    """Serves until SIGINT or SIGTERM, then returns. The first line on stdout says where it listens."""
    listener = listen(host, port)
    try:
        platform = Platform(settings)
    except SettingsError:
        listener.close()
        raise
    server = _AnnouncingServer(_config(platform, log_level=log_level), url_of(listener))
    # uvicorn raises the signal again once it has shut down; these keep it from ending the process by force.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    try:
        server.run([listener])
    finally:
        listener.close()
        platform.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; 0 for a free port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        said = getattr(error, "strerror", None) or error
        raise PortTakenError(
            f"Port {port} of {host} cannot be used ({said}); give another one with --port, or 0."
        ) from error
    listener.listen(BACKLOG)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL at which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"sandbox ready at {self._url}\n")
            sys.stdout.flush()


def _config(platform: Platform, *, log_level: str) -> uvicorn.Config:
    return uvicorn.Config(
        sandbox_app(platform),
        http=SandboxProtocol,
        ws="none",
        lifespan="on",
        log_level=log_level,
        access_log=log_level in ("debug", "trace"),
        log_config=None,
        timeout_graceful_shutdown=STOP_GRACE_S,
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,  # the platform's own clock says it
    )
