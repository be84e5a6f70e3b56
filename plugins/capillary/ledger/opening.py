"""What it means that a ledger cannot be opened: one sentence with the place and the remedy, and whether it may pass.

What changes by itself passes: a host that is away or fails over, a server that starts, connections that are taken, a
password in the middle of its rotation. What a person has set wrongly does not. libpq gives no code for what goes wrong
before the login, so its English words decide; whatever they do not name counts as passing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from capillary.errors import CapillaryError
from capillary.ledger.errors import LedgerRefused, LedgerUnavailable
from capillary.ledger.libpq import driver_missing


def _driver_errors() -> tuple[type[Exception], ...]:
    try:
        from psycopg import Error  # noqa: PLC0415 - a ledger in SQLite needs none of it
    except ImportError:
        return (sqlite3.Error,)
    return (sqlite3.Error, Error)


#: What a database's failure comes as; a driver that is used without SQLAlchemy raises its own.
DATABASE_ERRORS: Final[tuple[type[Exception], ...]] = (SQLAlchemyError, *_driver_errors())

_Kind = type[LedgerRefused] | type[LedgerUnavailable]
_LOOK: Final = "look at the database and its host"
#: Words of libpq, of the server and of poolers before the login → whether it passes, the problem, the remedy.
_CONNECTING: Final[tuple[tuple[tuple[str, ...], _Kind, str, str], ...]] = (
    (
        ("invalid ", " value"),
        LedgerRefused,
        "cannot be asked: a parameter of the connection has a value that libpq does not know",
        "correct the extras of the connection; sslmode, for one, is require or verify-full",
    ),
    (
        ("bad value for", "invalid port number", "connection option", "definition of service", "service file"),
        LedgerRefused,
        "cannot be asked: a parameter of the connection cannot be used",
        "correct the extras of the connection, or the service file that they name",
    ),
    (
        ("too many connections", "connection slots", "no more connections allowed", "too many clients"),
        LedgerUnavailable,
        "has no connection left",
        "raise max_connections or the role's CONNECTION LIMIT, or run fewer tasks at once",
    ),
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        LedgerUnavailable,
        "does not take the login",
        "correct user and password; a password that is being changed passes",
    ),
    (
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        LedgerRefused,
        "refuses this machine, user or database",
        "allow it in the server's pg_hba.conf, or correct sslmode",
    ),
    (
        ("is not permitted to log in", "connect privilege"),
        LedgerRefused,
        "does not let this user in",
        "correct the user, or give it LOGIN and CONNECT on the database",
    ),
    (
        ('role "', "does not exist"),
        LedgerRefused,
        "knows no user of this name",
        "correct the user, or create it",
    ),
    (
        ("starting up", "shutting down", "in recovery mode", "not yet accepting", "cannot connect now"),
        LedgerUnavailable,
        "is starting or stopping",
        "wait for it",
    ),
    (
        ("read-only", "hot standby mode"),
        LedgerUnavailable,
        "is not the server that target_session_attrs asks for",
        "point the connection at the primary, or wait for the end of a failover",
    ),
    (
        ("database", "does not exist"),
        LedgerRefused,
        "has no database of this name",
        "correct the database's name, or create it",
    ),
    (
        ("no such database",),
        LedgerRefused,
        "stands behind a pooler that has no database of this name",
        "correct the database's name, or add it to the pooler's configuration",
    ),
    (
        ("no such user",),
        LedgerRefused,
        "stands behind a pooler that knows no user of this name",
        "correct the user, or add it to the pooler's configuration",
    ),
    (
        ("resolve host", "translate host name", "name or service not known"),
        LedgerUnavailable,
        "cannot be found: no address is known for its host",
        "correct the host, or look at the name service",
    ),
    (
        # Not every word of TLS: a connection that is closed while it is encrypted passes.
        (
            *("does not support ssl", "certificate", "private key file", "alert ", "wrong version number"),
            *("unsupported protocol", "channel binding"),
        ),
        LedgerRefused,
        "and this machine have no TLS version or cipher in common",
        "correct sslmode, sslrootcert, sslcert and sslkey, or the server's certificate",
    ),
    (
        ("startup parameter",),
        LedgerRefused,
        "stands behind a pooler that refuses a parameter of the connection",
        "remove options from the connection, or allow it in the pooler's ignore_startup_parameters",
    ),
    (
        ("transaction blocks not allowed",),
        LedgerRefused,
        "stands behind a pooler that takes no transactions",
        "set its pool_mode to transaction or session",
    ),
    (("connection refused",), LedgerUnavailable, "does not answer: nothing listens there", _LOOK),
    (("timeout", "timed out"), LedgerUnavailable, "does not answer in time", _LOOK),
)
#: Entries whose words must all be there; of the others one is enough.
_ALL_WORDS: Final = frozenset({("database", "does not exist"), ('role "', "does not exist"), ("invalid ", " value")})

#: What a pooler says of whatever it refuses by itself (protocol_violation): its words tell what.
_POOLERS_OWN: Final = "08P01"
#: SQLSTATE, or its class of two characters → same. Source: PostgreSQL documentation, appendix A.
_STATES: Final[dict[str, tuple[_Kind, str, str]]] = {
    "42501": (
        LedgerRefused,
        "does not give its user the rights that the ledger needs",
        "grant SELECT, INSERT, UPDATE, DELETE on its tables and USAGE on their sequences; who migrates must own them",
    ),
    "42P07": (
        LedgerRefused,
        "holds another table under the name of one of the ledger's",
        "give the ledger another database or schema",
    ),
    "42P01": (LedgerRefused, "lacks one of the ledger's tables", "restore it from the backup"),
    "25006": (LedgerUnavailable, "takes no writes", "point the connection at the primary"),
    "28": (LedgerUnavailable, "does not take the login", "correct user and password"),
    "3D": (LedgerRefused, "has no database of this name", "correct the database's name, or create it"),
    "53": (LedgerUnavailable, "is out of disk, memory or connections", _LOOK),
    "55": (LedgerUnavailable, "is busy", "try again; a migration or a long plan may hold its tables"),
    "57": (LedgerUnavailable, "ended the connection", _LOOK),
    "0A": (LedgerRefused, "lacks something of PostgreSQL that the ledger needs", "give it PostgreSQL itself"),
    "42": (LedgerRefused, "lacks something of PostgreSQL that the ledger needs", "give it PostgreSQL itself"),
}

#: SQLite's primary result codes (https://www.sqlite.org/rescode.html) → same.
_CODES: Final[dict[int, tuple[_Kind, str, str]]] = {
    sqlite3.SQLITE_ERROR: (
        LedgerRefused,
        "does not fit: another table has the name of one of the ledger's, or one is missing",
        "give the ledger another file, or restore it from the backup",
    ),
    sqlite3.SQLITE_NOTADB: (LedgerRefused, "cannot be read: it is not a SQLite file", "correct the file's path"),
    sqlite3.SQLITE_CORRUPT: (LedgerRefused, "cannot be read: the file is damaged", "restore it from the backup"),
    sqlite3.SQLITE_READONLY: (
        LedgerRefused,
        "cannot be written",
        "give this process's user the right to write the file and its folder",
    ),
    sqlite3.SQLITE_PERM: (LedgerRefused, "cannot be opened", "give this process's user the rights to the file"),
    sqlite3.SQLITE_CANTOPEN: (
        LedgerRefused,
        "cannot be opened",
        "give this process's user the rights to the file and its folder",
    ),
    sqlite3.SQLITE_FULL: (LedgerUnavailable, "cannot grow: the disk is full", "make room on the disk"),
    sqlite3.SQLITE_BUSY: (
        LedgerUnavailable,
        "is locked by another process",
        "try again when that process has finished",
    ),
}


_DAMAGED: Final = ("is damaged", "restore the ledger from its backup, as the runbook says")
#: What breaks off the work and does not pass: SQLSTATE or SQLite's primary result code → what is wrong, and what to do.
_LASTING: Final[dict[str | int, tuple[str, str]]] = {
    "XX001": _DAMAGED,
    "XX002": ("has a damaged index", "have it rebuilt (REINDEX), or restore the ledger from its backup"),
    "42501": _STATES["42501"][1:],
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_PERM: _CODES[sqlite3.SQLITE_PERM][1:],
}


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what a database, its driver or SQLAlchemy raises into a sentence of this project's.

    Raises:
        LedgerRefused: a person must change something first.
        LedgerUnavailable: it may pass.
    """
    try:
        yield
    except CapillaryError:
        raise
    except ImportError as error:
        raise driver_missing(error) from None
    except (AssertionError, NotImplementedError):  # SQLAlchemy cannot read the version, psycopg a time
        raise LedgerRefused(
            f"the server at {place_of(url)} answers as PostgreSQL would not: give connection badge_ledger "
            "PostgreSQL itself"
        ) from None
    except ArgumentError:
        raise LedgerRefused(
            f"the ledger's address {place_of(url)} cannot be read: correct host, port and parameters of connection "
            "badge_ledger"
        ) from None
    except UnicodeError:  # of a host that is not a name, or of a label of more than 63 characters
        raise LedgerRefused(
            f"the host of the ledger at {place_of(url)} is not a name that a network knows: correct it in connection "
            "badge_ledger"
        ) from None
    except DATABASE_ERRORS as error:
        raise reason_of(error, url) from None


