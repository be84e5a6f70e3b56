"""The trigger of the sensor: polls while nobody holds a worker, and never sends anything."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from capillary.access import platform_client, runtime_of
from capillary.engine.runtime import Runtime, in_ledger_thread
from capillary.engine.send import assert_account
from capillary.engine.watch import watch_in_turn
from capillary.errors import CapillaryError, TransientError
from capillary.hooks import CapillaryHook, aledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.requests import keep_alive
from capillary.ledger.waiting import RunWait, run_wait
from capillary.planning import RUN_LEASE

#: Seconds after a deferral in which no event fires: a resumed task can be failed by the exit event of its own
#: deferral, which the scheduler may still hold (apache/airflow issues 72716 and 71580).
QUIET_S: Final = 30.0
#: Longest time between two polls, seconds.
MAX_POLL_INTERVAL_S: Final = 900.0
#: Failed polls in a row after which a worker looks, and says what is wrong.
TOLERATED_FAILURES: Final = 10

_GROWTH: Final = 1.5
_JITTER: Final = 0.1
#: Another reader's poll counts as this one's when it is younger than this share of the pause before it.
_FRESH: Final = 0.8

#: What a poll may fail with; anything else is a fault of this project and ends the trigger.
_FAILURES: Final[tuple[type[Exception], ...]] = (CapillaryError, *DATABASE_ERRORS)

_LOG: Final = logging.getLogger("capillary.trigger")


class Event(StrEnum):
    """Why a worker is called."""

    WORK = "work"  #: something is decided, or in doubt long enough: a worker can bring it forward
    DEADLINE = "deadline"  #: the sensor's time is up
    FAILED = "failed"  #: polling fails; a worker shall look and say why


class BadgeRequestTrigger(BaseTrigger):
    """Wait until a worker can bring a run forward. Holds references and counts, no ids of customers, no secrets.

    Of all triggers of an account one at a time reads the platform's list, for all of them; the others read the
    ledger. Restarted elsewhere it begins anew: the deadline is a moment, not a duration.

    Args:
        badge_run_id, token: the plan, `badge_run.id` and `badge_run.token`.
        capillary_conn_id, ledger_conn_id: Airflow connections.
        deadline: ISO time with zone.
        poll_interval_s: seconds between the first polls, growing to 15 minutes.
        settle_every_s: seconds after which a part of the run is worth a worker.
        ended, doubt_due: how many requests were decided or settled, and long enough in doubt, when the sensor
            deferred: the same again calls no worker before `settle_every_s`.
    """

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
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's own
        self.badge_run_id = badge_run_id
        self.token = token
        self.capillary_conn_id = capillary_conn_id
        self.ledger_conn_id = ledger_conn_id
        self.deadline = deadline
        self.poll_interval_s = poll_interval_s
        self.settle_every_s = settle_every_s
        self.ended = ended
        self.doubt_due = doubt_due

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow needs to make this trigger again."""
        names = (
            "badge_run_id",
            "token",
            "capillary_conn_id",
            "ledger_conn_id",
            "deadline",
            "poll_interval_s",
            "settle_every_s",
            "ended",
            "doubt_due",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is a reason to call a worker."""
        runtime = runtime_of(threads=True)
        begun = runtime.monotonic()
        reader = f"run {self.badge_run_id}, trigger {uuid.uuid4().hex[:12]}"
        interval_s, failures = self.poll_interval_s, 0
        pause_s = QUIET_S
        while True:
            await runtime.sleep(pause_s)
            try:
                wait = await self._poll(runtime, reader, fresh=timedelta(seconds=pause_s * _FRESH))
            except _FAILURES as error:
                failures += 1
                _LOG.warning("poll %d in a row failed: %s", failures, _said(error))
                if failures >= TOLERATED_FAILURES or not isinstance(error, (TransientError, *DATABASE_ERRORS)):
                    yield _event(Event.FAILED)
                    return
            else:
                failures = 0
                if self._calls_for_a_worker(wait, runtime.monotonic() - begun):
                    yield _event(Event.WORK)
                    return
            left_s = (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                yield _event(Event.DEADLINE)
                return
            pause_s = min(interval_s * runtime.random.uniform(1 - _JITTER, 1 + _JITTER), left_s)
            interval_s = max(interval_s, min(interval_s * _GROWTH, MAX_POLL_INTERVAL_S))

    async def _poll(self, runtime: Runtime, reader: str, *, fresh: timedelta) -> RunWait:
        settings = await CapillaryHook(self.capillary_conn_id).aget_settings()
        url = await aledger_url_of(self.ledger_conn_id)
        # Opened for each poll: a thousand waiting triggers hold no connection.
        ledger = await in_ledger_thread(lambda: Ledger(url), drop=Ledger.close)
        try:
            await runtime.ledger_call(lambda: assert_account(ledger, self._plan(), settings.account))
            async with platform_client(settings, ledger, runtime) as client:
                await watch_in_turn(ledger, client, runtime, reader=reader, older_than=fresh, settle=False)
            return await runtime.ledger_call(lambda: self._look(ledger))
        finally:
            ledger.close()

    def _look(self, ledger: Ledger) -> RunWait:
        with ledger.write() as tx:
            badge_run_id = open_plan(tx, self._plan())
            keep_alive(tx, badge_run_id, lease=RUN_LEASE)
            return run_wait(tx, badge_run_id)

    def _plan(self) -> PlanId:
        return PlanId(self.badge_run_id, self.token)

    def _calls_for_a_worker(self, wait: RunWait, waited_s: float) -> bool:
        if wait.is_over:
            return True
        changed = (wait.decided + wait.settled, wait.doubt_due) != (self.ended, self.doubt_due)
        return (wait.needs_no_human and changed) or (wait.work > 0 and waited_s >= self.settle_every_s)


def _event(event: Event) -> TriggerEvent:
    return TriggerEvent({"status": event.value})  # type: ignore[no-untyped-call] # Airflow's own


def _said(error: Exception) -> str:
    """Return an error's words; a database's own quote values."""
    return str(error if isinstance(error, CapillaryError) else broke_off(error))
