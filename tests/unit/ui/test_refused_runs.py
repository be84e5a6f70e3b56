"""What a run says that was refused for an auto-approval: what helps, once, and not what has nothing left to send."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capillary.engine.errors import AutoApproved
from capillary.engine.given_back import SWITCH_OFF
from capillary.engine.may_send import assert_account_decides_by_humans, assert_none_executed
from capillary.engine.verdict import Facts, Policy, judge
from capillary.errors import named
from capillary.ledger.database import Ledger
from capillary.ledger.errors import Stopped
from capillary.ledger.given_back import given_back
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, assert_not_stopped, order_stop, resume
from capillary.ui.airflow_facts import REPORT
from capillary.ui.failed_tasks import FailedTask
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, settle_as
from tests.unit.ui.run_pages import FACTS, Airflow, asked

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
CLEAR = f"{SWITCH_OFF}, then clear extract with Downstream."
START = (
    f"{SWITCH_OFF}, then start a new run with the same occasion and settings. If that one stops, too, clear extract "
    "with Downstream there."
)


def auto_approve(ledger: Ledger, planned: Plan) -> None:
    settle_as(ledger, requests_of(ledger, planned)[0].id, Outcome.ENROLLED, auto=True)


def report_on(ledger: Ledger, planned: Plan) -> dict[str, str]:
    """Give back what was not sent, and return what the task report keeps."""
    with ledger.write() as tx:
        run_id = OpenPlan(planned.badge_run_id or 0)
        discard_unsent(tx, badge_run_ids=[run_id])
        verdict = judge(Facts(funnel(tx, run_id), given_back=given_back(tx, [run_id])), Policy())
    return {"verdict": "fail", "sentence": verdict.sentence}


def refusal(ledger: Ledger) -> str:
    with ledger.read() as tx, pytest.raises(AutoApproved) as refused:
        assert_account_decides_by_humans(tx, SPEC.account)
    return named(refused.value)


async def test_a_run_that_was_refused_names_its_planning_task(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto_approve(ledger, plan(ledger, [1], run("other", dag_id="autumn", campaign="autumn", occasion="autumn")))
    held = plan(ledger, range(11, 14), run("held"))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said=refusal(ledger))
    airflow.told = {REPORT: report_on(ledger, held)}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    matters, _, rest = shown.partition('id="campaigns-h"')
    matter = matters[matters.index("the last run failed in submit") :]
    assert f'<p class="todo">{CLEAR}</p>' in matter
    assert "Correct what failed" not in matter
    page = await airflow.page("runs", "held")
    for box in (matter, rest, page):
        assert box.count(SWITCH_OFF) == 1, "the same is not said twice"
        assert "fix what stopped submit" not in box
        assert "clear the task that failed" not in box
    airflow.failed = FailedTask("wait")  # somebody has cleared submit alone: it is green, and its reason is gone
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    matter = shown[shown.index("the last run failed in wait") : shown.index('id="campaigns-h"')]
    assert f'<p class="todo">{CLEAR}</p>' in matter
    assert "submit is refused, because the platform has executed a request of this account" in matter
    assert matter.count(SWITCH_OFF) == 1


async def test_the_run_that_sent_the_auto_approved_request_asks_for_a_new_one(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = plan(ledger, range(1, 8), run("held"))
    auto_approve(ledger, own)
    with pytest.raises(AutoApproved) as refused:
        assert_none_executed(1)
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said=named(refused.value))
    airflow.told = {REPORT: report_on(ledger, own)}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    matter = shown[shown.index("the last run failed in submit") : shown.index('id="campaigns-h"')]
    assert f'<p class="todo">{START}</p>' in matter
    assert matter.count(SWITCH_OFF) == 1
    page = await airflow.page("runs", "held")
    assert START in page
    assert page.count(SWITCH_OFF) == 1
    airflow.told = {}  # its report was not read
    assert (await airflow.page("runs", "held")).count(SWITCH_OFF) == 1


async def test_once_a_human_has_decided_the_planning_task_alone_is_to_be_cleared(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"dag_id": "autumn", "campaign": "autumn", "occasion": "autumn"}
    auto_approve(ledger, plan(ledger, [1], run("other", **other)))
    held = plan(ledger, range(11, 14), run("held"))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said=refusal(ledger))
    airflow.told = {REPORT: report_on(ledger, held)}
    later = plan(ledger, [2], run("later", **other))
    settle_as(ledger, requests_of(ledger, later)[0].id, Outcome.ENROLLED)
    since = "No auto-approval stands in the way any more. Clear extract with Downstream, which plans again."
    assert f'<p class="todo">{since}</p>' in await asked(airflow, monkeypatch, "badges", {"spring"})
    assert since in await airflow.page("runs", "held")


async def test_any_other_end_of_submit_names_what_is_to_be_cleared(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = plan(ledger, range(1, 4), run("held"))
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said="LedgerBehind: the platform holds a request.")
    airflow.told = {REPORT: report_on(ledger, held)}
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    to_do = "Correct what failed. Clear extract with Downstream, which plans again."
    assert f'<p class="todo">{to_do}</p>' in shown
    assert shown.count("with Downstream") == 1, "in the row the verdict says it"
    airflow.told = {}
    assert to_do in await airflow.page("runs", "held")


async def test_after_a_stop_a_new_run_is_not_promised_what_an_auto_approval_refuses(
    ledger: Ledger, airflow: Airflow
) -> None:
    auto_approve(ledger, plan(ledger, [1], run("other", dag_id="autumn", campaign="autumn", occasion="autumn")))
    held = plan(ledger, range(11, 14), run("held"))
    order_stop(ledger, Scope(SPEC.account), by="ann", reason="a")
    with ledger.read() as tx, pytest.raises(Stopped) as stopped:
        assert_not_stopped(tx, SPEC.account, "spring")
    report_on(ledger, held)
    airflow.facts = replace(FACTS, state="failed", ended_at=NOON)
    airflow.failed = FailedTask("submit", said=named(stopped.value))
    assert f"Resume on the page Badges. {CLEAR}" in await airflow.page("runs", "held")
    resume(ledger, Scope(SPEC.account), by="bob")
    shown = await airflow.page("runs", "held")
    assert CLEAR in shown
    assert "Trigger a new run" not in shown
