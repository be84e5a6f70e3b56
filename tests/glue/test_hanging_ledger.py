"""A ledger's host that accepts and says nothing: our triggers wait for it, nobody else's work does."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from capillary import triggers
from capillary.engine import polling
from capillary.engine.runtime import LEDGER_THREADS
from capillary.ledger.database import Ledger
from capillary.triggers import BadgeRequestTrigger
from tests.glue.conftest import Place

#: Our triggers in the process: many more than threads of any kind.
TRIGGERS = 40


@contextmanager
def silent_host() -> Iterator[tuple[int, list[socket.socket]]]:
    """Yield a port on which everybody is let in and nobody is answered, and who is in."""
    inside: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def let_in() -> None:
            while True:
                try:
                    inside.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=let_in, daemon=True).start()
        try:
            yield server.getsockname()[1], inside
        finally:
            for each in inside:
                each.close()


def trigger() -> BadgeRequestTrigger:
    return BadgeRequestTrigger(
        badge_run_id=1,
        token="t" * 32,
        capillary_conn_id="capillary",
        ledger_conn_id="badge_ledger",
        deadline=(datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        poll_interval_s=60,
        settle_every_s=900,
        ended=0,
        doubt_due=0,
    )


async def first_event(each: BadgeRequestTrigger) -> TriggerEvent:
    return await anext(each.run())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "QUIET_S", 0.0)


def test_other_peoples_triggers_work_on_while_ours_wait(place: Place, at_once: None) -> None:
    async def scene(inside: list[socket.socket]) -> float:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        ours = [asyncio.create_task(first_event(trigger())) for _ in range(TRIGGERS)]
        async with asyncio.timeout(10):
            while len(inside) < LEDGER_THREADS:  # noqa: ASYNC110 - told by another thread
                await asyncio.sleep(0.01)
        slowest = 0.0
        for _ in range(20):
            begun = time.monotonic()
            async with asyncio.timeout(10):
                assert await asyncio.to_thread(lambda: "another trigger's work") == "another trigger's work"
            slowest = max(slowest, time.monotonic() - begun)
        for each in ours:
            each.cancel()
        ended = await asyncio.gather(*ours, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), "cancelled at once, whatever hangs"
        return slowest

    with silent_host() as (port, inside):
        place.connect(
            "badge_ledger",
            conn_type="postgres",
            host="127.0.0.1",
            port=port,
            login="maker",
            password="guess-me",
            extra={"connect_timeout": 5},
        )
        begun = time.monotonic()
        assert asyncio.run(scene(inside)) < 2
        assert time.monotonic() - begun < 15
        assert len(inside) <= LEDGER_THREADS, "who was cancelled while it queued never asked"


def test_a_trigger_counts_such_a_poll_as_failed_and_says_so_without_the_password(
    place: Place, at_once: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(polling, "TOLERATED_FAILURES", 1)
    with silent_host() as (port, _):
        place.connect(
            "badge_ledger",
            conn_type="postgres",
            host="127.0.0.1",
            port=port,
            login="maker",
            password="guess-me",
            extra={"connect_timeout": 2},
        )
        event = asyncio.run(first_event(trigger()))
    assert event.payload == {"status": "failed"}
    assert "does not answer in time" in caplog.text
    assert "guess-me" not in caplog.text


def test_a_ledger_that_opens_after_its_trigger_was_cancelled_is_closed(
    place: Place, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow(Ledger):
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the ledger's own
            opening.set()
            may_open.wait(10)
            super().__init__(*args, **options)

        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr(triggers, "Ledger", Slow)

    async def scene() -> None:
        waiting = asyncio.create_task(first_event(trigger()))
        assert await asyncio.to_thread(opening.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        may_open.set()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(scene())
