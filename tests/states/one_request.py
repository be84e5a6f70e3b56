"""The ledger's rows of one request as a value: put into a real database, changed by the product, read back.

`Ledger` refuses a database in memory; its tables and its `Transaction` do not mind. Times are ticks relative to
now, so that two moments at which the same may happen are the same value, and nothing grows for ever.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import Connection, create_engine, insert
from sqlalchemy.pool import StaticPool

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_occasion, badge_run, badge_spec, metadata

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TICK: Final = timedelta(minutes=1)
ACCOUNT: Final = "platform.example/100"
KEY: Final = "cb1.spring.0123456789abcdef0123456789abcdef"
CUSTOMERS: Final = (1, 2)
REQUEST: Final = 1
RUN: Final = 1

T = TypeVar("T", bound=Hashable)


class RequestRow(NamedTuple):
    """The request. `doubt_from` in ticks from now, None unless it is being sent."""

    status: str
    tries: int
    resends: int
    doubt_from: int | None


class SightingRow(NamedTuple):
    """One sighting; `decided`: the ledger has a time at which it was seen decided."""

    name: str
    state: str
    decided: bool


class Rows(NamedTuple):
    """All that changes. `request` is None once it was discarded."""

    request: RequestRow | None
    sightings: tuple[SightingRow, ...]
    outcomes: tuple[str | None, ...]
    discarded: int


PLANNED: Final = Rows(RequestRow("planned", 0, 0, None), (), (None,) * len(CUSTOMERS), 0)


class OneTransaction:
    """Stands where the engine expects a `Ledger`: every transaction of it is the one at hand."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        yield self._tx

    read = write


class OneRequestLedger:
    """A database with one planned request of two customers, and what the product makes of it.

    What one operation does to given rows is looked up when it was done before: the product is called once for
    each pair of rows and operation.
    """

    def __init__(self) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool)
        metadata.create_all(self._engine)
        self._conn: Connection = self._engine.connect()
        self._known: dict[tuple[Rows, Hashable], tuple[Rows, Hashable]] = {}
        self.calls = 0
        with self._conn.begin():
            self._insert_surroundings()
        raw = self._conn.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw = raw

    def close(self) -> None:
        self._conn.close()
        self._engine.dispose()

    def change(self, rows: Rows, name: Hashable, operation: Callable[[Transaction], T]) -> tuple[Rows, T]:
        """Return the rows after an operation, and what the operation returned.

        `name` stands for the operation and all its arguments.
        """
        known = self._known.get((rows, name))
        if known is None:
            self.calls += 1
            with self._conn.begin() as begun:
                self._put(rows)
                result = operation(Transaction(self._conn, NOW))
                known = self._known[rows, name] = self._get(), result
                begun.rollback()
        return known  # type: ignore[return-value] # the name says the type

    def _insert_surroundings(self) -> None:
        self._conn.execute(
            insert(badge_occasion).values(id=1, account=ACCOUNT, occasion="spring", badge_id="b" * 24, created_at=NOW)
        )
        self._conn.execute(
            insert(badge_spec).values(id=1, account=ACCOUNT, fingerprint="f", config="{}", created_at=NOW)
        )
        counts = dict.fromkeys(("invalid", "duplicates", "known_before", "over_cap"), 0)
        self._conn.execute(
            insert(badge_run).values(
                id=RUN,
                account=ACCOUNT,
                campaign="spring",
                token="t" * 32,
                dag_id="spring",
                run_id="run",
                task_id="extract",
                capillary_conn_id="capillary",
                occasion_id=1,
                spec_id=1,
                eligible=len(CUSTOMERS),
                planned=len(CUSTOMERS),
                canary=False,
                planned_at=NOW,
                alive_until=NOW,
                **counts,
            )
        )

    def _put(self, rows: Rows) -> None:
        # By the driver: this happens ten thousand times.
        if rows.request is not None:
            status, tries, resends, doubt_from = rows.request
            self._raw.execute(
                "INSERT INTO badge_request (id, request_key, badge_run_id, occasion_id, spec_id, ordinal, attempt, "
                "customers, status, tries, resends, sender, first_sent_at, last_sent_at, doubt_from, settled_at) "
                "VALUES (?, ?, ?, 1, 1, 0, 1, ?, ?, ?, ?, 'till', ?, ?, ?, ?)",
                (
                    REQUEST,
                    KEY,
                    RUN,
                    len(CUSTOMERS),
                    status,
                    tries,
                    resends,
                    *[_text(0) if tries else None] * 2,
                    None if doubt_from is None else _text(doubt_from),
                    _text(0) if status == "settled" else None,
                ),
            )
            self._raw.executemany(
                "INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id, outcome) "
                "VALUES (1, ?, 1, ?, ?)",
                [(customer, REQUEST, outcome) for customer, outcome in zip(CUSTOMERS, rows.outcomes, strict=True)],
            )
            self._raw.executemany(
                "INSERT INTO badge_result (request_id, outcome, customers) VALUES (?, ?, ?)",
                [(REQUEST, *count) for count in Counter(filter(None, rows.outcomes)).items()],
            )
        self._raw.executemany(
            "INSERT INTO badge_sighting (platform_request_id, request_id, state, auto_approved, seen_at, "
            "terminal_seen_at) VALUES (?, ?, ?, 0, ?, ?)",
            [(row.name, REQUEST, row.state, _text(0), _text(0) if row.decided else None) for row in rows.sightings],
        )
        self._raw.execute("UPDATE badge_run SET discarded = ?", (rows.discarded,))

    def _get(self) -> Rows:
        request = self._raw.execute("SELECT status, tries, resends, doubt_from FROM badge_request").fetchone()
        if request is not None:
            status, tries, resends, doubt_from = request
            # Nobody looks at it unless the request is being sent.
            request = RequestRow(status, tries, resends, _ticks(doubt_from) if status == "sending" else None)
        sightings = self._raw.execute(
            "SELECT platform_request_id, state, terminal_seen_at IS NOT NULL FROM badge_sighting "
            "ORDER BY platform_request_id"
        )
        outcomes = self._raw.execute("SELECT outcome FROM badge_enrolment ORDER BY customer_id").fetchall()
        kept = dict(self._raw.execute("SELECT outcome, customers FROM badge_result").fetchall())
        assert kept == Counter(outcome for (outcome,) in outcomes if outcome), "the kept counts are not the rows'"
        (discarded,) = self._raw.execute("SELECT discarded FROM badge_run").fetchone()
        return Rows(
            request,
            tuple(SightingRow(name, state, bool(decided)) for name, state, decided in sightings),
            tuple(outcome for (outcome,) in outcomes),
            discarded,
        )


def moment(ticks: int) -> datetime:
    """Return the time so many ticks from now."""
    return NOW + ticks * TICK


def _text(ticks: int) -> str:
    return moment(ticks).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _ticks(stored: str | None) -> int | None:
    if stored is None:
        return None
    return (datetime.fromisoformat(stored).replace(tzinfo=UTC) - NOW) // TICK
