"""INSERT that lets an existing row be, on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import Executable, Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from capillary.ledger.database import Transaction


def insert_unless_there(tx: Transaction, table: Table, values: Mapping[str, object]) -> bool:
    """Insert one row unless a unique key of it is taken; return whether it was inserted."""
    return tx.conn.execute(_statement(table, sqlite=tx.is_sqlite), dict(values)).first() is not None


@cache
def _statement(table: Table, *, sqlite: bool) -> Executable:
    insert = sqlite_insert if sqlite else postgresql_insert
    # RETURNING tells what happened; the row count of an INSERT is not given by every driver.
    return insert(table).on_conflict_do_nothing().returning(*table.primary_key)
