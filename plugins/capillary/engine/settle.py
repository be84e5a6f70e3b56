"""waiting → settled: what the platform answered becomes an outcome for every customer.

A request seen once is settled from the very row of the list that showed it decided. One seen several times
(twins under one key) is settled from single reads of all its sightings, folded by strength.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy import exists, select

from capillary.api.client import Client
from capillary.api.request_workflow import WorkflowRequest, is_decided
from capillary.engine.outcomes import Reading, fold, read_outcomes
from capillary.engine.runtime import Runtime
from capillary.engine.single_read import read_singly
from capillary.ledger import settle as ledger_settle
from capillary.ledger.counts import customers_without_row
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import RequestStatus, badge_enrolment, badge_request, badge_sighting

#: How long a decided request without any output may stay waiting for it.
OUTPUT_PATIENCE: Final = timedelta(minutes=15)

_LOG: Final = logging.getLogger("capillary.settle")


def settle_rows(ledger: Ledger, rows: Mapping[int, WorkflowRequest]) -> int:
    """Settle requests from rows of the list, by the ledger's id; return how many were settled.

    Rows that are undecided, already settled, or one of several sightings are left as they are.
    """
    decided = {request_id: row for request_id, row in rows.items() if is_decided(row.state)}
    if not decided:
        return 0
    with ledger.read() as tx:  # most of a list was settled long ago, and needs no transaction each
        waiting = set(
            tx.conn.execute(
                select(badge_request.c.id).where(
                    badge_request.c.id.in_(decided), badge_request.c.status == RequestStatus.WAITING
                )
            ).scalars()
        )
    return sum(_settle(ledger, request_id, [row]) for request_id, row in decided.items() if request_id in waiting)


async def settle_by_reading(ledger: Ledger, client: Client, runtime: Runtime, request_ids: Iterable[int]) -> int:
    """Read every sighting of the given requests and settle those that are decided; return how many.

    A request of which the platform refuses to show a sighting stays as it is.
    """
    settled = 0
    for request_id in request_ids:
        sightings = await runtime.ledger_call(lambda r=request_id: _sightings(ledger, r))  # type: ignore[misc]
        rows = [await read_singly(client, platform_request_id) for platform_request_id in sightings]
        known = [row for row in rows if row is not None]
        if known and len(known) == len(sightings) and all(is_decided(row.state) for row in known):
            settled += await runtime.ledger_call(lambda r=request_id, k=known: _settle(ledger, r, k))  # type: ignore[misc]
    return settled


def decided_requests(tx: Transaction, badge_run_id: OpenPlan) -> tuple[int, ...]:
    """Return the run's requests that wait in the ledger though the platform has decided all their sightings."""
    undecided = exists().where(
        badge_sighting.c.request_id == badge_request.c.id, badge_sighting.c.terminal_seen_at.is_(None)
    )
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .where(
            badge_request.c.badge_run_id == badge_run_id,
            badge_request.c.status == RequestStatus.WAITING,
            ~undecided,
        )
        .order_by(badge_request.c.ordinal)
    )
    return tuple(rows.scalars())


def _settle(ledger: Ledger, request_id: int, rows: list[WorkflowRequest]) -> bool:
    with ledger.write() as tx:
        request = tx.conn.execute(
            select(badge_request.c.key, badge_request.c.status, badge_request.c.customers).where(
                badge_request.c.id == request_id
            )
        ).one_or_none()
        if request is None or request.status != RequestStatus.WAITING:
            return False
        sightings = tx.conn.execute(
            select(badge_sighting.c.platform_request_id, badge_sighting.c.terminal_seen_at).where(
                badge_sighting.c.request_id == request_id
            )
        ).all()
        # The platform's ids also tell whether the number is still that of the request whose rows these are.
        if {row.platform_request_id for row in rows} != {sighting.platform_request_id for sighting in sightings}:
            return False
        decided_at = [sighting.terminal_seen_at for sighting in sightings]
        if None in decided_at:
            return False
        patient = tx.now - max(decided_at) < OUTPUT_PATIENCE
        customers = tuple(
            tx.conn.execute(
                select(badge_enrolment.c.customer_id).where(badge_enrolment.c.request_id == request_id)
            ).scalars()
        )
        if request.customers > len(customers):
            if not customers:
                _LOG.error(
                    "request %s was seen again, and every customer of it was erased or stands in another request; "
                    "nothing is settled. Look at it on the checker's page; if it still waits there, have it rejected",
                    request.key,
                )
                return False
            rows = [_without(row, customers, customers_without_row(tx, request_id)) for row in rows]
        readings = [read_outcomes(row, customers, give_up=not patient) for row in rows]
        if _alarmed(request.key, readings) or any(reading.incomplete for reading in readings):
            return False
        return ledger_settle.settle(
            tx,
            request_id,
            sightings_read=[row.platform_request_id for row in rows],
            endings=fold([reading.by_customer for reading in readings]),
        )


def _without(row: WorkflowRequest, customers: Sequence[int], erased: int) -> WorkflowRequest:
    """Return a row without the customers who were erased, where it shows exactly so many besides those left."""
    shown = set(row.customers or ())
    if len(shown - set(customers)) != erased or not shown.issuperset(customers):
        return row
    return replace(row, customers=tuple(customers))


def _alarmed(key: str, readings: list[Reading]) -> bool:
    if not any(reading.echo_differs for reading in readings):
        return False
    _LOG.error(
        "request %s: the platform shows other customers under this key than the ledger holds; nothing is settled. "
        "Compare the request on the checker's page with the ledger",
        key,
    )
    return True


def _sightings(ledger: Ledger, request_id: int) -> tuple[str, ...]:
    with ledger.read() as tx:
        return tuple(
            tx.conn.execute(
                select(badge_sighting.c.platform_request_id).where(badge_sighting.c.request_id == request_id)
            ).scalars()
        )
