"""What the pages of a run offer and say, over HTTP: a ledger as it may be, and what Airflow may keep of the run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from capillary.ledger.database import Ledger
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.reports import FailureCount
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from capillary.plan_preview import PREVIEW
from capillary.ui.airflow_facts import EXTRACT, REPORT, CampaignDag
from capillary.ui.failed_runs import Failures
from capillary.ui.matters_view import shown_matter
from capillary.ui.since_count import UNKNOWN
from tests.unit.ledger.orders import ORDER, customers_of, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import CAREFUL, DAG, DRY, FACTS, MONTHLY, PASSED, TEN, Ada, Airflow, dry_run, ended


async def test_a_retry_says_whose_the_customers_are(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, replace(ORDER, campaign="autumn", dag_id="autumn", shared_occasion=True, **TEN), range(1, 5))
    ended(ledger, run("first", shared_occasion=True, **TEN), range(7, 9))
    said = "lans up to 6 customers again, in a new run of spring: 2 of this run, and 4 of other runs on its occasion"
    assert f"P{said}" in await airflow.page("confirm/retry")
    assert f"Retry the failed: p{said}" in await airflow.page("runs")
    shown = await airflow.page("confirm/retry")
    assert "2 customers failed, code 500</b>, and <b>4 of other runs</b> on the occasion, who come along:" in shown
    assert "A retry takes those of other runs, too: it cannot be narrowed to this run." in shown
    assert shown.count("never asked for on this occasion, up to the run's cap. The ledger knows of none now.") == 1


async def test_nothing_is_offered_of_a_campaign_that_is_not_live(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 3))
    airflow.told = {REPORT: PASSED}
    assert "Retry the failed…" in await airflow.page("runs")
    airflow.dag = replace(DAG, live=False)
    shown = await airflow.page("runs")
    assert "Retry the failed…" not in shown
    assert "spring is not live, so every run of it is a dry run" in shown
    for action in ("retry", "rest", "carry-out"):
        assert "Set live=True in its file first" in await airflow.page(f"confirm/{action}")


async def test_a_code_that_the_form_refuses_is_not_preselected_and_said(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 3), code=-5)
    shown = await airflow.page("confirm/retry")
    assert 'value="failed:-5">' in shown
    assert "The trigger form takes no code below 1" in shown
    assert "Choose at least one kind" in shown


async def test_a_page_without_a_ticked_box_asks_and_does_not_refuse(ledger: Ledger, airflow: Airflow) -> None:
    """What only a person may ask for again is not ticked: the checker's own words stand beside its box."""
    (request,) = requests_of(ledger, plan(ledger, range(1, 4), run("first", **TEN)))
    send(ledger, request.id)
    words = Seen("p-1", "rejected", decided=True, auto_approved=False, checker_message="Not <b>these</b>.")
    with ledger.write() as tx:
        record_sighting(tx, request.id, words)
        endings = dict.fromkeys(range(1, 4), Ending(Outcome.REJECTED))
        assert settle(tx, request.id, sightings_read=["p-1"], endings=endings)
    shown = await airflow.page("confirm/retry")
    assert '<h1 tabindex="-1">Retry the failed</h1>' in shown
    assert "Not now" not in shown
    assert "Choose at least one kind of failure. Tick a box above, then press Choose these. A failure" in shown
    assert "“Not <b>these</b>.”" in shown, "unescaped by the test: the page itself escapes it"


async def test_mapped_tasks_of_one_occasion_are_one_line_and_of_several_are_refused(
    ledger: Ledger, airflow: Airflow
) -> None:
    ended(ledger, run("first", task_id="a", **TEN), range(1, 3))
    ended(ledger, run("first", task_id="b", **TEN), range(3, 6))
    shown = await airflow.page("confirm/retry")
    assert re.findall(r'name="take" value="(f[^"]+)"', shown) == ["failed:500"]
    assert "Plans up to 5 customers again, in a new run of spring." in shown
    ended(ledger, run("first", task_id="c", occasion="Winter", **TEN), range(1, 3))
    sentence = "This run planned for several occasions (Spring 2026, Winter)"
    assert sentence in await airflow.page("confirm/retry")
    assert sentence in await airflow.page("runs")


async def test_the_rest_is_offered_by_what_is_left_now(ledger: Ledger, airflow: Airflow) -> None:
    plan(ledger, range(1, 11), run("first", cap=2))
    airflow.told = {REPORT: PASSED | {"left_over": 8}}
    assert "takes the 8 customers that this one left" in await airflow.page("confirm/rest")
    plan(ledger, range(1, 11), run("second", cap=5))
    later = "takes the 3 customers that a later run of it on this occasion has left, as far as nobody has taken them"
    assert later in await airflow.page("confirm/rest")
    plan(ledger, range(1, 11), run("third"))
    assert "The last run of the campaign on this occasion has left nobody" in await airflow.page("confirm/rest")
    assert "Take the rest now…" not in await airflow.page("runs")
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).where(badge_run.c.run_id == "third").values(discarded=3))
    assert later in await airflow.page("confirm/rest")


