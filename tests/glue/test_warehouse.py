"""The engine of a warehouse connects as the hook of its provider does: what the connection's extra says holds."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Generator, Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import ANY

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection
from sqlalchemy import URL, Engine, create_engine, event, make_url, text

from capillary.connections import warehouse
from capillary.connections.errors import ConnectionInvalid, ConnectionUnusable
from capillary.connections.warehouse import database_engine_of
from capillary.engine.errors import LoginRefused, QueryInterrupted, QueryRefused
from capillary.engine.query_probe import Depth, probe_query
from capillary.engine.warehouse import read_rows
from tests.postgresql import ServerMissing, running_server
from tests.relays import port_of_socket

MEMBERS = "SELECT customer_id FROM member"


@pytest.fixture(scope="module")
def facts() -> Iterator[dict[str, object]]:
    """Yield the fields of a connection to a server without TLS: schema `public` has 120 members, `mart` has 3."""
    try:
        with running_server() as server:
            engine = create_engine(server.url)
            with engine.begin() as conn:
                conn.execute(
                    text("CREATE TABLE public.member AS SELECT i AS customer_id FROM generate_series(1, 120) i")
                )
                conn.execute(text("CREATE SEQUENCE counter"))
                conn.execute(text("CREATE SCHEMA mart"))
                conn.execute(
                    text("CREATE TABLE mart.member AS SELECT i AS customer_id FROM generate_series(501, 503) i")
                )
            engine.dispose()
            folder = str(server.url.query["host"])
            with port_of_socket(f"{folder}/.s.PGSQL.5432") as port:
                yield {
                    "conn_type": "postgres",
                    "host": "127.0.0.1",
                    "port": port,
                    "login": server.url.username,
                    "schema": server.url.database,
                }
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def engine_with(facts: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    engines: list[Engine] = []

    def make(**extra: object) -> Engine:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**facts, "extra": extra}))
        engines.append(database_engine_of("warehouse"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def customers(engine: Engine, sql: str = MEMBERS, **parameters: object) -> list[object]:
    return [value for rows in read_rows(engine, sql, parameters, partition_rows=50) for value in rows]


def test_without_extras_everything_is_read(engine_with: Any) -> None:  # noqa: ANN401 - a factory
    engine = engine_with()
    assert customers(engine) == list(range(1, 121))
    assert customers(engine, f"{MEMBERS} WHERE customer_id IN (:some)", some=[3, 5]) == [3, 5]
    assert probe_query(engine, MEMBERS, {}) is Depth.COLUMNS


@pytest.mark.parametrize("extra", [{"sslmode": "verify-full"}, {"sqlalchemy_query": {"sslmode": "require"}}])
def test_tls_that_the_server_does_not_have_is_not_done_without(engine_with: Any, extra: dict[str, object]) -> None:  # noqa: ANN401
    with pytest.raises(QueryInterrupted, match=r"(?i)ssl|root certificate"):
        customers(engine_with(**extra))


@pytest.mark.parametrize(
    "extra", [{"options": "-csearch_path=mart"}, {"sqlalchemy_query": {"options": "-csearch_path=mart"}}]
)
def test_the_schema_of_the_options_is_read(engine_with: Any, extra: dict[str, object]) -> None:  # noqa: ANN401
    assert customers(engine_with(**extra)) == [501, 502, 503]


def test_a_time_limit_of_the_options_ends_a_query_and_passes(engine_with: Any) -> None:  # noqa: ANN401
    with pytest.raises(QueryInterrupted, match="statement timeout"):
        customers(engine_with(options="-cstatement_timeout=200"), "SELECT 1 AS customer_id FROM pg_sleep(5)")


@pytest.mark.parametrize(
    "extra", [{"cursor": "dictcursor"}, {"cursor": "namedtuplecursor"}, {"cursor": "realdictcursor"}]
)
def test_a_cursor_of_the_extra_does_not_change_what_rows_are(engine_with: Any, extra: dict[str, object]) -> None:  # noqa: ANN401
    assert customers(engine_with(**extra)) == list(range(1, 121))


def test_the_look_stays_read_only_and_streams_whatever_the_extra_says(engine_with: Any) -> None:  # noqa: ANN401
    engine = engine_with(autocommit=True)
    with pytest.raises(QueryRefused, match="read-only transaction"):
        customers(engine, "SELECT nextval('counter') AS customer_id")
    assert customers(engine, "SELECT count(*) AS customer_id FROM pg_cursors WHERE name <> ''") == [1]
    # 10^9 rows: a client that fetched them all would be out of memory long before it had the first.
    endless = "SELECT a AS customer_id FROM generate_series(1, 1000000) a, generate_series(1, 1000) b"
    rows = read_rows(engine, endless, {}, partition_rows=10)
    assert len(next(rows)) == 10
    assert isinstance(rows, Generator)
    rows.close()


def test_an_unknown_extra_is_an_error_as_it_is_for_the_hook(engine_with: Any) -> None:  # noqa: ANN401
    with pytest.raises(QueryRefused, match="invalid connection option"):
        customers(engine_with(ssl_mode="require"))


def test_a_parameter_that_is_said_in_two_ways_is_refused(engine_with: Any) -> None:  # noqa: ANN401
    with pytest.raises(ConnectionInvalid, match="'warehouse', field 'sslmode': the extra gives it twice"):
        engine_with(sslmode="verify-full", sqlalchemy_query={"sslmode": "disable"})


def test_an_address_of_another_driver_than_the_hooks_is_refused(engine_with: Any) -> None:  # noqa: ANN401
    with pytest.raises(
        ConnectionUnusable, match=r"connects with the driver psycopg, and its address .* names psycopg2"
    ):
        customers(engine_with(sqlalchemy_scheme="postgresql+psycopg2"))


@pytest.mark.parametrize(
    ("error", "becomes", "said"),
    [
        (ValueError("secret-word"), ConnectionUnusable, "PostgresHook does not connect .* \\(ValueError\\)"),
        (KeyError("secret-word"), ConnectionUnusable, "\\(KeyError\\)"),
        (ConnectionResetError("gone"), QueryInterrupted, "gone"),
        (json.JSONDecodeError("no JSON", "secret-word", 0), QueryInterrupted, "no JSON"),
        (RuntimeError("a token could not be fetched"), QueryInterrupted, "token"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_a_hook_raises_on_connecting_has_a_remedy(
    engine_with: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    becomes: type[Exception],
    said: str,
) -> None:
    def refuse(_: PostgresHook) -> None:
        raise error

    monkeypatch.setattr(PostgresHook, "get_conn", refuse)
    with pytest.raises(becomes, match=said) as caught:
        customers(engine_with())
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (AttributeError("a dialect that does not load"), ConnectionUnusable),
        (FileNotFoundError("a key file"), ConnectionUnusable),
        (TimeoutError("a token"), QueryInterrupted),
        (RuntimeError("a client's own"), QueryInterrupted),
        (type("RefreshError", (Exception,), {"__module__": "google.auth.exceptions"})("invalid_grant"), LoginRefused),
    ],
    ids=repr,
)
def test_an_engine_that_cannot_be_made_names_the_connection(
    engine_with: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    becomes: type[Exception],
) -> None:
    def refuse(_: PostgresHook) -> None:
        raise error

    monkeypatch.setattr(PostgresHook, "get_sqlalchemy_engine", refuse)
    with pytest.raises(becomes, match=rf"onnection 'warehouse' .*\({type(error).__name__}\)"):
        engine_with()


def test_sqlites_own_parameters_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "w #1.db"
    engine = create_engine(URL.create("sqlite", database=str(file)))
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE member AS SELECT 7 AS customer_id"))
    engine.dispose()
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file), "extra": {"mode": "ro"}})
    )
    engine = database_engine_of("warehouse")
    try:
        assert customers(engine) == [7]
        with engine.connect() as conn, pytest.raises(Exception, match="readonly"):
            conn.execute(text("INSERT INTO member VALUES (8)"))
    finally:
        engine.dispose()


def test_a_provider_that_makes_its_engine_itself_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(DbApiHook):
        conn_name_attr = "own_conn_id"
        conn_type = "own"

        def get_sqlalchemy_engine(self, engine_kwargs: Any = None) -> Engine:  # noqa: ANN401 - as the provider has it
            assert engine_kwargs is None
            return create_engine("sqlite://")

    monkeypatch.setattr(Connection, "get_hook", lambda self: Own(self.conn_id))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "own", "host": "h"}))
    assert database_engine_of("warehouse").url == make_url("sqlite://")


@pytest.mark.parametrize("kind", ["databricks", "google_cloud_platform"])
def test_the_sql_hook_of_a_type_stands_beside_its_own(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name, hook_name = warehouse._SQL_HOOKS[kind]

    class Sql(DbApiHook):
        conn_name_attr = "sql_conn_id"
        conn_type = "gcpbigquery" if kind == "google_cloud_platform" else kind
        location = "EU"

        def get_client(self, location: str) -> object:
            return SimpleNamespace(project=f"shop-{location}-{self.get_conn_id()}")

        def get_uri(self) -> str:
            return "sqlite://"

    module = types.ModuleType(name)
    setattr(module, hook_name, Sql)
    monkeypatch.setitem(sys.modules, name, module)
    made: list[tuple[URL, Any]] = []

    def make(url: URL, **kwargs: object) -> Engine:
        made.append((url, kwargs))
        return create_engine("sqlite://")

    monkeypatch.setattr(warehouse, "create_engine", make)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": kind, "host": "h"}))
    engine = database_engine_of("warehouse")
    if kind == "databricks":
        assert engine.url == make_url("sqlite://")
    else:
        ((url, kwargs),) = made
        assert str(url) == "bigquery://shop-EU-warehouse?user_supplied_client=true"
        assert kwargs["connect_args"]["client"].project == "shop-EU-warehouse"


def test_a_type_whose_provider_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("databricks", "google_cloud_platform"):
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": kind, "host": "h"}))
        with pytest.raises(ConnectionUnusable, match=f"'{kind}' has no hook .* Install the Airflow provider"):
            database_engine_of("warehouse")


# What each driver is given -----------------------------------------------------------------------------------

#: Extras that another driver, or the hook outside of an engine, would take.
STRANGE: Final = {
    "autocommit": True,
    "cursor": "dictcursor",
    "cursor_factory": "psycopg.rows.dict_row",
    "cursorclass": "dictcursor",
    "row_factory": "dict_row",
}


#: What libpq makes of the fields of the connections here.
ADDRESS: Final = {"host": "h", "user": "u", "password": "p", "dbname": "s", "port": 5439}


class Given(Exception):
    """What a driver was given, in place of a connection."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.arguments = arguments


