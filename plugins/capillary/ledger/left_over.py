"""Customers that a run left for a later one: behind a canary that waits or has passed since, and what is left now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, exists, func, select, tuple_

from capillary.ledger.canary import OpenCanary, open_canary, open_canary_of
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_request, badge_run, badge_spec


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Customers that the last run of a campaign left behind a canary.

    Attributes:
        account, campaign, dag_id, run_id: of that run.
        planned_at: when it planned.
        customers: those that the next run takes.
        canary: what the campaign waits for; None once the canary has passed.
    """

    account: str
    campaign: str
    dag_id: str
    run_id: str
    planned_at: datetime
    customers: int
    canary: OpenCanary | None


@dataclass(frozen=True, slots=True)
class LeftNow:
    """What is left now of the customers that a run left.

    Attributes:
        by_run: those that the run itself left.
        customers: those that the last run of its campaign on its occasion left, or took and gave back unsent: the run
            itself, or a later one.
        later: whether that is a later one.
        canary: whether the last run was held small, as its configuration was not proven.
        proven: whether that configuration is proven now.
        waits_for: the canary under it that is not decided yet; None where there is none, or it is proven.
    """

    by_run: int
    customers: int
    later: bool
    canary: bool
    proven: bool
    waits_for: OpenCanary | None = None

    @property
    def canary_passed(self) -> bool:
        """Whether a canary held them back, and has passed since."""
        return self.canary and self.proven

    @property
    def may_be_taken(self) -> bool:
        """Whether a new run would take any of them; while a canary is not decided, none, or a few more."""
        return self.customers > 0 and (self.proven or not self.canary)


def left_now(tx: Transaction, plans: Collection[int]) -> LeftNow:
    """Return what is left now of the customers that a run left.

    Args:
        tx: the transaction.
        plans: `badge_run.id` of that run's; it has at least one.
    """
    run = badge_run.c
    scope = (run.account, run.campaign, run.occasion_id)
    own = tx.conn.execute(select(*scope, run.over_cap).where(run.id.in_(plans))).all()
    scopes = {tuple(row[:3]) for row in own}
    newest = select(func.max(run.id)).where(tuple_(*scope).in_(scopes)).group_by(*scope)
    last = tx.conn.execute(
        select(badge_run, badge_spec.c.proven_at)
        .join(badge_spec, badge_spec.c.id == run.spec_id)
        .where(run.id.in_(newest))
    ).all()
    by_run = sum(row.over_cap for row in own)
    later = any(row.id not in plans for row in last)
    held = [open_canary_of(tx, row.spec_id) for row in last if row.canary and row.proven_at is None]
    return LeftNow(
        by_run=by_run,
        # What a later run took and gave back unsent is left again.
        customers=sum(row.over_cap + row.discarded for row in last) if later else by_run,
        later=later,
        canary=any(row.canary for row in last),
        proven=all(row.proven_at is not None for row in last),
        waits_for=next(filter(None, held), None),
    )


def latest_runs() -> Select[tuple[int]]:
    """Return a statement for the `badge_run.id` of the last run of every campaign."""
    return select(func.max(badge_run.c.id)).group_by(badge_run.c.account, badge_run.c.campaign)


def left_over(tx: Transaction) -> tuple[LeftOver, ...]:
    """Return the campaigns that a canary holds, and those whose canary has passed, by account and campaign.

    The first are green by their canary alone: their last run planned nobody. A canary that is still waiting itself is
    neither: its own requests wait for the checker, and that is said of them.
    """
    own = exists().where(badge_request.c.badge_run_id == badge_run.c.id, is_open())
    rows = tx.conn.execute(
        select(badge_run, badge_spec.c.proven_at)
        .join(badge_spec, badge_spec.c.id == badge_run.c.spec_id)
        .where(badge_run.c.id.in_(latest_runs()), badge_run.c.canary, badge_run.c.over_cap > 0, ~own)
        .order_by(badge_run.c.account, badge_run.c.campaign)
    ).all()
    found = []
    for row in rows:
        canary = open_canary(tx, OpenPlan(row.id)) if row.proven_at is None else None
        # Neither proven nor open: the next run is a canary again, and nothing is to be waited for.
        if canary is not None or row.proven_at is not None:
            found.append(
                LeftOver(row.account, row.campaign, row.dag_id, row.run_id, row.planned_at, row.over_cap, canary)
            )
    return tuple(found)
