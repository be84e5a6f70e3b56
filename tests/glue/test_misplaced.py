"""What is given in place of what was meant: a task for its output, a method that was not called, another's field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from airflow.sdk import DAG, task

from capillary.arguments import (
    InlineArguments,
    KeepingArguments,
    QueryArguments,
    ReportArguments,
    SendingArguments,
    WaitingArguments,
)
from capillary.campaign import BadgeCampaign, CampaignInvalid
from capillary.campaign.trigger_form import TriggerForm
from capillary.checked_operator import ArgumentInvalid, given_to
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor

IDENTITY: dict[str, Any] = {
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "Loyalty",
    "reference_id": "134",
    "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
}
SQL = "SELECT 1 AS customer_id"
UNCALLED = "which was not called. Call it, and give what comes back: of a task that is its output."


@task
def members() -> list[int]:
    return [4711]


def plan(**given: Any) -> PlanBadgesOperator:  # noqa: ANN401 - anybody's
    return PlanBadgesOperator(task_id="plan", **{"sql": SQL, **IDENTITY, **given})


def issue(**given: Any) -> IssueBadgeOperator:  # noqa: ANN401 - anybody's
    return IssueBadgeOperator(task_id="submit", **given)


def wait(**given: Any) -> BadgeRequestSensor:  # noqa: ANN401 - anybody's
    return BadgeRequestSensor(task_id="wait", **given)


def report(**given: Any) -> ReportBadgesOperator:  # noqa: ANN401 - anybody's
    return ReportBadgesOperator(task_id="report", **given)


@pytest.fixture(autouse=True)
def dag() -> Iterator[DAG]:
    with DAG("vip", schedule=None) as dag:
        yield dag


def mapped() -> Any:  # noqa: ANN401 - Airflow's own
    return PlanBadgesOperator.partial(task_id="mapped", **IDENTITY).expand(sql=[SQL])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: plan(reference_id=members), f"'reference_id': it is the task members, {UNCALLED}"),
        (lambda: plan(reference_id=members.expand), f"'reference_id': it is the method expand, {UNCALLED}"),
        (lambda: plan(occasion=members.partial), f"'occasion': it is the method partial, {UNCALLED}"),
        (lambda: plan(entity=members), f"'entity': it is the task members, {UNCALLED}"),
        (
            lambda: plan(entity={**IDENTITY["entity"], "till_id": members}),
            f"'entity': it is the task members, {UNCALLED}",
        ),
        (lambda: plan(parameters={"some": members}), f"'parameters': it is the task members, {UNCALLED}"),
        (lambda: plan(sql=members), f"'sql': it is the task members, {UNCALLED}"),
        (lambda: issue(plan=members), f"'plan': it is the task members, {UNCALLED}"),
        (lambda: issue(plan=plan()), "'plan': it is the task 'plan' itself. Give its output: ….output."),
        (lambda: issue(plan=mapped()), "'plan': it is the task 'mapped' itself. Give its output: ….output."),
        (lambda: wait(plan=plan()), "'plan': it is the task 'plan' itself. Give its output: ….output."),
        (lambda: wait(plan=members.expand), f"'plan': it is the method expand, {UNCALLED}"),
        (lambda: report(plan=plan()), "'plan': it is the task 'plan' itself. Give its output: ….output."),
        (
            lambda: issue(customers=members(), **IDENTITY),
            "'customers': it is the output of task 'members', which Airflow",
        ),
        (
            lambda: issue(customers=members, **IDENTITY),
            "'customers': it is the task members, which was not called. Give a",
        ),
        (lambda: plan(canary=members()), "a valid boolean, not the output of task 'members'. Give True or False."),
        (lambda: plan(customer_cap=members()), "a valid integer, not the output of task 'members'. Give 1 to "),
        (lambda: plan(retry_outcomes=members()), "'retry_outcomes': it is the output of task 'members'. Give some of"),
        (lambda: plan(guards=members()), "an instance of Guards, not the output of task 'members'. Give Guards("),
        (lambda: report(plan={}, policy=members), "an instance of Policy, not the task members, which was not called."),
    ],
)
def test_an_operator_says_what_it_was_given(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        make()
    assert said in str(caught.value)
    assert "object at 0x" not in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"reference_id": members},
            "reference_id: it should be a valid string, not the task members, which was not",
        ),
        (
            {"reference_id": members.expand},
            "reference_id: it should be a valid string, not the method expand, which was",
        ),
        ({"policy": {}}, "policy: it should be an instance of Policy, not {}. Give Policy(…)."),
        (
            {"canary": "true"},
            "canary: it should be a valid boolean, not the text 'true' in quotes. Give True or False;",
        ),
        ({"dry_run": True}, "dry_run: there is no such field. Write live (dry_run=True is live=False, as by default)."),
        ({"note": "x"}, "note: there is no such field. Write nothing: it is a field of the trigger form."),
        ({"timeout": 5}, "timeout: there is no such field. Write deadline."),
        (
            {"timezone": "localtime"},
            "timezone: what 'localtime' means depends on the machine, and workers would disagree",
        ),
        ({"timezone": "posixrules"}, "timezone: what 'posixrules' means depends on the machine"),
        ({"timezone": "Factory"}, "timezone: what 'Factory' means depends on the machine"),
        ({"timezone": "posix/Asia/Kolkata"}, "timezone: what 'posix/Asia/Kolkata' means depends on the machine"),
        ({"timezone": "right/Asia/Kolkata"}, "timezone: what 'right/Asia/Kolkata' means depends on the machine"),
        (
            {"sql": "SELECT 1\n AS\0 customer_id"},
            "sql: it holds a character in its line 2 that no database takes (NUL, or",
        ),
        ({"sql": "SELECT customer_id FROM t /* AND"}, "sql: it has a comment without end: /* in line 1, column 27;"),
        (
            {"sql": f"{SQL} WHERE 'Gold' IN :some", "parameters": {"some": "Gold"}},
            "parameters: :some: its value is one text, and IN without brackets needs a list. Give a list, or",
        ),
        (
            {"sql": f"{SQL} WHERE 1 IN :some", "parameters": {"some": 1}},
            "parameters: :some: its value is one value, and IN without brackets needs a list",
        ),
    ],
)
def test_a_campaign_says_what_it_was_given(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CampaignInvalid) as caught:
        BadgeCampaign(**{"name": "vip", "sql": SQL, **IDENTITY, **given})
    assert said in str(caught.value)


def test_a_campaign_has_no_tasks_of_others() -> None:
    with pytest.raises(
        CampaignInvalid, match=r"'some' is the output of task 'members', and a campaign's DAG has no tasks"
    ):
        BadgeCampaign(name="vip", sql=f"{SQL} WHERE 1 IN (:some)", parameters={"some": members()}, **IDENTITY)
    with pytest.raises(CampaignInvalid, match=r"entity: it is the output of task 'members__1'\. Give an Entity of"):
        BadgeCampaign(name="vip", sql=SQL, **{**IDENTITY, "entity": members()})


class NaT(datetime):
    """Pandas' missing time: a datetime for Python, equal to nothing, with parts that are not numbers."""

    year = property(lambda _: float("nan"))

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = datetime.__hash__


def test_a_missing_time_is_no_start() -> None:
    with pytest.raises(CampaignInvalid, match=r"start_date: it is NaT, a time that is missing\. Give a datetime"):
        BadgeCampaign(name="vip", sql=SQL, dag_args={"start_date": NaT(2026, 1, 1)}, **IDENTITY)


def test_a_function_of_a_persons_own_is_called_by_airflow() -> None:
    def reference(context: object, jinja_env: object) -> str:
        return "134"

    assert given_to(plan(reference_id=reference), "reference_id") is reference


@pytest.mark.parametrize(
    "model",
    [
        *(QueryArguments, InlineArguments, SendingArguments, WaitingArguments, ReportArguments, KeepingArguments),
        *(BadgeCampaign, TriggerForm),
    ],
)
def test_every_field_says_what_to_give(model: Any) -> None:  # noqa: ANN401 - of any model
    assert [name for name, each in model.model_fields.items() if not each.description] == []
