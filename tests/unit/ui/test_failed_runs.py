"""A run that failed is a matter until a later run has made it good, with the reason that its task has kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capillary.errors import named
from capillary.ledger.database import Ledger
from capillary.ledger.errors import OccasionTaken
from capillary.ui.airflow_facts import REPORT, RunFacts
from capillary.ui.failed_runs import standing_failure
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.other_dags import told_to
from tests.unit.ledger.orders import plan, run
from tests.unit.ui.run_pages import FACTS, Airflow, asked, ended

WHY = "TriggerFormInvalid: Trigger form, retry_codes: it says codes alone. Give retry_outcomes, too, or leave them out."
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def runs_of(states: str) -> list[RunFacts]:
    """Return runs, the newest first: f failed, s success, r running; in capitals dry ones."""
    words = {"f": "failed", "s": "success", "r": "running"}
    return [
        replace(FACTS, run_id=str(nth), state=words[each.lower()], conf={"dry_run": each.isupper()})
        for nth, each in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "live", "stands"),
    [
        ("", True, None),
        ("s", True, None),
        ("f", True, "0"),
        ("fsf", True, "0"),
        ("sf", True, None),
        ("rf", True, "1"),
        ("Sf", True, "1"),
        ("SF", True, None),
        ("SFf", True, "2"),
        ("F", True, "0"),
        ("sF", True, None),
        ("sf", False, None),
        ("f", False, "0"),
    ],
)
def test_what_a_later_run_has_made_good_stands_no_longer(states: str, *, live: bool, stands: str | None) -> None:
    found = standing_failure(runs_of(states), live=live)
    assert (found.run_id if found else None) == stands


async def test_a_run_that_failed_before_planning_is_a_matter_with_its_reason(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(ledger, [1], run("earlier"))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("extract_eligible_customers", said=WHY)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "spring: the last run failed in extract_eligible_customers" in shown
    assert WHY in shown
    assert 'href="/dags/spring/runs/held/tasks/extract_eligible_customers"' in shown
    page = await airflow.page("runs", "held")
    assert f"It has planned nobody. Task extract_eligible_customers: {WHY}" in page
    assert 'href="/dags/spring/runs/held/tasks/extract_eligible_customers"' in page


async def test_a_task_that_has_kept_no_reason_is_named_with_its_log(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", map_index=3)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "Airflow kept no reason of it" in shown
    assert 'href="/dags/spring/runs/held/tasks/submit/mapped/3"' in shown
    assert "Task submit failed; its log says why." in await airflow.page("runs", "held")


async def test_a_failed_run_whose_report_judged_is_told_by_its_verdict(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("report")
    airflow.told = {REPORT: {"verdict": "fail", "sentence": "5 customers never sent and given back."}}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert shown.count("5 customers never sent and given back.") == 2, "in the matter, and in the table"
    airflow.failed = FailedTask("submit", said="Stopped: by ann")
    assert "given back. Task submit: Stopped: by ann." in await airflow.page("runs", "held")


async def test_a_run_whose_customers_are_a_matter_is_not_a_second_one(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(ledger, run("held"), range(1, 4))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("report")
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    assert "3 customers without the badge" in shown
    assert "the last run failed" not in shown


def test_a_campaign_that_the_reader_may_not_see_is_not_named(ledger: Ledger) -> None:
    plan(ledger, [1], run("theirs", campaign="zephyr"))
    with pytest.raises(OccasionTaken) as taken:
        plan(ledger, [2], run("own"))
    said = named(taken.value)
    told = told_to(FailedTask("x", said=said), "spring", dag_ids={"spring"}, campaigns={"spring"}).said
    assert said.count("zephyr") == 2
    assert "zephyr" not in told
    assert "belongs to another campaign; give 'spring' another occasion" in told
    assert told_to(FailedTask("x", said=said), "spring", dag_ids={"spring"}, campaigns={"zephyr"}).said == said
