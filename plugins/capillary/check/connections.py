"""The connections of campaigns: does each lead to what it is for? Each is asked once, whoever uses it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from sqlalchemy import Engine

from capillary.api.badges import Badge
from capillary.api.settings import PlatformSettings
from capillary.connections.errors import ConnectionUnusable
from capillary.connections.warehouse import database_engine_of
from capillary.engine.query_errors import failed_query
from capillary.errors import CapillaryError, TransientError
from capillary.hooks import CapillaryHook, ledger_url_of
from capillary.ledger.database import Ledger
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.stops import Stop, in_force
from capillary.wiring import client_at, runtime_of

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


def answers_within(seconds: float, calls: Sequence[tuple[str, Callable[[], _T]]]) -> list[_T | Exception]:
    """Make calls at once, each with the id of its connection; return what each returns, or the error that it raises.

    One that takes longer is left alone, with `NoAnswer` in its place. Its thread ends with the process: a driver that
    waits for its server cannot be stopped otherwise.
    """
    answers: dict[int, _T | Exception] = {}

    def make(index: int, call: Callable[[], _T]) -> None:
        try:
            answers.setdefault(index, call())
        except Exception as error:  # noqa: BLE001 - whoever asked tells it
            answers.setdefault(index, error)

    threads = [threading.Thread(target=make, args=(index, call), daemon=True) for index, (_, call) in enumerate(calls)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [answers.setdefault(index, NoAnswer(conn_id)) for index, (conn_id, _) in enumerate(calls)]


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
        found: dict[str, Badge | CapillaryError | None] = {}
        async with client_at(_Pace(settings.calls_per_minute), settings, runtime_of(threads=False)) as client:
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
        with engine.connect():
            return engine
    except CapillaryError:
        engine.dispose()
        raise
    except Exception as error:  # noqa: BLE001 - some drivers raise their HTTP client's beside their own
        engine.dispose()
        raise ConnectionUnusable(f"{failed_query(error, engine).reason}. Correct connection {conn_id!r}") from None


def utc_now() -> datetime:
    """Return this machine's clock, where there is no ledger to ask."""
    return datetime.now(UTC)
