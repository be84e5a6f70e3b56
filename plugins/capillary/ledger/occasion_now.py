"""Where the customers of an occasion stand now, by all its runs: from the kept counts, without a customer's row."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from capillary.ledger.conditions import has_undecided, is_open
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.retryable import retryable
from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class OccasionNow:
    """Customers of an occasion who do not have the badge, whichever run asked for them.

    Attributes:
        waiting: the checker has yet to decide their request.
        on_their_way: their request is not sent yet, or it is being sent or in doubt.
        decided: their request is decided, and not settled yet.
        without_badge: their last attempt ended without the badge.
    """

    waiting: int = 0
    on_their_way: int = 0
    decided: int = 0
    without_badge: int = 0


def occasion_now(tx: Transaction, badge_run_id: OpenPlan) -> OccasionNow:
    """Return where the customers on a plan's occasion stand."""
    occasion = select(badge_run.c.occasion_id).where(badge_run.c.id == badge_run_id).scalar_subquery()
    status, customers = badge_request.c.status, badge_request.c.customers
    is_waiting = status == RequestStatus.WAITING
    row = tx.conn.execute(
        select(
            func.coalesce(func.sum(case((is_waiting & has_undecided(), customers))), 0).label("waiting"),
            func.coalesce(func.sum(case((~is_waiting, customers))), 0).label("on_their_way"),
            func.coalesce(func.sum(customers), 0).label("all"),
        ).where(badge_request.c.occasion_id == occasion, is_open())
    ).one()
    waiting, on_their_way = int(row.waiting), int(row.on_their_way)
    return OccasionNow(
        waiting=waiting,
        on_their_way=on_their_way,
        decided=int(row.all) - waiting - on_their_way,
        without_badge=sum(each.customers for each in retryable(tx, {badge_run_id})),
    )
