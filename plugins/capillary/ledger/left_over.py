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
        planned: those that it planned; 0 where it was held.
        customers: those that it left; how many a later run takes, its cap and its occasion decide.
        canary: what the campaign waits for; None once the configuration is proven.
    """

    account: str
    campaign: str
    dag_id: str
    run_id: str
    planned_at: datetime
    planned: int
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
        proven: whether the configuration that the campaign has planned under last, on any occasion, is proven now.
        waits_for: the earliest open request under it: a run with *Canary* on would plan nobody; None where there is
            none, or it is proven.
    """

    by_run: int
    customers: int
    later: bool
    canary: bool
    proven: bool
    waits_for: OpenCanary | None = None

    @property
    def canary_passed(self) -> bool:
        """Whether a canary held them back, and the configuration is proven now."""
        return self.canary and self.proven

    def holding(self, *, canary: bool) -> OpenCanary | None:
        """Return what keeps a run from planning anybody.

        Args:
            canary: whether that run has *Canary* on.
        """
        return self.waits_for if canary else None

    def is_small(self, *, canary: bool) -> bool:
        """Return whether a run would be held small, see `holding`."""
        return canary and not self.proven

    def may_be_taken(self, *, canary: bool) -> bool:
        """Return whether a run would take what is left, see `holding`; one more canary would not."""
        again = self.canary and self.is_small(canary=canary)
        return self.customers > 0 and self.holding(canary=canary) is None and not again


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
    last = tx.conn.execute(select(badge_run).where(run.id.in_(newest))).all()
    by_run = sum(row.over_cap for row in own)
    later = any(row.id not in plans for row in last)
    occasions = sorted({row.occasion_id for row in last})
    unproven = specs_unproven(tx, {(row.account, row.campaign, row.task_id) for row in last})
    return LeftNow(
        by_run=by_run,
        # What a later run took and gave back unsent is left again.
        customers=sum(row.over_cap + row.discarded for row in last) if later else by_run,
        later=later,
        canary=any(row.canary for row in last),
        proven=not unproven,
        waits_for=next(filter(None, (open_canary_of(tx, spec, on=on) for spec in unproven for on in occasions)), None),
    )


def specs_unproven(tx: Transaction, of: Collection[tuple[str, str, str]]) -> tuple[int, ...]:
    """Return the configurations under which these have planned last, as far as they are not proven.

    Args:
        tx: the transaction.
        of: account, campaign and planning task of each; a campaign that has changed plans under its newest one.
    """
    run = badge_run.c
    scope = (run.account, run.campaign, run.task_id)
    newest = select(func.max(run.id)).where(tuple_(*scope).in_(of)).group_by(*scope)
    found = tx.conn.execute(
        select(badge_spec.c.id)
        .join(badge_run, run.spec_id == badge_spec.c.id)
        .where(run.id.in_(newest), badge_spec.c.proven_at.is_(None))
        .order_by(run.id.desc())
    )
    return tuple(dict.fromkeys(found.scalars()))


def latest_runs() -> Select[tuple[int]]:
    """Return a statement for the `badge_run.id` of the last run of every campaign."""
    return select(func.max(badge_run.c.id)).group_by(badge_run.c.account, badge_run.c.campaign)


def left_over(tx: Transaction) -> tuple[LeftOver, ...]:
    """Return the campaigns that a canary holds, and those whose canary has passed, by account and campaign.

    The first wait for another run's request: they planned nobody, or a canary of theirs has proven nothing. A canary
    that is still waiting itself is neither: its own requests wait for the checker, and that is said of them.
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
            whose = (row.account, row.campaign, row.dag_id, row.run_id, row.planned_at)
            found.append(LeftOver(*whose, row.planned, row.over_cap, canary))
    return tuple(found)
