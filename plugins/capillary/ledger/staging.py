"""Rows on their way from the warehouse into a plan: a file of the task's own, on the worker's disk.

It is a temporary SQLite database (https://www.sqlite.org/inmemorydb.html): no other process sees it, and it is gone
when it is closed, whatever happens. So a slow warehouse holds no connection of the ledger and no lock, and memory
stays flat: a batch is written and forgotten.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from capillary.errors import TransientError

#: Invalid rows kept with their reason; all are counted.
INVALID_KEPT: Final = 10_000
#: Written before the query runs. More than SQLite's own cache (2 MB): less would never reach the disk.
PROBE_BYTES: Final = 4_000_000
_PART_ROWS: Final = 20_000
_TABLES: Final = """
CREATE TABLE staged (customer_id INTEGER PRIMARY KEY, row_number INTEGER NOT NULL);
CREATE TABLE staged_invalid (row_number INTEGER PRIMARY KEY, reason TEXT NOT NULL, shape TEXT NOT NULL);
CREATE TABLE unclear (customer_id INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, sent_at REAL);
CREATE TABLE cleared (customer_id INTEGER PRIMARY KEY, attempt INTEGER NOT NULL);
CREATE TABLE taken (
    attempt INTEGER NOT NULL, customer_id INTEGER NOT NULL, PRIMARY KEY (attempt, customer_id)
) WITHOUT ROWID;
"""

#: A customer and the number of an attempt.
Attempt = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unclear:
    """What is known of a customer whose retry needs a look at the badge first.

    Attributes:
        attempt: the latest attempt.
        sent_at: when any attempt on the occasion was first sent; None where the ledger does not know.
    """

    attempt: int
    sent_at: datetime | None


class StagingFailed(TransientError):
    """The worker's disk does not take the query's rows. Nothing was planned."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(
            f"the query's rows cannot be written to the worker's temporary folder ({error}); nothing was planned. The "
            "folder must be writable and have about 50 bytes free for each row. SQLite uses SQLITE_TMPDIR, else "
            f"TMPDIR, else /var/tmp or /tmp (Python's is {tempfile.gettempdir()}). A pod with a read-only root file "
            "system needs an emptyDir there"
        )


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
    """A row of the query that is not a customer id."""

    row_number: int
    reason: str
    shape: str


