"""The rows that every plan stands on: its occasion and its spec, found or made, and locked."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from capillary.ledger.database import Transaction
from capillary.ledger.errors import OccasionTaken
from capillary.ledger.schema import badge_occasion, badge_spec
from capillary.ledger.spec import Spec
from capillary.ledger.upsert import insert_unless_there


def locked_occasion(
    tx: Transaction, *, account: str, campaign: str, occasion: str, badge_id: str, renamed_from: str | None = None
) -> int:
    """Return the occasion's id, made if it is new, its row locked until the transaction ends.

    Raises:
        OccasionTaken: it belongs to another badge, or to another campaign than `campaign` or `renamed_from`.
    """
    insert_unless_there(
        tx,
        badge_occasion,
        {
            "account": account,
            "campaign": campaign,
            "occasion": occasion,
            "badge_id": badge_id,
            "created_at": tx.now,
        },
    )
    row = tx.conn.execute(
        select(badge_occasion)
        .where(badge_occasion.c.account == account, badge_occasion.c.occasion == occasion)
        .with_for_update()
    ).one()
    if row.badge_id != badge_id:
        raise OccasionTaken(
            f"occasion {occasion!r} belongs to badge {row.badge_id}, and campaign {campaign!r} wants "
            f"badge {badge_id} under it; give the campaign another occasion"
        )
    if row.campaign != campaign:
        if row.campaign != renamed_from:
            raise OccasionTaken(
                f"occasion {occasion!r} belongs to campaign {row.campaign!r}; if {campaign!r} is that "
                f"campaign under a new name, say renamed_from={row.campaign!r}, otherwise give it another occasion"
            )
        tx.conn.execute(update(badge_occasion).where(badge_occasion.c.id == row.id).values(campaign=campaign))
    occasion_id: int = row.id
    return occasion_id


def locked_spec(tx: Transaction, spec: Spec) -> Row[*tuple[Any, ...]]:
    """Return `id` and `proven_at` of a spec, made if it is new, its row locked until the transaction ends."""
    fingerprint = spec.fingerprint()
    insert_unless_there(
        tx,
        badge_spec,
        {
            "account": spec.account,
            "fingerprint": fingerprint,
            "config": spec.config(),
            "created_at": tx.now,
        },
    )
    return tx.conn.execute(
        select(badge_spec.c.id, badge_spec.c.proven_at)
        .where(badge_spec.c.account == spec.account, badge_spec.c.fingerprint == fingerprint)
        .with_for_update()
    ).one()
