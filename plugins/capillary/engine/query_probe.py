"""Ask a database whether a query can be run, and which columns it has, without a row of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from capillary.engine.eligibility import QueryRefused, bound_names, failed_query, only_customer_column, read_only
from capillary.engine.query_tail import without_tail

#: How long PostgreSQL may take over the plan of a query, milliseconds.
_PLAN_WITHIN_MS: Final = 10_000
#: Dialects whose EXPLAIN compiles a query, runs nothing of it and writes nothing: documented as such by each. MySQL's
#: runs derived tables, Oracle's writes into PLAN_TABLE, others have none.
EXPLAINS: Final = frozenset({"duckdb", "redshift", "snowflake"})
#: SQLite names the second of two columns of one name `name:1`.
_NUMBERED: Final = re.compile(r":\d+\Z")


class Depth(StrEnum):
    """How far a query was looked at."""

    COLUMNS = "columns"  #: its tables, names, parameters and columns
    NAMES = "names"  #: all but its columns
    NOTHING = "nothing"  #: this database cannot be asked without running the query


def probe_query(engine: Engine, sql: str, parameters: Mapping[str, object]) -> Depth:
    """Look at a query as far as its database lets without fetching a row, read-only, and say how far that was.

    Raises:
        QueryRefused, QueryInterrupted, ColumnMissing, ParameterMissing: as reading its rows would
            (`capillary.engine.eligibility.read_rows`).
    """
    dialect = engine.dialect.name
    if dialect not in {"postgresql", "sqlite"} | EXPLAINS:
        bound_names(text(sql), parameters)
        return Depth.NOTHING
    try:
        with engine.connect() as conn, read_only(conn):
            if dialect in EXPLAINS:
                statement = text(f"EXPLAIN {without_tail(sql)}")
                conn.execute(statement, bound_names(statement, parameters)).close()
                return Depth.NAMES
            _look_at_columns(conn, sql, parameters)
            return Depth.COLUMNS
    except SQLAlchemyError as error:
        raise failed_query(error, engine) from None


def _look_at_columns(conn: Connection, sql: str, parameters: Mapping[str, object]) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"SET LOCAL statement_timeout = {_PLAN_WITHIN_MS}")
    # A comment at the query's end must not swallow the bracket.
    statement = text(f"SELECT * FROM (\n{without_tail(sql)}\n) q WHERE 1 = 0")
    with conn.execute(statement, bound_names(statement, parameters)) as result:
        if not result.returns_rows:
            raise QueryRefused(reason="it returns no rows; it must be one SELECT")
        columns = list(result.keys())
    if conn.dialect.name == "sqlite":
        columns = [_NUMBERED.sub("", column) for column in columns]
    only_customer_column(columns)
