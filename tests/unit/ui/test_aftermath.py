"""What became of a run since it ended stands beside its verdict: on its page, in its row, and in its table."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from sqlalchemy import update

from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_spec
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from capillary.ui import run_known, run_view
from capillary.ui.airflow_facts import REPORT
from tests.unit.ledger.orders import customers_of, plan, requests_of, run, see, send
from tests.unit.ledger.test_attention import end
from tests.unit.ui.run_pages import CAREFUL, FACTS, PASSED, TEN, Airflow, asked, ended
from tests.unit.ui.test_since_then import retried

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
ENROLLED: Final = Ending(Outcome.ENROLLED, issued_id="i")
HELD_THEN: Final = (
    "Nothing was planned: the canary of spring, run canary, sent 2026-11-27 06:49 UTC, is not decided yet."
)
HELD: Final = PASSED | {"waits_for_canary": True, "canary": True, "canary_passed": False, "sentence": HELD_THEN}


def failed_with(sentence: str, **outcomes: int) -> dict[str, Any]:
    return {"verdict": "fail", "sentence": sentence, "funnel": {"planned": sum(outcomes.values()), **outcomes}}


def notice(shown: str) -> str:
    """Return what stands over a run, as text."""
    section = re.search(r'aria-label="How it stands">(.*?)</section>', shown, re.DOTALL)
    assert section
    return " ".join(re.sub("<[^>]*>", " ", section[1]).split())


def left_now(shown: str) -> list[tuple[str, str]]:
    return re.findall(r'data-name="Customers">([\d,]+)</td><td class="num" data-name="Left now">([\d,]+)</td>', shown)


async def test_a_verdict_of_which_nothing_changed_is_told_as_it_is(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 8))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.told = {REPORT: failed_with("7 of 7 customers failed: retry outcome failed.", failed=7)}
    shown = await airflow.page("runs")
    assert "7 of 7 customers failed: retry the failed." in notice(shown)
    assert "When it ended" not in shown
    assert left_now(shown) == [("7", "7")]


async def test_what_was_retried_is_said_with_what_is_left_and_the_one_thing_to_do(
    ledger: Ledger, airflow: Airflow
) -> None:
    ended(ledger, run("first", **TEN), range(1, 8))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.told = {REPORT: failed_with("7 of 7 customers failed: retry outcome failed.", failed=7)}
    retried(ledger, "second", range(1, 6), dict.fromkeys(range(1, 5), ENROLLED) | {5: Ending(Outcome.FAILED)})
    shown = await airflow.page("runs")
    said = notice(shown)
    assert "When it ended: 7 of 7 customers failed: retry the failed." in said
    assert (
        "Since then 4 of these 7 got the badge by a later run, 1 ended again as failed, 2 were not asked for again. 2 "
        "customers are left now: 2 failed (500). Fix the causes by their codes, then retry the failed."
    ) in said
    assert left_now(shown) == [("7", "2")]
    assert "7 customers without the badge when they ended; 3 without it now" in shown


async def test_where_nothing_is_left_that_is_said_and_no_remedy(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", **TEN), range(1, 8))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.told = {REPORT: failed_with("7 of 7 customers failed: retry outcome failed.", failed=7)}
    retried(ledger, "second", range(1, 8), dict.fromkeys(range(1, 7), ENROLLED) | {7: Ending(Outcome.FAILED)})
    shown = await airflow.page("runs")
    said = "Nothing is left to do: 6 of these 7 got the badge by a later run, 1 ended again as failed."
    assert said in notice(shown)
    assert left_now(shown) == [("7", "0")]
    assert 'data-name="To do">nothing is left to do</td>' in shown
    assert "are left now" not in shown
    assert "Retry the failed…" not in shown


async def test_of_too_many_to_look_at_the_kept_counts_are_told(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_known, "_SINCE_AT_MOST", 6)
    ended(ledger, run("first", **TEN), range(1, 8))
    airflow.told = {REPORT: failed_with("7 of 7 customers failed.", failed=7)}
    retried(ledger, "second", range(1, 6), dict.fromkeys(range(1, 6), ENROLLED))
    shown = await airflow.page("runs")
    assert "Since then 5 of these 7 were asked for again, or erased. 2 customers are left now:" in notice(shown)
    assert left_now(shown) == [("7", "2")]


async def test_what_the_checker_decided_after_the_deadline_is_told(ledger: Ledger, airflow: Airflow) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, 6), run("first", **TEN)))
    send(ledger, request.id)
    see(ledger, request.id, "p-1")
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    sentence = "The deadline has passed with 5 customers in 1 request still open: have the checker decide."
    airflow.told = {REPORT: failed_with(sentence, open=5)}
    assert "When it ended" not in await airflow.page("runs")
    endings = dict.fromkeys(range(1, 5), ENROLLED) | {5: Ending(Outcome.FAILED, error_code=1026)}
    with ledger.write() as tx:
        assert settle(tx, request.id, sightings_read=["p-1"], endings=endings)
    said = notice(await airflow.page("runs"))
    assert f"When it ended: {sentence} By now 5 ended: 4 enrolled, 1 failed. 1 customer is left now:" in said


async def test_a_run_without_a_report_is_told_by_the_ledger(ledger: Ledger, airflow: Airflow) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, 6), run("first", **TEN)))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    said = notice(await airflow.page("runs"))
    assert "Its report has given no verdict." in said
    assert "Then clear the task that failed, and those after it." in said
    end(ledger, request.id, dict.fromkeys(range(1, 6), ENROLLED))
    said = notice(await airflow.page("runs"))
    assert "Now 5 ended: 5 enrolled. Clear the task that failed, and those after it: report judges it." in said


@pytest.fixture
def canary(ledger: Ledger, airflow: Airflow) -> int:
    """A canary that waits for its checker, and a run that it holds; return the canary's request."""
    airflow.dag = CAREFUL
    (request,) = requests_of(ledger, plan(ledger, range(1, 31), run("canary", canary=True, **TEN)))
    send(ledger, request.id)
    see(ledger, request.id, "p-1", decided=False)
    plan(ledger, range(1, 31), run("held", canary=True, **TEN))
    airflow.told = {REPORT: HELD}
    return int(request.id)


