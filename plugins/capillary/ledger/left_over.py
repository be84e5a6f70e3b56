"""Campaigns whose last run left customers behind a canary: it waits for the checker, or has passed since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, exists, func, select

from capillary.ledger.canary import OpenCanary, open_canary
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
