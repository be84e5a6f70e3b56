"""Connections: what Airflow keeps about the platform, the ledger and the warehouse, as this project reads it."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException, AirflowSecretsBackendAccessDenied
from airflow.sdk.log import amask_secret, mask_secret
from sqlalchemy import URL, Engine
from sqlalchemy.exc import ArgumentError

from capillary.api.client import Client
from capillary.api.errors import SettingsInvalid
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport
from capillary.connection_lookup import AIRFLOWS_OWN, ConnectionDenied, ConnectionUnusable, alook_up, look_up
from capillary.errors import CapillaryError
from capillary.ledger.libpq import ParameterRefused, secrets_of
from capillary.ledger_address import ledger_address

#: How long a person waits for the connection's test, seconds.
TEST_TIMEOUT_S: Final = 30.0
#: Names the connection whose login and password are the till of the wrapped call.
INNER_CONN_ID: Final = "inner_conn_id"
#: Fields of `PlatformSettings` that stand in the connection itself, or in the inner one.
_OWN_FIELDS: Final = {
    "base_url": "host",
    "login": "login",
    "password": "password",
    "inner_login": "login",
    "inner_password": "password",
}
_KINDS: Final = {each.name: str(each.type) for each in fields(PlatformSettings)}
#: Every extra that is read; another one is refused, since a misspelt `submitting` would submit.
EXTRAS: Final = frozenset(_KINDS) - frozenset(_OWN_FIELDS) | {INNER_CONN_ID}
_YES_OR_NO: Final = {"true": True, "false": False, "on": True, "off": False, "yes": True, "no": False}


class ConnectionInvalid(SettingsInvalid):
    """A field of a connection is missing or wrong; names the connection and its form's field."""

    def __init__(self, *, conn_id: str, field: str, problem: str, remedy: str) -> None:
        super().__init__(field=field, problem=problem, remedy=remedy)
        self.conn_id = conn_id
        self.args = (f"Connection {conn_id!r}, field {field!r}: {problem}. {remedy}.",)


