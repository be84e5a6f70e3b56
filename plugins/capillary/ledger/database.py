"""A connection to the ledger that can be trusted: SQLite or PostgreSQL, durable, of the right version."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from capillary.ledger.errors import LedgerMissing, LedgerRefused, LedgerUnavailable, ParameterRefused
from capillary.ledger.libpq import assert_said_once, checked, defaults_for
from capillary.ledger.moved import assert_not_moved
from capillary.ledger.one_place import (
    STOP_NAMES,
    TABLES_FOUND,
    assert_numbers_ahead,
    assert_one_name,
    assert_one_schema,
)
from capillary.ledger.opening import explained
from capillary.ledger.revision import assert_schema_current
from capillary.ledger.soundness import (
    assert_keys,
    assert_rights,
    assert_sound,
    assert_takes_stops,
    lift_limits,
    limit_statements,
)
from capillary.ledger.startup_options import assert_options_hold

__all__ = ["BUSY_TIMEOUT_S", "Clock", "Ledger", "LedgerUnavailable", "Transaction", "ledger_url"]

#: How long a SQLite writer waits for another one, seconds.
BUSY_TIMEOUT_S = 30

_UNFIT: Final = re.compile(r"[\x00\ud800-\udfff]")

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction and its time.

    Attributes:
        conn: the connection; everything executed on it is part of the transaction.
        now: the ledger's clock when the transaction began, aware UTC.
    """

    conn: Connection
    now: datetime

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a SQLite file."""
        return self.conn.dialect.name == "sqlite"


class Ledger:
    """The ledger's database.

    Args:
        url: SQLAlchemy URL; ``sqlite:///file`` or ``postgresql+psycopg://…``.
        clock: replaces the ledger's clock (the simulation's time). Default: PostgreSQL's
            ``clock_timestamp()``; for SQLite the machine's clock, since the file is the machine's own.
        check_schema: refuse a schema that is missing or of another version than the code.
        new: the database may be empty, and a SQLite file is made where there is none. Without it a file that is
            missing is refused at every connect: SQLite would make an empty one.
        stops_only: for the emergency stop, which must work while anything else is wrong: only its own table is checked,
            whatever the schema's revision, and the server's time limits and read-only defaults are overruled.
        reads_only: for questions: the user need not be allowed to write, and a standby will do.
        though_moved: for the copy alone: a SQLite file that was copied into another database is opened all the same.
        statement_s: PostgreSQL ends a statement that takes longer, seconds; None: as the server has it.

    Raises:
        LedgerMoved: the SQLite file was copied into another database; every transaction asks.
        LedgerMissing: there is no such SQLite file, or the database has no ledger.
        LedgerRefused: another dialect, a SQLite database in memory, a parameter that libpq does not know, or a
            database that cannot keep the ledger's promises (`capillary.ledger.soundness`).
        SchemaBehind: the tables are from before the first release.
        SchemaDiffers: the tables are of another version than the code, as while an update is rolled out.
        LedgerUnavailable: the database does not answer, or takes no writes now.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Clock | None = None,
        check_schema: bool = True,
        new: bool = False,
        stops_only: bool = False,
        reads_only: bool = False,
        though_moved: bool = False,
        statement_s: float | None = None,
    ) -> None:
        self.url = ledger_url(url)
        self._clock = clock
        self._tables: str | None = None
        self._write_options = {"ledger_write": True}
        with explained(self.url):
            self.engine = _engine(self.url, new=new)
            if though_moved:
                self.engine = self.engine.execution_options(ledger_moved=True)
            if stops_only and self.engine.dialect.name == "postgresql":
                self._write_options["postgresql_readonly"] = False
                event.listen(self.engine, "begin", lift_limits)
            if statement_s is not None and self.engine.dialect.name == "postgresql":
                event.listen(self.engine, "begin", partial(limit_statements, statement_s))
            try:
                with self.engine.connect() as conn:
                    assert_one_name(conn)
                    if stops_only:
                        assert_takes_stops(conn)
                        assert_one_schema(conn, STOP_NAMES)
                    elif reads_only:
                        assert_one_schema(conn)
                        assert_schema_current(conn)
                        assert_rights(conn, rights=("SELECT",))
                    else:
                        self._assert_fit(conn, check_schema=check_schema and not new)
            except BaseException:
                self.engine.dispose()
                raise

    def _assert_fit(self, conn: Connection, *, check_schema: bool) -> None:
        assert_sound(conn)
        assert_options_hold(conn)
        if check_schema:
            assert_one_schema(conn)
            assert_schema_current(conn)
            assert_rights(conn)
            assert_keys(conn)
            assert_numbers_ahead(conn)
            self._tables = _tables_of(conn)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def let_go(self) -> None:
        """Close the connections that are idle now; the next transaction opens another one.

        For whoever waits long: a server ends idle connections, and has few.
        """
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """One transaction that may write: committed at the end, rolled back on any exception.

        SQLite takes its write lock at the start (``BEGIN IMMEDIATE``): a transaction that reads first
        and writes later fails at once when somebody else wrote in between, whatever the busy timeout.
        """
        with self.engine.connect() as conn:
            conn.execution_options(**self._write_options)
            with conn.begin():
                yield Transaction(conn, self.now(conn))

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """One read-only look at the ledger; whatever it writes (temporary tables apart) is rolled back.

        All its statements see the ledger as it was at the first one, so counts taken together add up.
        """
        with self.engine.connect() as conn:
            if conn.dialect.name == "postgresql":
                conn.execution_options(isolation_level="REPEATABLE READ")
            yield Transaction(conn, self.now(conn))
            conn.rollback()

    def now(self, conn: Connection) -> datetime:
        """The ledger's clock, aware UTC. Asked at the beginning of every transaction, which sees whose it is, too.

        Raises:
            LedgerUnavailable: the tables are not those that were opened: a session of a pooler with another search
                path, or a restore. Nothing was written.
            LedgerRefused: commits are not durable in this session.
        """
        if conn.dialect.name == "sqlite":
            return self._clock() if self._clock is not None else datetime.now(UTC)
        now, tables, commits = conn.execute(_BEGUN).one()
        if self._tables is not None and tables != self._tables:
            raise LedgerUnavailable(
                "the ledger's tables are not those that this task opened: the ledger was restored in the "
                "meantime, or a pooler gave it a session with another search_path. Nothing was written. Retry the "
                "task; if it fails again, set search_path for the role and not in a session"
            )
        if commits == "off":
            raise LedgerRefused(
                "PostgreSQL says synchronous_commit=off in this session, and a lost commit can enrol a customer "
                "twice: somebody has set it in a session that a pooler shares. Reconnect the pooler's sessions"
            )
        return self._clock() if self._clock is not None else now.astimezone(UTC)


