"""When this ledger's requests were sent: how far back the platform's list must be read, and what it should show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from capillary.ledger.conditions import is_watched, waits_for_long
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_occasion, badge_request, badge_sighting

#: How many of the last requests tell when this ledger last sent.
LAST: Final = 50
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class LastSent:
    """One of the requests that were sent last.

    Attributes:
        first_sent_at: by the ledger's clock.
        platform_request_ids: as what the platform showed it; none where it did not.
    """

    first_sent_at: datetime
    platform_request_ids: tuple[str, ...]


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


def last_sent(tx: Transaction, account: str, sender: str | None) -> tuple[LastSent, ...]:
    """Return the requests that this credential user, or anybody, sent last, at most `LAST`.

    By their numbers: the ledger's clock may have been ahead when one of them was sent.
    """
    requests = badge_request.join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
    sent = (
        select(badge_request.c.id, badge_request.c.first_sent_at)
        .select_from(requests)
        .where(badge_occasion.c.account == account, badge_request.c.first_sent_at.is_not(None))
        .where(badge_request.c.tries > 0)
        .where(*([] if sender is None else [badge_request.c.sender == sender]))
        .order_by(badge_request.c.id.desc())
        .limit(LAST)
        .subquery()
    )
    rows = tx.conn.execute(
        select(sent, badge_sighting.c.platform_request_id).select_from(
            sent.outerjoin(badge_sighting, badge_sighting.c.request_id == sent.c.id)
        )
    ).all()
    seen_as = defaultdict[tuple[int, datetime], list[str]](list)
    for row in rows:
        seen_as[row.id, row.first_sent_at] += [row.platform_request_id] if row.platform_request_id else []
    return tuple(LastSent(sent_at, tuple(ids)) for (_, sent_at), ids in seen_as.items())


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
