"""Who reads the platform's list for an account, and what the last reading said of the ledger itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_scan
from capillary.ledger.upsert import insert_unless_there


@dataclass(frozen=True, slots=True)
class ScanState:
    """What the account's row says.

    Attributes:
        read_at: begin of the last list read that went to the end.
        distrusted_at: since when the list is known to miss requests.
        foreign_key: a key with our prefix that the ledger does not know: the ledger is behind the platform.
    """

    read_at: datetime | None
    distrusted_at: datetime | None
    foreign_key: str | None


def lease(tx: Transaction, account: str, *, by: str, older_than: timedelta, lasting: timedelta) -> bool:
    """Take the right to read the list, when the last read is old enough and nobody else is reading.

    Args:
        tx: the transaction.
        account: the account.
        by: who reads, for people who look.
        older_than: how old the last complete read must be.
        lasting: how long the right holds; a reader that dies gives it back by that.
    """
    _ensure(tx, account)
    return (
        tx.conn.execute(
            update(badge_scan)
            .where(
                badge_scan.c.account == account,
                badge_scan.c.leased_until <= tx.now,
                or_(badge_scan.c.read_at.is_(None), badge_scan.c.read_at <= tx.now - older_than),
            )
            .values(leased_until=tx.now + lasting, leased_by=by)
        ).rowcount
        == 1
    )


def finish(tx: Transaction, account: str, *, by: str, begun_at: datetime, complete: bool) -> None:
    """Give the right back; a complete reading counts from when it began."""
    values: dict[str, datetime] = {"leased_until": tx.now}
    if complete:
        values["read_at"] = begun_at
    tx.conn.execute(
        update(badge_scan).where(badge_scan.c.account == account, badge_scan.c.leased_by == by).values(values)
    )


def distrust(tx: Transaction, account: str) -> None:
    """The list missed a request that a single read found: from now on it proves no absence."""
    _ensure(tx, account)
    tx.conn.execute(update(badge_scan).where(badge_scan.c.account == account).values(distrusted_at=tx.now))


def note_foreign_key(tx: Transaction, account: str, key: str) -> None:
    """A key of ours stands on the platform that the ledger does not know: submitting must stop."""
    _ensure(tx, account)
    tx.conn.execute(
        update(badge_scan).where(badge_scan.c.account == account).values(foreign_key=key, foreign_seen_at=tx.now)
    )


def state(tx: Transaction, account: str) -> ScanState:
    """Return what is known of the account's list."""
    row = tx.conn.execute(
        select(badge_scan.c.read_at, badge_scan.c.distrusted_at, badge_scan.c.foreign_key).where(
            badge_scan.c.account == account
        )
    ).one_or_none()
    return ScanState(None, None, None) if row is None else ScanState(*row)


def _ensure(tx: Transaction, account: str) -> None:
    insert_unless_there(tx, badge_scan, {"account": account, "leased_until": tx.now, "leased_by": ""})


def note_read(tx: Transaction, account: str, *, begun_at: datetime) -> None:
    """Remember a reading that went to the end, by whomever."""
    _ensure(tx, account)
    tx.conn.execute(update(badge_scan).where(badge_scan.c.account == account).values(read_at=begun_at))
