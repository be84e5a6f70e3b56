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

from capillary.ledger.check import faults
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.reports import funnel
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.status import Outcome, RequestStatus
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from tests.fire.campaigns import Warehouse


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
    books = _json(stack, "/_sandbox/requests")
    ours = [record for record in books if customers.intersection(record["customers"])]
    # Whatever became of the requests: nobody asks here for a customer to be tried again.
    held = Counter(customer for record in ours for customer in record["customers"])
    issued = {
        int(customer): issuals
        for customer, issuals in _json(stack, f"/_sandbox/enrolments/{GOLD_CIRCLE.badge_id}").items()
        if int(customer) in customers
    }
    twice = {customer for customer, times in held.items() if times > 1}
    twice |= {customer for customer, issuals in issued.items() if len(issuals) > 1}
    with stack.ledger.read() as tx:
        latest = {
            row.customer_id: row.outcome
            for row in tx.conn.execute(
                select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome).order_by(badge_enrolment.c.attempt)
            )
            if row.customer_id in customers
        }
        seen = set(tx.conn.execute(select(badge_sighting.c.platform_request_id)).scalars())
        sent_again = tx.conn.execute(
            select(func.count()).select_from(badge_request).where(badge_request.c.resends > 0)
        ).scalar_one()
        runs = tx.conn.execute(select(badge_run.c.id, badge_run.c.dag_id, badge_run.c.run_id)).all()
        unbalanced = [
            f"{run.dag_id} {run.run_id}"
            for run in runs
            if (campaigns is None or run.dag_id in campaigns) and not funnel(tx, run.id).balances()
        ]
        unsettled = _unsettled(tx, campaigns)
        broken = faults(tx)
    lost = {customer for customer in customers if latest.get(customer) is None}
    enrolled = {customer for customer, outcome in latest.items() if outcome == Outcome.ENROLLED}
    keys = Counter(record["request_key"] for record in ours)
    unknown = {record["platform_request_id"] for record in ours} - seen
    strangers = held.keys() - customers
    checks: tuple[tuple[object, str], ...] = (
        (twice, f"I1: {len(twice)} customers are in two requests, or enrolled twice"),
        (len(ours) - len(keys), f"I1: {len(ours) - len(keys)} requests stand on the platform under a used key"),
        (strangers, f"I1: {len(strangers)} customers were sent whom nobody asked for"),
        (lost, f"I2: {len(lost)} customers have no outcome"),
        (unbalanced, f"I2: the funnel does not add up for {', '.join(unbalanced)}"),
        (broken, f"I2: the ledger breaks {len(broken)} of its own rules: {'; '.join(broken[:3])}"),
        (enrolled - issued.keys(), f"I3: {len(enrolled - issued.keys())} customers are enrolled by the ledger alone"),
        (issued.keys() - enrolled, f"I3: {len(issued.keys() - enrolled)} customers are enrolled by the platform alone"),
        (unknown, f"I3: {len(unknown)} requests on the platform are unknown to the ledger"),
        (_json(stack, "/_sandbox/calls").get(Route.DECIDE, 0), "I6: the approve endpoint was called"),
        (unsettled, f"I8: {unsettled} requests are not settled"),
    )
    return Judgement(
        customers=len(customers),
        requests=len(ours),
        doubled=len(twice),
        lost=len(lost),
        outcomes=Counter(outcome or "open" for outcome in latest.values()),
        sent_again=sent_again,
        broken=tuple(sentence for holds_not, sentence in checks if holds_not),
    )


def open_requests(stack: Judged, campaigns: Collection[str] | None = None) -> int:
    """How many requests are not settled."""
    with stack.ledger.read() as tx:
        return _unsettled(tx, campaigns)


def _unsettled(tx: Transaction, campaigns: Collection[str] | None) -> int:
    statement = (
        select(func.count())
        .select_from(badge_request)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(badge_request.c.status != RequestStatus.SETTLED)
    )
    if campaigns is not None:
        statement = statement.where(badge_run.c.dag_id.in_(campaigns))
    return int(tx.conn.execute(statement).scalar_one())


def unplanned(stack: Judged) -> set[str]:
    """The campaigns with customers who are in no request."""
    with stack.ledger.read() as tx:
        known = set(tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars())
    return {campaign for customer, campaign in stack.warehouse.customers().items() if customer not in known}


def _json(stack: Judged, path: str) -> Any:  # noqa: ANN401 - a document of the sandbox's own
    reply = stack.sandbox.get(path)
    reply.raise_for_status()
    return reply.json()
