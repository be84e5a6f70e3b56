"""What must hold when it is quiet, judged by the sandbox's books. Customers are counted, never named.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from sqlalchemy import func, select

from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_enrolment, badge_request
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from tests.fire.campaigns import Warehouse
from tests.laboratory.both_books import OnPlatform, PlatformBooks, compare, ledger_books, unsettled


class Judged(Protocol):
    """What is looked at: `tests.fire.stack.Stack` has it."""

    @property
    def warehouse(self) -> Warehouse:
        """Who was to get the badge."""

    @property
    def ledger(self) -> Ledger:
        """What the product knows."""

    @property
    def sandbox(self) -> httpx.Client:
        """The platform's books."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The figures, and every broken promise in a sentence.

    Attributes:
        customers: in the warehouse.
        requests: on the platform's books.
        doubled: customers in two requests, or enrolled twice.
        lost: customers of the warehouse without an outcome.
        outcomes: customers by outcome, in the ledger.
        sent_again: requests that were sent again after their absence was confirmed.
        broken: sentences; none is the only good answer.
    """

    customers: int
    requests: int
    doubled: int
    lost: int
    outcomes: Mapping[str, int]
    sent_again: int
    broken: tuple[str, ...]


def judge(stack: Judged, campaigns: Collection[str] | None = None) -> Judgement:
    """Compare warehouse, ledger and books.

    Args:
        stack: in which nothing is under way.
        campaigns: whose customers are looked at; None for all.
    """
    customers = {
        customer for customer, of in stack.warehouse.customers().items() if campaigns is None or of in campaigns
    }
    ours = [
        OnPlatform(record["platform_request_id"], record["request_key"], record["customers"])
        for record in _json(stack, "/_sandbox/requests")
        if customers.intersection(record["customers"])
    ]
    platform = PlatformBooks(
        requests=ours,
        holding=ours,  # whatever became of them: nobody asks here for a customer to be tried again
        enrolled={
            int(customer): len(issuals)
            for customer, issuals in _json(stack, f"/_sandbox/enrolments/{GOLD_CIRCLE.badge_id}").items()
            if int(customer) in customers
        },
        approve_calls=_json(stack, "/_sandbox/calls").get(Route.DECIDE, 0),
    )
    with stack.ledger.read() as tx:
        ledger = ledger_books(tx, campaigns)
        sent_again = tx.conn.execute(
            select(func.count()).select_from(badge_request).where(badge_request.c.resends > 0)
        ).scalar_one()
    compared = compare(customers, platform, ledger)
    return Judgement(
        customers=len(customers),
        requests=len(ours),
        doubled=len(compared.twice),
        lost=len(compared.lost),
        outcomes=Counter(ledger.outcomes[customer] or "open" for customer in customers & ledger.outcomes.keys()),
        sent_again=sent_again,
        broken=compared.broken,
    )


def open_requests(stack: Judged, campaigns: Collection[str] | None = None) -> int:
    """How many requests are not settled."""
    with stack.ledger.read() as tx:
        return unsettled(tx, campaigns)


def unplanned(stack: Judged) -> set[str]:
    """The campaigns with customers who are in no request."""
    with stack.ledger.read() as tx:
        known = set(tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars())
    return {campaign for customer, campaign in stack.warehouse.customers().items() if customer not in known}


def _json(stack: Judged, path: str) -> Any:  # noqa: ANN401 - a document of the sandbox's own
    reply = stack.sandbox.get(path)
    reply.raise_for_status()
    return reply.json()
