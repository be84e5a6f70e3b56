"""What tasks and triggers open: the ledger, the platform's client, and the sender with the connection's switch."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import SystemRandom
from typing import Final

from airflow.sdk.log import mask_secret

from capillary.api.calls import Pace
from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport
from capillary.connections.errors import AirflowAway, ConnectionsUnreadable
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.hooks import CapillaryHook, ledger_url_of
from capillary.ledger.database import Ledger

#: How long a POST waits for the connection's switch, seconds; of the five between its slot and its start.
LOOK_UP_S: Final = 2.0

#: One thread at a time speaks with Airflow: the supervisor of `airflow dags test` takes no two.
_ASKING_AIRFLOW: Final = threading.Lock()
_LOG: Final = logging.getLogger("capillary.submit")


def open_ledger(conn_id: str) -> Ledger:
    """Return the ledger behind a connection; close it.

    Raises:
        ConnectionMissing, ConnectionInvalid, LedgerRefused, SchemaBehind: it cannot be used, and why.
        SchemaDiffers, LedgerUnavailable: it cannot be used now.
    """
    return Ledger(ledger_url_of(conn_id))


@asynccontextmanager
async def platform_client(settings: PlatformSettings, ledger: Ledger, runtime: Runtime) -> AsyncIterator[Client]:
    """Yield a client that keeps the account's pace in the ledger."""
    pace = LedgerPace(ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime)
    async with client_at(pace, settings, runtime) as client:
        yield client


@asynccontextmanager
async def client_at(pace: Pace, settings: PlatformSettings, runtime: Runtime) -> AsyncIterator[Client]:
    """Yield a client that keeps this pace."""
    transport = AiohttpTransport(
        connect_timeout_s=settings.connect_timeout_s, verify_tls=trust_of(settings), proxy=settings.proxy
    )
    client = Client(
        settings,
        transport=transport,
        pace=pace,
        sleep=runtime.sleep,
        monotonic=runtime.monotonic,
        random=runtime.random,
        on_secret=_mask,
    )
    async with client:
        yield client


def _mask(secret: str) -> None:
    with _ASKING_AIRFLOW:
        mask_secret(secret)


def runtime_of(*, threads: bool) -> Runtime:
    """Return real time and chance; `threads`: see `Runtime`."""
    return Runtime(sleep=asyncio.sleep, monotonic=time.monotonic, random=SystemRandom(), threads=threads)


class Switch:
    """The connection's switch *Submitting*, read again whenever it is asked for; Airflow away leaves its last word.

    Airflow's client asks an API server that is away for up to half a minute, so the look-up runs in a thread: the
    replies of requests under way are read in the meantime, and a POST starts in time after its claim.
    """

    def __init__(self, hook: CapillaryHook, *, submitting: bool) -> None:
        self._hook = hook
        self._is_on = submitting
        self._look: asyncio.Future[PlatformSettings] | None = None

    async def is_on(self) -> bool:
        """Return the switch as Airflow tells it within two seconds, or else as it was last read.

        Raises:
            ConnectionMissing, ConnectionDenied, SettingsInvalid: the connection cannot be used any more.
        """
        # A look-up that is still under way is waited for again: one at a time, whoever asks.
        if self._look is None:
            self._look = asyncio.ensure_future(asyncio.to_thread(self._read))
            self._look.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, if nobody asks
        look = self._look
        await asyncio.wait([look], timeout=LOOK_UP_S)
        if not look.done():
            self._say(f"Airflow did not give the connection within {LOOK_UP_S:.0f} s")
            return self._is_on
        if self._look is look:
            self._look = None
        try:
            self._is_on = look.result().submitting
        except (AirflowAway, ConnectionsUnreadable) as error:
            self._say(str(error))
        return self._is_on

    def _read(self) -> PlatformSettings:
        with _ASKING_AIRFLOW:
            return self._hook.get_settings()

    def _say(self, why: str) -> None:
        _LOG.warning("the switch Submitting is used as it was last read (%s): %s", "on" if self._is_on else "off", why)


@asynccontextmanager
async def open_sender(
    ledger: Ledger, capillary_conn_id: str, *, look: Callable[[], None] | None = None
) -> AsyncIterator[Sender]:
    """Yield what sends in a worker; the connection's switch is read again before every POST.

    Args:
        ledger: the ledger.
        capillary_conn_id: Airflow connection of the platform.
        look: called every few seconds while the sender or its client sleeps; what it raises ends the sleep.
    """
    hook = CapillaryHook(capillary_conn_id)
    settings = hook.get_settings()
    runtime = runtime_of(threads=False)
    if look is not None:
        runtime = runtime.looking(look)

    async with platform_client(settings, ledger, runtime) as client:
        yield Sender(ledger, client, runtime, Switch(hook, submitting=settings.submitting).is_on)
