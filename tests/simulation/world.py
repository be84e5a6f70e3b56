"""One world: a platform, a ledger, a network, a clock, and the processes in it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.errors import CapillaryError
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.plan_id import PlanId
from capillary.ledger.server import Server
from capillary.ledger.spec import Spec
from sandbox.settings import CLIENT, MAKER
from tests.simulation.books import BooksCheck
from tests.simulation.network import Faults, SimulatedTransport
from tests.simulation.platform_side import PlatformSide
from tests.simulation.processes import CURRENT, Killed, Mishaps, Process, SimulatedLedger
from tests.simulation.shape import Shape
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.wire import Wire

BEGINNING: Final = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
BASE_URL: Final = "https://platform.example"
LINES_KEPT: Final = 2_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold, and when that showed."""

    invariant: str
    words: str
    at: float


class Breached(BaseException):
    """Ends whatever was going on when an invariant broke."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a process ended: with a value, with an error of the product's, or dead (both None)."""

    value: T | None = None
    error: Exception | None = None

    @property
    def died(self) -> bool:
        """Whether it was killed or cancelled."""
        return self.value is None and self.error is None


class World:
    """Everything of one seed.

    Attributes:
        reported: runs whose report has given back what was not sent.
        eligible_rows: rows that the warehouse gave to each plan.
        submitting: the connection's switch.
        failed_over_at: when the ledger's server failed over, seconds since the beginning.
        server: what the ledger's server tells of itself; None where it is a file.
        breached: set to the first breach.
        free_from: nobody calls before, where there is no budget.
    """

    def __init__(self, shape: Shape, ledger: SimulatedLedger, loop: VirtualLoop) -> None:
        self.shape = shape
        self.loop = loop
        self.rng = Random(shape.seed)  # noqa: S311 - chance that can be repeated
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._digest = hashlib.sha256()
        self.breached: asyncio.Future[Breach] = loop.create_future()
        self.submitting = True
        self.failed_over_at: float | None = None
        self.server = Server("7", "00000001", "1") if shape.fails_over else None
        self.free_from = 0.0
        self.reported: set[int] = set()
        self.eligible_rows: dict[int, int] = {}
        self.processes: list[Process] = []
        self._wall_shift = timedelta()
        self.settings = _settings(shape)
        self.mishaps = Mishaps(shape, self.rng, loop, self)
        self.faults = Faults(shape, self.rng)
        self.ledger = ledger
        ledger.serve(clock=self.ledger_now, mishaps=self.mishaps)
        self.platform_side = PlatformSide(shape, self.rng, loop, epoch=BEGINNING.timestamp())
        self.wire = Wire(self, shape)
        self.books = BooksCheck(self, shape, self.platform_side.platform.books)
        self._numbers = 0
        self.keys_on_platform: list[str] = []

    def close(self) -> None:
        """Give files and memory back."""
        self.ledger.close()
        self.platform_side.platform.close()

    # Time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    def ledger_now(self) -> datetime:
        """Return the ledger's clock, which never jumps."""
        return BEGINNING + timedelta(seconds=self.loop.time())

    @property
    def platform_now(self) -> datetime:
        """The platform's clock."""
        return BEGINNING + timedelta(seconds=self.loop.time() + self.shape.skew)

    def wall_now(self) -> datetime:
        """Return the machine's clock, which jumps in some worlds."""
        if self.shape.wall_jumps and self.rng.random() < 0.05:
            self._wall_shift = timedelta(days=self.rng.choice((-1, 0, 1)))
        return self.ledger_now() + self._wall_shift

    # The story ----------------------------------------------------------------------------------------------

    def note(self, line: str) -> None:
        """Write one line of the story."""
        told = f"{self.now:12.3f}  {line}"
        self.lines.append(told)
        self._digest.update(told.encode())

    @property
    def digest(self) -> str:
        """Hash of the whole story: the same for the same seed."""
        return self._digest.hexdigest()

    def breach(self, invariant: str, words: str) -> None:
        """An invariant does not hold: the world ends.

        Raises:
            Breached: always.
        """
        self.note(f"BREACH {invariant}: {words}")
        if not self.breached.done():
            self.breached.set_result(Breach(invariant, words, self.now))
        raise Breached(words)

    # Processes ----------------------------------------------------------------------------------------------

    def start(
        self, name: str, work: Callable[[], Awaitable[T]], *, plan: PlanId | None = None
    ) -> asyncio.Task[Ended[T]]:
        """Start a process; the task ends with it, and is not itself part of it."""
        self._numbers += 1
        process = Process(f"{name} #{self._numbers}", plan)
        self.processes.append(process)

        async def body() -> T:
            CURRENT.set(process)
            return await work()

        process.task = self.loop.create_task(body())
        return self.loop.create_task(self._until_ended(process, process.task))

    async def run(self, name: str, work: Callable[[], Awaitable[T]], *, plan: PlanId | None = None) -> Ended[T]:
        """Start a process and wait for its end. A cancelled waiter leaves the process as it is."""
        return await asyncio.shield(self.start(name, work, plan=plan))

    async def _until_ended(self, process: Process, task: asyncio.Task[T]) -> Ended[T]:
        await asyncio.wait({task})
        process.task = None  # what it returned is not kept as long as what it sent
        self.processes.remove(process)
        ended = self._end_of(process, task)
        with suppress(Breached):
            self.books.check()
        return ended

    def _end_of(self, process: Process, task: asyncio.Task[T]) -> Ended[T]:
        if task.cancelled():
            return Ended()
        error = task.exception()
        if error is None:
            if not process.alive:
                return Ended()
            self.note(f"{process.name} is done: {task.result()}")
            return Ended(value=task.result())
        if isinstance(error, Killed | Breached):
            return Ended()
        if isinstance(error, LedgerBroken | IntegrityError) or not isinstance(error, CapillaryError | SQLAlchemyError):
            with suppress(Breached):
                self.breach("I0", f"{process.name} ended with {type(error).__name__}: {error}")
            return Ended()
        self.note(f"{process.name} failed: {type(error).__name__}: {error}")
        return Ended(error=error if isinstance(error, Exception) else None)

    def end_processes(self) -> None:
        """Kill whatever still runs."""
        for process in list(self.processes):
            self.mishaps.kill(process, "at the end of the disturbed part")

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.mishaps.on = False
        self.faults.on = False
        self.platform_side.calm()
        self.switch(on=True)

    def switch(self, *, on: bool) -> None:
        """Turn the connection's switch."""
        self.submitting = on
        self.wire.switched(on=on)

    # What a process works with ------------------------------------------------------------------------------

    def sender(self) -> Sender:
        """Return what one process sends with."""
        runtime = self.runtime()
        client = Client(
            self.settings,
            transport=SimulatedTransport(self),
            pace=NotedPace(self, runtime) if self.shape.real_pace else FreePace(self),
            sleep=runtime.sleep,
            monotonic=runtime.monotonic,
            random=runtime.random,
            now=self.wall_now,
        )
        return Sender(self.ledger, client, runtime, self._may_submit)

    def runtime(self) -> Runtime:
        """Return virtual time for one process."""
        return Runtime(sleep=self._sleep, monotonic=self.loop.time, random=self.rng)

    async def _sleep(self, seconds: float) -> None:
        self.mishaps.crash_point("before a sleep")
        await asyncio.sleep(seconds)
        await self.mishaps.thaw()
        self.mishaps.crash_point("after a sleep")

    async def _may_submit(self) -> bool:
        return self.submitting

    def spec(self, occasion: int) -> Spec:
        """Return what requests of an occasion are built from."""
        return Spec(
            self.settings.account, self.platform_side.badges[occasion], "Loyalty", "42", "1", "2", "3", "4", BASE_URL
        )


