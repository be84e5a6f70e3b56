"""What the ledger has seen of requests that the platform executed without a human, in numbers and not by clocks.

Each auto-approval that is seen gets the next number (`badge_auto_approval`). A request names the newest one of its
account that was known when it was first sent, so a human's decision of a request that was sent later tells that humans
decide again, however the clocks were set in between. A decision of an older request tells nothing of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Exists, ScalarSelect, exists, func, select, update

from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_auto_approval, badge_occasion, badge_request, badge_run, badge_sighting
from capillary.ledger.upsert import insert_unless_there


@dataclass(frozen=True, slots=True)
class AutoApproval:
    """A request that the platform executed without a human.

    Attributes:
        number: the later it was seen, the higher.
        platform_request_id: the outer ``requestId``.
        seen_at: when it was first seen so, by the ledger's clock.
    """

    number: int
    platform_request_id: str
    seen_at: datetime


def standing_auto_approval(tx: Transaction, account: str) -> AutoApproval | None:
    """Return the account's newest auto-approval, unless a human has decided a request that was sent after it was seen.

    None: there is none, or humans decide again.
    """
    columns = badge_auto_approval.c
    newest = tx.conn.execute(
        select(columns.id, columns.platform_request_id, columns.seen_at)
        .where(columns.account == account)
        .order_by(columns.id.desc())
        .limit(1)
    ).one_or_none()
    if newest is None or tx.conn.execute(select(_is_decided_by_a_human_after(newest.id))).scalar_one():
        return None
    return AutoApproval(newest.id, newest.platform_request_id, newest.seen_at)


def own_auto_approvals(tx: Transaction, badge_run_id: OpenPlan, *, after: int) -> int:
    """Return how many requests of the run were seen auto-approved under higher numbers than this one."""
    found: int = tx.conn.execute(
        select(func.count(badge_request.c.id.distinct()))
        .select_from(badge_auto_approval)
        .join(badge_sighting, badge_sighting.c.platform_request_id == badge_auto_approval.c.platform_request_id)
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .where(badge_auto_approval.c.id > after, badge_request.c.badge_run_id == badge_run_id)
    ).scalar_one()
    return found


def sent_after(tx: Transaction, request_id: int) -> int:
    """Return the number of the newest auto-approval that was known when a request was first sent; 0: of none."""
    found: int | None = tx.conn.execute(
        select(badge_request.c.after_auto_approval).where(badge_request.c.id == request_id)
    ).scalar_one_or_none()
    return found or 0


def newest_of_its_account() -> ScalarSelect[int]:
    """Return, for the request that a statement changes, the number of its account's newest auto-approval."""
    account = (
        select(badge_occasion.c.account)
        .where(badge_occasion.c.id == badge_request.c.occasion_id)
        .correlate(badge_request)
        .scalar_subquery()
    )
    # The end of an index: the maximum of a join reads every row of the account.
    return (
        select(badge_auto_approval.c.id)
        .where(badge_auto_approval.c.account == account)
        .order_by(badge_auto_approval.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def note_auto_approval(tx: Transaction, request_id: int, platform_request_id: str) -> None:
    """Number an auto-approval that was seen; one that has its number keeps it."""
    account = tx.conn.execute(
        select(badge_occasion.c.account)
        .join(badge_request, badge_request.c.occasion_id == badge_occasion.c.id)
        .where(badge_request.c.id == request_id)
    ).scalar_one()
    values = {"account": account, "platform_request_id": platform_request_id, "seen_at": tx.now}
    insert_unless_there(tx, badge_auto_approval, values)


def told(tx: Transaction, badge_run_id: OpenPlan, *, clears: int) -> int:
    """Return up to which number a person knows of the account's auto-approvals and has cleared the run since; 0: none.

    Args:
        tx: the transaction.
        badge_run_id: the run.
        clears: how often a person has cleared Airflow's run by now. A retry after a worker's death clears nothing, and
            a run that was deleted and made again begins at 0.
    """
    row = tx.conn.execute(
        select(badge_run.c.auto_approval_told, badge_run.c.clears_when_told).where(badge_run.c.id == badge_run_id)
    ).one()
    return row.auto_approval_told if row.auto_approval_told is not None and clears > row.clears_when_told else 0


def note_told(tx: Transaction, badge_run_id: OpenPlan, account: str, *, clears: int) -> None:
    """Write down that auto-approvals of the account have ended the run's submitting, and how often it was cleared."""
    newest = (
        select(func.max(badge_auto_approval.c.id)).where(badge_auto_approval.c.account == account).scalar_subquery()
    )
    tx.conn.execute(
        update(badge_run)
        .where(badge_run.c.id == badge_run_id)
        .values(auto_approval_told=func.coalesce(newest, 0), clears_when_told=clears)
    )


def _is_decided_by_a_human_after(number: int) -> Exists:
    return (
        exists()
        .where(badge_request.c.after_auto_approval == number, badge_sighting.c.request_id == badge_request.c.id)
        .where(badge_sighting.c.human_decided, ~badge_sighting.c.auto_approved)
    )
