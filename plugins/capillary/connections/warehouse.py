"""The warehouse behind an Airflow connection: an engine that connects as the hook of the connection's provider does.

Most providers make an engine of an address alone, and leave out what the connection's extra says: TLS, the schema,
time limits. Their engine takes its connections from the hook itself (`creator`). Providers that make their engine in
a method of their own hand the extras over there.

No driver is given an argument that is not its own. `NOT_FOR_THE_ENGINE` is taken out of the extra for every hook,
however it reads its connection. Redshift's hook connects with redshift_connector and makes its engine with psycopg,
which takes other arguments: of its extra, psycopg gets what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from json import JSONDecodeError, dumps
from typing import Any, Final, TypeVar
from urllib.parse import quote

from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowSecretsBackendAccessDenied
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from capillary.connections.as_typed import json_object
from capillary.connections.errors import ConnectionDenied, ConnectionInvalid, ConnectionUnusable
from capillary.connections.lookup import look_up
from capillary.connections.sqlite_file import assert_file
from capillary.engine.errors import LoginRefused, QueryInterrupted
from capillary.engine.query_errors import CONN_ID_OPTION, is_login_refused
from capillary.errors import CapillaryError
from capillary.ledger.libpq import parameters

#: Extras that change what rows are, or take the transaction away in which the look is read-only and streams.
NOT_FOR_THE_ENGINE: Final = frozenset({"autocommit", "cursor", "cursor_factory", "cursorclass", "row_factory"})
#: Connection types whose own hook is none of SQL, with the hook of the same provider that is.
_SQL_HOOKS: Final[Mapping[str, tuple[str, str]]] = {
    "databricks": ("airflow.providers.databricks.hooks.databricks_sql", "DatabricksSqlHook"),
    "google_cloud_platform": ("airflow.providers.google.cloud.hooks.bigquery", "BigQueryHook"),
}
#: What Redshift's hook reads in order to fetch a token, and nobody takes to connect.
_FOR_REDSHIFTS_TOKEN: Final = frozenset(
    {
        "iam",
        "cluster_identifier",
        "region",
        "is_serverless",
        "serverless_work_group",
        "serverless_token_duration_seconds",
    }
)
#: What psycopg takes to connect beside libpq's parameters, and what changes neither rows nor the transaction.
_PSYCOPGS_OWN: Final = frozenset({"prepare_threshold"})
#: SQLite's own parameters of an address (https://www.sqlite.org/uri.html); SQLAlchemy drops them from a plain one.
_SQLITE_URI: Final = frozenset({"cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs"})
#: What a hook or a driver says of fields that make no connection; all else may pass.
_WRONG_FIELDS: Final = (
    AirflowException,
    AttributeError,
    FileNotFoundError,
    ImportError,
    LookupError,
    SQLAlchemyError,
    TypeError,
    ValueError,
)

_T = TypeVar("_T")


def database_engine_of(conn_id: str) -> Engine:
    """Return a SQLAlchemy engine for the warehouse, which connects as the hook of the connection's provider does.

    Raises:
        ConnectionMissing: there is no such connection.
        ConnectionInvalid: its extra is not a JSON object, or says one thing in two ways, or a field holds a character
            that nobody sees.
        ConnectionUnusable: it is not a database, its provider is not installed, its fields make no address, or it names
            a SQLite file that is missing.
        LoginRefused: something that the address needs, such as a token, is refused to its login.
        QueryInterrupted: the same could not be fetched now.
        AirflowAway, ConnectionDenied: Airflow does not answer, or refuses the connection.
    """
    connection = look_up(conn_id)
    extras = json_object(connection, example="{}")
    hook = _hook_of(connection)
    try:
        engine = _found_again(conn_id, lambda: _engine_of(hook, extras))
    except CapillaryError:
        raise
    except _WRONG_FIELDS as error:
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {connection.conn_type!r} does not make a database address "
            f"({type(error).__name__}). Correct its fields and its extra, or install that database's driver."
        ) from None
    except Exception as error:  # noqa: BLE001 - a client of the provider's that fetches a token
        kind = LoginRefused if is_login_refused(error) else QueryInterrupted
        reason = f"connection {conn_id!r} gives no address at the moment ({type(error).__name__})"
        raise kind(reason=reason, conn_id=conn_id) from None
    engine.update_execution_options(**{CONN_ID_OPTION: conn_id})
    return engine


def _hook_of(connection: Connection) -> DbApiHook:
    conn_id, kind = connection.conn_id, connection.conn_type or ""
    try:
        if kind in _SQL_HOOKS:
            module, name = _SQL_HOOKS[kind]
            hook_class = getattr(import_module(module), name)
            hook = hook_class(**{hook_class.conn_name_attr: conn_id})
        else:
            hook = connection.get_hook()  # type: ignore[no-untyped-call] # Airflow's own
    except (AirflowException, ImportError, AttributeError) as error:  # the last: `generic` names no hook class
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {kind!r} has no hook ({type(error).__name__}). "
            "Install the Airflow provider of that database, or correct the type."
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {kind!r} is not an SQL database. "
            "Name one whose provider builds on common-sql, such as postgres, sqlite or snowflake."
        )
    return hook


def _found_again(conn_id: str, make: Callable[[], _T]) -> _T:
    """Return what is made. The hook looks its connection up by itself, and may not find it as Airflow goes away."""
    try:
        return make()
    except AirflowSecretsBackendAccessDenied:
        raise ConnectionDenied(conn_id) from None
    except AirflowNotFoundException:
        look_up(conn_id)
    return make()


def _engine_of(hook: DbApiHook, extras: Mapping[str, object]) -> Engine:
    kept = _for_the_engine(hook, extras)
    _give_extras(hook, kept)
    if hook.conn_type == "sqlite":
        return _sqlite_engine(hook)
    if hook.conn_type == "gcpbigquery":
        return _bigquery_engine(hook)
    if hook.conn_type == "redshift":
        return _redshift_engine(hook, kept)
    if type(hook).get_sqlalchemy_engine is not DbApiHook.get_sqlalchemy_engine:
        return hook.get_sqlalchemy_engine()

    def connect() -> object:
        return _connected(hook, engine)

    if hook.conn_type == "trino":
        # The hook writes the extras into the address as Python prints them; the dialect reads some of them as JSON.
        engine = create_engine(make_url(hook.get_uri()).set(query={}), creator=connect)
    else:
        engine = hook.get_sqlalchemy_engine({"creator": connect})
    return engine


def _give_extras(hook: DbApiHook, extras: Mapping[str, object]) -> None:
    """Have the hook find these extras in its connection: some keep one of their own, some read it each time."""
    read: Callable[[str], Connection] = hook.get_connection

    def get_connection(conn_id: str) -> Connection:
        connection = read(conn_id)
        if conn_id == hook.get_conn_id():
            connection.extra = dumps(extras) if extras else None  # an empty one becomes a part of SQLite's address
        return connection

    hook.get_connection = get_connection


def _for_the_engine(hook: DbApiHook, extras: Mapping[str, object]) -> dict[str, object]:
    """Return the extras with which the hook connects: without those that change what rows are.

    PostgreSQL's `sqlalchemy_query` holds parameters of the connection for an engine; the hook itself leaves them out.
    """
    kept = {name: value for name, value in extras.items() if name not in NOT_FOR_THE_ENGINE}
    query = kept.get("sqlalchemy_query")
    if hook.conn_type != "postgres" or not isinstance(query, Mapping):
        return kept
    for name, value in query.items():
        if str(kept.setdefault(name, value)) != str(value):
            raise ConnectionInvalid(
                conn_id=hook.get_conn_id(),
                field=name,
                problem="the extra gives it twice, in sqlalchemy_query and beside it, with different values",
                remedy="Leave one of the two out",
            )
    return kept


def _connected(hook: DbApiHook, engine: Engine) -> object:
    """Return a new connection of the hook, for an engine of the same driver. A driver's own errors pass through."""
    conn_id = hook.get_conn_id()
    try:
        connection = _found_again(conn_id, hook.get_conn)
    except (OSError, JSONDecodeError):  # a network's, and a page in place of JSON; some are a ValueError, too
        raise
    except _WRONG_FIELDS as error:
        raise ConnectionUnusable(
            f"Connection {conn_id!r}: {type(hook).__name__} does not connect with its fields and its extra "
            f"({type(error).__name__}). Correct them; `airflow connections test {conn_id}` tries the same."
        ) from None
    theirs, ours = (
        name.partition(".")[0] for name in (type(connection).__module__, engine.dialect.loaded_dbapi.__name__)
    )
    if theirs != ours:
        connection.close()
        raise ConnectionUnusable(
            f"Connection {conn_id!r}: {type(hook).__name__} connects with the driver {theirs}, and its address for "
            f"SQLAlchemy names {ours}. Remove sqlalchemy_scheme from its extra, or name {theirs} there."
        )
    return connection


