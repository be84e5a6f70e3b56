"""An order page names the runs that are not over, and an order that was given already is not given once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import expect

from capillary.ledger.database import Ledger
from capillary.ui.active_runs import ActiveRuns
from capillary.ui.airflow_facts import REPORT, RunFacts
from tests.unit.ledger.orders import plan, run
from tests.unit.ui.browsing import browsing
from tests.unit.ui.run_pages import DAG, FACTS, PASSED, TEN, Airflow, ended

REST = "/capillary/confirm/rest/spring/first"
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
FORM: dict[str, object] = {"dry_run": False, "customer_cap": None, "retry_outcomes": [], "canary": False}


def active(run_id: str, conf: dict[str, Any] | None = None, state: str = "queued") -> RunFacts:
    return replace(FACTS, run_id=run_id, state=state, conf=conf or {}, made_at=NOON)


@pytest.fixture
def left(ledger: Ledger, airflow: Airflow) -> Airflow:
    """A run that has left eight customers."""
    plan(ledger, range(1, 11), run("first", cap=2))
    airflow.told = {REPORT: PASSED | {"left_over": 8}}
    airflow.dag = replace(DAG, defaults=FORM)
    return airflow


async def test_runs_that_are_not_over_are_named_with_what_they_mean_for_the_numbers(
    ledger: Ledger, left: Airflow
) -> None:
    plan(ledger, range(1, 11), run("second", cap=1))
    left.active = (active("capped", {"customer_cap": 1}), active("second", state="running"))
    shown = await left.page("confirm/rest")
    assert (
        "1 run of spring that Airflow has not ended has not planned yet, and may take some of these customers" in shown
    )
    assert "first: capped." in shown
    assert "1 run of spring that Airflow has not ended has planned already, which is counted here: second." in shown
    assert "Take them now" in shown
    left.active = (active("dry", {"dry_run": True}),)
    assert "has not ended" not in await left.page("confirm/rest"), "a dry run takes nobody"


@pytest.mark.parametrize(
    ("conf", "is_same"),
    [
        ({}, True),
        ({"dry_run": False, "note": "By another tab."}, True),
        (FORM, True),
        ({"customer_cap": 3}, False),
        ({"retry_outcomes": ["failed"]}, False),
    ],
    ids=["by the schedule", "another tab's", "the whole form", "a cap", "a retry"],
)
async def test_an_order_that_was_given_already_is_not_offered(
    left: Airflow, conf: dict[str, Any], *, is_same: bool
) -> None:
    left.active = (active("second", conf),)
    shown = await left.page("confirm/rest")
    said = "This order was given already: second of spring has the same form, and has not planned yet."
    assert (said in shown) is is_same
    assert ('data-post="' in shown) is not is_same
    assert ('href="/capillary/runs/spring/second">See that run</a>' in shown) is is_same


async def test_a_run_that_has_planned_is_no_order_given_already(ledger: Ledger, left: Airflow) -> None:
    """It waits for the checker, perhaps for days: what it has left may be taken."""
    plan(ledger, range(1, 11), run("second", cap=5))
    left.active = (active("second", state="running"),)
    shown = await left.page("confirm/rest")
    assert "takes the 3 customers that a later run" in shown
    assert "Take them now" in shown


async def test_a_retry_and_a_look_are_not_taken_for_one_another(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 3))
    airflow.active = (active("second", {"retry_outcomes": ["failed"], "dry_run": False}),)
    assert "This order was given already: second" in await airflow.page("confirm/retry")
    airflow.active = (active("second", {"retry_outcomes": ["rejected"]}),)
    shown = await airflow.page("confirm/retry")
    assert "Retry them now" in shown
    assert "may take some of these customers first: second." in shown


def test_of_many_runs_the_first_are_named_and_the_others_counted() -> None:
    runs = tuple(active(f"r{nth}") for nth in range(7))
    (said,) = ActiveRuns(runs=runs).says("spring")
    assert said.startswith("7 runs of spring that Airflow has not ended have not planned yet, ")
    assert said.endswith(": r0, r1, r2, r3, r4, 2 more.")


async def test_an_order_of_another_tab_is_caught_before_it_is_given_again(left: Airflow) -> None:
    """Two tabs of one order: the run of the first is queued, or over already, when the second is pressed."""
    async with browsing(left) as (page, sent):
        await page.goto(REST)
        left.active = (active("second", {"dry_run": False}),)
        left.newest = left.active[0]
        await page.get_by_role("button", name="Take them now").click()
        await expect(page.get_by_text("Nothing was sent: things have changed")).to_be_visible()
        await expect(page.get_by_text("This order was given already: second of spring")).to_be_visible()
        assert sent == []
        await page.goto(REST)
        left.active = ()
        await page.goto(REST)
        left.newest = active("third", state="failed")
        await page.get_by_role("button", name="Take them now").click()
        await expect(page.get_by_text("Nothing was sent: things have changed")).to_be_visible()
        assert sent == [], "a run was made since the page was drawn, though it is over"
        await page.get_by_role("button", name="Take them now").click()
        await page.wait_for_url("**/runs/spring/second")
    assert len(sent) == 1


async def test_a_plan_that_is_made_after_the_page_was_drawn_is_caught(ledger: Ledger, left: Airflow) -> None:
    async with browsing(left) as (page, sent):
        await page.goto(REST)
        plan(ledger, range(1, 3), run("nobody"))
        await page.get_by_role("button", name="Take them now").click()
        await expect(page.get_by_text("Nothing was sent: things have changed")).to_be_visible()
    assert sent == []
