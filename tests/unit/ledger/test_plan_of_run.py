"""A task that lost its plan's token finds the plan of its own Airflow run, and never another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.plan import Order, Plan, plan_of_run
from tests.unit.ledger.orders import ORDER, plan, requests_of, send
from tests.unit.ledger.restore import back_up

BEGUN: Final = "2026-11-26T06:00:01.234567+00:00"
#: The run of the same name, in another Airflow or after it was deleted and made again.
OTHERWISE: Final = "2026-11-26T06:00:01.234568+00:00"
HERE: Final = replace(ORDER, airflow_run=BEGUN)


def find(ledger: Ledger, order: Order = HERE, **changes: str) -> Plan | None:
    names = {name: getattr(order, name) for name in ("dag_id", "run_id", "task_id", "airflow_run")}
    with ledger.read() as tx:
        return plan_of_run(tx, **{**names, **changes})


def sent(ledger: Ledger, customers: list[int], order: Order = HERE) -> Plan:
    made = plan(ledger, customers, order)
    send(ledger, requests_of(ledger, made)[0].id)
    return made


def test_a_plan_of_which_something_was_sent_is_found_with_its_counts(ledger: Ledger) -> None:
    made = sent(ledger, [1, 2, 3, 4, 4])
    assert find(ledger) == find(ledger, account=ORDER.spec.account) == replace(made, kept=True)
    assert made.planned == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"dag_id": "autumn"},
        {"run_id": "second"},
        {"task_id": "extract[0]"},
        {"airflow_run": OTHERWISE},
        {"airflow_run": ""},
        {"account": "elsewhere/1"},
    ],
    ids=str,
)
def test_no_other_run_finds_it(ledger: Ledger, changes: dict[str, str]) -> None:
    sent(ledger, [1, 2])
    assert find(ledger, HERE, **changes) is None


def test_what_was_planned_without_a_run_is_found_by_nobody(ledger: Ledger) -> None:
    sent(ledger, [1, 2], ORDER)
    assert find(ledger, ORDER) is None
    assert find(ledger) is None


def test_a_plan_of_which_nothing_was_sent_is_not_found(ledger: Ledger) -> None:
    plan(ledger, [1, 2], HERE)
    assert find(ledger) is None


def test_the_plan_that_a_restore_brought_back_is_not_taken_for_the_later_one(ledger: Ledger) -> None:
    """The run had planned again and sent; the ledger is put back to before that."""
    former = plan(ledger, [1, 2], HERE)
    backup = back_up(ledger)
    later = sent(ledger, [3, 4])
    found = find(ledger)
    assert found is not None
    assert found.token == later.token != former.token
    backup.put_back()
    assert find(ledger) is None


def test_whoever_has_the_number_of_a_plan_that_a_restore_took_is_not_found(ledger: Ledger) -> None:
    backup = back_up(ledger)
    lost = sent(ledger, [1, 2])
    backup.put_back()
    stranger = sent(ledger, [5, 6], replace(HERE, dag_id="autumn", campaign="autumn", occasion="Autumn 2026"))
    assert stranger.badge_run_id == lost.badge_run_id
    assert find(ledger) is None


def test_what_the_run_plans_after_a_restore_is_found(ledger: Ledger) -> None:
    backup = back_up(ledger)
    lost = sent(ledger, [1, 2])
    backup.put_back()
    again = sent(ledger, [1, 2])
    found = find(ledger)
    assert found is not None
    assert found.token == again.token != lost.token


def test_two_airflows_on_one_ledger_find_each_their_own(ledger: Ledger) -> None:
    """The same DAG and run; the second keeps the first one's plan, of which something was sent, by its XCom alone."""
    first = sent(ledger, [1, 2])
    other = replace(HERE, airflow_run=OTHERWISE)
    kept = plan(ledger, [1, 2], other)
    assert (kept.kept, kept.token) == (True, first.token)
    assert find(ledger, other) is None
    found = find(ledger)
    assert found is not None
    assert found.token == first.token


def test_of_two_accounts_of_one_task_the_account_tells(ledger: Ledger) -> None:
    first = sent(ledger, [1, 2])
    elsewhere = replace(HERE, spec=replace(ORDER.spec, account="elsewhere/1"))
    second = sent(ledger, [1, 2], elsewhere)
    assert find(ledger) is None
    for order, made in ((HERE, first), (elsewhere, second)):
        found = find(ledger, account=order.spec.account)
        assert found is not None
        assert found.token == made.token
