"""The least that any program must do for the same customers: `python -m measure.bench.floor ORDER ANSWER`.

Bare calls with aiohttp, eight at once, and bare writes with the database's own driver into one table with one
key. No retries, no bookkeeping, no log; nothing that would survive a lost reply.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, Final

import aiohttp
import psycopg

from capillary.api.request_workflow import Entity, IssueBadgeRequest, post_body
from measure.bench.measured import answer
from measure.bench.surroundings import customers, headers
from sandbox.badges import GOLD_CIRCLE

_AT_ONCE: Final = 8
_PAGE_ROWS: Final = 100
_WORKFLOW: Final = "/api_gateway/v2/request-workflow"
#: As long as the platform's.
_ISSUED_ID: Final = "0123456789abcdef01234567"
_COLUMNS: Final = (
    "occasion_id bigint NOT NULL, customer_id bigint NOT NULL, attempt integer NOT NULL, request_id bigint NOT NULL, "
    "outcome varchar(16), issued_id varchar(64), error_code integer, PRIMARY KEY (occasion_id, customer_id, attempt)"
)


def _submit(order: dict[str, Any]) -> Mapping[str, object]:
    """Post every request once, and read every reply."""
    ids, size = customers(order["customers"]), order["customers_per_request"]
    slices = [ids[start : start + size] for start in range(0, len(ids), size)]
    return {"seconds": asyncio.run(_post_all(order["url"], slices))}


async def _post_all(url: str, slices: Sequence[list[int]]) -> float:
    authorization = headers()["Authorization"]

    async def post(session: aiohttp.ClientSession, number: int) -> None:
        request = IssueBadgeRequest(
            key=f"floor.{number}",
            badge_id=GOLD_CIRCLE.badge_id,
            owner_type="Loyalty",
            reference_id="42",
            entity=Entity("1", "2", "3", "4"),
            hostname=url,
            customers=slices[number],
        )
        body = json.dumps(post_body(request, authorization=authorization), separators=(",", ":"))
        async with session.post(f"{url}{_WORKFLOW}/ISSUE-BADGE", data=body) as reply:
            reply.raise_for_status()
            json.loads(await reply.read())

    async with _session() as session:
        begun = time.perf_counter()
        await _all(post, session, range(len(slices)))
        return time.perf_counter() - begun


def _read(order: dict[str, Any]) -> Mapping[str, object]:
    """Read the whole list once, every row with its results."""
    return {"seconds": asyncio.run(_read_all(order["url"], -(-order["requests"] // _PAGE_ROWS)))}


async def _read_all(url: str, pages: int) -> float:
    async def get(session: aiohttp.ClientSession, number: int) -> None:
        params = {"PageNo": str(number), "limit": str(_PAGE_ROWS), "sortBy": "startDate", "sortOrder": "asc"}
        async with session.get(f"{url}{_WORKFLOW}/requests", params=params) as reply:
            reply.raise_for_status()
            json.loads(await reply.read())

    async with _session() as session:
        begun = time.perf_counter()
        await _all(get, session, range(pages))
        return time.perf_counter() - begun


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, headers=headers()) as session:
        yield session


async def _all(call: Callable[[aiohttp.ClientSession, int], Any], session: aiohttp.ClientSession, of: range) -> None:
    numbers = iter(of)

    async def worker() -> None:
        for number in numbers:
            await call(session, number)

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


def _sqlite(order: dict[str, Any]) -> Mapping[str, object]:
    """Insert a row for every customer, commit; write every outcome, commit. As durable as the ledger."""
    ids = sorted(customers(order["customers"]))
    with closing(sqlite3.connect(order["path"])) as conn:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32000"):
            conn.execute(f"PRAGMA {pragma}")
        conn.execute(f"CREATE TABLE enrolment ({_COLUMNS}) WITHOUT ROWID")
        begun = time.perf_counter()
        with conn:
            conn.executemany(
                "INSERT INTO enrolment (occasion_id, customer_id, attempt, request_id) VALUES (1, ?, 1, ?)",
                _with_requests(ids, order["customers_per_request"]),
            )
        inserted = time.perf_counter()
        with conn:
            conn.executemany(
                "UPDATE enrolment SET outcome = 'enrolled', issued_id = ? "
                "WHERE occasion_id = 1 AND customer_id = ? AND attempt = 1",
                ((_ISSUED_ID, customer) for customer in ids),
            )
        return {"insert_s": inserted - begun, "update_s": time.perf_counter() - inserted}


def _postgresql(order: dict[str, Any]) -> Mapping[str, object]:
    """COPY a row for every customer in, commit; COPY every outcome in and UPDATE, commit."""
    ids = sorted(customers(order["customers"]))
    with psycopg.connect(order["conninfo"]) as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE TABLE enrolment ({_COLUMNS})".encode())
        cursor.execute("CREATE TEMP TABLE ended (customer_id bigint, issued_id varchar(64))")
        conn.commit()
        begun = time.perf_counter()
        with cursor.copy("COPY enrolment (occasion_id, customer_id, attempt, request_id) FROM STDIN") as copy:
            for customer, request in _with_requests(ids, order["customers_per_request"]):
                copy.write_row((1, customer, 1, request))
        conn.commit()
        inserted = time.perf_counter()
        with cursor.copy("COPY ended (customer_id, issued_id) FROM STDIN") as copy:
            for customer in ids:
                copy.write_row((customer, _ISSUED_ID))
        cursor.execute("ANALYZE ended")
        cursor.execute(
            "UPDATE enrolment e SET outcome = 'enrolled', issued_id = n.issued_id FROM ended n "
            "WHERE e.occasion_id = 1 AND e.customer_id = n.customer_id AND e.attempt = 1"
        )
        conn.commit()
        return {"insert_s": inserted - begun, "update_s": time.perf_counter() - inserted}


def _with_requests(ids: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    return ((customer, number // size) for number, customer in enumerate(ids))


_FLOORS: Final[Mapping[str, Callable[[dict[str, Any]], Mapping[str, object]]]] = {
    "submit": _submit,
    "read": _read,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}

if __name__ == "__main__":
    answer(lambda order: _FLOORS[order["floor"]](order))
