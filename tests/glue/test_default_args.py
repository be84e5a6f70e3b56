"""Names in `default_args`: what is nearly an argument of ours is refused, and what another operator takes is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions.mappedoperator import MappedOperator

from capillary.campaign import BadgeCampaign, CampaignInvalid
from capillary.checked_operator import ArgumentInvalid, given_to
from capillary.default_args import AIRFLOWS, OURS, misspelt
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.upkeep import BadgeUpkeepOperator

IDENTITY: dict[str, Any] = {
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "Loyalty",
    "reference_id": "134",
    "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
}
SQL = "SELECT 1 AS customer_id"
MISSPELT = {
    "dryrun": "dry_run",
    "dry_run_": "dry_run",
    "_dry_run": "dry_run",
    "Dry_Run": "dry_run",
    "DRY_RUN": "dry_run",
    "dry-run": "dry_run",
    "dry run": "dry_run",
    "dyr_run": "dry_run",
    "dry_runs": "dry_run",
    "is_dry_run": "dry_run",
    "live": "dry_run (live=False is dry_run=True)",
    "customers_cap": "customer_cap",
    "custmer_cap": "customer_cap",
    "customer_per_request": "customers_per_request",
    "canry": "canary",
    "ocasion": "occasion",
    "guard": "guards",
    "override_guard": "override_guards",
    "retry_outcome": "retry_outcomes",
    "retry_code": "retry_codes",
    "on_auto_aproved": "on_auto_approved",
    "inflight": "in_flight",
    "policies": "policy",
    "shared_occassion": "shared_occasion",
    "pre_flight": "preflight",
    "capilary_conn_id": "capillary_conn_id",
    "warehouse_connid": "warehouse_conn_id",
    "legder_conn_id": "ledger_conn_id",
    "badgeid": "badge_id",
}
#: What Airflow and its providers take, and what is near to nothing.
LEFT_ALONE = [
    *("owner", "retries", "retry_delay", "email_on_retry", "start_date", "params", "pool", "queue", "doc"),
    *(
        "poke_interval",
        "mode",
        "soft_fail",
        "timeout",
        "exponential_backoff",
        "deferrable",
        "sla",
        "wait_for_downstream",
    ),
    *(
        "poll_interval",
        "polling_interval",
        "polling_interval_seconds",
        "request",
        "request_id",
        "warehouse",
        "location",
    ),
    *("gcp_conn_id", "aws_conn_id", "snowflake_conn_id", "http_conn_id", "conn_id", "emr_conn_id", "wasb_conn_id"),
    *("query_parameters", "identity", "cluster", "database", "execution_timeout", "retry_policy", "weight_rule", "cap"),
]


def planned(**given: Any) -> PlanBadgesOperator:  # noqa: ANN401 - anybody's
    return PlanBadgesOperator(task_id="plan", sql=SQL, **IDENTITY, **given)


def mapping(**given: Any) -> MappedOperator:  # noqa: ANN401 - anybody's
    return PlanBadgesOperator.partial(task_id="plan", **IDENTITY, **given).expand(sql=[SQL])


def group(name: str, default_args: Mapping[str, Any]) -> TaskGroup:
    return TaskGroup(name, default_args=dict(default_args))  # type: ignore[arg-type] # attrs' converter hides its type


@pytest.mark.parametrize("name", MISSPELT)
def test_a_name_that_is_nearly_ours_is_refused_with_its_place(name: str) -> None:
    with (
        pytest.raises(ArgumentInvalid) as caught,
        DAG("vip", schedule=None, default_args={"retries": 3, name: True}),
    ):
        planned()
    assert str(caught.value) == (
        f"Task 'plan', argument {name!r}: no operator takes the name {name!r} in default_args of the DAG 'vip', and "
        f"Airflow would ignore it without a warning. Write {MISSPELT[name]}; if another task takes it, give it to that "
        "task alone."
    )


@pytest.mark.parametrize(
    "make",
    [
        planned,
        lambda: IssueBadgeOperator(task_id="plan", customers=[1], **IDENTITY),
        lambda: IssueBadgeOperator(task_id="plan", plan={}),
        lambda: BadgeRequestSensor(task_id="plan", plan={}),
        lambda: ReportBadgesOperator(task_id="plan", plan={}),
        lambda: BadgeUpkeepOperator(task_id="plan"),
        lambda: PlanBadgesOperator.partial(task_id="plan", **IDENTITY).expand(sql=[SQL]),
        lambda: IssueBadgeOperator.partial(task_id="plan").expand(plan=[{}]),
        lambda: BadgeRequestSensor.partial(task_id="plan").expand(plan=[{}]),
    ],
)
def test_every_operator_of_ours_looks_mapped_or_not(make: Any) -> None:  # noqa: ANN401 - a factory
    with pytest.raises(ArgumentInvalid, match="Write dry_run;"), DAG("vip", schedule=None, default_args={"dryrun": 1}):
        make()
    with DAG("vip", schedule=None, default_args={"dry_run": True}):
        make()


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_airflow_or_another_operator_takes_is_left_alone(name: str) -> None:
    with DAG("vip", schedule=None) as dag:
        planned()
    assert list(misspelt({name: 1}, dag, None)) == []


def test_the_arguments_of_providers_are_none_of_ours() -> None:
    assert AIRFLOWS.isdisjoint(OURS)


def test_an_operator_that_is_loaded_may_take_a_name_near_to_ours() -> None:
    with pytest.raises(ArgumentInvalid), DAG("vip", schedule=None, default_args={"preflights": 1}):
        planned()

    class Landing(BaseOperator):
        def __init__(self, *, preflights: int, **kwargs: Any) -> None:  # noqa: ANN401 - any operator's
            super().__init__(**kwargs)
            self.preflights = preflights

    with DAG("vip", schedule=None, default_args={"preflights": 1}):
        planned()
        assert Landing(task_id="land").preflights == 1  # type: ignore[call-arg] # Airflow gives it


@pytest.mark.parametrize("mapped", [False, True], ids=["one", "mapped"])
@pytest.mark.parametrize(
    ("dags", "outer", "inner", "own", "place"),
    [
        ({"dryrun": 1}, {}, {}, {}, "default_args of the DAG 'vip'"),
        ({}, {"dryrun": 1}, {}, {}, "default_args of the task group 'outer'"),
        ({}, {}, {"dryrun": 1}, {}, "default_args of the task group 'outer.inner'"),
        ({}, {}, {}, {"dryrun": 1}, "the task's own default_args"),
    ],
)
def test_the_place_is_told(
    dags: Mapping[str, Any],
    outer: Mapping[str, Any],
    inner: Mapping[str, Any],
    own: Mapping[str, Any],
    place: str,
    *,
    mapped: bool,
) -> None:
    with (
        pytest.raises(ArgumentInvalid, match=re.escape(f" in {place}, ")),
        DAG("vip", schedule=None, default_args=dict(dags)),
        group("outer", outer),
        group("inner", inner),
    ):
        (mapping if mapped else planned)(default_args=dict(own))


@pytest.mark.parametrize("where", ["DAG", "group", "task"])
@pytest.mark.parametrize("mapped", [False, True], ids=["one", "mapped"])
def test_the_right_name_holds_wherever_it_stands(where: str, *, mapped: bool) -> None:
    """Of a mapped task's own Airflow keeps nothing: the dry run sent."""
    dry = {"dry_run": True}
    of = {each: dict(dry) if each == where else {} for each in ("DAG", "group", "task")}
    with DAG("vip", schedule=None, default_args=of["DAG"]), group("group", of["group"]):
        operator = mapping(default_args=of["task"]).unmap({"sql": SQL}) if mapped else planned(default_args=of["task"])
    assert given_to(operator, "dry_run") is True


def test_what_partial_is_given_comes_before_its_default_args() -> None:
    with DAG("vip", schedule=None):
        operator = mapping(dry_run=False, default_args={"dry_run": True}).unmap({"sql": SQL})
    assert given_to(operator, "dry_run") is False


def test_partial_of_a_task_is_refused_as_airflow_does() -> None:
    with DAG("vip", schedule=None):
        task = planned()
        with pytest.raises(TypeError, match="partial can only be called on Operator classes"):
            task.partial(task_id="other")


@pytest.mark.parametrize("name", ["dry_run", "dryrun", "live", "customer_cap"])
def test_a_campaign_within_another_dag_does_not_hear_its_default_args(name: str) -> None:
    campaign = BadgeCampaign(name="vip", sql=SQL, live=True, **IDENTITY)
    with (
        pytest.raises(CampaignInvalid, match=f"dag: .* the DAG 'mine' gives {name} in its default_args"),
        DAG("mine", schedule=None, default_args={name: 1}),
    ):
        campaign.dag()
    with DAG("mine", schedule=None, default_args={"retries": 2, "timeout": 60}):  # of Airflow's sensors
        assert campaign.dag().dag_id == "vip"