def broke_off(error: Exception) -> LedgerRefused | LedgerUnavailable:
    """Return what a database's failure in the middle of the work becomes; its own text quotes values.

    All of them may pass but damage and missing rights, which no other try fixes.
    """
    driver = getattr(error, "orig", None) or error
    kind = type(driver).__name__
    if lasting := _LASTING.get(getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorcode", 0) & 0xFF):
        problem, remedy = lasting
        return LedgerRefused(
            f"the ledger's database {problem} ({kind}); uncommitted work was rolled back: {remedy} (connection "
            "badge_ledger), then clear the task"
        )
    return LedgerUnavailable(
        f"lost the connection to the ledger's database ({kind}); uncommitted work was rolled back, and the retry "
        "continues from there. If this happens again, check the database of connection badge_ledger"
    )


def reason_of(error: Exception, url: URL) -> LedgerRefused | LedgerUnavailable:
    """Return what a database's failure at opening becomes."""
    driver = (error.orig or error) if isinstance(error, DBAPIError) else error
    kind, problem, remedy = (
        _of_sqlite(driver, url) if url.get_backend_name() == "sqlite" else _of_postgresql(driver)
    ) or (LedgerUnavailable, f"does not answer ({type(driver).__name__})", _LOOK)
    return kind(f"the ledger at {place_of(url)} {problem}: {remedy} (connection badge_ledger)")


def place_of(url: URL) -> str:
    """Return where the database is, without who is asking.

    A password may hide in the query, or, where it holds an unescaped @, in what is read as host or database.
    """

    def part(value: object) -> str | None:
        return str(value).rpartition("@")[2] if value else None

    named = {name: value for name, value in url.query.items() if isinstance(value, str)}
    host, database = url.host or named.get("host") or named.get("hostaddr"), url.database or named.get("dbname")
    if host and "/" in host:  # a socket's folder is not a host of a URL
        host = None
    if service := named.get("service"):
        return f"service {part(service)}"
    return URL.create(
        url.get_backend_name(), host=part(host), port=url.port, database=part(database)
    ).render_as_string()


def _of_postgresql(error: BaseException) -> tuple[_Kind, str, str] | None:
    state = getattr(error, "sqlstate", None)
    if state and state != _POOLERS_OWN:
        if exact := _STATES.get(state):
            return exact
        kind, problem, remedy = _STATES.get(state[:2], (LedgerUnavailable, "does not answer", _LOOK))
        return kind, f"{problem} ({type(error).__name__})", remedy
    said = str(error).lower()
    for words, kind, problem, remedy in _CONNECTING:
        if (all if words in _ALL_WORDS else any)(word in said for word in words):
            return kind, problem, remedy
    return None


def _of_sqlite(error: BaseException, url: URL) -> tuple[_Kind, str, str] | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    path = Path(url.database or "")
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN and not str(path).startswith("file:"):
        if path.is_dir():
            return LedgerRefused, "cannot be opened: this is a folder", "give the path of a file in it"
        if not path.parent.is_dir():
            return LedgerRefused, "cannot be opened: its folder is missing", "make the folder, or correct the path"
    return _CODES.get(code & 0xFF)
