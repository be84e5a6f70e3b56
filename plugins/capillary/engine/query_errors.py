"""What a warehouse's failure means: may the same query succeed later, and what may be repeated of the driver's words.

Drivers of the same DB-API use its classes as they like: Snowflake's calls a time-out a `ProgrammingError`, Trino's
gives a cluster that shuts down no class at all. So the server's own code is asked first, the class last, and what is
not known to come again passes: a retry costs minutes, a wrong "correct your SQL" costs a day.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from capillary.api.envelope import presentable
from capillary.engine.driver_codes import driver_of, number_of, sqlstate_of
from capillary.engine.errors import LoginRefused, QueryInterrupted, QueryRefused
from capillary.engine.login_errors import MYSQL_DRIVERS, refuses_login

#: Option of a warehouse's engine: the id of the Airflow connection that it was made from.
CONN_ID_OPTION: Final = "capillary_conn_id"
#: Classes of SQLSTATE (ISO 9075, and PostgreSQL's documentation, Appendix A) that come again with the same query.
_TERMINAL_CLASSES: Final = frozenset(
    {
        "07",  # dynamic SQL: a parameter is missing
        "0A",  # feature not supported
        "0L",  # invalid grantor
        "0P",  # invalid role
        "21",  # cardinality: a subquery gave several rows
        "22",  # data exception: a value is not a number
        "23",  # integrity
        "28",  # invalid authorisation
        "2F",  # a routine's own error
        "38",  # an external routine's
        "39",  # an external routine called wrongly
        "3D",  # no such database or catalog
        "3F",  # no such schema
        "42",  # syntax, names, rights
        "44",  # a view's check
        "54",  # too complex
        "P0",  # an exception that a function raised
    }
)
#: A write in a read-only transaction; the rest of class 25 (transaction state) passes.
_READ_ONLY_TRANSACTION: Final = "25006"
#: Class 08 (connection) passes. But PgBouncer says 08P01 of whatever it refuses (`send_pooler_error` in its proto.c),
#: a full pool as well as a parameter that it does not take, and PostgreSQL says it of values that are too many or too
#: few; so its words tell what comes again.
_PROTOCOL_VIOLATION: Final = "08P01"
_LASTING_PROTOCOL: Final = re.compile(
    r"unsupported startup parameter|no such database|database \S+ is disabled|bind message supplies \d+ parameters"
    r"|bind message has \d+ parameter formats|prepared statement name is already in use|old V2 protocol not supported"
    r"|SSL required",
    re.IGNORECASE,
)
#: The same of a connection that libpq could not make, where its drivers have no SQLSTATE.
_LASTING_CONNECTION: Final = re.compile(
    rf"{_LASTING_PROTOCOL.pattern}|database \"[^\"]*\" does not exist|permission denied for database"
    r"|invalid \w+ value: |invalid connection option|invalid port number",
    re.IGNORECASE,
)
_LIBPQ_DRIVERS: Final = frozenset({"psycopg", "psycopg2"})
#: Primary result codes of SQLite (https://www.sqlite.org/rescode.html) that come as OperationalError and
#: will come again: wrong SQL, a write in a read-only look, an authorisation refused, not a database.
_SQLITE_TERMINAL: Final = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
)
#: MySQL's numbers that say more than their SQLSTATE: 42000 stands for too many connections, too.
_MYSQL_PASSING: Final = frozenset({1040, 1203, 1205, 1213, 1226, 2002, 2003, 2006, 2013, 3024})
_MYSQL_TERMINAL: Final = frozenset({1044, 1045, 1049, 1051, 1052, 1054, 1064, 1142, 1143, 1146, 1227, 1305, 1370})
#: Trino's errors of the query or of rights have this type, and so have those of a query that somebody ended.
_TRINO_USER: Final = "USER_ERROR"
_TRINO_ENDED: Final = frozenset({"USER_CANCELED", "ABANDONED_QUERY"})
#: Reasons of Google's 400 and 403 that pass (BigQuery's documentation, "Error messages").
_GOOGLE_PASSING: Final = frozenset(
    {"quotaExceeded", "rateLimitExceeded", "jobRateLimitExceeded", "concurrentQueriesExceeded"}
)
#: ORA-00900 to ORA-00999 are the parser's; the others: privileges, log-in, no number, several rows, division by zero.
_ORACLE: Final = re.compile(r"ORA-(\d{5})")
_ORACLE_TERMINAL: Final = frozenset({*range(900, 1000), 1017, 1031, 1427, 1476, 1722})
#: The DB-API's classes for what is wrong with the query, where a driver gives no code.
_TERMINAL_CLASS_NAMES: Final = frozenset({"ProgrammingError", "DataError", "IntegrityError", "NotSupportedError"})

#: What closes a quote; PostgreSQL quotes in the manner of the language of its messages.
_CLOSING: Final = {"'": "'", '"': '"', "`": "`", "«": "»", "»": "«", "„": "“", "“": "”", "‘": "’", "‚": "‘", "「": "」"}
_OPENING: Final = re.compile(rf"(?<!\w)[{''.join(_CLOSING)}]")
_VALUE: Final = re.compile(r"(?i)\b(values?)(\s*[:=]\s*|\s+(?=\d))(?!['\"`]).*")
_WORD: Final = re.compile(r"\w+")


def failed_query(error: Exception, engine: Engine, sql: str = "") -> QueryInterrupted | QueryRefused | LoginRefused:
    """Return what a failure becomes; the text of the error itself holds SQL, parameters and the warehouse's data.

    Args:
        error: SQLAlchemy's, or whatever a driver raised beside its own classes.
        engine: of the warehouse. Its execution option `CONN_ID_OPTION` names the connection.
        sql: the query. What the driver quotes is repeated where it stands in the query or in the address; the rest
            may be a customer's and is masked.
    """
    conn_id = str(engine.get_execution_options().get(CONN_ID_OPTION, "warehouse"))
    reason = _first_line(error, engine, sql)
    if is_login_refused(error):
        return LoginRefused(reason=reason, conn_id=conn_id)
    return (QueryInterrupted if may_pass(error) else QueryRefused)(reason=reason, conn_id=conn_id)


def is_login_refused(error: Exception) -> bool:
    """Return whether the warehouse, or what gives its tokens, refused the login. A later try is refused as well."""
    cause = error.orig if isinstance(error, DBAPIError) else None if isinstance(error, SQLAlchemyError) else error
    return cause is not None and refuses_login(cause) is True


def may_pass(error: Exception) -> bool:
    """Return whether the same query may succeed later. What is not known to come again may."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return not isinstance(error, SQLAlchemyError)  # SQLAlchemy's own: the statement cannot be compiled
    if error.connection_invalidated:
        return True
    orig = error.orig
    if isinstance(orig, sqlite3.Error):
        return _sqlite_passes(orig)
    for answer in (said(orig) for said in _OWN_CODES):
        if answer is not None:
            return answer
    return not any(each.__name__ in _TERMINAL_CLASS_NAMES for each in type(orig).__mro__)


