"""A submit that waits holds no worker and uses up no retry: it defers, is called again, and goes on."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRescheduleException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize
from sqlalchemy import select, update

from capillary import wiring
from capillary.engine import polling
from capillary.engine.hold import IN_TASK_S
from capillary.engine.runtime import Runtime
from capillary.ledger import stops
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.stops import Scope
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.triggers import SubmitTrigger
from sandbox.faults import Route
from tests.glue.conftest import BADGE, SQL, Place

IN_FLIGHT = 2


@pytest.fixture
def reference(place: Place) -> dict[str, Any]:
    """Twelve requests of ten customers, and a platform that loses what is submitted without a word."""
    place.platform(post_timeout_s=60)  # doubt lasts for longer than is worth leaving the worker for
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **{**BADGE, "customers_per_request": 10})
    reference = plan.execute(place.context(task_id="extract"))
    place.sandbox.fault("submit", "drop", when="before", times=9)
    return reference


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeps of the task are over at once, and a trigger has no quiet time."""
    slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    def runtime(*, threads: bool) -> Runtime:
        if threads:
            return Runtime(threads=True)
        return Runtime(sleep=sleep, monotonic=lambda: slept)

    monkeypatch.setattr(wiring, "runtime_of", runtime)
    monkeypatch.setattr(polling, "QUIET_S", 0.01)
    monkeypatch.setattr(polling, "LOOK_S", 0.05)


def submit(reference: object, **arguments: Any) -> IssueBadgeOperator:  # noqa: ANN401 - arguments of the operator
    return IssueBadgeOperator(task_id="submit", plan=reference, in_flight=IN_FLIGHT, **arguments)


def deferred(operator: IssueBadgeOperator, place: Place) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as end:
        operator.execute(place.context(task_id="submit"))
    return end.value


def again(trigger: SubmitTrigger) -> SubmitTrigger:
    """Make a trigger as the triggerer does: from what it serialises to."""
    _, facts = trigger.serialize()
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(facts))))
    return SubmitTrigger(**kwargs)


def fire(end: TaskDeferred) -> object:
    trigger = end.trigger
    assert isinstance(trigger, SubmitTrigger)

    async def first() -> object:
        async with asyncio.timeout(10):
            return (await anext(again(trigger).run())).payload

    return asyncio.run(first())


def resumed(operator: IssueBadgeOperator, end: TaskDeferred, event: object, place: Place) -> dict[str, Any]:
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(end.kwargs))))
    return operator.execute_complete(place.context(task_id="submit"), event, **kwargs)


def end_doubt(place: Place, *, hours: float) -> None:
    """Let so much time pass for what is in doubt."""
    with place.ledger.write() as tx:
        back = timedelta(hours=hours)
        rows = tx.conn.execute(select(badge_request).where(badge_request.c.status == "sending")).all()
        for row in rows:
            moments = {name: getattr(row, name) - back for name in ("first_sent_at", "last_sent_at", "doubt_from")}
            tx.conn.execute(update(badge_request).where(badge_request.c.id == row.id).values(**moments))


def test_it_defers_with_references_and_goes_on_when_absence_can_be_judged(
    place: Place, reference: dict[str, Any]
) -> None:
    operator = submit(reference)
    end = deferred(operator, place)
    sent = len(place.sandbox.platform.requests())
    assert (sent, place.statuses()) == (0, {"sending": 1, "planned": 11}), "the last place is a control's"
    assert isinstance(end.trigger, SubmitTrigger)
    path, facts = end.trigger.serialize()
    assert path == "capillary.triggers.SubmitTrigger"
    assert set(map(type, facts.values())) <= {int, float, str, bool}
    assert end.method_name == "execute_complete"
    assert set(end.kwargs or {}) == {"reference", "waiting_since"}
    handed = [*facts.values(), *(end.kwargs or {})["reference"].values()]
    assert set(map(type, handed)) <= {int, float, str, bool}, "nothing that could hold customers"
    assert not set(range(1_001, 1_121)).intersection(each for each in handed if isinstance(each, int))
    assert "sandbox-maker" not in str(handed)
    left = datetime.fromisoformat(end.trigger.until) - datetime.now(UTC)
    assert timedelta(0) < left < timedelta(seconds=66)
    assert end.timeout is not None
    assert left < end.timeout < left + timedelta(hours=3)
    place.sandbox.platform.faults.clear()
    end_doubt(place, hours=2)
    assert resumed(operator, end, {"status": "work"}, place) == reference
    assert place.statuses() == {"waiting": 12}
    assert place.sent() == list(range(1_001, 1_121))


def test_its_trigger_calls_when_others_have_found_what_was_in_doubt(place: Place, reference: dict[str, Any]) -> None:
    place.sandbox.platform.faults.clear()
    place.sandbox.fault("submit", "drop", when="after")
    place.sandbox.switch(list_lag_s=3_600)
    operator = submit(reference)
    end = deferred(operator, place)
    place.sandbox.switch(list_lag_s=0)
    posts = place.sandbox.platform.calls[Route.SUBMIT]
    assert fire(end) == {"status": "work"}
    assert place.sandbox.platform.calls[Route.SUBMIT] == posts, "a trigger never sends"
    assert place.statuses() == {"waiting": 1, "planned": 11}
    assert resumed(operator, end, {"status": "work"}, place) == reference
    assert place.sent() == list(range(1_001, 1_121))


