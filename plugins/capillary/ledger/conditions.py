"""Conditions on a request that several questions of the ledger share. Each meaning stands here once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, Exists, exists, true

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_request, badge_run, badge_sighting
from capillary.ledger.status import RequestStatus

#: How long a request that was sent more than once is looked for after it was settled: a twin may come late.
LATE_TWIN: Final = timedelta(days=7)


def is_open() -> ColumnElement[bool]:
    """Return the condition for requests that are not settled."""
    return badge_request.c.status != RequestStatus.SETTLED


def is_seen() -> Exists:
    """Return the condition for requests that were seen on the platform."""
    return exists().where(badge_sighting.c.request_id == badge_request.c.id)


def has_undecided() -> Exists:
    """Return the condition for requests of which the platform has not decided a sighting."""
    return is_seen().where(badge_sighting.c.terminal_seen_at.is_(None))


def is_decided() -> ColumnElement[bool]:
    """Return the condition for requests that wait in the ledger alone: a twin that still waits holds them up."""
    return (badge_request.c.status == RequestStatus.WAITING) & ~has_undecided()


def is_watched(tx: Transaction) -> ColumnElement[bool]:
    """Return the condition for requests that a reading of the list must reach back to."""
    late = (badge_request.c.resends > 0) & (badge_request.c.settled_at > tx.now - LATE_TWIN)
    return badge_request.c.status.in_((RequestStatus.SENDING, RequestStatus.WAITING)) | late


def waits_for_long(tx: Transaction) -> ColumnElement[bool]:
    """Return the condition for requests that their human leaves waiting, after any twin of theirs has shown."""
    return (badge_request.c.status == RequestStatus.WAITING) & (badge_request.c.last_sent_at < tx.now - LATE_TWIN)


def planned_by(dag_ids: Collection[str] | None) -> ColumnElement[bool]:
    """Return the condition for plans of these DAGs; None: of all."""
    return true() if dag_ids is None else badge_run.c.dag_id.in_(sorted(dag_ids))
