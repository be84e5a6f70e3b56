"""A ledger in a SQLite file is copied into PostgreSQL, whole or not at all, and is not used any more afterwards.

All of the new ledger is one transaction, its tables too: whatever cuts it off leaves a database without a ledger, which
nobody can use, and the command is run again. The old file is locked in the meantime, so nothing is written behind the
copy. Its mark (`capillary.ledger.moved`) is committed before the new ledger is: for a moment there is no ledger that
can be used, and there are never two. Once the new ledger is committed the mark says so: a file that is stale is not
copied again.

What may be open. Requests that are planned, wait for a human or have been in doubt for long are rows and nothing else:
plans keep their numbers and tokens, and tasks go on in the new ledger. A POST that may still be on its way is refused:
its answer would have no place to go, and its doubt would end by another clock than it began by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, func, select, text

from capillary.counted import counted
from capillary.errors import CapillaryError
from capillary.ledger.check import faults
from capillary.ledger.copy_refused import assert_no_ledger, assert_not_elsewhere, rows_of
from capillary.ledger.copy_target import found_in, target_of
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import CopyRefused, LedgerUnavailable
from capillary.ledger.migrate import alone, to_newest, upgrade
from capillary.ledger.moved import Moved, confirm_moved, mark_moved, moved
from capillary.ledger.one_place import assert_numbers_ahead, assert_one_schema
from capillary.ledger.opening import DATABASE_ERRORS, place_of, reason_of
from capillary.ledger.revision import assert_schema_current, current_revision
from capillary.ledger.schema import badge_request, badge_run, badge_server, metadata
from capillary.ledger.soundness import assert_keys, assert_rights, lift_limits
from capillary.ledger.status import RequestStatus
from capillary.ledger.unfit_rows import assert_fit, is_undecodable, row_unfit

#: How far the two databases' clocks may be apart: what one began to wait for is over by the other.
CLOCKS_APART: Final = timedelta(seconds=60)
#: What is copied, in the order of the foreign keys. Which server it is, each ledger knows of itself.
TABLES: Final = tuple(table for table in metadata.sorted_tables if table is not badge_server)
_ROWS_AT_ONCE: Final = 10_000
_NUMBERED_FROM: Final = text("SELECT setval(CAST(pg_get_serial_sequence(:name, :column) AS regclass), :last)")
_LAST_NUMBER: Final = text("SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:name, :column) AS regclass))")
_FAILURES: Final[tuple[type[Exception], ...]] = (CapillaryError, *DATABASE_ERRORS)


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        place: the new database, without user and password.
        rows: rows by table.
        before: whether an earlier copy had come to its end, and nothing was left to do.
        is_mark_in_log: whether somebody who reads the old file keeps the mark in its write-ahead log: a plain copy of
            the file without that does not bear it.
    """

    place: str
    rows: Mapping[str, int]
    before: bool = False
    is_mark_in_log: bool = False


def migrate_if_cut_off(source: Ledger) -> None:
    """Migrate a file whose copy was cut off before an update of the code: `ledger upgrade` refuses it.

    Args:
        source: in SQLite, opened `though_moved` and without a look at its version.

    Raises:
        LedgerMissing, SchemaBehind, SchemaDiffers: as from `upgrade`.
    """
    with source.read() as tx:
        mark = moved(tx.conn)
    if mark is not None and not mark.confirmed:
        upgrade(source.engine)


