"""What is open in the ledger, whoever planned it: where the upkeep looks."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import RequestStatus, badge_occasion, badge_request, badge_run


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account with requests that are not settled, and the connection of the run that planned last for it."""

    account: str
    capillary_conn_id: str


def open_accounts(tx: Transaction) -> tuple[OpenAccount, ...]:
    """Return the accounts with requests that are not settled."""
    last_run = (
        select(badge_occasion.c.account, func.max(badge_run.c.id).label("badge_run_id"))
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_request.c.status != RequestStatus.SETTLED)
        .group_by(badge_occasion.c.account)
        .subquery()
    )
    rows = tx.conn.execute(
        select(last_run.c.account, badge_run.c.capillary_conn_id)
        .join(badge_run, badge_run.c.id == last_run.c.badge_run_id)
        .order_by(last_run.c.account)
    )
    return tuple(OpenAccount(*row) for row in rows)


def open_runs(tx: Transaction, account: str) -> tuple[int, ...]:
    """Return the account's runs with requests that are not settled."""
    return _runs(tx, account, dead=False)


def dead_open_runs(tx: Transaction, account: str) -> tuple[int, ...]:
    """Return those of `open_runs` whose lease is over: nobody sends on their behalf any more."""
    return _runs(tx, account, dead=True)


def _runs(tx: Transaction, account: str, *, dead: bool) -> tuple[int, ...]:
    statement = (
        select(badge_run.c.id)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_occasion.c.account == account, badge_request.c.status != RequestStatus.SETTLED)
        .distinct()
        .order_by(badge_run.c.id)
    )
    if dead:
        statement = statement.where(badge_run.c.alive_until < tx.now)
    return tuple(tx.conn.execute(statement).scalars())
