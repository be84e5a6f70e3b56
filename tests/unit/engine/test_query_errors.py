"""Errors as drivers raise them: what passes, and what is repeated of their words.

Those of Snowflake, Trino, BigQuery, Redshift, MySQL, ODBC, Oracle and Databricks are built here in the shape of their
drivers' own (docs/warehouses.md has the versions that were looked at); those of SQLite and PostgreSQL come from the
databases in `test_eligibility.py` and `tests/glue/test_warehouse.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import CompileError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from capillary.engine.errors import QueryFailed, QueryInterrupted, QueryRefused
from capillary.engine.query_errors import failed_query
from capillary.engine.warehouse import read_rows

SQL = "SELECT customer_id FROM mart.member WHERE tier = 'gold'"


class Error(Exception):
    """The DB-API's root, as each driver has one."""


class DatabaseError(Error):
    pass


class ProgrammingError(DatabaseError):
    pass


class OperationalError(DatabaseError):
    pass


class DataError(DatabaseError):
    pass


class InternalError(DatabaseError):
    pass


class NotSupportedError(DatabaseError):
    pass


def made(kind: type[Error], *args: object, driver: str = "", **facts: object) -> Error:
    """Return a driver's error of a class of that driver's, with its own facts."""
    error: Error = type(kind.__name__, (kind,), {"__module__": driver or __name__})(*args)
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def google(status: int, reason: str) -> Error:
    return made(DatabaseError, SimpleNamespace(code=status, errors=[{"reason": reason}]))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    yield engine
    engine.dispose()


def told(orig: Exception, engine: Engine, sql: str = SQL) -> QueryFailed:
    return failed_query(DBAPIError.instance(sql, {}, orig, Error), engine, sql)


@pytest.mark.parametrize(
    "orig",
    [
        made(ProgrammingError, "timeout", sqlstate="57014", errno=630),  # Snowflake
        made(ProgrammingError, "no warehouse", sqlstate="57P03", errno=606),
        made(ProgrammingError, "no backend", sqlstate="08001", errno=250001),
        made(Error, error_type="INSUFFICIENT_RESOURCES", error_name="SERVER_SHUTTING_DOWN"),  # Trino
        made(InternalError, error_type="INTERNAL_ERROR", error_name="SERVER_STARTING_UP"),
        made(OperationalError, error_type="EXTERNAL", error_name="HIVE_METASTORE_ERROR"),
        made(ProgrammingError, error_type="USER_ERROR", error_name="USER_CANCELED"),
        google(403, "quotaExceeded"),
        google(400, "jobRateLimitExceeded"),
        google(503, "backendError"),
        made(ProgrammingError, {"C": "57014", "M": "cancelled"}),  # redshift_connector
        made(ProgrammingError, {"C": "XX000", "M": "Spectrum"}),
        made(DatabaseError, "x", pgcode="40001"),  # psycopg2
        made(DatabaseError, "x", sqlstate="53300"),
        made(DatabaseError, "x", sqlstate="25P02"),
        made(ProgrammingError, 1203, "too many connections", driver="MySQLdb"),
        made(ProgrammingError, 1226, "42000", driver="MySQLdb"),
        made(ProgrammingError, "too many", errno=1203, sqlstate="42000", driver="mysql.connector"),
        made(ProgrammingError, "40001", "deadlock", driver="pyodbc"),
        made(Error, "HY000", "general", driver="pyodbc"),
        made(DatabaseError, "ORA-12514: no listener", driver="oracledb"),
        made(DatabaseError, "a new driver's own words"),  # unknown
        made(Error, "TIMED"),
        made(OperationalError),
        made(InternalError),
    ],
    ids=repr,
)
def test_what_may_succeed_later_passes(orig: Error, engine: Engine) -> None:
    assert isinstance(told(orig, engine), QueryInterrupted)


@pytest.mark.parametrize(
    "orig",
    [
        made(ProgrammingError, "no number", sqlstate="22018", errno=100038),  # Snowflake
        made(ProgrammingError, "no table", sqlstate="42S02", errno=2003),  # a number that passes on MySQL
        made(ProgrammingError, error_type="USER_ERROR", error_name="TABLE_NOT_FOUND"),  # Trino
        google(400, "invalidQuery"),
        google(403, "accessDenied"),
        google(404, "notFound"),
        made(ProgrammingError, {"C": "42P01", "M": "no table"}),  # redshift_connector
        made(OperationalError, "x", pgcode="42501"),  # psycopg2
        made(InternalError, "x", sqlstate="25006"),  # a write in a read-only transaction
        made(DatabaseError, "x", sqlstate="P0001"),  # a function raised it
        made(OperationalError, "x", sqlstate="54001"),
        made(OperationalError, 1054, "no column", driver="MySQLdb"),
        made(OperationalError, 1044, "denied", driver="pymysql"),
        made(Error, "42S02", "no table", driver="pyodbc"),
        made(ProgrammingError, "HY104", "no precision", driver="pyodbc"),
        made(DatabaseError, "ORA-00942: table or view does not exist", driver="oracledb"),
        made(DatabaseError, "[TABLE_OR_VIEW_NOT_FOUND] no table. SQLSTATE: 42P01", driver="databricks.sql.exc"),
        made(ProgrammingError),  # no code at all: the class
        made(DataError),
        made(NotSupportedError),
    ],
    ids=repr,
)
def test_what_comes_again_is_refused(orig: Error, engine: Engine) -> None:
    assert isinstance(told(orig, engine), QueryRefused)


