"""Who reads the platform's list for an account, whether it may be trusted, and whose keys on it are not ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update

from capillary.ledger.bounds import checked, cut
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_not_ours, badge_scan
from capillary.ledger.upsert import insert_unless_there

#: How long a reader may be silent before another one takes its turn.
LEASE: Final = timedelta(minutes=5)
#: How long a list that missed a request proves no absence.
DISTRUST: Final = timedelta(hours=24)
#: By how much the platform's clock and the ledger's may move against each other before one of them counts as set.
CLOCK_JUMP: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ScanState:
    """What the account's row says.

    Attributes:
        read_at: when the list was last read, or began to be (`last_reading`).
        trusted: whether the list may prove that something is not there: it missed nothing for `DISTRUST`.
        clock_jumped_at: when the ledger's clock or the platform's was last found to have jumped, by the ledger's.
    """

    read_at: datetime | None
    trusted: bool
    clock_jumped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WholeReading:
    """A reading of the list that came to its end.

    Attributes:
        begun_at: when it began, by the ledger's clock.
        pages: how many calls it took.
    """

    begun_at: datetime
    pages: int


def lease(tx: Transaction, account: str, *, by: str, older_than: timedelta) -> bool:
    """Take the turn to read the list, when the last reading is old enough and nobody else is at it.

    Args:
        tx: the transaction.
        account: the account.
        by: who reads; unlike any other reader.
        older_than: how long ago the last reading must have begun, whether or not it came to its end.

    Raises:
        ValueUnfit: `by` is longer than the ledger keeps; cut, it could be another reader.
    """
    checked(badge_scan.c.leased_by, "reader", by)
    ensure(tx, account)
    return (
        tx.conn.execute(
            update(badge_scan)
            .where(
                badge_scan.c.account == account,
                # What lies farther ahead than a lease can is from before the clock was set back.
                or_(badge_scan.c.leased_until <= tx.now, badge_scan.c.leased_until > tx.now + LEASE),
                or_(
                    badge_scan.c.read_at.is_(None),
                    badge_scan.c.read_at <= tx.now - older_than,
                    badge_scan.c.read_at > tx.now,
                ),
            )
            .values(leased_until=tx.now + LEASE, leased_by=by, read_at=tx.now)
        ).rowcount
        == 1
    )


def renew(tx: Transaction, account: str, *, by: str) -> None:
    """Keep the turn; one that was lost stays lost."""
    tx.conn.execute(
        update(badge_scan)
        .where(badge_scan.c.account == account, badge_scan.c.leased_by == by, badge_scan.c.leased_until > tx.now)
        .values(leased_until=tx.now + LEASE)
    )


def finish(tx: Transaction, account: str, *, by: str) -> None:
    """Give the turn back."""
    tx.conn.execute(
        update(badge_scan)
        .where(badge_scan.c.account == account, badge_scan.c.leased_by == by)
        .values(leased_until=tx.now, leased_by="")
    )


def note_whole(tx: Transaction, account: str, *, sender: str, begun_at: datetime, pages: int) -> None:
    """A reading came to its end, and all that it shows is recorded.

    Args:
        tx: the transaction.
        account: the account.
        sender: fingerprint of the credential user that read: another one may be shown other rows.
        begun_at: when it began, by the ledger's clock.
        pages: how many calls it took.
    """
    checked(badge_scan.c.whole_by, "sender", sender)
    ensure(tx, account)
    columns = badge_scan.c
    tx.conn.execute(
        update(badge_scan)
        .where(columns.account == account)
        .where(or_(columns.whole_at.is_(None), columns.whole_at < begun_at, columns.whole_at > tx.now))
        .values(whole_at=begun_at, whole_by=sender, whole_pages=pages)
    )


def whole_reading(tx: Transaction, account: str, sender: str, *, within: timedelta) -> WholeReading | None:
    """Return the last reading that came to its end, if this user's own and begun so short ago."""
    columns = badge_scan.c
    row = tx.conn.execute(
        select(columns.whole_at, columns.whole_pages).where(
            columns.account == account,
            columns.whole_by == sender,
            columns.whole_at >= tx.now - within,
            columns.whole_at <= tx.now,
        )
    ).one_or_none()
    return None if row is None else WholeReading(row.whole_at, row.whole_pages)