class Staging:
    """The file of one task; made by :func:`staging`. Every method raises `StagingFailed` where the disk fails."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self._invalid_kept = 0
        self._everybody = False
        self.staged = Staged()

    def add(self, customers: Sequence[tuple[int, int]], invalid: Sequence[InvalidRow]) -> None:
        """Stage one batch.

        Args:
            customers: row number (1-based) and customer id of each valid row.
            invalid: the rows that are not customer ids.
        """
        kept = invalid[: max(0, INVALID_KEPT - self._invalid_kept)]
        self._invalid_kept += len(kept)
        with _disk():
            self._file.executemany("INSERT OR IGNORE INTO staged (row_number, customer_id) VALUES (?, ?)", customers)
            self._file.executemany(
                "INSERT INTO staged_invalid VALUES (?, ?, ?)", [(row.row_number, row.reason, row.shape) for row in kept]
            )
        self.staged.rows += len(customers) + len(invalid)
        self.staged.invalid += len(invalid)

    def count(self) -> Staged:
        """Return the counts; call it when everything was added."""
        self.staged.distinct = self._number("SELECT count(*) FROM staged")
        return self.staged

    def ids(self) -> Iterator[list[int]]:
        """Yield the distinct customers, ascending, part by part."""
        for part in self._parts("SELECT customer_id FROM staged ORDER BY customer_id"):
            yield [customer for (customer,) in part]

    def invalid_rows(self) -> Iterator[list[tuple[int, str, str]]]:
        """Yield row number, reason and shape of the invalid rows that were kept, part by part."""
        yield from self._parts("SELECT row_number, reason, shape FROM staged_invalid ORDER BY row_number")

    def those_staged(self, customers: Iterable[tuple[int, Unclear]]) -> dict[int, Unclear]:
        """Return those of the given customers who are staged."""
        rows = ((customer, of.attempt, of.sent_at and of.sent_at.timestamp()) for customer, of in customers)
        with _disk():
            self._file.execute("DELETE FROM unclear")
            self._file.executemany("INSERT OR REPLACE INTO unclear VALUES (?, ?, ?)", rows)
            found = self._file.execute(
                "SELECT customer_id, attempt, sent_at FROM unclear "
                "WHERE customer_id IN (SELECT customer_id FROM staged) ORDER BY customer_id"
            )
            return {
                customer: Unclear(attempt, None if sent_at is None else datetime.fromtimestamp(sent_at, UTC))
                for customer, attempt, sent_at in found
            }

    def clear(self, attempts: Iterable[Attempt]) -> None:
        """Keep the attempts after which a read of the badge showed no enrolment: they may be followed by another."""
        with _disk():
            self._file.executemany("INSERT OR REPLACE INTO cleared VALUES (?, ?)", attempts)

    def cleared(self) -> list[Attempt]:
        """Return what was cleared."""
        with _disk():
            return self._file.execute("SELECT customer_id, attempt FROM cleared ORDER BY customer_id").fetchall()

    def take_everybody(self) -> None:
        """Let every staged customer be planned, as a first attempt."""
        self._everybody = True

    def take(self, attempts: Iterable[Attempt]) -> None:
        """Let these be planned: numbers of the new attempt and customers, in this order."""
        self._everybody = False
        with _disk():
            self._file.execute("DELETE FROM taken")
            self._file.executemany("INSERT INTO taken VALUES (?, ?)", attempts)

    def keep_first(self, customers: int) -> None:
        """Keep so many of those taken, in the order of the query."""
        taken = "(SELECT 1 AS attempt, customer_id FROM staged)" if self._everybody else "taken"
        with _disk():
            self._file.execute(
                "CREATE TEMP TABLE first AS SELECT t.attempt, t.customer_id "  # noqa: S608 - words of this module
                f"FROM {taken} t JOIN staged s ON s.customer_id = t.customer_id ORDER BY s.row_number LIMIT ?",
                [customers],
            )
            self._file.execute("DELETE FROM taken")
            self._file.execute("INSERT INTO taken SELECT attempt, customer_id FROM first")
            self._file.execute("DROP TABLE first")
        self._everybody = False

    def taken(self) -> dict[int, int]:
        """Return how many are taken, by attempt."""
        if self._everybody:
            return {1: self.staged.distinct} if self.staged.distinct else {}
        with _disk():
            return dict(self._file.execute("SELECT attempt, count(*) FROM taken GROUP BY attempt").fetchall())

    def slices(self, size: int) -> Iterator[tuple[int, list[int]]]:
        """Yield attempt and customers of one request after the other, at most `size` customers each, ascending."""
        taken = "SELECT 1, customer_id FROM staged" if self._everybody else "SELECT attempt, customer_id FROM taken"
        rows = (row for part in self._parts(f"{taken} ORDER BY 1, 2") for row in part)
        for attempt, group in groupby(rows, key=itemgetter(0)):
            customers: list[int] = []
            for _, customer in group:
                customers.append(customer)
                if len(customers) == size:
                    yield attempt, customers
                    customers = []
            if customers:
                yield attempt, customers

    def _number(self, query: str) -> int:
        with _disk():
            number: int = self._file.execute(query).fetchone()[0]
            return number

    def _parts(self, query: str) -> Iterator[list[Any]]:
        with _disk():
            cursor = self._file.execute(query)
            while part := cursor.fetchmany(_PART_ROWS):
                yield part


@contextmanager
def staging() -> Iterator[Staging]:
    """Open an empty file and write to the disk once, before a query runs; the file is gone at the end.

    Raises:
        StagingFailed: the disk takes nothing, or not enough.
    """
    with _disk():
        file = sqlite3.connect("", isolation_level=None)
    try:
        with _disk():
            _prepare(file)
        yield Staging(file)
    finally:
        file.close()


def _prepare(file: sqlite3.Connection) -> None:
    # Nothing of it has to survive a crash, so that it needs neither a journal nor the disk's word.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000"):
        file.execute(f"PRAGMA {pragma}")
    file.execute("CREATE TABLE probe (bytes BLOB)")
    file.execute("INSERT INTO probe VALUES (zeroblob(?))", [PROBE_BYTES])
    file.execute("DROP TABLE probe")
    # Ids come in no order: with 1 MB of cache every batch would touch the disk.
    file.execute("PRAGMA cache_size=-32000")
    file.executescript(_TABLES)
    file.execute("BEGIN")


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StagingFailed(error) from None
