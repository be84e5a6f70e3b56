"""Where a database finds the ledger's tables and how it numbers their rows, asked when the ledger is opened.

Two copies of one table are two ledgers: whoever reads enrolments from the one and writes them to the other plans
everybody again. The same holds of a SQLite file that two processes know under two names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text

from capillary.ledger.errors import LedgerRefused
from capillary.ledger.revision import VERSION_TABLE
from capillary.ledger.schema import metadata

#: Tables and views that the ledger reads by their bare names.
NAMES: Final = (*sorted(metadata.tables), "badge_customer_status", "badge_funnel", "badge_waiting", VERSION_TABLE)
#: What an emergency stop and the claims that it stops must find in one place.
STOP_NAMES: Final = ("badge_request", "badge_run", "badge_stop")
#: The tables of one session, as one text: the numbers that PostgreSQL gives them, NULL for what is not found.
TABLES_FOUND: Final = (
    "CAST(ARRAY[" + ", ".join(f"CAST(to_regclass('{name}') AS oid)" for name in sorted(metadata.tables)) + "] AS text)"
)
_SCHEMAS: Final = text("""
    SELECT s.nspname, array_agg(t.name ORDER BY t.name) AS names, s.oid = pg_my_temp_schema() AS temporary
    FROM unnest(CAST(:names AS text[])) AS t(name)
    JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name)) JOIN pg_namespace s ON s.oid = c.relnamespace
    GROUP BY s.oid, s.nspname ORDER BY count(*), s.nspname
