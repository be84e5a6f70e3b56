"""What stands in the way of a run that submits is said where it is ordered, and it is not offered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, order_stop, resume
from capillary.ledger.unknown_keys import note
from capillary.ui.airflow_facts import REPORT, CampaignDag
from capillary.ui.failed_runs import Failures
from capillary.ui.matters_view import shown_matter
from tests.unit.api.scripted import settings
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import DAG, DRY, FACTS, PASSED, TEN, Ada, Airflow, ended

OTHER = "elsewhere.example/9"


@pytest.fixture
def failed(ledger: Ledger, airflow: Airflow) -> None:
    """A run of which two customers failed."""
    ended(ledger, run("first", **TEN), range(1, 3))
    airflow.told = {REPORT: PASSED}


async def assert_held_back(
    airflow: Airflow, why: str, action: str = "retry", button: str = "Retry the failed…"
) -> None:
    shown = await airflow.page("runs")
    assert why in shown
    assert button not in shown
    ordered = await airflow.page(f"confirm/{action}")
    assert why in ordered
    assert '<h1 tabindex="-1">Not now</h1>' in ordered
    assert "data-post=" not in ordered, "nothing can be sent"


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize("campaign", ["", "spring"], ids=["account", "campaign"])
async def test_no_run_is_ordered_while_sending_is_stopped(ledger: Ledger, airflow: Airflow, campaign: str) -> None:
    assert "Retry the failed…" in await airflow.page("runs")
    scope = Scope(SPEC.account, campaign)
    order_stop(ledger, scope, by="bob", reason="The list is wrong.")
    await assert_held_back(airflow, f"Sending is stopped: {scope} by bob at ")
    assert "(The list is wrong.). A run now would fail. Resume first" in await airflow.page("confirm/retry")
    resume(ledger, scope, by="bob")
    assert "Retry the failed…" in await airflow.page("runs")


@pytest.mark.usefixtures("failed")
async def test_a_stop_of_others_stands_in_nobodys_way_and_is_not_told(ledger: Ledger, airflow: Airflow) -> None:
    order_stop(ledger, Scope(SPEC.account, "winter"), by="bob", reason="secret")
    order_stop(ledger, Scope(OTHER), by="bob", reason="secret")
    for path in ("runs", "confirm/retry"):
        shown = await airflow.page(path)
        assert "secret" not in shown
        assert "Retry the failed" in shown


@pytest.mark.usefixtures("failed")
async def test_no_run_is_ordered_of_a_campaign_whose_file_does_not_load(airflow: Airflow) -> None:
    airflow.dag = replace(DAG, broken=True)
    await assert_held_back(airflow, "The file of spring does not load, so Airflow makes no run of it.")


async def test_the_rest_and_a_dry_run_are_held_back_too(ledger: Ledger, airflow: Airflow) -> None:
    airflow.dag = replace(DAG, broken=True)
    airflow.told = {REPORT: DRY}
    await assert_held_back(airflow, "The file of spring does not load", "carry-out", "Carry out…")
    plan(ledger, range(1, 11), run("first", cap=2))
    airflow.told = {REPORT: PASSED | {"left_over": 8}}
    await assert_held_back(airflow, "The file of spring does not load", "rest", "Take the rest now…")


@pytest.mark.usefixtures("failed")
async def test_the_account_is_that_to_which_the_connection_leads_now(ledger: Ledger, airflow: Airflow) -> None:
    order_stop(ledger, Scope(SPEC.account), by="bob", reason="x")
    airflow.platform = settings()
    assert airflow.platform.account != SPEC.account
    assert "Retry the failed…" in await airflow.page("runs")


@pytest.mark.usefixtures("failed")
async def test_what_only_delays_a_run_is_said_first(ledger: Ledger, airflow: Airflow) -> None:
    airflow.platform = replace(settings(), submitting=False)
    with ledger.write() as tx:
        note(tx, airflow.platform.account, "s", ["k1", "k2"])
    shown = await airflow.page("confirm/retry")
    assert "Submitting is off in the connection 'capillary': the run plans its customers, and sends nothing" in shown
    assert "The platform holds 2 requests of ours for " in shown
    assert "Retry them now" in shown


@pytest.mark.parametrize(
    ("waits", "offered"),
    [("deferred", True), ("up_for_reschedule", True), ("up_for_retry", True)]
    + [(state, False) for state in ("running", "queued", "scheduled", "restarting", "success", None)],
)
async def test_a_look_is_offered_while_wait_sleeps_and_never_breaks_one_off(
    ledger: Ledger, airflow: Airflow, waits: str | None, *, offered: bool
) -> None:
    (waiting,) = requests_of(ledger, plan(ledger, range(1, 5), run("first", **TEN)))
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-1", decided=False)
    airflow.facts = replace(airflow.facts, state="running")
    airflow.waits = waits
    assert ("Look now…" in await airflow.page("runs")) is offered
    ordered = await airflow.page("confirm/look-now")
    assert ("data-post=" in ordered) is offered
    assert ("its task wait looks by itself at this moment" in ordered) is not offered


async def test_no_look_is_offered_while_what_is_decided_is_being_settled(ledger: Ledger, airflow: Airflow) -> None:
    (decided,) = requests_of(ledger, plan(ledger, range(1, 5), run("first", **TEN)))
    send(ledger, decided.id)
    see(ledger, decided.id, "p-1")
    airflow.facts = replace(airflow.facts, state="running")
    shown = await airflow.page("runs")
    assert "Settling" in shown
    assert "Look now…" not in shown
    airflow.waits = "up_for_retry"
    assert "Look now…" in await airflow.page("runs"), "it has broken off, and tries again only later"


@pytest.mark.parametrize(
    ("stopped", "dag", "offered"),
    [
        ((), DAG, True),
        (((SPEC.account, None),), DAG, False),
        (((SPEC.account, "spring"),), DAG, False),
        (((SPEC.account, "winter"), (OTHER, None)), DAG, True),
        ((), replace(DAG, broken=True), False),
    ],
    ids=["free", "account", "campaign", "others", "broken"],
)
def test_badges_offers_no_run_that_its_page_would_refuse(
    stopped: tuple[tuple[str, str | None], ...], dag: CampaignDag, *, offered: bool
) -> None:
    for kind in (Kind.FAILED, Kind.CANARY_PASSED):
        whose: dict[str, Any] = {"account": SPEC.account, "campaign": "spring", "dag_id": "spring", "run_id": "first"}
        matter = Matter(kind=kind, failures=(FailureCount(Outcome.FAILED, 500, 2),), customers=2, **whose)
        reader: Any = Ada()
        shown = shown_matter(matter, reader, FACTS.moment, (), {"spring": dag}, Failures({}, {}), stopped)
        assert shown.may_trigger is offered
