"""What hands give: each argument and field with each kind of value, refused by name or taken as it was meant.

Nothing runs here: what is known when a file is read is refused then, as an import error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from airflow.sdk import DAG, Asset

from capillary.campaign import BadgeCampaign, Entity, Guards, OnFinding, Policy, TriggerForm
from capillary.errors import TerminalError
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator

#: Values of every kind, by what they are called below.
HANDED: Final[dict[str, Any]] = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "minus": -1,
    "huge": 2**70,
    "float": 1.0,
    "half": 0.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "decimal": Decimal(1),
    "digit": "1",
    "digits": "1_0",
    "falsetext": "false",
    "empty": "",
    "blank": " ",
    "indented": " x",
    "nonetext": "None",
    "word": "x",
    "otherdigit": "\u0661",
    "long": "x" * 5_000,
    "nul": "x\x00",
    "surrogate": "\ud83d",
    "lines": "x\ny",
    "nowidth": "x\u200b",
    "bytes": b"1",
    "list": [],
    "words": ["x"],
    "dict": {},
    "named": {"a": 1},
    "numbered": {1: 1},
    "set": {"x"},
    "emptyset": set(),
    "generator": (each for each in "x"),
    "object": object(),
    "class": int,
    "function": lambda _: None,
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "date": date(2026, 1, 1),
    "notime": timedelta(0),
    "day": timedelta(days=1),
    "longest": timedelta.max,
    "before": timedelta(days=-1),
    "jinja": "{{ x }}",
}
FLAG, ID = "true false", "digit digits falsetext word"
#: What a template field leaves to the task: it is known later.
LATER = "function jinja"
CONNECTION = f"{ID} otherdigit {LATER}"
#: argument → the values that are taken; every other one of `HANDED` is refused.
PLANNING: Final = {
    "badge_id": LATER,
    "owner_type": LATER,
    "reference_id": f"{ID} {LATER}",
    "entity": LATER,
    "occasion": f"none {ID} indented otherdigit {LATER}",
    "campaign": f"none {ID} empty blank indented otherdigit {LATER}",
    "shared_occasion": FLAG,
    "customers_per_request": "one",
    "customer_cap": "none one",
    "canary": FLAG,
    "retry_outcomes": "list emptyset",
    "retry_codes": "list emptyset",
    "guards": "none",
    "override_guards": FLAG,
    "dry_run": FLAG,
    "note": f"none {ID} empty blank nonetext indented otherdigit lines nowidth {LATER}",
    "preflight": FLAG,
    "capillary_conn_id": CONNECTION,
    "ledger_conn_id": CONNECTION,
}
SENDING: Final = {"on_auto_approved": "", "in_flight": "one", "deferrable": FLAG}
#: By a plan, whatever is not the default is refused: nothing would come of it.
DEFAULTS: Final = {
    "badge_id": "empty",
    "owner_type": "empty",
    "reference_id": "empty",
    "entity": "none",
    "occasion": "none",
    "campaign": "none",
    "shared_occasion": "false",
    "customers_per_request": "",
    "customer_cap": "none",
    "canary": "true",
    "retry_outcomes": "",
    "retry_codes": "",
    "guards": "none",
    "override_guards": "false",
    "dry_run": "false",
    "note": "none",
    "preflight": "true",
    "capillary_conn_id": CONNECTION,
    "ledger_conn_id": CONNECTION,
}
PLANNED: Final = f"dict named numbered {LATER}"
IDENTITY: Final[dict[str, Any]] = {
    "badge_id": "a1b2c3d4e5f60718293a4b5c",
    "owner_type": "Loyalty",
    "reference_id": "134",
    "entity": {"till_id": "501", "store_id": "502", "zone_id": "503", "concept_id": "504"},
}
QUERY: Final = {"sql": "SELECT 1 AS customer_id"}
#: operator → what it is made with, and what each argument takes
OPERATORS: Final[dict[str, tuple[type[Any], dict[str, Any], dict[str, str]]]] = {
    "plan": (
        PlanBadgesOperator,
        QUERY | IDENTITY,
        {
            "sql": f"lines {LATER}",
            "parameters": f"none dict named {LATER}",
            "warehouse_conn_id": CONNECTION,
            **PLANNING,
        },
    ),
    "issue": (
        IssueBadgeOperator,
        {"customers": [1]} | IDENTITY,
        {"plan": "none", "customers": "list", **SENDING, **PLANNING},
    ),
    "issue a plan": (
        IssueBadgeOperator,
        {"plan": {}},
        {"plan": PLANNED, "customers": "none", **SENDING, **DEFAULTS},
    ),
    "wait": (
        BadgeRequestSensor,
        {"plan": {}},
        {
            "plan": PLANNED,
            "policy": "none",
            "timeout": "none zero one float half notime day",
            "poll_interval_s": "",
            "settle_every": "day",
            "deferrable": FLAG,
            "capillary_conn_id": CONNECTION,
            "ledger_conn_id": CONNECTION,
        },
    ),
    "report": (
        ReportBadgesOperator,
        {"plan": {}},
        {"plan": PLANNED, "policy": "none", "asset": "none", "ledger_conn_id": CONNECTION},
    ),
    "migrate": (MigrateLedgerOperator, {}, {"ledger_conn_id": CONNECTION}),
    "upkeep": (BadgeUpkeepOperator, {}, {"ledger_conn_id": CONNECTION}),
}
PLAIN: Final = f"{ID} otherdigit jinja"
CAMPAIGN: Final = {
    "name": f"{ID} nonetext",
    "folder": "none",
    "dag_args": "dict",
    "sql": "lines jinja",
    "badge_id": "",
    "owner_type": "",
    "reference_id": f"{ID} jinja",
    "entity": "",
    "occasion": f"none {ID} otherdigit",
    "shared_occasion": "false",
    "timezone": "",
    "schedule": "none day",
    "live": FLAG,
    "parameters": "dict named",
    "customers_per_request": "one",
    "customer_cap": "none one",
    "guards": "",
    "policy": "",
    "canary": FLAG,
    "preflight": FLAG,
    "deadline": "day",
    "poll_interval_s": "",
    "settle_every": "day",
    "deferrable": FLAG,
    "in_flight": "one",
    "capillary_conn_id": PLAIN,
    "warehouse_conn_id": PLAIN,
    "ledger_conn_id": PLAIN,
}
SHARE: Final = "zero one float half decimal"
OBJECTS: Final[dict[type[Any], tuple[dict[str, Any], dict[str, str]]]] = {
    Guards: (
        {},
        {
            "min_customers": "zero one huge",
            "max_jump": f"none {SHARE} huge",
            "max_drop": f"none {SHARE}",
            "max_invalid_share": f"none {SHARE}",
            "max_requests": "none one huge",
            "max_open_requests": "none one huge",
        },
    ),
    Policy: (
        {},
        {
            "tolerated_failures": "zero one huge",
            "tolerated_failure_share": SHARE,
            "on_rejected": "",
            "on_auto_approved": "",
            "on_unconfirmed": "",
        },
    ),
    Entity: (IDENTITY["entity"], dict.fromkeys(IDENTITY["entity"], f"{ID} jinja")),
}
FORM: Final = {
    "dry_run": FLAG,
    "canary": FLAG,
    "occasion_day": "none date",
    "customer_cap": "none one",
    "retry_outcomes": "none list emptyset",
    "retry_codes": "none list emptyset",
    "override_guards": FLAG,
    "note": f"none {PLAIN} empty blank indented nonetext lines nowidth",
}


def assert_takes(make: Callable[[Any], object], accepted: str, *, named: str) -> None:
    """Try every value: those that are accepted make something, and each other one is refused by name."""
    meant = set(accepted.split())
    assert meant <= set(HANDED)
    for label, value in HANDED.items():
        if label in meant:
            make(value)
            continue
        with pytest.raises(TerminalError) as caught:
            make(value)
        said = str(caught.value)
        assert named in said, (label, said)
        assert said.endswith("."), (label, said)
        assert len(said) < 800, f"{label}: a long value is not repeated"


def arguments_of(operator: type[Any]) -> set[str]:
    return {
        name
        for kind in operator.__mro__
        if kind.__module__.startswith("capillary.") and "__init__" in vars(kind)
        for name in inspect.signature(kind).parameters
    } - {"self", "kwargs", "retries"}  # the last is Airflow's own, with another default


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name, (_, _, takes) in OPERATORS.items() for argument in takes]
)
def test_an_argument_is_taken_as_meant_or_refused_by_name(name: str, argument: str) -> None:
    operator, good, takes = OPERATORS[name]
    assert_takes(
        lambda value: operator(task_id="t", **{**good, argument: value}),
        takes[argument],
        named=f"Task 't', argument {argument!r}: " if argument not in {"plan", "customers"} else "Task 't', argument ",
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_every_argument_is_tried(name: str) -> None:
    operator, _, takes = OPERATORS[name]
    assert set(takes) == arguments_of(operator)


@pytest.mark.parametrize("name", CAMPAIGN)
def test_a_campaigns_field_is_taken_as_meant_or_refused_by_name(name: str) -> None:
    good = {"name": "vip", **QUERY, **IDENTITY}
    assert_takes(lambda value: BadgeCampaign(**{**good, name: value}).dag(), CAMPAIGN[name], named=f": {name}: ")


def test_every_field_of_a_campaign_and_of_the_form_is_tried() -> None:
    assert list(CAMPAIGN) == list(BadgeCampaign.model_fields)
    assert list(FORM) == list(TriggerForm.model_fields)
    assert [list(takes) for _, takes in OBJECTS.values()] == [[each.name for each in fields(kind)] for kind in OBJECTS]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, takes) in OBJECTS.items() for name in takes])
def test_guards_policies_and_entities_take_what_is_meant_or_refuse_by_name(kind: type[Any], name: str) -> None:
    good, takes = OBJECTS[kind]
    assert_takes(lambda value: kind(**{**good, name: value}), takes[name], named=f"{kind.__name__}(…), {name}: ")


@pytest.mark.parametrize("name", FORM)
def test_the_forms_field_is_taken_as_meant_or_refused_by_name(name: str) -> None:
    good = {"dry_run": True, "canary": True}
    assert_takes(lambda value: TriggerForm.read({**good, name: value}), FORM[name], named=f"Trigger form, {name}: ")


@pytest.mark.parametrize(
    ("operator", "good", "given", "words"),
    [
        (IssueBadgeOperator, {}, {}, "'plan': no plan was handed over (NoneType). Give the output of a PlanBadges"),
        (PlanBadgesOperator, QUERY, {}, "'badge_id': it is missing. Give 24 digits"),
        (IssueBadgeOperator, {"customers": [1]}, {}, "'entity': it is missing. Give an Entity of till_id, store_id"),
        (IssueBadgeOperator, IDENTITY, {"customers": "123456"}, "'customers': it is of type str. Give a list of at"),
        (IssueBadgeOperator, IDENTITY, {"customers": {3, 1, 2}}, "'customers': it is of type set"),
        (IssueBadgeOperator, IDENTITY, {"customers": iter([1])}, "'customers': it is of type list_iterator"),
        (IssueBadgeOperator, IDENTITY, {"customers": {1: 2}}, "'customers': it is of type dict"),
        (IssueBadgeOperator, IDENTITY, {"customers": [4711, True]}, "1 of 2 are not customer ids (a boolean at 1)"),
        (IssueBadgeOperator, IDENTITY, {"customers": [None, 4711.0]}, "2 of 2 are not customer ids (null at 0, and 1"),
        (IssueBadgeOperator, IDENTITY, {"customers": ["４７１１"]}, "(digits other than 0 to 9 at 0)"),
        (IssueBadgeOperator, {"plan": {}}, {"customers": [1]}, "'customers': there is a plan, too"),
        (IssueBadgeOperator, {"plan": {}}, {"dry_run": True}, "'dry_run': another task made the plan without it"),
        (IssueBadgeOperator, {"plan": {}}, {"customer_cap": 5}, "'customer_cap': another task made the plan without"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"retry_outcomes": "rejected"}, "'retry_outcomes': it is 'rejected'"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"retry_outcomes": ["enrolled"]}, "planned again after 'enrolled'"),
        (
            PlanBadgesOperator,
            QUERY | IDENTITY,
            {"override_guards": "false"},
            "should be a valid boolean, not the text 'false' in",
        ),
        (PlanBadgesOperator, QUERY | IDENTITY, {"customers_per_request": 1_000_000}, "less than or equal to 10000"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"occasion": "x" * 300}, "'occasion': '"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"occasion": "vip {month}"}, "has the token {month}, which a BadgeCam"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"guards": {"max_jump": 3}}, "'guards': it should be an instance of Gu"),
        (PlanBadgesOperator, IDENTITY, {"sql": "vip"}, "'vip' is neither the name of a .sql file nor a query"),
        (IssueBadgeOperator, {"plan": {}}, {"in_flight": 65}, "'in_flight': it should be less than or equal to 64"),
        (IssueBadgeOperator, {"plan": {}}, {"on_auto_approved": "Accept"}, "'on_auto_approved': it is 'Accept'. Give"),
        (BadgeRequestSensor, {"plan": {}}, {"poll_interval_s": 9.9}, "greater than or equal to 10, not 9.9"),
        (BadgeRequestSensor, {"plan": {}}, {"timeout": timedelta(days=366)}, "'timeout': it is 31622400.0 seconds"),
        (BadgeRequestSensor, {"plan": {}}, {"policy": "warn"}, "'policy': it should be an instance of Policy"),
        (BadgeRequestSensor, {"plan": {}}, {"silent_fail": True}, "'silent_fail': a sensor that defers does not"),
        (ReportBadgesOperator, {"plan": {}}, {"policy": {}}, "not {}. Give Policy(…), or None for the default one."),
        (
            BadgeRequestSensor,
            {"plan": {}},
            {"policy": Policy},
            "not the class Policy itself. Give Policy(…), or No",
        ),
        (PlanBadgesOperator, QUERY | IDENTITY, {"guards": {}}, "not {}. Give Guards(…), where None switches one off"),
        (PlanBadgesOperator, QUERY | IDENTITY, {"canary": "true"}, "boolean, not the text 'true' in quotes. Give True"),
        (
            PlanBadgesOperator,
            QUERY | IDENTITY,
            {"canary": "{{ x }}"},
            "it is a template, and canary is read before any",
        ),
        (
            PlanBadgesOperator,
            QUERY | IDENTITY,
            {"canary": print},
            "the function print, which was not called. Give True",
        ),
        (PlanBadgesOperator, QUERY | IDENTITY, {"customer_cap": "5"}, "not the text '5' in quotes. Give 1 to "),
        (IssueBadgeOperator, IDENTITY, {"customers": print}, "'customers': it is the function print, which was not"),
        (
            PlanBadgesOperator,
            QUERY | IDENTITY,
            {"live": True},
            "'live': PlanBadgesOperator has no such argument. Write dr",
        ),
        (
            PlanBadgesOperator,
            QUERY | IDENTITY,
            {"dryrun": True},
            "PlanBadgesOperator has no such argument. Write dry_run.",
        ),
        (PlanBadgesOperator, QUERY | IDENTITY, {"foo": 1}, "no such argument. Correct its name, or leave it out."),
        (
            IssueBadgeOperator,
            {"customers": [1]},
            {"sql": "x"},
            "IssueBadgeOperator has no such argument. Give it to the t",
        ),
        (
            BadgeRequestSensor,
            {"plan": {}},
            {"dry_run": True},
            "BadgeRequestSensor has no such argument. Give it to",
        ),
        (
            PlanBadgesOperator,
            IDENTITY,
            {"sql": "SELECT\0 1"},
            "'sql': it holds a character that no database keeps (NUL",
        ),
        (ReportBadgesOperator, {"plan": {}}, {"asset": "badges"}, "'asset': it should be an instance of Asset"),
    ],
)
def test_what_was_seen(operator: Any, good: Mapping[str, Any], given: Mapping[str, Any], words: str) -> None:  # noqa: ANN401
    with pytest.raises(TerminalError) as caught:
        operator(task_id="t", **good, **given)
    assert words in str(caught.value)


def test_what_is_right_is_taken() -> None:
    issue = IssueBadgeOperator(task_id="t", customers=(3, "1", 2), on_auto_approved="warn", in_flight=64, **IDENTITY)
    assert issue.customers == (3, "1", 2)
    PlanBadgesOperator(
        task_id="t",
        occasion="badge:a1b2c3d4e5f60718293a4b5c",
        retry_outcomes={"rejected", "failed"},
        guards=Guards(max_jump=None),
        customers_per_request=10_000,
        parameters={"tier": "gold"},
        **QUERY,
        **(IDENTITY | {"entity": Entity(**IDENTITY["entity"]), "owner_type": "goodwill module"}),
    )
    BadgeRequestSensor(
        task_id="t",
        plan={},
        timeout=timedelta(days=365),
        poll_interval_s=3600,
        policy=Policy(on_rejected=OnFinding.WARN),
    )
    ReportBadgesOperator(task_id="t", plan={}, asset=Asset("badges"))
    BadgeRequestSensor(task_id="t", plan={}, silent_fail=True, deferrable=False)


def test_all_that_is_wrong_is_named_at_once() -> None:
    wrong: dict[str, Any] = {"sql": "", "canary": 1, "dry_run": "no", "badge_id": "gold"}
    with pytest.raises(TerminalError) as caught:
        PlanBadgesOperator(task_id="t", **(IDENTITY | wrong))
    named = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert named == [f"Task 't', argument {name!r}" for name in ("badge_id", "canary", "dry_run", "sql")]


def test_what_the_dags_default_args_say_the_plan_was_told_as_well() -> None:
    told: dict[str, Any] = IDENTITY | {"dry_run": True, "note": "by hand"}
    with DAG(dag_id="d", schedule=None, default_args=told):
        plan = PlanBadgesOperator(task_id="plan", sql=QUERY["sql"])
        IssueBadgeOperator(task_id="submit", plan=plan.output)
    assert (plan.badge_id, plan.is_dry_run) == (IDENTITY["badge_id"], True)


def test_a_wrong_id_of_a_customer_is_told_by_its_place_and_never_by_its_value() -> None:
    with pytest.raises(TerminalError) as caught:
        IssueBadgeOperator(task_id="t", customers=[1, "asha@example.com", "+4711"], **IDENTITY)
    assert "2 of 3 are not customer ids (text that is not digits only at 1, and 1 more)" in str(caught.value)
    assert "asha" not in str(caught.value)
    with pytest.raises(TerminalError) as caught:
        IssueBadgeOperator(task_id="t", customers="4711", **IDENTITY)
    assert "4711" not in str(caught.value)