def decide(ledger: Ledger, request_id: int, ending: Ending = ENROLLED) -> None:
    see(ledger, request_id, "p-1")
    with ledger.write() as tx:
        endings = dict.fromkeys(customers_of(ledger, request_id), ending)
        assert settle(tx, request_id, sightings_read=["p-1"], endings=endings)


@pytest.mark.usefixtures("canary")
async def test_a_held_run_leads_to_the_canary_and_to_the_checker_while_it_waits(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_view, "checker_url", lambda _conn: "https://checker.example/queue")
    shown = await airflow.page("runs", "held")
    assert HELD_THEN in notice(shown)
    assert "When it ended" not in shown
    assert "It is held still: the canary of spring, run canary, sent " in notice(shown)
    assert "20 customers left: if the configuration is proven then, a run with the same occasion" in notice(shown)
    assert "Take the rest now…" not in shown
    assert 'href="/capillary/runs/spring/canary">The run that held it</a>' in shown
    assert 'href="https://checker.example/queue"' in shown
    assert "sent <time datetime=" in shown.split("It is held still")[1], "in the user's zone"


async def test_a_held_run_says_that_its_canary_has_passed(
    ledger: Ledger, airflow: Airflow, canary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_view, "checker_url", lambda _conn: "https://checker.example/queue")
    decide(ledger, canary)
    shown = await airflow.page("runs", "held")
    said = notice(shown)
    assert said.startswith("Was held back"), said[:60]
    assert f"When it ended: {HELD_THEN}" in said
    assert (
        "The configuration is proven since: 20 customers left. Take the rest now, or leave it to the schedule if"
        in said
    )
    assert 'href="/capillary/runs/spring/canary">The run that held it</a>' in shown
    assert "checker.example" not in shown, "nothing waits there"
    assert "Take the rest now…" in shown
    plan(ledger, range(1, 31), run("rest", canary=True, **TEN))
    said = notice(await airflow.page("runs", "held"))
    assert "The last run since has left nobody; this one had left 20. Nothing is left to do." in said
    assert "Take the rest now" not in said


