"""An account's first reading: how far a ledger that had never seen the account has read the platform's list.

A ledger that was lost and made again knows none of the requests that stand on the platform. Before it sends
anything for an account, the whole list is read once, day by day, and where that has come to is kept here. The
first day that matters is years ago, or what a person said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy import select, update

from capillary.ledger.database import Transaction
from capillary.ledger.scans import ensure
from capillary.ledger.schema import badge_scan

#: How far back the list is asked for, unless a person says otherwise.
GOES_BACK: Final = timedelta(days=5 * 365)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Days:
    """Days of the cluster's time zone, both ends included."""

    first: date
    last: date

    @property
    def count(self) -> int:
        """How many they are."""
        return (self.last - self.first).days + 1

    def halves(self) -> tuple[Days, Days]:
        """Return the earlier and the later half of two days or more."""
        middle = self.first + _DAY * (self.count // 2 - 1)
        return Days(self.first, middle), Days(middle + _DAY, self.last)

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class History:
    """Where the first reading stands.

    Attributes:
        first_day: the first day that matters; None: the reading has not begun.
        next_day: the days before this one are read, or named in `unread`.
        unread: days that the platform refused to list, in words.
        read_at: when the reading was through; None: nothing may be sent.
    """

    first_day: date | None
    next_day: date | None
    unread: str | None
    read_at: datetime | None


def history(tx: Transaction, account: str) -> History:
    """Return where the account's first reading stands."""
    columns = badge_scan.c
    row = tx.conn.execute(
        select(columns.history_from, columns.history_to, columns.history_unread, columns.history_read_at).where(
            columns.account == account
        )
    ).one_or_none()
    return History(None, None, None, None) if row is None else History(*row)


def begin(tx: Transaction, account: str, *, today: date) -> History:
    """Return where to go on: at the beginning, where an earlier reading was killed, or once more from the start.

    A reading that came to its end and left days unread begins again: they may be listed by now.
    """
    ensure(tx, account)
    found = history(tx, account)
    is_over = found.unread is not None and found.next_day is not None and found.next_day > today
    if found.first_day is None or is_over:
        first_day = found.first_day or today - GOES_BACK
        _set(tx, account, history_from=first_day, history_to=first_day, history_unread=None)
    return history(tx, account)


def advance(tx: Transaction, account: str, done: Days, *, refused: bool) -> bool:
    """Write down that days are read, or that the platform refuses to list them.

    Returns:
        False where the reading does not stand at their first day any more: it was begun again meanwhile.
    """
    found = history(tx, account)
    unread = _with(found.unread, done) if refused else found.unread
    statement = (
        update(badge_scan)
        .where(
            badge_scan.c.account == account,
            badge_scan.c.history_to == done.first,
            badge_scan.c.history_read_at.is_(None),
        )
        .values(history_to=done.last + _DAY, history_unread=unread)
    )
    return tx.conn.execute(statement).rowcount == 1


def finish(tx: Transaction, account: str, *, today: date) -> History:
    """End the reading where every day up to today is read; return where it stands now."""
    tx.conn.execute(
        update(badge_scan)
        .where(
            badge_scan.c.account == account,
            badge_scan.c.history_to > today,
            badge_scan.c.history_unread.is_(None),
            badge_scan.c.history_read_at.is_(None),
        )
        .values(history_read_at=tx.now)
    )
    return history(tx, account)


def take_as_read(tx: Transaction, account: str, *, since: date) -> None:
    """A person says that nothing before a day matters, and that everything since is known."""
    ensure(tx, account)
    _set(tx, account, history_from=since, history_to=since, history_unread=None, history_read_at=tx.now)


def read_again(tx: Transaction, account: str) -> None:
    """Have the list read once more from the first day that matters; nothing is sent before that is through.

    What kept the account from submitting is forgotten with it: where it still stands there, the reading finds it.
    """
    tx.conn.execute(
        update(badge_scan)
        .where(badge_scan.c.account == account)
        .values(
            foreign_key=None,
            foreign_seen_at=None,
            history_to=badge_scan.c.history_from,
            history_unread=None,
            history_read_at=None,
        )
    )


def _set(tx: Transaction, account: str, **values: object) -> None:
    tx.conn.execute(update(badge_scan).where(badge_scan.c.account == account).values(**values))


def _with(unread: str | None, more: Days) -> str:
    """Return the words for days that were unread before and for those that follow them."""
    ranges = [*_parsed(unread), more]
    merged = ranges[:1]
    for before, after in pairwise(ranges):
        if before.last + _DAY == after.first:
            merged[-1] = Days(merged[-1].first, after.last)
        else:
            merged.append(after)
    return ", ".join(map(str, merged))


def _parsed(unread: str | None) -> Iterator[Days]:
    for words in unread.split(", ") if unread else ():
        first, _, last = words.partition(" to ")
        yield Days(date.fromisoformat(first), date.fromisoformat(last or first))
