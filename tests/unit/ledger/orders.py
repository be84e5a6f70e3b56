"""Builders of the ledger's tests: an order, staged rows, a planned and sent request, and looks at the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Row, func, select

from capillary.ledger.database import Ledger
from capillary.ledger.guards import Guards
from capillary.ledger.plan import Order, Plan, commit_plan, customers_to_read
from capillary.ledger.plan_id import PlanId
from capillary.ledger.request_rows import Claim, ConfirmedAbsence, Seen, claim, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, metadata
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import Spec
from capillary.ledger.staging import InvalidRow, staging
from capillary.ledger.status import Outcome

SPEC: Final = Spec(
    account="platform.example/100",
    badge_id="65f0a1b2c3d4e5f601234567",
    owner_type="LOYALTY",
    reference_id="7",
    till_id="till-1",
    store_id="store-1",
    zone_id="zone-1",
    concept_id="concept-1",
    hostname="https://inner.example",
)
NO_GUARDS: Final = Guards(max_jump=None, max_invalid_share=None, max_requests=None, max_open_requests=None)
ORDER: Final = Order(
    dag_id="spring",
    run_id="first",
    task_id="extract",
    capillary_conn_id="capillary_default",
    campaign="spring",
    occasion="Spring 2026",
    spec=SPEC,
    customers_per_request=3,
    canary=False,
    guards=NO_GUARDS,
)
DOUBT: Final = timedelta(seconds=60)


def run(run_id: str, **changes: object) -> Order:
    """Return the order of another run."""
    return replace(ORDER, run_id=run_id, **changes)  # type: ignore[arg-type]


def plan(
    ledger: Ledger,
    customers: Iterable[int],
    order: Order = ORDER,
    *,
    invalid: int = 0,
    cleared: Sequence[int] = (),
    dry_run: bool = False,
) -> Plan:
    """Stage the customers in the order given, then the invalid rows, and commit the plan."""
    rows = list(enumerate(customers, start=1))
    bad = [InvalidRow(len(rows) + n, "not a number", "aaa") for n in range(1, invalid + 1)]
    with staging() as staged:
        staged.add(rows, bad)
        latest = customers_to_read(ledger, staged, order)
        staged.clear((customer, latest[customer].attempt) for customer in cleared if customer in latest)
        return commit_plan(ledger, staged, order, dry_run=dry_run)


def plan_id(ledger: Ledger, badge_run_id: int | None) -> PlanId:
    """Return what a task would hold of a plan that the ledger has now; of one it has not, a token of nobody."""
    with ledger.read() as tx:
        token = tx.conn.execute(select(badge_run.c.token).where(badge_run.c.id == badge_run_id)).scalar_one_or_none()
    return PlanId(badge_run_id or 0, token or "no such plan")


def absence(ledger: Ledger, request_id: int, begun: datetime, *, tries: int | None = None) -> ConfirmedAbsence:
    """Return the evidence, from a reading begun then, that a request's last (or that) try is not on the platform."""
    row = request(ledger, request_id)
    return ConfirmedAbsence(request_id, row.request_key, row.tries if tries is None else tries, begun)


def snapshot(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    with ledger.read() as tx:
        return {
            name: sorted((tuple(row) for row in tx.conn.execute(select(table))), key=repr)
            for name, table in metadata.tables.items()
        }


def is_empty(ledger: Ledger) -> bool:
    """Tell whether no table holds a row."""
    return not any(snapshot(ledger).values())


def requests_of(ledger: Ledger, plan: Plan) -> list[Row[tuple[object, ...]]]:
    """Return the plan's requests in their order."""
    with ledger.read() as tx:
        return list(
            tx.conn.execute(
                select(badge_request)
                .where(badge_request.c.badge_run_id == plan.badge_run_id)
                .order_by(badge_request.c.ordinal)
            ).all()
        )


def request(ledger: Ledger, request_id: int) -> Row[tuple[object, ...]]:
    """Return one request's row."""
    with ledger.read() as tx:
        return tx.conn.execute(select(badge_request).where(badge_request.c.id == request_id)).one()


def customers_of(ledger: Ledger, request_id: int) -> list[int]:
    """Return a request's customers as they are sent."""
    with ledger.read() as tx:
        return list(
            tx.conn.execute(
                select(badge_enrolment.c.customer_id)
                .where(badge_enrolment.c.request_id == request_id)
                .order_by(badge_enrolment.c.customer_id)
            ).scalars()
        )


def outcomes(ledger: Ledger, request_id: int) -> dict[int, str | None]:
    """Return the outcome of each customer of a request."""
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome).where(
                badge_enrolment.c.request_id == request_id
            )
        )
        return {row.customer_id: row.outcome for row in rows}


def endings(ledger: Ledger, request_id: int) -> dict[int, tuple[str | None, int | None]]:
    """Return the outcome and the error code of each customer of a request."""
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome, badge_enrolment.c.error_code).where(
                badge_enrolment.c.request_id == request_id
            )
        )
        return {row.customer_id: (row.outcome, row.error_code) for row in rows}


def open_twice(ledger: Ledger) -> int:
    """Return how many customers have more than one enrolment of an occasion."""
    with ledger.read() as tx:
        return len(
            tx.conn.execute(
                select(badge_enrolment.c.customer_id)
                .group_by(badge_enrolment.c.occasion_id, badge_enrolment.c.customer_id)
                .having(func.count() > 1)
            ).all()
        )


def send(ledger: Ledger, request_id: int) -> Claim:
    """Claim a request on behalf of the run that owns it."""
    owner = request(ledger, request_id).badge_run_id
    with ledger.write() as tx:
        held = claim(tx, request_id, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
    assert held is not None
    return held


def see(ledger: Ledger, request_id: int, name: str = "p-1", *, decided: bool = True, auto: bool = False) -> bool:
    """Record a sighting; return whether it is new."""
    state = "approved" if decided else "AdminTask"
    with ledger.write() as tx:
        seen = Seen(name, state, decided=decided, auto_approved=auto, human_decided=decided and not auto)
        return record_sighting(tx, request_id, seen)


def settle_as(ledger: Ledger, request_id: int, outcome: Outcome, *, auto: bool = False) -> None:
    """Send a request, see it decided and settle all its customers alike."""
    send(ledger, request_id)
    name = f"p-{request_id}"
    see(ledger, request_id, name, auto=auto)
    endings = dict.fromkeys(customers_of(ledger, request_id), Ending(outcome))
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=[name], endings=endings)
