"""Why a task failed, as of now: a stop of then is not told as one that still holds, and no command has a button."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update

from capillary.errors import named
from capillary.ledger.database import Ledger
from capillary.ledger.errors import Stopped
from capillary.ledger.given_back import GivenBack
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run
from capillary.ledger.stop_ends import stop_ends
from capillary.ledger.stops import Scope, assert_not_stopped, order_stop, resume
from capillary.ui.airflow_facts import REPORT
from capillary.ui.failed_now import as_of_now
from capillary.ui.failed_tasks import FailedTask
from tests.unit.ledger.orders import SPEC, plan, run
from tests.unit.ui.run_pages import FACTS, Airflow, asked

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
GIVEN_BACK = GivenBack(customers=5, is_whole=True, planned_by=("extract",), refused=False)
ODD = "it's a and b --account x"


def told(ledger: Ledger, campaign: str = "spring") -> str:
    """Return what a task says that a stop ends now."""
    with ledger.read() as tx, pytest.raises(Stopped) as stopped:
        assert_not_stopped(tx, SPEC.account, campaign)
    return named(stopped.value)


def now_of(ledger: Ledger, said: str, dag_id: str = "spring", **also: object) -> FailedTask:
    with ledger.read() as tx:
        return as_of_now(FailedTask("submit", said=said), dag_id, stop_ends(tx), **also)  # type: ignore[arg-type]


@pytest.mark.parametrize("campaign", ["", "spring", ODD], ids=["account", "campaign", "odd name"])
def test_a_stop_that_is_over_is_told_as_one_of_then_with_who_ended_it(ledger: Ledger, campaign: str) -> None:
    scope, dag_id = Scope(SPEC.account, campaign), campaign or "spring"
    stop = order_stop(ledger, scope, by="ann", reason="The list is wrong.")
    said = told(ledger, dag_id)
    held = now_of(ledger, said, dag_id)
    assert held.said == "Sending was stopped."
    assert held.now == f"Stopped now: {stop}. Resume on the page Badges, then trigger a new run."
    resume(ledger, scope, by="bob")
    found = now_of(ledger, said, dag_id)
    assert found.said == f"Sending was stopped: {stop}."
    assert found.now.startswith("bob resumed it at 20")
    assert found.now.endswith(" UTC. Trigger a new run.")
    assert "python -m" not in held.said + held.now + found.said + found.now


def test_two_stops_of_then_and_one_of_now(ledger: Ledger) -> None:
    whole, own = Scope(SPEC.account), Scope(SPEC.account, "spring")
    order_stop(ledger, whole, by="ann", reason="a")
    order_stop(ledger, own, by="ann", reason="b")
    said = told(ledger)
    resume(ledger, whole, by="bob")
    assert "Stopped now: campaign 'spring' of" in now_of(ledger, said).now
    resume(ledger, own, by="cy")
    assert now_of(ledger, said).now.startswith("cy resumed it at")
    order_stop(ledger, Scope(SPEC.account, "winter"), by="ann", reason="c")
    assert now_of(ledger, said).now.startswith("cy resumed it at"), "another campaign's stop holds nobody here"
    later = order_stop(ledger, whole, by="dee", reason="d")
    assert f"Stopped now: {later}. Resume" in now_of(ledger, said).now, "a later stop holds a new run, too"


def test_those_given_back_are_promised_only_where_some_were(ledger: Ledger) -> None:
    order_stop(ledger, Scope(SPEC.account), by="ann", reason="a")
    said = told(ledger)
    assert now_of(ledger, said, given_back=GIVEN_BACK).now.endswith(
        "with the same occasion and settings it takes the 5 customers given back unsent."
    )
    resume(ledger, Scope(SPEC.account), by="bob")
    assert now_of(ledger, said, given_back=replace(GIVEN_BACK, customers=1)).now.endswith(
        "with the same occasion and settings it takes the 1 customer given back unsent."
    )
    assert "given back" not in now_of(ledger, said).now
    good = now_of(ledger, said, made_good=True)
    assert good.now == "A later run has passed since: nothing is left to do for this one."


@pytest.mark.parametrize("end", range(40, 400, 40))
def test_a_sentence_that_was_cut_off_is_still_one_of_then(ledger: Ledger, end: int) -> None:
    order_stop(ledger, Scope(SPEC.account), by="ann", reason="a")
    said = told(ledger)
    resume(ledger, Scope(SPEC.account), by="bob")
    found = now_of(ledger, said[:end])
    assert found.said.startswith("Sending was stopped: every")
    assert "python -m" not in found.said


def test_what_another_failure_says_stays_but_for_commands_with_a_button(ledger: Ledger) -> None:
    said = "Odd: read it (python -m capillary failed), then run python -m capillary ledger import --since 2026-01-01"
    found = now_of(ledger, said)
    assert found.said == "Odd: read it, then run python -m capillary ledger import --since 2026-01-01"
    assert found.now == ""
    assert now_of(ledger, "").said == ""


async def test_the_matter_the_row_and_the_run_say_it_alike(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(ledger, [1], run("earlier"))
    scope = Scope(SPEC.account)
    order_stop(ledger, scope, by="ann", reason="The list is wrong.")
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("extract_eligible_customers", said=told(ledger))
    pages = [await asked(airflow, monkeypatch, "badges", {"spring"}), await airflow.page("runs", "held")]
    for shown in pages:
        assert "Resume on the page Badges, then trigger a new run." in shown
        assert "python -m capillary" not in shown
    resume(ledger, scope, by="bob")
    pages = [await asked(airflow, monkeypatch, "badges", {"spring"}), await airflow.page("runs", "held")]
    assert pages[0].count("bob resumed it at <time") == 2, "in the matter, and in the row"
    for shown in pages:
        assert "bob resumed it at <time" in shown
        assert "Trigger a new run." in shown
        assert "given back" not in shown, "nobody was planned"
        assert "python -m capillary" not in shown
        assert "sending is stopped" not in shown
    assert "Correct what failed." not in pages[0], "one thing to do"
    airflow.recent = [replace(FACTS, run_id="later"), replace(airflow.facts, run_id="held")]
    shown = await airflow.page("runs", "held")
    assert "A later run has passed since: nothing is left to do for this one." in shown
    assert "Trigger a new run" not in shown


async def test_a_run_whose_customers_were_given_back_says_how_many_until_a_later_one_took_them(
    ledger: Ledger, airflow: Airflow
) -> None:
    scope = Scope(SPEC.account)
    given_back = plan(ledger, range(1, 4))
    with ledger.write() as tx:
        tx.conn.execute(delete(badge_enrolment))
        tx.conn.execute(delete(badge_request))
        tx.conn.execute(update(badge_run).where(badge_run.c.id == given_back.badge_run_id).values(discarded=3))
    order_stop(ledger, scope, by="ann", reason="a")
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said=told(ledger))
    sentence = "3 customers never sent and given back: fix what stopped submit."
    airflow.told = {REPORT: {"verdict": "fail", "sentence": sentence}}
    resume(ledger, scope, by="bob")
    assert (
        "Trigger a new run; with the same occasion and settings it takes the 3 customers given back unsent."
        in await airflow.page("runs")
    )
    plan(ledger, range(1, 4), run("second"))
    shown = await airflow.page("runs")
    assert f"When it ended: {sentence}" in shown
    assert "The last run since has left nobody; this one had left 3." in shown
    assert "it takes the" not in shown
