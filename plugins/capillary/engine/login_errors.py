"""Did a warehouse refuse the login? Then the same login is refused at the next try, and a person must correct it.

A credential that the next try makes or fetches again is none of these: Snowflake's and Google's short-lived tokens.
Nor is a server that takes no logins now: one that starts (57P03), or has no connection left (53300).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from capillary.engine.driver_codes import driver_of, number_of, sqlstate_of

#: A refused login has this class of SQLSTATE (ISO 9075): 28000, 28P01 and what databases add.
_CLASS: Final = "28"
#: What libpq, PostgreSQL, PgBouncer and redshift_connector say of a login while they connect, where drivers have no
#: SQLSTATE. PostgreSQL says so in the language of its `lc_messages`; another language is not recognised and passes.
_OF_POSTGRESQL: Final = re.compile(
    r"authentication failed"  # of any method: password, LDAP, PAM, SASL, certificate …
    r"|no password (?:supplied|was provided)"
    r"|role \"[^\"]*\" (?:does not exist|is not permitted to log in)"
    r"|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r"|no such user|empty password returned by client|no username supplied"
)
_POSTGRESQL_DRIVERS: Final = frozenset({"psycopg", "psycopg2", "pg8000", "redshift_connector"})
#: Codes of a login that Snowflake refused (its connector's CREDENTIAL_REJECTION_GS_CODES, `network.py`).
_SNOWFLAKE: Final = frozenset({390100, 390144, 394300, 394303, 394304, 394305, 394306})
#: Its tokens that the next try makes again, where the connector calls them 28000, too: expired, or not valid yet.
_SNOWFLAKE_PASSING: Final = frozenset({390110, 390112, 390114, 390318, 394301, 394302})
#: Older connectors say 250001 (08001) of a wrong password and of a server that is away; their words tell.
_SNOWFLAKE_WORDS: Final = re.compile(r"Incorrect username or password|JWT token is invalid|OKTA: 40[13]")
MYSQL_DRIVERS: Final = frozenset({"MySQLdb", "mariadb", "mysql", "pymysql"})
#: Access denied (1045, 1698), a password that expired (1820, 1862), a locked account (3118).
_MYSQL: Final = frozenset({1045, 1698, 1820, 1862, 3118})
#: A wrong or empty password (1017, 1005), no right to log in (1045), a locked account, a password that expired.
_ORACLE: Final = re.compile(r"ORA-(?:01005|01017|01045|28000|28001)\b")
#: HTTP's: not logged in, or not let in. Google says 403 of a table and of a quota, too.
_REFUSED: Final = frozenset({401, 403})
_REFUSED_BY_GOOGLE: Final = frozenset({401})
#: What Trino's client says, whose errors of HTTP have no status.
_TRINO: Final = re.compile(r"^error (\d{3})\b")
_CLICKHOUSE: Final = "(AUTHENTICATION_FAILED)"


def refuses_login(error: BaseException) -> bool | None:
    """Return whether a driver's error says that the login was refused; None where it says nothing of a login.

    Args:
        error: the driver's own, or what a client beside it raised.
    """
    for answer in (says(error) for says in _SAYS):
        if answer is not None:
            return answer
    return None


def _google(error: BaseException) -> bool | None:
    """Judge credentials that cannot be had; what was out of reach, or calls itself retryable, passes."""
    names = {each.__name__ for each in type(error).__mro__ if each.__module__ == "google.auth.exceptions"}
    if names.isdisjoint({"RefreshError", "DefaultCredentialsError"}):
        return None
    causes = (error.__cause__, *error.args)
    away = any(type(each).__name__ == "TransportError" for each in causes)
    return not (away or getattr(error, "retryable", False))


def _snowflake(error: BaseException) -> bool | None:
    if driver_of(error) != "snowflake":
        return None
    number = getattr(error, "errno", None)
    if number in _SNOWFLAKE_PASSING:
        return False
    return True if number in _SNOWFLAKE or _SNOWFLAKE_WORDS.search(str(error)) else None


def _http(error: BaseException) -> bool | None:
    """Judge by the status of HTTP: of a library's response, of Databricks' context, of Google's cause, of Trino's."""
    context, wrapped = getattr(error, "context", None), next(iter(error.args), None)
    candidates = (
        getattr(getattr(error, "response", None), "status_code", None),
        context.get("http-code") if isinstance(context, Mapping) else None,
    )
    refused = _REFUSED_BY_GOOGLE if driver_of(error) == "google" else _REFUSED
    if any(each in refused for each in candidates if isinstance(each, int)):
        return True
    if getattr(wrapped, "code", None) in _REFUSED_BY_GOOGLE:
        return True
    if driver_of(error) == "trino":
        said = _TRINO.match(str(error))
        if type(error).__name__ == "TrinoAuthError" or (said and int(said[1]) in _REFUSED):
            return True
    return None


def _mysql(error: BaseException) -> bool | None:
    return True if driver_of(error) in MYSQL_DRIVERS and number_of(error) in _MYSQL else None


def _sqlstate(error: BaseException) -> bool | None:
    state = sqlstate_of(error)
    return True if state is not None and state.startswith(_CLASS) else None


def _postgresql(error: BaseException) -> bool | None:
    """Judge by the words: drivers have no SQLSTATE of a failure to connect, and PgBouncer says 08P01 of everything."""
    if driver_of(error) not in _POSTGRESQL_DRIVERS or sqlstate_of(error) not in {None, "08P01"}:
        return None
    return True if _OF_POSTGRESQL.search(str(error)) else None


def _words(error: BaseException) -> bool | None:
    said = str(error)
    return True if _ORACLE.search(said) or _CLICKHOUSE in said else None


#: Who says whether a login was refused, in this order; None where it is not theirs, or says nothing.
_SAYS: Final[tuple[Callable[[BaseException], bool | None], ...]] = (
    _google,
    _snowflake,
    _http,
    _mysql,
    _sqlstate,
    _postgresql,
    _words,
)
