"""Which customers a retry on an occasion may take: from the kept counts, less what was asked for again.

It takes whoever ended so on the occasion, whichever run asked for them: where campaigns share it, also those of others.
No customer's row is read but those of retries.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select

from capillary.ledger.candidates import NOT_ACCEPTED_ATTEMPTS
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.retried import BEFORE, REQUEST_AGAIN, REQUEST_BEFORE, count_retried
from capillary.ledger.schema import badge_request, badge_result, badge_run
from capillary.ledger.status import HAS_BADGE, Outcome


@dataclass(frozen=True, slots=True)
class Retryable:
    """Customers of an occasion whose last attempt ended alike, without the badge.

    Attributes:
        outcome, error_code: how.
        customers: of every run on the occasion.
        of_run: the part of them whose last attempt the runs made that were asked about.
        by_itself: the part of them that every plan takes, whatever it is told: refused few times.
        by_attempt: `customers` by the number of that attempt: a request holds customers of one attempt.
        by_itself_by_attempt: `by_itself` in the same way.
    """

    outcome: Outcome
    error_code: int | None
    customers: int
    of_run: int
    by_itself: int = 0
    by_attempt: Mapping[int, int] = field(default_factory=dict, compare=False)
    by_itself_by_attempt: Mapping[int, int] = field(default_factory=dict, compare=False)


#: badge_run_id, outcome, error_code, attempt
_Ending = tuple[int, str, int | None, int]


def retryable(tx: Transaction, plans: Collection[int]) -> tuple[Retryable, ...]:
    """Return which customers a retry may take on the occasions of these plans, by outcome and code.

    Args:
        tx: the transaction.
        plans: `badge_run.id` of one run's.
    """
    occasions = tx.conn.execute(select(badge_run.c.occasion_id.distinct()).where(badge_run.c.id.in_(plans))).scalars()
    on = occasions.all()
    kept = _kept(tx, on)
    left = kept - _retried(tx, on) if kept else kept  # a Counter drops what is not above 0
    every, always = (defaultdict[tuple[str, int | None], Counter[int]](Counter) for _ in range(2))
    own = Counter[tuple[str, int | None]]()
    for (run, outcome, code, attempt), customers in left.items():
        every[outcome, code][attempt] += customers
        own[outcome, code] += customers if run in plans else 0
        if outcome == Outcome.NOT_ACCEPTED and attempt < NOT_ACCEPTED_ATTEMPTS:
            always[outcome, code][attempt] += customers
    return tuple(
        Retryable(
            Outcome(outcome),
            code,
            by_attempt.total(),
            own[outcome, code],
            always[outcome, code].total(),
            dict(by_attempt),
            dict(always[outcome, code]),
        )
        for (outcome, code), by_attempt in sorted(every.items(), key=lambda each: -each[1].total())
    )


def _kept(tx: Transaction, occasions: Collection[int]) -> Counter[_Ending]:
    result, request = badge_result.c, badge_request.c
    of = (request.badge_run_id, result.outcome, result.error_code, request.attempt)
    rows = tx.conn.execute(
        # Who was erased is nobody's to retry.
        select(*of, func.sum(result.customers - result.without_row).label("customers"))
        .join(badge_request, request.id == result.request_id)
        .where(request.occasion_id.in_(occasions), ~is_open(), result.outcome.not_in(HAS_BADGE))
        .group_by(*of)
    )
    return Counter({tuple(row[:4]): int(row.customers) for row in rows})


def _retried(tx: Transaction, occasions: Collection[int]) -> Counter[_Ending]:
    of = (REQUEST_BEFORE.c.badge_run_id, BEFORE.c.outcome, BEFORE.c.error_code, BEFORE.c.attempt)
    rows = tx.conn.execute(count_retried(*of).where(REQUEST_AGAIN.c.occasion_id.in_(occasions)))
    return Counter({tuple(row[:4]): row.customers for row in rows})
