"""Attempts that a later one followed: of the same customer on the same occasion, with the next number."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, select

from capillary.ledger.schema import badge_enrolment, badge_request

#: The request of the later attempt; the attempt that it followed, and that one's request.
REQUEST_AGAIN: Final = badge_request.alias("request_again")
BEFORE: Final = badge_enrolment.alias("before")
REQUEST_BEFORE: Final = badge_request.alias("request_before")
_AGAIN: Final = badge_enrolment.alias("again")


def count_retried(*of: ColumnElement[Any]) -> Select[Any]:
    """Return the query that counts such attempts as `customers`, by these columns of the aliases above."""
    return (
        select(*of, func.count().label("customers"))
        .select_from(REQUEST_AGAIN)
        .join(_AGAIN, _AGAIN.c.request_id == REQUEST_AGAIN.c.id)
        .join(
            BEFORE,
            (BEFORE.c.occasion_id == _AGAIN.c.occasion_id)
            & (BEFORE.c.customer_id == _AGAIN.c.customer_id)
            & (BEFORE.c.attempt == _AGAIN.c.attempt - 1),
        )
        .join(REQUEST_BEFORE, REQUEST_BEFORE.c.id == BEFORE.c.request_id)
        .where(REQUEST_AGAIN.c.attempt > 1)
        .group_by(*of)
    )
