"""The mark of a SQLite ledger that was copied into another database: whoever used both would send customers twice.

It is a table that no other ledger has, so that a copy or a backup of the file bears it as well. It is looked for in
every transaction: a task that had opened the file before the copy must not go on in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, select, text

from capillary.ledger.errors import LedgerMoved
from capillary.ledger.schema import UtcDateTime

# Not one of the ledger's own tables: no new ledger gets it.
_badge_moved = Table(
    "badge_moved",
    MetaData(),
    Column("place", String, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
)
_THERE = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'badge_moved'")


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a ledger was copied to.

    Attributes:
        place: the database, without user and password.
        moved_at: by the old ledger's clock.
    """

    place: str
    moved_at: datetime


def moved(conn: Connection) -> Moved | None:
    """Return where the SQLite ledger was copied to, or None."""
    if conn.execute(_THERE).first() is None:
        return None
    return Moved(*conn.execute(select(_badge_moved.c.place, _badge_moved.c.moved_at)).one())


def mark_moved(conn: Connection, mark: Moved) -> None:
    """Write down where the SQLite ledger was copied to, in the connection's transaction."""
    _badge_moved.create(conn)
    conn.execute(insert(_badge_moved), {"place": mark.place, "moved_at": mark.moved_at})


def assert_not_moved(conn: Connection) -> None:
    """Refuse a SQLite ledger that was copied into another database.

    Raises:
        LedgerMoved: it was.
    """
    if (mark := moved(conn)) is not None:
        raise LedgerMoved(f"{mark.moved_at:%Y-%m-%d %H:%M} UTC", mark.place)
