"""What a dry run says of a live run: in its log, and in the output of the task that plans."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from capillary.ledger.guards import GuardReading
from capillary.ledger.plan import Plan
from capillary.ledger.preview import LastRun, Preview
from capillary.plan_preview import PlanPreview
from capillary.plan_reference import PlanReference
from tests.unit.ledger.orders import ORDER

BEFORE = LastRun("spring", "first", datetime(2026, 11, 23, 12, 0, tzinfo=UTC), customers=1_000, planned=900)
GUARDS = (
    GuardReading("max_jump", 1.2, 10.0, None),
    GuardReading("max_requests", 25, 20, "25 approvals needed, more than max_requests=20"),
)


def planned(*, requests: int = 25, preview: Preview | None = None) -> Plan:
    return Plan(
        badge_run_id=None,
        token=None,
        kept=False,
        canary=False,
        waits_for_canary=False,
        eligible=1_200,
        invalid=0,
        duplicates=0,
        known_before=0,
        over_cap=0,
        planned=1_200,
        requests=requests,
        preview=preview,
    )


def preview_of(preview: Preview, *, requests: int = 25, calls_per_minute: int = 60) -> PlanPreview:
    found = PlanPreview.of(planned(requests=requests, preview=preview), ORDER, calls_per_minute)
    assert found is not None
    return found


def test_a_live_run_is_told_with_approvals_calls_and_minutes_at_the_accounts_pace() -> None:
    found = preview_of(Preview(1_200, GUARDS, BEFORE, ("…056", "…057")), calls_per_minute=6)
    assert (found.customers, found.requests, found.calls, found.minutes) == (1_200, 25, 27, 5)
    assert list(found.lines()) == [
        (
            "a live run would send 25 requests to the checker, one approval each: at least 27 calls, about 5 minutes "
            "at 6 a minute"
        ),
        "the first customers, masked: …056, …057",
        "the query found 1,200 customers, 200 more than the last run (1,000, run first, 2026-11-23 12:00 UTC)",
        "guard max_jump: 1.2 of 10",
        "guard max_requests: 25 of 20, past it, and let pass by override_guards",
    ]


@pytest.mark.parametrize(
    ("customers", "words"),
    [(1_000, "as many as the last run"), (999, "1 fewer than the last run"), (1_001, "1 more than the last run")],
)
def test_the_difference_to_the_last_run_is_told(customers: int, words: str) -> None:
    assert any(words in line for line in preview_of(Preview(customers, (), BEFORE, ())).lines())


def test_a_first_run_that_would_send_nothing_says_so() -> None:
    found = preview_of(Preview(0, (), None, ()), requests=0)
    assert (found.calls, found.minutes) == (0, 0)
    assert list(found.lines()) == [
        "a live run would send nothing",
        "no earlier run to compare with: none has come so far as to plan a customer",
    ]


def test_what_airflow_keeps_is_plain_and_does_not_disturb_the_reference() -> None:
    made = planned(preview=Preview(1_200, GUARDS, BEFORE, ("…056",)))
    shown = preview_of(Preview(1_200, GUARDS, BEFORE, ("…056",))).to_xcom()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["preview"]["last_run"]["planned_at"] == "2026-11-23T12:00:00+00:00"
    assert shown["preview"]["guards"][1]["refusal"] == "25 approvals needed, more than max_requests=20"
    output = PlanReference.of(made).to_xcom() | {"preview": shown}
    assert PlanReference.parse(output) == PlanReference.of(made)


def test_a_plan_that_is_kept_shows_nothing() -> None:
    assert PlanPreview.of(planned(), ORDER, 60) is None