def distrust(tx: Transaction, account: str) -> None:
    """The list missed a request that a single read found: it is not trusted for a day."""
    ensure(tx, account)
    tx.conn.execute(update(badge_scan).where(badge_scan.c.account == account).values(distrusted_at=tx.now))


def note_clocks(tx: Transaction, account: str, platform_now: datetime | None) -> bool:
    """Compare the platform's clock with the ledger's, as a reading of the list goes; return whether one has jumped.

    It has where the two differ by another minute than they did at the last jump, or at the first reading. Slow drift
    comes to that some day, which costs one lag. Which of the two it was nobody can tell: while the platform's was set,
    nothing is lost but time.

    Args:
        tx: the transaction.
        account: the account.
        platform_now: the platform's clock; None where its replies do not say it. That alone shows nothing; where they
            have said it before, or do so again, a jump may lie in between.
    """
    columns = badge_scan.c
    if platform_now is not None:
        ensure(tx, account)
    before = tx.conn.execute(
        select(columns.platform_ahead_s, columns.clock_jumped_at).where(columns.account == account).with_for_update()
    ).one_or_none()
    if before is None:
        return False
    ahead_s = None if platform_now is None else round((platform_now - tx.now).total_seconds())
    if ahead_s is None or before.platform_ahead_s is None:
        has_changed = ahead_s != before.platform_ahead_s
        # Of an account's first reading there is nothing to compare with.
        has_jumped = has_changed and (ahead_s is None or before.clock_jumped_at is not None)
    else:
        has_changed = has_jumped = abs(ahead_s - before.platform_ahead_s) > CLOCK_JUMP.total_seconds()
    if has_changed:
        values = {"platform_ahead_s": ahead_s} | ({"clock_jumped_at": tx.now} if has_jumped else {})
        tx.conn.execute(update(badge_scan).where(columns.account == account).values(values))
    return has_jumped


def platform_ahead_s(tx: Transaction, account: str) -> int | None:
    """Return by how many seconds the platform's clock is ahead of the ledger's, as of the last jump; None: unknown."""
    found: int | None = tx.conn.execute(
        select(badge_scan.c.platform_ahead_s).where(badge_scan.c.account == account)
    ).scalar_one_or_none()
    return found


def note_not_ours(tx: Transaction, account: str, key: str, *, by: str) -> None:
    """A person says that a key with our prefix is somebody else's: it stops nothing any more."""
    checked(badge_not_ours.c.account, "account", account)
    checked(badge_not_ours.c.said_by, "by", by)
    said = {"account": account, "key": cut(badge_not_ours.c.key, key), "said_at": tx.now, "said_by": by}
    insert_unless_there(tx, badge_not_ours, said)


def are_not_ours(tx: Transaction, account: str, keys: Iterable[str]) -> set[str]:
    """Return those of the keys of which a person said that they are somebody else's."""
    asked = set(keys)
    if not asked:
        return set()
    columns = badge_not_ours.c
    kept = {key: cut(columns.key, key) for key in asked}
    said = set(
        tx.conn.execute(
            select(columns.key).where(columns.account == account, columns.key.in_(set(kept.values())))
        ).scalars()
    )
    return {key for key in asked if kept[key] in said}


def last_reading(turn_at: datetime | None, whole_at: datetime | None) -> datetime | None:
    """Return when the list was last read, or began to be; None: never.

    Args:
        turn_at: when the last turn began (`lease`). `submit` reads without one, so that this may lie before `whole_at`.
        whole_at: when the last reading began that came to its end, in a turn or without one.
    """
    return max((moment for moment in (turn_at, whole_at) if moment is not None), default=None)


def state(tx: Transaction, account: str) -> ScanState:
    """Return what is known of the account's list."""
    row = tx.conn.execute(
        select(
            badge_scan.c.read_at, badge_scan.c.whole_at, badge_scan.c.distrusted_at, badge_scan.c.clock_jumped_at
        ).where(badge_scan.c.account == account)
    ).one_or_none()
    if row is None:
        return ScanState(None, trusted=True)
    trusted = row.distrusted_at is None or row.distrusted_at <= tx.now - DISTRUST
    return ScanState(last_reading(row.read_at, row.whole_at), trusted, row.clock_jumped_at)


def ensure(tx: Transaction, account: str) -> None:
    """Make the account's row unless it is there."""
    checked(badge_scan.c.account, "account", account)
    insert_unless_there(tx, badge_scan, {"account": account, "leased_until": tx.now, "leased_by": ""})
