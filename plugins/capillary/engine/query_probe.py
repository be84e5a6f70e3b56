"""Ask a database whether a query can be run, and which columns it has, without a row of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import Engine

from capillary.engine.query_errors import failed_query
from capillary.engine.query_parameters import prepare
from capillary.engine.sql_tokens import GRAMMARS, STANDARD, Kind, tokens
from capillary.engine.warehouse import only_customer_column, read_only, started
from capillary.errors import CapillaryError

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
        QueryRefused, LoginRefused, QueryInterrupted, ColumnMissing, ParameterMissing, ParameterInvalid, CommentOpen: as
            reading its rows would (`capillary.engine.warehouse.read_rows`).
    """
    dialect = engine.dialect.name
    prepare(sql, parameters, engine.dialect)  # a fault of the query's own is told in the query's own words
    if dialect in EXPLAINS:
        question, depth = f"EXPLAIN {sql}", Depth.NAMES
    elif dialect in {"postgresql", "sqlite"}:
        # A comment at the query's end must not swallow the bracket.
        question = f"SELECT * FROM (\n{_without_semicolon(sql, dialect)}\n) q WHERE 1 = 0"  # noqa: S608 - the campaign's SQL
        depth = Depth.COLUMNS
    else:
        return Depth.NOTHING
    try:
        with engine.connect() as conn, read_only(conn):
            if dialect == "postgresql":
                conn.exec_driver_sql(f"SET LOCAL statement_timeout = {_PLAN_WITHIN_MS}")
            with started(conn, *prepare(question, parameters, engine.dialect), parameters) as result:
                columns = list(result.keys())
    except CapillaryError:
        raise
    except Exception as error:  # noqa: BLE001 - some drivers raise their HTTP client's beside their own
        raise failed_query(error, engine, sql) from None
    if depth is Depth.COLUMNS:
        only_customer_column([_NUMBERED.sub("", column) if dialect == "sqlite" else column for column in columns])
    return depth


def _without_semicolon(sql: str, dialect: str) -> str:
    """Return a query without the semicolon at its end and what follows it, where that is but space and comments.

    A second one is left, and refused within the brackets: SQLite takes it for another statement.
    """
    pieces = list(tokens(sql.removeprefix("\ufeff"), GRAMMARS.get(dialect, STANDARD)))
    for index in range(len(pieces) - 1, -1, -1):
        kind, piece = pieces[index]
        if piece == ";" and kind is Kind.SIGN:
            return "".join(each.text for each in pieces[:index])
        if kind not in {Kind.SPACE, Kind.COMMENT}:
            break
    return sql
