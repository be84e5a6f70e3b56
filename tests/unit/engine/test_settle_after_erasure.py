"""A request of which customers were erased is seen again: those who are left get their outcome, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from sqlalchemy import select, update

from capillary.api.badges import BulkItem, Execution
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.settle import settle_rows
from capillary.ledger.check import faults
from capillary.ledger.database import Ledger
from capillary.ledger.erase import erase
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_result
from capillary.ledger.status import Outcome
from tests.unit.engine.scripted_client import ScriptedClient, row
from tests.unit.ledger.orders import settle_as

CUSTOMERS: Final = (1, 2, 3)


@pytest.fixture
def request_id(scripted: ScriptedClient) -> int:
    """A request whose customers 1 to 3 failed; 2 was erased, and another one of its key was approved."""
    scripted.plan(CUSTOMERS)
    number: int = scripted.requests()[0].id
    settle_as(scripted.ledger, number, Outcome.FAILED)
    with scripted.ledger.write() as tx:
        assert erase(tx, 2).enrolments == 1
    return number


def seen_again(scripted: ScriptedClient, number: int, *, shown: tuple[int, ...] | None) -> dict[int, WorkflowRequest]:
    """Record a second sighting, and return the row of a list that shows its end: everybody enrolled."""
    with scripted.ledger.write() as tx:
        assert record_sighting(tx, number, Seen("p-again", "approved", decided=True))
        # What the first one said is not read again here: it is folded in by single reads.
        tx.conn.exec_driver_sql("DELETE FROM badge_sighting WHERE platform_request_id <> 'p-again'")
    items = tuple(BulkItem(customer, f"i-{customer}", "ACTIVE", None, failed=False) for customer in CUSTOMERS)
    again = row("p-again", scripted.requests()[0].request_key, "approved", human=True)
    return {number: replace(again, customers=shown, execution=Execution(200, items, ()))}


def outcomes(ledger: Ledger) -> dict[int, str | None]:
    with ledger.read() as tx:
        rows = tx.conn.execute(select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome))
        return {row.customer_id: row.outcome for row in rows}


def counts(ledger: Ledger) -> set[tuple[str, int, int]]:
    with ledger.read() as tx:
        rows = tx.conn.execute(select(badge_result.c.outcome, badge_result.c.customers, badge_result.c.without_row))
        return {(row.outcome, row.customers, row.without_row) for row in rows}


@pytest.mark.parametrize("shown", [CUSTOMERS, None], ids=["with an echo", "without an echo"])
def test_who_is_left_gets_the_new_outcome_and_the_erased_stays_counted(
    scripted: ScriptedClient, request_id: int, shown: tuple[int, ...] | None
) -> None:
    assert settle_rows(scripted.ledger, seen_again(scripted, request_id, shown=shown)).settled == 1
    assert outcomes(scripted.ledger) == {1: "enrolled", 3: "enrolled"}
    assert counts(scripted.ledger) == {("enrolled", 2, 0), ("failed", 1, 1)}
    with scripted.ledger.read() as tx:
        assert faults(tx) == ()
        assert funnel(tx, scripted.requests()[0].badge_run_id).balances()


@pytest.mark.parametrize(
    "shown", [(1, 2, 3, 4), (1, 2, 4), (1, 2), (4, 5, 6)], ids=["more", "another", "one less", "others"]
)
def test_an_echo_of_other_customers_than_those_left_and_as_many_as_were_erased_settles_nothing(
    scripted: ScriptedClient, request_id: int, shown: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert settle_rows(scripted.ledger, seen_again(scripted, request_id, shown=shown)).settled == 0
    assert outcomes(scripted.ledger) == {1: "failed", 3: "failed"}
    assert scripted.statuses() == ["waiting"]
    assert "other customers under this key" in caplog.text


def test_an_echo_of_exactly_those_left_settles_them(scripted: ScriptedClient, request_id: int) -> None:
    assert settle_rows(scripted.ledger, seen_again(scripted, request_id, shown=(1, 3))).settled == 1
    assert outcomes(scripted.ledger) == {1: "enrolled", 3: "enrolled"}


def test_a_request_of_which_nobody_is_left_waits_and_is_named(
    scripted: ScriptedClient, request_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted.ledger.write() as tx:
        assert erase(tx, 1).enrolments + erase(tx, 3).enrolments == 2
    assert settle_rows(scripted.ledger, seen_again(scripted, request_id, shown=CUSTOMERS)).settled == 0
    assert scripted.statuses() == ["waiting"]
    assert f"request {scripted.requests()[0].request_key} was seen again" in caplog.text
    with scripted.ledger.read() as tx:
        assert faults(tx) == ()


def test_a_lost_row_is_no_erasure(scripted: ScriptedClient, request_id: int) -> None:
    rows = seen_again(scripted, request_id, shown=None)
    scripted.write(update(badge_result).values(without_row=0))
    with pytest.raises(LedgerBroken, match="nothing was settled"):
        settle_rows(scripted.ledger, rows)
    assert outcomes(scripted.ledger) == {1: "failed", 3: "failed"}
