"""Rows of a SQLite file that PostgreSQL would alter or refuse: SQLite keeps any value in any column.

This project writes none of them; somebody's hand has.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Integer, String, Table, text

from capillary.ledger.errors import CopyRefused


def assert_fit(old: Connection, table: Table) -> None:
    """Refuse values of another kind than their column, and texts that are longer.

    PostgreSQL takes bytes for the text that writes them, cuts blanks off at the end of a text that is too long, and
    any number for a truth: none of that would be a copy.

    Raises:
        CopyRefused: naming the table and the columns.
    """
    questions = ", ".join(f"MAX({column.name} IS NOT NULL AND NOT ({_fits(column)}))" for column in table.columns)
    found = old.execute(text(f"SELECT {questions} FROM {table.name}")).one()  # noqa: S608 - names of our own
    if unfit := [column.name for column, is_unfit in zip(table.columns, found, strict=True) if is_unfit]:
        raise row_unfit(table, ", ".join(unfit))


def row_unfit(table: Table, why: str) -> CopyRefused:
    """Return what to raise for a row, without its values."""
    return CopyRefused(
        f"a row of {table.name} does not fit PostgreSQL ({why}): it was not written by this project. Correct it in the "
        "old ledger"
    )


def is_undecodable(error: Exception) -> bool:
    """Return whether Python could not read a text of the file: it raises SQLite's error, without a code of SQLite."""
    driver = getattr(error, "orig", None) or error
    return isinstance(driver, sqlite3.OperationalError) and not hasattr(driver, "sqlite_errorcode")


def _fits(column: Column[Any]) -> str:
    """Return the condition in SQL that a value of a column fits; whether a text is a time is seen when it is read."""
    kind, name = column.type, column.name
    if isinstance(kind, Boolean):
        return f"typeof({name}) = 'integer' AND {name} IN (0, 1)"
    if isinstance(kind, Integer):
        return f"typeof({name}) = 'integer'"
    is_text = f"typeof({name}) = 'text'"
    return f"{is_text} AND length({name}) <= {kind.length}" if isinstance(kind, String) and kind.length else is_text
