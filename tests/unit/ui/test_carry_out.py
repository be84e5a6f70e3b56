"""*Carry out* says what it does now: a dry run whose numbers do not hold any more is not carried out, and says why."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, order_stop
from capillary.plan_preview import PREVIEW
from capillary.ui import rendering
from capillary.ui.access import reader
from capillary.ui.airflow_facts import EXTRACT
from capillary.ui.since_count import UNKNOWN, mark_of
from tests.unit.ledger.orders import ORDER, SPEC, plan, request, requests_of, run, send, settle_as
from tests.unit.ui.browsing import browsing
from tests.unit.ui.run_pages import DAG, MONTHLY, TEN, Ada, Airflow, dry_run

CANARY: dict[str, Any] = {"canary": True, **TEN}
#: Where the button is that starts a new dry run.
NEW: str = 'href="/capillary/confirm/dry-run/spring/first"'


async def changed(airflow: Airflow, said: str) -> str:
    """Return the page of *Carry out*, which is not offered for this reason, its moments shown as every other one."""
    said = unescape(rendering.timed(said))
    run_page = await airflow.page("runs")
    assert "Carry out…" not in run_page
    assert NEW in run_page
    assert said in run_page
    page = await airflow.page("confirm/carry-out")
    assert 'data-post="' not in page
    assert '<h1 tabindex="-1">Not now</h1>' in page
    assert said in page
    assert " Its numbers do not hold any more: make a new dry run." in page
    assert NEW in page
    return page


async def test_a_dry_run_that_holds_is_carried_out_and_says_how_old_it_is(ledger: Ledger, airflow: Airflow) -> None:
    plan(ledger, range(1, 4), run("before", **TEN))
    airflow.told = dry_run(ledger, range(1, 31), run("first", **TEN))
    page = await airflow.page("runs")
    assert "Carry out…" in page
    assert NEW not in page
    assert 'What a live run would do</h2><span class="muted">counted <time' in page
    page = await airflow.page("confirm/carry-out")
    assert "A new run of spring submits 27 customers in 3 requests." in page
    assert (
        "Since the dry run nobody was planned on its occasion. The query is asked again: who has come into it" in page
    )
    assert "The dry run counted <time" in page
    assert "What this dry run has counted still holds." in await airflow.page("confirm/dry-run")


async def test_a_dry_run_is_not_carried_out_once_somebody_was_planned(ledger: Ledger, airflow: Airflow) -> None:
    """As with vips: a dry run of 10, a live canary, its approval; the old page promised the same 10."""
    airflow.told = dry_run(ledger, range(1, 31), run("first", **CANARY))
    assert "It is a canary: 10 of 30 customers." in await airflow.page("confirm/carry-out")
    (canary,) = requests_of(ledger, plan(ledger, range(1, 31), run("canary", **CANARY)))
    send(ledger, canary.id)
    page = await changed(airflow, "The canary of spring, run canary, sent ")
    assert "10 customers were planned on its occasion since, by run canary of spring." in page
    assert " UTC</time>, is not decided yet: a run now plans nobody." in page
    (second,) = requests_of(ledger, plan(ledger, range(40, 42), run("second", canary=False, **TEN)))
    settle_as(ledger, second.id, Outcome.ENROLLED)
    page = await changed(airflow, ": a run now is not a canary, and may take more than 10 of 30 customers.")
    assert "12 customers were planned on its occasion since, in 2 runs, the last of them run second of spring." in page
    assert "is not decided yet" not in page


async def test_a_configuration_that_is_proven_elsewhere_is_a_change(ledger: Ledger, airflow: Airflow) -> None:
    airflow.told = dry_run(ledger, range(1, 31), run("first", **CANARY))
    (canary,) = requests_of(ledger, plan(ledger, [1], run("canary", occasion="Winter", **CANARY)))
    settle_as(ledger, canary.id, Outcome.ENROLLED)
    proven = request(ledger, canary.id).settled_at
    since = f"Its configuration is proven since {proven:%Y-%m-%d %H:%M} UTC: a run now is not a canary, "
    await changed(airflow, f"{since}and may take more than 10 of 30 customers.")
    airflow.told = dry_run(ledger, range(1, 31), run("first", **CANARY))
    assert "submits 30 customers in 3 requests" in await airflow.page("confirm/carry-out"), "a new one has counted it"


async def test_a_canary_of_all_customers_holds_though_its_configuration_is_proven(
    ledger: Ledger, airflow: Airflow
) -> None:
    airflow.told = dry_run(ledger, range(1, 6), run("first", **CANARY))
    (canary,) = requests_of(ledger, plan(ledger, [1], run("canary", occasion="Winter", **CANARY)))
    settle_as(ledger, canary.id, Outcome.ENROLLED)
    assert "submits 5 customers in 1 request" in await airflow.page("confirm/carry-out")


async def test_who_was_given_back_or_ended_since_is_a_change(ledger: Ledger, airflow: Airflow) -> None:
    before = plan(ledger, range(1, 4), run("before", **TEN))
    (other,) = requests_of(ledger, plan(ledger, range(4, 6), run("other", **TEN)))
    airflow.told = dry_run(ledger, range(1, 31), run("first", retry=frozenset({Outcome.FAILED}), **TEN))
    with ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[before.badge_run_id or 0])  # type: ignore[list-item]
    page = await changed(airflow, "3 customers were given back unsent since, and may be planned again.")
    assert "ended without the badge since" not in page
    settle_as(ledger, other.id, Outcome.FAILED)
    page = await changed(airflow, "2 customers ended without the badge since, and may be planned again.")
    assert "3 customers were given back unsent since" in page


async def test_what_another_dag_has_planned_is_counted_and_not_named(ledger: Ledger, airflow: Airflow) -> None:
    shared: dict[str, Any] = {"shared_occasion": True, **CANARY}
    airflow.told = dry_run(ledger, range(1, 31), run("first", **shared))
    theirs = replace(ORDER, dag_id="secret", campaign="secret", run_id="secret run", **shared)
    send(ledger, requests_of(ledger, plan(ledger, range(1, 31), theirs))[0].id)
    page = await changed(airflow, "10 customers were planned on its occasion since, by a run of another DAG.")
    assert "The canary of another DAG of this account is not decided yet: a run now plans nobody." in page
    assert "secret" not in page
    assert "secret" not in await airflow.page("runs")

    class Wide(Ada):
        dag_ids = frozenset({"spring", "secret"})

    airflow.app.dependency_overrides[reader] = Wide
    assert "by run secret run of secret." in await airflow.page("confirm/carry-out")


async def test_a_dry_run_that_does_not_tell_how_things_stood_is_not_carried_out(
    ledger: Ledger, airflow: Airflow
) -> None:
    airflow.told = dry_run(ledger, range(1, 31), run("first", **TEN))
    del airflow.told[EXTRACT][PREVIEW]["preview"]["mark"]
    page = await changed(airflow, UNKNOWN)
    assert "The dry run counted" not in page, "nobody knows when"


@pytest.mark.parametrize(
    "wrong",
    [
        {"counted_at": "2026-11-26T10:00:00"},
        {"counted_at": 7},
        {"account": None},
        {"retry": 7},
        {"retry": [7]},
        {"last_plan": "1"},
        {"last_plan": True},
        {"held": -1},
        {"held": 2**63},
        {"held": 1.5},
        {"canary": "yes"},
    ],
    ids=str,
)
def test_a_mark_that_is_not_understood_is_none(ledger: Ledger, wrong: dict[str, Any]) -> None:
    output = dry_run(ledger, range(1, 31), run("first", retry=frozenset({Outcome.FAILED}), **TEN))[EXTRACT]
    assert mark_of(output) is not None
    output[PREVIEW]["preview"]["mark"] |= wrong
    assert mark_of(output) is None


async def test_a_new_dry_run_counts_on_the_same_occasion_also_under_a_stop(ledger: Ledger, airflow: Airflow) -> None:
    airflow.dag = MONTHLY
    order = run("first", occasion="Spring 2026-10", **TEN)
    airflow.told = dry_run(ledger, range(1, 31), order)
    plan(ledger, [1], replace(order, run_id="second"))
    order_stop(ledger, Scope(SPEC.account), by="bob", reason="x")
    assert await airflow.conf("dry-run") == {"dry_run": True, "occasion_day": "2026-10-15"}
    assert NEW in await airflow.page("runs")
    assert "Sending is stopped" in await airflow.page("confirm/carry-out")
    airflow.dag = replace(MONTHLY, broken=True)
    assert "The file of spring does not load" in await airflow.page("confirm/dry-run")
    assert NEW not in await airflow.page("runs")
    airflow.dag = replace(DAG, live=False)
    assert NEW not in await airflow.page("runs")


async def test_a_change_between_the_page_and_the_press_is_shown_and_not_sent(ledger: Ledger, airflow: Airflow) -> None:
    airflow.told = dry_run(ledger, range(1, 31), run("first", **CANARY))
    async with browsing(airflow) as (page, sent):
        await page.goto("/capillary/confirm/carry-out/spring/first")
        plan(ledger, range(1, 31), run("canary", **CANARY))
        await page.get_by_role("button", name="Submit them now").click()
        await page.get_by_text("Nothing was sent: things have changed since this page was drawn.").wait_for()
        await page.get_by_text("10 customers were planned on its occasion since, by run canary of spring.").wait_for()
        await page.get_by_role("link", name="New dry run…").click()
        await page.get_by_role("button", name="Count now").click()
        await page.wait_for_url("**/runs/spring/second")
    assert [each[2]["conf"] for each in sent] == [{"dry_run": True}]
