"""INSERT that lets an existing row be, on both databases."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from capillary.ledger.database import Transaction


def insert_unless_there(tx: Transaction, table: Table, values: Mapping[str, object]) -> bool:
    """Insert one row unless a unique key of it is taken; return whether it was inserted."""
    insert = sqlite_insert if tx.is_sqlite else postgresql_insert
    # RETURNING tells what happened; the row count of an INSERT is not given by every driver.
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return tx.conn.execute(statement).first() is not None
