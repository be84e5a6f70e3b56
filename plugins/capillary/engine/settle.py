"""waiting → settled: what the platform answered becomes an outcome for every customer.

A request seen once is settled from the very row of the list that showed it decided, if that leaves nobody unconfirmed:
a list may leave out or cut what a single read shows. Else, and where it was seen several times (twins under one key),
it is settled from single reads of all its sightings, folded by strength with what the list showed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from capillary.api.client import Client
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import WorkflowRequest, is_decided
from capillary.engine.outcomes import fold, read_outcomes
from capillary.engine.runtime import Runtime
from capillary.engine.sightings import seen_in
from capillary.engine.single_read import SingleReads
from capillary.ledger import settle as ledger_settle
from capillary.ledger.counts import customers_without_row
from capillary.ledger.database import Ledger
from capillary.ledger.request_content import customers_of, waiting_request
from capillary.ledger.request_rows import record_sighting
from capillary.ledger.settle import Ending
from capillary.ledger.sightings import decided_among, sightings_of
from capillary.ledger.status import Outcome

#: How long a decided request without any output may stay waiting for it.
OUTPUT_PATIENCE: Final = timedelta(minutes=15)
#: Most requests that one look settles by single reads.
SINGLE_READS: Final = 200
#: Nothing of the list to count beside single reads.
NOTHING_LISTED: Final[Mapping[int, WorkflowRequest]] = MappingProxyType({})

_LOG: Final = logging.getLogger("capillary.settle")


@dataclass(frozen=True, slots=True)
class FromRows:
    """What rows settled.

    Attributes:
        settled: requests.
        left: the rows, by the ledger's id, of requests that are decided and still wait: single reads may settle them.
    """

    settled: int
    left: Mapping[int, WorkflowRequest]


def settle_rows(ledger: Ledger, rows: Mapping[int, WorkflowRequest], *, read_singly: bool = False) -> FromRows:
    """Settle requests from rows, by the ledger's id, whose platform request is decided and the only one seen.

    Args:
        ledger: the ledger.
        rows: what the platform shows of requests.
        read_singly: they are single reads, which may leave customers unconfirmed; a row of the list may not.
    """
    decided = {request_id: row for request_id, row in rows.items() if is_decided(row.state)}
    if not decided:
        return FromRows(0, {})
    with ledger.read() as tx:  # most of a list was settled long ago, and needs no transaction each
        waiting = decided_among(tx, decided)
    settled = 0
    left: dict[int, WorkflowRequest] = {}
    for request_id in waiting:
        row = decided[request_id]
        if _settle(ledger, request_id, *(([row], []) if read_singly else ([], [row]))):
            settled += 1
        else:
            left[request_id] = row
    return FromRows(settled, left)


async def settle_by_reading(
    ledger: Ledger,
    client: Client,
    runtime: Runtime,
    request_ids: Iterable[int],
    *,
    listed: Mapping[int, WorkflowRequest] = NOTHING_LISTED,
) -> int:
    """Read every sighting of the given requests and settle those that are decided; return how many.

    A request of which the platform refuses to show a sighting stays as it is.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time and threads.
        request_ids: the ledger's ids.
        listed: rows of the list, by the ledger's id: what they say of customers counts beside the single reads.
    """
    settled = 0
    reads = SingleReads(client)
    for request_id in request_ids:
        sightings = await runtime.ledger_call(lambda r=request_id: _platform_request_ids(ledger, r))  # type: ignore[misc]
        rows = [await reads.shown(platform_request_id) for platform_request_id in sightings]
        known = [row for row in rows if row is not None]
        gone = reads.unknown.intersection(sightings)
        if known and len(known) + len(gone) == len(sightings) and all(is_decided(row.state) for row in known):
            of_list = [listed[request_id]] if request_id in listed else []
            settled += await runtime.ledger_call(
                lambda r=request_id, k=known, o=of_list, g=gone: _settle(ledger, r, k, o, gone=g)  # type: ignore[misc]
            )
    return settled


def _settle(
    ledger: Ledger,
    request_id: int,
    read: Sequence[WorkflowRequest],
    listed: Sequence[WorkflowRequest] = (),
    *,
    gone: AbstractSet[str] = frozenset(),
) -> bool:
    """Settle a request from single reads and rows of the list; rows of the list alone leave nobody unconfirmed.

    Beside what is `gone`, which the platform says it does not know, only an enrolment counts: nobody can tell what that
    one did.
    """
    shown_ids = {row.platform_request_id for row in read or listed}
    with ledger.write() as tx:
        request = waiting_request(tx, request_id)
        if request is None:
            return False
        sightings = sightings_of(tx, request_id)
        if any(tx.now - each.seen_at < OUTPUT_PATIENCE for each in sightings if each.platform_request_id in gone):
            return False
        sightings = tuple(each for each in sightings if each.platform_request_id not in gone)
        # The platform's ids also tell whether the number is still that of the request whose rows these are.
        decided_at = [each.terminal_seen_at for each in sightings if each.terminal_seen_at is not None]
        if shown_ids != {each.platform_request_id for each in sightings} or len(decided_at) < len(sightings):
            return False
        for row in read:  # what a row of the list left out of who decided
            record_sighting(tx, request_id, seen_in(row))
        patient = tx.now - max(decided_at) < OUTPUT_PATIENCE
        customers = customers_of(tx, request_id)
        if request.customers > len(customers):
            if not customers:
                _LOG.error(
                    "request %s was seen again, and every customer of it was erased or is in another request; "
                    "nothing is settled. Look at it on the checker's page; if it still waits there, have it rejected",
                    request.key,
                )
                return False
            erased = customers_without_row(tx, request_id)
            read, listed = (
                [_without(row, customers, erased) for row in read],
                [_without(row, customers, erased) for row in listed],
            )
        endings = _endings(request.key, customers, read, listed, patient=patient)
        if endings is None:
            return False
        if gone:
            _LOG.warning(
                "request %s is settled by the requests that carry its key; the platform does not know %s, which was "
                "recorded for it, too",
                request.key,
                ", ".join(map(on_one_line, sorted(gone))),
            )
            endings = fold([endings, dict.fromkeys(customers, Ending(Outcome.UNCONFIRMED))])
        return ledger_settle.settle(tx, request_id, sightings_read=shown_ids, endings=endings, not_there=gone)


def _endings(
    key: str,
    customers: Sequence[int],
    read: Sequence[WorkflowRequest],
    listed: Sequence[WorkflowRequest],
    *,
    patient: bool,
) -> Mapping[int, Ending] | None:
    """Return how every customer ended, or None while what is shown settles nothing."""
    readings = [read_outcomes(row, customers, give_up=not patient) for row in read]
    if any(reading.echo_differs for reading in readings) or any(_shows_others(row, customers) for row in listed):
        _alarm(key)
        return None
    if any(reading.incomplete for reading in readings):
        return None
    endings = fold([each.by_customer for each in (*readings, *(read_outcomes(row, customers) for row in listed))])
    return endings if read or _is_whole(endings, customers) else None


def _is_whole(endings: Mapping[int, Ending], customers: Sequence[int]) -> bool:
    """Return whether a row of the list is enough: what it leaves out or cuts, a single read may show."""
    return len(endings) == len(customers) and all(each.outcome is not Outcome.UNCONFIRMED for each in endings.values())


def _without(row: WorkflowRequest, customers: Sequence[int], erased: int) -> WorkflowRequest:
    """Return a row without the customers who were erased, where it shows exactly so many besides those left."""
    shown = set(row.customers or ())
    if len(shown - set(customers)) != erased or not shown.issuperset(customers):
        return row
    return replace(row, customers=tuple(customers))


def _shows_others(row: WorkflowRequest, customers: Sequence[int]) -> bool:
    """Return whether a row of the list shows a customer who is not of the request; one that shows some is only cut."""
    return not set(row.customers or ()).issubset(customers)


def _alarm(key: str) -> None:
    _LOG.error(
        "request %s: the platform shows other customers under this key than the ledger holds; nothing is settled. "
        "Compare the request on the checker's page with the ledger",
        key,
    )


def _platform_request_ids(ledger: Ledger, request_id: int) -> tuple[str, ...]:
    with ledger.read() as tx:
        return tuple(sighting.platform_request_id for sighting in sightings_of(tx, request_id))
