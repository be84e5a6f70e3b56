"""What a run planned and gave back unsent: how much of it, and what keeps a later run from sending it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from capillary.ledger.auto_approval import standing_auto_approval
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_run


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Customers that plans of one run have given back unsent.

    Attributes:
        customers: how many.
        is_whole: nothing else was in these plans: the task that planned plans again when it is cleared. A plan of which
            a part was sent it keeps.
        planned_by: the tasks that planned.
        refused: an auto-approval of the account keeps every run from sending that does not accept it, and one of these
            plans does not.
    """

    customers: int
    is_whole: bool
    planned_by: tuple[str, ...]
    refused: bool


def given_back(tx: Transaction, plans: Collection[int]) -> GivenBack | None:
    """Return what plans have given back; None where they have not.

    Args:
        tx: the transaction.
        plans: `badge_run.id` of each.
    """
    run = badge_run.c
    rows = tx.conn.execute(
        select(run.account, run.task_id, run.planned, run.discarded, run.accepts_auto_approval)
        .where(run.id.in_(plans), run.discarded > 0)
        .order_by(run.id)
    ).all()
    if not rows:
        return None
    strict = {row.account for row in rows if not row.accepts_auto_approval}
    return GivenBack(
        customers=sum(row.discarded for row in rows),
        is_whole=all(row.discarded == row.planned for row in rows),
        planned_by=tuple(dict.fromkeys(row.task_id for row in rows)),
        refused=any(standing_auto_approval(tx, account) is not None for account in sorted(strict)),
    )
