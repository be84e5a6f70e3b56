"""What the platform remembers: requests, bulk calls, enrolments and badges, in one SQLite database.

A change is committed before its reply goes out. The journal is a write-ahead log with ``synchronous=NORMAL``:
what was answered survives the end of the process at any moment, though not the loss of the machine's power.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock

from sandbox.books_schema import COLUMNS, SCHEMA, IssualRow, NewRequest, RequestRow
from sandbox.settings import SettingsError

BUSY_TIMEOUT_S = 30.0


class Books:
    """The database. Every method may be called from any thread."""

    def __init__(self, path: str) -> None:
        self._lock = RLock()
        self._depth = 0
        try:
            self._database = self._opened(path)
        except sqlite3.Error as error:
            raise SettingsError(
                f"books: {path} cannot be used ({error}); give a file of the sandbox's own, in a folder that exists "
                "and may be written"
            ) from error

    @staticmethod
    def _opened(path: str) -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Closes the database; the books are not usable afterwards."""
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are committed together at the end, or none of them. Nests."""
        with self._lock:
            if self._depth == 0:
                self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                if self._depth == 1:
                    self._database.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._database.execute("COMMIT")
            finally:
                self._depth -= 1

    def secret(self, name: str) -> str:
        """A random secret of this platform, made at its first use and the same after a restart."""
        with self.transaction():
            made = (name, secrets.token_hex(32))
            self._database.execute("INSERT INTO fact VALUES (?, ?) ON CONFLICT DO NOTHING", made)
            (value,) = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return str(value)

    def save_badge(self, badge_id: str, document: dict[str, object], *, keep: bool = False) -> None:
        """Adds or replaces a badge; with ``keep`` an existing one stays as it is."""
        then = "NOTHING" if keep else "UPDATE SET document = excluded.document"
        with self.transaction():
            self._database.execute(
                f"INSERT INTO badge (badge_id, document) VALUES (?, ?) ON CONFLICT (badge_id) DO {then}",  # noqa: S608 - one of two constants
                (badge_id, json.dumps(document)),
            )

    def badges(self) -> list[tuple[int, str, dict[str, object]]]:
        """Number, id and document of every badge, in the order in which they were added."""
        with self._lock:
            rows = self._database.execute("SELECT number, badge_id, document FROM badge ORDER BY number")
            return [(number, badge_id, json.loads(document)) for number, badge_id, document in rows]

    def add_request(self, new: NewRequest) -> RequestRow:
        """Enters a request and returns it."""
        with self.transaction():
            self._database.execute(
                "INSERT INTO request (platform_request_id, request_type, state, started, start_time, "
                "user_id, user_name, till_id, store_id, zone_id, concept_id, request_key, badge_id, "
                "customers, payload) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    new.platform_request_id,
                    new.request_type,
                    new.state,
                    new.started,
                    new.start_time,
                    new.user_id,
                    new.user_name,
                    *new.entity,
                    new.request_key,
                    new.badge_id,
                    new.customers,
                    new.payload,
                ),
            )
            return self.requests("platform_request_id = ?", (new.platform_request_id,), bodies=True)[0]

    def move_request(self, platform_request_id: str, *, state: str, steps: str) -> None:
        """Parks a request on another approval node."""
        with self.transaction():
            self._database.execute(
                "UPDATE request SET state = ?, steps = ? WHERE platform_request_id = ?",
                (state, steps, platform_request_id),
            )

    def end_request(
        self,
        platform_request_id: str,
        *,
        state: str,
        steps: str,
        message: str | None,
        ended: float,
        end_time: str,
    ) -> None:
        """Ends a request in a terminal state."""
        with self.transaction():
            self._database.execute(
                "UPDATE request SET decided = 1, state = ?, steps = ?, message = ?, ended = ?, end_time = ? "
                "WHERE platform_request_id = ?",
                (state, steps, message, ended, end_time, platform_request_id),
            )

    def save_output(
        self, platform_request_id: str, *, status: int, headers: str, body: bytes, enrolled: int, refused: int
    ) -> None:
        """Keeps what the wrapped call answered."""
        with self.transaction():
            self._database.execute(
                "UPDATE request SET output_status = ?, output_headers = ?, output_body = ?, enrolled = ?, "
                "refused = ? WHERE platform_request_id = ?",
                (status, headers, body, enrolled, refused, platform_request_id),
            )

    def requests(
        self,
        where: str = "1",
        values: Sequence[object] = (),
        *,
        order: str = "seq",
        limit: int = -1,
        offset: int = 0,
        bodies: bool,
    ) -> list[RequestRow]:
        """Requests that a condition holds for; ``where`` and ``order`` are SQL written in this package."""
        large = "payload, coalesce(output_body, x'')" if bodies else "x'', x''"
        with self._lock:
            rows = self._database.execute(
                f"SELECT {COLUMNS}, {large} FROM request WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608 - values are bound
                (*values, limit, offset),
            )
            return [RequestRow(*row) for row in rows]

    def count_requests(self, where: str = "1", values: Sequence[object] = ()) -> int:
        """How many requests a condition holds for."""
        with self._lock:
            found = self._database.execute(f"SELECT count(*) FROM request WHERE {where}", values)  # noqa: S608 - values are bound
            (count,) = found.fetchone()
        return int(count)

    def count_customers(self, where: str = "1") -> int:
        """How many customers stand in the requests that a condition holds for."""
        with self._lock:
            found = self._database.execute(f"SELECT coalesce(sum(customers), 0) FROM request WHERE {where}")  # noqa: S608 - written in this package
            (count,) = found.fetchone()
        return int(count)

    def key_is_used(self, request_key: str) -> bool:
        """Whether a bulk call with this requestId was executed already."""
        with self._lock:
            found = self._database.execute("SELECT 1 FROM used_key WHERE request_key = ?", (request_key,))
            return found.fetchone() is not None

    def use_key(self, request_key: str) -> None:
        """Marks the requestId of a bulk call as used."""
        with self.transaction():
            self._database.execute("INSERT INTO used_key VALUES (?) ON CONFLICT DO NOTHING", (request_key,))

    def overlapping(self, badge: int, customers: Sequence[int], *, start: float, end: float) -> set[int]:
        """Those of the customers whose enrolment in the badge is not revoked and meets the period."""
        with self._lock:
            rows = self._database.execute(
                "SELECT i.customer FROM json_each(?) AS asked "
                "CROSS JOIN issual AS i ON i.badge = ? AND i.customer = asked.value "
                "JOIN bulk_call AS c ON c.call = i.call "
                "WHERE i.revoked_on IS NULL AND c.event_at < ? AND c.expires > ?",
                (json.dumps(customers), badge, end, start),
            )
            return {int(customer) for (customer,) in rows}

    def enrol(
        self,
        badge: int,
        places: Iterable[tuple[int, int]],
        *,
        stem: str,
        request_key: str,
        owner_type: str,
        reference_id: str | None,
        issued_on: float,
        event_at: float,
        expires: float,
    ) -> None:
        """Enrols customers, given with their place in the bulk call that they share."""
        with self.transaction():
            call = self._database.execute(
                "INSERT INTO bulk_call (stem, request_key, owner_type, reference_id, issued_on, event_at, "
                "expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (stem, request_key, owner_type, reference_id, issued_on, event_at, expires),
            ).lastrowid
            self._database.executemany(
                "INSERT INTO issual (badge, customer, call, place) VALUES (?, ?, ?, ?)",
                ((badge, customer, call, place) for customer, place in places),
            )

    def issuals(self, badge: int, customer: int | None = None) -> list[IssualRow]:
        """A badge's enrolments, of one customer or of all, oldest first."""
        one = "" if customer is None else " AND i.customer = ?"
        values = (badge,) if customer is None else (badge, customer)
        with self._lock:
            rows = self._database.execute(
                "SELECT i.customer, c.stem, i.place, c.request_key, c.owner_type, c.reference_id, "  # noqa: S608 - bound
                "c.issued_on, c.event_at, c.expires, i.revoked_on "
                "FROM issual AS i JOIN bulk_call AS c ON c.call = i.call "
                f"WHERE i.badge = ?{one} ORDER BY i.call, i.place",
                values,
            )
            return [IssualRow(*row) for row in rows]

    def revoke(self, badge: int, customer: int, stem: str, *, at: float) -> None:
        """Revokes one enrolment."""
        with self.transaction():
            self._database.execute(
                "UPDATE issual SET revoked_on = ? WHERE badge = ? AND customer = ? "
                "AND call = (SELECT call FROM bulk_call WHERE stem = ?)",
                (at, badge, customer, stem),
            )
