"""An Com that `airflow db clean` took from a waiting run: its tasks find its plan in the ledger, and no other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from sqlalchemy import func, select, update

from capillary.airflow_run import airflow_run_of
from capillary.ledger.plan_id import PlanId, is_of_run, new_token
from capillary.ledger.schema import badge_run
from capillary.lost_xcom import planning_task_of
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.sensors import BadgeRequestSensor
from tests.glue.conftest import BADGE, SQL, Place

STARTED = datetime(2026, 11, 26, 6, 0, 1, 234567, UTC)
#: The same run, as another Airflow began it.
ELSEWHERE = STARTED + timedelta(microseconds=1)


def context(place: Place, task_id: str, *, run_id: str = "run", started: datetime | None = STARTED) -> Context:
    made = place.context(run_id, task_id)
    return cast("Context", {**made, "dag_run": SimpleNamespace(start_date=started, clear_number=0)})


class Tasks:
    """The tasks of a DAG by hand. Airflow renders None where an Com is gone."""

    def __init__(self, place: Place, *, handed_by: str = "plan", **changes: Any) -> None:  # noqa: ANN401 - of the plan
        self.place = place
        with DAG("vip", schedule=None):
            self.plan = PlanBadgesOperator(task_id="plan", sql=SQL, **{**BADGE, **changes})
            self.submit = IssueBadgeOperator(task_id="submit", plan=self.plan.output)
            handed = self.plan.output if handed_by == "plan" else self.submit.output
            self.wait = BadgeRequestSensor(task_id="wait", plan=handed)
            self.report = ReportBadgesOperator(task_id="report", plan=handed)

    def planned(self, *, started: datetime = STARTED) -> dict[str, Any]:
        return dict(self.plan.execute(context(self.place, "plan", started=started)))

    def sent(self, *, started: datetime = STARTED) -> dict[str, Any]:
        reference = self.planned(started=started)
        self.submit.plan = reference
        self.submit.execute(context(self.place, "submit", started=started))
        return reference

    def waits(self, *, started: datetime | None = STARTED, plan: object = None) -> dict[str, Any]:
        self.wait.plan = plan
        return cast("dict[str, Any]", self.wait.execute(context(self.place, "wait", started=started)))

    def reports(self, *, started: datetime | None = STARTED, plan: object = None) -> dict[str, Any]:
        self.report.plan = plan
        return self.report.execute(context(self.place, "report", started=started))


def unsent(place: Place) -> int:
    return place.statuses().get("planned", 0)


@pytest.mark.parametrize("handed_by", ["plan", "submit"])
def test_wait_and_report_go_on_with_the_plan_of_their_run(place: Place, handed_by: str) -> None:
    tasks = Tasks(place, handed_by=handed_by)
    reference = tasks.sent()
    with pytest.raises(TaskDeferred) as deferred:
        tasks.waits()
    trigger = deferred.value.trigger
    assert (trigger.badge_run_id, trigger.token) == (reference["badge_run_id"], reference["token"])
    place.sandbox.approve_all()
    ended = tasks.waits()
    assert (ended["token"], ended["outcomes"]) == (reference["token"], {"enrolled": 120})
    report = tasks.reports()
    assert (report["verdict"], report["funnel"]["enrolled"]) == ("pass", 120)


def test_a_plan_that_submit_made_by_itself_is_found(place: Place) -> None:
    with DAG("vip", schedule=None):
        issue = IssueBadgeOperator(task_id="issue", customers=[1, 2], **BADGE)
        wait = BadgeRequestSensor(task_id="wait", plan=issue.output)
        report = ReportBadgesOperator(task_id="report", plan=wait.output)
    issue.execute(context(place, "issue"))
    place.sandbox.approve_all()
    wait.plan = report.plan = None
    assert wait.execute(context(place, "wait"))["outcomes"] == {"enrolled": 2}
    assert report.execute(context(place, "report"))["verdict"] == "pass"


def test_a_task_that_resumes_has_handed_the_reference_to_itself(place: Place) -> None:
    """Where the run was cleared after its end it began at another time; the token is enough."""
    tasks = Tasks(place)
    reference = tasks.sent()
    with pytest.raises(TaskDeferred) as deferred:
        tasks.waits(plan=reference)
    assert deferred.value.kwargs == {"reference": reference}
    place.sandbox.approve_all()
    tasks.wait.plan = None
    resumed = tasks.wait.execute_complete(
        context(place, "wait", started=ELSEWHERE), {"status": "deadline"}, **deferred.value.kwargs
    )
    assert (resumed["token"], resumed["outcomes"]) == (reference["token"], {"enrolled": 120})


def test_an_xcom_that_is_there_counts_more_than_what_a_deferred_task_kept(place: Place) -> None:
    tasks = Tasks(place)
    reference = tasks.sent()
    place.sandbox.approve_all()
    tasks.wait.plan = reference
    older = {**reference, "token": "0" * 32}
    assert (
        tasks.wait.execute_complete(context(place, "wait"), {"status": "deadline"}, reference=older)["token"]
        == reference["token"]
    )


def test_what_a_deferred_task_kept_is_held_to_its_token(place: Place) -> None:
    tasks = Tasks(place)
    other = {**tasks.sent(), "token": "0" * 32}
    tasks.wait.plan = None
    with pytest.raises(AirflowFailException, match="PlanUnknown: the ledger has no plan"):
        tasks.wait.execute_complete(context(place, "wait"), {"status": "deadline"}, reference=other)


#: How the words begin that a task without a plan ends with.
MISSING = "PlanMissing: no plan was handed over (NoneType)"


def failure(task: Callable[[], object]) -> str:
    """Return the words that a task fails with, for good."""
    with pytest.raises(AirflowFailException) as failed:
        task()
    return str(failed.value)


@pytest.mark.parametrize("started", [ELSEWHERE, None], ids=["another Airflow", "no start is known"])
def test_the_plan_of_a_run_of_one_name_in_another_airflow_is_not_found(place: Place, started: datetime | None) -> None:
    tasks = Tasks(place)
    tasks.sent()
    place.sandbox.approve_all()
    before = place.rows()
    assert failure(lambda: tasks.waits(started=started)).startswith(MISSING)
    assert failure(lambda: tasks.reports(started=started)).startswith(MISSING)
    assert place.rows() == before
    assert place.outcomes() == {None: 120}


def test_a_plan_of_another_airflow_keeps_what_it_has_not_sent(place: Place) -> None:
    """Its report would give back what the other one is about to send."""
    tasks = Tasks(place)
    tasks.planned()
    assert failure(lambda: tasks.reports(started=ELSEWHERE)).startswith(MISSING)
    assert unsent(place) == 3


def test_a_plan_of_which_nothing_was_sent_is_not_found(place: Place) -> None:
    """A restore may have brought it back in place of one that was planned after it, and sent."""
    tasks = Tasks(place)
    tasks.planned()
    assert failure(tasks.waits).startswith(MISSING)
    assert failure(tasks.reports).startswith(MISSING)
    assert unsent(place) == 3


@pytest.mark.parametrize(
    "other", [{"dag_id": "vip2"}, {"run_id": "run2"}, {"task_id": "plan2"}, {"task_id": "plan[0]"}], ids=str
)
def test_the_plan_of_another_dag_run_or_task_is_not_found(place: Place, other: dict[str, str]) -> None:
    tasks = Tasks(place)
    tasks.sent()
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(**other))
    assert failure(tasks.waits).startswith(MISSING)
    assert failure(tasks.reports).startswith(MISSING)


def test_two_plans_of_a_run_are_told_by_the_account_or_not_at_all(place: Place) -> None:
    """The connection was pointed elsewhere, and extract cleared: wait knows the account, report does not."""
    tasks = Tasks(place)
    tasks.sent()
    with place.ledger.write() as tx:
        run = dict(tx.conn.execute(select(badge_run)).mappings().one())
        other = {**run, "id": run["id"] + 1, "account": "elsewhere/1", "token": "f" * 16 + run["token"][16:]}
        tx.conn.execute(badge_run.insert().values(other))
    with pytest.raises(TaskDeferred) as deferred:
        tasks.waits()
    assert deferred.value.trigger.token == run["token"]
    assert failure(tasks.reports).startswith(MISSING)
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(func.sum(badge_run.c.discarded))).scalar_one() == 0


def test_a_dry_run_finds_no_plan(place: Place) -> None:
    tasks = Tasks(place, dry_run=True)
    tasks.planned()
    assert failure(tasks.waits).startswith(MISSING)
    assert failure(tasks.reports).startswith(MISSING)


def test_what_plans_is_read_from_the_dag_file(place: Place) -> None:
    tasks = Tasks(place, handed_by="submit")
    assert tasks.wait.planned_by == tasks.report.planned_by == "plan"
    assert planning_task_of(tasks.wait.output) == "plan"
    assert planning_task_of("{{ ti.xcom_pull('plan') }}") is None
    assert planning_task_of(None) is None
    with DAG("mapped", schedule=None):
        mapped = PlanBadgesOperator.partial(task_id="plan", **BADGE).expand(sql=[SQL, SQL])
    assert planning_task_of(mapped.output) is None


def test_a_template_that_finds_nothing_is_told_as_before(place: Place) -> None:
    wait = BadgeRequestSensor(task_id="wait", plan="{{ ti.xcom_pull('plan') }}")
    wait.plan = None
    assert failure(lambda: wait.execute(context(place, "wait"))).startswith(MISSING)


def test_half_of_a_token_is_random_and_half_is_the_runs(place: Place) -> None:
    tokens = {new_token("a run") for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {32}
    assert all(is_of_run(token, "a run") and not is_of_run(token, "another") for token in tokens)
    assert not is_of_run(new_token(""), "")
    assert len({new_token("")[16:] for _ in range(100)}) == 100
    reference = PlanReference.parse(Tasks(place).sent())
    assert reference.plan_id == PlanId(1, reference.token or "")
    assert is_of_run(reference.token or "", airflow_run_of(context(place, "plan")))
    assert not is_of_run(reference.token or "", airflow_run_of(context(place, "plan", started=ELSEWHERE)))
