"""The day's counts of an account where transactions overlap at midnight, the clock is set, or a count is full."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest
from sqlalchemy import URL, select, update

from capillary.ledger import pace
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.schema import badge_pace
from tests.unit.ledger.conftest import Clock, EmptyDatabase, migrated

ACCOUNT: Final = "platform.example/100"
MIDNIGHT: Final = datetime(2026, 11, 24, tzinfo=UTC)
FULL: Final = 2**31 - 1


def call(tx: Transaction) -> None:
    pace.take_slot(tx, ACCOUNT, calls_per_minute=600)


def counted(ledger: Ledger) -> tuple[date | None, int, int]:
    with ledger.read() as tx:
        columns = badge_pace.c
        row = tx.conn.execute(select(columns.counted_on, columns.calls, columns.pauses)).one()
    return row.counted_on, row.calls, row.pauses


@pytest.fixture
def new_url(empty_database: EmptyDatabase) -> URL:
    return migrated(empty_database("postgresql"))


def test_a_call_that_waited_for_the_row_over_midnight_forgets_no_call_of_the_new_day(
    new_url: URL, clock: Clock
) -> None:
    clock.now = MIDNIGHT - timedelta(seconds=1)
    with Ledger(new_url, clock=clock) as ledger:
        with ledger.write() as straggler, ledger.write() as pausing:
            clock.now = MIDNIGHT + timedelta(seconds=1)
            for _ in range(3):
                with ledger.write() as tx:
                    call(tx)
            call(straggler)
            straggler.conn.commit()
            pace.block(pausing, ACCOUNT, seconds=5)
        assert counted(ledger) == (MIDNIGHT.date(), 4, 1)
        with ledger.write() as tx:
            call(tx)
        assert counted(ledger) == (MIDNIGHT.date(), 5, 1)


def test_a_clock_that_was_set_back_by_a_day_counts_that_day(ledger: Ledger, clock: Clock) -> None:
    days = []
    for step in (0, -1, 1):
        clock.advance(days=step)
        with ledger.write() as tx:
            call(tx)
        days.append(counted(ledger))
    noon = date(2026, 11, 23)
    assert days == [(noon, 1, 0), (noon - timedelta(days=1), 1, 0), (noon, 1, 0)]


def test_a_full_count_keeps_no_call_back(ledger: Ledger) -> None:
    with ledger.write() as tx:
        call(tx)
        tx.conn.execute(update(badge_pace).values(calls=FULL, pauses=FULL))
    with ledger.write() as tx:
        call(tx)
        pace.block(tx, ACCOUNT, seconds=1)
    assert counted(ledger)[1:] == (FULL, FULL)