def refuse_and_tell(*_: object, **arguments: object) -> None:
    raise Given(arguments)


def given_by(engine: Engine) -> dict[str, Any]:
    """Return what the driver is given by an engine, or by the hook that it has for its creator."""

    def do_connect(_dialect: object, _record: object, _args: object, arguments: dict[str, Any]) -> None:
        raise Given(arguments)

    event.listen(engine, "do_connect", do_connect)  # passed over where there is a creator
    try:
        with pytest.raises(Given) as told:
            engine.raw_connection()
    finally:
        engine.dispose()
    return told.value.arguments


def engine_by(monkeypatch: pytest.MonkeyPatch, kind: str, hook: type[DbApiHook] | None, **extra: object) -> Engine:
    """Return the engine of a connection of this type, whose hook may be a stand-in for a provider's."""
    facts = {"conn_type": kind, "host": "h", "login": "u", "password": "p", "schema": "s", "port": 5439}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**facts, "extra": {**STRANGE, **extra}}))
    if kind in warehouse._SQL_HOOKS:
        name, hook_name = warehouse._SQL_HOOKS[kind]
        module = types.ModuleType(name)
        setattr(module, hook_name, hook)
        monkeypatch.setitem(sys.modules, name, module)
    elif hook is not None:
        monkeypatch.setattr(Connection, "get_hook", lambda self: hook(self.conn_id))
    return database_engine_of("warehouse")


