"""The triggers of submit and of the sensor: they poll while nobody holds a worker, and never send anything."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from capillary.base_operator import RUN_LEASE
from capillary.engine.room import room
from capillary.engine.runtime import Runtime, in_ledger_thread
from capillary.engine.send import assert_account
from capillary.engine.watch import watch_in_turn
from capillary.errors import CapillaryError, TransientError, named
from capillary.hooks import CapillaryHook, aledger_url_of
from capillary.ledger import scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import Stopped
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.request_rows import keep_alive
from capillary.ledger.run_wait import RunWait, run_wait
from capillary.ledger.stops import assert_plan_not_stopped
from capillary.wiring import platform_client, runtime_of

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

_GROWTH: Final = 1.5
_JITTER: Final = 0.1
#: Another reader's poll counts as this one's when it is younger than this share of the pause before it.
_FRESH: Final = 0.8

#: What a poll may fail with; anything else is a fault of this project and ends the trigger.
_FAILURES: Final[tuple[type[Exception], ...]] = (CapillaryError, *DATABASE_ERRORS)

_LOG: Final = logging.getLogger("capillary.trigger")

if TYPE_CHECKING:
    from capillary.api.settings import PlatformSettings

T = TypeVar("T")


class Event(StrEnum):
    """Why a worker is called."""

    WORK = "work"  #: something is decided, or in doubt long enough: a worker can bring it forward
    DEADLINE = "deadline"  #: the sensor's time is up
    FAILED = "failed"  #: polling fails; a worker shall look and say why


class _PlanTrigger(BaseTrigger):
    """What the triggers have in common: they hold references and counts, no ids of customers, no secrets.

    Of all triggers of an account one at a time reads the platform's list, for all of them; the others read the
    ledger. Restarted elsewhere a trigger begins again.
    """

    #: Arguments, as Airflow keeps them.
    names: ClassVar[tuple[str, ...]] = ("badge_run_id", "token", "capillary_conn_id", "ledger_conn_id")

    def __init__(self, *, badge_run_id: int, token: str, capillary_conn_id: str, ledger_conn_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's own
        self.badge_run_id = badge_run_id
        self.token = token
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow needs to make this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in self.names}

    async def read_in_turn(
        self,
        runtime: Runtime,
        reader: str,
        look: Callable[[Transaction, PlatformSettings], T],
        *,
        fresh: timedelta,
    ) -> T:
        """Have the list read, by this one or another, and return what a look into the ledger says then.

        Args:
            runtime: time and threads.
            reader: who reads, unlike any other reader.
            look: asks the ledger; its transaction is committed.
            fresh: how old another's reading may be.
        """
        settings = await CapillaryHook(self.capillary_conn_id).aget_settings()
        url = await aledger_url_of(self.ledger_conn_id)
        # Opened for each poll: a thousand waiting triggers hold no connection.
        ledger = await in_ledger_thread(lambda: Ledger(url), drop=Ledger.close)

        def looked() -> T:
            with ledger.write() as tx:
                keep_alive(tx, open_plan(tx, self.plan), lease=RUN_LEASE)
                return look(tx, settings)

        try:
            await runtime.ledger_call(lambda: assert_account(ledger, self.plan, settings.account))
            async with platform_client(settings, ledger, runtime) as client:
                await watch_in_turn(ledger, client, runtime, reader=reader, older_than=fresh, settle=False)
            return await runtime.ledger_call(looked)
        finally:
            ledger.close()

    @property
    def plan(self) -> PlanId:
        """The plan that is waited for."""
        return PlanId(self.badge_run_id, self.token)

    def reader(self) -> str:
        """Return a name that no other reader has."""
        return f"run {self.badge_run_id}, trigger {uuid.uuid4().hex[:12]}"


class _Failures:
    """Polls that failed in a row."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def none(self) -> None:
        """A poll went well."""
        self._in_a_row = 0

    def are_too_many(self, error: Exception) -> bool:
        """Count one; return whether a worker is to say what is wrong."""
        self._in_a_row += 1
        _LOG.warning("poll %d in a row failed: %s", self._in_a_row, _said(error))
        return self._in_a_row >= TOLERATED_FAILURES or not isinstance(error, (TransientError, *DATABASE_ERRORS))


