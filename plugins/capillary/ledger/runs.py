"""What is open in the ledger, whoever planned it: where the upkeep looks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import URL, func, select

from capillary.ledger.conditions import is_open, is_watched
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan, PlanId
from capillary.ledger.schema import badge_occasion, badge_request, badge_run
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account with requests that are not settled, and a connection of runs that planned them."""

    account: str
    capillary_conn_id: str


def open_accounts(tx: Transaction) -> tuple[OpenAccount, ...]:
    """Return the accounts with requests that are not settled, or of which a twin may come late.

    Each once for every connection whose runs planned such requests, the last used first: what one credential user
    left in doubt another one may not be able to judge.
    """
    rows = tx.conn.execute(
        select(badge_run.c.account, badge_run.c.capillary_conn_id)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(is_open() | is_watched(tx))
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
        found: int = tx.conn.execute(select(func.count()).select_from(badge_request).where(is_open())).scalar_one()
        return found


def open_runs(tx: Transaction, account: str) -> tuple[PlanId, ...]:
    """Return the account's runs with requests that are not settled."""
    return _runs(tx, account, dead=False)


def dead_open_runs(tx: Transaction, account: str) -> tuple[OpenPlan, ...]:
    """Return those of `open_runs` whose lease is over: nobody sends on their behalf any more."""
    return tuple(OpenPlan(run.badge_run_id) for run in _runs(tx, account, dead=True))


def planned_requests(tx: Transaction, badge_run_id: OpenPlan, count: int) -> list[int]:
    """Return the first planned requests of a run, in order, at most so many."""
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .where(badge_request.c.badge_run_id == badge_run_id, badge_request.c.status == RequestStatus.PLANNED)
        .order_by(badge_request.c.ordinal)
        .limit(count)
    )
    return list(rows.scalars())


def is_anything_planned(tx: Transaction, account: str) -> bool:
    """Return whether any run of the account has something to send."""
    found = (
        select(badge_request.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_request.c.status == RequestStatus.PLANNED, badge_occasion.c.account == account)
        .limit(1)
    )
    return tx.conn.execute(found).first() is not None


def _runs(tx: Transaction, account: str, *, dead: bool) -> tuple[PlanId, ...]:
    statement = (
        select(badge_run.c.id, badge_run.c.token)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_occasion.c.account == account, is_open())
        .distinct()
        .order_by(badge_run.c.id)
    )
    if dead:
        statement = statement.where(badge_run.c.alive_until < tx.now)
    return tuple(PlanId(*row) for row in tx.conn.execute(statement))
