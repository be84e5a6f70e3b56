"""Stream the campaign's query from the warehouse: one column, `customer_id`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Engine, TextClause

from capillary.engine.errors import QueryRefused
from capillary.engine.query_errors import failed_query
from capillary.engine.query_parameters import prepare
from capillary.errors import CapillaryError, TerminalError

#: The column of the query that is read, in any case; warehouses fold names up or down.
CUSTOMER_COLUMN: Final = "customer_id"

_COLUMNS_NAMED: Final = 20


class ColumnMissing(TerminalError):
    """The query has no column `customer_id`, or more than one."""

    def __init__(self, *, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        several = sum(map(_is_customer_column, columns)) > 1
        named = ", ".join(columns[:_COLUMNS_NAMED]) + (", …" if len(columns) > _COLUMNS_NAMED else "")
        super().__init__(
            f"The query has {'several columns' if several else 'no column'} {CUSTOMER_COLUMN} "
            f"(its columns: {named or 'none'}). Select the customers AS {CUSTOMER_COLUMN}, once."
        )


def read_rows(
    engine: Engine, sql: str, parameters: Mapping[str, object], *, partition_rows: int = 5000
) -> Iterator[list[object]]:
    """Yield the values of the column `customer_id` in lists of at most `partition_rows`, as they stream in.

    `:name` in the SQL binds; parameters that the SQL does not name are left out. The look is read-only on
    PostgreSQL and SQLite, and rolled back everywhere. Nothing is asked of the database before the first step.

    Raises:
        QueryRefused: the database says that the SQL is wrong or not allowed.
        LoginRefused: it does not take the login.
        QueryInterrupted: the database is out of reach, busy, or ended the query.
        ColumnMissing: no column `customer_id`, or several.
        ParameterMissing, ParameterInvalid: the SQL names a parameter that is not given, or cannot be bound.
        CommentOpen: a comment of the SQL has no end.
        ValueError: `partition_rows` is below 1.
    """
    if partition_rows < 1:
        raise ValueError(f"partition_rows must be at least 1, not {partition_rows}")
    statement, bound = prepare(sql, parameters, engine.dialect)
    try:
        with (
            engine.connect() as conn,
            read_only(conn),
            started(conn, statement, bound, parameters, partition_rows=partition_rows) as result,
        ):
            index = only_customer_column(list(result.keys()))
            for partition in result.partitions(partition_rows):
                yield [row[index] for row in partition]
    except CapillaryError:
        raise
    except Exception as error:  # noqa: BLE001 - some drivers raise their HTTP client's beside their own
        raise failed_query(error, engine, sql) from None  # its text holds SQL, parameters and data


def started(
    conn: Connection,
    statement: TextClause,
    bound: Mapping[str, object],
    parameters: Mapping[str, object],
    *,
    partition_rows: int | None = None,
) -> CursorResult[Any]:
    """Return the result of a query that was prepared from these parameters; its rows come as they are asked for.

    Raises:
        QueryRefused: the driver cannot bind a value, or there are no rows to come.
        SQLAlchemyError: the database refuses it.
    """
    options = {} if partition_rows is None else {"yield_per": partition_rows}
    try:
        result = conn.execute(statement, bound, execution_options=options)
    except OSError:  # an HTTP client's may be a ValueError, too
        raise
    except (TypeError, ValueError, ArithmeticError) as error:  # of a driver that cannot be asked before
        named = ", ".join(f":{name} ({type(value).__name__})" for name, value in parameters.items())
        said = f"{conn.dialect.driver} cannot bind one of {named}: {type(error).__name__}"
        raise QueryRefused(reason=said) from None
    if not result.returns_rows:
        raise QueryRefused(reason="it returns no rows; it must be one SELECT")
    return result


def only_customer_column(columns: Sequence[str]) -> int:
    """Return where the column `customer_id` is.

    Raises:
        ColumnMissing: there is none, or several.
    """
    at = [index for index, column in enumerate(columns) if _is_customer_column(column)]
    if len(at) != 1:
        raise ColumnMissing(columns=columns)
    return at[0]


def _is_customer_column(column: str) -> bool:
    return column.casefold() == CUSTOMER_COLUMN


@contextmanager
def read_only(conn: Connection) -> Iterator[None]:
    """Refuse writes on this connection, where the dialect allows it, and give it back as it was."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET TRANSACTION READ ONLY")  # ends with the transaction
        yield
        return
    if conn.dialect.name != "sqlite":
        yield
        return
    before = conn.exec_driver_sql("PRAGMA query_only").scalar_one()
    conn.exec_driver_sql("PRAGMA query_only=ON")
    try:
        yield
    finally:
        if not conn.invalidated:
            conn.exec_driver_sql(f"PRAGMA query_only={before:d}")
