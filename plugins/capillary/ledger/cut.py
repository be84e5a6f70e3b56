"""Cut requests from the customers of a plan and write them with exactly those enrolments, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from sqlalchemy import insert, select, text

from capillary.counted import counted
from capillary.ledger.candidates import copy_in
from capillary.ledger.database import Transaction
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.schema import badge_request
from capillary.ledger.spec import request_key
from capillary.ledger.status import RequestStatus

#: Customers that are written at once; memory holds so many and one request more.
_PART_CUSTOMERS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Which run, account and occasion the requests belong to, and what their keys are made from."""

    badge_run_id: int
    occasion_id: int
    spec_id: int
    fingerprint: str
    campaign: str
    occasion: str


@dataclass(slots=True)
class _Slice:
    request_id: int
    ordinal: int
    attempt: int
    customers: list[int]
    key: str = ""


def cut(tx: Transaction, whose: Cut, slices: Iterable[tuple[int, list[int]]], *, requests: int, planned: int) -> None:
    """Write a planned request for each slice, and an enrolment for each of its customers.

    Args:
        tx: the plan's transaction, the occasion's row locked.
        whose: the run and what it plans.
        slices: attempt and customers of each request, ascending.
        requests: how many slices there are.
        planned: how many customers.

    Raises:
        LedgerBroken: the slices are not so many, or do not hold so many customers.
    """
    ids = _request_ids(tx, requests)
    done_requests = done_customers = 0
    for part in _with_keys(tx, whose, _parts(slices, ids)):
        tx.conn.execute(insert(badge_request), [_request(whose, each) for each in part])
        (_enrol_in_sqlite if tx.is_sqlite else _enrol_in_postgresql)(tx, whose.occasion_id, part)
        done_requests += len(part)
        done_customers += sum(len(each.customers) for each in part)
    if (done_requests, done_customers) != (requests, planned):
        raise LedgerBroken(
            f"{counted(planned, 'customer')} in {counted(requests, 'request')} were to be planned, but "
            f"{done_customers} in {done_requests} were; nothing was planned"
        )


def _parts(slices: Iterable[tuple[int, list[int]]], ids: list[int]) -> Iterator[list[_Slice]]:
    part: list[_Slice] = []
    waiting = 0
    for (ordinal, request_id), (attempt, customers) in zip(enumerate(ids), slices, strict=True):
        part.append(_Slice(request_id, ordinal, attempt, customers))
        waiting += len(customers)
        if waiting >= _PART_CUSTOMERS:
            yield part
            part, waiting = [], 0
    if part:
        yield part


def _with_keys(tx: Transaction, whose: Cut, parts: Iterable[list[_Slice]]) -> Iterator[list[_Slice]]:
    """Give every slice a key that no request has.

    A request whose customers were erased, or that was imported without them, keeps its key: who is planned in the same
    slice once more gets a higher attempt, and so another key.
    """
    for part in parts:
        unkeyed = part
        while unkeyed:
            for each in unkeyed:
                each.key = request_key(whose.fingerprint, whose.campaign, whose.occasion, each.attempt, each.customers)
            keys = [each.key for each in unkeyed]
            taken = set(
                tx.conn.execute(
                    select(badge_request.c.request_key).where(badge_request.c.request_key.in_(keys))
                ).scalars()
            )
            unkeyed = [each for each in unkeyed if each.key in taken]
            for each in unkeyed:
                each.attempt += 1
        yield part


def _request(whose: Cut, each: _Slice) -> dict[str, object]:
    return {
        "id": each.request_id,
        "request_key": each.key,
        "badge_run_id": whose.badge_run_id,
        "occasion_id": whose.occasion_id,
        "spec_id": whose.spec_id,
        "ordinal": each.ordinal,
        "attempt": each.attempt,
        "customers": len(each.customers),
        "status": RequestStatus.PLANNED,
    }


def _request_ids(tx: Transaction, count: int) -> list[int]:
    """Take ids beforehand, so that requests and enrolments are written without asking in between."""
    if tx.is_sqlite:
        # Numbers of deleted rows count as well (AUTOINCREMENT); the write lock keeps others out.
        last = tx.conn.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'badge_request'")).scalar() or 0
        return list(range(last + 1, last + 1 + count))
    numbers = text("SELECT nextval(pg_get_serial_sequence('badge_request', 'id')) FROM generate_series(1, :count)")
    return list(tx.conn.execute(numbers, {"count": count}).scalars())


def _enrol_in_sqlite(tx: Transaction, occasion_id: int, part: list[_Slice]) -> None:
    rows = chain.from_iterable(
        [(occasion_id, customer, each.attempt, each.request_id) for customer in each.customers] for each in part
    )
    tx.conn.exec_driver_sql(
        "INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id) VALUES (?, ?, ?, ?)", list(rows)
    )


def _enrol_in_postgresql(tx: Transaction, occasion_id: int, part: list[_Slice]) -> None:
    copy_in(
        tx.conn,
        "badge_enrolment (occasion_id, customer_id, attempt, request_id)",
        (_lines(occasion_id, each) for each in part),
    )


def _lines(occasion_id: int, each: _Slice) -> str:
    end = f"\t{each.attempt}\t{each.request_id}\n"
    return f"{occasion_id}\t" + f"{end}{occasion_id}\t".join(map(str, each.customers)) + end
