"""How an occasion stood when a dry run counted on it, and what has changed there since: no customer's row is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from capillary.ledger.canary import OpenCanary, open_canary_of
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_occasion, badge_request, badge_result, badge_run, badge_spec
from capillary.ledger.status import Outcome


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when a plan was counted.

    Attributes:
        account, occasion: where it was counted.
        spec: fingerprint of the configuration that its requests would have.
        canary: it was held small, as that configuration was not proven.
        retry: outcomes after which a customer was planned again.
        counted_at: by the ledger's clock.
        last_plan: `badge_run.id` of the last plan on the occasion; 0 before the first.
        held: customers that the plans on the occasion held: planned, and not given back.
    """

    account: str
    occasion: str
    spec: str
    canary: bool
    retry: tuple[str, ...]
    counted_at: datetime
    last_plan: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SinceMark:
    """What has changed since.

    Attributes:
        runs: DAG runs that have planned anybody on the occasion since.
        customers: that these hold.
        last_run: dag_id and run_id of the last of them; None where nobody was planned.
        given_back: customers who were held then, and were given back unsent.
        ended: customers whose attempt ended since so that the same order may take them again.
        proven_at: since when the configuration is proven; None: it is not, or the count was not a canary's.
        waits_for: the canary that is not decided yet, so that a run would plan nobody; None: there is none, or the
            count was not a canary's.
    """

    runs: int = 0
    customers: int = 0
    last_run: tuple[str, str] | None = None
    given_back: int = 0
    ended: int = 0
    proven_at: datetime | None = None
    waits_for: OpenCanary | None = None


def mark(tx: Transaction, occasion_id: int, *, spec: str, canary: bool, retry: Collection[Outcome]) -> Mark:
    """Return how an occasion stands now.

    Args:
        tx: the transaction.
        occasion_id: of the occasion.
        spec: fingerprint of the configuration that a plan would be made under.
        canary: whether that plan would be held small.
        retry: outcomes after which it would plan a customer again.
    """
    place = tx.conn.execute(
        select(badge_occasion.c.account, badge_occasion.c.occasion).where(badge_occasion.c.id == occasion_id)
    ).one()
    last_plan, held = _stand(tx, occasion_id)
    return Mark(
        account=place.account,
        occasion=place.occasion,
        spec=spec,
        canary=canary,
        retry=tuple(sorted(map(str, retry))),
        counted_at=tx.now,
        last_plan=last_plan,
        held=held,
    )


def since_mark(tx: Transaction, then: Mark) -> SinceMark:
    """Return what has changed on the occasion since a plan was counted there."""
    occasion_id = tx.conn.execute(
        select(badge_occasion.c.id).where(
            badge_occasion.c.account == then.account, badge_occasion.c.occasion == then.occasion
        )
    ).scalar_one_or_none()
    proven_at, waits_for = _canary_now(tx, then, occasion_id) if then.canary else (None, None)
    if occasion_id is None:
        return SinceMark(given_back=then.held, proven_at=proven_at, waits_for=waits_for)
    run = badge_run.c
    held = run.planned - run.discarded
    later = tx.conn.execute(
        select(run.dag_id, run.run_id, func.sum(held).label("held"), func.max(run.id).label("last"))
        .where(run.occasion_id == occasion_id, run.id > then.last_plan, held > 0)
        .group_by(run.dag_id, run.run_id)
        .order_by(func.max(run.id))
    ).all()
    customers = sum(int(row.held) for row in later)
    return SinceMark(
        runs=len(later),
        customers=customers,
        last_run=(later[-1].dag_id, later[-1].run_id) if later else None,
        given_back=max(0, then.held + customers - _stand(tx, occasion_id)[1]),
        ended=_ended(tx, occasion_id, then),
        proven_at=proven_at,
        waits_for=waits_for,
    )


def _stand(tx: Transaction, occasion_id: int) -> tuple[int, int]:
    """Return the last plan on an occasion, and how many customers all of them hold."""
    row = tx.conn.execute(
        select(
            func.coalesce(func.max(badge_run.c.id), 0),
            func.coalesce(func.sum(badge_run.c.planned - badge_run.c.discarded), 0),
        ).where(badge_run.c.occasion_id == occasion_id)
    ).one()
    return int(row[0]), int(row[1])


def _ended(tx: Transaction, occasion_id: int, then: Mark) -> int:
    """Return how many ended since in a way that the order takes again; refused ones every plan takes again."""
    again = {*then.retry, Outcome.NOT_ACCEPTED}
    found = tx.conn.execute(
        select(func.coalesce(func.sum(badge_result.c.customers - badge_result.c.without_row), 0))
        .join(badge_request, badge_request.c.id == badge_result.c.request_id)
        .where(
            badge_request.c.occasion_id == occasion_id,
            badge_request.c.settled_at > then.counted_at,
            ~is_open(),
            badge_result.c.outcome.in_(sorted(again)),
        )
    ).scalar_one()
    return int(found)


def _canary_now(tx: Transaction, then: Mark, occasion_id: int | None) -> tuple[datetime | None, OpenCanary | None]:
    row = tx.conn.execute(
        select(badge_spec.c.id, badge_spec.c.proven_at).where(
            badge_spec.c.account == then.account, badge_spec.c.fingerprint == then.spec
        )
    ).one_or_none()
    if row is None or row.proven_at is not None:
        return (None if row is None else row.proven_at), None
    return None, open_canary_of(tx, row.id, on=occasion_id)
