"""What was seen of requests on the platform: as which requests, how many, and what the platform has decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, case, func, select

from capillary.ledger.conditions import is_decided
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import FACTS, Seen
from capillary.ledger.schema import badge_auto_approval, badge_occasion, badge_request, badge_sighting
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class Sighting:
    """One sighting of a request, as the ledger holds it.

    Attributes:
        platform_request_id: the outer ``requestId``.
        terminal_seen_at: when it was first seen decided; None while it is undecided.
        auto_approved: it was seen decided without a human's decision.
        seen_at: when it was first seen.
    """

    platform_request_id: str
    terminal_seen_at: datetime | None
    auto_approved: bool
    seen_at: datetime


def sightings_of(tx: Transaction, request_id: int) -> tuple[Sighting, ...]:
    """Return every sighting of a request."""
    columns = badge_sighting.c
    rows = tx.conn.execute(
        select(columns.platform_request_id, columns.terminal_seen_at, columns.auto_approved, columns.seen_at).where(
            columns.request_id == request_id
        )
    )
    return tuple(Sighting(*row) for row in rows)


def known_sightings(tx: Transaction, platform_request_ids: Iterable[str]) -> Mapping[str, Row[Any]]:
    """Return what the ledger holds of platform requests already, for `says_nothing_new`."""
    columns = badge_sighting.c
    rows = tx.conn.execute(
        select(
            columns.platform_request_id,
            columns.request_id,
            columns.state,
            columns.auto_approved,
            columns.human_decided,
            columns.checker_message,
            columns.terminal_seen_at,
            columns.maker_id,
            columns.start_time,
            columns.end_time,
            columns.failed_checks,
            badge_request.c.status,
            badge_auto_approval.c.id.label("number"),
        )
        .join(badge_request, badge_request.c.id == columns.request_id)
        .outerjoin(badge_auto_approval, badge_auto_approval.c.platform_request_id == columns.platform_request_id)
        .where(columns.platform_request_id.in_(list(platform_request_ids)))
    )
    return {row.platform_request_id: row for row in rows}


def says_nothing_new(seen: Seen, request_id: int, known: Row[Any] | None) -> bool:
    """Return whether `record_sighting` would leave everything as it is, beside what `known_sightings` returned."""
    if known is None or known.request_id != request_id or known.state != seen.state:
        return False
    if any(getattr(seen, fact) not in (None, getattr(known, fact)) for fact in FACTS):
        return False
    if not seen.decided:
        # One that was settled without it: the platform had said that it did not know it.
        return known.terminal_seen_at is not None or known.status != RequestStatus.SETTLED
    return (
        known.terminal_seen_at is not None
        # Where an older version has recorded it, it has no number yet.
        and (known.number is not None or not seen.auto_approved)
        and (known.human_decided or not seen.human_decided)
        and seen.checker_message in (None, known.checker_message)
    )


def request_seen_as(tx: Transaction, platform_request_id: str) -> int | None:
    """Return the request that was seen under a platform request id; None: nothing was."""
    found: int | None = tx.conn.execute(
        select(badge_sighting.c.request_id).where(badge_sighting.c.platform_request_id == platform_request_id)
    ).scalar_one_or_none()
    return found


def keys_seen(tx: Transaction, platform_request_ids: Collection[str]) -> dict[str, str]:
    """Return the keys of requests that were seen under these platform request ids."""
    if not platform_request_ids:
        return {}
    found = tx.conn.execute(
        select(badge_sighting.c.platform_request_id, badge_request.c.request_key)
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .where(badge_sighting.c.platform_request_id.in_(platform_request_ids))
    )
    return {row.platform_request_id: row.request_key for row in found}


def decided_requests(tx: Transaction, badge_run_id: OpenPlan) -> tuple[int, ...]:
    """Return the run's requests that wait in the ledger though the platform has decided all their sightings."""
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .where(badge_request.c.badge_run_id == badge_run_id, is_decided())
        .order_by(badge_request.c.ordinal)
    )
    return tuple(rows.scalars())


def decided_among(tx: Transaction, request_ids: Collection[int]) -> tuple[int, ...]:
    """Return those of the requests that wait in the ledger though the platform has decided all their sightings."""
    rows = tx.conn.execute(
        select(badge_request.c.id).where(badge_request.c.id.in_(request_ids), is_decided()).order_by(badge_request.c.id)
    )
    return tuple(rows.scalars())


def decided_beside(tx: Transaction, platform_request_ids: Collection[str]) -> tuple[int, ...]:
    """Return the waiting requests of sightings that have another sighting which the platform has decided."""
    other = badge_sighting.alias()
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .distinct()
        .join(badge_sighting, badge_sighting.c.request_id == badge_request.c.id)
        .join(other, other.c.request_id == badge_request.c.id)
        .where(
            badge_request.c.status == RequestStatus.WAITING,
            badge_sighting.c.platform_request_id.in_(platform_request_ids),
            badge_sighting.c.terminal_seen_at.is_(None),
            other.c.terminal_seen_at.is_not(None),
        )
        .order_by(badge_request.c.id)
    )
    return tuple(rows.scalars())


def last_seen_at(tx: Transaction, badge_run_id: OpenPlan) -> datetime | None:
    """Return when a request of the run was last seen for the first time; None: none was seen."""
    found: datetime | None = tx.conn.execute(
        select(func.max(badge_sighting.c.seen_at))
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .where(badge_request.c.badge_run_id == badge_run_id)
    ).scalar_one()
    return found


def seen_of_sender(
    tx: Transaction, account: str, sender: str, *, sent_since: datetime, seen_before: datetime
) -> set[str]:
    """Return the platform request ids of what one credential user sent since a moment, in whatever state.

    Args:
        tx: the transaction.
        account: the account.
        sender: fingerprint of the credential user.
        sent_since: the earliest first send.
        seen_before: they were first seen before this.
    """
    rows = tx.conn.execute(
        select(badge_sighting.c.platform_request_id)
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(
            badge_occasion.c.account == account,
            badge_request.c.sender == sender,
            badge_request.c.tries > 0,
            badge_request.c.first_sent_at >= sent_since,
            badge_sighting.c.seen_at < seen_before,
        )
    )
    return set(rows.scalars())


def undecided_sightings(tx: Transaction, account: str, *, seen_before: datetime) -> list[tuple[str, datetime | None]]:
    """Return the account's undecided platform request ids that were first seen before a moment.

    Each with the first send of its request; None where this ledger has found it and not sent it.
    """
    rows = tx.conn.execute(
        select(badge_sighting.c.platform_request_id, case((badge_request.c.tries > 0, badge_request.c.first_sent_at)))
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(
            badge_occasion.c.account == account,
            badge_request.c.status == RequestStatus.WAITING,
            badge_sighting.c.terminal_seen_at.is_(None),
            badge_sighting.c.seen_at < seen_before,
        )
    )
    return [(row[0], row[1]) for row in rows]
