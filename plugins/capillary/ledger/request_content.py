"""What a request was planned with: its key, its customers, and what its key was made from."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_enrolment, badge_occasion, badge_request, badge_spec
from capillary.ledger.spec import Spec
from capillary.ledger.status import RequestStatus


@dataclass(frozen=True, slots=True)
class Content:
    """What a request's key was made from, beside its customers."""

    key: str
    spec: Spec
    occasion: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that waits to be settled, and how many customers it was planned with."""

    key: str
    customers: int


def content_of(tx: Transaction, request_id: int) -> Content | None:
    """Return what a request's key was made from; None when it was given back in the meantime."""
    row = tx.conn.execute(
        select(badge_request.c.request_key, badge_spec.c.config, badge_occasion.c.occasion, badge_request.c.attempt)
        .join(badge_spec, badge_spec.c.id == badge_request.c.spec_id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_request.c.id == request_id)
    ).one_or_none()
    return None if row is None else Content(row.request_key, Spec.from_config(row.config), row.occasion, row.attempt)


def customers_of(tx: Transaction, request_id: int) -> tuple[int, ...]:
    """Return the customers of a request who have a row, upwards."""
    rows = tx.conn.execute(
        select(badge_enrolment.c.customer_id)
        .where(badge_enrolment.c.request_id == request_id)
        .order_by(badge_enrolment.c.customer_id)
    )
    return tuple(rows.scalars())


def badge_of(tx: Transaction, request_id: int, *, key: str) -> str | None:
    """Return the badge of a request; None where the request of this number has another key, or there is none."""
    found: str | None = tx.conn.execute(
        select(badge_occasion.c.badge_id)
        .join(badge_request, badge_request.c.occasion_id == badge_occasion.c.id)
        .where(badge_request.c.id == request_id, badge_request.c.request_key == key)
    ).scalar_one_or_none()
    return found


def waiting_request(tx: Transaction, request_id: int) -> WaitingRequest | None:
    """Return a request that waits to be settled; None where it does not wait, or there is none."""
    row = tx.conn.execute(
        select(badge_request.c.request_key, badge_request.c.customers).where(
            badge_request.c.id == request_id, badge_request.c.status == RequestStatus.WAITING
        )
    ).one_or_none()
    return None if row is None else WaitingRequest(row.request_key, row.customers)