def copy_ledger(source: Ledger, target: Ledger) -> Copied:
    """Copy a ledger into a database without one, check it there, and mark the old one as moved.

    Args:
        source: in SQLite, opened `though_moved`: an earlier copy may have been cut off after the mark.
        target: in PostgreSQL, opened as `new`: without any table of a ledger.

    Raises:
        CopyRefused: something is in flight, the new database has tables of a ledger, the old one was moved elsewhere
            or is stale, or the rows do not keep the ledger's rules. Nothing was copied.
        SchemaBehind, SchemaDiffers: one of the two is of another version than the code.
        LedgerRefused, LedgerUnavailable: a database refuses it, or cannot be reached. Nothing was copied, unless the
            sentence says that the last commit was not confirmed, or that the copy is whole.
    """
    place = place_of(target.url)
    is_marked = False
    try:
        with alone(target.engine) as new:
            lift_limits(new)
            assert_one_schema(new)
            found = found_in(new)
            if current_revision(new) is not None:
                assert_schema_current(new)
            if not found.names:
                to_newest(new)
                _lock(new)
            here = target_of(Transaction(new, target.now(new)))
            with _held(source) as old:
                mark = moved(old.conn)
                before = mark is not None and mark.target == here and found.is_whole and _is_copy(old.conn, new)
                if before:
                    rows = {table.name: rows_of(new, table) for table in TABLES}
                else:
                    assert_not_elsewhere(mark, here, new, found)
                    assert_no_ledger(new, mark, found, place, TABLES)
                    _assert_may_be_copied(old, new, place, target)
                    rows = {table.name: _copy(old.conn, new, table) for table in TABLES}
                    _set_numbers(old.conn, new)
                    _assert_whole(old, Transaction(new, target.now(new)), rows)
                    mark_moved(old.conn, Moved(place, old.now, here))
            is_marked = not before
    except _FAILURES as error:
        if not is_marked:
            raise
        raise LedgerUnavailable(
            f"the database at {place} did not confirm the last commit ({type(error).__name__}), and the old ledger is "
            "marked as moved: run the same command again. It finds the copy whole, or copies again"
        ) from None
    return Copied(place, rows, before=before, is_mark_in_log=_is_in_log_after_confirming(source, place))


def _is_in_log_after_confirming(source: Ledger, place: str) -> bool:
    """Write into the old file that the copy is whole, and return whether the mark stays in the write-ahead log.

    The log goes into the file, since a plain copy of the file is made without it. A reader may hold that up.
    """
    try:
        with source.write() as tx:
            confirm_moved(tx.conn)
        with source.engine.connect() as conn:
            driver: Any = conn.connection.driver_connection  # SQLAlchemy's own would begin a transaction
            (is_busy, _, _) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except _FAILURES as error:
        raise LedgerUnavailable(
            f"the copy at {place} is whole, and the old file does not take a note of it ({type(error).__name__}): run "
            "the same command again before anything else"
        ) from None
    return bool(is_busy)


@contextmanager
def _held(source: Ledger) -> Iterator[Transaction]:
    """One transaction of the old ledger during which nobody writes to it."""
    try:
        with source.write() as tx:
            assert_schema_current(tx.conn)
            yield tx
    except DATABASE_ERRORS as error:
        if isinstance(getattr(error, "orig", error), sqlite3.Error):
            raise reason_of(error, source.url) from None
        raise  # the new database's


def _lock(new: Connection) -> None:
    """Let nobody write into the new ledger, and ask everything that whoever opens it asks."""
    new.execute(text(f"LOCK TABLE {', '.join(table.name for table in TABLES)} IN SHARE ROW EXCLUSIVE MODE"))
    assert_one_schema(new)
    assert_rights(new)
    assert_keys(new)


def _is_copy(old: Connection, new: Connection) -> bool:
    """Return whether the ledger in the marked place is this one's copy: it has its plans, whose tokens are in no other.

    Without plans it must have every row as it was, and have given every number.
    """
    tokens = select(badge_run.c.token)
    if planned := {*old.execute(tokens).scalars()}:
        return planned <= {*new.execute(tokens).scalars()}
    for table in TABLES:
        rows = {tuple(row) for row in old.execute(select(table))}
        if rows and not rows <= {tuple(row) for row in new.execute(select(table))}:
            return False
    return all(
        last <= (new.execute(_LAST_NUMBER, {"name": table.name, "column": column.name}).scalar_one() or 0)
        for table, column, last in _given(old)
    )


