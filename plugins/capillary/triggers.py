"""The triggers of submit and of the sensor: they poll while nobody holds a worker, and never send anything.

`capillary.engine.polling` decides what they poll for, and how; this module adds Airflow's connections and events.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from capillary.base_operator import RUN_LEASE
from capillary.engine.polling import DecisionWait, Event, Look, Reader, SubmitWait, Wait, poll
from capillary.engine.runtime import Runtime, in_ledger_thread
from capillary.hooks import CapillaryHook, aledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.plan_id import PlanId
from capillary.wiring import platform_client, runtime_of


class _PlanTrigger(BaseTrigger):
    """What the triggers have in common: they hold references and counts, no ids of customers, no secrets.

    One trigger at a time reads the platform's list, for all triggers of the account; the others read the ledger. A
    trigger that is restarted elsewhere begins again.
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

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is a reason to call a worker."""
        runtime = runtime_of(threads=True)
        name = f"run {self.badge_run_id}, trigger {uuid.uuid4().hex[:12]}"
        reader = Reader(runtime, self.plan, name, RUN_LEASE)
        event = await poll(runtime, self.waits(runtime), lambda look, fresh: self.read_in_turn(reader, look, fresh))
        yield TriggerEvent({"status": event.value})  # type: ignore[no-untyped-call] # Airflow's own

    @abstractmethod
    def waits(self, runtime: Runtime) -> Wait:
        """Return what is waited for, from now on."""

    async def read_in_turn(self, reader: Reader, look: Look, fresh: timedelta) -> bool:
        """Read in turn with connections as they are now."""
        settings = await CapillaryHook(self.capillary_conn_id).aget_settings()
        url = await aledger_url_of(self.ledger_conn_id)
        # Opened for each poll: a thousand waiting triggers hold no connection.
        ledger = await in_ledger_thread(lambda: Ledger(url), drop=Ledger.close)
        try:
            async with platform_client(settings, ledger, reader.runtime) as client:
                return await reader.read_in_turn(ledger, client, look, fresh)
        finally:
            ledger.close()

    @property
    def plan(self) -> PlanId:
        """The plan that is waited for."""
        return PlanId(self.badge_run_id, self.token)


class SubmitTrigger(_PlanTrigger):
    """Wait until a submit can go on: doubt has ended or can be judged, or the platform can be read again.

    Args:
        badge_run_id, token: the plan, `badge_run.id` and `badge_run.token`.
        capillary_conn_id, ledger_conn_id: Airflow connections.
        until: ISO time with zone at which a worker is called in any case; empty: once the list was read to its end.
        may_end_early: whether to call a worker as soon as another request may go out.
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

    def waits(self, runtime: Runtime) -> SubmitWait:
        """Return what a submit waits for."""
        until = datetime.fromisoformat(self.until) if self.until else None
        return SubmitWait(runtime, self.plan, until, self.may_end_early, self.in_flight)


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

    def waits(self, runtime: Runtime) -> DecisionWait:
        """Return what the sensor waits for."""
        return DecisionWait(
            runtime,
            self.plan,
            datetime.fromisoformat(self.deadline),
            poll_interval_s=self.poll_interval_s,
            settle_every_s=self.settle_every_s,
            ended=self.ended,
            doubt_due=self.doubt_due,
        )


def said_by(event: object) -> Event:
    """Return why a trigger called; fail loudly where it says what no trigger of ours does.

    Raises:
        AirflowException: it is none.
    """
    status = event.get("status") if isinstance(event, dict) else None
    if status not in set(Event):
        raise AirflowException(f"the trigger returned an unknown status ({type(event).__name__})")
    return Event(str(status))
