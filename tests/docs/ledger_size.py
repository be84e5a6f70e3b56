"""Bytes that the ledger takes for one customer: planned, sent, seen and settled by the code itself.

    python tests/docs/ledger_size.py sqlite:////tmp/ledger_size.db 100000

Takes a new SQLite file or an empty PostgreSQL database, which it migrates and fills.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Final

from sqlalchemy import select, text

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.guards import Guards
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order, commit_plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Seen, claim, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_request, metadata
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import Spec
from capillary.ledger.staging import staging
from capillary.ledger.status import Outcome

BATCH: Final = 5_000
#: Ids of nine digits, as the platform's examples have them.
FIRST_CUSTOMER: Final = 500_000_000
SIZE: Final = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT " + " + ".join(f"pg_total_relation_size('{table}')" for table in metadata.tables),
}
ORDER: Final = Order(
    dag_id="size",
    run_id="run",
    task_id="extract",
    capillary_conn_id="capillary",
    campaign="size",
    occasion="size",
    spec=Spec("https://platform.example/1", "a" * 24, "Loyalty", "1", "1", "1", "1", "1", "https://platform.example"),
    canary=False,
    guards=Guards(max_requests=None, max_open_requests=None),
)


def bytes_per_customer(url: str, customers: int) -> float:
    """Fill the ledger at `url` with so many enrolled customers and return what each of them added."""
    with Ledger(url, new=True) as ledger:
        create(ledger.engine)
    with Ledger(url) as ledger:
        empty = _size(ledger)
        with staging() as stage:
            for first in range(1, customers + 1, BATCH):
                rows = range(first, min(first + BATCH, customers + 1))
                stage.add([(row, FIRST_CUSTOMER + 7 * row) for row in rows], [])
            plan = commit_plan(ledger, stage, ORDER)
        with ledger.read() as tx:
            requests = tx.conn.execute(select(badge_request.c.id)).scalars().all()
        for request_id in requests:
            with ledger.write() as tx:
                _send_and_settle(tx, request_id, plan.badge_run_id or 0)
        return (_size(ledger) - empty) / customers


def _send_and_settle(tx: Transaction, request_id: int, badge_run_id: int) -> None:
    claim(tx, request_id, badge_run_id=OpenPlan(badge_run_id), sender="0" * 16, doubt_after=timedelta(minutes=16))
    platform_request_id = f"{request_id:08x}-e71c-11f1-8f3e-325096b39f47"
    record_sighting(tx, request_id, Seen(platform_request_id, "approved", decided=True))
    customers = tx.conn.execute(
        select(badge_enrolment.c.customer_id).where(badge_enrolment.c.request_id == request_id)
    ).scalars()
    endings = {customer: Ending(Outcome.ENROLLED, issued_id=f"{customer:024x}") for customer in customers}
    if not settle(tx, request_id, sightings_read=[platform_request_id], endings=endings):
        raise RuntimeError(f"request {request_id} was not settled: give a new file or an empty database")


def _size(ledger: Ledger) -> int:
    with ledger.read() as tx:
        size: int = tx.conn.execute(text(SIZE[tx.conn.dialect.name])).scalar_one()
        return size


if __name__ == "__main__":
    many = int(sys.argv[2])
    sys.stdout.write(f"{many} customers, {bytes_per_customer(sys.argv[1], many):.0f} bytes each\n")