class CapillaryHook(BaseHook):
    """One account of the platform, as an Airflow connection of type `capillary`.

    Args:
        capillary_conn_id: the connection; default `capillary`.
    """

    conn_name_attr = "capillary_conn_id"
    default_conn_name = "capillary"
    conn_type = "capillary"
    hook_name = "Capillary"

    def __init__(self, capillary_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.capillary_conn_id = capillary_conn_id

    def get_settings(self) -> PlatformSettings:
        """Read the connection and the inner one, and mask their secrets in logs.

        Raises:
            ConnectionMissing: one of the two does not exist.
            AirflowAway, ConnectionDenied: Airflow does not answer, or refuses the connection.
            SettingsInvalid: a field is missing or wrong.
        """
        connection = look_up(self.capillary_conn_id)
        inner_id = _inner_conn_id(connection)
        settings = settings_of(connection, look_up(inner_id) if inner_id else None)
        for secret in settings.secrets():
            mask_secret(secret)
        return settings

    async def aget_settings(self) -> PlatformSettings:
        """Do what `get_settings` does, for triggers: nothing here blocks the event loop."""
        connection = await alook_up(self.capillary_conn_id)
        inner_id = _inner_conn_id(connection)
        settings = settings_of(connection, await alook_up(inner_id) if inner_id else None)
        for secret in settings.secrets():
            await amask_secret(secret)
        return settings

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap read of the platform; the Test button of the connection's form calls this."""
        try:
            return True, asyncio.run(_check(self.get_settings()))
        except TimeoutError:
            return False, (
                f"Connection {self.capillary_conn_id!r}: no answer within {TEST_TIMEOUT_S:.0f} s. "
                "Check the host, the network and the account's call limit, then test again."
            )
        except CapillaryError as error:
            return False, str(error)


class _TestPace:
    """A pace for the two calls of a test: it waits out a 429 and nothing else."""

    def __init__(self) -> None:
        self._blocked_until = 0.0

    async def take(self) -> None:
        await asyncio.sleep(max(0.0, self._blocked_until - time.monotonic()))

    async def block(self, seconds: float) -> None:
        self._blocked_until = time.monotonic() + seconds


async def _check(settings: PlatformSettings) -> str:
    transport = AiohttpTransport(
        connect_timeout_s=settings.connect_timeout_s, verify_tls=trust_of(settings), proxy=settings.proxy
    )
    client = Client(
        settings,
        transport=transport,
        pace=_TestPace(),
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        random=SystemRandom(),
        on_secret=mask_secret,
    )
    async with client, asyncio.timeout(TEST_TIMEOUT_S):
        return await client.check()


def settings_of(connection: Connection, inner: Connection | None = None) -> PlatformSettings:
    """Return what a connection says about its account.

    The host may be a whole URL or a name (then the schema is the scheme, default https); a port is added.
    Empty extras mean the default; numbers and booleans may be written as text, as in a connection's URI.

    Args:
        connection: of type `capillary`.
        inner: the connection that `inner_conn_id` names: login and password of the wrapped call, and its
            address where it has a host and `inner_hostname` is not given.

    Raises:
        SettingsInvalid: naming the connection and the field.
    """
    extras = _extras(connection)
    given = {name: _converted(connection.conn_id, name, value) for name, value in extras.items()}
    given.pop(INNER_CONN_ID, None)
    given.setdefault("organisation_id", "")
    given |= {
        "base_url": _base_url(connection),
        "login": connection.login or "",
        "password": connection.password or "",
    }
    if inner is not None:
        given |= {"inner_login": inner.login or "", "inner_password": inner.password or ""}
        if inner.host:
            given.setdefault("inner_hostname", _base_url(inner))
        for name in ("login", "password"):
            if not getattr(inner, name):
                raise ConnectionInvalid(
                    conn_id=inner.conn_id,
                    field=name,
                    problem="it is missing, and the wrapped call needs a till",
                    remedy=f"Fill it in, or clear {INNER_CONN_ID} of connection {connection.conn_id!r}",
                )
    try:
        return PlatformSettings(**given)  # type: ignore[arg-type] # the class checks its own types
    except SettingsInvalid as error:
        at = inner if inner is not None and error.field in {"inner_login", "inner_password"} else connection
        name = _OWN_FIELDS.get(error.field, error.field)
        if at is connection and error.field in {"inner_login", "inner_password"}:
            name = INNER_CONN_ID
        raise ConnectionInvalid(conn_id=at.conn_id, field=name, problem=error.problem, remedy=error.remedy) from None


def ledger_url_of(conn_id: str) -> str:
    """Return the SQLAlchemy URL of the ledger behind a connection of type sqlite or postgres.

    Raises:
        ConnectionMissing, ConnectionUnusable: there is no such connection, or none to be read.
        AirflowAway, ConnectionDenied, ConnectionsUnreadable: Airflow does not give it.
        ConnectionInvalid: an extra that would not be honoured.
        LedgerRefused: another database, or a SQLite file whose place depends on the working directory.
    """
    url = _ledger_url(look_up(conn_id))
    for secret in secrets_of(url):
        mask_secret(secret)
    return url.render_as_string(hide_password=False)


async def aledger_url_of(conn_id: str) -> str:
    """Do what `ledger_url_of` does, for triggers."""
    url = _ledger_url(await alook_up(conn_id))
    for secret in secrets_of(url):
        await amask_secret(secret)
    return url.render_as_string(hide_password=False)


def database_engine_of(conn_id: str) -> Engine:
    """Return a SQLAlchemy engine for the warehouse, made by the hook of the connection's own provider.

    Raises:
        ConnectionMissing: there is no such connection.
        ConnectionInvalid: its extra is no JSON object.
        ConnectionUnusable: it is no database, its provider is not installed, or its fields make no address.
        AirflowAway, ConnectionDenied: Airflow does not answer, or refuses the connection.
    """
    connection = look_up(conn_id)
    _json_object(connection, example="{}")
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call] # Airflow's own
    except (AirflowException, ImportError, AttributeError) as error:  # the last: `generic` names no hook class
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {connection.conn_type!r} has no hook ({type(error).__name__}). "
            "Install the Airflow provider of that database, or correct the type."
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {connection.conn_type!r} is no SQL database. "
            "Name one whose provider builds on common-sql, such as postgres, sqlite or snowflake."
        )
    try:
        return _engine_made_by(hook, conn_id)
    except (AirflowException, ArgumentError, ImportError, TypeError, ValueError) as error:  # each provider's own
        raise ConnectionUnusable(
            f"Connection {conn_id!r} of type {connection.conn_type!r} makes no address of a database "
            f"({type(error).__name__}). Correct its fields and its extra, or install that database's driver."
        ) from None


