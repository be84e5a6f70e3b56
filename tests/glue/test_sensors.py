from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import TriggerEvent
from sqlalchemy import select, text, update

from capillary.engine import polling
from capillary.engine.verdict import OnFinding, Policy
from capillary.ledger import scans
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.run_wait import run_wait
from capillary.ledger.schema import badge_request, badge_run
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from sandbox.faults import Route
from tests.glue.conftest import BADGE, SQL, Place


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No quiet time, and polls without a pause to speak of."""
    monkeypatch.setattr(polling, "QUIET_S", 0.01)
    monkeypatch.setattr(polling, "_GROWTH", 1.0)


def sensor(requests: object, **arguments: Any) -> BadgeRequestSensor:  # noqa: ANN401 - arguments of the sensor
    return BadgeRequestSensor(task_id="wait", plan=requests, **arguments)


def deferred(waiting: BadgeRequestSensor, place: Place) -> tuple[BadgeRequestTrigger, TaskDeferred]:
    with pytest.raises(TaskDeferred) as end:
        waiting.execute(place.context(task_id="wait"))
    assert isinstance(end.value.trigger, BadgeRequestTrigger)
    return end.value.trigger, end.value


def fire(trigger: BadgeRequestTrigger, *, poll_interval_s: float = 0.05) -> TriggerEvent:
    """Run a trigger as the triggerer does: made again from what it serialises to."""
    _, facts = trigger.serialize()
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(facts))))
    again = BadgeRequestTrigger(**kwargs)
    again.poll_interval_s = poll_interval_s

    async def first() -> TriggerEvent:
        async with asyncio.timeout(10):
            return await anext(again.run())

    return asyncio.run(first())


def test_it_looks_once_and_defers_with_references_only(place: Place, submitted: dict[str, Any]) -> None:
    trigger, end = deferred(sensor(submitted), place)
    assert (end.method_name, trigger.ended, trigger.doubt_due) == ("execute_complete", 0, 0)
    assert end.timeout is not None
    assert timedelta(days=7) < end.timeout + timedelta(minutes=1) < timedelta(days=7, minutes=12)
    path, facts = trigger.serialize()
    assert path == "capillary.triggers.BadgeRequestTrigger"
    assert set(map(type, facts.values())) <= {int, float, str}
    assert "sandbox-maker" not in str(facts)


def test_all_decided_calls_the_worker_which_settles(place: Place, submitted: dict[str, Any], quick: None) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    place.sandbox.approve_all()
    event = fire(trigger)
    assert event.payload == {"status": "work"}
    assert place.statuses() == {"waiting": 3}, "a trigger records, it does not settle"
    ended = sensor(submitted).execute_complete(place.context(), event.payload)
    assert ended["outcomes"] == {"enrolled": 120}
    assert (place.outcomes(), place.statuses()) == ({"enrolled": 120}, {"settled": 3})


def test_what_is_decided_at_the_first_look_needs_no_trigger(place: Place, submitted: dict[str, Any]) -> None:
    place.sandbox.approve_all()
    assert sensor(submitted).execute(place.context())["outcomes"] == {"enrolled": 120}


def test_a_part_is_settled_when_settle_every_has_passed(place: Place, submitted: dict[str, Any], quick: None) -> None:
    waiting = sensor(submitted, settle_every=timedelta(seconds=0.2))
    trigger, _ = deferred(waiting, place)
    place.sandbox.approve(place.request_keys()[0])
    assert fire(trigger).payload == {"status": "work"}
    with pytest.raises(TaskDeferred) as end:
        waiting.execute_complete(place.context(), {"status": "work"})
    assert place.statuses() == {"settled": 1, "waiting": 2}
    assert isinstance(end.value.trigger, BadgeRequestTrigger)
    assert end.value.trigger.ended == 1


def test_a_part_calls_no_worker_before_that(place: Place, submitted: dict[str, Any], quick: None) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    place.sandbox.approve(place.request_keys()[0])
    trigger.deadline = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    assert fire(trigger).payload == {"status": "deadline"}


def test_one_of_many_triggers_reads_the_list_for_all(place: Place, submitted: dict[str, Any], quick: None) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    with place.ledger.write() as tx:
        scans.lease(tx, f"{place.sandbox.url.removeprefix('http://')}/100458", by="another", older_than=timedelta(0))
    before = place.sandbox.platform.calls[Route.LIST]
    trigger.deadline = (datetime.now(UTC) + timedelta(seconds=0.4)).isoformat()
    assert fire(trigger).payload == {"status": "deadline"}
    assert place.sandbox.platform.calls[Route.LIST] == before


def test_a_rejection_fails_without_retry(place: Place, submitted: dict[str, Any]) -> None:
    for key in place.request_keys():
        place.sandbox.reject(key, "not these")
    with pytest.raises(AirflowFailException, match="120 customers rejected by the checker"):
        sensor(submitted).execute(place.context())
    assert place.outcomes() == {"rejected": 120}
    accepted = sensor(submitted, policy=Policy(on_rejected=OnFinding.ACCEPT)).execute(place.context())
    assert accepted["outcomes"] == {"rejected": 120}


def test_the_deadline_counts_from_the_first_send(place: Place, submitted: dict[str, Any]) -> None:
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(planned_at=tx.now - timedelta(hours=2)))
        tx.conn.execute(update(badge_request).values(first_sent_at=tx.now - timedelta(hours=2)))
    trigger, end = deferred(sensor(submitted, timeout=timedelta(hours=3)), place)
    assert end.timeout is not None
    assert end.timeout < timedelta(hours=1, minutes=11)
    assert datetime.fromisoformat(trigger.deadline) - datetime.now(UTC) < timedelta(hours=1)
    with pytest.raises(AirflowSensorTimeout, match=r"deadline has passed with 120 customers in 3 requests still open"):
        sensor(submitted, timeout=timedelta(hours=1)).execute(place.context())
    place.sandbox.approve_all()
    late = sensor(submitted, timeout=timedelta(hours=1)).execute(place.context())
    assert late["outcomes"] == {"enrolled": 120}, "cleared after the deadline it takes what was decided"


@pytest.mark.parametrize("event", [None, {}, {"status": "succeeded"}, "work"])
def test_an_unknown_event_fails_loudly(place: Place, submitted: dict[str, Any], event: object) -> None:
    with pytest.raises(AirflowException, match="unknown status"):
        sensor(submitted).execute_complete(place.context(), event)


def test_failed_polls_are_tolerated_and_then_a_worker_says_why(
    place: Place, submitted: dict[str, Any], quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    monkeypatch.setattr(polling, "TOLERATED_FAILURES", 2)
    place.connect(
        "capillary",
        conn_type="capillary",
        host=place.sandbox.url,
        login="sandbox-maker",
        password="wrong",
        extra={"organisation_id": "100458"},
    )
    assert fire(trigger).payload == {"status": "failed"}
    with pytest.raises(AirflowFailException, match="password"):
        sensor(submitted).execute_complete(place.context(), {"status": "failed"})
    place.platform()
    place.sandbox.approve_all()
    assert sensor(submitted).execute(place.context())["outcomes"] == {"enrolled": 120}


def test_a_platform_that_is_away_does_not_end_the_wait(
    place: Place, submitted: dict[str, Any], no_pauses: None
) -> None:
    place.sandbox.fault("list", "status", status=503, times=100)
    trigger, _ = deferred(sensor(submitted), place)
    assert trigger.ended == -1, "what this look could not see calls a worker again"
    assert place.statuses() == {"waiting": 3}


def test_where_there_is_no_triggerer_it_pokes(place: Place, submitted: dict[str, Any]) -> None:
    waiting = sensor(submitted, mode="reschedule")
    assert not waiting.poke(place.context()).is_done
    place.sandbox.approve_all()
    done = waiting.poke(place.context())
    assert done.is_done
    assert done.xcom_value is not None
    assert done.xcom_value["outcomes"] == {"enrolled": 120}


def test_a_lost_reply_is_found_by_the_wait(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context(task_id="extract"))
    place.sandbox.fault("submit", "drop", times=1)
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context(task_id="submit"))
    place.sandbox.approve_all()
    assert sensor(plan).execute(place.context())["outcomes"] == {"enrolled": 120}
    assert place.sent() == list(range(1_001, 1_121))


def test_nothing_planned_is_skipped(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, dry_run=True, **BADGE).execute(place.context())
    with pytest.raises(AirflowSkipException, match="nothing to wait for"):
        sensor(plan).execute(place.context())


def test_requests_that_were_never_sent_are_not_waited_for(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    with pytest.raises(AirflowFailException, match="3 requests were never sent; report gives their customers back"):
        sensor(plan).execute(place.context())


def test_requests_that_failed_the_platforms_checks_are_found_and_named_and_not_settled(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.sandbox.platform.switch(fail_checks=True)
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context(task_id="extract"))
    submitted = IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context(task_id="submit"))
    assert "says that it did not pass its check (ValidatePayload)" in caplog.text
    deferred(sensor(submitted), place)
    said = "the platform says that 3 requests did not pass its own check"
    reference: dict[str, Any] = dict(submitted)
    with place.ledger.read() as tx:
        wait = run_wait(tx, open_plan(tx, PlanId(reference["badge_run_id"], reference["token"])))
    assert (wait.said_of_checks or "").startswith(said)
    with pytest.raises(AirflowSensorTimeout, match=said):
        sensor(submitted, timeout=0).execute(place.context(task_id="wait"))
    with place.ledger.read() as tx:
        waiting = tx.conn.execute(text("SELECT status, failed_checks, maker_id, start_time FROM badge_waiting")).all()
        assert tx.conn.execute(select(badge_request.c.tries)).scalars().all() == [1, 1, 1], "none is sent again"
    assert {row[:2] for row in waiting} == {("waiting", "ValidatePayload")}
    assert all(row.maker_id and row.start_time for row in waiting)


def test_what_a_restored_ledger_finds_was_not_waited_for_by_this_run(place: Place, submitted: dict[str, Any]) -> None:
    week_ago = datetime.now(UTC) - timedelta(days=8)
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(first_sent_at=week_ago))
    _, end = deferred(sensor(submitted), place)
    assert end.timeout is not None
    assert end.timeout > timedelta(days=6)


# soft_fail, never_fail -----------------------------------------------------------------------------------------


def resumed(waiting: BadgeRequestSensor, place: Place, event: object) -> Any:  # noqa: ANN401 - what Airflow's gives
    """Go on after a deferral as a worker does."""
    return waiting.resume_execution("execute_complete", {"event": event}, place.context())


SOFT: dict[str, Any] = {"first look": None, "after a deferral": {"status": "deadline"}}


@pytest.mark.parametrize("kind", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("when", SOFT)
def test_a_failed_verdict_is_a_skip_where_it_is_asked_for_at_every_look(
    place: Place, submitted: dict[str, Any], kind: str, when: str
) -> None:
    for key in place.request_keys():
        place.sandbox.reject(key, "not these")
    waiting = sensor(submitted, **{kind: True})
    with pytest.raises(AirflowSkipException, match="instead of failing: 120 customers rejected by the checker"):
        waiting.execute(place.context()) if SOFT[when] is None else resumed(waiting, place, SOFT[when])
    assert place.outcomes() == {"rejected": 120}, "it is settled all the same"


@pytest.mark.parametrize("when", SOFT)
def test_a_missed_deadline_is_one_too(place: Place, submitted: dict[str, Any], when: str) -> None:
    waiting = sensor(submitted, timeout=0, soft_fail=True)
    with pytest.raises(AirflowSkipException, match="The deadline has passed with 120 customers"):
        waiting.execute(place.context()) if SOFT[when] is None else resumed(waiting, place, SOFT[when])


@pytest.mark.parametrize("when", SOFT)
def test_what_a_retry_can_end_is_tried_again_and_no_skip(place: Place, submitted: dict[str, Any], when: str) -> None:
    """Airflow's own sensor skips after a deferral whatever failed: nobody would wait for the requests any more."""
    place.connect("badge_ledger", conn_type="postgres", host="127.0.0.1", port=1, login="x", password="x", schema="x")
    waiting = sensor(submitted, soft_fail=True)
    with pytest.raises(AirflowException) as failure:
        waiting.execute(place.context()) if SOFT[when] is None else resumed(waiting, place, SOFT[when])
    assert not isinstance(failure.value, AirflowSkipException | AirflowFailException)
    never = sensor(submitted, never_fail=True)
    with pytest.raises(AirflowSkipException, match="instead of failing"):
        never.execute(place.context()) if SOFT[when] is None else resumed(never, place, SOFT[when])


def test_a_deferral_that_nobody_ended_is_a_missed_deadline(place: Place, submitted: dict[str, Any]) -> None:
    context = place.context()
    with pytest.raises(AirflowSensorTimeout):
        sensor(submitted).resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context)
    with pytest.raises(AirflowSkipException):
        sensor(submitted, soft_fail=True).resume_execution(
            "__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context
        )
    with pytest.raises(TaskDeferralError):
        sensor(submitted, soft_fail=True).resume_execution(
            "__fail__", {"error": TriggerFailureReason.TRIGGER_FAILURE}, context
        )


def test_soft_fail_does_not_skip_what_is_decided_well_or_still_open(place: Place, submitted: dict[str, Any]) -> None:
    deferred(sensor(submitted, soft_fail=True), place)
    place.sandbox.approve_all()
    assert resumed(sensor(submitted, soft_fail=True), place, {"status": "deadline"})["outcomes"] == {"enrolled": 120}
