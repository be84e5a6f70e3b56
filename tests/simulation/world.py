"""One world: a platform, a ledger, a network, a clock, and the processes in it.

The numbers of the invariants (I0 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
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
from capillary.ledger import stops
from capillary.ledger.errors import LedgerBroken, OrganisationElsewhere
from capillary.ledger.plan_id import PlanId
from capillary.ledger.server import Server
from capillary.ledger.spec import Spec
from sandbox.settings import CLIENT, MAKER
from tests.laboratory.rules import Rule
from tests.simulation.books import BooksCheck
from tests.simulation.network import Faults, SimulatedTransport
from tests.simulation.platform_side import SECOND_TILL, PlatformSide
from tests.simulation.processes import CURRENT, Killed, Mishaps, Process, SimulatedLedger
from tests.simulation.shape import Addresses, Shape, campaign_of, copy_of
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.who_decides import WhoDecides
from tests.simulation.wire import Wire

BEGINNING: Final = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
#: The platform's addresses: base URL of the second connection, and its Account address.
SECOND: Final = {
    Addresses.SCHEMES: ("http://Platform.example.:80", ""),
    Addresses.NAMED: ("https://gateway.example/loyalty", "platform.example"),
    Addresses.UNNAMED: ("https://gateway.example/loyalty", ""),
}
BASE_URL: Final = "https://platform.example"
LINES_KEPT: Final = 2_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold, and when that showed."""

    invariant: Rule
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
        connections: what the Airflow connections to the platform say; runs use them in turn.
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
        self.eligible_rows: dict[int, tuple[object, ...]] = {}
        self.processes: list[Process] = []
        self._wall_shift = timedelta()
        self.connections = _connections(shape)
        self.mishaps = Mishaps(shape, self.rng, loop, self)
        self.faults = Faults(shape, self.rng)
        self.ledger = ledger
        ledger.serve(clock=self.ledger_now, mishaps=self.mishaps)
        self.platform_side = PlatformSide(shape, self.rng, loop, epoch=BEGINNING.timestamp())
        self.wire = Wire(self, shape)
        self.who_decides = WhoDecides(self)
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
        """Return the ledger's clock, which is set forward once in some worlds."""
        shape, now = self.shape, self.loop.time()
        ahead = shape.clock_set_by if shape.clock_set_by and now >= shape.clock_set_at else 0.0
        return BEGINNING + timedelta(seconds=now + ahead)

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

    def breach(self, invariant: Rule, words: str) -> None:
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
        process = Process(f"{name} #{self._numbers}", plan, begun=self.now)
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
            self.who_decides.notice()
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
        two_accounts = isinstance(error, OrganisationElsewhere) and self.shape.addresses is not Addresses.UNNAMED
        known = isinstance(error, CapillaryError | SQLAlchemyError) and not isinstance(
            error, LedgerBroken | IntegrityError
        )
        if two_accounts or not known:
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
        for occasion in self.wire.stopped_occasions():
            self.resume(occasion)
        self._name_the_address()

    def _name_the_address(self) -> None:
        """A person does what the refused plans ask for: the Account address is the one that the ledger knows.

        Where the ledger knows none, one of the two plans to come would be refused by the other: the first address.
        """
        known = self.ledger.rows(
            "SELECT account FROM badge_occasion WHERE id IN (SELECT occasion_id FROM badge_request) LIMIT 1"
        )
        if self.shape.addresses is Addresses.UNNAMED:
            address = known[0][0].rpartition("/")[0] if known else BASE_URL.removeprefix("https://")
            self.connections = [replace(each, account_address=address) for each in self.connections]
            self.note(f"the Account address is {address} by now")

    def switch(self, *, on: bool) -> None:
        """Turn the connection's switch."""
        self.submitting = on
        self.wire.switched(on=on)

    def stop(self, occasion: int | None) -> None:
        """A person stops an occasion's campaign, or the whole account; as it returns, the rule holds."""
        for scope in self._scopes(occasion):
            stops.stop(self.ledger, scope, by="a person", reason="at night")
            self.note(f"stopped: {scope}")
        self.wire.stopped(occasion)

    def resume(self, occasion: int | None) -> None:
        """A person releases the stop."""
        self.wire.resumed(occasion)
        for scope in self._scopes(occasion):
            stops.resume(self.ledger, scope, by="a person")
            self.note(f"resumed: {scope}")

    def stops_as_in_the_ledger(self) -> None:
        """The ledger was set back, and knows of a stop what it knew then."""
        with self.ledger.read() as tx:
            held = {stop.scope for stop in stops.in_force(tx)}
        for occasion in self.wire.stopped_occasions():
            if not held.issuperset(self._scopes(occasion)):
                self.wire.resumed(occasion)

    def _scopes(self, occasion: int | None) -> list[stops.Scope]:
        campaigns = (stops.WHOLE_ACCOUNT,) if occasion is None else (campaign_of(occasion), copy_of(occasion))
        return [stops.Scope(each.account, campaign) for each in self.accounts for campaign in campaigns]

    @property
    def accounts(self) -> list[PlatformSettings]:
        """The first connection of each account."""
        return list({each.account: each for each in reversed(self.connections)}.values())[::-1]

    def connection(self, number: int) -> PlatformSettings:
        """Return what the connection of a run says."""
        return self.connections[number % len(self.connections)]

    def path_of(self, url: str) -> str:
        """Return the path of a call behind whichever address it was made to."""
        base_url = next(each.base_url for each in self.connections if url.startswith(f"{each.base_url}/"))
        return url.removeprefix(base_url)

    def sender(self, settings: PlatformSettings) -> Sender:
        """Return what one process sends with."""
        runtime = self.runtime()
        client = Client(
            self._with_present_till(settings),
            transport=SimulatedTransport(self),
            pace=NotedPace(self, settings, runtime) if self.shape.real_pace else FreePace(self),
            sleep=runtime.sleep,
            monotonic=runtime.monotonic,
            random=runtime.random,
            now=self.wall_now,
        )
        return Sender(self.ledger, client, runtime, self._may_submit)

    def former_tills(self) -> list[PlatformSettings]:
        """The connections that a person gives back to a changed till for its doubts, once all is calm."""
        if not self.shape.new_till_at or self.disturbed:
            return []
        return [replace(each, login=SECOND_TILL.username, password=SECOND_TILL.password) for each in self.accounts]

    def _with_present_till(self, settings: PlatformSettings) -> PlatformSettings:
        """Return a connection as it is: in some worlds with another till until the operator puts the first one back."""
        changes_at = self.shape.new_till_at
        if not changes_at or self.now < changes_at or not self.disturbed:
            return settings
        return replace(settings, login=SECOND_TILL.username, password=SECOND_TILL.password)

    @property
    def disturbed(self) -> bool:
        """Whether something may still go wrong."""
        return self.mishaps.on

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

    def spec(self, occasion: int, settings: PlatformSettings) -> Spec:
        """Return what requests of an occasion are built from."""
        badge_id = self.platform_side.badges[occasion]
        return Spec(settings.account, badge_id, "Loyalty", "42", "1", "2", "3", "4", settings.inner_hostname)


class NotedPace(LedgerPace):
    """The real pace; the wire is told of every block, to judge who calls in spite of it."""

    def __init__(self, world: World, settings: PlatformSettings, runtime: Runtime) -> None:
        super().__init__(world.ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime)
        self._world = world

    async def take(self) -> None:
        """Wait for a slot; the wire judges when it was taken."""
        asked = self._world.now
        await super().take()
        self._world.wire.slot_taken(CURRENT.get(), asked)

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


def _connections(shape: Shape) -> list[PlatformSettings]:
    first = settings_of(shape)
    if shape.two_tills:
        return [first, replace(first, login=SECOND_TILL.username, password=SECOND_TILL.password)]
    if shape.addresses is Addresses.ONE:
        return [first]
    base_url, account_address = SECOND[shape.addresses]
    allowing = replace(first, allow_plain_http=True)
    second = replace(allowing, base_url=base_url, account_address=account_address, inner_hostname="")
    return [first, second]


def settings_of(shape: Shape) -> PlatformSettings:
    """Return the connection of a world. The account of the first one is the same in all of them."""
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
