"""Each bad input ends in one sentence that names the thing, the place and the remedy; nothing sent, nothing kept."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import create_engine, text

from capillary.ledger.guards import Guards
from capillary.ledger.revision import REVISIONS
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from sandbox.badges import DIRECT, EXPIRED, GOLD_CIRCLE
from tests.glue.conftest import BADGE, SQL, Place


def attempt(place: Place, **changes: Any) -> str:  # noqa: ANN401 - arguments of the operator
    """Plan, and return the sentence of the failure; nothing is left in the ledger or on the platform."""
    with pytest.raises(AirflowException) as failure:
        PlanBadgesOperator(task_id="extract", **{"sql": SQL, **BADGE, **changes}).execute(place.context())
    assert place.rows() == 0
    assert place.sandbox.platform.requests() == []
    sentence = str(failure.value)
    assert "sandbox-maker" not in sentence
    return ("at once: " if isinstance(failure.value, AirflowFailException) else "again: ") + sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sql": "SELEC customer_id FROM vip"}, ["at once", "syntax error", "Correct the campaign's SQL"]),
        ({"sql": "SELECT customer_id FROM nowhere"}, ["at once", "no such table: nowhere"]),
        ({"sql": "SELECT 1 AS user_id"}, ["at once", "no column customer_id", "user_id", "AS customer_id"]),
        ({"sql": "DELETE FROM vip"}, ["at once", "Correct the campaign's SQL"]),
        ({"sql": "SELECT customer_id FROM vip WHERE 1 < :least"}, ["at once", ":least", "parameters"]),
        ({"badge_id": "0" * 24}, ["at once", "does not exist", "correct badge_id"]),
        ({"badge_id": "gold"}, ["at once", "'extract'", "'badge_id'", "24 digits"]),
        ({"badge_id": DIRECT.badge_id}, ["at once", "only ISSUE_EARN"]),
        ({"badge_id": EXPIRED.badge_id}, ["at once", "expired at"]),
        ({"owner_type": "Loyal"}, ["at once", "'owner_type'", "Loyalty_Promotion"]),
        ({"entity": {"till_id": "1"}}, ["at once", "'entity'", "store_id"]),
        ({"entity": None}, ["at once", "'entity'", "till_id"]),
        ({"occasion": " "}, ["at once", "'occasion'", "it is blank", "None to share"]),
        ({"occasion": "badge:gold"}, ["at once", "'occasion'", "begins like 'badge:'", "Give another name"]),
        ({"occasion": "ＢＡＤＧＥ ： x"}, ["at once", "'occasion'", "begins like 'badge:'"]),
        ({"occasion": "x" * 201}, ["at once", "'occasion'", "longer than 200"]),
        ({"campaign": "x" * 201}, ["at once", "'campaign'", "at most 200 characters", "leave it out for the DAG's id"]),
        (
            {"occasion": "None"},
            ["at once", "'occasion'", "'None' is the text that a missing value turns into", "leave"],
        ),
        ({"occasion": " null "}, ["at once", "'occasion'", "'null' is the text that a missing value turns into"]),
        ({"campaign": "None"}, ["at once", "'campaign'", "'None' is the text that", "leave it out for the DAG's id"]),
        ({"campaign": "vip\nERROR"}, ["at once", "'campaign'", r"'vip\nERROR'", "signs that do not print"]),
        ({"reference_id": "NULL"}, ["at once", "'reference_id'", "'NULL' is the text that a missing value turns into"]),
        (
            {"entity": BADGE["entity"] | {"till_id": "undefined"}},
            ["at once", "'entity'", "'undefined' is the text that"],
        ),
        ({"owner_type": "None"}, ["at once", "'owner_type'", "'None' is not one of"]),
        ({"badge_id": "None"}, ["at once", "'badge_id'", "24 digits"]),
        (
            {"shared_occasion": "false"},
            [
                "at once",
                "'shared_occasion'",
                "should be a valid boolean, not the text 'false' in quotes",
                "Give True or False",
            ],
        ),
        ({"occasion": "vip\x00"}, ["at once", "'occasion'", "signs that do not print"]),
        ({"note": "for the \ud83d"}, ["at once", "'note'", "half of a pair of characters, which no database keeps"]),
        ({"reference_id": ""}, ["at once", "'reference_id'", "missing"]),
        (
            {"retry_outcomes": ["enrolled"]},
            ["at once", "'retry_outcomes'", "planned again after 'enrolled'", "some of rejected"],
        ),
        ({"guards": Guards(min_customers=200)}, ["at once", "min_customers=200", "override_guards"]),
        ({"capillary_conn_id": "nobody"}, ["at once", "no Airflow connection 'nobody'", "Admin, Connections"]),
        ({"warehouse_conn_id": "nobody"}, ["at once", "no Airflow connection 'nobody'"]),
        ({"ledger_conn_id": "nobody"}, ["at once", "no Airflow connection 'nobody'"]),
        ({"warehouse_conn_id": "capillary"}, ["at once", "'capillary' of type 'capillary'"]),
        ({"ledger_conn_id": "capillary"}, ["at once", "'capillary'", "the ledger cannot live there", "postgres"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_argument_that_cannot_be(place: Place, changes: dict[str, Any], words: list[str]) -> None:
    sentence = attempt(place, **changes)
    assert [word for word in words if word not in sentence] == [], sentence


def test_nobody_eligible_is_no_error(place: Place) -> None:
    place.customers()
    reference = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    assert (reference["eligible"], reference["planned"], reference["requests"]) == (0, 0, 0)


def test_ids_that_are_none_stop_the_plan_where_they_are_too_many(place: Place) -> None:
    place.customers(*range(1, 11), "a@example.com")
    sentence = attempt(place)
    assert "1 of 11 rows without a customer id" in sentence
    assert "a@example.com" not in sentence


def test_a_wrong_password(place: Place) -> None:
    place.connect(
        "capillary",
        conn_type="capillary",
        host=place.sandbox.url,
        login="sandbox-maker",
        password="not-the-password",
        extra={"organisation_id": "100458"},
    )
    with pytest.raises(AirflowFailException, match=r"password") as failure:
        PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    assert "not-the-password" not in str(failure.value)
    assert place.rows() == 0


def test_a_host_that_is_not_there(place: Place, no_pauses: None) -> None:
    place.connect(
        "capillary",
        conn_type="capillary",
        host="http://127.0.0.1:1",
        login="sandbox-maker",
        password="sandbox-maker",
        extra={"organisation_id": "100458"},
    )
    sentence = attempt(place)
    assert re.search(r"again: .*127\.0\.0\.1:1", sentence), sentence


def test_a_ledger_that_is_not_there(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = tmp_path_factory.mktemp("empty") / "ledger.db"
    place.connect("badge_ledger", conn_type="sqlite", host=str(missing))
    assert "python -m capillary ledger create" in attempt(place)
    missing.touch()
    assert "python -m capillary ledger create" in attempt(place)


def test_a_ledger_whose_schema_is_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capillary.ledger.revision.REVISIONS", (REVISIONS[-1], "next"))
    assert "python -m capillary ledger upgrade" in attempt(place)


def test_a_ledger_that_is_of_the_future(place: Place) -> None:
    with place.ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999'"))
    assert "update the installed package" in attempt(place)


def test_a_ledger_that_breaks_off_is_tried_again_without_its_words(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    engine = create_engine(place.ledger.url)
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE badge_request RENAME COLUMN last_sent_at TO last_sent_at_4711"))
    engine.dispose()
    with pytest.raises(AirflowException, match=r"lost the connection to the ledger's database") as failure:
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert "4711" not in str(failure.value)
    assert place.sandbox.platform.requests() == []


def test_a_wrong_badge_under_the_same_occasion(place: Place) -> None:
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    other = {**BADGE, "badge_id": "b1b2c3d4e5f60718293a4b5c"}
    with pytest.raises(AirflowFailException, match=rf"belongs to badge {GOLD_CIRCLE.badge_id}.*another occasion"):
        PlanBadgesOperator(task_id="extract", sql=SQL, **other).execute(place.context("second"))
