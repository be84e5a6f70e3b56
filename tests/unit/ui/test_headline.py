"""The sentence over a run: by its report where it is over, by the ledger while it runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.ledger.answers import PlannedRun
from capillary.ledger.run_page import PlanView, RunView
from capillary.ledger.run_wait import RunWait
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.headline import headline
from tests.funnels import funnel_of

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def facts(state: str) -> RunFacts:
    return RunFacts(
        dag_id="d", run_id="r", state=state, run_type="manual", by=None, moment=NOON, started_at=NOON, ended_at=None
    )


def view(**counts: int) -> RunView:
    names = ("unsent", "in_doubt", "undecided", "decided", "settled", "undecided_customers")
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
        ({"verdict": "pass", "sentence": "s", "waits_for_canary": True}, "warn", "Held by a canary"),
        ({"verdict": "pass", "sentence": "s", "dry_run": True}, "calm", "Dry run"),
        ({"verdict": "fail", "sentence": "s", "waits_for_canary": True}, "bad", "Failed"),
        ({"sentence": "of another version"}, "bad", "Failed"),
    ],
    ids=["passed", "warned", "held by a canary", "dry", "failed", "without a verdict"],
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
        ({"unsent": 3, "in_doubt": 1}, "Submitting", "3 requests are not sent yet."),
        ({"decided": 1, "settled": 4}, "Settling", "1 request is decided and not settled yet."),
        ({"settled": 4}, "Running", "Every request is settled"),
    ],
    ids=["waits", "one waits", "in doubt", "submitting", "settling", "settled"],
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