def _sqlite_passes(orig: sqlite3.Error) -> bool:
    # sqlite3 gives errors that are not SQLite's own (text that is not UTF-8) no code
    code = getattr(orig, "sqlite_errorcode", None)
    return isinstance(orig, sqlite3.OperationalError) and code is not None and code & 0xFF not in _SQLITE_TERMINAL


def _login_passes(orig: BaseException) -> bool | None:
    """Judge a login: a token that the next try makes again passes, whatever its SQLSTATE."""
    refused = refuses_login(orig)
    return None if refused is None else not refused


def _trino_passes(orig: object) -> bool | None:
    kind = getattr(orig, "error_type", None)
    if kind is None:
        return None
    return kind != _TRINO_USER or getattr(orig, "error_name", None) in _TRINO_ENDED


def _google_passes(orig: object) -> bool | None:
    """Judge by the HTTP status of the error that Google's driver wraps in its own; it has no SQLSTATE."""
    wrapped = next(iter(getattr(orig, "args", ())), None)
    status, errors = getattr(wrapped, "code", None), getattr(wrapped, "errors", None)
    if not isinstance(status, int) or not isinstance(errors, Sequence):
        return None
    reasons = {each.get("reason") for each in errors if isinstance(each, Mapping)}
    return status not in {400, 401, 403, 404} or bool(reasons & _GOOGLE_PASSING)


