"""What a dry run shows is what its task has told; what it has not told is left out, and nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.ledger.guards import GuardReading
from capillary.ledger.preview import LastRun, Preview
from capillary.plan_preview import PREVIEW, PlanPreview
from capillary.ui.plan_view import PlanShown, shown_plan

BEFORE = LastRun("gold_tier", "manual__1", datetime(2026, 11, 25, 6, tzinfo=UTC), customers=1_000, planned=900)
GUARDS = (
    GuardReading("min_customers", 1_227, 1, None),
    GuardReading("max_invalid_share", 0.021, 0.05, None),
    GuardReading("max_jump", 6.135, 5.0, "1,227 customers after 200"),
    GuardReading("max_requests", 62, 100, None),
    GuardReading("of_tomorrow", 3, 0, None),
)
TOLD = PlanPreview(
    account="a/1",
    campaign="gold_tier",
    occasion="badge:a1",
    customers=1_217,
    requests=62,
    calls=64,
    minutes=2,
    calls_per_minute=60,
    preview=Preview(customers=1_227, guards=GUARDS, last_run=BEFORE, sample=("…056", "…084")),
)


def shown(told: PlanPreview) -> PlanShown:
    plan = shown_plan({"eligible": 1_319, PREVIEW: told.to_xcom()})
    assert plan is not None
    return plan


def test_what_was_told_is_shown() -> None:
    plan = shown(TOLD)
    assert (plan.customers, plan.requests, plan.calls, plan.minutes, plan.calls_per_minute) == (1_217, 62, 64, 2, 60)
    assert (plan.sample, plan.before_run, plan.before_at) == (
        ("…056", "…084"),
        ("gold_tier", "manual__1"),
        BEFORE.planned_at,
    )


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (None, "No earlier run to compare with: none has come so far as to plan a customer."),
        (replace(BEFORE, customers=1_227), "As many as in the last run, 1,227."),
        (BEFORE, "227 more than the 1,000 of the last run."),
        (replace(BEFORE, customers=2_000), "773 fewer than the 2,000 of the last run."),
    ],
    ids=["the first", "the same", "more", "fewer"],
)
def test_the_difference_to_the_last_run_is_said(before: LastRun | None, said: str) -> None:
    assert shown(replace(TOLD, preview=replace(TOLD.preview, last_run=before))).difference == said


def test_a_guard_is_as_near_as_it_is() -> None:
    guards = {each.words: each for each in shown(TOLD).guards}
    assert [(each.value, each.limit, each.near) for each in guards.values()] == [
        ("1,227", "1", 0.1),
        ("2.1%", "5.0%", 42.0),
        ("6.13 ×", "5.00 ×", 100.0),
        ("62", "100", 62.0),
        ("3", "0", 100.0),
    ]
    assert guards["As many as the last run, at most"].refusal == "1,227 customers after 200"
    assert "of tomorrow" in guards


@pytest.mark.parametrize(
    "output",
    [
        None,
        {},
        {PREVIEW: None},
        {PREVIEW: "text"},
        {PREVIEW: {"customers": 1}},
        {PREVIEW: {**TOLD.to_xcom(), "calls": "x"}},
    ],
    ids=["nothing", "no preview", "none", "text", "half of it", "not a number"],
)
def test_what_is_not_understood_is_left_out(output: dict[str, Any] | None) -> None:
    assert shown_plan(output) is None
