"""What the page Badges says of one thing in two places fits together: tones, ages, and whose numbers stand there."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.overview import campaigns
from capillary.ledger.status import Outcome
from capillary.ui.airflow_facts import REPORT
from tests.unit.ledger.orders import plan, requests_of, run, see, send, settle_as
from tests.unit.ui.run_pages import DAG, DRY, FACTS, PASSED, Airflow, asked, ended

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def enrolled(ledger: Ledger, run_id: str, customers: range) -> None:
    for request in requests_of(ledger, plan(ledger, customers, run(run_id))):
        settle_as(ledger, request.id, Outcome.ENROLLED)


@pytest.mark.parametrize(("state", "tone"), [("success", "warn"), ("failed", "bad")])
async def test_customers_whom_the_policy_lets_pass_are_a_warning_in_both_places(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, state: str, tone: str
) -> None:
    ended(ledger, run("held"), range(1, 4))
    airflow.facts = replace(FACTS, state=state, ended_at=NOON)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert f'<span class="tag {tone}">' in shown.partition("No badge")[0][-400:]
    assert "planned <time" in shown, "the age of a matter says since when it counts"


async def test_what_the_policy_lets_pass_stands_below_what_failed_however_many(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(ledger, run("tolerated"), range(1, 4))
    ended(ledger, run("failed", occasion="Winter"), range(11, 12))
    ended(ledger, run("worse", occasion="Autumn"), range(21, 23))
    airflow.states = {("spring", "tolerated"): "success"}
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert re.findall(r'tag (\w+)">.*?spring: ([0-9]) customers? without the badge', shown, re.DOTALL) == [
        ("bad", "2"),
        ("bad", "1"),
        ("warn", "3"),
    ]
    assert "the most urgent first: red, then yellow, then blue; in a colour what concerns a whole account" in shown


async def test_numbers_of_an_earlier_run_say_so(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(ledger, "earlier", range(1, 11))
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert 'Of an earlier run, <a href="/capillary/runs/spring/earlier">planned' in shown
    enrolled(ledger, "held", range(11, 13))
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "Of an earlier run" not in shown
    assert "By all its runs on this occasion: 12 customers with the badge." in shown


def test_who_holds_the_badge_is_counted_on_the_last_runs_occasion_alone(ledger: Ledger) -> None:
    enrolled(ledger, "first", range(1, 4))
    for request in requests_of(ledger, plan(ledger, range(1, 3), run("other", occasion="Winter"))):
        settle_as(ledger, request.id, Outcome.ALREADY_ENROLLED)
    with ledger.read() as tx:
        (line,) = campaigns(tx)
    assert (line.last.run_id, line.holders) == ("other", 2)


async def test_what_waits_says_when_the_list_was_read_and_offers_a_look(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1], run("held")))
    send(ledger, request.id)
    see(ledger, request.id, "p-1", decided=False)
    look = 'href="/capillary/confirm/look-now/spring/held"'
    airflow.facts = replace(FACTS, state="running")
    assert look in await asked(airflow, monkeypatch, "badges", {"spring"})
    airflow.facts = replace(FACTS, state="failed")
    assert look not in await asked(airflow, monkeypatch, "badges", {"spring"}), "nobody waits in a run that is over"


async def test_a_first_look_says_where_to_start(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.told = {REPORT: PASSED}
    assert "Start here" not in await asked(airflow, monkeypatch, "badges", {"spring"}), "it has run"
    airflow.has_run = False
    assert "Start here: nobody was planned yet." in await asked(airflow, monkeypatch, "badges", {"spring"})
    plan(ledger, [1], run("held"))
    assert "Start here" not in await asked(airflow, monkeypatch, "badges", {"spring"}), "it has planned"


async def test_a_dry_run_of_a_campaign_that_is_not_live_says_how_to_submit(airflow: Airflow) -> None:
    airflow.told = {REPORT: DRY}
    assert "set live=True in its file" not in await airflow.page("runs")
    airflow.dag = replace(DAG, live=False)
    assert "set live=True in its file" in await airflow.page("runs")
