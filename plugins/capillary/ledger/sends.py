"""When this ledger's requests were sent: how far back the platform's list must be read, and what it should show."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, func, select

from capillary.ledger.conditions import is_watched, waits_for_long
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_occasion, badge_request

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Send:
    """What this ledger sent under one key.

    Attributes:
        sender: fingerprint of the credential user that sent it last.
        resends: how often it was sent again.
        first_sent_at, last_sent_at: by the ledger's clock.
        answered_id: platform request id in the reply to the last send, trusted or not.
    """

    sender: str
    resends: int
    first_sent_at: datetime
    last_sent_at: datetime
    answered_id: str | None


@dataclass(frozen=True, slots=True)
class SentBetween:
    """How many requests were first sent in some time, and how many of them their human has forgotten."""

    requests: int
    forgotten: int


def last_sent(tx: Transaction, account: str, sender: str) -> tuple[datetime | None, datetime | None]:
    """Return the newest first send of this credential user, and of anybody, of what this ledger sent."""
    sent_at = case((badge_request.c.tries > 0, badge_request.c.first_sent_at))
    row = tx.conn.execute(
        select(func.max(case((badge_request.c.sender == sender, sent_at))), func.max(sent_at))
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_occasion.c.account == account)
    ).one()
    return row[0], row[1]


def first_watched(tx: Transaction, account: str, *, with_forgotten: bool = True) -> datetime | None:
    """Return the first send of what a reading of the list must reach back to; None: of nothing.

    `with_forgotten`: also what a human leaves waiting after any twin of it has shown.
    """
    watched = is_watched(tx) if with_forgotten else is_watched(tx) & ~waits_for_long(tx)
    found: datetime | None = tx.conn.execute(
        select(func.min(badge_request.c.first_sent_at))
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_occasion.c.account == account, watched)
    ).scalar_one()
    return found


def sent_between(tx: Transaction, account: str, since: datetime, until: datetime) -> SentBetween:
    """Return how many of the account's requests were first sent since a moment and before another one."""
    sent_at = badge_request.c.first_sent_at
    requests = badge_request.join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
    count = (
        select(func.count())
        .select_from(requests)
        .where(badge_occasion.c.account == account, sent_at >= since, sent_at < until)
    )
    return SentBetween(
        tx.conn.execute(count).scalar_one(), tx.conn.execute(count.where(waits_for_long(tx))).scalar_one()
    )


def sends_of(tx: Transaction, request_keys: Collection[str]) -> Iterator[Send]:
    """Yield what this ledger sent of these keys.

    What was found or imported is left out: its times are the platform's, and that is another clock.
    """
    columns = badge_request.c
    keys = sorted(request_keys)
    for start in range(0, len(keys), _CHUNK):
        rows = tx.conn.execute(
            select(
                columns.sender, columns.resends, columns.first_sent_at, columns.last_sent_at, columns.answered_id
            ).where(
                columns.request_key.in_(keys[start : start + _CHUNK]),
                columns.first_sent_at.is_not(None),
                columns.sender.is_not(None),
                columns.tries > 0,
            )
        )
        for row in rows:
            yield Send(*row)
