"""What the ledger has seen of requests that the platform executed without a human."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update

from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_occasion, badge_request, badge_run, badge_sighting


@dataclass(frozen=True, slots=True)
class AutoApproval:
    """What a submitting run has to know.

    Attributes:
        own: requests of the run that were executed without a human.
        latest: platform request id of the account's latest decided request, if nobody human decided it.
    """

    own: int
    latest: str | None


def auto_approval(tx: Transaction, badge_run_id: OpenPlan, account: str, *, after: datetime | None) -> AutoApproval:
    """Return what was seen executed without a human, later than a moment by the ledger's clock, or ever.

    The account's latest decided request is the one that was last seen decided; where several were seen so at once, one
    that no human has decided counts as the latest.
    """
    seen = badge_sighting.c
    newer: list[ColumnElement[bool]] = [] if after is None else [seen.terminal_seen_at > after]
    sightings = badge_sighting.join(badge_request, badge_request.c.id == seen.request_id)
    own = tx.conn.execute(
        select(func.count())
        .select_from(sightings)
        .where(badge_request.c.badge_run_id == badge_run_id, seen.auto_approved, seen.terminal_seen_at.is_not(None))
        .where(*newer)
    ).scalar_one()
    return AutoApproval(own, latest_auto_approved(tx, account, after=after))


def latest_auto_approved(tx: Transaction, account: str, *, after: datetime | None) -> str | None:
    """Return the platform request id of the account's latest decided request, if no human decided it.

    Args:
        tx: the transaction.
        account: whose requests.
        after: only those that were seen decided later than this, by the ledger's clock; None for all.
    """
    seen = badge_sighting.c
    newer: list[ColumnElement[bool]] = [] if after is None else [seen.terminal_seen_at > after]
    sightings = badge_sighting.join(badge_request, badge_request.c.id == seen.request_id)
    latest = tx.conn.execute(
        select(seen.platform_request_id, seen.auto_approved)
        .select_from(sightings.join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id))
        .where(badge_occasion.c.account == account, seen.terminal_seen_at.is_not(None))
        .where(*newer)
        .order_by(seen.terminal_seen_at.desc(), seen.auto_approved.desc())
        .limit(1)
    ).one_or_none()
    return latest.platform_request_id if latest is not None and latest.auto_approved else None


def told_at(tx: Transaction, badge_run_id: OpenPlan) -> datetime | None:
    """Return when the run was last ended by an auto-approval: a person who clears it has been told of those before."""
    found: datetime | None = tx.conn.execute(
        select(badge_run.c.auto_approval_told_at).where(badge_run.c.id == badge_run_id)
    ).scalar_one()
    # What lies ahead is from before the clock was set back.
    return None if found is None else min(found, tx.now)


def note_told(tx: Transaction, badge_run_id: OpenPlan) -> None:
    """Write down that an auto-approval has ended the run's submitting."""
    tx.conn.execute(update(badge_run).where(badge_run.c.id == badge_run_id).values(auto_approval_told_at=tx.now))