def test_what_is_no_drivers_error(engine: Engine) -> None:
    assert isinstance(failed_query(PoolTimeout(), engine), QueryInterrupted)
    assert isinstance(failed_query(CompileError("no such thing"), engine), QueryRefused)
    assert isinstance(failed_query(ConnectionResetError("gone"), engine), QueryInterrupted)
    assert failed_query(CompileError("customer 4711"), engine).reason == "CompileError"


def test_a_lost_connection_passes_whatever_its_class(engine: Engine) -> None:
    error = DBAPIError.instance(SQL, {}, made(ProgrammingError, "x"), Error, connection_invalidated=True)
    assert isinstance(error, DBAPIError)
    assert isinstance(failed_query(error, engine), QueryInterrupted)


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        ("Numeric value 'a@b.example' is not recognized", "Numeric value '***' is not recognized"),
        ("Numeric value 'Miller' is not recognized", "Numeric value '***' is not recognized"),
        ("Cannot cast 'O'Brien' to BIGINT", "Cannot cast '***' to BIGINT"),
        ("Cannot cast 'O''Brien' to BIGINT", "Cannot cast '***' to BIGINT"),
        ("The value 'Miller' of the type \"STRING\"", "The value '***' of the type \"***\""),
        ("Cannot cast 'Mill", "Cannot cast '***'"),
        ("Cannot cast 'gold', then 'Mill", "Cannot cast 'gold', then '***'"),
        ("Bad int64 value: Miller", "Bad int64 value: ***"),
        ("Fehlerhaft: «Müller» und „Meier“", "Fehlerhaft: «***» und „***“"),
        ("Unrecognised `Miller`", "Unrecognised `***`"),
        ("Could not decode to UTF-8 column 'customer_id' with text 'M\\xfc'", None),
        # names that the query has itself
        ('relation "mart.member" does not exist', 'relation "mart.member" does not exist'),
        ("Table 'mart.member' doesn't exist", "Table 'mart.member' doesn't exist"),
        ("Object 'MART.MEMBER' does not exist", "Object 'MART.MEMBER' does not exist"),
        ("SQL compilation error:\ninvalid identifier 'TIER'", "SQL compilation error: invalid identifier 'TIER'"),
        ("no such table\nDETAIL: Miller", "no such table"),
    ],
)
@pytest.mark.parametrize("kind", [ProgrammingError, DataError, OperationalError, DatabaseError])
def test_what_is_quoted_is_repeated_where_the_query_says_it_itself(
    said: str, repeated: str | None, kind: type[Error], engine: Engine
) -> None:
    reason = told(made(kind, said), engine).reason
    if repeated is None:
        repeated = "Could not decode to UTF-8 column 'customer_id' with text '***'"
    assert reason == repeated


@pytest.mark.parametrize(
    "orig",
    [
        made(Error, {"message": "x"}, message="Cannot cast 'Miller' to BIGINT"),  # Trino
        made(ProgrammingError, {"C": "22P02", "M": "Cannot cast 'Miller' to BIGINT"}),  # redshift_connector
    ],
)
def test_the_drivers_words_are_found_where_it_keeps_them(orig: Error, engine: Engine) -> None:
    assert told(orig, engine).reason == "Cannot cast '***' to BIGINT"


def test_an_error_beside_the_drivers_classes_is_told_as_one_that_passes(engine: Engine) -> None:
    """Trino's client raises its HTTP library's errors, which are none of the DB-API's."""

    class HttpError(Exception):
        pass

    def refuse(_: object) -> None:
        raise HttpError("error 503: 'Miller'")

    own = create_engine("sqlite://", creator=lambda: refuse(None))
    with pytest.raises(QueryInterrupted, match=r"error 503: '\*\*\*'"):
        list(read_rows(own, SQL, {}))
    own.dispose()


def test_sqlites_errors_go_by_its_own_codes(engine: Engine) -> None:
    busy, wrong = sqlite3.OperationalError("locked"), sqlite3.OperationalError("no such table: nowhere")
    busy.sqlite_errorcode, wrong.sqlite_errorcode = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_ERROR
    for orig, becomes in ((busy, QueryInterrupted), (wrong, QueryRefused), (sqlite3.OperationalError(), QueryRefused)):
        assert type(failed_query(DBAPIError.instance(SQL, {}, orig, sqlite3.Error), engine)) is becomes
