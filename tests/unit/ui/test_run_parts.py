"""A run id that holds several plans: nobody reads a sum of what does not belong together."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import update

from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_run
from capillary.ui.airflow_facts import REPORT
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import PASSED, TEN, Airflow, dry_run, ended

OTHER: Final = "other.example/7"
HERE, THERE = f"Spring 2026 on {SPEC.account}", f"Spring 2026 on {OTHER}"


def headings(page: str, of: str) -> list[str]:
    return re.findall(rf"<h2[^>]*>({of}[^<]*)</h2>", page)


@pytest.fixture
def two_accounts(ledger: Ledger) -> None:
    ended(ledger, run("first", **TEN), range(1, 4))
    ended(ledger, run("first", spec=replace(SPEC, account=OTHER), **TEN), range(1, 6))


@pytest.mark.usefixtures("two_accounts")
async def test_each_account_has_its_own_funnel_and_failures(airflow: Airflow) -> None:
    airflow.told = {REPORT: PASSED}
    shown = await airflow.page("runs")
    assert headings(shown, "Where the customers went") == [
        f"Where the customers went: {HERE}",
        f"Where the customers went: {THERE}",
    ]
    assert headings(shown, "Without the badge") == [
        f"Without the badge, by code: {HERE}",
        f"Without the badge, by code: {THERE}",
    ]
    assert re.findall(r'aria-label="(\d+) rows of the query', shown) == ["3", "5"]
    assert re.findall(r'data-name="Customers">(\d+)</td><td class="num" data-name="Left now">\1</td>', shown) == [
        "3",
        "5",
    ]
    assert "8 customers" not in shown
    assert "Done. This is what its task report says of one plan; 2 parts stand under this run's id" in shown
    assert shown.count(f'data-name="Planned for">{HERE}') == 1 + 3, "a request and its customers"
    assert shown.count(f'data-name="Planned for">{THERE}') == 1 + 5


@pytest.mark.usefixtures("two_accounts")
async def test_the_file_names_account_and_occasion_of_every_customer(airflow: Airflow) -> None:
    rows = await airflow.csv()
    assert [(row["customer_id"], row["account"]) for row in rows] == [
        *((str(each), SPEC.account) for each in range(1, 4)),
        *((str(each), OTHER) for each in range(1, 6)),
    ]
    assert {(row["occasion"], row["task_id"]) for row in rows} == {("Spring 2026", "extract")}


@pytest.mark.usefixtures("two_accounts")
async def test_nothing_is_ordered_for_two_accounts_at_once(airflow: Airflow) -> None:
    run_page = await airflow.page("runs")
    assert "Retry the failed…" not in run_page
    assert f"This run planned for several occasions ({HERE}, {THERE})" in run_page
    shown = await airflow.page("confirm/retry")
    assert f"This run planned for several occasions ({HERE}, {THERE})" in shown
    assert 'name="take" value="f' not in shown, "their failures are not added up"


async def test_each_account_says_what_it_waits_for(ledger: Ledger, airflow: Airflow) -> None:
    (waiting,) = requests_of(ledger, plan(ledger, range(1, 5), run("first", **TEN)))
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-1", decided=False)
    plan(ledger, range(1, 3), run("first", spec=replace(SPEC, account=OTHER), **TEN))
    airflow.facts = replace(airflow.facts, state="running")
    shown = await airflow.page("runs")
    assert "Waits for the checker</span>" in shown
    assert f"{HERE}: 4 customers in 1 request wait for the checker." in shown
    assert f"{THERE}: 1 request with 2 customers is not sent yet." in shown


async def test_the_sum_of_mapped_tasks_names_them(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", task_id="extract[0]", **TEN), range(1, 3))
    ended(ledger, run("first", task_id="extract[1]", **TEN), range(3, 6))
    shown = await airflow.page("runs")
    assert headings(shown, "Where the customers went") == ["Where the customers went"]
    assert "The sum of what 2 tasks have planned: extract[0], extract[1]." in shown
    assert re.findall(r'aria-label="(\d+) rows of the query', shown) == ["5"]
    assert shown.count("task extract[0]") == 1 + 2
    assert shown.count("task extract[1]") == 1 + 3


async def test_two_occasions_of_one_account_are_not_added(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", task_id="a", **TEN), range(1, 3))
    ended(ledger, run("first", task_id="b", occasion="Winter", **TEN), range(1, 4))
    shown = await airflow.page("runs")
    assert [each.partition(": ")[2] for each in headings(shown, "Where the customers went")] == [
        f"Spring 2026 on {SPEC.account}",
        f"Winter on {SPEC.account}",
    ]


async def test_one_plan_is_shown_without_a_word_of_parts(ledger: Ledger, airflow: Airflow) -> None:
    ended(ledger, run("first", note="by hand", **TEN), range(1, 3))
    airflow.told = {REPORT: PASSED}
    shown = await airflow.page("runs")
    assert headings(shown, "Where the customers went") == ["Where the customers went"]
    assert "Planned for" not in shown
    assert "parts stand under" not in shown
    assert "An earlier run" not in shown
    assert "<dt>Note</dt><dd>by hand</dd>" in shown
    assert f"<dt>Account</dt><dd>{SPEC.account}</dd>" in shown


def planned_days_ago(ledger: Ledger, days: int) -> None:
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(planned_at=tx.now - timedelta(days=days)))


async def test_what_a_deleted_run_of_the_same_id_planned_is_said_to_be_its_own(
    ledger: Ledger, airflow: Airflow
) -> None:
    ended(ledger, run("first", **TEN), range(1, 3))
    planned_days_ago(ledger, 2)
    made_at = datetime.now(UTC) - timedelta(days=1)
    airflow.facts = replace(airflow.facts, made_at=made_at)
    assert "A run of this id was deleted in Airflow after it had planned this" in await airflow.page("runs")
    airflow.facts = replace(airflow.facts, made_at=made_at - timedelta(days=1, hours=1))
    assert "was deleted in Airflow" not in await airflow.page("runs")
    airflow.facts = replace(airflow.facts, made_at=None)
    assert "was deleted in Airflow" not in await airflow.page("runs"), "an older Airflow does not tell"


async def test_a_dry_run_made_again_under_the_id_of_a_deleted_run_shows_its_own_plan(
    ledger: Ledger, airflow: Airflow
) -> None:
    ended(ledger, run("first", occasion="Winter", **TEN), range(1, 3))
    planned_days_ago(ledger, 2)
    airflow.facts = replace(airflow.facts, made_at=datetime.now(UTC) - timedelta(days=1))
    airflow.told = dry_run(ledger, range(1, 31), run("dry", **(TEN | {"customers_per_request": 15})))
    shown = await airflow.page("runs")
    assert "What a live run would do" in shown
    assert "These are not the numbers of the dry run above." in shown
    assert "Carry out…" in shown
    assert "Retry the failed…" not in shown, "that would be of the deleted run"
    assert "submits 30 customers in 2 requests" in await airflow.page("confirm/carry-out")