class Redshift(DbApiHook):
    """As `RedshiftSQLHook` of the amazon provider 9.39.0, but for AWS."""

    conn_name_attr = "redshift_conn_id"
    conn_type = "redshift"

    @cached_property
    def conn(self) -> Any:  # noqa: ANN401 - the provider has it so
        return self.get_connection(self.get_conn_id())

    def get_uri(self) -> str:
        login, password = (self.conn.login, self.conn.password)
        if self.conn.extra_dejson.get("iam", False):
            login, password = f"IAM:{login}", f"token of {self.conn.extra_dejson['cluster_identifier']}"
        return URL.create(
            "postgresql", login, password, self.conn.host, self.conn.port, self.conn.schema
        ).render_as_string(hide_password=False)

    def get_sqlalchemy_engine(self, engine_kwargs: Any = None) -> Engine:  # noqa: ANN401 - the provider has it so
        address = make_url(self.get_uri()).set(drivername="postgresql+psycopg")
        return create_engine(address, connect_args=self.conn.extra_dejson, **(engine_kwargs or {}))


class Snowflake(DbApiHook):
    """As `SnowflakeHook` of its provider 6.20.0 makes an engine, on a dialect that is here."""

    conn_name_attr = "snowflake_conn_id"
    conn_type = "snowflake"

    def get_sqlalchemy_engine(self, engine_kwargs: Any = None) -> Engine:  # noqa: ANN401 - the provider has it so
        extra = self.get_connection(self.get_conn_id()).extra_dejson
        return create_engine("postgresql+psycopg://h", connect_args=extra, **(engine_kwargs or {}))


