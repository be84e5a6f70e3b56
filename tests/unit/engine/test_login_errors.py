"""A login that a warehouse refuses ends the try: no retry corrects a password. What passes by itself passes.

Errors of other drivers have the shape of their own; PostgreSQL's and PgBouncer's come from the servers themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from capillary.engine.errors import LoginRefused, QueryFailed, QueryInterrupted, QueryRefused
from capillary.engine.query_errors import CONN_ID_OPTION, failed_query
from capillary.engine.query_probe import probe_query
from capillary.engine.warehouse import read_rows
from tests.pooler import pooler_or_skip
from tests.postgresql import ServerMissing, running_server

SQL = "SELECT 1 AS customer_id"
SECRET = "hunter2-secret"


def made(name: str, driver: str, *args: object, **facts: object) -> Any:  # noqa: ANN401
    """Return an error of a driver's module, with its own facts."""
    error = type(name, (Exception,), {"__module__": driver})(*args)
    for fact, value in facts.items():
        setattr(error, fact, value)
    return error


def google(name: str, *args: object, **facts: object) -> Any:  # noqa: ANN401 - of any class
    return made(name, "google.auth.exceptions", *args, **facts)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    engine.update_execution_options(**{CONN_ID_OPTION: "mart_reader"})
    yield engine
    engine.dispose()


def told(error: Exception, engine: Engine, *, beside: bool) -> QueryFailed:
    """Return what becomes of an error, raised as the DB-API's or beside it."""
    return failed_query(error if beside else DBAPIError.instance(SQL, {}, error, Exception), engine)


