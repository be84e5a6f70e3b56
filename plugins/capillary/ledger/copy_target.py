"""The database that a ledger is copied into: which one it really is, and what of a ledger stands there.

An address does not tell: one database has several names, and one address may lead to several databases (a socket's
folder, several hosts, a search path).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, text

from capillary.ledger.database import Transaction
from capillary.ledger.moved import Target
from capillary.ledger.one_place import NAMES
from capillary.ledger.server import system_identifier

_HERE: Final = text(
    "SELECT CAST(d.oid AS bigint), CAST(n.oid AS bigint) FROM pg_database d, pg_namespace n "
    "WHERE d.datname = current_database() AND n.nspname = current_schema()"
)
_DATABASE_THERE: Final = text("SELECT 1 FROM pg_database WHERE oid = CAST(:oid AS oid)")
_SCHEMA_THERE: Final = text("SELECT 1 FROM pg_namespace WHERE oid = CAST(:oid AS oid)")
_FOUND: Final = text("""
    SELECT t.name, format('%I.%I', s.nspname, c.relname) AS full_name, c.relkind IN ('r', 'p') AS is_table
    FROM unnest(CAST(:names AS text[])) AS t(name)
    JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name)) JOIN pg_namespace s ON s.oid = c.relnamespace
    ORDER BY t.name
""")


@dataclass(frozen=True, slots=True)
class Found:
    """What of a ledger a search path finds.

    Attributes:
        names: tables and views of the ledger's names.
        drop: the statement that drops them; empty where none of them is a table.
    """

    names: frozenset[str]
    drop: str

    @property
    def is_whole(self) -> bool:
        """Whether nothing of a ledger is missing."""
        return self.names == {*NAMES}


def found_in(conn: Connection) -> Found:
    """Return the ledger's tables and views that stand there already."""
    rows = conn.execute(_FOUND, {"names": list(NAMES)}).all()
    tables = [row.full_name for row in rows if row.is_table]
    return Found(frozenset(row.name for row in rows), f"DROP TABLE {', '.join(tables)} CASCADE" if tables else "")


def target_of(tx: Transaction) -> Target:
    """Return which database and schema of which server tables are made in."""
    driver: Any = tx.conn.connection.driver_connection
    database, schema = tx.conn.execute(_HERE).one()
    return Target(system_identifier(tx) or f"{driver.info.host}:{driver.info.port}", database, schema)


def is_dropped(target: Target, here: Target, conn: Connection) -> bool:
    """Return whether the server `here` is of itself says that a database, or the schema in it, is there no more."""
    if target.server != here.server or not target.server.isdigit():
        return False
    if conn.execute(_DATABASE_THERE, {"oid": target.database_oid}).first() is None:
        return True
    is_here = target.database_oid == here.database_oid
    return is_here and conn.execute(_SCHEMA_THERE, {"oid": target.schema_oid}).first() is None
