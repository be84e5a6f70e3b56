"""Which request of the ledger something on the platform is, or could be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select

from capillary.ledger.conditions import is_seen
from capillary.ledger.database import Transaction
from capillary.ledger.request_content import Content
from capillary.ledger.schema import badge_enrolment, badge_occasion, badge_request, badge_sighting, badge_spec
from capillary.ledger.spec import Spec
from capillary.ledger.status import HAS_BADGE, RequestStatus

#: A number from here on is not a customer's, and some databases cannot compare with it.
_CUSTOMERS_BEFORE: Final = 2**63
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Holder:
    """The ledger's request of a key, and the account that it belongs to."""

    key: str
    request_id: int
    account: str


def holders(tx: Transaction, keys: Iterable[str]) -> dict[str, Holder]:
    """Return what the ledger holds of request keys, whatever the account.

    A key is known on its own account alone: the list of another one shows it when the ledger takes one platform for
    two, and then nothing may be sent. Reading and import both ask here.
    """
    found = tx.conn.execute(
        select(badge_request.c.request_key, badge_request.c.id, badge_occasion.c.account)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_request.c.request_key.in_(list(keys)))
    )
    return {row.request_key: Holder(row.request_key, row.id, row.account) for row in found}


def in_doubt_or_of(tx: Transaction, account: str, customers: Iterable[int]) -> list[Holder]:
    """Return the account's requests that are in doubt, or that hold one of these customers."""
    of_account = select(badge_occasion.c.id).where(badge_occasion.c.account == account)
    of_customers = (
        select(badge_enrolment.c.request_id)
        .where(
            badge_enrolment.c.occasion_id.in_(of_account),
            badge_enrolment.c.customer_id.in_({each for each in customers if 0 < each < _CUSTOMERS_BEFORE}),
        )
        .distinct()
    )
    found = tx.conn.execute(
        select(badge_request.c.request_key, badge_request.c.id).where(
            badge_request.c.occasion_id.in_(of_account),
            or_(badge_request.c.status == RequestStatus.SENDING, badge_request.c.id.in_(of_customers)),
        )
    )
    return [Holder(row.request_key, row.id, account) for row in found]


def is_held(tx: Transaction, name: str) -> bool:
    """Return whether a request of any account has this key, or was seen under this platform request id."""
    found = tx.conn.execute(
        select(badge_request.c.id)
        .outerjoin(badge_sighting, badge_sighting.c.request_id == badge_request.c.id)
        .where(or_(badge_request.c.request_key == name, badge_sighting.c.platform_request_id == name))
    ).first()
    return found is not None


def unseen_of_customers(
    tx: Transaction, account: str, badge_id: str | None, customers: Sequence[int]
) -> list[tuple[int, Content]]:
    """Return the account's requests for a badge that were never seen, with the first of these customers and as many."""
    found = tx.conn.execute(
        select(badge_request.c.id, badge_request.c.request_key, badge_request.c.attempt, badge_spec.c.config)
        .add_columns(badge_occasion.c.occasion)
        .join(badge_spec, badge_spec.c.id == badge_request.c.spec_id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .join(badge_enrolment, badge_enrolment.c.request_id == badge_request.c.id)
        .where(
            badge_occasion.c.account == account,
            badge_occasion.c.badge_id == badge_id,
            badge_enrolment.c.customer_id == customers[0],
            badge_request.c.customers == len(customers),
            ~is_seen(),
        )
    )
    return [
        (row.id, Content(row.request_key, Spec.from_config(row.config), row.occasion, row.attempt)) for row in found
    ]


def holds_without_badge(tx: Transaction, account: str, badge_id: str | None, customers: Sequence[int]) -> bool:
    """Return whether the account holds one of these customers who is not known to have the badge; None: any badge."""
    of_badge = select(badge_occasion.c.id).where(badge_occasion.c.account == account)
    if badge_id is not None:
        of_badge = of_badge.where(badge_occasion.c.badge_id == badge_id)
    outcome = badge_enrolment.c.outcome
    for start in range(0, len(customers), _CHUNK):
        open_ones = select(badge_enrolment.c.customer_id).where(
            badge_enrolment.c.occasion_id.in_(of_badge),
            badge_enrolment.c.customer_id.in_(customers[start : start + _CHUNK]),
            outcome.is_(None) | outcome.not_in(HAS_BADGE),
        )
        if tx.conn.execute(open_ones.limit(1)).first() is not None:
            return True
    return False