def _mysql_passes(orig: object) -> bool | None:
    if driver_of(orig) not in MYSQL_DRIVERS:  # Snowflake has other errors by these numbers
        return None
    number = number_of(orig)
    if number in _MYSQL_PASSING:
        return True
    return False if number in _MYSQL_TERMINAL else None


def _libpq_passes(orig: object) -> bool | None:
    """Judge a connection that was not made, of which libpq gives words alone."""
    is_one = driver_of(orig) in _LIBPQ_DRIVERS and sqlstate_of(orig) is None
    return False if is_one and _LASTING_CONNECTION.search(str(orig)) else None


def _oracle_passes(orig: object) -> bool | None:
    found = _ORACLE.search(str(orig))
    return None if found is None else int(found[1]) not in _ORACLE_TERMINAL


def _sqlstate_passes(orig: object) -> bool | None:
    state = sqlstate_of(orig)
    if state is None or state[:2] in {"HY", "IM"}:  # ODBC's general errors, about which its class says more
        return None
    if state == _PROTOCOL_VIOLATION:
        return not _LASTING_PROTOCOL.search(str(orig))
    return state[:2] not in _TERMINAL_CLASSES and state != _READ_ONLY_TRANSACTION


#: What says whether an error passes, in this order; None where it is not that database's, or says nothing.
_OWN_CODES: Final[tuple[Callable[[Any], bool | None], ...]] = (
    _login_passes,
    _trino_passes,
    _google_passes,
    _mysql_passes,
    _sqlstate_passes,
    _libpq_passes,
    _oracle_passes,
)


def _first_line(error: Exception, engine: Engine, sql: str) -> str:
    """Return the first line of what the database said, without password, e-mail addresses, long numbers and data."""
    orig = getattr(error, "orig", None)
    cause = orig if isinstance(error, DBAPIError) else None if isinstance(error, SQLAlchemyError) else error
    lines = _message(cause).strip().splitlines() if cause is not None else []
    if not lines:
        return type(orig or error).__name__
    line = " ".join(lines[:2]) if lines[0].rstrip().endswith(":") else lines[0]
    url = engine.url
    known = " ".join(map(str, filter(None, (sql, url.database, url.username, url.host))))
    password = url.password
    return presentable(_without_data(line, known), [str(password)] if password else []).rstrip(".")


def _message(cause: BaseException) -> str:
    """Return a driver's own words: redshift_connector's are in a dictionary, Trino's beside its error's name."""
    first = next(iter(cause.args), None)
    said = (first.get("M") if isinstance(first, Mapping) else None) or getattr(cause, "message", None)
    return said if isinstance(said, str) and said else str(cause)


def _without_data(line: str, known: str) -> str:
    """Return a line without what it quotes, but for names and words that the query or the address has itself.

    From the first quoted piece on that is not known the line is masked up to its last quote of that kind: a value
    may hold a quote itself (`'O'Brien'`).
    """
    words = {word.casefold() for word in _WORD.findall(known)}
    said, at = "", 0
    while opening := _OPENING.search(line, at):
        mark = _CLOSING[opening[0]]
        closing = line.find(mark, opening.end())
        inside = line[opening.end() : closing if closing >= 0 else len(line)]
        parts = _WORD.findall(inside.casefold())
        if closing >= 0 and parts and words.issuperset(parts):
            said, at = said + line[at : closing + 1], closing + 1
            continue
        last = line.rfind(mark, opening.end())
        said += line[at : opening.start()] + f"{opening[0]}***{mark}"
        at = last + 1 if last >= 0 else len(line)
    return _VALUE.sub(r"\1\2***", said + line[at:])
