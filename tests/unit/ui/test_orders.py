"""What is sent to Airflow when a person orders something about a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.ledger.reports import FailureCount
from capillary.ledger.status import Outcome
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.orders import OrderImpossible, carry_out, choices, look_now, rest, retry

DAG = CampaignDag(
    dag_id="gold_tier",
    paused=False,
    broken=False,
    live=True,
    fields=frozenset({"dry_run", "customer_cap", "retry_outcomes", "retry_codes", "canary", "override_guards", "note"}),
    schedule=None,
    next_run_at=None,
    occasion="badge:a1",
    connection="capillary",
)
MONTHLY = replace(DAG, dag_id="streak", fields=DAG.fields | {"occasion_day"}, occasion="streak {month}")
RUN = RunFacts(
    dag_id="gold_tier",
    run_id="manual__1",
    state="failed",
    run_type="manual",
    by="ada",
    moment=datetime(2026, 11, 26, 20, 0, tzinfo=UTC),
    started_at=None,
    ended_at=None,
)
PASSES = FailureCount(Outcome.FAILED, 500, 7)
DATA = FailureCount(Outcome.FAILED, 1026, 5)
REJECTED = FailureCount(Outcome.REJECTED, None, 3)
UNCONFIRMED = FailureCount(Outcome.UNCONFIRMED, 809, 2)


def retried(*failures: FailureCount, taken: Collection[str] | None = None, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a DAG
    conf: dict[str, Any] = dict(retry(replace(DAG, **changed), RUN, "badge:a1", choices(failures, taken)).body["conf"])
    return conf


def test_a_retry_takes_what_is_worth_one_where_nobody_says_otherwise() -> None:
    assert retried(PASSES, UNCONFIRMED) == {"dry_run": False, "retry_outcomes": ["failed", "unconfirmed"]}


def test_codes_are_sent_only_where_they_leave_somebody_out() -> None:
    assert retried(PASSES, DATA) == {"dry_run": False, "retry_outcomes": ["failed"], "retry_codes": ["500"]}


def test_what_the_checker_has_refused_is_asked_for_again_by_a_persons_word_alone() -> None:
    with pytest.raises(OrderImpossible, match="Choose at least one"):
        retried(REJECTED)
    assert retried(REJECTED, PASSES, taken={"rejected:none"}) == {"dry_run": False, "retry_outcomes": ["rejected"]}


def test_a_campaign_of_before_the_codes_is_retried_by_outcome() -> None:
    fields = DAG.fields - {"retry_codes"}
    assert retried(PASSES, DATA, fields=fields) == {"dry_run": False, "retry_outcomes": ["failed"]}
    said = " ".join(retry(replace(DAG, fields=fields), RUN, "x", choices((PASSES, DATA), None)).says)
    assert "up to 12 customers again" in said
    assert "this takes also: failed 1026" in said


def test_whoever_is_taken_beside_the_chosen_is_named_and_counted() -> None:
    """Outcomes and codes are two filters: failed with 1026 is taken by the code of another outcome."""
    odd = FailureCount(Outcome.UNCONFIRMED, 1026, 4)
    order = retry(DAG, RUN, "x", choices((PASSES, DATA, odd), {"failed:500", "unconfirmed:1026"}))
    assert order.body["conf"] == {
        "dry_run": False,
        "retry_outcomes": ["failed", "unconfirmed"],
        "retry_codes": ["1026", "500"],
    }
    assert "up to 16 customers" in order.says[0]
    assert order.says[-1].endswith("this takes also: failed 1026.")


@pytest.mark.parametrize(
    ("conf", "occasion", "day"),
    [
        ({}, "streak 2026-11", "2026-11-26"),
        ({"occasion_day": "2026-09-03"}, "streak 2026-09", "2026-09-03"),
        ({"occasion_day": "no day"}, "streak 2026-11", "2026-11-26"),
        ({"occasion_day": None}, "streak 2026-11", "2026-11-26"),
    ],
    ids=["its own moment", "the day that it was given", "a day that is none", "no day"],
)
def test_a_retry_names_the_occasion_of_its_run(conf: dict[str, Any], occasion: str, day: str) -> None:
    order = retry(MONTHLY, replace(RUN, conf=conf), occasion, choices((PASSES,), None))
    assert order.body["conf"]["occasion_day"] == day


@pytest.mark.parametrize(
    ("moment", "occasion", "day"),
    [
        (datetime(2026, 11, 30, 20, 0, tzinfo=UTC), "streak 2026-12", "2026-12-01"),
        (datetime(2026, 12, 1, 2, 0, tzinfo=UTC), "streak 2026-11", "2026-11-30"),
    ],
    ids=["a zone ahead of UTC", "a zone behind UTC"],
)
def test_the_day_is_that_of_the_campaigns_zone(moment: datetime, occasion: str, day: str) -> None:
    order = rest(MONTHLY, replace(RUN, moment=moment), occasion, 5)
    assert order.body["conf"] == {"dry_run": False, "occasion_day": day}


def test_an_occasion_that_no_near_day_names_is_not_guessed() -> None:
    with pytest.raises(OrderImpossible, match="of its occasion 'other 2026-11'"):
        rest(MONTHLY, RUN, "other 2026-11", 5)


def test_a_dry_run_is_carried_out_as_it_was_told() -> None:
    told = {"dry_run": True, "customer_cap": 50, "note": "just looking", "gone": 1}
    order = carry_out(DAG, replace(RUN, conf=told), planned=50, requests=2)
    assert order.body == {"logical_date": None, "conf": {"dry_run": False, "customer_cap": 50}}
    assert order.path == ("api", "v2", "dags", "gold_tier", "dagRuns")
    assert order.says[0] == "A new run of gold_tier submits 50 customers in 2 requests."


def test_a_campaign_that_is_not_live_is_not_carried_out() -> None:
    with pytest.raises(OrderImpossible, match="Set live=True in its file first"):
        carry_out(replace(DAG, live=False), RUN, planned=50, requests=2)


def test_a_look_clears_wait_and_sends_nothing() -> None:
    order = look_now(RUN)
    assert order.path == ("api", "v2", "dags", "gold_tier", "clearTaskInstances")
    assert (order.body["task_ids"], order.body["dag_run_id"], order.makes_run) == (["wait"], "manual__1", False)
