"""The mark of a SQLite ledger that was copied into another database: whoever used both would send customers twice.

It is a table that no other ledger has, so that a copy or a backup of the file bears it as well. It is looked for in
every transaction: a task that had opened the file before the copy must not go on in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Connection, MetaData, String, Table, insert, select, text, update

from capillary.ledger.errors import LedgerMoved
from capillary.ledger.schema import UtcDateTime

# Not one of the ledger's own tables: no new ledger gets it.
_badge_moved = Table(
    "badge_moved",
    MetaData(),
    Column("place", String, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Column("server", String, nullable=False),
    Column("database_oid", BigInteger, nullable=False),
    Column("schema_oid", BigInteger, nullable=False),
    Column("confirmed", Boolean, nullable=False),
)
_THERE = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'badge_moved'")


@dataclass(frozen=True, slots=True)
class Target:
    """Which schema of which database on which server, whatever address and user lead there.

    Attributes:
        server: its system identifier; where it refuses to tell, the host and port that answered.
        database_oid: the database's number there: one that is dropped and made again has another.
        schema_oid: the schema's number, likewise.
    """

    server: str
    database_oid: int
    schema_oid: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a ledger was copied to.

    Attributes:
        place: the database's address, without user and password.
        moved_at: by the old ledger's clock.
        target: what the address led to.
        confirmed: whether the copy is known to have come to its end; without that it may have been cut off.
    """

    place: str
    moved_at: datetime
    target: Target
    confirmed: bool = False


def moved(conn: Connection) -> Moved | None:
    """Return where the SQLite ledger was copied to, or None."""
    if conn.execute(_THERE).first() is None:
        return None
    row = conn.execute(select(_badge_moved)).one()
    target = Target(row.server, row.database_oid, row.schema_oid)
    return Moved(row.place, row.moved_at, target, confirmed=row.confirmed)


def mark_moved(conn: Connection, mark: Moved) -> None:
    """Write down where the SQLite ledger is copied to, in the connection's transaction, in place of an earlier mark."""
    _badge_moved.drop(conn, checkfirst=True)
    _badge_moved.create(conn)
    conn.execute(
        insert(_badge_moved),
        {
            "place": mark.place,
            "moved_at": mark.moved_at,
            "server": mark.target.server,
            "database_oid": mark.target.database_oid,
            "schema_oid": mark.target.schema_oid,
            "confirmed": mark.confirmed,
        },
    )


def confirm_moved(conn: Connection) -> None:
    """Write down that the copy has come to its end: from then on the file is stale, whatever becomes of the copy."""
    conn.execute(update(_badge_moved).values(confirmed=True))


def assert_not_moved(conn: Connection) -> None:
    """Refuse a SQLite ledger that was copied into another database.

    Raises:
        LedgerMoved: it was.
    """
    if (mark := moved(conn)) is not None:
        raise LedgerMoved(f"{mark.moved_at:%Y-%m-%d %H:%M} UTC", mark.place)