class NotedPace(LedgerPace):
    """The real pace; the wire is told of every block, to judge who calls in spite of it."""

    def __init__(self, world: World, runtime: Runtime) -> None:
        settings = world.settings
        super().__init__(world.ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime)
        self._world = world

    async def block(self, seconds: float) -> None:
        """Let everybody of the account wait."""
        told_at = self._world.now
        await super().block(seconds)
        self._world.wire.blocked(seconds, told_at=told_at)


class FreePace:
    """No budget: three of four worlds spend their time on other things."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def take(self) -> None:
        """Go at once, unless the platform asked the account to wait."""
        while (left := self._world.free_from - self._world.now) > 0:
            await self._world.runtime().sleep(left)

    async def block(self, seconds: float) -> None:
        """Let everybody wait."""
        self._world.free_from = max(self._world.free_from, self._world.now + seconds)


def _settings(shape: Shape) -> PlatformSettings:
    credentials: dict[str, Any] = {"login": MAKER.username, "password": MAKER.password}
    if shape.oauth:
        credentials |= {"oauth_key": CLIENT.key, "oauth_secret": CLIENT.secret}
    return PlatformSettings(
        base_url=BASE_URL,
        organisation_id="100458",
        cluster_timezone=shape.timezone,
        calls_per_minute=shape.calls_per_minute,
        page_base=shape.page_base,
        page_size=shape.page_size,
        visibility_lag_s=shape.visibility_lag,
        post_timeout_s=shape.post_timeout,
        connect_timeout_s=1,
        read_timeout_s=20,
        **credentials,
    )
