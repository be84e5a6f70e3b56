"""One customer taken out of the ledger, as the law may ask; the counts of their requests stay.

Whoever is erased is new to the next plan that finds them: take them out of the warehouse's query first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, and_, delete, select, update

from capillary.counted import counted
from capillary.errors import TerminalError
from capillary.ledger.database import Transaction
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.schema import badge_enrolment, badge_occasion, badge_request, badge_result
from capillary.ledger.status import RequestStatus


class ErasureRefused(TerminalError):
    """The customer cannot be erased as asked. Nothing was changed; the message says what to do first."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took away.

    Attributes:
        enrolments: rows of `badge_enrolment`; 0 where the ledger does not know the customer.
        occasions: on how many occasions.
    """

    enrolments: int
    occasions: int


def erase(tx: Transaction, customer_id: int, *, account: str | None = None) -> Erased:
    """Delete every row of a customer, and remember in the counts that so many rows are gone.

    Args:
        tx: the transaction.
        customer_id: the platform's id, as it was sent.
        account: whose customer it is; None where the ledger knows the id from at most one account.

    Raises:
        ErasureRefused: a request with the customer is not settled, or several accounts know the id and none was named.
    """
    occasions = _locked_occasions(tx, customer_id, account)
    theirs = and_(badge_enrolment.c.occasion_id.in_(occasions), badge_enrolment.c.customer_id == customer_id)
    _assert_settled(tx, theirs)
    # Read again, with the requests locked: one that was settled while we waited for it has other outcomes now.
    rows = tx.conn.execute(select(badge_enrolment).where(theirs)).all()
    for row in rows:
        _forget(tx, row)
    return Erased(enrolments=len(rows), occasions=len({row.occasion_id for row in rows}))


def _locked_occasions(tx: Transaction, customer_id: int, account: str | None) -> Sequence[int]:
    """Lock the occasions that know the customer, as a plan does: nobody plans the customer in the meantime."""
    here = select(badge_enrolment.c.occasion_id).where(
        badge_enrolment.c.occasion_id == badge_occasion.c.id, badge_enrolment.c.customer_id == customer_id
    )
    statement = (
        select(badge_occasion.c.id, badge_occasion.c.account)
        .where(here.exists(), *([] if account is None else [badge_occasion.c.account == account]))
        .order_by(badge_occasion.c.id)
        .with_for_update(key_share=True)
    )
    rows = tx.conn.execute(statement).all()
    accounts = sorted({row.account for row in rows})
    if len(accounts) > 1:
        raise ErasureRefused(
            f"{len(accounts)} accounts know this customer id, which may be {len(accounts)} persons: "
            f"{', '.join(accounts)}. Nothing was erased; name the account"
        )
    return [row.id for row in rows]


def _assert_settled(tx: Transaction, theirs: ColumnElement[bool]) -> None:
    """Lock the customer's requests, and refuse where one of them is not settled."""
    requests = tx.conn.execute(
        select(badge_request.c.status)
        .where(badge_request.c.id.in_(select(badge_enrolment.c.request_id).where(theirs)))
        .order_by(badge_request.c.id)
        .with_for_update()
    )
    unsettled = sum(status != RequestStatus.SETTLED for status in requests.scalars())
    if unsettled:
        raise ErasureRefused(
            f"the customer is in {counted(unsettled, 'request')} not settled, and their outcome must still be written "
            "down. Nothing was erased; try again when the checker has decided and the requests are settled"
        )


def _forget(tx: Transaction, row: Row[tuple[object, ...]]) -> None:
    gone = tx.conn.execute(
        delete(badge_enrolment).where(
            badge_enrolment.c.occasion_id == row.occasion_id,
            badge_enrolment.c.customer_id == row.customer_id,
            badge_enrolment.c.attempt == row.attempt,
        )
    ).rowcount
    taken_off = tx.conn.execute(
        update(badge_result)
        .where(
            badge_result.c.request_id == row.request_id,
            badge_result.c.outcome == row.outcome,
            badge_result.c.error_code.is_not_distinct_from(row.error_code),
            badge_result.c.without_row < badge_result.c.customers,
        )
        .values(without_row=badge_result.c.without_row + 1)
    ).rowcount
    if gone != 1 or taken_off != 1:
        raise LedgerBroken(
            f"request {row.request_id}: {counted(gone, 'row')} of the customer and {counted(taken_off, 'count')} of "
            "their outcome were found, one of each was expected; nothing was erased. Run: "
            "python -m capillary ledger check --deep"
        )