def _engine_made_by(hook: DbApiHook, conn_id: str) -> Engine:
    """Return a hook's engine. The hook looks its connection up by itself, and may not find it as Airflow goes away."""
    try:
        return hook.get_sqlalchemy_engine()
    except AirflowSecretsBackendAccessDenied:
        raise ConnectionDenied(conn_id) from None
    except AirflowNotFoundException:
        look_up(conn_id)
    return hook.get_sqlalchemy_engine()


def source_past_the_form(conn_id: str) -> str | None:
    """Return what defines a connection in place of the one that Airflow's form shows; None where the form does.

    Airflow asks its secrets backend first, then the environment, then its own database; a task cannot see the last,
    so whether a connection of this id stands there, too, is not known here.
    """
    from airflow.sdk.execution_time.supervisor import (  # noqa: PLC0415 - costs, and submit alone needs it
        ensure_secrets_backend_loaded,
    )

    for backend in ensure_secrets_backend_loaded():
        name = type(backend).__name__
        if name in AIRFLOWS_OWN:
            continue
        found = None
        with suppress(Exception):  # any client's own; Airflow's look-up goes on to the next backend, too
            found = backend.get_connection(conn_id=conn_id)
        if found is not None:
            return f"the secrets backend {name}"
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    return f"the environment variable {variable}" if variable in os.environ else None


def _json_object(connection: Connection, *, example: str) -> dict[str, object]:
    """Return a connection's extra. Airflow's own reader takes broken JSON for no extras at all."""
    try:
        found = json.loads(connection.extra or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConnectionInvalid(
            conn_id=connection.conn_id,
            field="extra",
            problem="it is no JSON object",
            remedy=f"Write it like {example}",
        )
    return found


def _extras(connection: Connection) -> Mapping[str, object]:
    """Return the extras of a platform's connection that say something."""
    found = _json_object(connection, example='{"organisation_id": "100458"}')
    for name in found:
        if name not in EXTRAS:
            close = difflib.get_close_matches(name, EXTRAS, n=1)
            raise ConnectionInvalid(
                conn_id=connection.conn_id,
                field=name,
                problem="there is no such extra",
                remedy=f"Write {close[0]}" if close else f"Remove it; there are {', '.join(sorted(EXTRAS))}",
            )
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _inner_conn_id(connection: Connection) -> str | None:
    value = _extras(connection).get(INNER_CONN_ID)
    if value is None:
        return None
    if not isinstance(value, str) or value == connection.conn_id:
        raise ConnectionInvalid(
            conn_id=connection.conn_id,
            field=INNER_CONN_ID,
            problem="it names no other connection",
            remedy="Give the id of the connection with the inner till, or leave it out",
        )
    return value


def _converted(conn_id: str, name: str, value: object) -> object:
    """Return an extra as its field wants it; what cannot be converted is left to the field's own check."""
    kind = _KINDS.get(name, "str")
    if kind.startswith("str"):
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if kind == "bool":
        return _YES_OR_NO.get(value.strip().lower(), value) if isinstance(value, str) else value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ConnectionInvalid(
                conn_id=conn_id,
                field=name,
                problem="it is no number",
                remedy="Correct it, or leave it out to get the default",
            ) from None
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _base_url(connection: Connection) -> str:
    host = (connection.host or "").strip().strip("<>")
    if not host:
        raise ConnectionInvalid(
            conn_id=connection.conn_id,
            field="host",
            problem="it is missing",
            remedy="Write it like https://eu.api.capillarytech.com",
        )
    try:
        parts = urlsplit(host if "://" in host else f"{connection.schema or 'https'}://{host}")
        if connection.port and parts.port is None:
            parts = parts._replace(netloc=f"{parts.netloc}:{connection.port}")
    except ValueError:
        return host
    return urlunsplit(parts)


def _ledger_url(connection: Connection) -> URL:
    extras = _json_object(connection, example='{"sslmode": "require"}')
    try:
        return ledger_address(connection, extras)
    except ParameterRefused as error:
        raise ConnectionInvalid(
            conn_id=connection.conn_id, field=error.name, problem=error.problem, remedy=error.remedy
        ) from None
