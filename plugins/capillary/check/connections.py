"""The connections of campaigns: does each lead to what it is for? Each is asked once, whoever uses it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Final, TypeVar

from airflow.sdk.log import mask_secret
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from capillary.api.badges import Badge
from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.tls import trust_of
from capillary.api.transport import AiohttpTransport
from capillary.connection_lookup import ConnectionUnusable
from capillary.engine.eligibility import failed_query
from capillary.errors import CapillaryError, TransientError
from capillary.hooks import CapillaryHook, database_engine_of, ledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.stops import Stop, in_force

#: How long one connection may take, seconds.
ANSWER_WITHIN_S: Final = 30.0
#: This part of the account's calls of a minute may be made at once; the others keep its pace.
_AT_ONCE: Final = 4

_T = TypeVar("_T")


class NoAnswer(TransientError):
    """A connection did not answer in time."""

    def __init__(self, conn_id: str) -> None:
        super().__init__(
            f"no answer within {ANSWER_WITHIN_S:.0f} s: correct host and port of connection {conn_id!r}, or look at "
            "the network between"
        )


def within(seconds: float, conn_id: str, call: Callable[[], _T]) -> _T:
    """Return what a call returns, or raise what it raises; one that takes longer is left alone.

    Its thread ends with the process: a driver that waits for its server cannot be stopped otherwise.

    Raises:
        NoAnswer: it took too long.
    """
    answers: list[_T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise NoAnswer(conn_id)
    return answers[0]


def platform_says(conn_id: str) -> tuple[PlatformSettings, str]:
    """Return the settings of a connection to the platform, and what its Test button says.

    Raises:
        CapillaryError: it cannot be used, or does not answer.
    """
    hook = CapillaryHook(conn_id)
    settings = hook.get_settings()
    passed, said = hook.test_connection()
    if not passed:
        raise ConnectionUnusable(said)
    return settings, said


def read_badges(settings: PlatformSettings, badge_ids: list[str]) -> Mapping[str, Badge | CapillaryError | None]:
    """Return each badge as the platform describes it, None for one that it does not have, or why it cannot be read."""

    async def read() -> dict[str, Badge | CapillaryError | None]:
        transport = AiohttpTransport(
            connect_timeout_s=settings.connect_timeout_s, verify_tls=trust_of(settings), proxy=settings.proxy
        )
        client = Client(
            settings,
            transport=transport,
            pace=_Pace(settings.calls_per_minute),
            sleep=asyncio.sleep,
            monotonic=time.monotonic,
            random=SystemRandom(),
            on_secret=mask_secret,
        )
        found: dict[str, Badge | CapillaryError | None] = {}
        async with client:
            for badge_id in badge_ids:
                try:
                    found[badge_id] = await client.read_badge(badge_id)
                except CapillaryError as error:
                    found[badge_id] = error
        return found

    return asyncio.run(read())


class _Pace:
    """A pace of this process's own: the account's, in the ledger, is written by every call."""

    def __init__(self, calls_per_minute: int) -> None:
        self._apart_s = 60 / calls_per_minute
        self._at_once = calls_per_minute // _AT_ONCE
        self._next = 0.0

    async def take(self) -> None:
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))
        if self._at_once > 0:
            self._at_once -= 1
        else:
            self._next = max(self._next, time.monotonic()) + self._apart_s

    async def block(self, seconds: float) -> None:
        self._next = max(self._next, time.monotonic() + seconds)


def ledger_says(conn_id: str) -> tuple[tuple[Stop, ...], datetime]:
    """Return what is stopped in a ledger, and its clock; it is opened as tasks open it.

    Raises:
        CapillaryError: it is missing, refused, of another version, or does not answer.
    """
    try:
        with Ledger(ledger_url_of(conn_id)) as ledger, ledger.read() as tx:
            return in_force(tx), tx.now
    except DATABASE_ERRORS as error:
        raise broke_off(error) from None


def warehouse_says(conn_id: str) -> Engine:
    """Return the engine of a warehouse that has answered; dispose of it.

    Raises:
        CapillaryError: there is no such connection or database, or it does not answer.
    """
    engine = database_engine_of(conn_id)
    try:
        _assert_file(engine, conn_id)
        with engine.connect():
            return engine
    except SQLAlchemyError as error:
        engine.dispose()
        raise ConnectionUnusable(f"{failed_query(error, engine).reason}. Correct connection {conn_id!r}") from None
    except BaseException:
        engine.dispose()
        raise


def _assert_file(engine: Engine, conn_id: str) -> None:
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file and not file.startswith("file:") and not Path(file).is_file():
        raise ConnectionUnusable(
            f"there is no SQLite file {file}: correct the host of connection {conn_id!r}, or load the file"
        )


def utc_now() -> datetime:
    """Return this machine's clock, where there is no ledger to ask."""
    return datetime.now(UTC)
