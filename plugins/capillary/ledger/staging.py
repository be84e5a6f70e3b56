"""Rows on their way from the warehouse into a plan: temporary tables of one ledger connection.

They live as long as the connection and lock nothing else, so that a slow warehouse holds up nobody. Memory
stays flat: a batch is written and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from capillary.ledger.database import Ledger, LedgerUnavailable, Transaction

#: Invalid rows kept with their reason; all are counted.
INVALID_KEPT: Final = 10_000


@dataclass(slots=True)
class Staged:
    """What was staged so far. ``rows = invalid + duplicates + distinct``."""

    rows: int = 0
    invalid: int = 0
    distinct: int = 0

    @property
    def duplicates(self) -> int:
        """Valid rows whose customer had been there before."""
        return self.rows - self.invalid - self.distinct


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row of the query that is no customer id."""

    row_number: int
    reason: str
    shape: str


class Staging:
    """One ledger connection with its temporary tables; made by :func:`staging`."""

    def __init__(self, ledger: Ledger, conn: Connection) -> None:
        self._ledger = ledger
        self._conn = conn
        self._kept = 0
        self.staged = Staged()

    def add(self, customers: Sequence[tuple[int, int]], invalid: Sequence[InvalidRow]) -> None:
        """Stage one batch.

        Args:
            customers: row number (1-based) and customer id of each valid row.
            invalid: the rows that are no customer ids.
        """
        kept = invalid[: max(0, INVALID_KEPT - self._kept)]
        self._kept += len(kept)
        with self._conn.begin():
            if customers:
                self._add_customers(customers)
            if kept:
                self._conn.execute(
                    text("INSERT INTO staged_invalid VALUES (:row_number, :reason, :shape)"),
                    [{"row_number": r.row_number, "reason": r.reason, "shape": r.shape} for r in kept],
                )
        self.staged.rows += len(customers) + len(invalid)
        self.staged.invalid += len(invalid)

    def clear(self, customers: Sequence[int]) -> None:
        """Name customers of whom the badge read showed no enrolment: they may be sent again."""
        if customers:
            with self._conn.begin():
                self._conn.execute(
                    text("INSERT INTO cleared VALUES (:customer_id) ON CONFLICT DO NOTHING"),
                    [{"customer_id": customer} for customer in customers],
                )

    def count(self) -> Staged:
        """Return the counts; call it when everything was added."""
        with self._conn.begin():
            self.staged.distinct = self._conn.execute(text("SELECT count(*) FROM staged")).scalar_one()
            if self._conn.dialect.name == "postgresql":
                self._conn.execute(text("ANALYZE staged"))
        return self.staged

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One writing transaction on the connection that sees the staged rows."""
        self._conn.execution_options(ledger_write=True)
        with self._conn.begin():
            yield Transaction(self._conn, self._ledger.now(self._conn))

    def _add_customers(self, customers: Sequence[tuple[int, int]]) -> None:
        try:
            self._copy_in(customers)
        except self._conn.dialect.loaded_dbapi.Error as error:
            # The driver's own error is no SQLAlchemyError, and its text quotes the rows.
            raise LedgerUnavailable(
                f"the ledger's database broke off while customers were staged ({type(error).__name__}); nothing was "
                "planned. Try again; if it stays, look at the database and its disk"
            ) from None

    def _copy_in(self, customers: Sequence[tuple[int, int]]) -> None:
        raw: Any = self._conn.connection.driver_connection
        if self._conn.dialect.name == "sqlite":
            raw.executemany("INSERT OR IGNORE INTO staged (row_number, customer_id) VALUES (?, ?)", customers)
            return
        # COPY has no ON CONFLICT: a batch goes through a table of its own.
        with raw.cursor() as cursor:
            cursor.execute("TRUNCATE staged_batch")
            with cursor.copy("COPY staged_batch (row_number, customer_id) FROM STDIN") as copy:
                for row in customers:
                    copy.write_row(row)
            cursor.execute(
                "INSERT INTO staged SELECT customer_id, min(row_number) FROM staged_batch "
                "GROUP BY customer_id ON CONFLICT DO NOTHING"
            )


@contextmanager
def staging(ledger: Ledger) -> Iterator[Staging]:
    """Open a connection with empty staging tables; they are gone at the end."""
    with ledger.engine.connect() as conn:
        try:
            with conn.begin():
                if conn.dialect.name == "sqlite":
                    conn.execute(
                        text("CREATE TEMP TABLE staged (customer_id INTEGER PRIMARY KEY, row_number INTEGER NOT NULL)")
                    )
                else:
                    conn.execute(
                        text("CREATE TEMP TABLE staged (customer_id bigint PRIMARY KEY, row_number bigint NOT NULL)")
                    )
                    conn.execute(text("CREATE TEMP TABLE staged_batch (row_number bigint, customer_id bigint)"))
                conn.execute(
                    text("CREATE TEMP TABLE staged_invalid (row_number bigint PRIMARY KEY, reason text, shape text)")
                )
                conn.execute(
                    text(
                        "CREATE TEMP TABLE fresh (attempt integer NOT NULL, customer_id bigint NOT NULL, "
                        "row_number bigint NOT NULL, PRIMARY KEY (attempt, customer_id))"
                        f"{' WITHOUT ROWID' if conn.dialect.name == 'sqlite' else ''}"
                    )
                )
                conn.execute(
                    text(
                        "CREATE TEMP TABLE cut (attempt integer NOT NULL, slice bigint NOT NULL, "
                        "request_id bigint NOT NULL, PRIMARY KEY (attempt, slice))"
                    )
                )
                conn.execute(text("CREATE TEMP TABLE cleared (customer_id bigint PRIMARY KEY)"))
            yield Staging(ledger, conn)
        finally:
            # A pooled connection would carry its temporary tables to the next user.
            conn.invalidate()
