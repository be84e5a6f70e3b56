"""The engine, the sandbox's platform and the ledger in one process, on one clock that the test moves.

A process of Airflow is one call of `OneProcess.run`. It can die at any ledger commit and at any call: from that
moment on it changes nothing any more. One call of it can meet a `Mishap`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import event

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import ConnectFailed, Reply, TransportFailed
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.errors import CapillaryError
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerBroken
from sandbox.documents import parse
from sandbox.gate import BADGES, REQUESTS, route_of
from sandbox.platform import Platform
from sandbox.replies import PlatformError, error_body
from sandbox.replies import Reply as SandboxReply
from sandbox.settings import SandboxSettings

START: Final = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LAG_S: Final = 900
POST_TIMEOUT_S: Final = 60
_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})


class Died(BaseException):
    """The process was killed. No error of the product, and none that it may catch."""


class Mishap(StrEnum):
    """What happens to one call."""

    NOTHING = "nothing"
    NO_CONNECTION = "nothing left the machine"
    LOST = "lost before it arrived"
    LATE = "arrives within the timeout, after we gave up"
    REPLY_LOST = "carried out, and the reply lost"
    HTML = "carried out, and a page of HTML in place of the reply"
    ERROR_500 = "carried out, and HTTP 500"
    LIMITED = "HTTP 429"
    REFUSED = "code 2008"
    UNKNOWN_KEY = "code 809"


@dataclass
class OneProcess:
    """One small world.

    Attributes:
        dies_after: this many events (calls and commits, before and after) until the process dies; None: it lives.
        mishap: what happens to the call after `spared` others.
        submitting: the connection's switch.
    """

    folder: Path
    now: datetime = START
    dies_after: int | None = None
    dead: bool = False
    mishap: Mishap = Mishap.NOTHING
    spared: int = 0
    submitting: bool = True
    late: list[tuple[datetime, Callable[[], object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.platform = Platform(SandboxSettings(timezone="UTC", list_lag_s=LAG_S), clock=self._seconds)
        self.ledger = MortalLedger(self, f"sqlite:///{self.folder / 'ledger.db'}")
        self.settings = PlatformSettings(
            base_url="https://platform.example",
            organisation_id="100458",
            login="sandbox-maker",
            password="sandbox-maker",
            calls_per_minute=60_000,
            visibility_lag_s=LAG_S,
            post_timeout_s=POST_TIMEOUT_S,
        )

    def close(self) -> None:
        self.ledger.close()
        self.platform.close()

    def pass_time(self, by: timedelta) -> None:
        """Move the clock; what is under way arrives on the way."""
        until = self.now + by
        for due, arrive in sorted(self.late, key=lambda each: each[0]):
            if due <= until:
                self.now = max(self.now, due)
                arrive()
        self.late = [each for each in self.late if each[0] > until]
        self.now = until

    def event(self) -> None:
        """Something is about to happen, or has just happened: the process may die here."""
        if self.dead:
            raise Died
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.dead = True
                raise Died

    def run(self, work: Callable[[Sender], Coroutine[Any, Any, object]]) -> str:
        """Run one task of Airflow; return how it ended. Only what the product calls its own error may end it."""

        async def process() -> None:
            async with self._client() as client:
                runtime = Runtime(sleep=self._sleep, monotonic=self._monotonic, random=Random(1))  # noqa: S311 - jitter
                await work(Sender(self.ledger, client, runtime, self._may_submit))

        try:
            asyncio.run(process())
        except Died:
            return "died"
        except LedgerBroken:
            raise
        except CapillaryError as error:
            return type(error).__name__
        finally:
            self.dead, self.dies_after, self.mishap, self.spared = False, None, Mishap.NOTHING, 0
        return "done"

    def _client(self) -> Client:
        pace = LedgerPace(
            self.ledger,
            self.settings.account,
            calls_per_minute=60_000,
            runtime=Runtime(sleep=self._sleep, monotonic=self._monotonic),
        )
        return Client(
            self.settings,
            transport=InProcess(self),
            pace=pace,
            sleep=self._sleep,
            monotonic=self._monotonic,
            random=Random(1),  # noqa: S311 - jitter
            now=lambda: self.now,
        )

    async def _sleep(self, seconds: float) -> None:
        self.pass_time(timedelta(seconds=seconds))

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _monotonic(self) -> float:
        return (self.now - START).total_seconds()

    async def _may_submit(self) -> bool:
        return self.submitting


@dataclass(frozen=True, slots=True)
class InProcess:
    """A `capillary.api.transport.Transport` straight into the sandbox's platform."""

    one_process: OneProcess

    async def close(self) -> None:
        """Nothing is open."""

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        json_body: object | None = None,
        params: Mapping[str, str] = _NO_PARAMS,
    ) -> Reply:
        world = self.one_process
        world.event()
        world.spared -= 1
        mishap = world.mishap if world.spared == -1 else Mishap.NOTHING

        def serve() -> Reply:
            return self._serve(method, urlsplit(url).path, headers, json_body, params)

        reply = self._met(mishap, serve, timeout_s)
        world.event()
        return reply

    def _met(self, mishap: Mishap, serve: Callable[[], Reply], timeout_s: float) -> Reply:
        match mishap:
            case Mishap.NO_CONNECTION:
                raise ConnectFailed("no connection")
            case Mishap.LOST:
                raise TransportFailed("no whole answer")
            case Mishap.LATE:
                self.one_process.late.append((self.one_process.now + timedelta(seconds=timeout_s), serve))
                raise TransportFailed("no whole answer")
            case Mishap.LIMITED | Mishap.REFUSED | Mishap.UNKNOWN_KEY:
                status, code = {
                    Mishap.LIMITED: (429, 429),
                    Mishap.REFUSED: (400, 2008),
                    Mishap.UNKNOWN_KEY: (400, 809),
                }[mishap]
                return Reply(status, {}, error_body(code, "no"))
        reply = serve()
        match mishap:
            case Mishap.REPLY_LOST:
                raise TransportFailed("no whole answer")
            case Mishap.HTML:
                return Reply(200, {}, b"<html></html>")
            case Mishap.ERROR_500:
                return Reply(500, {}, b"<html></html>")
        return reply

    def _serve(
        self, method: str, path: str, headers: Mapping[str, str], json_body: object, params: Mapping[str, str]
    ) -> Reply:
        platform = self.one_process.platform
        platform.count(route_of(method, path))
        try:
            actor = platform.access.workflow_caller({name.lower(): value for name, value in headers.items()})
            if method == "POST":
                document = parse(json.dumps(json_body).encode(), code=2008)
                answer = platform.workflow.create(actor, path.rpartition("/")[2], document)
            elif path == REQUESTS:
                answer = platform.workflow.read_list(params)
            elif path.startswith(REQUESTS):
                answer = platform.workflow.read(path.rpartition("/")[2])
            else:
                answer = SandboxReply(404, error_body(404, f"{BADGES} is not part of this world"))
        except PlatformError as error:
            answer = error.reply()
        return Reply(answer.status, dict(answer.headers), answer.body)


class MortalLedger(Ledger):
    """A ledger whose process may die before and after each commit."""

    def __init__(self, one_process: OneProcess, url: str) -> None:
        super().__init__(url, clock=lambda: one_process.now)
        self._one_process = one_process
        event.listen(self.engine, "connect", _hurry)
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self._one_process.event()
        with super().write() as tx:
            yield tx
            self._one_process.event()
        self._one_process.event()


def _hurry(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
    # No power is lost here; the ledger has made sure of the disk when it was opened.
    dbapi_connection.execute("PRAGMA synchronous=OFF")
