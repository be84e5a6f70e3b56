"""Pages look into the ledger four at a time; whatever is wrong with it is said in time, and blocks nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from capillary.connections.errors import ConnectionMissing
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerMissing, LedgerUnavailable, SchemaDiffers
from capillary.ledger.overview import campaigns
from capillary.ui.errors import LedgerBusy, LedgerSilent, NoConnection
from capillary.ui.reading import PLACES, LedgerReader
from tests.unit.ledger.conftest import BACKENDS, EmptyDatabase, migrated


@pytest.fixture
def silent_host() -> Iterator[int]:
    """A port on which everybody is let in and nobody is answered."""
    inside: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def let_in() -> None:
            while True:
                try:
                    inside.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=let_in, daemon=True).start()
        yield server.getsockname()[1]
    for each in inside:
        each.close()


@pytest.fixture
def readers() -> Iterator[list[LedgerReader]]:
    made: list[LedgerReader] = []
    yield made
    for reader in made:
        reader.close()


def now(tx: Transaction) -> bool:
    return bool(tx.conn.execute(text("SELECT 1")).scalar_one() == 1)


async def test_a_ledger_that_hangs_is_said_within_three_seconds_and_the_loop_goes_on(
    silent_host: int, readers: list[LedgerReader]
) -> None:
    reader = LedgerReader(lambda: f"postgresql://u@127.0.0.1:{silent_host}/x")
    readers.append(reader)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.05)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    answers = await asyncio.gather(*(reader.ask(now) for _ in range(PLACES + 1)), return_exceptions=True)
    took = time.monotonic() - began
    ticking.cancel()
    assert {type(each) for each in answers[:PLACES]} <= {LedgerSilent, LedgerUnavailable}
    assert isinstance(answers[PLACES], LedgerBusy)
    assert took < 3.5
    assert ticks > 30


async def test_a_place_is_free_again_once_its_thread_has_come_back(readers: list[LedgerReader], tmp_path: Path) -> None:
    url = migrated(URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    reader = LedgerReader(lambda: url, within_s=0.05)
    readers.append(reader)
    hold = threading.Event()

    def slow(tx: Transaction) -> bool:
        hold.wait(10)
        return now(tx)

    for _ in range(PLACES):
        with pytest.raises(LedgerSilent, match="did not answer within"):
            await reader.ask(slow)
    with pytest.raises(LedgerBusy, match="4 pages look into the ledger"):
        await reader.ask(now)
    hold.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await reader.run(lambda: True)
            except (LedgerBusy, LedgerSilent):
                await asyncio.sleep(0.02)
            else:
                break


async def test_postgresql_ends_a_statement_that_takes_too_long(
    empty_database: EmptyDatabase, readers: list[LedgerReader]
) -> None:
    url = migrated(empty_database("postgresql"))
    reader = LedgerReader(lambda: url, within_s=30)
    readers.append(reader)

    def sleep(tx: Transaction) -> None:
        tx.conn.execute(text("SELECT pg_sleep(20)"))

    began = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        await reader.ask(sleep)
    assert 2 < time.monotonic() - began < 10
    assert await reader.ask(now)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_page_changes_nothing(empty_database: EmptyDatabase, readers: list[LedgerReader], backend: str) -> None:
    url = migrated(empty_database(backend))
    reader = LedgerReader(lambda: url)
    readers.append(reader)

    def write(tx: Transaction) -> None:
        tx.conn.execute(text("INSERT INTO badge_stop (account, campaign) VALUES ('a', 'b')"))

    await reader.ask(write)
    with Ledger(url) as ledger, ledger.read() as tx:
        assert tx.conn.execute(text("SELECT count(*) FROM badge_stop")).scalar_one() == 0


async def test_without_a_connection_the_page_names_the_variable(readers: list[LedgerReader]) -> None:
    def missing() -> str:
        raise ConnectionMissing("badge_ledger")

    reader = LedgerReader(missing)
    readers.append(reader)
    with pytest.raises(NoConnection, match="AIRFLOW_CONN_BADGE_LEDGER"):
        await reader.ask(now)


async def test_a_ledger_that_is_missing_or_of_another_version_is_named_and_comes_back(
    readers: list[LedgerReader], tmp_path: Path
) -> None:
    file = tmp_path / "ledger.db"
    url = URL.create("sqlite", database=str(file))
    reader = LedgerReader(lambda: url)
    readers.append(reader)
    with pytest.raises(LedgerMissing, match="there is no SQLite file"):
        await reader.ask(now)
    migrated(url)
    assert await reader.ask(campaigns) == ()
    with Ledger(url) as ledger, ledger.engine.begin() as conn:
        revision = conn.execute(text("SELECT version_num FROM badge_ledger_version")).scalar_one()
        conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999z'"))
    reader.close()
    with pytest.raises(SchemaDiffers):
        await fresh(readers, url).ask(now)
    with Ledger(url, check_schema=False) as ledger, ledger.engine.begin() as conn:
        conn.execute(text("UPDATE badge_ledger_version SET version_num = :was"), {"was": revision})
    assert await fresh(readers, url).ask(campaigns) == ()


def fresh(readers: list[LedgerReader], url: URL) -> LedgerReader:
    readers.append(LedgerReader(lambda: url))
    return readers[-1]
