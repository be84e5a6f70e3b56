"""waiting → settled: every customer of a request gets an outcome and is counted, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select, text, update

from capillary.counted import counted
from capillary.ledger.bounds import code_kept, cut
from capillary.ledger.counts import count_outcomes, customers_without_row
from capillary.ledger.database import Transaction
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.schema import badge_enrolment, badge_request, badge_sighting, badge_spec
from capillary.ledger.status import Outcome, RequestStatus


@dataclass(frozen=True, slots=True)
class Ending:
    """How one enrolment ended.

    Attributes:
        outcome: the ledger's word.
        issued_id: the platform's id of the enrolment, when it gave one.
        error_code: the platform's code, when it gave one.
    """

    outcome: Outcome
    issued_id: str | None = None
    error_code: int | None = None


def settle(
    tx: Transaction,
    request_id: int,
    *,
    sightings_read: Iterable[str],
    endings: Mapping[int, Ending],
    not_there: Collection[str] = (),
) -> bool:
    """Settle a request whose every sighting is decided and was read whole.

    Args:
        tx: the transaction.
        request_id: the request.
        sightings_read: platform request ids whose results ``endings`` folds.
        endings: an ending for every customer of the request who has a row. ``enrolled`` in the ledger is never
            overwritten.
        not_there: platform request ids beside these that the platform says it does not know.

    Returns:
        False, and nothing changed, when the request is not waiting, or a sighting was added or is undecided, those that
        are not there apart.

    Raises:
        LedgerBroken: ``endings`` are not for exactly the customers of the request.
    """
    endings = {customer: _kept(ending) for customer, ending in endings.items()}
    locked = tx.conn.execute(
        update(badge_request)
        .where(badge_request.c.id == request_id, badge_request.c.status == RequestStatus.WAITING)
        .values(status=RequestStatus.SETTLED, settled_at=tx.now)
        .returning(badge_request.c.customers, badge_request.c.spec_id)
    ).one_or_none()
    if locked is None:
        return False
    sightings = tx.conn.execute(
        select(
            badge_sighting.c.platform_request_id,
            badge_sighting.c.terminal_seen_at,
            badge_sighting.c.auto_approved,
        ).where(badge_sighting.c.request_id == request_id)
    ).all()
    sightings = [row for row in sightings if row.platform_request_id not in not_there]
    read = frozenset(sightings_read)
    if {row.platform_request_id for row in sightings} != read or any(row.terminal_seen_at is None for row in sightings):
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.id == request_id)
            .values(status=RequestStatus.WAITING, settled_at=None)
        )
        return False
    touched = _write(tx, request_id, endings)
    held = locked.customers
    if touched < held:
        held -= customers_without_row(tx, request_id)
    if not 0 < touched == len(endings) == held:
        raise LedgerBroken(
            f"request {request_id} has {counted(held, 'customer')}, {counted(len(endings), 'ending')} came and "
            f"{touched} fitted; nothing was settled"
        )
    counts = count_outcomes(tx, request_id)
    # A spec is proven by a human's approval after which somebody is enrolled and nobody unconfirmed.
    unattended = any(row.auto_approved for row in sightings)
    if counts[Outcome.ENROLLED] and not counts[Outcome.UNCONFIRMED] and not unattended:
        _prove(tx, locked.spec_id)
    return True


def _kept(ending: Ending) -> Ending:
    """Return an ending as the columns hold it; an id that does not fit is left out, the outcome stands."""
    issued_id, code = ending.issued_id, code_kept(ending.error_code)
    if issued_id is not None and issued_id != cut(badge_enrolment.c.issued_id, issued_id):
        issued_id = None
    if code == ending.error_code and issued_id == ending.issued_id:
        return ending  # nearly all
    return Ending(ending.outcome, issued_id, code)


def _write(tx: Transaction, request_id: int, endings: Mapping[int, Ending]) -> int:
    """Write the endings; returns how many rows of the request they fitted."""
    if not endings:
        return 0
    return (_write_to_sqlite if tx.is_sqlite else _write_to_postgresql)(tx, request_id, endings)


def _write_to_postgresql(tx: Transaction, request_id: int, endings: Mapping[int, Ending]) -> int:
    # One statement for all rows: a statement a row costs PostgreSQL ten times as much.
    result = tx.conn.execute(
        text(
            "UPDATE badge_enrolment AS e SET "
            "outcome = CASE WHEN e.outcome = 'enrolled' THEN e.outcome ELSE v.outcome END, "
            "issued_id = CASE WHEN e.outcome = 'enrolled' THEN e.issued_id ELSE v.issued_id END, "
            "error_code = CASE WHEN e.outcome = 'enrolled' THEN e.error_code ELSE v.error_code END "
            "FROM unnest(CAST(:customers AS bigint[]), CAST(:outcomes AS text[]), "
            "CAST(:issued AS text[]), CAST(:codes AS integer[])) "
            "AS v(customer_id, outcome, issued_id, error_code) "
            "WHERE e.request_id = :request_id AND e.customer_id = v.customer_id"
        ),
        {
            "request_id": request_id,
            "customers": list(endings),
            "outcomes": [str(ending.outcome) for ending in endings.values()],
            "issued": [ending.issued_id for ending in endings.values()],
            "codes": [ending.error_code for ending in endings.values()],
        },
    )
    return result.rowcount


def _write_to_sqlite(tx: Transaction, request_id: int, endings: Mapping[int, Ending]) -> int:
    request = tx.conn.execute(
        select(badge_request.c.occasion_id, badge_request.c.attempt).where(badge_request.c.id == request_id)
    ).one()
    before = _changes(tx)
    # The driver's own executemany: SQLAlchemy's costs six times as much, and this runs for every customer.
    tx.conn.exec_driver_sql(
        "UPDATE badge_enrolment SET "
        "outcome = CASE WHEN outcome = 'enrolled' THEN outcome ELSE ? END, "
        "issued_id = CASE WHEN outcome = 'enrolled' THEN issued_id ELSE ? END, "
        "error_code = CASE WHEN outcome = 'enrolled' THEN error_code ELSE ? END "
        "WHERE occasion_id = ? AND customer_id = ? AND attempt = ? AND request_id = ?",
        [
            (
                str(ending.outcome),
                ending.issued_id,
                ending.error_code,
                request.occasion_id,
                customer,
                request.attempt,
                request_id,
            )
            for customer, ending in endings.items()
        ],
    )
    return _changes(tx) - before


def _changes(tx: Transaction) -> int:
    # The driver's rowcount of an executemany is not reliable everywhere; SQLite itself counts.
    count: int = tx.conn.exec_driver_sql("SELECT total_changes()").scalar_one()
    return count


def _prove(tx: Transaction, spec_id: int) -> None:
    tx.conn.execute(
        update(badge_spec).where(badge_spec.c.id == spec_id, badge_spec.c.proven_at.is_(None)).values(proven_at=tx.now)
    )
