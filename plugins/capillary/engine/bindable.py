"""Which values a driver can bind: asked of the driver itself where it can be asked without its database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from importlib import import_module
from typing import Final
from uuid import UUID

from sqlalchemy import Dialect

#: What every driver is taken to bind, where it cannot be asked.
_PLAIN: Final = (str, int, float, Decimal, bytes, date, time, timedelta, UUID, type(None))


def listed(value: object) -> list[object] | None:
    """Return the values of a list, a tuple, a set or the like; None for what is one value."""
    if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return list(value)
    return None


def is_nan(value: object) -> bool:
    """Return whether a value is not a number or time: nothing equals it, and SQLite makes NULL of it."""
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float | datetime) and value != value  # noqa: PLR0124 - NaN and NaT alone differ


def as_bound(value: object, dialect: Dialect) -> object:
    """Return a value as it is handed to the driver: SQLite has no dates, and keeps them as text."""
    if dialect.name != "sqlite":
        return value
    if isinstance(value, tuple):  # a row of values in IN
        return tuple(as_bound(each, dialect) for each in value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, date) else value


def unbindable(values: Iterable[object], dialect: Dialect) -> tuple[str, str] | None:
    """Return why the driver cannot bind the first such value, and what to do; None where it can bind all of them.

    No value is repeated: it may be a customer's own.
    """
    with _driver(dialect) as bind:
        for value in values:
            if any(isinstance(each, Enum) and not isinstance(each, str | int) for each in listed(value) or [value]):
                return "a driver binds an Enum's name and not its value", "Give its value: Tier.GOLD.value"
            try:
                bind(value)
            except Exception as error:  # noqa: BLE001 - a driver raises what it likes
                return _reason(error, value, dialect)
    return None


def _reason(error: Exception, value: object, dialect: Dialect) -> tuple[str, str]:
    if isinstance(error, UnicodeError) or (isinstance(value, str) and "\0" in value):
        return "its text holds a character that no database keeps", "Give text without NUL and lone surrogates"
    if isinstance(error, OverflowError):
        return f"its number is too large for {dialect.name}", "Give at most 9223372036854775807"
    if isinstance(value, list):
        return (
            f"its list holds values that {dialect.driver} cannot bind together",
            "Give texts, numbers or dates, all of one type",
        )
    return (
        f"a value of type {type(value).__name__} cannot be bound by {dialect.driver}",
        "Give text, a whole number, a date, or a list of those",
    )


@contextmanager
def _driver(dialect: Dialect) -> Iterator[Callable[[object], object]]:
    """Yield what raises whatever the driver raises when it binds a value. No database is asked."""
    if dialect.name == "sqlite":
        with closing(sqlite3.connect(":memory:")) as memory:
            # A row of values in IN has a bind for each.
            yield lambda value: [
                memory.execute("SELECT ?", (_of_sqlite(as_bound(each, dialect)),))
                for each in (value if isinstance(value, tuple) else [value])
            ]
    elif dialect.driver == "psycopg":
        from psycopg.adapt import PyFormat, Transformer  # noqa: PLC0415 - the driver may be another, or missing

        yield lambda value: Transformer().dump_sequence([value], [PyFormat.AUTO])
    elif dialect.driver == "psycopg2":
        adapt = import_module("psycopg2.extensions").adapt
        yield lambda value: adapt(value).getquoted()
    else:
        yield _assert_plain


def _of_sqlite(value: object) -> object:
    """Return a value that SQLite stores as what it is. What has a buffer it takes as bytes, numpy's numbers too."""
    if not isinstance(value, str | int | float | bytes | None) or (isinstance(value, str) and "\0" in value):
        raise TypeError
    return value


def is_table(value: object) -> bool:
    """Return whether a value is a table or matrix, which as a list would be its columns' names or its rows."""
    dimensions = getattr(value, "ndim", 1)
    return isinstance(dimensions, int) and dimensions > 1


def _assert_plain(value: object) -> None:
    for each in listed(value) or [value]:
        if not isinstance(each, _PLAIN):
            raise TypeError
        if isinstance(each, str):
            each.encode()