def _assert_may_be_copied(old: Transaction, new: Connection, place: str, target: Ledger) -> None:
    apart = abs(target.now(new) - old.now)
    if apart > CLOCKS_APART:
        raise CopyRefused(
            f"this machine's clock and that of {place} are {apart.total_seconds():.0f} s apart, and what waits by one "
            "of them would end by the other: set both by a time server"
        )
    _assert_nothing_in_flight(old)
    if found := faults(old):
        raise CopyRefused("\n  ".join(["its rows break the ledger's rules; keep everything, and report:", *found]))


def _assert_nothing_in_flight(old: Transaction) -> None:
    """Refuse while a POST may be on its way: until its doubt may be judged, and the clocks' difference after that."""
    request = badge_request.c
    found, until = old.conn.execute(
        select(func.count(), func.max(request.doubt_from)).where(
            request.status == RequestStatus.SENDING, request.doubt_from > old.now - CLOCKS_APART
        )
    ).one()
    if found:
        raise CopyRefused(
            f"{counted(found, 'request')} sent a short time ago without an answer yet: switch Submitting off, and run "
            f"this again after {until + CLOCKS_APART:%Y-%m-%d %H:%M:%S} UTC, or as soon as wait or badge_upkeep has "
            "found them on the platform"
        )


def _copy(old: Connection, new: Connection, table: Table) -> int:
    """Copy all rows of one table and return how many."""
    assert_fit(old, table)
    columns = ", ".join(new.dialect.identifier_preparer.quote(column.name) for column in table.columns)
    raw: Any = new.connection.driver_connection
    driver: Any = new.dialect.loaded_dbapi
    unfit = (driver.DataError, driver.IntegrityError, ValueError, TypeError)
    copied = 0
    try:
        rows = old.execute(select(table), execution_options={"yield_per": _ROWS_AT_ONCE})
        with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
                copied += 1
    except unfit as error:  # its text quotes the row
        raise row_unfit(table, type(error).__name__) from None
    except DATABASE_ERRORS as error:
        if is_undecodable(error):
            raise row_unfit(table, "a text is not UTF-8") from None
        if not isinstance(error, driver.Error):
            raise
        raise LedgerUnavailable(
            f"lost the connection to the new database while {table.name} was copied ({type(error).__name__}); nothing "
            "was copied. Run the command again"
        ) from None
    new.execute(text(f"ANALYZE {table.name}"))  # the checks would read row by row without
    return copied


def _given(old: Connection) -> Iterator[tuple[Table, Column[Any], int]]:
    """Yield the tables whose rows are numbered, the column, and the last number that was given."""
    given: dict[str, int] = {
        row.name: row.seq
        for row in old.execute(text("SELECT name, seq FROM sqlite_sequence"))
        if isinstance(row.seq, int)
    }
    for table in TABLES:
        if (column := table.autoincrement_column) is None:
            continue
        last = max(old.execute(select(func.max(column))).scalar_one() or 0, given.get(table.name, 0))
        if last:
            yield table, column, last


def _set_numbers(old: Connection, new: Connection) -> None:
    """Have the new ledger number on where the old one was: a number that was given never comes back."""
    for table, column, last in _given(old):
        new.execute(_NUMBERED_FROM, {"name": table.name, "column": column.name, "last": last})
    assert_numbers_ahead(new)


def _assert_whole(old: Transaction, new: Transaction, rows: Mapping[str, int]) -> None:
    """Hold the copy against the old ledger and against the ledger's own rules."""
    for table in TABLES:
        counts = rows_of(old.conn, table), rows[table.name], rows_of(new.conn, table)
        if len(set(counts)) > 1:
            raise CopyRefused(
                f"{table.name} has {counted(counts[0], 'row')}, {counts[1]} were read and {counts[2]} arrived; nothing "
                "was copied. Check the old file (PRAGMA integrity_check), and report"
            )
    if found := faults(new):
        raise CopyRefused("\n  ".join(["the copy breaks the ledger's rules; nothing was copied. Report:", *found]))