#: class and number → an error as its driver makes it, with whether it comes beside the DB-API's classes
REFUSED: dict[str, tuple[Any, bool]] = {
    "28P01 psycopg": (made("InvalidPassword", "psycopg.errors", "x", sqlstate="28P01"), False),
    "28000 psycopg2": (made("OperationalError", "psycopg2", "x", pgcode="28000"), False),
    "28000 ODBC": (made("InterfaceError", "pyodbc", "28000", "[28000] Login failed for user"), False),
    "28000 redshift": (made("InterfaceError", "redshift_connector.error", {"C": "28000", "M": "no"}), False),
    "28P01 redshift": (made("ProgrammingError", "redshift_connector.error", {"C": "28P01"}), False),
    "redshift's own": (
        made(
            "InterfaceError", "redshift_connector", "server requesting MD5 authentication, but no password was provided"
        ),
        False,
    ),
    "psycopg2's words": (
        made("OperationalError", "psycopg2", 'FATAL:  password authentication failed for user "x"'),
        False,
    ),
    "libpq's words": (made("OperationalError", "psycopg", "fe_sendauth: no password supplied"), False),
    "hba": (made("OperationalError", "psycopg", 'FATAL: no pg_hba.conf entry for host "10.0.0.1"'), False),
    "LDAP": (made("OperationalError", "psycopg", 'FATAL: LDAP authentication failed for user "x"'), False),
    "NOLOGIN": (made("OperationalError", "psycopg", 'FATAL:  role "x" is not permitted to log in'), False),
    "pooler's user": (made("OperationalError", "psycopg", "FATAL:  no such user", sqlstate="08P01"), False),
    "pooler's password": (made("Error", "psycopg", "password authentication failed", sqlstate="08P01"), False),
    "Snowflake 390100": (
        made("DatabaseError", "snowflake.connector.errors", "x", errno=390100, sqlstate="08001"),
        False,
    ),
    "Snowflake 28000": (
        made("DatabaseError", "snowflake.connector.errors", "x", errno=390144, sqlstate="28000"),
        False,
    ),
    "Snowflake 250001": (
        made(
            "DatabaseError",
            "snowflake.connector.errors",
            "250001 (08001): Failed to connect to DB: a:443. Incorrect username or password was specified.",
            errno=250001,
            sqlstate="08001",
        ),
        False,
    ),
    "Okta": (
        made(
            "DatabaseError", "snowflake.connector.errors", "Failed to get authentication by OKTA: 401: no", errno=250001
        ),
        False,
    ),
    "Trino 401": (made("HttpError", "trino.exceptions", "error 401: b'no'"), True),
    "Trino 403": (made("HttpError", "trino.exceptions", "error 403: b'no'"), True),
    "Trino's own": (made("TrinoAuthError", "trino.exceptions", "no token"), False),
    "BigQuery 401": (made("DatabaseError", "google.cloud.bigquery.dbapi", SimpleNamespace(code=401, errors=[])), False),
    "Google 401": (
        made("Unauthorized", "google.api_core.exceptions", "no", code=401, response=SimpleNamespace(status_code=401)),
        True,
    ),
    "no credentials": (google("DefaultCredentialsError", "could not be determined"), True),
    "invalid_grant": (google("RefreshError", "invalid_grant: Invalid JWT", {}, retryable=False), True),
    "revoked": (google("RefreshError", "('invalid_grant', 'revoked')"), True),
    "Databricks 401": (made("RequestError", "databricks.sql.exc", "x", context={"http-code": 401}), False),
    "Databricks 403": (made("RequestError", "databricks.sql.exc", "x", context={"http-code": 403}), False),
    "a token's page": (
        made("HTTPError", "requests.exceptions", "403", response=SimpleNamespace(status_code=403)),
        True,
    ),
    "MySQL 1045": (made("OperationalError", "MySQLdb", 1045, "Access denied"), False),
    "MySQL 3118": (made("DatabaseError", "mysql.connector.errors", "locked", errno=3118, sqlstate="HY000"), False),
    "Oracle 1017": (made("DatabaseError", "oracledb", "ORA-01017: invalid credential or not authorized"), False),
    "Oracle 28001": (made("DatabaseError", "oracledb", "ORA-28001: the password has expired"), False),
    "ClickHouse": (
        made("DatabaseError", "clickhouse_connect", "Code: 516. DB::Exception: (AUTHENTICATION_FAILED)"),
        False,
    ),
}
PASSING: dict[str, tuple[Any, bool]] = {
    "57P03": (made("CannotConnectNow", "psycopg.errors", "starting up", sqlstate="57P03"), False),
    "53300": (made("TooManyConnections", "psycopg.errors", "too many", sqlstate="53300"), False),
    "starting": (made("OperationalError", "psycopg", "FATAL:  the database system is starting up"), False),
    "full": (made("OperationalError", "psycopg2", "FATAL:  sorry, too many clients already"), False),
    "no host": (made("OperationalError", "psycopg", "failed to resolve host 'x': Name or service not known"), False),
    "08000": (made("OperationalError", "psycopg", "x", sqlstate="08000"), False),
    "08001": (made("OperationalError", "psycopg", "x", sqlstate="08001"), False),
    "08003": (made("OperationalError", "psycopg", "x", sqlstate="08003"), False),
    "08004": (made("OperationalError", "psycopg", "x", sqlstate="08004"), False),
    "08006": (made("OperationalError", "psycopg", "x", sqlstate="08006"), False),
    "08007": (made("OperationalError", "psycopg", "x", sqlstate="08007"), False),
    "08P01": (made("ProtocolViolation", "psycopg.errors", "x", sqlstate="08P01"), False),
    "pooler away": (
        made("Error", "psycopg", "server login has been failing, try again later", sqlstate="08P01"),
        False,
    ),
    "pooler full": (made("Error", "psycopg", "no more connections allowed (max_client_conn)", sqlstate="08P01"), False),
    "pooler's wait": (made("Error", "psycopg", "query_wait_timeout", sqlstate="08P01"), False),
    "pooler's end": (made("Error", "psycopg", "server conn crashed?", sqlstate="08P01"), False),
    "Snowflake away": (
        made("OperationalError", "snowflake.connector.errors", "Could not connect", errno=250001, sqlstate="08001"),
        False,
    ),
    "an expired token": (made("ProgrammingError", "snowflake.connector", "x", errno=390318, sqlstate="08001"), False),
    "a token too early": (made("DatabaseError", "snowflake.connector", "x", errno=394302, sqlstate="28000"), False),
    "Trino 503": (made("Http503Error", "trino.exceptions", "error 503: service unavailable"), True),
    "Google away": (google("TransportError", "no route"), True),
    "metadata away": (google("RefreshError", google("TransportError", "no route")), True),
    "Google's quota": (
        made("Forbidden", "google.api_core.exceptions", "quota", response=SimpleNamespace(status_code=403)),
        True,
    ),
    "Google's retry": (google("RefreshError", "internal_failure", retryable=True), True),
    "Databricks 503": (made("RequestError", "databricks.sql.exc", "x", context={"http-code": 503}), False),
    "quota": (
        made("DatabaseError", "google.cloud", SimpleNamespace(code=403, errors=[{"reason": "quotaExceeded"}])),
        False,
    ),
    "MySQL 1040": (made("OperationalError", "MySQLdb", 1040, "Too many connections"), False),
    "Oracle 12514": (made("DatabaseError", "oracledb", "ORA-12514: no listener"), False),
}
#: What comes again, and is no fault of the login.
WRONG: dict[str, tuple[Any, bool]] = {
    "parameter": (made("Error", "psycopg", "unsupported startup parameter: options", sqlstate="08P01"), False),
    "binds": (
        made(
            "Error",
            "psycopg",
            "bind message supplies 1 parameters, but prepared statement requires 2",
            sqlstate="08P01",
        ),
        False,
    ),
    "pooler's TLS": (made("OperationalError", "psycopg", "FATAL:  SSL required"), False),
    "pooler's database": (made("Error", "psycopg", "no such database: mart", sqlstate="08P01"), False),
    "database": (made("OperationalError", "psycopg2", 'FATAL:  database "mart" does not exist'), False),
    "right": (made("OperationalError", "psycopg", 'FATAL:  permission denied for database "mart"'), False),
    "value": (made("OperationalError", "psycopg", 'invalid sslmode value: "on"'), False),
    "BigQuery's table": (
        made("DatabaseError", "google.cloud", SimpleNamespace(code=403, errors=[{"reason": "accessDenied"}])),
        False,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_login_ends_the_try_and_names_the_connection(name: str, engine: Engine) -> None:
    error, beside = REFUSED[name]
    failed = told(error, engine, beside=beside)
    assert isinstance(failed, LoginRefused)
    assert "refuses the login of the connection mart_reader. Correct its login and password" in str(failed)


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_by_itself_is_retried(name: str, engine: Engine) -> None:
    error, beside = PASSING[name]
    failed = told(error, engine, beside=beside)
    assert isinstance(failed, QueryInterrupted)
    assert str(failed).endswith("Clear the task once the connection mart_reader answers again.")


@pytest.mark.parametrize("name", WRONG)
def test_what_comes_again_is_refused_without_blaming_the_login(name: str, engine: Engine) -> None:
    error, beside = WRONG[name]
    assert type(told(error, engine, beside=beside)) is QueryRefused


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    """Yield a server that asks its users `reader` and `barred` for a password; `barred` may not log in."""
    try:
        with running_server() as running:
            engine = create_engine(running.url)
            with engine.begin() as conn:
                conn.execute(text(f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'"))
                conn.execute(text(f"CREATE ROLE barred NOLOGIN PASSWORD '{SECRET}'"))
                conn.execute(text("CREATE ROLE sole LOGIN CONNECTION LIMIT 0"))
                file = Path(conn.execute(text("SHOW hba_file")).scalar_one())
                rules = file.read_text(encoding="utf-8")
                file.write_text(f"local all reader,barred scram-sha-256\n{rules}", encoding="utf-8")
                conn.execute(text("SELECT pg_reload_conf()"))
            engine.dispose()
            yield running.url
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("login", "kind"),
    [
        ({"username": "reader", "password": "wrong-" + SECRET}, LoginRefused),
        ({"username": "reader", "password": None}, LoginRefused),
        ({"username": "barred", "password": SECRET}, LoginRefused),
        ({"username": "nobody"}, LoginRefused),
        ({"database": "nowhere"}, QueryRefused),
        ({"username": "sole"}, QueryInterrupted),  # too many connections for this role
    ],
    ids=str,
)
def test_postgresql_itself(server: URL, driver: str, login: dict[str, Any], kind: type[QueryFailed]) -> None:
    engine = create_engine(server.set(drivername=f"postgresql+{driver}", **login))
    for look in (lambda: list(read_rows(engine, SQL, {})), lambda: probe_query(engine, SQL, {})):
        with pytest.raises(QueryFailed) as caught:
            look()
        assert type(caught.value) is kind
        assert SECRET not in str(caught.value)
    engine.dispose()


def test_the_right_password_is_let_in(server: URL) -> None:
    engine = create_engine(server.set(username="reader", password=SECRET))
    assert list(read_rows(engine, SQL, {})) == [[1]]
    engine.dispose()


def test_a_pooler_that_takes_no_options_is_not_asked_again(server: URL) -> None:
    with pooler_or_skip(server) as pooler:
        engine = create_engine(pooler.update_query_dict({"options": "-csearch_path=mart"}))
        with pytest.raises(QueryRefused, match="unsupported startup parameter: options"):
            list(read_rows(engine, SQL, {}))
        engine.dispose()
