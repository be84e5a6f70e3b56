"""What became since of customers who ended without the badge in a run: the last attempt that followed, if any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from sqlalchemy import FromClause, ScalarSelect, func, select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_enrolment, badge_request
from capillary.ledger.status import RETRYABLE, Outcome


def newest_after(before: FromClause) -> ScalarSelect[Any]:
    """Return the number of the last attempt that followed an attempt, as a part of a statement; NULL: none followed."""
    later = badge_enrolment.alias("later")
    return (
        select(func.max(later.c.attempt))
        .where(
            later.c.occasion_id == before.c.occasion_id,
            later.c.customer_id == before.c.customer_id,
            later.c.attempt > before.c.attempt,
        )
        .correlate(before)
        .scalar_subquery()
    )


def since_then(tx: Transaction, plans: Collection[int]) -> dict[int, Counter[Outcome | None]]:
    """Count how the last attempts ended that followed those without the badge of these plans; None: not ended yet.

    It reads a row for each customer without the badge: ask for runs of which these are not too many.

    Args:
        tx: the transaction.
        plans: `badge_run.id`.
    """
    before, last = badge_enrolment.alias("before"), badge_enrolment.alias("last")
    rows = tx.conn.execute(
        select(badge_request.c.badge_run_id, last.c.outcome, func.count().label("customers"))
        .select_from(badge_request)
        .join(before, before.c.request_id == badge_request.c.id)
        .join(
            last,
            (last.c.occasion_id == before.c.occasion_id)
            & (last.c.customer_id == before.c.customer_id)
            & (last.c.attempt == newest_after(before)),
        )
        .where(badge_request.c.badge_run_id.in_(plans), before.c.outcome.in_(RETRYABLE))
        .group_by(badge_request.c.badge_run_id, last.c.outcome)
    )
    found: dict[int, Counter[Outcome | None]] = {}
    for row in rows:
        found.setdefault(row.badge_run_id, Counter())[Outcome(row.outcome) if row.outcome else None] = row.customers
    return found
