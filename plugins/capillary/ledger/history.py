"""An account's first reading: how far a ledger that had never seen the account has read the platform's list.

A ledger that was lost and made again knows none of the requests that stand on the platform. Before a credential
user sends anything for an account, it reads the whole list once, day by day, and where that has come to is kept
here. Each user reads for itself, since the platform may show it its own requests alone. The first day that matters
is years ago, or what a person said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy import ColumnElement, select, update

from capillary.ledger import unknown_keys
from capillary.ledger.bounds import checked
from capillary.ledger.database import Transaction
from capillary.ledger.scans import CLOCK_JUMP, ensure
from capillary.ledger.schema import badge_history
from capillary.ledger.upsert import insert_unless_there

#: How far back the list is asked for, unless a person says otherwise.
GOES_BACK: Final = timedelta(days=5 * 365)
_DAY: Final = timedelta(days=1)
_COLUMNS: Final = badge_history.c


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
        read_at: when the reading was through; None: this user may send nothing.
    """

    first_day: date | None
    next_day: date | None
    unread: str | None
    read_at: datetime | None


def history(tx: Transaction, account: str, sender: str) -> History:
    """Return where the first reading of the account by this credential user stands."""
    row = tx.conn.execute(
        select(_COLUMNS.first_day, _COLUMNS.next_day, _COLUMNS.unread, _COLUMNS.read_at).where(*_of(account, sender))
    ).one_or_none()
    return History(None, None, None, None) if row is None else History(*row)


def days_to_read(tx: Transaction, account: str, sender: str, *, today: date) -> int:
    """Return how many days this user has still to read before it sends anything; 0: none."""
    found = history(tx, account, sender)
    if found.read_at is not None and found.read_at <= tx.now + CLOCK_JUMP:
        return 0
    is_over = found.unread is not None and found.next_day is not None and found.next_day > today
    first = found.first_day if is_over else found.next_day
    return max((today - (first or today - GOES_BACK)).days + 1, 1)


def begin(tx: Transaction, account: str, sender: str, *, today: date) -> History:
    """Return where to go on: at the beginning, where an earlier reading was killed, or once more from the start.

    A reading that came to its end and left days unread begins again: they may be listed by now.
    """
    found = history(tx, account, sender)
    is_over = found.unread is not None and found.next_day is not None and found.next_day > today
    if found.first_day is None or is_over:
        _set(tx, account, sender, first_day=found.first_day or today - GOES_BACK, read_at=None)
    return history(tx, account, sender)


def advance(tx: Transaction, account: str, sender: str, done: Days, *, refused: bool) -> bool:
    """Write down that days are read, or that the platform refuses to list them.

    Returns:
        False where the reading does not stand at their first day any more: it was begun again in the meantime.
    """
    found = history(tx, account, sender)
    unread = _with(found.unread, done) if refused else found.unread
    statement = (
        update(badge_history)
        .where(*_of(account, sender), _COLUMNS.next_day == done.first, _COLUMNS.read_at.is_(None))
        .values(next_day=done.last + _DAY, unread=unread)
    )
    return tx.conn.execute(statement).rowcount == 1


def finish(tx: Transaction, account: str, sender: str, *, today: date) -> History:
    """End the reading where every day up to today is read; return where it stands now.

    What kept the account from submitting and was not shown any more goes with it.
    """
    statement = (
        update(badge_history)
        .where(
            *_of(account, sender),
            _COLUMNS.next_day > today,
            _COLUMNS.unread.is_(None),
            _COLUMNS.read_at.is_(None),
        )
        .values(read_at=tx.now)
    )
    if tx.conn.execute(statement).rowcount == 1:
        unknown_keys.drop_unseen(tx, account, sender)
    return history(tx, account, sender)


def take_as_read(tx: Transaction, account: str, sender: str, *, since: date) -> None:
    """A person says that nothing before a day matters, and that everything since is known, for this user."""
    _set(tx, account, sender, first_day=since, read_at=tx.now)


def reach_back_to(tx: Transaction, account: str, sender: str, day: date) -> None:
    """Have the first day that matters to this user be no later than a day, whatever a person said before."""
    tx.conn.execute(update(badge_history).where(*_of(account, sender), _COLUMNS.first_day > day).values(first_day=day))


def read_again(tx: Transaction, account: str, sender: str) -> None:
    """Have this user read the list once more from the first day that matters; it sends nothing before that is through.

    What keeps the account from submitting does so until then: another user sends in the meantime, and may not be shown
    it.
    """
    unknown_keys.expect_again(tx, account, sender)
    tx.conn.execute(
        update(badge_history)
        .where(*_of(account, sender))
        .values(next_day=_COLUMNS.first_day, unread=None, read_at=None)
    )


def _of(account: str, sender: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _COLUMNS.account == account, _COLUMNS.sender == sender


def _set(tx: Transaction, account: str, sender: str, *, first_day: date, read_at: datetime | None) -> None:
    """Have the reading stand at its first day."""
    ensure(tx, account)
    checked(_COLUMNS.sender, "sender", sender)
    stands: dict[str, object] = {"first_day": first_day, "next_day": first_day, "unread": None, "read_at": read_at}
    if not insert_unless_there(tx, badge_history, {"account": account, "sender": sender, **stands}):
        tx.conn.execute(update(badge_history).where(*_of(account, sender)).values(**stands))


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
