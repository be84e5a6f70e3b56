"""The kept counts: how the customers of a request ended, counted once and read ever after.

At every moment `badge_result` says of a request what its rows of `badge_enrolment` say, also while a request that was
settled is open again: its outcomes stay, and so do their counts. Whoever sets an outcome renews the counts in the same
transaction, with the request's own row locked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete, func, insert, select, text

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_result
from capillary.ledger.status import Outcome


def count_outcomes(tx: Transaction, request_id: int) -> Mapping[Outcome, int]:
    """Count a request's customers by outcome and code, in place of what was counted before.

    A customer without a row (erased, or of an import's twin) stays counted as it was.

    Args:
        tx: the transaction that set the outcomes; it holds the request's row.
        request_id: the request.

    Returns:
        Customers with a row, by outcome; 0 for an outcome that nobody has.
    """
    rows = tx.conn.execute(_NOW_AND_BEFORE, {"request_id": request_id}).all()
    held = {(row.outcome, row.error_code): row.customers for row in rows if row.now}
    before = {(row.outcome, row.error_code): row.customers for row in rows if not row.now}
    if before:
        tx.conn.execute(delete(badge_result).where(badge_result.c.request_id == request_id))
    without_row = {ending: customers for ending, customers in before.items() if customers}
    counted = [
        {
            "request_id": request_id,
            "outcome": ending[0],
            "error_code": ending[1],
            "customers": held.get(ending, 0) + without_row.get(ending, 0),
            "without_row": without_row.get(ending, 0),
        }
        for ending in dict.fromkeys((*held, *without_row))
    ]
    if counted:
        tx.conn.execute(insert(badge_result), counted)
    found = Counter[Outcome]()
    for (outcome, _), customers in held.items():
        found[Outcome(outcome)] += customers
    return found


# One statement for both: this runs for every request, and most were never counted before.
_NOW_AND_BEFORE: Final = text(
    "SELECT 1 AS now, outcome, error_code, COUNT(*) AS customers FROM badge_enrolment "
    "WHERE request_id = :request_id AND outcome IS NOT NULL GROUP BY outcome, error_code "
    "UNION ALL "
    "SELECT 0, outcome, error_code, without_row FROM badge_result WHERE request_id = :request_id"
)


def count_without_rows(tx: Transaction, request_id: int, outcome: Outcome, customers: int) -> None:
    """Count customers of a request whose rows stand in another one: they ended here, too.

    Args:
        tx: the transaction that writes the request.
        request_id: a request without rows and without counts.
        outcome: of all its customers.
        customers: how many, above 0.
    """
    tx.conn.execute(
        insert(badge_result).values(request_id=request_id, outcome=outcome, customers=customers, without_row=customers)
    )


def customers_without_row(tx: Transaction, request_id: int) -> int:
    """Return how many customers of a request have no row: erased since, or an import's twin."""
    without_row = func.coalesce(func.sum(badge_result.c.without_row), 0)
    found: int = tx.conn.execute(select(without_row).where(badge_result.c.request_id == request_id)).scalar_one()
    return found