def _sqlite_engine(hook: DbApiHook) -> Engine:
    """Return an engine for a file, with SQLite's own parameters (`mode=ro`) where the extra has any."""
    url = make_url(hook.get_uri())
    assert_file(url, hook.get_conn_id())
    if _SQLITE_URI.isdisjoint(url.query):
        return hook.get_sqlalchemy_engine()
    file = f"file:{quote(url.database or '')}"
    return create_engine(URL.create("sqlite", database=file, query={**url.query, "uri": "true"}))


def _bigquery_engine(hook: Any) -> Engine:  # noqa: ANN401 - the provider is not installed everywhere
    """Return an engine on the hook's own client: impersonation, key files in any form, and the scopes hold for it."""
    client = hook.get_client(location=hook.location)
    address = URL.create("bigquery", host=client.project, query={"user_supplied_client": "true"})
    return create_engine(address, connect_args={"client": client})


def _redshift_engine(hook: DbApiHook, extras: Mapping[str, object]) -> Engine:
    """Return an engine of psycopg at the hook's address, whose login may be a token that was fetched just now.

    Raises:
        ConnectionInvalid: the extra holds what redshift_connector takes and psycopg does not. Left out in silence, it
            might have been what keeps the connection safe, such as `ssl`.
    """
    address = make_url(hook.get_uri()).set(drivername="postgresql+psycopg")
    taken = {name: value for name, value in extras.items() if name not in _FOR_REDSHIFTS_TOKEN}
    engine = create_engine(address, connect_args=taken)
    for name in taken:
        if name not in parameters() and name not in _PSYCOPGS_OWN:
            raise ConnectionInvalid(
                conn_id=hook.get_conn_id(),
                field=name,
                problem="the engine connects to Redshift with psycopg, which does not take it from the extra",
                remedy="Write it as libpq's parameter, such as sslmode or connect_timeout, or leave it out",
            )
    return engine
