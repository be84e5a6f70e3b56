"""What the log says while a run waits: who waits, since when, where the checker decides, when it looks next."""

from __future__ import annotations

import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, TaskInstanceState
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from capillary.airflow_errors import PlanMissing
from capillary.engine import polling
from capillary.operators import PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import DEADLINE, BadgeRequestSensor
from tests.glue.conftest import BADGE, SQL, Place
from tests.glue.test_sensors import deferred, fire, quick, sensor

__all__ = ["quick"]


class Said(list[str]):
    """Keeps what a task logs, whatever level Airflow's own logging is set to by then."""

    def info(self, words: str, *values: object) -> None:
        self.append(words % values if values else words)

    warning = error = info


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    kept = Said()
    monkeypatch.setattr(BadgeRequestSensor, "log", kept)
    return kept


def test_the_task_says_who_waits_where_the_checker_decides_and_how_to_look_now(
    place: Place, submitted: dict[str, Any], said: Said
) -> None:
    place.platform(checker_url="https://intouch.example/member-care/requests")
    deferred(sensor(submitted), place)
    waits, where, when = said[-3:]
    assert waits.startswith("3 requests: 3 with 120 customers waiting for the checker since ")
    assert "; deadline " in waits
    assert where == "the checker decides at https://intouch.example/member-care/requests"
    assert "looked at again in about 30 s" in when
    assert when.endswith("To look now, clear this task: nothing is sent again")


def test_airflow_keeps_until_when_a_human_may_decide(place: Place, submitted: dict[str, Any]) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    assert place.pushed.values[DEADLINE] == trigger.deadline


def test_without_an_address_it_says_where_to_write_one(place: Place, submitted: dict[str, Any], said: Said) -> None:
    deferred(sensor(submitted), place)
    assert said[-2].endswith("write its address into Checker's page of connection 'capillary'")


def test_nobody_is_sent_to_a_checker_who_has_nothing_to_decide(
    place: Place, submitted: dict[str, Any], said: Said
) -> None:
    place.sandbox.approve_all()
    sensor(submitted).execute(place.context())
    assert said
    assert not [line for line in said if "the checker decides" in line or "checker's page" in line]


def test_the_trigger_says_at_every_look_who_waits_and_when_it_looks_next(
    place: Place,
    submitted: dict[str, Any],
    quick: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trigger, _ = deferred(sensor(submitted), place)
    pauses = []

    def approved_after_two(wait: polling.DecisionWait, left_s: float) -> None:
        pauses.append(left_s)
        wait.pause_s = 0.05
        if len(pauses) == 2:
            place.sandbox.approve_all()

    monkeypatch.setattr(polling.DecisionWait, "pause_for", approved_after_two)
    with caplog.at_level(logging.INFO, logger="capillary.trigger"):
        fire(trigger)
    said = [record.getMessage() for record in caplog.records if record.name == "capillary.trigger"]
    assert len(said) == 2
    for line in said:
        assert line.startswith("3 requests: 3 with 120 customers waiting for the checker since 20")
        assert line.endswith("; next look in 0 s")


@pytest.mark.parametrize(("deadline", "warns"), [(timedelta(hours=20), True), (timedelta(days=2), False)], ids=str)
def test_within_a_day_of_the_deadline_every_look_warns(
    place: Place,
    submitted: dict[str, Any],
    quick: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    deadline: timedelta,
    warns: bool,
) -> None:
    trigger, _ = deferred(sensor(submitted, timeout=deadline), place)

    def approved(wait: polling.DecisionWait, left_s: float) -> None:
        wait.pause_s = 0.05
        place.sandbox.approve_all()

    monkeypatch.setattr(polling.DecisionWait, "pause_for", approved)
    with caplog.at_level(logging.INFO, logger="capillary.trigger"):
        fire(trigger)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [line.rpartition("; ")[2] for line in said] == (
        ["the deadline is in 20 h: remind the checker"] if warns else []
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (30.0, "30 s"),
        (89.4, "89 s"),
        (90.0, "2 min"),
        (600.0, "10 min"),
        (900.0, "15 min"),
        (5_399.0, "90 min"),
        (5_400.0, "2 h"),
        (72_000.0, "20 h"),
    ],
)
def test_a_pause_is_told_in_seconds_or_minutes(seconds: float, expected: str) -> None:
    assert polling._span(seconds) == expected


def report_of(place: Place, ask: object) -> str:
    """Return what the report fails with, where Airflow answers for the states of tasks by `ask`."""
    with DAG("vip", schedule=None):
        plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE)
        report = ReportBadgesOperator(task_id="report", plan=plan.output)
    report.plan = None
    context = place.context(task_id="report")
    context["ti"] = cast("Any", SimpleNamespace(**vars(context["ti"]), get_task_states=ask))
    with pytest.raises(AirflowFailException) as failed:
        report.execute(context)
    return str(failed.value)


@pytest.mark.parametrize("state", [TaskInstanceState.FAILED, "failed"])
def test_a_report_after_a_typing_error_in_the_form_says_that_planning_has_failed(place: Place, state: object) -> None:
    asked = []

    def ask(**which: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's
        asked.append(which)
        return {which["run_ids"][0]: {"extract": state}}

    assert report_of(place, ask) == (
        "PlanMissing: nothing was planned: the task extract has failed. Read its log and correct what it names; then "
        "clear extract and the tasks after it"
    )
    assert [each["task_ids"] for each in asked] == [["extract"]]


@pytest.mark.parametrize("states", [{}, {"another run": {"extract": "failed"}}], ids=str)
def test_where_airflow_does_not_know_the_sentence_names_both_causes(place: Place, states: dict[str, Any]) -> None:
    assert "has failed, or its XCom was cleared" in report_of(place, lambda **_: states)


def test_where_airflow_does_not_answer_the_report_still_says_that_there_is_no_plan(place: Place) -> None:
    def ask(**_: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's
        raise AirflowException("away")

    assert "no plan was handed over" in report_of(place, ask)


def test_a_plan_that_succeeded_and_is_gone_is_not_said_to_have_failed() -> None:
    assert "no plan was handed over" in str(PlanMissing(None, planned_by="extract", state="success"))
    assert "did not run, because a task before it failed" in str(
        PlanMissing(None, planned_by="extract", state="upstream_failed")
    )
