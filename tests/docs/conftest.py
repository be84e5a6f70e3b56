"""A ledger on each of the two databases with something for every question of docs/ledger.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from sqlalchemy import select

from capillary.ledger import history, pace, scans, unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.guards import Guards
from capillary.ledger.plan import Order, commit_plan
from capillary.ledger.request_rows import Claim, Seen, claim, note_doubt, record_sighting
from capillary.ledger.schema import badge_request
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import Spec
from capillary.ledger.staging import InvalidRow, staging
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import (  # noqa: F401 - fixtures
    BACKENDS,
    EmptyDatabase,
    empty_database,
    migrated,
    postgresql_server,
)

ACCOUNT: Final = "platform.example/100"
RUN: Final = "manual__2026-11-23T09:00:00+00:00"
ORDER: Final = Order(
    dag_id="gold_tier",
    run_id=RUN,
    task_id="extract_eligible_customers",
    capillary_conn_id="capillary",
    campaign="gold_tier",
    occasion="gold_tier",
    spec=Spec(ACCOUNT, "a" * 24, "Loyalty", "42", "1", "2", "3", "4", "https://platform.example"),
    customers_per_request=2,
    canary=False,
    guards=Guards(max_invalid_share=None),
)
LATER: Final = replace(ORDER, run_id="later", retry=frozenset({Outcome.FAILED}))


@pytest.fixture(scope="session", params=BACKENDS)
def empty_ledger(request: pytest.FixtureRequest, empty_database: EmptyDatabase) -> Iterator[Ledger]:  # noqa: F811 - the fixture
    """A ledger as a migration leaves it."""
    with Ledger(migrated(empty_database(request.param))) as ledger:
        yield ledger


@pytest.fixture(scope="session", params=BACKENDS)
def busy_ledger(request: pytest.FixtureRequest, empty_database: EmptyDatabase) -> Iterator[Ledger]:  # noqa: F811 - the fixture
    """Six requests of two customers, each somewhere else; customer 4711 in the first, and once more."""
    with Ledger(migrated(empty_database(request.param))) as ledger:
        first, waiting, doubted, unattended, twins, _planned = plan(ledger, ORDER, range(4711, 4723), invalid=3)
        send(ledger, first)
        see(ledger, first, "p-first", decided=True, message="One of them is out of date.")
        endings = {4711: Ending(Outcome.FAILED, error_code=816), 4712: Ending(Outcome.ENROLLED, issued_id="i-4712")}
        with ledger.write() as tx:
            assert settle(tx, first, sightings_read=["p-first"], endings=endings)
        send(ledger, waiting)
        see(ledger, waiting, "p-waiting")
        held = send(ledger, doubted)
        with ledger.write() as tx:
            note_doubt(tx, held, reason="the connection was reset")
        send(ledger, unattended)
        see(ledger, unattended, "p-unattended", decided=True, auto_approved=True)
        send(ledger, twins)
        see(ledger, twins, "p-twin-1", decided=True)
        see(ledger, twins, "p-twin-2")
        (again,) = plan(ledger, LATER, [4711])
        send(ledger, again)
        see(ledger, again, "p-again")
        with ledger.write() as tx:
            assert scans.lease(tx, ACCOUNT, by="the trigger", older_than=timedelta(0))
            scans.distrust(tx, ACCOUNT)
            unknown_keys.note(tx, ACCOUNT, "0123456789abcdef", ["cb1.gold-tier.unknown"])
            history.begin(tx, ACCOUNT, "0123456789abcdef", today=tx.now.date())
            pace.take_slot(tx, ACCOUNT, calls_per_minute=100)
            pace.block(tx, ACCOUNT, seconds=3600)
        yield ledger


def plan(ledger: Ledger, order: Order, customers: range | list[int], *, invalid: int = 0) -> list[int]:
    """Plan the customers and return the ledger's ids of the requests, in order."""
    with staging() as stage:
        bad = [InvalidRow(len(customers) + n, "leading zeros", "9999") for n in range(1, invalid + 1)]
        stage.add(list(enumerate(customers, start=1)), bad)
        planned = commit_plan(ledger, stage, order)
    with ledger.read() as tx:
        return list(
            tx.conn.execute(
                select(badge_request.c.id)
                .where(badge_request.c.badge_run_id == planned.badge_run_id)
                .order_by(badge_request.c.ordinal)
            ).scalars()
        )


def send(ledger: Ledger, request_id: int) -> Claim:
    """Claim a request for the run that planned it."""
    with ledger.write() as tx:
        owner = tx.conn.execute(
            select(badge_request.c.badge_run_id).where(badge_request.c.id == request_id)
        ).scalar_one()
        held = claim(tx, request_id, badge_run_id=owner, sender="0" * 16, doubt_after=timedelta(minutes=16))
    assert held is not None
    return held


def see(
    ledger: Ledger,
    request_id: int,
    platform_request_id: str,
    *,
    decided: bool = False,
    auto_approved: bool = False,
    message: str | None = None,
) -> None:
    """Record a sighting: approved when decided, else at the checker's."""
    state = "approved" if decided else "AdminTask"
    with ledger.write() as tx:
        assert record_sighting(tx, request_id, Seen(platform_request_id, state, decided, auto_approved, message))
