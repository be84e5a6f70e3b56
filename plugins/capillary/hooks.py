"""Connections: what Airflow keeps about the platform and the ledger, as this project reads it."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from random import SystemRandom
from typing import Final

from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import amask_secret, mask_secret
from sqlalchemy import URL

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport
from capillary.connections.as_typed import json_object
from capillary.connections.errors import ConnectionInvalid
from capillary.connections.fields import named
from capillary.connections.ledger import ledger_address
from capillary.connections.lookup import AIRFLOWS_OWN, alook_up, look_up
from capillary.connections.platform_connection import inner_conn_id, settings_of
from capillary.errors import CapillaryError
from capillary.ledger.errors import ParameterRefused
from capillary.ledger.libpq import secrets_of

#: How long a person waits for the connection's test, seconds.
TEST_TIMEOUT_S: Final = 30.0


class CapillaryHook(BaseHook):
    """One account of the platform, as an Airflow connection of type `capillary` or `http`.

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
        inner_id = inner_conn_id(connection)
        settings = settings_of(connection, look_up(inner_id) if inner_id else None)
        for secret in settings.secrets():
            mask_secret(secret)
        return settings

    async def aget_settings(self) -> PlatformSettings:
        """Do what `get_settings` does, for triggers: nothing here blocks the event loop."""
        connection = await alook_up(self.capillary_conn_id)
        inner_id = inner_conn_id(connection)
        inner = await alook_up(inner_id) if inner_id else None
        settings = await asyncio.to_thread(settings_of, connection, inner)
        for secret in settings.secrets():
            await amask_secret(secret)
        return settings

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap read of the platform; the Test button in Airflow's list of connections calls this."""
        try:
            with named(self.capillary_conn_id):
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


def _ledger_url(connection: Connection) -> URL:
    extras = json_object(connection, example='{"sslmode": "require"}')
    try:
        return ledger_address(connection, extras)
    except ParameterRefused as error:
        raise ConnectionInvalid(
            conn_id=connection.conn_id, field=error.name, problem=error.problem, remedy=error.remedy
        ) from None