class Databricks(DbApiHook):
    """As `DatabricksSqlHook` of its provider 7.23.0 hands its extra over."""

    conn_name_attr = "databricks_conn_id"
    conn_type = "databricks"

    @cached_property
    def databricks_conn(self) -> Any:  # noqa: ANN401 - the provider has it so
        return self.get_connection(self.get_conn_id())

    def get_uri(self) -> str:
        return "sqlite://"

    def get_conn(self) -> Any:  # noqa: ANN401 - the provider has it so
        raise Given({"http_headers": [], **self.databricks_conn.extra_dejson})


class Other(DbApiHook):
    """Any other provider's, which reads the connection that common-sql keeps."""

    conn_name_attr = "other_conn_id"
    conn_type = "other"

    def get_uri(self) -> str:
        return "sqlite://"

    def get_conn(self) -> Any:  # noqa: ANN401 - the provider has it so
        raise Given(self.connection.extra_dejson)


def test_psycopg_is_given_libpqs_parameters_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresHook, "_create_connection", lambda _, arguments: refuse_and_tell(**arguments))
    given = given_by(engine_by(monkeypatch, "postgres", None, sslmode="require", prepare_threshold=None))
    assert given == ADDRESS | {"sslmode": "require", "prepare_threshold": None}


def test_sqlite_is_given_its_own_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "w.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE member AS SELECT 7 AS customer_id"))
    engine.dispose()
    for own in ({}, {"mode": "ro"}, {"timeout": "9"}):
        facts = {"conn_type": "sqlite", "host": str(file), "extra": {**STRANGE, **own}}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(facts))
        engine = database_engine_of("warehouse")
        assert customers(engine) == [7]
        assert STRANGE.keys().isdisjoint(engine.url.query)
        assert {name: value for name, value in engine.url.query.items() if name != "uri"} == own
        engine.dispose()


def test_trinos_client_is_given_what_its_hook_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trino.dbapi.connect", refuse_and_tell)
    given = given_by(engine_by(monkeypatch, "trino", None, protocol="https", roles={"hive": "admin"}))
    assert (given["http_scheme"], given["roles"]) == ("https", {"hive": "admin"})
    assert STRANGE.keys().isdisjoint(given)


def test_a_provider_with_an_engine_of_its_own_is_not_shown_what_is_not_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_by(engine_by(monkeypatch, "snowflake", Snowflake, session_parameters={"QUERY_TAG": "badges"}))
    assert given["session_parameters"] == {"QUERY_TAG": "badges"}
    assert STRANGE.keys().isdisjoint(given)


@pytest.mark.parametrize("hook", [Databricks, Other])
def test_a_hook_that_connects_by_itself_is_not_shown_what_is_not_for_it(
    monkeypatch: pytest.MonkeyPatch, hook: type[DbApiHook]
) -> None:
    given = given_by(engine_by(monkeypatch, hook.conn_type, hook, http_path="/sql/1"))
    assert given["http_path"] == "/sql/1"
    assert STRANGE.keys().isdisjoint(given)


def test_redshifts_psycopg_is_given_libpqs_parameters_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_by(monkeypatch, "redshift", Redshift, sslmode="verify-full", connect_timeout=9)
    assert engine.dialect.driver == "psycopg"
    own = {"context": ANY}  # SQLAlchemy's
    assert given_by(engine) == ADDRESS | {"sslmode": "verify-full", "connect_timeout": 9} | own


def test_redshifts_token_is_fetched_and_what_names_it_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    token = {"iam": True, "cluster_identifier": "shop", "region": "eu-west-1"}
    given = given_by(engine_by(monkeypatch, "redshift", Redshift, **token))
    assert (given["user"], given["password"]) == ("IAM:u", "token of shop")
    assert token.keys().isdisjoint(given)
    serverless = {"is_serverless": True, "serverless_work_group": "w", "serverless_token_duration_seconds": 900}
    assert serverless.keys().isdisjoint(given_by(engine_by(monkeypatch, "redshift", Redshift, **serverless)))


@pytest.mark.parametrize("name", ["ssl", "timeout", "db_user", "credentials_provider", "sqlalchemy_query", "ssl_mode"])
def test_what_redshift_connector_takes_and_psycopg_does_not_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(ConnectionInvalid, match=f"Connection 'warehouse', field '{name}': .* with psycopg"):
        engine_by(monkeypatch, "redshift", Redshift, **{name: "secret-word"})


def test_every_extra_that_is_not_for_an_engine_was_tried() -> None:
    assert STRANGE.keys() == warehouse.NOT_FOR_THE_ENGINE
