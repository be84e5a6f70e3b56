"""What the ledger has seen of requests that the platform executed without a human, in numbers and not by clocks.

Each auto-approval that is seen gets the next number (`badge_auto_approval`). A request names the newest one of its
account that was known when it was first sent: so of two requests the one with the higher number was sent later, however
the clocks were set in between. Only what was sent later tells what the platform does now: a human's decision of an
older request tells nothing, and an auto-approval of an older one, which is seen late, tells nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        sent_after: number of the newest one that was known when it was sent; 0: none was.
    """

    number: int
    platform_request_id: str
    sent_after: int


def standing_auto_approval(tx: Transaction, account: str) -> AutoApproval | None:
    """Return the account's auto-approval of what was sent last, unless a human has decided what was sent later.

    None: there is none, or humans decide again.
    """
    columns = badge_auto_approval.c
    latest = tx.conn.execute(
        select(columns.id, columns.platform_request_id, columns.sent_after)
        .where(columns.account == account)
        .order_by(columns.sent_after.desc(), columns.id.desc())
        .limit(1)
    ).one_or_none()
    if latest is None or tx.conn.execute(select(_is_decided_by_a_human_after(account, latest.sent_after))).scalar_one():
        return None
    return AutoApproval(latest.id, latest.platform_request_id, latest.sent_after)


def sent_by_run(tx: Transaction, found: AutoApproval) -> tuple[str, str] | None:
    """Return dag_id and run_id of the run that has sent an auto-approved request; None where nobody knows any more."""
    row = tx.conn.execute(
        select(badge_run.c.dag_id, badge_run.c.run_id)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_sighting, badge_sighting.c.request_id == badge_request.c.id)
        .where(badge_sighting.c.platform_request_id == found.platform_request_id)
        .limit(1)
    ).one_or_none()
    return None if row is None else (row.dag_id, row.run_id)


def own_auto_approvals(tx: Transaction, badge_run_id: OpenPlan, *, sent_after: int) -> int:
    """Return how many requests of the run were auto-approved, of those that were sent when this number was known."""
    found: int = tx.conn.execute(
        select(func.count(badge_request.c.id.distinct()))
        .select_from(badge_auto_approval)
        .join(badge_sighting, badge_sighting.c.platform_request_id == badge_auto_approval.c.platform_request_id)
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .where(badge_auto_approval.c.sent_after >= sent_after, badge_request.c.badge_run_id == badge_run_id)
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
    return _newest_of(account)


def note_auto_approval(tx: Transaction, request_id: int, platform_request_id: str) -> None:
    """Number an auto-approval that was seen; one that has its number keeps it.

    Of a request that was sent again, or that this ledger has not sent, nobody knows which send it was, or when: it
    counts as sent just now.
    """
    columns = badge_request.c
    row = tx.conn.execute(
        select(badge_occasion.c.account, columns.tries, columns.resends, columns.after_auto_approval)
        .join(badge_request, columns.occasion_id == badge_occasion.c.id)
        .where(columns.id == request_id)
    ).one()
    is_sent_once = row.tries > 0 and row.resends == 0
    after = row.after_auto_approval if is_sent_once else tx.conn.execute(select(_newest_of(row.account))).scalar_one()
    values = {"account": row.account, "platform_request_id": platform_request_id, "sent_after": after or 0}
    insert_unless_there(tx, badge_auto_approval, {**values, "seen_at": tx.now})


def note_policy(tx: Transaction, badge_run_id: OpenPlan, *, accepts: bool) -> None:
    """Write down whether a run accepts auto-approvals: what it left in doubt others may send again."""
    run = badge_run.c
    differs = update(badge_run).where(run.id == badge_run_id, run.accepts_auto_approval != accepts)
    tx.conn.execute(differs.values(accepts_auto_approval=accepts))


def is_accepted(tx: Transaction, request_id: int) -> bool:
    """Return whether the run that planned a request accepts auto-approvals."""
    accepts: bool | None = tx.conn.execute(
        select(badge_run.c.accepts_auto_approval)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_request.c.id == request_id)
    ).scalar_one_or_none()
    return bool(accepts)


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
    newest = func.coalesce(_newest_of(account), 0)
    tx.conn.execute(
        update(badge_run)
        .where(badge_run.c.id == badge_run_id)
        .values(auto_approval_told=newest, clears_when_told=clears)
    )


def _newest_of(account: str | ScalarSelect[str]) -> ScalarSelect[int]:
    # The end of an index: the maximum of a join would read every row of the account.
    return (
        select(badge_auto_approval.c.id)
        .where(badge_auto_approval.c.account == account)
        .order_by(badge_auto_approval.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _is_decided_by_a_human_after(account: str, number: int) -> Exists:
    request, sighting = badge_request.c, badge_sighting.c
    return (
        exists()
        .where(request.after_auto_approval > number, sighting.request_id == request.id)
        .where(badge_occasion.c.id == request.occasion_id, badge_occasion.c.account == account)
        .where(sighting.human_decided, ~sighting.auto_approved)
    )
