"""What is open in the ledger, whoever planned it: where the upkeep looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import URL, ColumnElement, func, select

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan, PlanId
from capillary.ledger.schema import RequestStatus, badge_occasion, badge_request, badge_run


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account with requests that are not settled, and a connection of runs that planned them."""

    account: str
    capillary_conn_id: str


#: How long a request that was sent more than once is looked for after it was settled: a twin may come late.
LATE_TWIN: Final = timedelta(days=7)


def still_watched(tx: Transaction) -> ColumnElement[bool]:
    """Return the condition for requests that a reading of the list must reach back to."""
    late = (badge_request.c.resends > 0) & (badge_request.c.settled_at > tx.now - LATE_TWIN)
    return badge_request.c.status.in_((RequestStatus.SENDING, RequestStatus.WAITING)) | late


def forgotten(tx: Transaction) -> ColumnElement[bool]:
    """Return the condition for requests that their human leaves waiting, after any twin of theirs has shown."""
    return (badge_request.c.status == RequestStatus.WAITING) & (badge_request.c.last_sent_at < tx.now - LATE_TWIN)


def open_accounts(tx: Transaction) -> tuple[OpenAccount, ...]:
    """Return the accounts with requests that are not settled, or of which a twin may come late.

    Each once for every connection whose runs planned such requests, the last used first: what one credential user
    left in doubt another one may not be able to judge.
    """
    rows = tx.conn.execute(
        select(badge_run.c.account, badge_run.c.capillary_conn_id)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where((badge_request.c.status != RequestStatus.SETTLED) | still_watched(tx))
        .group_by(badge_run.c.account, badge_run.c.capillary_conn_id)
        .order_by(badge_run.c.account, func.max(badge_run.c.id).desc())
    )
    return tuple(OpenAccount(*row) for row in rows)


def open_requests(ledger_url: str | URL) -> int:
    """Return how many requests of the whole ledger are not settled.

    Raises:
        LedgerRefused: see :class:`capillary.ledger.database.Ledger`.
        LedgerUnavailable: same.
        SchemaBehind, SchemaDiffers: same.
    """
    with Ledger(ledger_url) as ledger, ledger.read() as tx:
        found: int = tx.conn.execute(
            select(func.count()).select_from(badge_request).where(badge_request.c.status != RequestStatus.SETTLED)
        ).scalar_one()
        return found


def open_runs(tx: Transaction, account: str) -> tuple[PlanId, ...]:
    """Return the account's runs with requests that are not settled."""
    return _runs(tx, account, dead=False)


def dead_open_runs(tx: Transaction, account: str) -> tuple[OpenPlan, ...]:
    """Return those of `open_runs` whose lease is over: nobody sends on their behalf any more."""
    return tuple(OpenPlan(run.badge_run_id) for run in _runs(tx, account, dead=True))


def _runs(tx: Transaction, account: str, *, dead: bool) -> tuple[PlanId, ...]:
    statement = (
        select(badge_run.c.id, badge_run.c.token)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_occasion.c.account == account, badge_request.c.status != RequestStatus.SETTLED)
        .distinct()
        .order_by(badge_run.c.id)
    )
    if dead:
        statement = statement.where(badge_run.c.alive_until < tx.now)
    return tuple(PlanId(*row) for row in tx.conn.execute(statement))
