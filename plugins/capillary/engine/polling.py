"""Polling while nobody holds a worker: when the list is read, when the ledger is asked, when a worker is called.

A wait says how long to pause, how old another's reading of the list may be, and whether what the ledger says by then
calls a worker; `poll` goes round until one is called. Triggers drive it. Nothing here sends.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.engine.next_batch import next_batch
from capillary.engine.runtime import Runtime
from capillary.engine.send import assert_account
from capillary.engine.watch import watch_in_turn
from capillary.errors import CapillaryError, TransientError, named
from capillary.ledger import scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import Stopped
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.request_rows import keep_alive
from capillary.ledger.run_wait import run_wait
from capillary.ledger.stops import assert_plan_not_stopped

#: Seconds after a deferral in which no event fires: a resumed task can be failed by the exit event of its own
#: deferral, which the scheduler may still hold (apache/airflow issues 72716 and 71580).
QUIET_S: Final = 30.0
#: Longest time between two polls, seconds.
MAX_POLL_INTERVAL_S: Final = 900.0
#: Failed polls in a row after which a worker looks, and says what is wrong.
TOLERATED_FAILURES: Final = 10

#: How old a reading of the list by a trigger may be to serve the worker that it called.
FRESH: Final = timedelta(seconds=30)
#: How often a submit that waits looks into the ledger, seconds: a person's stop is to end it soon.
LOOK_S: Final = 60.0
#: How long a submit waits for the platform's list to be read to its end, seconds; then a worker says what is wrong.
LONGEST_S: Final = 3_600.0

#: From how many seconds on a span is told in minutes, and in hours.
_MINUTES_FROM_S: Final = 90.0
_HOURS_FROM_S: Final = 5_400.0
#: Within how many seconds of its deadline a run that waits says at every look that the checker is to be reminded.
REMIND_S: Final = 86_400.0
_GROWTH: Final = 1.5
_JITTER: Final = 0.1
#: Another reader's poll counts as this one's when it is younger than this share of the pause before it.
_FRESH: Final = 0.8

#: What a poll may fail with; anything else is a fault of this project and ends the polling.
_FAILURES: Final[tuple[type[Exception], ...]] = (CapillaryError, *DATABASE_ERRORS)
#: What may pass by itself.
_PASSES: Final[tuple[type[Exception], ...]] = (TransientError, *DATABASE_ERRORS)

_LOG: Final = logging.getLogger("capillary.trigger")

#: Asks the ledger whether to call a worker; its transaction is committed.
Look = Callable[[Transaction, PlatformSettings], bool]
#: Has the list read, unless it was read so short ago, and looks then.
ReadInTurn = Callable[[Look, timedelta], Awaitable[bool]]


class Event(StrEnum):
    """Why a worker is called."""

    WORK = "work"  #: something is decided, or in doubt long enough: a worker can bring it forward
    DEADLINE = "deadline"  #: the sensor's time is up
    FAILED = "failed"  #: polling fails; a worker shall look and say why


class Wait(Protocol):
    """What is waited for.

    Attributes:
        at_its_end: why a worker is called once no time is left.
        pause_s: seconds until the next poll.
        fresh_s: how old another's reading of the list may be then, seconds.
        said: what it waited for at its last look, in a clause; empty before, and where that says nothing.
        needs_checker: whether a human had to decide anything then.
    """

    at_its_end: Event
    pause_s: float
    fresh_s: float
    said: str
    needs_checker: bool

    def calls_a_worker(self, tx: Transaction, settings: PlatformSettings) -> bool:
        """Return whether a worker can go on by what the ledger says now."""
        ...

    def left_s(self) -> float:
        """Return how many seconds are left."""
        ...

    def pause_for(self, left_s: float) -> None:
        """Set the next pause, which is no longer than what is left."""
        ...


async def poll(runtime: Runtime, wait: Wait, read_in_turn: ReadInTurn) -> Event:
    """Poll until there is a reason to call a worker; return it.

    `TOLERATED_FAILURES` in a row that may pass are one, and the first that will not.
    """
    failed = 0
    while True:
        await runtime.sleep(wait.pause_s)
        try:
            calls = await read_in_turn(wait.calls_a_worker, timedelta(seconds=wait.fresh_s))
        except _FAILURES as error:
            failed += 1
            _LOG.warning("poll %d in a row failed: %s", failed, _said(error))
            if failed >= TOLERATED_FAILURES or not isinstance(error, _PASSES):
                return Event.FAILED
        else:
            failed = 0
            if calls:
                return Event.WORK
        left_s = wait.left_s()
        if left_s <= 0:
            return wait.at_its_end
        wait.pause_for(left_s)
        said = f"{wait.said}; " if wait.said and not failed else ""
        if wait.needs_checker and left_s < REMIND_S:
            _LOG.warning("%sthe deadline is in %s: remind the checker", said, _span(left_s))
        _LOG.info("%snext look in %s", said, _span(wait.pause_s))


def _span(seconds: float) -> str:
    if seconds >= _HOURS_FROM_S:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= _MINUTES_FROM_S else f"{seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who polls on behalf of a plan.

    Attributes:
        runtime: time and threads.
        plan: what is waited for.
        name: unlike any other reader's.
        lease: how long the plan's run counts as alive without a sign of life.
    """

    runtime: Runtime
    plan: PlanId
    name: str
    lease: timedelta

    async def read_in_turn(self, ledger: Ledger, client: Client, look: Look, fresh: timedelta) -> bool:
        """Have the list read, by this reader or another, keep the run alive, and return what a look says then.

        Of all readers of an account one at a time reads the platform's list, for all of them; the others ask the
        ledger.

        Raises:
            PlanUnknown: the ledger has no such plan.
            WrongAccount: the run belongs to another account.
            PlatformUnavailable, ReplyUnreadable, CallRefused: the platform's list could not be read.
        """

        def looked() -> bool:
            with ledger.write() as tx:
                keep_alive(tx, open_plan(tx, self.plan), lease=self.lease)
                return look(tx, client.settings)

        await self.runtime.ledger_call(lambda: assert_account(ledger, self.plan, client.settings.account))
        await watch_in_turn(ledger, client, self.runtime, reader=self.name, older_than=fresh, settle=False)
        return await self.runtime.ledger_call(looked)