class SubmitTrigger(_PlanTrigger):
    """Wait until a submit can go on: doubt has ended or can be judged, or the platform can be read again.

    Args:
        badge_run_id, token: the plan, `badge_run.id` and `badge_run.token`.
        capillary_conn_id, ledger_conn_id: Airflow connections.
        until: ISO time with zone at which a worker is called in any case; empty: once the list was read to its end.
        may_end_early: whether to call one as soon as another request may go out.
        in_flight: most requests under way at once.
    """

    names: ClassVar[tuple[str, ...]] = (*_PlanTrigger.names, "until", "may_end_early", "in_flight")

    def __init__(
        self,
        *,
        badge_run_id: int,
        token: str,
        capillary_conn_id: str,
        ledger_conn_id: str,
        until: str,
        may_end_early: bool,
        in_flight: int,
    ) -> None:
        super().__init__(
            badge_run_id=badge_run_id,
            token=token,
            capillary_conn_id=capillary_conn_id,
            ledger_conn_id=ledger_conn_id,
        )
        self.until = until
        self.may_end_early = may_end_early
        self.in_flight = in_flight

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is a reason to call a worker; a person's stop is one."""
        runtime, reader, failures = runtime_of(threads=True), self.reader(), _Failures()
        begun_s, pause_s, fresh_s = runtime.monotonic(), QUIET_S, QUIET_S * _FRESH

        def look(tx: Transaction, settings: PlatformSettings) -> bool:
            return self._may_go_on(tx, settings, waited=timedelta(seconds=runtime.monotonic() - begun_s))

        while True:
            await runtime.sleep(pause_s)
            try:
                goes_on = await self.read_in_turn(runtime, reader, look, fresh=timedelta(seconds=fresh_s))
            except _FAILURES as error:
                if failures.are_too_many(error):
                    yield _event(Event.FAILED)
                    return
            else:
                failures.none()
                if goes_on:
                    yield _event(Event.WORK)
                    return
            left_s = self._left_s(runtime.monotonic() - begun_s)
            if left_s <= 0:
                yield _event(Event.WORK)
                return
            pause_s = min(LOOK_S * runtime.random.uniform(1 - _JITTER, 1 + _JITTER), left_s)
            fresh_s = min(max(fresh_s, LOOK_S * _FRESH) * _GROWTH, MAX_POLL_INTERVAL_S)

    def _may_go_on(self, tx: Transaction, settings: PlatformSettings, *, waited: timedelta) -> bool:
        try:
            assert_plan_not_stopped(tx, self.plan)
        except Stopped:
            return True
        if not self.until:
            return scans.whole_reading(tx, settings.account, settings.sender, within=waited) is not None
        if not self.may_end_early:
            return False
        # Something is accepted or not: no more than one would go out at once.
        here = room(tx, open_plan(tx, self.plan), settings, in_flight=self.in_flight, width=self.in_flight)
        return not here.wanted or (bool(here.batch) and not here.is_narrow)

    def _left_s(self, waited_s: float) -> float:
        if not self.until:
            return LONGEST_S - waited_s
        return (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()


class BadgeRequestTrigger(_PlanTrigger):
    """Wait until a worker can bring a run forward. The deadline is a moment, not a duration.

    Args:
        badge_run_id, token: the plan, `badge_run.id` and `badge_run.token`.
        capillary_conn_id, ledger_conn_id: Airflow connections.
        deadline: ISO time with zone.
        poll_interval_s: seconds between the first polls, growing to 15 minutes.
        settle_every_s: seconds after which a part of the run is worth a worker.
        ended, doubt_due: how many requests were decided or settled, and long enough in doubt, when the sensor
            deferred: the same again calls no worker before `settle_every_s`.
    """

    names: ClassVar[tuple[str, ...]] = (
        *_PlanTrigger.names,
        "deadline",
        "poll_interval_s",
        "settle_every_s",
        "ended",
        "doubt_due",
    )

    def __init__(
        self,
        *,
        badge_run_id: int,
        token: str,
        capillary_conn_id: str,
        ledger_conn_id: str,
        deadline: str,
        poll_interval_s: float,
        settle_every_s: float,
        ended: int,
        doubt_due: int,
    ) -> None:
        super().__init__(
            badge_run_id=badge_run_id,
            token=token,
            capillary_conn_id=capillary_conn_id,
            ledger_conn_id=ledger_conn_id,
        )
        self.deadline = deadline
        self.poll_interval_s = poll_interval_s
        self.settle_every_s = settle_every_s
        self.ended = ended
        self.doubt_due = doubt_due

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is a reason to call a worker."""
        runtime, reader, failures = runtime_of(threads=True), self.reader(), _Failures()
        begun = runtime.monotonic()
        interval_s, pause_s = self.poll_interval_s, QUIET_S
        while True:
            await runtime.sleep(pause_s)
            try:
                wait = await self.read_in_turn(runtime, reader, self._look, fresh=timedelta(seconds=pause_s * _FRESH))
            except _FAILURES as error:
                if failures.are_too_many(error):
                    yield _event(Event.FAILED)
                    return
            else:
                failures.none()
                if self._calls_for_a_worker(wait, runtime.monotonic() - begun):
                    yield _event(Event.WORK)
                    return
            left_s = (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                yield _event(Event.DEADLINE)
                return
            pause_s = min(interval_s * runtime.random.uniform(1 - _JITTER, 1 + _JITTER), left_s)
            interval_s = max(interval_s, min(interval_s * _GROWTH, MAX_POLL_INTERVAL_S))

    def _look(self, tx: Transaction, _settings: PlatformSettings) -> RunWait:
        return run_wait(tx, open_plan(tx, self.plan))

    def _calls_for_a_worker(self, wait: RunWait, waited_s: float) -> bool:
        if wait.is_over:
            return True
        changed = (wait.decided + wait.settled, wait.doubt_due) != (self.ended, self.doubt_due)
        return (wait.needs_no_human and changed) or (wait.work > 0 and waited_s >= self.settle_every_s)


def said_by(event: object) -> Event:
    """Return why a trigger called; fail loudly where it says what no trigger of ours does.

    Raises:
        AirflowException: it is none.
    """
    status = event.get("status") if isinstance(event, dict) else None
    if status not in set(Event):
        raise AirflowException(f"the trigger came back without a word that is known ({type(event).__name__})")
    return Event(str(status))


def _event(event: Event) -> TriggerEvent:
    return TriggerEvent({"status": event.value})  # type: ignore[no-untyped-call] # Airflow's own


def _said(error: Exception) -> str:
    """Return an error's name and words; a database's own quote values."""
    return named(error if isinstance(error, CapillaryError) else broke_off(error))