def test_a_stop_calls_the_worker_which_ends_and_gives_back(place: Place, reference: dict[str, Any]) -> None:
    operator = submit(reference)
    end = deferred(operator, place)
    with place.ledger.read() as tx:
        account = tx.conn.execute(select(badge_run.c.account)).scalar_one()
    stops.stop(place.ledger, Scope(account, ""), by="ann", reason="wrong tier")
    assert fire(end) == {"status": "work"}
    with pytest.raises(AirflowFailException, match="wrong tier"):
        resumed(operator, end, {"status": "work"}, place)
    assert place.statuses() == {"sending": 1}


def test_a_deferred_run_stays_alive(place: Place, reference: dict[str, Any]) -> None:
    end = deferred(submit(reference), place)
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(alive_until=tx.now + timedelta(minutes=1)))
    place.sandbox.platform.faults.clear()
    trigger = end.trigger
    assert isinstance(trigger, SubmitTrigger)
    trigger.until = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
    fire(end)
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_run.c.alive_until)).scalar_one() > tx.now + timedelta(hours=5)


def test_without_a_triggerer_it_is_rescheduled_and_executes_again(place: Place, reference: dict[str, Any]) -> None:
    operator = submit(reference, deferrable=False)
    with pytest.raises(AirflowRescheduleException) as end:
        operator.execute(place.context(task_id="submit"))
    left = end.value.reschedule_date - datetime.now(UTC)
    assert timedelta(0) <= left <= timedelta(minutes=2)
    place.sandbox.platform.faults.clear()
    end_doubt(place, hours=2)
    assert operator.execute(place.context(task_id="submit")) == reference
    assert place.sent() == list(range(1_001, 1_121))


def test_customers_without_a_query_are_handed_on_by_their_plan_alone(place: Place) -> None:
    place.platform(post_timeout_s=60)
    place.sandbox.fault("submit", "drop", when="before", times=9)
    operator = IssueBadgeOperator(
        task_id="issue", customers=[901, 902, 903], **{**BADGE, "customers_per_request": 1}, in_flight=IN_FLIGHT
    )
    end = deferred(operator, place)
    assert not {901, 902, 903}.intersection((end.kwargs or {})["reference"].values())
    place.sandbox.platform.faults.clear()
    end_doubt(place, hours=2)
    operator.customers = None  # whatever is rendered then: the plan is the ledger's
    assert resumed(operator, end, {"status": "work"}, place)["planned"] == 3
    assert place.sent() == [901, 902, 903]


def test_a_platform_that_is_away_after_something_was_accepted_uses_up_no_retry(
    place: Place, reference: dict[str, Any]
) -> None:
    place.sandbox.platform.faults.clear()
    place.sandbox.fault("submit", "delay", seconds=0, times=4)
    place.sandbox.fault("submit", "status", when="before", status=503, code=4001, times=50)
    operator = submit(reference)
    end = deferred(operator, place)
    assert len(place.sandbox.platform.requests()) == 4
    assert isinstance(end.trigger, SubmitTrigger)
    assert (end.trigger.until, end.trigger.may_end_early) == ("", False)
    assert fire(end) == {"status": "work"}, "the list can be read"
    with pytest.raises(AirflowException, match="not taken") as failed:
        resumed(operator, end, {"status": "work"}, place)
    assert not isinstance(failed.value, AirflowFailException), "no step forward: a retry"
    place.sandbox.platform.faults.clear()
    assert resumed(operator, end, {"status": "work"}, place) == reference
    assert place.sent() == list(range(1_001, 1_121))


def test_nothing_accepted_for_longer_than_any_judging_takes_is_a_failure(
    place: Place, reference: dict[str, Any]
) -> None:
    operator = submit(reference)
    end = deferred(operator, place)
    assert end.kwargs is not None
    end = replace_since(end, datetime.now(UTC) - timedelta(hours=3))
    with pytest.raises(AirflowException, match=r"1 request .* is in doubt, and the platform's list .*support"):
        resumed(operator, end, {"status": "work"}, place)


def test_what_the_run_was_told_of_in_the_meantime_counts_as_progress_while_it_waits(
    place: Place, reference: dict[str, Any]
) -> None:
    place.sandbox.platform.faults.clear()
    place.sandbox.fault("submit", "delay", seconds=0, times=2)
    place.sandbox.fault("submit", "drop", when="before", times=9)
    operator = submit(reference)
    end = replace_since(deferred(operator, place), datetime.now(UTC) - timedelta(hours=3))
    assert place.statuses()["waiting"] == 2
    with pytest.raises(TaskDeferred):
        resumed(operator, end, {"status": "work"}, place)


def replace_since(end: TaskDeferred, since: datetime) -> TaskDeferred:
    end.kwargs = {**(end.kwargs or {}), "waiting_since": since.isoformat()}
    return end


@pytest.mark.parametrize("event", [None, {}, {"status": "succeeded"}, "work"])
def test_an_unknown_event_fails_loudly(place: Place, reference: dict[str, Any], event: object) -> None:
    operator = submit(reference)
    end = deferred(operator, place)
    with pytest.raises(AirflowException, match="unknown status"):
        resumed(operator, end, event, place)


def test_it_waits_a_minute_within_the_task(place: Place, reference: dict[str, Any]) -> None:
    deferred(submit(reference), place)
    assert place.sandbox.platform.calls[Route.LIST] >= 5
    assert IN_TASK_S == 60
