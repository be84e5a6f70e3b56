"""No 60 s of an account ever hold more calls than its limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from random import Random

import pytest
from alembic import command
from sqlalchemy import URL, column, insert, select, table

from capillary.ledger.check import faults
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import alembic_config, alone, upgrade
from capillary.ledger.pace import SLOT_GRACE_S, START_WITHIN_S, block, is_blocked, slot_spacing_s, take_slot
from capillary.ledger.revision import REVISIONS
from capillary.ledger.schema import UtcDateTime, badge_pace
from tests.unit.ledger.conftest import Clock

ACCOUNT = "platform.example/100"


def _take(ledger: Ledger, *, limit: int, account: str = ACCOUNT) -> float:
    with ledger.write() as tx:
        return take_slot(tx, account, calls_per_minute=limit)


@pytest.mark.parametrize("limit", [1, 7, 13, 22])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_window_of_a_minute_holds_more_than_the_limit(ledger: Ledger, clock: Clock, limit: int, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a simulated clock, no secret
    begin, calls, latest = clock.now, [], SLOT_GRACE_S + START_WITHIN_S
    for number in range(3 * limit + 3):
        wait = _take(ledger, limit=limit)
        # The worst case first: as late as can be, then punctual; afterwards anything between.
        late = latest if number == 0 else random.choice([0.0, 0.0, latest, latest * random.random()])
        calls.append(clock.now + timedelta(seconds=wait + late))
        if random.random() < 0.1:
            clock.advance(seconds=random.uniform(0, 100 / limit))
    calls.sort()
    assert calls[0] >= begin
    windows = zip(calls, calls[limit:], strict=False)
    assert all(later - call >= timedelta(seconds=60) for call, later in windows)


def test_slots_are_spaced_evenly(ledger: Ledger) -> None:
    waits = [_take(ledger, limit=10) for _ in range(4)]
    assert waits[0] == 0
    assert [round(b - a, 6) for a, b in pairwise(waits)] == [slot_spacing_s(10)] * 3


def test_an_idle_account_saves_no_slots_up(ledger: Ledger, clock: Clock) -> None:
    _take(ledger, limit=10)
    clock.advance(hours=1)
    assert _take(ledger, limit=10) == 0
    assert _take(ledger, limit=10) == slot_spacing_s(10)


def test_accounts_do_not_wait_for_each_other(ledger: Ledger) -> None:
    assert _take(ledger, limit=1) == 0
    assert _take(ledger, limit=1, account="another") == 0


def test_a_block_holds_everybody_of_the_account_until_it_is_over(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        assert not is_blocked(tx, ACCOUNT)
        block(tx, ACCOUNT, seconds=90)
        assert is_blocked(tx, ACCOUNT)
        assert not is_blocked(tx, "another")
    assert _take(ledger, limit=60) == 90
    assert _take(ledger, limit=60) == pytest.approx(90 + slot_spacing_s(60), abs=1e-6)
    clock.advance(seconds=90)
    with ledger.read() as tx:
        assert not is_blocked(tx, ACCOUNT)


def test_a_shorter_block_does_not_end_a_longer_one(ledger: Ledger) -> None:
    with ledger.write() as tx:
        block(tx, ACCOUNT, seconds=90)
        block(tx, ACCOUNT, seconds=5)
    assert _take(ledger, limit=60) == 90


def _counts(ledger: Ledger, account: str = ACCOUNT) -> tuple[date, int, int]:
    with ledger.read() as tx:
        row = tx.conn.execute(select(badge_pace).where(badge_pace.c.account == account)).one()
        return row.counted_on, row.calls, row.pauses


def test_calls_and_pauses_are_counted_by_the_day(ledger: Ledger, clock: Clock) -> None:
    for _ in range(3):
        _take(ledger, limit=60)
    _take(ledger, limit=60, account="another")
    with ledger.write() as tx:
        block(tx, ACCOUNT, seconds=90)
        block(tx, ACCOUNT, seconds=5)
        take_slot(tx, ACCOUNT, calls_per_minute=60, is_another=True)
    assert _counts(ledger) == (date(2026, 11, 23), 3, 2)
    assert _counts(ledger, "another") == (date(2026, 11, 23), 1, 0)
    clock.now = datetime(2026, 11, 23, 23, 59, 59, 999_999, tzinfo=UTC)
    _take(ledger, limit=60)
    assert _counts(ledger) == (date(2026, 11, 23), 4, 2)
    clock.advance(seconds=0.000_001)
    with ledger.write() as tx:
        block(tx, ACCOUNT, seconds=90)
    assert _counts(ledger) == (date(2026, 11, 24), 0, 1)
    _take(ledger, limit=60)
    assert _counts(ledger) == (date(2026, 11, 24), 1, 1)


def test_the_day_is_that_of_utc(ledger: Ledger, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 24, 2, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    _take(ledger, limit=60)
    assert _counts(ledger) == (date(2026, 11, 23), 1, 0)


def test_a_pause_of_an_account_that_has_never_called_is_counted(ledger: Ledger) -> None:
    with ledger.write() as tx:
        block(tx, ACCOUNT, seconds=5)
    assert _counts(ledger)[1:] == (0, 1)


def test_counts_begin_where_the_ledger_had_none(empty_url: URL) -> None:
    """A ledger of the first migration, migrated: its slots and blocks stay."""
    with Ledger(empty_url, check_schema=False, new=True) as ledger:
        with alone(ledger.engine) as conn:
            config = alembic_config()
            config.attributes["connection"] = conn
            command.upgrade(config, "0001f")
            moment = datetime(2026, 11, 23, 12, tzinfo=UTC)
            old = table("badge_pace", column("account"), column("next_slot_at", UtcDateTime))
            conn.execute(insert(old), {"account": ACCOUNT, "next_slot_at": moment})
        assert upgrade(ledger.engine) == ("0001f", REVISIONS[-1])
    with Ledger(empty_url) as ledger:
        with ledger.read() as tx:
            row = tx.conn.execute(select(badge_pace)).one()
            assert faults(tx) == ()
        assert (row.next_slot_at, row.counted_on, row.calls, row.pauses) == (moment, None, 0, 0)
        _take(ledger, limit=60)
        assert _counts(ledger)[1:] == (1, 0)