def _machine_time() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class SubmitWait:
    """A submit waits until doubt has ended or can be judged, or the platform can be read again; or for a stop.

    Attributes:
        runtime: time and chance.
        plan: what is submitted.
        until: a worker is called then in any case; None: once the list was read to its end, or after `LONGEST_S`.
        may_end_early: whether to call one as soon as another request may go out.
        in_flight: most requests under way at once.
        now: the clock of `until`.
    """

    runtime: Runtime
    plan: PlanId
    until: datetime | None
    may_end_early: bool
    in_flight: int
    now: Callable[[], datetime] = _machine_time
    at_its_end: Event = Event.WORK
    said: str = field(init=False, default="")
    needs_checker: bool = field(init=False, default=False)
    pause_s: float = field(init=False)
    fresh_s: float = field(init=False)
    _begun_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the quiet time."""
        self._begun_s = self.runtime.monotonic()
        self.pause_s, self.fresh_s = QUIET_S, QUIET_S * _FRESH

    def calls_a_worker(self, tx: Transaction, settings: PlatformSettings) -> bool:
        """Return whether the submit can go on; a person's stop is a reason, too."""
        try:
            assert_plan_not_stopped(tx, self.plan)
        except Stopped:
            return True
        if self.until is None:
            waited = timedelta(seconds=self._waited_s())
            return scans.whole_reading(tx, settings.account, settings.sender, within=waited) is not None
        if not self.may_end_early:
            return False
        # Something is accepted or not: no more than one would go out at once.
        here = next_batch(tx, open_plan(tx, self.plan), settings, in_flight=self.in_flight, width=self.in_flight)
        return not here.wanted or (bool(here.batch) and not here.is_narrow)

    def left_s(self) -> float:
        """Return how many seconds are left until a worker is called in any case."""
        if self.until is None:
            return LONGEST_S - self._waited_s()
        return (self.until - self.now()).total_seconds()

    def pause_for(self, left_s: float) -> None:
        """Look every `LOOK_S` or so; the list may be read less and less often."""
        self.pause_s = min(_jittered(self.runtime, LOOK_S), left_s)
        self.fresh_s = min(max(self.fresh_s, LOOK_S * _FRESH) * _GROWTH, MAX_POLL_INTERVAL_S)

    def _waited_s(self) -> float:
        return self.runtime.monotonic() - self._begun_s


@dataclass(slots=True)
class DecisionWait:
    """A run waits until its requests are decided, or long enough in doubt. Its deadline is a moment, not a duration.

    Attributes:
        runtime: time and chance.
        plan: whose requests they are.
        deadline: when its time is up.
        poll_interval_s: seconds between the first polls, growing to `most_s`.
        settle_every_s: seconds after which a part of the run is worth a worker.
        ended, doubt_due: how many requests were decided or settled, and long enough in doubt, when the wait began:
            the same again calls no worker before `settle_every_s`.
        most_s: longest time between two polls, seconds.
        now: the clock of the deadline.
    """

    runtime: Runtime
    plan: PlanId
    deadline: datetime
    poll_interval_s: float
    settle_every_s: float
    ended: int
    doubt_due: int
    most_s: float = MAX_POLL_INTERVAL_S
    now: Callable[[], datetime] = _machine_time
    at_its_end: Event = Event.DEADLINE
    said: str = field(init=False, default="")
    needs_checker: bool = field(init=False, default=False)
    pause_s: float = field(init=False)
    fresh_s: float = field(init=False)
    _begun_s: float = field(init=False)
    _interval_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the quiet time."""
        self._begun_s, self._interval_s = self.runtime.monotonic(), self.poll_interval_s
        self.pause_s, self.fresh_s = QUIET_S, QUIET_S * _FRESH

    def calls_a_worker(self, tx: Transaction, _settings: PlatformSettings) -> bool:
        """Return whether a worker can bring the run forward, and it is worth one."""
        wait = run_wait(tx, open_plan(tx, self.plan))
        self.said, self.needs_checker = wait.sentence(), wait.undecided > 0
        if wait.is_over:
            return True
        changed = (wait.decided + wait.settled, wait.doubt_due) != (self.ended, self.doubt_due)
        waited_s = self.runtime.monotonic() - self._begun_s
        return (wait.needs_no_human and changed) or (wait.work > 0 and waited_s >= self.settle_every_s)

    def left_s(self) -> float:
        """Return how many seconds are left until the deadline."""
        return (self.deadline - self.now()).total_seconds()

    def pause_for(self, left_s: float) -> None:
        """Poll less and less often."""
        self.pause_s = min(_jittered(self.runtime, self._interval_s), left_s)
        self.fresh_s = self.pause_s * _FRESH
        self._interval_s = max(self._interval_s, min(self._interval_s * _GROWTH, self.most_s))


def _jittered(runtime: Runtime, seconds: float) -> float:
    return seconds * runtime.random.uniform(1 - _JITTER, 1 + _JITTER)


def _said(error: Exception) -> str:
    """Return an error's name and words; a database's own quote values."""
    return named(error if isinstance(error, CapillaryError) else broke_off(error))
