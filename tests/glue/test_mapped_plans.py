"""Plans by a mapped task: one that finds nobody keeps nobody waiting, and all of them are not one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from capillary.airflow_errors import PlanMissing
from capillary.errors import TerminalError
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.sensors import BadgeRequestSensor
from tests.glue.conftest import BADGE, SQL, Place


def part(place: Place, map_index: int, task_id: str) -> Context:
    """Return the context of one part of a mapped task."""
    context = cast("dict[str, Any]", place.context(task_id=task_id))
    context["ti"].map_index = map_index
    return cast("Context", context)


def test_a_part_that_finds_nobody_is_no_skip_which_would_be_that_of_all(place: Place) -> None:
    references: list[Mapping[str, Any]] = []
    for map_index, sql in enumerate((f"{SQL} LIMIT 0", SQL)):
        operator = PlanBadgesOperator(task_id="plan", sql=sql, **BADGE)
        references.append(operator.execute(part(place, map_index, "plan")))
    assert [reference["planned"] for reference in references] == [0, 120]
    submitted = [
        IssueBadgeOperator(task_id="submit", plan=reference).execute(part(place, map_index, "submit"))
        for map_index, reference in enumerate(references)
    ]
    assert submitted == references
    place.sandbox.approve_all()
    waited = [
        BadgeRequestSensor(task_id="wait", plan=reference).execute(part(place, map_index, "wait"))
        for map_index, reference in enumerate(submitted)
    ]
    assert waited == [references[0], {**references[1], "outcomes": {"enrolled": 120}}]
    sentences = [
        ReportBadgesOperator(task_id="report", plan=reference).execute(part(place, map_index, "report"))["sentence"]
        for map_index, reference in enumerate(waited)
    ]
    assert sentences == ["Nothing left to do: the query returned nobody.", "All of 120 customers ended: 120 enrolled."]


def test_a_part_of_a_dry_run_is_handed_on_as_well(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="plan", sql=SQL, dry_run=True, **BADGE).execute(part(place, 0, "plan"))
    handed_on = IssueBadgeOperator(task_id="submit", plan=plan).execute(part(place, 0, "submit"))
    assert handed_on == PlanReference.parse(plan).to_xcom()
    assert plan["preview"]["requests"] == 3, "what a live run would do stays with the task that plans"
    with pytest.raises(AirflowSkipException, match="a dry run submits nothing"):
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert place.sandbox.platform.requests() == []


@pytest.mark.parametrize("operator", [IssueBadgeOperator, BadgeRequestSensor, ReportBadgesOperator])
def test_all_plans_of_a_mapped_task_are_refused_when_the_file_is_read(operator: Any) -> None:  # noqa: ANN401
    with DAG(dag_id="vip", schedule=None):
        plan = PlanBadgesOperator.partial(task_id="plan", **BADGE).expand(sql=[SQL, SQL])
        with pytest.raises(TerminalError) as caught:
            operator(task_id="next", plan=plan.output)
        operator.partial(task_id="mapped").expand(plan=plan.output)
        one = PlanBadgesOperator(task_id="one", sql=SQL, **BADGE)
        operator(task_id="after", plan=one.output)
    said = "Task 'next', argument 'plan': it is the list of all plans of a mapped task. Map this task, too: "
    assert str(caught.value) == f"{said}.partial(…).expand(plan=….output)."


@pytest.mark.parametrize("operator", [IssueBadgeOperator, BadgeRequestSensor, ReportBadgesOperator])
def test_and_when_the_task_runs(place: Place, operator: Any) -> None:  # noqa: ANN401 - any of them
    plans = [PlanBadgesOperator(task_id="plan", sql=SQL, **BADGE).execute(part(place, 0, "plan"))] * 2
    task = operator(task_id="next", plan="{{ plans }}")
    task.plan = plans
    with pytest.raises(AirflowFailException, match=r"a mapped task's plans \(2\) were handed over in place of one"):
        task.execute(place.context())
    assert place.sandbox.platform.requests() == []


def test_a_wrong_value_of_a_part_fails_at_once() -> None:
    """Airflow makes the operator of a part when it runs: its refusal must be one that is not retried."""
    with DAG(dag_id="vip", schedule=None):
        mapped: Any = PlanBadgesOperator.partial(task_id="plan", sql=SQL, **BADGE).expand(dry_run=[True, "false"])
    with pytest.raises(AirflowFailException, match="Task 'plan', argument 'dry_run': it should be a valid boolean"):
        mapped.unmap({"dry_run": "false"})
    assert mapped.unmap({"dry_run": True}).is_dry_run is True


GOOD = {
    "badge_run_id": 7,
    "token": "0" * 32,
    "requests": 1,
    "canary": False,
    "waits_for_canary": False,
    "eligible": 5,
    "invalid": 0,
    "duplicates": 0,
    "known_before": 0,
    "over_cap": 0,
    "planned": 5,
    "known_elsewhere": 0,
    "known_through": "",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"badge_run_id": True},
        {"badge_run_id": "7"},
        {"badge_run_id": 7.0},
        {"badge_run_id": None},
        {"token": None},
        {"token": 7},
        {"requests": -1},
        {"requests": "1"},
        {"planned": None},
        {"planned": True},
        {"canary": "false"},
        {"waits_for_canary": 0},
        {"known_through": None},
    ],
    ids=str,
)
def test_a_reference_of_other_types_is_no_plan(wrong: dict[str, Any]) -> None:
    assert PlanReference.parse({**GOOD, "outcomes": {}}).badge_run_id == 7
    assert PlanReference.parse({**GOOD, "badge_run_id": None, "token": None}).is_dry_run
    with pytest.raises(PlanMissing, match=r"no plan was handed over \(dict\)"):
        PlanReference.parse({**GOOD, **wrong})
