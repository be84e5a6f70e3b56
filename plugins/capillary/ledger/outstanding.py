"""Which runs left customers without the badge that nobody has asked for again since: from the kept counts.

A retry is an enrolment with a higher number, so what is outstanding is what was counted less what was retried. Both are
small: no customer's row is read but those of retries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, exists, func, select

from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.reports import FailureCount, most_first
from capillary.ledger.retried import BEFORE, REQUEST_AGAIN, REQUEST_BEFORE, count_retried
from capillary.ledger.schema import badge_request, badge_result, badge_run
from capillary.ledger.status import HAS_BADGE, Outcome

#: How long ago a run may have planned: what nobody has retried by then, nobody is going to be reminded of.
RECENT: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A run that has ended, and what nobody has retried of it.

    Attributes:
        badge_run_id: of the ledger.
        account, campaign, dag_id, run_id, task_id: whose it is.
        planned_at: when it planned.
        occasion_id: of the ledger; what it planned for.
        failures: customers without the badge, by outcome and code, the most first; never empty.
    """

    badge_run_id: int
    account: str
    campaign: str
    dag_id: str
    run_id: str
    task_id: str
    planned_at: datetime
    occasion_id: int
    failures: tuple[FailureCount, ...]


def outstanding(
    tx: Transaction, *, within: timedelta = RECENT, of: Collection[int] | None = None
) -> tuple[Outstanding, ...]:
    """Return the ended runs that left somebody without the badge, the newest first.

    Args:
        tx: the transaction.
        within: how long ago they may have planned.
        of: `badge_run.id` of those that are asked for, whenever they planned; None: all within that time.
    """
    asked = badge_run.c.planned_at >= tx.now - within if of is None else badge_run.c.id.in_(of)
    kept = _kept(tx, asked)
    retried = _retried(tx, asked) if kept else Counter[tuple[int, str, int | None]]()
    left = kept - retried  # a Counter drops what is not above 0
    runs = sorted({badge_run_id for badge_run_id, _, _ in left}, reverse=True)
    rows = {row.id: row for row in tx.conn.execute(select(badge_run).where(badge_run.c.id.in_(runs)))}
    return tuple(
        Outstanding(
            badge_run_id,
            rows[badge_run_id].account,
            rows[badge_run_id].campaign,
            rows[badge_run_id].dag_id,
            rows[badge_run_id].run_id,
            rows[badge_run_id].task_id,
            rows[badge_run_id].planned_at,
            rows[badge_run_id].occasion_id,
            most_first(
                FailureCount(Outcome(outcome), code, customers)
                for (run, outcome, code), customers in left.items()
                if run == badge_run_id
            ),
        )
        for badge_run_id in runs
    )


def _kept(tx: Transaction, asked: ColumnElement[bool]) -> Counter[tuple[int, str, int | None]]:
    result, request = badge_result.c, badge_request.c
    still_open = exists().where(request.badge_run_id == badge_run.c.id, is_open()).correlate(badge_run)
    ended = tx.conn.execute(select(badge_run.c.id).where(asked, ~still_open)).scalars().all()
    first = tx.conn.execute(select(func.min(request.id)).where(request.badge_run_id.in_(ended))).scalar_one()
    if first is None:
        return Counter()
    rows = tx.conn.execute(
        select(
            request.badge_run_id,
            result.outcome,
            result.error_code,
            # Who was erased is nobody's to retry.
            func.sum(result.customers - result.without_row).label("customers"),
        )
        .join(badge_request, request.id == result.request_id)
        # The numbers of requests grow: told the first, the database reads one range and looks nothing up singly.
        .where(request.badge_run_id.in_(ended), result.request_id >= first, request.id >= first)
        .where(result.outcome.not_in(HAS_BADGE))
        .group_by(request.badge_run_id, result.outcome, result.error_code)
    )
    return Counter({(row.badge_run_id, row.outcome, row.error_code): int(row.customers) for row in rows})


def _retried(tx: Transaction, asked: ColumnElement[bool]) -> Counter[tuple[int, str, int | None]]:
    """Count the attempts of these runs that a later one followed: on their occasions, and planned no earlier."""
    runs = select(badge_run.c.id, badge_run.c.occasion_id).where(asked).subquery("runs")
    found = tx.conn.execute(
        count_retried(REQUEST_BEFORE.c.badge_run_id, BEFORE.c.outcome, BEFORE.c.error_code).where(
            REQUEST_AGAIN.c.occasion_id.in_(select(runs.c.occasion_id)),
            REQUEST_AGAIN.c.badge_run_id >= select(func.min(runs.c.id)).scalar_subquery(),
            REQUEST_BEFORE.c.badge_run_id.in_(select(runs.c.id)),
        )
    )
    return Counter({(row.badge_run_id, row.outcome, row.error_code): row.customers for row in found})