async def test_a_held_run_says_that_its_canary_has_proven_nothing(
    ledger: Ledger, airflow: Airflow, canary: int
) -> None:
    decide(ledger, canary, Ending(Outcome.FAILED, error_code=500))
    said = notice(await airflow.page("runs", "held"))
    assert (
        "What held it is not open any more, and has proven nothing. The configuration is not proven: with Canary on"
        in said
    )
    assert "Take the rest now" not in said


async def test_a_canary_that_the_reader_may_not_see_is_neither_named_nor_led_to(
    ledger: Ledger, airflow: Airflow
) -> None:
    (request,) = requests_of(
        ledger,
        plan(
            ledger,
            range(1, 31),
            run("theirs", dag_id="zephyr", campaign="zephyr", canary=True, **TEN, shared_occasion=True),
        ),
    )
    send(ledger, request.id)
    plan(ledger, range(1, 31), run("held", canary=True, shared_occasion=True, **TEN))
    airflow.told = {REPORT: HELD | {"sentence": HELD_THEN.replace("of spring", "of zephyr")}}
    shown = await airflow.page("runs", "held")
    assert "zephyr" not in shown
    assert "It is held still: the canary of another DAG of this account is not decided yet." in notice(shown)
    assert "The run that held it" not in shown


async def test_what_a_run_left_over_its_cap_is_told_as_of_now(ledger: Ledger, airflow: Airflow) -> None:
    plan(ledger, range(1, 11), run("first", cap=2, customers_per_request=10))
    airflow.told = {REPORT: PASSED | {"sentence": "All ended. 8 customers left over the cap for the next run."}}
    assert "When it ended" not in await airflow.page("runs")
    plan(ledger, range(1, 11), run("second", cap=5, customers_per_request=10))
    said = notice(await airflow.page("runs"))
    assert "When it ended: All ended. 8 customers left over the cap for the next run." in said
    assert "It left 8; the last run since has left 3 customers. A run with the same occasion and settings takes" in said


async def test_a_canary_whose_configuration_was_proven_later_says_so(ledger: Ledger, airflow: Airflow) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, 31), run("first", canary=True, **TEN)))
    end(ledger, request.id, dict.fromkeys(range(1, 11), Ending(Outcome.ALREADY_ENROLLED, error_code=809)))
    said = "The configuration is not proven yet: the next run is a canary again, 20 customers left behind it."
    funnel = {"planned": 10, "already_enrolled": 10}
    airflow.told = {REPORT: PASSED | {"canary": True, "canary_passed": False, "sentence": said, "funnel": funnel}}
    assert "When it ended" not in await airflow.page("runs")
    with ledger.write() as tx:
        tx.conn.execute(update(badge_spec).values(proven_at=tx.now))
    found = notice(await airflow.page("runs"))
    assert f"When it ended: {said} The configuration is proven since: 20 customers left. Take the rest now" in found


async def test_a_row_of_badges_says_what_is_so_now(
    ledger: Ledger, airflow: Airflow, canary: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "Held back" in shown
    assert "When it ended" not in shown
    decide(ledger, canary)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "Was held back" in shown
    assert f"When it ended: {HELD_THEN}" in shown
    assert "The configuration is proven since: 20 customers left." in shown


async def test_a_row_counts_what_is_left_as_its_matter_does(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(ledger, run("held", **TEN), range(1, 8))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.told = {REPORT: failed_with("7 of 7 customers failed.", failed=7)}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "7 customers without the badge" in shown
    assert "When it ended" not in shown
    other = replace(run("x", retry=frozenset({Outcome.FAILED}), **TEN), dag_id="autumn")
    (request,) = requests_of(ledger, plan(ledger, range(1, 6), other))
    end(ledger, request.id, dict.fromkeys(range(1, 6), ENROLLED))
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "2 customers without the badge" in shown
    assert "When it ended: 7 of 7 customers failed." in shown
    assert "Of these 7 without the badge 2 are left now." in shown
