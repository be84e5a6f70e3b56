"""The sentence over a run: by its report where it is over, by the ledger while it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.ledger.answers import PlannedRun
from capillary.ledger.run_page import PlanView, RunView
from capillary.ledger.run_wait import RunWait
from capillary.ui.aftermath import After
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.headline import Beside, headline
from tests.funnels import funnel_of
from tests.unit.ui.run_pages import DAG, FACTS, Airflow

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def facts(state: str) -> RunFacts:
    return RunFacts(
        dag_id="d", run_id="r", state=state, run_type="manual", by=None, moment=NOON, started_at=NOON, ended_at=None
    )


def view(**counts: int) -> RunView:
    names = ("unsent", "in_doubt", "undecided", "decided", "settled", "undecided_customers", "unsent_customers")
    given = dict.fromkeys(names, 0) | counts
    wait = RunWait(
        requests=sum(given[name] for name in names[:5]),
        doubt_due=0,
        first_sent_at=NOON,
        planned_at=NOON,
        failed_checks=0,
        undecided_since=NOON,
        **given,
    )
    funnel = funnel_of()
    planned = PlannedRun(NOON, "d", "o", "a", "c", "d", "r", "t", None, funnel)
    plan = PlanView(badge_run_id=1, planned=planned, wait=wait, failures=(), canary=None, alive_until=NOON)
    return RunView(dag_id="d", run_id="r", plans=(plan,), funnel=funnel, failures=(), requests=(), requests_before=0)


@pytest.mark.parametrize(
    ("report", "tone", "word"),
    [
        ({"verdict": "pass", "sentence": "All of 10 customers ended."}, "good", "Passed"),
        ({"verdict": "pass", "sentence": "All ended. Warning: 1 failed."}, "warn", "Passed with a warning"),
        ({"verdict": "pass", "sentence": "s", "waits_for_canary": True}, "warn", "Held back"),
        ({"verdict": "pass", "sentence": "s", "dry_run": True}, "calm", "Dry run"),
        ({"verdict": "fail", "sentence": "s", "waits_for_canary": True}, "bad", "Failed"),
        ({"sentence": "of another version"}, "bad", "Failed"),
    ],
    ids=["passed", "warned", "held back", "dry", "failed", "without a verdict"],
)
def test_a_run_that_is_over_is_what_its_report_says(report: dict[str, Any], tone: str, word: str) -> None:
    said = headline(facts("success"), None, report)
    assert (said.tone, said.word, said.sentence) == (tone, word, report["sentence"])


@pytest.mark.parametrize(
    ("counts", "word", "said"),
    [
        (
            {"undecided": 2, "undecided_customers": 1_010, "settled": 1},
            "Waits for the checker",
            "1,010 customers in 2 requests wait for the checker.",
        ),
        ({"undecided": 1, "undecided_customers": 1}, "Waits for the checker", "1 customer in 1 request waits"),
        ({"in_doubt": 1}, "In doubt", "1 request is being sent, or in doubt"),
        (
            {"unsent": 3, "unsent_customers": 250, "in_doubt": 1},
            "Submitting",
            "3 requests with 250 customers are not sent yet. 1 more request is being sent, or in doubt",
        ),
        ({"unsent": 1, "unsent_customers": 1}, "Submitting", "1 request with 1 customer is not sent yet."),
        ({"decided": 1, "settled": 4}, "Settling", "1 request is decided and not settled yet."),
        ({"settled": 4}, "Running", "Every request is settled"),
    ],
    ids=["waits", "one waits", "in doubt", "submitting", "one unsent", "settling", "settled"],
)
def test_a_run_that_is_under_way_is_what_the_ledger_says(counts: dict[str, int], word: str, said: str) -> None:
    found = headline(facts("running"), view(**counts), {"verdict": "pass", "sentence": "of an earlier try"})
    assert found.word == word
    assert said in found.sentence


@pytest.mark.parametrize(
    ("state", "planned", "word"),
    [
        ("queued", False, "Queued"),
        ("running", False, "Running"),
        ("failed", False, "Failed"),
        ("failed", True, "Failed"),
        ("success", True, "Ended"),
    ],
)
def test_a_run_without_a_report(state: str, *, planned: bool, word: str) -> None:
    assert headline(facts(state), view(settled=1) if planned else None, None).word == word


def test_a_run_that_was_deleted_in_airflow_is_the_ledgers_still() -> None:
    assert headline(None, view(settled=1), None).word == "Deleted in Airflow"


def test_what_is_decided_beside_what_waits_is_said_too() -> None:
    said = headline(facts("running"), view(undecided=1, undecided_customers=500, decided=2), None)
    assert said.word == "Waits for the checker"
    assert said.sentence.startswith("500 customers in 1 request wait for the checker.")
    assert said.sentence.endswith("2 more requests are decided; their customers are open until the list is read next.")


def test_what_is_not_sent_beside_what_waits_is_said_too() -> None:
    """A killed `submit` leaves requests unsent until its retry, while the checker has the first ones already."""
    waits = {"undecided": 1, "undecided_customers": 100}
    said = headline(facts("running"), view(**waits, unsent=4, unsent_customers=400), None)
    assert said.word == "Waits for the checker"
    assert said.sentence.startswith("100 customers in 1 request wait for the checker.")
    assert said.sentence.endswith("on the platform. 4 more requests with 400 customers are not sent yet.")
    said = headline(facts("running"), view(**waits, unsent=1, unsent_customers=1, in_doubt=2), None)
    assert said.sentence.endswith(
        " 1 more request with 1 customer is not sent yet. 2 more requests are being sent, or in doubt: sent without a "
        "clear answer."
    )


def test_a_queued_run_says_the_one_reason_that_is_known() -> None:
    assert headline(facts("queued"), None, None, None, Beside(queued="Its DAG is paused.")).sentence == (
        "Its DAG is paused."
    )
    assert headline(facts("queued"), None, None).sentence == "Airflow has not started it."


async def test_a_queued_run_of_a_paused_dag_says_what_else_would_start(airflow: Airflow) -> None:
    airflow.facts = replace(FACTS, state="queued")
    airflow.queued = "Its DAG is paused. Turn the DAG on, and Airflow starts it."
    airflow.dag = replace(DAG, paused=True, due_at=datetime(2126, 1, 1, 6, tzinfo=UTC))
    said = "it also runs by its schedule, next at <time"
    shown = await airflow.page("runs")
    assert airflow.queued in shown
    assert said in shown
    airflow.dag = replace(airflow.dag, paused=False)
    assert said not in await airflow.page("runs")


def test_a_run_that_was_cleared_and_is_queued_again_says_both() -> None:
    queued = Beside(queued="Its DAG is paused.", looks="It looks.")
    said = headline(facts("queued"), view(undecided=1, undecided_customers=1), None, None, queued)
    assert (said.word, said.now) == ("Waits for the checker", "Airflow has it queued. Its DAG is paused.")


def test_a_dry_run_is_not_told_as_one_that_is_going_to_plan() -> None:
    dry = Beside(dry=True)
    assert headline(facts("running"), None, None).sentence == "It has not planned anybody yet."
    said = headline(facts("running"), None, None, None, dry).sentence
    assert said == "It counts the customers of a live run. A dry run plans nobody."
    failed = FailedTask("extract", said="Odd: no.")
    assert (
        headline(facts("failed"), None, None, failed, dry).sentence == "A dry run plans nobody. Task extract: Odd: no."
    )
    assert headline(facts("failed"), None, None, failed).sentence.startswith("It has planned nobody. ")


def test_a_run_that_waits_says_that_it_looks() -> None:
    looks = Beside(looks="It looks.")
    said = headline(facts("running"), view(undecided=1, undecided_customers=1), None, None, looks)
    assert (said.word, said.now) == ("Waits for the checker", "It looks.")


@pytest.mark.parametrize(
    ("report", "after", "said"),
    [
        ({"verdict": "fail", "sentence": "s."}, After(), ("bad", "Failed", "s.", "")),
        (
            {"verdict": "fail", "sentence": "s."},
            After("By now.", aged=True),
            ("bad", "Failed", "When it ended: s.", "By now."),
        ),
        (
            {"verdict": "pass", "sentence": "s.", "waits_for_canary": True},
            After("Still so.", aged=False),
            ("warn", "Held back", "s.", "Still so."),
        ),
        (
            {"verdict": "pass", "sentence": "s.", "waits_for_canary": True},
            After("Passed.", aged=True, held_over=True),
            ("warn", "Was held back", "When it ended: s.", "Passed."),
        ),
        (
            {"verdict": "pass", "sentence": "s.", "waits_for_canary": True},
            After("Taken.", aged=True, held_over=True, done=True),
            ("calm", "Was held back", "When it ended: s.", "Taken."),
        ),
        (
            None,
            After("By now.", aged=True),
            ("calm", "Ended", "Its report is not there, or you may not read it.", "By now."),
        ),
    ],
    ids=["nothing since", "aged", "held still", "held over", "held and taken", "no report"],
)
def test_a_verdict_is_of_then_once_something_became(
    report: dict[str, Any] | None, after: After, said: tuple[str, str, str, str]
) -> None:
    found = headline(facts("success"), None, report, None, Beside(after=after))
    assert (found.tone, found.word, found.sentence, found.now) == said
