"""Keys of ours on the platform that the ledger does not know: the ledger is behind the platform.

A request that shows neither key nor customers may be any of them: it stands here by its platform request id.

Each is kept for the credential user that was shown it. The platform may show a user its own requests alone, so that
what another user is not shown says nothing: only the user that was shown a key can see that it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, exists, or_, select, update

from capillary.ledger.bounds import checked, cut
from capillary.ledger.database import Transaction
from capillary.ledger.scans import ensure
from capillary.ledger.schema import (
    badge_not_ours,
    badge_occasion,
    badge_request,
    badge_sighting,
    badge_unknown_key,
)
from capillary.ledger.upsert import insert_unless_there

_COLUMNS = badge_unknown_key.c


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key of ours that the ledger does not know, and the credential user that was shown it."""

    key: str
    sender: str


def note(tx: Transaction, account: str, sender: str, keys: Iterable[str]) -> None:
    """Write down that a credential user was shown these keys: submitting must stop for the account.

    A key that is longer than any of ours is kept cut: it stops submitting all the same.
    """
    ensure(tx, account)
    checked(_COLUMNS.sender, "sender", sender)
    # In one order, as everybody locks them.
    for key in sorted(set(map(as_kept, keys))):
        seen = {"account": account, "sender": sender, "key": key, "seen_at": tx.now, "unseen": False}
        if not insert_unless_there(tx, badge_unknown_key, seen):
            tx.conn.execute(
                update(badge_unknown_key)
                .where(_COLUMNS.account == account, _COLUMNS.sender == sender, _COLUMNS.key == key)
                .values(seen_at=tx.now, unseen=False)
            )


def as_kept(key: str) -> str:
    """Return a key as it is written down."""
    return cut(_COLUMNS.key, key)


def see_again(tx: Transaction, account: str, sender: str, platform_request_ids: Iterable[str]) -> None:
    """Requests without a key are shown once more: those that stop submitting by their platform request id stop on."""
    tx.conn.execute(
        update(badge_unknown_key)
        .where(_COLUMNS.account == account, _COLUMNS.sender == sender, _COLUMNS.key.in_(list(platform_request_ids)))
        .values(seen_at=tx.now, unseen=False)
    )


def unknown_keys(tx: Transaction, account: str) -> tuple[UnknownKey, ...]:
    """Return every key that stops submitting for the account, the one that was seen last first."""
    rows = tx.conn.execute(
        select(_COLUMNS.key, _COLUMNS.sender)
        .where(_COLUMNS.account == account)
        .order_by(_COLUMNS.seen_at.desc(), _COLUMNS.sender, _COLUMNS.key)
    )
    return tuple(UnknownKey(*row) for row in rows)


def drop_known(tx: Transaction, account: str) -> None:
    """Take away the keys that the ledger knows by now, and those of which a person said that they are not ours.

    Known is what was seen on the platform. A request that is only planned under the same key, since the ledger forgot
    the first one, would be sent a second time by a user that is not shown that first one.
    """
    seen = (
        select(badge_request.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .join(badge_sighting, badge_sighting.c.request_id == badge_request.c.id)
        .where(badge_request.c.request_key == _COLUMNS.key, badge_occasion.c.account == account)
    )
    shown_since = select(badge_sighting.c.request_id).where(badge_sighting.c.platform_request_id == _COLUMNS.key)
    not_ours = select(badge_not_ours.c.key).where(
        badge_not_ours.c.key == _COLUMNS.key, badge_not_ours.c.account == account
    )
    tx.conn.execute(
        delete(badge_unknown_key).where(_COLUMNS.account == account, or_(*map(exists, (seen, shown_since, not_ours))))
    )


def clear(tx: Transaction, account: str, sender: str) -> None:
    """Everything of ours that the platform shows this user is known again."""
    tx.conn.execute(delete(badge_unknown_key).where(_COLUMNS.account == account, _COLUMNS.sender == sender))


def expect_again(tx: Transaction, account: str, sender: str) -> None:
    """A whole reading by this user begins: the keys stop submitting on, and those it does not show go at its end."""
    tx.conn.execute(
        update(badge_unknown_key).where(_COLUMNS.account == account, _COLUMNS.sender == sender).values(unseen=True)
    )


def drop_unseen(tx: Transaction, account: str, sender: str) -> None:
    """A whole reading by this user is through: take away the keys that it did not show."""
    tx.conn.execute(
        delete(badge_unknown_key).where(
            _COLUMNS.account == account, _COLUMNS.sender == sender, _COLUMNS.unseen.is_(True)
        )
    )
