"""Templates by hand: what is text stays text, also where the DAG asks for native objects; a wrong one plans nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import select

from capillary.campaign import Entity
from capillary.ledger.schema import badge_run, badge_spec
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from tests.glue.conftest import BADGE, SQL, Place

#: What a DAG's texts become by Python's own reading of them.
READ_AS_PYTHON = {"1_000": 1000, "0x10": 16, "1e3": 1000.0, "12": 12, "None": None, "[1]": [1], "True": True}


def rendered(operator: type[Any], values: dict[str, Any], *, native: bool = True, **arguments: Any) -> Any:  # noqa: ANN401
    """Make an operator in a DAG, and render it as its task would."""
    with DAG(dag_id="vip", schedule=None, render_template_as_native_obj=native):
        task = operator(task_id="task", **arguments)
    task.render_template_fields(values)
    return task


def plan(values: dict[str, Any], *, native: bool = True, **changes: Any) -> PlanBadgesOperator:  # noqa: ANN401
    made = rendered(PlanBadgesOperator, values, native=native, **{"sql": SQL, **BADGE, **changes})
    assert isinstance(made, PlanBadgesOperator)
    return made


@pytest.mark.parametrize("text", READ_AS_PYTHON)
def test_a_text_stays_what_was_given_with_a_template_and_without(text: str) -> None:
    names = ["occasion", "reference_id", "campaign", "note", "owner_type", "badge_id", "capillary_conn_id"]
    if text == "None":  # which no operator takes: see below
        names = ["note"]
    for given in (text, "{{ value }}"):
        known_later: dict[str, Any] = {name: "{{ value }}" for name in ("owner_type", "badge_id") if name in names}
        entity = dict.fromkeys(BADGE["entity"], given) if text != "None" else BADGE["entity"]
        arguments: dict[str, Any] = {**dict.fromkeys(names, given), **known_later, "entity": entity}
        made = plan({"value": text}, **arguments)
        assert {getattr(made, name) for name in names} == {text}
        assert made.entity == (dict.fromkeys(BADGE["entity"], text) if text != "None" else BADGE["entity"])


def test_with_native_objects_a_missing_value_stays_none_and_a_number_becomes_its_digits() -> None:
    made = plan(
        {"nothing": None, "till": 501}, occasion="{{ nothing }}", reference_id="{{ till }}", note="a {{ nothing }}"
    )
    assert (made.occasion, made.reference_id, made.note) == (None, "501", "a None")
    assert plan({"nothing": None}, native=False, occasion="{{ nothing }}").occasion == "None"


def test_a_template_in_place_of_a_whole_mapping_gives_one() -> None:
    entity = {"till_id": "1_000", "store_id": "2", "zone_id": "3", "concept_id": "4"}
    assert plan({"entity": entity}, entity="{{ entity }}").entity == entity


def test_parameters_are_native_where_they_hold_jinja_and_texts_where_they_do_not() -> None:
    parameters = {"zip": "1_000", "tiers": "{{ tiers }}", "limit": "{{ 5 }}", "none": "None"}
    made = plan({"tiers": ["gold"]}, parameters=parameters)
    assert made.parameters == {"zip": "1_000", "tiers": ["gold"], "limit": 5, "none": "None"}


def test_an_operators_own_wish_counts_as_the_dags() -> None:
    made = plan({"x": "1_000"}, native=False, render_template_as_native_obj=True, reference_id="{{ x }}", note="1_0")
    assert (made.reference_id, made.note) == ("1_000", "1_0")


def test_the_other_operators_render_alike() -> None:
    reference = {"badge_run_id": 7}
    values = {"plan": reference, "conn": "1_0"}
    connections: dict[str, Any] = {"capillary_conn_id": "{{ conn }}", "ledger_conn_id": "12"}
    submit = rendered(IssueBadgeOperator, values, plan="{{ plan }}", **connections)
    wait = rendered(BadgeRequestSensor, values, plan="{{ plan }}", **connections)
    report = rendered(ReportBadgesOperator, values, plan="{{ plan }}", ledger_conn_id="12")
    assert (submit.plan, wait.plan, report.plan) == (reference, reference, reference)
    assert (submit.capillary_conn_id, wait.capillary_conn_id) == ("1_0", "1_0")
    assert {each.ledger_conn_id for each in (submit, wait, report)} == {"12"}


def test_a_reference_and_an_entity_of_digits_reach_the_ledger_as_given(place: Place) -> None:
    digits = {"till_id": "0501", "store_id": "1_0", "zone_id": "12", "concept_id": "1e3"}
    plan({}, reference_id="1_000", entity=digits, note="12").execute(place.context())
    with place.ledger.read() as tx:
        config = json.loads(tx.conn.execute(select(badge_spec.c.config)).scalar_one())
        assert tx.conn.execute(select(badge_run.c.note)).scalar_one() == "12"
    assert {name: config[name] for name in ("reference_id", *digits)} == {"reference_id": "1_000", **digits}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("reference_id", "", "it is missing"),
        ("reference_id", "None", "'None' is the text that a missing value turns into"),
        ("reference_id", " 134", "' 134' has blanks at an end"),
        ("reference_id", "१३४", "'१३४' has digits other than 0 to 9"),
        ("reference_id", "x" * 256, "at most 255 characters"),
        ("badge_id", "A" * 24, "should match"),
        ("owner_type", "loyal", "owner type 'loyal' is not one of"),
        ("occasion", " ", "it is blank"),
        ("occasion", "null", "'null' is the text that a missing value turns into"),
        ("occasion", "vip {month}", "has the token {month}"),
        ("occasion", "badge:b1b2c3d4e5f60718293a4b5c", "is the shared one of another badge"),
        ("campaign", "undefined", "'undefined' is the text that a missing value turns into"),
        ("note", "x" * 4_001, "at most 4000 characters"),
        ("capillary_conn_id", "", "at least 1 character"),
        ("ledger_conn_id", "None", "'None' is the text that a missing value turns into"),
        ("warehouse_conn_id", "x\ny", "has signs that do not print"),
        ("sql", " ", "it is blank"),
    ],
)
def test_what_a_template_gives_wrongly_is_named_when_the_task_runs(
    place: Place, argument: str, value: str, words: str, native: bool
) -> None:
    task = plan({"value": value}, native=native, **{argument: "{{ value }}"})
    with pytest.raises(AirflowException) as caught:
        task.execute(place.context())
    assert isinstance(caught.value, AirflowFailException), "no retry can help"
    assert f"Task 'task', argument {argument!r}: " in str(caught.value)
    assert words in str(caught.value)
    assert (place.rows(), place.sandbox.platform.requests()) == (0, [])


@pytest.mark.parametrize("value", [1000, 10.5, True, ["1"], {"a": 1}, None, b"1"])
def test_another_tasks_output_is_no_text(place: Place, value: object) -> None:
    task = plan({}, reference_id=lambda context, jinja_env: value)  # noqa: ARG005 - as Airflow calls it
    assert task.reference_id == value
    with pytest.raises(
        AirflowFailException, match=r"argument 'reference_id': it (should be a valid string|is missing)"
    ):
        task.execute(place.context())
    assert place.rows() == 0


def test_jinja_that_airflow_does_not_render_is_not_sent_as_an_id(place: Place) -> None:
    entity = Entity(till_id="{{ var.value.till }}", store_id="2", zone_id="3", concept_id="4")
    with pytest.raises(AirflowFailException, match="argument 'entity': it holds Jinja, which was not rendered"):
        plan({}, entity=entity).execute(place.context())
    assert place.rows() == 0
