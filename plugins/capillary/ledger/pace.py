"""The account's call budget: one row, whatever the number of runs, campaigns and processes.

Slots are spaced evenly. A caller that comes later than ``SLOT_GRACE_S`` after its slot drops it and takes
another, and a call that has not started ``START_WITHIN_S`` after that is not made; the spacing leaves room for both,
so that no window of 60 s ever holds more calls than the limit, however slow the ledger's commits are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import Row, select, update

from capillary.ledger.bounds import checked
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_pace
from capillary.ledger.upsert import insert_unless_there

#: A slot may be taken this long after its time, seconds.
SLOT_GRACE_S: Final = 1.0
#: From there a call starts within this, seconds: a request is claimed in between. Doubt is judged on the assumption
#: that a POST starts by then. That is asked just before it; a process that was frozen before gives its claim back.
START_WITHIN_S: Final = 5.0
_WINDOW_S: Final = 60.0
#: A slot or block later than this, or than so many waiting callers explain, is from before the clock was set back.
_FARTHEST: Final = timedelta(hours=1)
_QUEUE: Final = 500
#: Highest number of the columns: a count that is full stays so, and keeps no call back.
_MOST: Final = 2**31 - 1


def slot_spacing_s(calls_per_minute: int) -> float:
    """Return the seconds between two slots.

    A window of 60 s can hold the calls whose slots lie in 60 s plus the longest delay from slot to start: with this
    spacing that is at most ``calls_per_minute``. At one call a minute the spacing is a window and that delay.
    """
    # Up to the clock's microsecond: rounded down, the last call of a window would slip into it.
    return ceil((_WINDOW_S + SLOT_GRACE_S + START_WITHIN_S) * 1e6 / calls_per_minute) / 1e6


def take_slot(tx: Transaction, account: str, *, calls_per_minute: int, is_another: bool = False) -> float:
    """Take the account's next call slot, and count the call.

    Args:
        tx: the transaction.
        account: whose slot.
        calls_per_minute: limit of the account.
        is_another: in place of one that was dropped; its call is counted already.

    Returns:
        How long to wait for it, seconds; 0 when it is now.
    """
    row = _locked_row(tx, account)
    spacing_s = slot_spacing_s(calls_per_minute)
    farthest = tx.now + max(_FARTHEST, timedelta(seconds=_QUEUE * spacing_s))
    known = [moment for moment in (row.next_slot_at, row.blocked_until) if moment is not None and moment <= farthest]
    slot: datetime = max([tx.now, *known])
    tx.conn.execute(
        update(badge_pace)
        .where(badge_pace.c.account == account)
        .values(next_slot_at=slot + timedelta(seconds=spacing_s), **_counts(tx, row, calls=0 if is_another else 1))
    )
    return (slot - tx.now).total_seconds()


def is_blocked(tx: Transaction, account: str) -> bool:
    """Tell whether the platform asked the account to wait (429) and the time is not over."""
    until = tx.conn.execute(
        select(badge_pace.c.blocked_until).where(badge_pace.c.account == account)
    ).scalar_one_or_none()
    return until is not None and tx.now < until <= tx.now + _FARTHEST


def block(tx: Transaction, account: str, *, seconds: float) -> None:
    """The platform asked for a pause: nobody of the account calls for so long. A longer block stays. Counted."""
    row = _locked_row(tx, account)
    until = tx.now + timedelta(seconds=seconds)
    if row.blocked_until is not None:
        until = max(until, row.blocked_until)
    counts = _counts(tx, row, pauses=1)
    tx.conn.execute(update(badge_pace).where(badge_pace.c.account == account).values(blocked_until=until, **counts))


def _counts(tx: Transaction, row: Row[Any], *, calls: int = 0, pauses: int = 0) -> dict[str, Any]:
    """Return the day's counts with these added; on the first call of another day they begin at 0."""
    day = tx.now.astimezone(UTC).date()
    # Whoever waited for the row over midnight counts on the new day, where a later transaction has begun it.
    if row.counted_on is not None and day < row.counted_on <= (tx.now + _FARTHEST).astimezone(UTC).date():
        day = row.counted_on
    if row.counted_on == day:
        calls, pauses = row.calls + calls, row.pauses + pauses
    return {"counted_on": day, "calls": min(calls, _MOST), "pauses": min(pauses, _MOST)}


def _locked_row(tx: Transaction, account: str) -> Row[Any]:
    checked(badge_pace.c.account, "account", account)
    insert_unless_there(tx, badge_pace, {"account": account, "next_slot_at": tx.now})
    return tx.conn.execute(select(badge_pace).where(badge_pace.c.account == account).with_for_update()).one()
