"""The platform's books against the ledger's when nothing is under way. Customers are counted, never named.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select

from capillary.ledger.check import faults
from capillary.ledger.database import Transaction
from capillary.ledger.reports import funnel
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.status import Outcome, RequestStatus
from tests.laboratory.rules import broken


class OnPlatform(NamedTuple):
    """One request of ours on the platform."""

    platform_request_id: str
    request_key: str | None
    customers: Collection[int]


@dataclass(frozen=True, slots=True)
class PlatformBooks:
    """What the platform says.

    Attributes:
        requests: of ours.
        holding: those of them of which a customer may be in one: by the judge, all or those that live.
        enrolled: customer → how often.
        approve_calls: calls of the approve endpoint.
    """

    requests: Sequence[OnPlatform]
    holding: Sequence[OnPlatform]
    enrolled: Mapping[int, int]
    approve_calls: int


@dataclass(frozen=True, slots=True)
class LedgerBooks:
    """What the ledger says.

    Attributes:
        outcomes: customer → outcome of the last attempt.
        enrolled: customers, in whatever attempt.
        seen: platform request ids.
        unbalanced: runs whose funnel does not add up.
        unsettled: requests.
        faults: what its own check finds.
    """

    outcomes: Mapping[int, str | None]
    enrolled: AbstractSet[int]
    seen: AbstractSet[str]
    unbalanced: Sequence[str]
    unsettled: int
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What does not agree.

    Attributes:
        twice: customers in two requests, or enrolled twice.
        lost: customers without an outcome.
        broken: every broken promise in a sentence; none is the only good answer.
    """

    twice: AbstractSet[int]
    lost: AbstractSet[int]
    broken: tuple[str, ...]


def ledger_books(tx: Transaction, dag_ids: Collection[str] | None = None) -> LedgerBooks:
    """Read the ledger; runs and requests of these DAGs alone, None: of all."""
    enrolments = tx.conn.execute(
        select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome).order_by(badge_enrolment.c.attempt)
    ).all()
    runs = tx.conn.execute(select(badge_run.c.id, badge_run.c.dag_id, badge_run.c.run_id)).all()
    return LedgerBooks(
        outcomes={row.customer_id: row.outcome for row in enrolments},
        enrolled={row.customer_id for row in enrolments if row.outcome == Outcome.ENROLLED},
        seen=set(tx.conn.execute(select(badge_sighting.c.platform_request_id)).scalars()),
        unbalanced=[
            f"{run.dag_id} {run.run_id}"
            for run in runs
            if (dag_ids is None or run.dag_id in dag_ids) and not funnel(tx, run.id).balances()
        ],
        unsettled=unsettled(tx, dag_ids),
        faults=faults(tx),
    )


def unsettled(tx: Transaction, dag_ids: Collection[str] | None = None) -> int:
    """Return how many requests of these DAGs are not settled; None: of all."""
    statement = (
        select(func.count())
        .select_from(badge_request)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(badge_request.c.status != RequestStatus.SETTLED)
    )
    if dag_ids is not None:
        statement = statement.where(badge_run.c.dag_id.in_(dag_ids))
    return int(tx.conn.execute(statement).scalar_one())


def compare(
    customers: AbstractSet[int], platform: PlatformBooks, ledger: LedgerBooks, *, twins: bool = False
) -> Comparison:
    """Compare both books with who was to get the badge.

    Args:
        customers: who was to get it.
        platform: its books, the truth.
        ledger: with everything decided and settled.
        twins: several requests of one key are allowed, since the timing assumption was broken.
    """
    held = Counter(customer for request in platform.holding for customer in request.customers)
    repeated = [key for key, times in Counter(each.request_key for each in platform.requests).items() if times > 1]
    issued = {customer for customer in platform.enrolled if customer in customers}
    enrolled = ledger.enrolled & customers
    twice = {customer for customer, times in (*held.items(), *platform.enrolled.items()) if times > 1}
    lost = {customer for customer in customers if ledger.outcomes.get(customer) is None}
    strangers = held.keys() - customers
    unknown = {each.platform_request_id for each in platform.requests} - ledger.seen
    checks = (
        (twice, broken("I1", f"{len(twice)} customers are in two requests, or enrolled twice")),
        (repeated and not twins, broken("I1", f"{len(repeated)} keys stand on the platform more than once")),
        (strangers, broken("I1", f"{len(strangers)} customers were sent whom nobody asked for")),
        (lost, broken("I2", f"{len(lost)} customers have no outcome")),
        (ledger.unbalanced, broken("I2", f"the funnel does not add up for {', '.join(ledger.unbalanced)}")),
        (
            ledger.faults,
            broken("I2", f"the ledger breaks {len(ledger.faults)} of its own rules: {'; '.join(ledger.faults[:3])}"),
        ),
        (enrolled - issued, broken("I3", f"{len(enrolled - issued)} customers are enrolled by the ledger alone")),
        (issued - enrolled, broken("I3", f"{len(issued - enrolled)} customers are enrolled by the platform alone")),
        (unknown, broken("I3", f"{len(unknown)} requests on the platform are unknown to the ledger")),
        (platform.approve_calls, broken("I6", f"the approve endpoint was called {platform.approve_calls} times")),
        (ledger.unsettled, broken("I8", f"{ledger.unsettled} requests are not settled")),
    )
    return Comparison(twice, lost, tuple(sentence for holds_not, sentence in checks if holds_not))