_BEGUN: Final = text(f"SELECT clock_timestamp(), {TABLES_FOUND}, current_setting('synchronous_commit')")


def _tables_of(conn: Connection) -> str | None:
    if conn.dialect.name == "sqlite":
        return None
    found: str = conn.execute(text(f"SELECT {TABLES_FOUND}")).scalar_one()
    return found


def ledger_url(url: str | URL) -> URL:
    """Return ``url`` with the driver this project uses, or refuse it.

    Raises:
        LedgerRefused: neither SQLite in a file nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise LedgerRefused(
            "the ledger's address is not a database URL; give connection badge_ledger as sqlite or postgres"
        ) from None
    for part in (parsed.username, parsed.password, parsed.host, parsed.database):
        if part is not None and _UNFIT.search(part):
            raise LedgerRefused(
                "the ledger's address holds a character that no address may hold (NUL, or half of a pair); write "
                "connection badge_ledger again"
            )
    if backend in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
        assert_said_once(parsed)
        return parsed.set(query=_parameters(parsed))
    if backend == "sqlite":
        if not parsed.database or ":memory:" in parsed.database or parsed.query.get("mode") == "memory":
            raise LedgerRefused(
                "the ledger must outlive the process: give connection badge_ledger a file, not SQLite in memory"
            )
        return parsed.set(drivername="sqlite")
    raise LedgerRefused(
        f"the ledger cannot live in {backend}: it needs keys that are enforced and rows that lock. "
        "Point connection badge_ledger at PostgreSQL, or at a SQLite file on one machine"
    )


def _parameters(url: URL) -> dict[str, str | tuple[str, ...]]:
    """Return the address's own parameters, checked; libpq's form for several hosts is SQLAlchemy's own."""
    several = {name: value for name, value in url.query.items() if isinstance(value, tuple)}
    for name in several:
        if name not in {"host", "hostaddr", "port"}:
            raise ParameterRefused(name, "it is given twice", "Leave one of the two out")
    return {**checked({name: value for name, value in url.query.items() if name not in several}), **several}


