"""What is open in the ledger, whoever planned it: where the upkeep looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import URL, ColumnElement, and_, exists, func, select

from capillary.ledger.conditions import is_open, is_seen, is_watched
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan, PlanId
from capillary.ledger.schema import badge_occasion, badge_request, badge_run
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account with requests that are not settled, and a connection of runs that planned them."""

    account: str
    capillary_conn_id: str


@dataclass(frozen=True, slots=True)
class UnsentRun:
    """A dead run, of which something was planned and never sent: its lease is over, and nobody sends for it any more.

    Attributes:
        badge_run_id: the ledger's id of the run.
        dag_id, run_id: Airflow's.
        customers: in the requests that were never sent.
        dead_since: when its lease was over.
    """

    badge_run_id: OpenPlan
    dag_id: str
    run_id: str
    customers: int
    dead_since: datetime


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
    rows = tx.conn.execute(
        select(badge_run.c.id, badge_run.c.token)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_run.c.account == account, is_open())
        .distinct()
        .order_by(badge_run.c.id)
    )
    return tuple(PlanId(*row) for row in rows)


def unsent_of_dead_runs(tx: Transaction, account: str, badge_run_id: OpenPlan | None = None) -> tuple[UnsentRun, ...]:
    """Return what the account's dead runs have planned and never sent; of one of them, or of all."""
    statement = (
        select(
            badge_run.c.id,
            badge_run.c.dag_id,
            badge_run.c.run_id,
            func.sum(badge_request.c.customers),
            badge_run.c.alive_until,
        )
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_run.c.account == account, *_is_unsent(tx))
        .group_by(badge_run.c.id)
        .order_by(badge_run.c.id)
    )
    if badge_run_id is not None:
        statement = statement.where(badge_run.c.id == badge_run_id)
    return tuple(
        UnsentRun(OpenPlan(each), dag_id, run_id, int(customers), dead_since)
        for each, dag_id, run_id, customers, dead_since in tx.conn.execute(statement)
    )


def holds_only_unsent(tx: Transaction, account: str) -> bool:
    """Return whether the account has no request, settled ones included, but what dead runs have never sent."""
    others = (
        select(badge_request.c.id)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(badge_run.c.account == account, ~and_(*_is_unsent(tx)))
    )
    return not tx.conn.execute(select(exists(others))).scalar_one()


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


def _is_unsent(tx: Transaction) -> tuple[ColumnElement[bool], ...]:
    return badge_request.c.status == RequestStatus.PLANNED, ~is_seen(), badge_run.c.alive_until < tx.now