@pytest.mark.parametrize(("dag", "offered"), [(DAG, True), (replace(DAG, live=False), False), (None, False)])
def test_badges_offers_an_order_where_a_run_of_the_campaign_submits(dag: CampaignDag | None, *, offered: bool) -> None:
    failures = (FailureCount(Outcome.FAILED, 500, 2),)
    matter = Matter(
        kind=Kind.FAILED, campaign="spring", dag_id="spring", run_id="first", failures=failures, customers=2
    )
    dags = {"spring": dag} if dag else {}
    shown = shown_matter(matter, Ada(), FACTS.moment, (), dags, Failures({}, {}))  # type: ignore[arg-type]
    assert shown.may_trigger is offered


async def test_what_a_held_run_left_is_offered_once_the_canary_has_passed(ledger: Ledger, airflow: Airflow) -> None:
    airflow.dag = CAREFUL
    (canary,) = requests_of(ledger, plan(ledger, range(1, 31), run("canary", canary=True, **TEN)))
    send(ledger, canary.id)
    plan(ledger, range(1, 31), run("held", canary=True, **TEN))
    airflow.told = {REPORT: PASSED | {"canary": True, "canary_passed": False, "left_over": 20}}
    assert "Take the rest now…" not in await airflow.page("runs", "held")
    end_it(ledger, canary.id)
    assert "Take the rest now…" in await airflow.page("runs", "held")
    assert "takes the 20 customers that this one left" in await airflow.page("confirm/rest", "held")


def end_it(ledger: Ledger, request_id: int) -> None:
    see(ledger, request_id, "p-1")
    endings = dict.fromkeys(customers_of(ledger, request_id), Ending(Outcome.ENROLLED))
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=["p-1"], endings=endings)


async def test_a_dry_run_is_carried_out_on_its_own_occasion(ledger: Ledger, airflow: Airflow) -> None:
    airflow.dag = MONTHLY
    airflow.told = dry_run(ledger, range(1, 31), run("first", occasion="Spring 2026-10", **TEN))
    assert await airflow.conf("carry-out") == {"dry_run": False, "occasion_day": "2026-10-15"}
    airflow.told = dry_run(ledger, range(1, 31), run("first", occasion="Autumn 2026-10", **TEN))
    assert "of its occasion 'Autumn 2026-10'" in await airflow.page("confirm/carry-out")


async def test_what_was_given_back_is_not_said_to_be_nobody(ledger: Ledger, airflow: Airflow) -> None:
    planned = plan(ledger, range(1, 4))
    with ledger.write() as tx:
        tx.conn.execute(delete(badge_enrolment))
        tx.conn.execute(delete(badge_request))
        tx.conn.execute(update(badge_run).where(badge_run.c.id == planned.badge_run_id).values(discarded=3))
    shown = await airflow.page("runs")
    assert "None is left: 3 customers were planned, and 3 of them given back unsent." in shown
    assert "nobody was planned" not in shown


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"verdict": "pass", "dry_run": True},
        DRY | {"funnel": {}},
        DRY | {"funnel": {"planned": "30"}},
        DRY | {"funnel": {"planned": -1, "eligible": 1e400}},
        DRY | {"funnel": [1], "requests": None, "left_over": "many", "known_through": 7, "sentence": None},
        DRY | {"funnel": {"planned": 3}, "requests": {}, "canary": "yes", "left_over": 10**5000},
        {"verdict": [], "dry_run": "yes", "funnel": "x", "sentence": ["x"]},
        ["pass"],
        "pass",
        7,
        None,
    ],
    ids=lambda report: str(type(report).__name__),
)
@pytest.mark.parametrize(
    "output",
    [None, [], {PREVIEW: []}, {PREVIEW: {"occasion": 7}}, {PREVIEW: {"customers": 1e400}}, {PREVIEW: {"preview": 7}}],
    ids=["none", "list", "list within", "number", "infinite", "a number for a preview"],
)
async def test_an_odd_report_is_shown_as_far_as_it_tells(airflow: Airflow, report: object, output: object) -> None:
    airflow.told = {REPORT: report, EXTRACT: output}
    assert "How it stands" in await airflow.page("runs")
    shown = await airflow.page("runs")
    assert "Carry out…" not in shown, "nobody knows whether it still holds"
    planned = isinstance(report, dict) and report.get("funnel") == {"planned": 3}
    assert ("New dry run…" in shown) is planned
    shown = await airflow.page("confirm/carry-out")
    assert (UNKNOWN if planned else "This is not a dry run that would plan somebody.") in shown
