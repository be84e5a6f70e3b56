"""A caller's slot: one that is dropped is taken again, and its call is counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, select

from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.ledger import pace
from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_pace
from tests.unit.ledger.conftest import Clock, migrated

ACCOUNT = "platform.example/100"


@dataclass(slots=True)
class Caller:
    """A process that calls; `asleep` is called after each sleep, `oversleeps` is what each takes too long."""

    ledger: Ledger
    clock: Clock
    asleep: Callable[[], object] = lambda: None
    oversleeps: float = 0.0

    async def take(self) -> datetime:
        """Take a slot; return when its call begins."""

        async def sleep(seconds: float) -> None:
            self.clock.advance(seconds=seconds + self.oversleeps)
            self.asleep()

        runtime = Runtime(sleep=sleep, monotonic=lambda: self.clock().timestamp())
        await LedgerPace(self.ledger, ACCOUNT, calls_per_minute=60, runtime=runtime).take()
        return self.clock.now

    @property
    def counted(self) -> tuple[int, int]:
        """Calls and pauses of the day."""
        with self.ledger.read() as tx:
            row = tx.conn.execute(select(badge_pace)).one()
            return row.calls, row.pauses


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    clock = Clock()
    url = migrated(URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    with Ledger(url, clock=clock) as ledger:
        yield Caller(ledger, clock)


async def test_each_call_waits_for_its_slot_and_is_counted(caller: Caller) -> None:
    began = [await caller.take() for _ in range(3)]
    spacing = timedelta(seconds=pace.slot_spacing_s(60))
    assert [later - began[0] for later in began] == [timedelta(0), spacing, 2 * spacing]
    assert caller.counted == (3, 0)


async def test_a_slot_that_a_pause_fell_upon_is_dropped_and_its_call_is_counted_once(caller: Caller) -> None:
    await caller.take()
    told: list[datetime] = []

    def told_to_wait_once() -> None:
        if not told:
            told.append(caller.clock.now)
            with caller.ledger.write() as tx:
                pace.block(tx, ACCOUNT, seconds=30)

    caller.asleep = told_to_wait_once
    assert await caller.take() == told[0] + timedelta(seconds=30)
    assert caller.counted == (2, 1)


async def test_a_slot_that_was_overslept_is_dropped_and_its_call_is_counted_once(caller: Caller) -> None:
    await caller.take()
    caller.oversleeps = pace.SLOT_GRACE_S + 0.5
    assert await caller.take() > caller.clock.now - timedelta(minutes=1)
    assert caller.counted == (2, 0)
