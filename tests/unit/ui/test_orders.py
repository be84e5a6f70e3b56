"""What is sent to Airflow when a person orders something about a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.campaign.trigger_form import TriggerForm, form_fields
from capillary.ledger.left_over import LeftNow
from capillary.ledger.reports import FailureCount
from capillary.ledger.retryable import Retryable
from capillary.ledger.status import Outcome
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.order_day import OrderImpossible
from capillary.ui.orders import carry_out, choices, dry_run_again, look_now, new_ones, only_occasion, rest, retry

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


def of_run(*failures: FailureCount) -> tuple[Retryable, ...]:
    """An occasion on which nobody but this run has failures."""
    return tuple(Retryable(each.outcome, each.error_code, each.customers, each.customers) for each in failures)


def retried(*failures: FailureCount, taken: Collection[str] | None = None, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a DAG
    order = retry(replace(DAG, **changed), RUN, "badge:a1", choices(failures, taken), of_run(*failures))
    return dict(order.body["conf"])


def left(customers: int) -> LeftNow:
    """Return what a run left that is the last one, and no canary."""
    return LeftNow(by_run=customers, customers=customers, later=False, canary=False, proven=True)


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
    said = " ".join(
        retry(replace(DAG, fields=fields), RUN, "x", choices((PASSES, DATA), None), of_run(PASSES, DATA)).says
    )
    assert "up to 12 customers again" in said
    assert "this takes also: failed 1026" in said


def test_whoever_is_taken_beside_the_chosen_is_named_and_counted() -> None:
    """Outcomes and codes are two filters: failed with 1026 is taken by the code of another outcome."""
    odd = FailureCount(Outcome.UNCONFIRMED, 1026, 4)
    kinds = choices((PASSES, DATA, odd), {"failed:500", "unconfirmed:1026"})
    order = retry(DAG, RUN, "x", kinds, of_run(PASSES, DATA, odd))
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
    order = retry(MONTHLY, replace(RUN, conf=conf), occasion, choices((PASSES,), None), of_run(PASSES))
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
    order = rest(MONTHLY, replace(RUN, moment=moment), occasion, left(5))
    assert order.body["conf"] == {"dry_run": False, "occasion_day": day}


def test_an_occasion_that_no_near_day_names_is_not_guessed() -> None:
    with pytest.raises(OrderImpossible, match="of its occasion 'other 2026-11'"):
        rest(MONTHLY, RUN, "other 2026-11", left(5))


def test_a_dry_run_is_carried_out_as_it_was_told() -> None:
    told = {"dry_run": True, "customer_cap": 50, "note": "just looking", "gone": 1}
    order = carry_out(DAG, replace(RUN, conf=told), "badge:a1", planned=50, requests=2)
    assert order.body == {"logical_date": None, "conf": {"dry_run": False, "customer_cap": 50}}
    assert order.path == ("api", "v2", "dags", "gold_tier", "dagRuns")
    assert order.says[0] == "A new run of gold_tier submits 50 customers in 2 requests."


def test_a_retry_counts_whom_the_plan_takes_whichever_run_asked_for_them() -> None:
    """A retry filters the occasion: 400 of another campaign ended with the same code."""
    kinds = choices((FailureCount(Outcome.FAILED, 500, 2),), None)
    order = retry(DAG, RUN, "badge:a1", kinds, (Retryable(Outcome.FAILED, 500, 402, 2),))
    assert order.says[0] == (
        "Plans up to 402 customers again, in a new run of gold_tier: 2 of this run, and 400 of other runs on its "
        "occasion, whichever campaign's."
    )


def test_a_retry_leaves_out_the_codes_that_only_other_runs_have() -> None:
    kinds = choices((PASSES,), None)
    others = (*of_run(PASSES), Retryable(Outcome.FAILED, 1026, 90, 0), Retryable(Outcome.NOT_ACCEPTED, 750, 6, 0, 4))
    order = retry(DAG, RUN, "badge:a1", kinds, others)
    assert order.body["conf"] == {"dry_run": False, "retry_outcomes": ["failed"], "retry_codes": ["500"]}
    assert order.says[0] == "Plans up to 7 customers again, in a new run of gold_tier."
    assert order.says[-1] == "Beside them it takes, as every run does, up to 4 customers not accepted before."


@pytest.mark.parametrize("code", [0, -1, -99_999_999_999, 2**31, 12_345_678_901])
def test_a_code_that_the_form_refuses_is_not_sent(code: int) -> None:
    odd = FailureCount(Outcome.FAILED, code, 3)
    (kind,) = choices((odd,), None)
    assert not kind.chosen
    assert "The trigger form takes no code" in kind.unnameable
    assert retried(PASSES, odd) == {"dry_run": False, "retry_outcomes": ["failed"], "retry_codes": ["500"]}
    assert retried(PASSES, odd, taken={"failed:500", f"failed:{code}"}) == {
        "dry_run": False,
        "retry_outcomes": ["failed"],
    }, "every code of the outcome is taken, so that none is named"
    with pytest.raises(OrderImpossible, match=f"{code} is chosen"):
        retried(PASSES, odd, taken={f"failed:{code}"})


def test_what_an_order_names_the_trigger_form_takes() -> None:
    params = {name: field.value for name, field in form_fields(live=True, canary=True, recurs=False).items()}
    odd = FailureCount(Outcome.FAILED, -1, 9)
    conf = retried(PASSES, DATA, odd, FailureCount(Outcome.FAILED, None, 1), FailureCount(Outcome.FAILED, 2**31 - 1, 1))
    form = TriggerForm.read(params | conf)
    assert form.retry_codes == {"500", "none", str(2**31 - 1)}


def test_one_kind_of_failure_is_one_line_however_many_tasks_had_it() -> None:
    kinds = choices((FailureCount(Outcome.FAILED, 500, 2), PASSES, DATA, FailureCount(Outcome.FAILED, 500, 3)), None)
    assert [(each.value, each.advice.failure.customers) for each in kinds] == [("failed:500", 12), ("failed:1026", 5)]


def test_a_run_of_several_occasions_is_not_ordered_for_one_of_them() -> None:
    assert only_occasion(("streak 2026-11",)) == "streak 2026-11"
    assert only_occasion(()) == ""
    with pytest.raises(OrderImpossible, match=r"several occasions \(streak 2026-10, streak 2026-11\)"):
        only_occasion(("streak 2026-10", "streak 2026-11"))


def test_the_rest_is_what_is_left_now() -> None:
    assert rest(DAG, RUN, "badge:a1", left(500)).says[0] == (
        "A new run of gold_tier takes the 500 customers that this one left, as far as nobody has taken them since and "
        "the query still returns them, and whoever is new."
    )
    later = LeftNow(by_run=500, customers=200, later=True, canary=False, proven=True)
    assert rest(DAG, RUN, "badge:a1", later).says[0] == (
        "A new run of gold_tier takes the 200 customers that a later run of it on this occasion has left, as far as "
        "nobody has taken them since and the query still returns them, and whoever is new."
    )


@pytest.mark.parametrize(
    ("conf", "moment", "occasion", "day"),
    [
        ({}, datetime(2026, 10, 15, 3, 0, tzinfo=UTC), "streak 2026-10", "2026-10-15"),
        ({}, datetime(2026, 10, 31, 20, 0, tzinfo=UTC), "streak 2026-11", "2026-11-01"),
        ({"occasion_day": "2026-09-03"}, datetime(2026, 10, 15, tzinfo=UTC), "streak 2026-09", "2026-09-03"),
        ({"occasion_day": None}, datetime(2026, 10, 15, tzinfo=UTC), "streak 2026-10", "2026-10-15"),
        ({}, datetime(2026, 10, 15, 3, 0, tzinfo=UTC), "", "2026-10-15"),
        ({"occasion_day": "2026-10-31"}, datetime(2026, 11, 1, tzinfo=UTC), "", "2026-10-31"),
    ],
    ids=[
        "told",
        "told of a zone ahead",
        "a day given",
        "no day",
        "not told, far from a month's end",
        "not told, given",
    ],
)
def test_a_dry_run_is_carried_out_on_the_occasion_that_it_counted_for(
    conf: dict[str, Any], moment: datetime, occasion: str, day: str
) -> None:
    order = carry_out(MONTHLY, replace(RUN, conf=conf, moment=moment), occasion, planned=3, requests=1)
    assert order.body["conf"] == {"dry_run": False, "occasion_day": day}
    assert order.says[1] == f"It plans for the dry run's occasion, that of {day}."


def test_an_occasion_that_nobody_knows_is_not_carried_out() -> None:
    moment = datetime(2026, 10, 31, 20, 0, tzinfo=UTC)
    with pytest.raises(OrderImpossible, match="The occasion of this run is not known"):
        carry_out(MONTHLY, replace(RUN, moment=moment), "", planned=3, requests=1)
    with pytest.raises(OrderImpossible, match="No day near this run is of its occasion 'old 2026-10'"):
        carry_out(MONTHLY, replace(RUN, moment=moment), "old 2026-10", planned=3, requests=1)


def test_a_plan_whose_requests_nobody_counted_is_carried_out_without_their_number() -> None:
    assert carry_out(DAG, RUN, "", planned=3, requests=None).says[0] == "A new run of gold_tier submits 3 customers."


def test_nothing_is_ordered_of_a_campaign_that_is_not_live() -> None:
    idle = replace(DAG, live=False)
    with pytest.raises(OrderImpossible, match="Set live=True in its file first"):
        carry_out(idle, RUN, "", planned=50, requests=2)
    with pytest.raises(OrderImpossible, match="Set live=True in its file first"):
        retry(idle, RUN, "badge:a1", choices((PASSES,), None), of_run(PASSES))
    with pytest.raises(OrderImpossible, match="Set live=True in its file first"):
        rest(idle, RUN, "badge:a1", left(5))


def test_a_look_clears_wait_and_sends_nothing() -> None:
    order = look_now(RUN)
    assert order.path == ("api", "v2", "dags", "gold_tier", "clearTaskInstances")
    assert (order.body["task_ids"], order.body["dag_run_id"], order.makes_run) == (["wait"], "manual__1", False)
    assert order.body["prevent_running_task"] is True, "a look that is under way is not broken off"
    assert order.says[-1] == "Nothing is sent. The deadline stays as it is."


def test_the_rest_says_how_many_requests_it_makes_and_a_canary_of_how_many_it_is_one() -> None:
    dag = replace(DAG, customers_per_request=200)
    assert rest(dag, RUN, "badge:a1", left(1_217)).says[-1] == (
        "That makes 7 requests, as far as the query returns the same customers. The checker has to decide each of them."
    )
    assert (
        rest(replace(dag, customer_cap=300), RUN, "badge:a1", left(1_217))
        .says[-1]
        .startswith("That makes 2 requests of at most 300 customers, as far as")
    )
    assert rest(dag, RUN, "badge:a1", left(10)).says[-1].endswith("The checker has to decide it.")
    assert rest(DAG, RUN, "badge:a1", left(1_217)).says[-1] == "The checker has to decide its requests."
    says = carry_out(DAG, RUN, "badge:a1", planned=10, requests=1, canary_of=1_227).says
    assert says[1] == (
        "It is a canary: 10 of 1,227 customers. The other 1,217 are left for later runs on the occasion, which are "
        "held small, too, until a request is approved by a human, with somebody enrolled and nobody unconfirmed."
    )
    assert not any("canary" in each for each in carry_out(DAG, RUN, "", planned=10, requests=1, canary_of=10).says)


def retryable(by_attempt: dict[int, int]) -> tuple[Retryable, ...]:
    customers = sum(by_attempt.values())
    return (Retryable(Outcome.FAILED, 500, customers, customers, by_attempt=by_attempt),)


@pytest.mark.parametrize(
    ("by_attempt", "size", "cap", "left_over", "requests"),
    [
        ({1: 7, 2: 3}, 500, None, 0, "2 new requests"),
        ({1: 7}, 500, None, 0, "1 new request"),
        ({1: 7}, 3, None, 0, "3 new requests"),
        ({1: 7}, 500, None, 1_217, "4 new requests"),
        ({1: 600, 2: 600}, 500, 700, 0, "3 new requests"),
        ({1: 7, 2: 3}, 500, 1, 0, "1 new request"),
    ],
    ids=["of two attempts", "of one", "full ones", "with new ones", "under a cap", "under a tiny cap"],
)
def test_a_retry_says_how_many_requests_it_makes(
    by_attempt: dict[int, int], size: int, cap: int | None, left_over: int, requests: str
) -> None:
    dag = replace(DAG, customers_per_request=size, customer_cap=cap)
    order = retry(dag, RUN, "x", choices((PASSES,), None), retryable(by_attempt), left=left(left_over))
    assert order.says[-1] == (
        f"The checker gets at most {requests} to decide. Customers who already hold the badge are left out."
    )


def test_a_retry_of_a_dag_that_does_not_tell_its_limits_names_no_number() -> None:
    order = retry(DAG, RUN, "x", choices((PASSES,), None), retryable({1: 7}))
    assert order.says[-1].startswith("The checker gets new requests to decide. Customers who")


def test_whoever_comes_along_with_a_retry_is_in_its_requests() -> None:
    """Two not accepted of attempt 2 come along: they need a request of their own."""
    others = Retryable(Outcome.NOT_ACCEPTED, 750, 6, 0, 2, by_attempt={2: 6}, by_itself_by_attempt={2: 2})
    dag = replace(DAG, customers_per_request=500)
    order = retry(dag, RUN, "x", choices((PASSES,), None), (*retryable({1: 7}), others))
    assert any(each.startswith("The checker gets at most 2 new requests to decide.") for each in order.says)


@pytest.mark.parametrize(
    ("proven", "defaults", "is_canary"), [(False, {}, True), (True, {}, False), (False, {"canary": False}, False)]
)
def test_a_retry_under_a_configuration_that_is_not_proven_says_that_it_is_a_canary(
    defaults: dict[str, Any], *, proven: bool, is_canary: bool
) -> None:
    dag = replace(DAG, customers_per_request=3, defaults=defaults)
    behind = LeftNow(by_run=20, customers=20, later=False, canary=True, proven=proven)
    order = retry(dag, RUN, "x", choices((PASSES,), None), retryable({1: 7}), left=behind)
    said = "It is a canary, since the configuration is not proven: it takes at most 10 customers."
    assert (said in order.says) is is_canary
    requests = "4 new requests" if is_canary else "10 new requests"
    assert any(each.startswith(f"The checker gets at most {requests} to decide.") for each in order.says)


def test_a_new_dry_run_is_told_what_the_old_one_was() -> None:
    told = {"dry_run": True, "customer_cap": 50, "note": "just looking", "gone": 1}
    order = dry_run_again(DAG, replace(RUN, conf=told), "badge:a1")
    assert order.body["conf"] == {"dry_run": True, "customer_cap": 50}
    assert order.says[-1] == "It writes nothing into the ledger, and sends nothing."
    again = dry_run_again(MONTHLY, replace(RUN, conf={"dry_run": True}), "streak 2026-11")
    assert again.body["conf"] == {"dry_run": True, "occasion_day": "2026-11-26"}


def test_a_retry_says_how_many_new_customers_come_along() -> None:
    order = retry(DAG, RUN, "x", choices((PASSES,), None), of_run(PASSES), new_ones(left(1_217)))
    assert order.says[2] == (
        "A retry also takes customers of the query who were never asked for on this occasion, up to the run's cap. The "
        "ledger knows of up to 1,217, left by the last run of the campaign. A dry run also counts those who are new in "
        "the query."
    )
