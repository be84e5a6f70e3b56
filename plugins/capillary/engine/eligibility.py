"""Who is eligible: stream the campaign's query and read every value of `customer_id` exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Engine, TextClause

from capillary.engine.query_errors import QueryRefused, failed_query
from capillary.engine.query_parameters import prepare
from capillary.errors import CapillaryError, TerminalError

#: Largest customer id: the platform's and the ledger's ids are signed 64-bit.
MAX_CUSTOMER_ID: Final = 2**63 - 1
#: The column of the query that is read, in any case; warehouses fold names up or down.
CUSTOMER_COLUMN: Final = "customer_id"
#: Characters of a value's shape.
SHAPE_LIMIT: Final = 40

_MAX_DIGITS: Final = len(str(MAX_CUSTOMER_ID))
_COLUMNS_NAMED: Final = 20


class Reason(StrEnum):
    """Why a value is no customer id. The value itself is never repeated."""

    NULL = "null"
    BOOLEAN = "a boolean"
    BYTES = "bytes: cast to bigint in the query"
    FLOAT = "floating point: cast to bigint in the query"
    NOT_FINITE = "not a number"
    FRACTION = "not a whole number"
    EMPTY = "empty text"
    BLANKS = "blanks around it: trim in the query"
    OTHER_DIGITS = "digits other than 0 to 9"
    NOT_DIGITS = "text that is not digits only"
    LEADING_ZEROS = "leading zeros"
    TOO_SMALL = "zero or negative"
    TOO_LARGE = "above 9223372036854775807"
    OTHER_TYPE = "a type that holds no id: cast to bigint in the query"


class InvalidId(TerminalError):
    """A row's value is no customer id; `reason` says why. Mend the row or the query."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(f"no customer id: {reason}")


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


def customer_id_of(value: object) -> int:
    """Return the customer id, 1 to 2**63 - 1, exactly: nothing goes through a float.

    Taken are integers, whole Decimals, and text of ASCII digits without sign, blanks or leading zeros.

    Raises:
        InvalidId: anything else.
    """
    if type(value) is int:  # nearly all rows
        number = value
    elif isinstance(value, str):
        number = _from_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    elif isinstance(value, Decimal):
        number = _from_decimal(value)
    else:
        raise InvalidId(_unfit_type(value))
    if number < 1:
        raise InvalidId(Reason.TOO_SMALL)
    if number > MAX_CUSTOMER_ID:
        raise InvalidId(Reason.TOO_LARGE)
    return number


def _unfit_type(value: object) -> Reason:
    if value is None:
        return Reason.NULL
    if isinstance(value, bool):
        return Reason.BOOLEAN
    if isinstance(value, float):
        return Reason.FLOAT
    if isinstance(value, bytes | bytearray | memoryview):
        return Reason.BYTES
    return Reason.OTHER_TYPE


def _from_text(value: str) -> int:
    if not value or value.isspace():
        raise InvalidId(Reason.EMPTY)
    if not value.isdigit():
        raise InvalidId(Reason.BLANKS if value.strip().isdigit() else Reason.NOT_DIGITS)
    if not value.isascii():
        raise InvalidId(Reason.OTHER_DIGITS)
    if value[0] == "0" and len(value) > 1:
        raise InvalidId(Reason.LEADING_ZEROS)
    if len(value) > _MAX_DIGITS:
        raise InvalidId(Reason.TOO_LARGE)
    return int(value)


def _from_decimal(value: Decimal) -> int:
    if not value.is_finite():
        raise InvalidId(Reason.NOT_FINITE)
    if value.adjusted() >= _MAX_DIGITS and value > 0:  # before int(), which would write a million digits out
        raise InvalidId(Reason.TOO_LARGE)
    if value <= 0:
        raise InvalidId(Reason.TOO_SMALL)
    if value != value.to_integral_value():
        raise InvalidId(Reason.FRACTION)
    return int(value)


def shape_of(value: object) -> str:
    """Return what a value looks like without saying it, at most 40 characters.

    Text keeps its printable ASCII signs; letters become `a`, digits `9`, all else `?`. Anything but text is
    the name of its type.
    """
    if not isinstance(value, str):
        return type(value).__name__[:SHAPE_LIMIT]
    return "".join(map(_shape, value[:SHAPE_LIMIT]))


def _shape(character: str) -> str:
    if character.isalpha():
        return "a"
    if character.isnumeric():
        return "9"
    return character if character.isascii() and character.isprintable() else "?"


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
