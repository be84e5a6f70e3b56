"""What a campaign hands on to Airflow's DAG is checked when its file is read: nothing raw, nothing passed over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from capillary.campaign import BadgeCampaign, CampaignInvalid, TriggerForm, TriggerFormInvalid
from capillary.campaign.dag_arguments import HANDED_ON

GOOD: dict[str, Any] = {
    "name": "vip",
    "sql": "SELECT customer_id FROM vip",
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "loyalty",
    "reference_id": "134",
    "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
}
DAY = datetime(2026, 11, 1, tzinfo=UTC)


def called(context: object) -> None:
    """Be a callback."""


@pytest.mark.filterwarnings("ignore:The airflow.security.permissions module:DeprecationWarning")  # Airflow's own
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tags", [{"vip"}, ("vip",), frozenset({"vip"})]),
        ("max_consecutive_failed_dag_runs", [0, 3]),
        ("is_paused_upon_creation", [True, False, None]),
        ("disable_bundle_versioning", [True]),
        ("rerun_with_latest_version", [False, None]),
        ("template_searchpath", ["/tmp", ["/tmp"], None]),  # noqa: S108 - nobody writes there
        ("user_defined_macros", [{"one": 1}, None]),
        ("user_defined_filters", [{"twice": called}, None]),
        ("jinja_environment_kwargs", [{"trim_blocks": True}, {}, None]),
        ("owner_links", [{"crm": "https://crm.example"}]),
        ("access_control", [{"Viewer": {"can_read"}}, {"Viewer": {"DAGs": {"can_read"}}}, None]),
        ("dag_display_name", ["VIPs of 2026"]),
        ("allowed_run_types", [None, ["manual", "scheduled"]]),
        ("deadline", [None]),
        ("start_date", [DAY]),
    ],
)
def test_what_airflows_dag_takes_is_taken(name: str, values: list[object]) -> None:
    for value in values:
        dag = BadgeCampaign(**GOOD, dag_args={name: value}).dag()
        stock = DAG("vip", schedule=None, **{name: value})  # type: ignore[arg-type] # one argument of any type
        if name == "tags":
            stock.tags.add("badges")
        assert getattr(dag, name) == getattr(stock, name)
        assert DagSerialization.serialize_dag(dag)["dag_id"] == GOOD["name"]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("max_consecutive_failed_dag_runs", [-1, "3", True, None, 1.5], "Give 0 to 1,000,000,000"),
        ("is_paused_upon_creation", ["false", 1, ""], "Give True, False or None"),
        ("disable_bundle_versioning", ["no", 1], "Give True or False"),
        ("rerun_with_latest_version", ["no", 1], "Give True, False or None"),
        ("template_searchpath", [1, [1], {}], "Give a folder or a list of them"),
        ("template_undefined", [None, object], "a name in the query that nothing gives has to fail"),
        ("user_defined_macros", ["x", [1], 1], "Give a dict by name"),
        ("user_defined_filters", ["x", [1], {"twice": "x"}], "Give a dict of functions"),
        ("jinja_environment_kwargs", ["x", [1]], "Give a dict of settings"),
        (
            "jinja_environment_kwargs",
            [{"undefined": object}, {"variable_start_string": "<<"}, {"autoescape": True}, {"finalize": str}],
            "trim_blocks",
        ),
        ("jinja_environment_kwargs", [{"nope": 1}], "is not a setting of Jinja"),
        ("jinja_environment_kwargs", [{"extensions": ["no.such"]}], "Jinja refuses it"),
        ("owner_links", [None, "x", 1, ["x"]], "Give a dict of addresses"),
        ("owner_links", [{"crm": "nope"}], "Airflow refuses {'crm': 'nope'}: Wrong link format"),
        ("access_control", ["x", ["Viewer"], 1, {1: 2}, {"Viewer": "can_read"}], "Give a dict of rights"),
        ("dag_display_name", [None, 1, "", "x" * 2001], "Give a name"),
        ("allowed_run_types", ["x", ["x"]], "Airflow refuses"),
        ("deadline", ["x", 1, timedelta(1), [1]], "Airflow refuses"),
    ],
)
def test_what_airflows_dag_would_choke_on_or_misread_is_refused(name: str, values: list[object], words: str) -> None:
    for value in values:
        with pytest.raises(CampaignInvalid) as caught:
            BadgeCampaign(**GOOD, dag_args={name: value})
        said = str(caught.value)
        assert said.startswith(f"test_dag_arguments.py, campaign 'vip': dag_args: {name}: ")
        assert words in said


@pytest.mark.parametrize("name", HANDED_ON)
def test_no_argument_that_is_handed_on_ends_in_a_traceback(name: str) -> None:
    told = []
    for value in (object(), "x", 1, -1.5, ["x"], {"x": "y"}, {1: 2}, (), b"x", called, None, True):
        try:
            DagSerialization.serialize_dag(BadgeCampaign(**GOOD, dag_args={name: value}).dag())
        except CampaignInvalid as error:
            told.append(str(error))
    assert told
    assert [said for said in told if f"dag_args: {name}: " not in said] == []


@pytest.mark.parametrize(
    "given",
    [
        {"queue": "heavy"},
        {"priority_weight": 3, "weight_rule": "upstream"},
        {"retry_delay": 60},
        {"retry_delay": timedelta(minutes=5), "max_retry_delay": 600},
        {"execution_timeout": timedelta(hours=2)},
        {"depends_on_past": True},
        {"on_failure_callback": called},
        {"on_retry_callback": [called]},
        {"pre_execute": called},
        {"doc_md": "VIPs"},
    ],
)
def test_what_airflows_tasks_take_is_taken(given: dict[str, object]) -> None:
    dag = BadgeCampaign(**GOOD, dag_args={"default_args": given}).dag()
    DagSerialization.serialize_dag(dag)
    assert dag.default_args | given == dag.default_args


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(({name: value}, f"default_args.{name}: Airflow refuses {value!r}") for name, value in (
            ("priority_weight", "3"), ("queue", 1), ("depends_on_past", "false"), ("execution_timeout", 3600),
            ("pool_slots", 0), ("pool_slots", "1"), ("executor", 1), ("run_as_user", 1), ("doc_md", 1),
            ("resources", "x"), ("retry_exponential_backoff", "x"), ("email_on_failure", "x"),
        )),
        ({"retry_delay": "5m"}, "default_args.retry_delay: it is '5m'. Give a timedelta or seconds, 0 to 365 days."),
        ({"max_active_tis_per_dag": 0}, "default_args.max_active_tis_per_dag: "),
        ({"max_active_tis_per_dagrun": "1"}, "default_args.max_active_tis_per_dagrun: "),
        ({"weight_rule": "x"}, "default_args.weight_rule: Airflow refuses 'x'"),
        ({"executor_config": 1}, "default_args.executor_config: "),
        ({"on_failure_callback": "x"}, "default_args.on_failure_callback: 'x' cannot be called"),
        ({"on_skipped_callback": 1}, "default_args.on_skipped_callback: 1 cannot be called"),
        ({"post_execute": [called]}, "default_args.post_execute: "),
        *(({name: object()}, f"default_args: {name}, which the campaign sets") for name in (
            "dag", "task_group", "default_args", "never_fail", "silent_fail", "exponential_backoff",
        )),
        ({"params": {"dry_run": False}}, "params: the run's parameters are the trigger form's"),
        ({"do_xcom_push": False}, "do_xcom_push: the tasks hand their plan on by XCom"),
        ({"multiple_outputs": True}, "multiple_outputs: a plan is handed on as one"),
        ({"outlets": []}, "outlets: each task would update them, a dry run's too"),
        ({"render_template_as_native_obj": True}, "render_template_as_native_obj: the query is text"),
        ({"sla": timedelta(1)}, "sla: Airflow 3 has none"),
        ({"start_date": DAY}, "start_date: dag_args takes it itself"),
        ({"end_date": date(2026, 11, 1)}, "end_date: dag_args takes it itself"),
    ],
)  # fmt: skip
def test_what_airflows_tasks_would_choke_on_or_break_by_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(CampaignInvalid) as caught:
        BadgeCampaign(**GOOD, dag_args={"default_args": given})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "near"),
    [("ownr", " (did you mean 'owner'?)"), ("start_from_trigger", ""), ("template_fields", ""), ("poool", " (did you")],
)
def test_a_default_that_no_task_takes_is_refused(name: str, near: str) -> None:
    campaign = BadgeCampaign(**GOOD, dag_args={"default_args": {name: "x"}})
    with pytest.raises(CampaignInvalid, match=f"default_args: no task takes {name}") as caught:
        campaign.dag()
    assert near in str(caught.value)


def test_an_end_before_the_start_is_refused() -> None:
    for start, end in ((DAY, DAY - timedelta(days=1)), (DAY.replace(tzinfo=None), DAY - timedelta(days=2))):
        with pytest.raises(CampaignInvalid, match=r"end_date: .* is before start_date"):
            BadgeCampaign(**GOOD, dag_args={"start_date": start, "end_date": end})
    BadgeCampaign(**GOOD, dag_args={"start_date": DAY, "end_date": DAY})


def test_what_the_file_changes_later_does_not_reach_the_campaign() -> None:
    tags, defaults = ["vip"], {"owner": "crm"}
    campaign = BadgeCampaign(**GOOD, dag_args={"tags": tags, "default_args": defaults})
    tags.append("gold")
    defaults["owner"] = "ops"
    dag = campaign.dag()
    assert (dag.tags, dag.owner) == ({"badges", "vip"}, "crm")


@pytest.mark.parametrize("conf", ["x", 5, ["dry_run"], True])
def test_a_configuration_that_is_no_object_is_refused(conf: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    with pytest.raises(TriggerFormInvalid, match=r"Trigger form, conf: it is .* Give an object"):
        TriggerForm.read({"dry_run": False, "canary": True}, conf)


@pytest.mark.parametrize(
    "arguments",
    [
        {"user_defined_macros": ["guess-me"]},
        {"default_args": {"executor_config": ["guess-me"]}},
        {"default_args": {"executor_config": "guess-me"}},
    ],
)
def test_what_may_hold_a_secret_is_told_by_its_type_alone(arguments: dict[str, object]) -> None:
    with pytest.raises(CampaignInvalid) as caught:
        BadgeCampaign(**GOOD, dag_args=arguments)
    assert "guess-me" not in str(caught.value)
