"""Requests in doubt: what was sent and not clearly answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_occasion, badge_request
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class DueDoubt:
    """A request in doubt whose absence may be judged now."""

    request_id: int
    key: str
    tries: int
    resends: int
    sender: str
    first_sent_at: datetime
    last_sent_at: datetime
    doubt_from: datetime
    badge_id: str
    answered_id: str | None


@dataclass(frozen=True, slots=True)
class OwnDoubt:
    """A credential user's request in doubt: when it was sent last, and from when on its absence may be judged."""

    last_sent_at: datetime
    doubt_from: datetime


def due_doubts(tx: Transaction, account: str) -> tuple[DueDoubt, ...]:
    """Return the account's requests in doubt whose absence may be judged by now."""
    columns = badge_request.c
    rows = tx.conn.execute(
        select(
            columns.id,
            columns.request_key,
            columns.tries,
            columns.resends,
            columns.sender,
            columns.first_sent_at,
            columns.last_sent_at,
            columns.doubt_from,
            badge_occasion.c.badge_id,
            columns.answered_id,
        )
        .join(badge_occasion, badge_occasion.c.id == columns.occasion_id)
        .where(
            badge_occasion.c.account == account,
            columns.status == RequestStatus.SENDING,
            columns.doubt_from < tx.now,
        )
        .order_by(columns.id)
    )
    return tuple(DueDoubt(*row) for row in rows)


def own_doubts(tx: Transaction, account: str, sender: str, *, under_way_since: datetime) -> tuple[OwnDoubt, ...]:
    """Return one credential user's requests in doubt, in the whole account.

    Args:
        tx: the transaction.
        account: the account.
        sender: fingerprint of the credential user.
        under_way_since: what was sent since then and has no error is merely under way, and in no doubt; what a killed
            sender left is, by then.
    """
    columns = badge_request.c
    rows = tx.conn.execute(
        select(columns.last_sent_at, columns.doubt_from)
        .join(badge_occasion, badge_occasion.c.id == columns.occasion_id)
        .where(
            badge_occasion.c.account == account,
            columns.status == RequestStatus.SENDING,
            columns.sender == sender,
            columns.error.is_not(None) | (columns.last_sent_at < under_way_since),
        )
    )
    return tuple(OwnDoubt(*row) for row in rows)


def is_named_by_a_doubt(tx: Transaction, name: str) -> bool:
    """Return whether a request in doubt names this key or platform request id as one that it may be."""
    columns = badge_request.c
    found = tx.conn.execute(
        select(columns.id)
        .where(columns.status == RequestStatus.SENDING)
        .where(or_(columns.answered_id == name, columns.error.contains(f" {name} ", autoescape=True)))
        .limit(1)
    ).first()
    return found is not None