def _engine(url: URL, *, new: bool) -> Engine:
    # hide_parameters: a database error would otherwise carry customer ids into the task's log.
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=5,
            # The driver writes it into every BEGIN. A role's own default, such as repeatable read, would fail
            # whoever waited for a row, and a claim would not see the stop that it waited for.
            isolation_level="READ COMMITTED",
            # A prepared statement outlives its transaction, and behind a pooler the next one is on another connection.
            connect_args={**defaults_for(url), "prepare_threshold": None},
        )
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    if not new:
        event.listen(engine, "do_connect", _assert_there)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "connect", _note_file)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _assert_there(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Have SQLite open a file and never make one: a ledger that was lost must not come back empty."""
    file = str(arguments[0])
    if file.startswith("file:"):  # an address of SQLite's own, which may ask for a new file
        arguments[0] = file.replace("mode=rwc", "mode=rw") if "mode=" in file else f"{file}{_next(file)}mode=rw"
        return
    if not Path(file).exists():
        where = "" if Path(file).parent.is_dir() else ", and its folder is missing"
        raise LedgerMissing(f"there is no SQLite file {file}{where}")
    # Between that look and this the file may vanish: with mode=rw nobody makes it.
    arguments[0] = f"{Path(file).absolute().as_uri()}?mode=rw"
    options["uri"] = True


def _next(address: str) -> str:
    return "&" if "?" in address else "?"


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


#: A new file is turned to WAL under a lock for which SQLite does not wait, whatever its busy timeout.
_WAL_RETRY: Final = Retrying(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(BUSY_TIMEOUT_S),
    wait=wait_random(0.01, 0.1),
    reraise=True,
)


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    dbapi_connection.isolation_level = None  # the driver's implicit BEGIN is deferred; ours is _begin_sqlite
    cursor = dbapi_connection.cursor()
    _WAL_RETRY(cursor.execute, "PRAGMA journal_mode=WAL")
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        "temp_store=FILE",
        "cache_size=-32000",
        # With 2 MB of cache and a journal in a file every batch of a copied plan touches the disk.
        "temp.cache_size=-32000",
        "temp.journal_mode=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _note_file(dbapi_connection: Any, record: Any) -> None:  # noqa: ANN401 - the driver's and the pool's own types
    """Keep which file a connection has opened: under the same name there may be another one later."""
    (place,) = [row[2] for row in dbapi_connection.execute("PRAGMA database_list") if row[1] == "main"]
    record.info["file"] = place, _identity(place)


def _assert_same_file(conn: Connection) -> None:
    place, opened = conn.info["file"]
    if _identity(place) != opened:
        conn.invalidate()
        raise LedgerUnavailable(
            f"the ledger's SQLite file {place} was moved, removed or replaced while it was open. Nothing was written. "
            "The retry continues with the file that is there then"
        )


def _identity(place: str) -> tuple[int, int] | None:
    try:
        found = os.stat(place)  # noqa: PTH116 - for every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begin_sqlite(conn: Connection) -> None:
    _assert_same_file(conn)
    options = conn.get_execution_options()
    conn.exec_driver_sql("BEGIN IMMEDIATE" if options.get("ledger_write") else "BEGIN DEFERRED")
    if options.get("ledger_moved"):
        return
    try:
        assert_not_moved(conn)
    except BaseException:
        conn.exec_driver_sql("ROLLBACK")
        raise
