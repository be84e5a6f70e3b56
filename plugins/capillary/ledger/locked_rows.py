"""The rows that every plan stands on: its occasion and its spec, found or made, and locked.

Here is judged, too, what would make two identities of one: an organisation that the ledger knows under another
address, and an occasion that another campaign uses.

They are locked FOR NO KEY UPDATE: whoever plans, imports or erases takes turns, and nobody else waits. Where a
transaction writes a request's row twice, as with a new sighting, PostgreSQL looks its foreign keys up once more; FOR
UPDATE would hold that up for as long as a large plan takes, with the request's row locked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Row, exists, select, text

from capillary.ledger.database import Transaction
from capillary.ledger.errors import OccasionTaken, OrganisationElsewhere
from capillary.ledger.schema import badge_occasion, badge_request, badge_run, badge_spec
from capillary.ledger.spec import Spec
from capillary.ledger.upsert import insert_unless_there

#: Occasions that begin so belong to a badge, and all campaigns of it share them.
SHARED_PREFIX: Final = "badge:"
#: How `OccasionTaken` names the campaign that an occasion belongs to.
_OWNER: Final = re.compile(r"belongs to campaign (?P<quoted>(['\"]).+?\2)(?=;)", re.DOTALL)


def occasion_of_badge(badge_id: str) -> str:
    """Return the name of the occasion that all campaigns of a badge share which name none of their own."""
    return f"{SHARED_PREFIX}{badge_id}"


def locked_occasion(
    tx: Transaction, *, account: str, campaign: str | None, occasion: str, badge_id: str, shared: bool = False
) -> int:
    """Return the occasion's id, made if it is new, its row locked until the transaction ends.

    Args:
        tx: the transaction.
        account: who plans, on the platform.
        occasion: the occasion's name.
        badge_id: the badge that it is for.
        campaign: who plans on it; None: whoever did, as an import finds it.
        shared: the campaign says that it shares the occasion with others.

    Raises:
        OrganisationElsewhere: the ledger knows the account's organisation under another address.
        OccasionTaken: it belongs to another badge, or stands alone and belongs to another campaign.
    """
    _assert_one_address(tx, account)
    of_badge = occasion.startswith(SHARED_PREFIX)
    if of_badge and occasion != occasion_of_badge(badge_id):
        raise OccasionTaken(
            f"occasion {occasion!r} is the shared occasion of another badge, not of {badge_id}; give the campaign "
            f"another occasion, or leave it out for {occasion_of_badge(badge_id)!r}"
        )
    insert_unless_there(
        tx, badge_occasion, {"account": account, "occasion": occasion, "badge_id": badge_id, "created_at": tx.now}
    )
    row = tx.conn.execute(
        select(badge_occasion)
        .where(badge_occasion.c.account == account, badge_occasion.c.occasion == occasion)
        .with_for_update(key_share=True)
    ).one()
    if row.badge_id != badge_id:
        wants = f"campaign {campaign!r}" if campaign is not None else "what is imported"
        raise OccasionTaken(
            f"occasion {occasion!r} belongs to badge {row.badge_id}, and {wants} wants badge {badge_id} under it; "
            "give the campaign another occasion"
        )
    occasion_id: int = row.id
    if campaign is not None and not shared and not of_badge:
        _assert_own(tx, occasion_id, occasion, campaign)
    return occasion_id


def locked_spec(tx: Transaction, spec: Spec) -> Row[Any]:
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
        .with_for_update(key_share=True)
    ).one()


def without_foreign_owner(words: str, campaigns: Collection[str]) -> str:
    """Return why an occasion was refused, its campaign told without its name where it is none of these."""
    owner = _OWNER.search(words)
    if owner is None or owner["quoted"] in map(repr, campaigns):
        return words
    return words.replace(f"campaign {owner['quoted']}", "another campaign").replace(owner["quoted"], "it")


def _assert_own(tx: Transaction, occasion_id: int, occasion: str, campaign: str) -> None:
    """Refuse an occasion whose first run that still holds somebody is another campaign's.

    A run whose customers were all given back holds nobody, and a dry run leaves none behind.
    """
    first = tx.conn.execute(
        select(badge_run.c.campaign)
        .where(badge_run.c.occasion_id == occasion_id, badge_run.c.planned > badge_run.c.discarded)
        .order_by(badge_run.c.id)
        .limit(1)
    ).scalar_one_or_none()
    if first is not None and first != campaign:
        raise OccasionTaken(
            f"occasion {occasion!r} belongs to campaign {first!r}; give {campaign!r} another occasion, or say "
            "shared_occasion=True if it is that campaign under a new name, or should skip the customers that "
            f"{first!r} has taken"
        )


def _assert_one_address(tx: Transaction, account: str) -> None:
    """Refuse an account whose organisation has requests in this ledger under another address.

    An account without requests waits for plans that are under way: one of them may be the organisation's first,
    under another address. What was planned there and given back binds nobody.
    """
    address, _, organisation = account.rpartition("/")
    if tx.conn.dialect.name == "postgresql":  # SQLite has one writer
        lock = "pg_advisory_xact_lock_shared" if _has_requests(tx, account) else "pg_advisory_xact_lock"
        tx.conn.execute(
            text(f"SELECT {lock}(hashtextextended(:organisation, 0))"),
            {"organisation": f"capillary/{organisation.casefold()}"},
        )
    for known in _accounts_of(tx, organisation):
        if known != account and _has_requests(tx, known):
            former, _, spelled = known.rpartition("/")
            remedy = (
                f"write {former!r} into the connection's field Account address"
                if former != address
                else f"write the organisation id as {spelled!r}"
            )
            raise OrganisationElsewhere(
                f"the ledger knows this organisation as account {known!r}, and the connection leads to {account!r}: "
                "under two names it would enrol customers twice; nothing was planned. If both are one system, "
                f"{remedy}. If {account!r} is another system, such as a test system, give it a ledger of its own"
            )


def _accounts_of(tx: Transaction, organisation: str) -> list[str]:
    """Return the accounts of an organisation, compared without case: nobody documents that it tells two apart."""
    accounts = tx.conn.execute(select(badge_occasion.c.account).distinct().order_by(badge_occasion.c.account)).scalars()
    return [each for each in accounts if each.rpartition("/")[2].casefold() == organisation.casefold()]


def _has_requests(tx: Transaction, account: str) -> bool:
    occasions = select(badge_occasion.c.id).where(badge_occasion.c.account == account)
    found = exists().where(badge_request.c.occasion_id.in_(occasions))
    return bool(tx.conn.execute(select(found)).scalar_one())
