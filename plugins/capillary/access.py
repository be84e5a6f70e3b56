"""Access to the ledger and the platform for tasks and triggers, and their failures in Airflow's terms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import SystemRandom

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.log import mask_secret
from sqlalchemy.exc import IntegrityError

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.errors import CapillaryError, TransientError
from capillary.hooks import CapillaryHook, ledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Turn the project's errors into Airflow's, once: what may pass is retried, what cannot fails at once.

    A database's own text is left out: it quotes values, customer ids among them.
    """
    try:
        yield
    except TransientError as error:
        raise AirflowException(str(error)) from None
    except CapillaryError as error:
        raise AirflowFailException(str(error)) from None
    except IntegrityError as error:
        raise AirflowException(
            f"the ledger's rows are not those that this task has read ({type(error.orig).__name__}): the ledger was "
            "restored, or changed by hand, meanwhile. Nothing of this step was written; the task goes on from the "
            "ledger as it is when it is tried again. If it stays, clear the task that plans and what follows"
        ) from None
    except DATABASE_ERRORS as error:
        said = broke_off(error)
        raise (AirflowException if isinstance(said, TransientError) else AirflowFailException)(str(said)) from None


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
    transport = AiohttpTransport(
        connect_timeout_s=settings.connect_timeout_s, verify_tls=settings.verify_tls, proxy=settings.proxy
    )
    client = Client(
        settings,
        transport=transport,
        pace=LedgerPace(ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime),
        sleep=runtime.sleep,
        monotonic=runtime.monotonic,
        random=runtime.random,
        on_secret=mask_secret,
    )
    async with client:
        yield client


def runtime_of(*, threads: bool) -> Runtime:
    """Return real time and chance; `threads`: see `Runtime`."""
    return Runtime(sleep=asyncio.sleep, monotonic=time.monotonic, random=SystemRandom(), threads=threads)


@asynccontextmanager
async def open_sender(
    ledger: Ledger, capillary_conn_id: str, *, look: Callable[[], None] | None = None
) -> AsyncIterator[Sender]:
    """Yield what sends in a worker; the connection's switch is read anew before every POST.

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

    async def may_submit() -> bool:
        return hook.get_settings().submitting

    async with platform_client(settings, ledger, runtime) as client:
        yield Sender(ledger, client, runtime, may_submit)
