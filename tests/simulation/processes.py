"""Processes that can be killed, frozen or cancelled, and the ledger that they share.

A killed process runs its cleanup code like any coroutine, but nothing it does then has an effect: the ledger, the
network and the clock refuse it with `Killed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import PlanId

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from tests.simulation.shape import Shape
    from tests.simulation.virtual_time import VirtualLoop


class Killed(BaseException):
    """The process is no more."""


@dataclass(eq=False)
class Process:
    """One process of a worker or triggerer.

    Attributes:
        name: what it does, and its number.
        plan: on whose behalf it works, if any.
        alive: not killed.
        frozen_until: it does not move before.
        auto_approved_seen: it was told that the platform executed a request of its run without a human.
        begun: seconds since the beginning.
        clears: how often its run had been cleared when it began.
    """

    name: str
    plan: PlanId | None = None
    alive: bool = True
    frozen_until: float = 0.0
    auto_approved_seen: bool = False
    begun: float = 0.0
    clears: int = 0
    task: asyncio.Task[Any] | None = field(default=None, repr=False)

    @property
    def badge_run_id(self) -> int | None:
        """The number of its plan."""
        return None if self.plan is None else self.plan.badge_run_id


#: Whose code is running; tasks that a process starts inherit it.
CURRENT: Final[ContextVar[Process | None]] = ContextVar("simulated_process", default=None)


class Told(Protocol):
    """Where a kill is written down."""

    def note(self, line: str) -> None:
        """Take one line of the world's story."""
        ...


class Mishaps:
    """Draws crashes, freezes and outages of the ledger; ends with the world's disturbed part."""

    def __init__(self, shape: Shape, rng: Random, loop: VirtualLoop, told: Told) -> None:
        self._shape = shape
        self._rng = rng
        self._loop = loop
        self._told = told
        self.on = True

    def crash_point(self, where: str) -> None:
        """Maybe kill the running process here; refuse it when it is dead."""
        process = CURRENT.get()
        if process is None:
            return
        if not process.alive:
            raise Killed(process.name)
        if self.on and self._shape.crash and self._rng.random() < self._shape.crash:
            self.kill(process, where)
            raise Killed(process.name)

    def kill(self, process: Process, where: str) -> None:
        """End a process without any cleanup that could have an effect."""
        self._told.note(f"{process.name} killed {where}")
        process.alive = False
        if process.task is not None and not process.task.done():
            self._loop.call_soon(process.task.cancel)

    def before_commit(self) -> None:
        """Maybe die, fail, or take long before a commit of the ledger."""
        self.crash_point("before a commit")
        process = CURRENT.get()
        if process is None or not self.on:
            return
        if self._shape.outage and self._rng.random() < self._shape.outage:
            self._told.note(f"{process.name} meets an outage of the ledger")
            raise OperationalError("COMMIT", {}, Exception("the ledger is away"))
        if self._shape.slow_commit and self._rng.random() < self._shape.slow_commit:
            self._loop.pass_time(self._rng.uniform(0.5, 9.0))

    async def thaw(self, odds: float = 1.0) -> None:
        """Maybe freeze the running process, `odds` times as likely; come back when it moves again."""
        process = CURRENT.get()
        if process is None:
            return
        if self.on and self._shape.freeze and self._rng.random() < odds * self._shape.freeze:
            seconds = self._rng.choice((10.0, 300.0, 3600.0, 3 * 3600.0)) * self._rng.uniform(0.5, 1.5)
            self._told.note(f"{process.name} freezes for {seconds:.0f} s")
            process.frozen_until = max(process.frozen_until, self._loop.time() + seconds)
        while (left := process.frozen_until - self._loop.time()) > 0:  # it may freeze again meanwhile
            await self._until(left)
        if not process.alive:
            raise Killed(process.name)

    async def _until(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedLedger(Ledger):
    """The real ledger on a real SQLite file, with crash points around its transactions.

    The file is the test's alone: once the ledger has asserted its durable settings, waiting for the disk and
    locking between processes are switched off. It serves one world after the other: a ledger for each would compile
    every statement anew.

    Attributes:
        commits: how many were asked for; between two looks at it, the file is the same where it is the same.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, new=True)
        event.listen(self.engine, "connect", _hurry)
        self.commits = 0
        event.listen(self.engine, "commit", self._before_commit)
        self.engine.dispose()

    def serve(self, *, clock: Callable[[], datetime], mishaps: Mishaps) -> None:
        """Be the ledger of a world, whose file was put in place."""
        self.engine.dispose()
        self._clock = clock
        self._mishaps = mishaps

    def _before_commit(self, _conn: object) -> None:
        self.commits += 1
        self._mishaps.before_commit()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction; a process may die before it, before its commit and after it."""
        self._mishaps.crash_point("before a transaction")
        with super().write() as tx:
            yield tx
        self._mishaps.crash_point("after a commit")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """One look; the dead see nothing."""
        process = CURRENT.get()
        if process is not None and not process.alive:
            raise Killed(process.name)
        with super().read() as tx:
            yield tx

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows for the world's own eyes, past SQLAlchemy."""
        raw = self.engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())
        finally:
            raw.close()


def _hurry(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "locking_mode=EXCLUSIVE", "temp_store=MEMORY"):
        dbapi_connection.execute(f"PRAGMA {pragma}")