""")

#: Tables whose rows the database numbers.
_NUMBERED: Final = tuple(
    sorted(name for name, each in metadata.tables.items() if each.autoincrement_column is not None)
)
_NUMBERS: Final = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS name, (SELECT max(id) FROM {name}) AS newest, "  # noqa: S608 - names of our own
        f"pg_get_serial_sequence('{name}', 'id') AS sequence"
        for name in _NUMBERED
    )
)
#: Numbers of rows that were deleted must not come back (AUTOINCREMENT).
_NEVER_AGAIN: Final = tuple(
    name for name in _NUMBERED if metadata.tables[name].dialect_options["sqlite"]["autoincrement"]
)

_REMEDY: Final = "SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"
_SQLITE_REMEDY: Final = (
    "DELETE FROM sqlite_sequence WHERE name = '{name}'; "
    "INSERT INTO sqlite_sequence SELECT '{name}', max(id) FROM {name}"
)

#: Filesystems that several machines mount. SQLite's write-ahead log is shared by memory, which they do not share.
_OF_SEVERAL_MACHINES: Final = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|ceph|lustre|gpfs|beegfs|gfs2|ocfs2|fuse\.(sshfs|glusterfs|ceph.*|s3fs|juicefs|rclone)"
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def assert_one_schema(conn: Connection, names: tuple[str, ...] = NAMES) -> None:
    """Refuse tables that a search path finds in several schemas, or temporary ones in their place.

    Raises:
        LedgerRefused: naming them.
    """
    if conn.dialect.name == "sqlite":
        return
    schemas = conn.execute(_SCHEMAS, {"names": list(names)}).all()
    if any(each.temporary for each in schemas):
        found = next(each for each in schemas if each.temporary)
        raise LedgerRefused(
            f"temporary tables of this session hide the ledger's: {', '.join(found.names)}. A pooler gave it a "
            "session in which somebody else had made them: reconnect the pooler's sessions, and have it reset them "
            "(server_reset_query)"
        )
    if len(schemas) > 1:
        told = "; ".join(f"{', '.join(each.names)} in {each.nspname}" for each in schemas[:-1])
        raise LedgerRefused(
            f"the search path finds the ledger's tables in several schemas ({told}; the others in "
            f"{schemas[-1].nspname}): with a part of the rows elsewhere customers are planned again. Have the search "
            "path name the ledger's schema first"
        )


def assert_numbers_ahead(conn: Connection) -> None:
    """Refuse tables whose next row would get the number of one that is there, or none.

    Logical replication copies rows and not sequences; rows that were copied by hand leave them behind, too.

    Raises:
        LedgerRefused: naming the tables, and the statements that fix them.
    """
    on_sqlite = conn.dialect.name == "sqlite"
    behind = _behind_on_sqlite(conn) if on_sqlite else _behind_on_postgresql(conn)
    if behind:
        remedy = _SQLITE_REMEDY if on_sqlite else _REMEDY
        raise LedgerRefused(
            f"the next row of {', '.join(behind)} would get a number that is taken, or none: rows were copied without "
            "what numbers them, as logical replication does. Stop every task, then as the tables' owner: "
            + "; ".join(remedy.format(name=name) for name in behind)
        )


def assert_one_name(conn: Connection) -> None:
    """Refuse a SQLite file that other processes may have open under another name, or on another machine.

    SQLite keeps its write-ahead log and its locks beside the name: two names are two logs, and each writer sees
    nothing of the other.

    Raises:
        LedgerRefused: the file has several names, is mounted alone, or lies on a network's filesystem.
    """
    if conn.dialect.name != "sqlite":
        return
    driver: Any = conn.connection.driver_connection  # SQLAlchemy's own would begin a transaction
    (place,) = [row[2] for row in driver.execute("PRAGMA database_list") if row[1] == "main"]
    names = os.stat(place).st_nlink  # noqa: PTH116 - as the driver names it
    if names > 1:
        raise LedgerRefused(
            f"the ledger's SQLite file {place} has {names} names (hard links), and a process that opens it by another "
            "name does not see what is written here. Remove the other names: find their place with find -samefile"
        )
    mount = _mount_of(Path(place).resolve())
    if mount is None:
        return
    where, kind = mount
    if where == Path(place).resolve():
        raise LedgerRefused(
            f"the ledger's SQLite file {place} is mounted alone, and its write-ahead log stays outside: other "
            "containers do not see what is written here. Mount the folder instead"
        )
    if _OF_SEVERAL_MACHINES.fullmatch(kind):
        raise LedgerRefused(
            f"the ledger's SQLite file {place} is on a filesystem that several machines may mount ({kind}), and "
            "SQLite's write-ahead log works on one machine alone. Put the file on a local disk, or give the ledger "
            "PostgreSQL"
        )


def _behind_on_postgresql(conn: Connection) -> list[str]:
    behind = []
    for row in conn.execute(_NUMBERS).all():
        if row.sequence is None:
            behind.append(row.name)
        elif row.newest is not None:
            last = _last_number(conn, row.sequence)
            behind += [row.name] if last < row.newest else []
    return behind


def _last_number(conn: Connection, sequence: str) -> int:
    """Return the last number that a sequence gave; one that tells none gives its next one, which is lost."""
    for question in ("pg_sequence_last_value", "nextval"):
        last: int | None = conn.execute(
            text(f"SELECT {question}(CAST(:sequence AS regclass))"),
            {"sequence": sequence},
        ).scalar_one()
        if last is not None:
            return last
    raise AssertionError("nextval gave no number")


def _behind_on_sqlite(conn: Connection) -> list[str]:
    there = conn.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").first()
    rows = conn.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all() if there else ()
    given: dict[str, int] = {row.name: row.seq for row in rows if isinstance(row.seq, int)}
    behind = []
    for name in _NEVER_AGAIN:
        newest = conn.exec_driver_sql(f"SELECT max(id) FROM {name}").scalar_one()  # noqa: S608 - a name of our own
        behind += [name] if newest is not None and given.get(name, 0) < newest else []
    return behind


def _mount_of(place: Path) -> tuple[Path, str] | None:
    """Return where the filesystem of a file is mounted, and its kind; None where the system does not tell (no Linux).

    See proc(5), /proc/pid/mountinfo: the mount point is the fifth field, the kind the first one after the dash.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    mounts = []
    for line in lines:
        before, _, after = line.partition(" - ")
        where = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4]))
        if place.is_relative_to(where):
            mounts.append((where, after.split(" ")[0]))
    # Of two on one place the later one lies above.
    return max(reversed(mounts), key=lambda mount: len(mount[0].parts), default=None)
