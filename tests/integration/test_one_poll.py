"""However many runs wait, one trigger at a time reads the platform's list, and it reads for all of them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from airflow.sdk.serde import deserialize, serialize
from sqlalchemy import func, select, update

from capillary.engine import polling
from capillary.engine.send import body_of
from capillary.engine.sightings import seen_in
from capillary.engine.submit import IN_FLIGHT
from capillary.ledger import scans
from capillary.ledger.database import Transaction
from capillary.ledger.guards import Guards
from capillary.ledger.plan import Order, commit_plan
from capillary.ledger.plan_id import PlanId
from capillary.ledger.request_rows import claim, record_sighting
from capillary.ledger.schema import badge_request, badge_scan, badge_sighting
from capillary.ledger.spec import Spec
from capillary.ledger.staging import staging
from capillary.triggers import BadgeRequestTrigger
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

RUNS = 6
PAGE_SIZE = 50
INTERVAL_S = 0.4
#: Another's reading counts while it is younger than 0.8 of the pause, which jitter may shorten by a tenth.
SHORTEST_GAP = timedelta(seconds=0.8 * 0.9 * INTERVAL_S)


@pytest.fixture
def airflow(sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections as a triggerer has them; all pauses are one short interval."""
    platform = {
        "conn_type": "capillary",
        "host": sandboxed.sandbox.url,
        "login": sandboxed.settings.login,
        "password": sandboxed.settings.password,
        "extra": {"organisation_id": "100458", "calls_per_minute": 60_000, "page_size": PAGE_SIZE},
    }
    ledger = {"conn_type": "sqlite", "host": sandboxed.ledger.url.database}
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("AIRFLOW_CONN_CAPILLARY", json.dumps(platform))
    monkeypatch.setenv("AIRFLOW_CONN_BADGE_LEDGER", json.dumps(ledger))
    monkeypatch.setattr(polling, "QUIET_S", INTERVAL_S)
    monkeypatch.setattr(polling, "_GROWTH", 1.0)


@pytest.fixture
def readings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[int]]:
    """Pages of every reading that came to its end."""
    caplog.set_level(logging.INFO, "capillary.watch")
    said = re.compile(r"list read: (\d+) pages?,")
    return lambda: [int(found[1]) for record in caplog.records if (found := said.match(record.getMessage()))]


def planned(sandboxed: EngineOnSandbox, customers: range, *, campaign: str, run: str) -> int:
    """Plan one request for every customer; return the run's id."""
    spec = Spec(
        sandboxed.settings.account, GOLD_CIRCLE.badge_id, "Loyalty", "42", "1", "2", "3", "4", sandboxed.sandbox.url
    )
    order = Order(
        dag_id=campaign,
        run_id=run,
        task_id="extract",
        capillary_conn_id="capillary",
        campaign=campaign,
        occasion=campaign,
        spec=spec,
        customers_per_request=1,
        canary=False,
        guards=Guards(max_requests=None, max_open_requests=None),
    )
    with staging() as stage:
        stage.add(list(enumerate(customers, start=1)), [])
        plan = commit_plan(sandboxed.ledger, stage, order)
    assert plan.badge_run_id is not None
    return plan.badge_run_id


async def submitted(sandboxed: EngineOnSandbox, *, runs: int, requests: int) -> list[int]:
    """Let runs of two campaigns overlap, each with its requests on the platform."""
    ids = [
        planned(
            sandboxed,
            range(1 + run * requests, 1 + (run + 1) * requests),
            campaign=f"campaign {run % 2}",
            run=f"run {run}",
        )
        for run in range(runs)
    ]
    with sandboxed.ledger.read() as tx:
        open_requests = tx.conn.execute(select(badge_request.c.id, badge_request.c.badge_run_id)).all()
        bodies = [body_of(tx, row.id) for row in open_requests]
    async with sandboxed.sender() as sender:
        client = sender.client
        taken = [
            answer
            for start in range(0, len(bodies), IN_FLIGHT)
            for answer in await asyncio.gather(
                *(client.submit(body) for body in bodies[start : start + IN_FLIGHT] if body is not None)
            )
        ]
    with sandboxed.ledger.write() as tx:  # one commit in place of one for each claim and each answer
        for row, answer in zip(open_requests, taken, strict=True):
            assert claim(tx, row.id, badge_run_id=row.badge_run_id, sender="till", doubt_after=LEASE)
            record_sighting(tx, row.id, seen_in(answer))
    return ids


def trigger(plan: PlanId) -> BadgeRequestTrigger:
    """Make a run's trigger as the triggerer does: from what it serialises to."""
    waiting = BadgeRequestTrigger(
        badge_run_id=plan.badge_run_id,
        token=plan.token,
        capillary_conn_id="capillary",
        ledger_conn_id="badge_ledger",
        deadline=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
        poll_interval_s=INTERVAL_S,
        settle_every_s=900,
        ended=0,
        doubt_due=0,
    )
    _, facts = waiting.serialize()
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(facts))))
    return BadgeRequestTrigger(**kwargs)


async def first_event(waiting: BadgeRequestTrigger) -> object:
    async for event in waiting.run():
        return event.payload
    return None


@asynccontextmanager
async def waiting(
    sandboxed: EngineOnSandbox, badge_run_ids: Sequence[int]
) -> AsyncIterator[list[asyncio.Task[object]]]:
    """Run the triggers in this loop; whoever still waits at the end is cancelled."""
    tasks = [
        asyncio.create_task(first_event(trigger(sandboxed.plan_id(badge_run_id)))) for badge_run_id in badge_run_ids
    ]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """When each turn to read the list was taken, by the ledger's clock."""
    taken, lease = list[datetime](), scans.lease

    def noted(tx: Transaction, account: str, *, by: str, older_than: timedelta) -> bool:
        is_taken = lease(tx, account, by=by, older_than=older_than)
        if is_taken:
            taken.append(tx.now)
        return is_taken

    monkeypatch.setattr(scans, "lease", noted)
    return taken


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the platform's books set no event
            await asyncio.sleep(0.005)


def list_reads(sandboxed: EngineOnSandbox) -> list[float]:
    """When each call of the list arrived at the platform."""
    return [arrival.at for arrival in sandboxed.sandbox.platform.arrivals if arrival.route is Route.LIST]


def recorded(sandboxed: EngineOnSandbox) -> dict[int, int]:
    """Requests by run of which the ledger knows that they are decided."""
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_request.c.badge_run_id, func.count())
            .join(badge_sighting, badge_sighting.c.request_id == badge_request.c.id)
            .where(badge_sighting.c.terminal_seen_at.is_not(None))
            .group_by(badge_request.c.badge_run_id)
        )
        return {row[0]: row[1] for row in rows}


async def test_one_reader_an_interval_reads_for_all(
    sandboxed: EngineOnSandbox, airflow: None, readings: Callable[[], list[int]], turns: list[datetime]
) -> None:
    each = 42
    runs = await submitted(sandboxed, runs=RUNS, requests=each)
    before, known = len(list_reads(sandboxed)), len(readings())
    async with waiting(sandboxed, runs) as tasks:
        await until(lambda: len(readings()) - known >= 2)
        assert not any(task.done() for task in tasks), "nothing is decided yet"
        sandboxed.sandbox.approve_all()
        events = await asyncio.wait_for(asyncio.gather(*tasks), 10)
    pages, arrived = readings()[known:], list_reads(sandboxed)[before:]
    assert events == [{"status": "work"}] * RUNS
    assert recorded(sandboxed) == dict.fromkeys(runs, each), "one reader records for everybody"
    assert max(pages) <= ceil(RUNS * each / PAGE_SIZE) + 1
    assert len(arrived) == sum(pages), "nobody else read the list"
    assert len(turns) == len(pages)
    assert min(later - earlier for earlier, later in pairwise(turns)) >= SHORTEST_GAP


async def died_in_mid_read(sandboxed: EngineOnSandbox, badge_run_id: int) -> datetime:
    """Let a trigger be cancelled between two pages; return until when its turn lasts."""
    before = len(list_reads(sandboxed))
    async with waiting(sandboxed, [badge_run_id]):
        await until(lambda: len(list_reads(sandboxed)) - before >= 2)
    assert len(list_reads(sandboxed)) - before < 3, "it should have died in mid-read"
    with sandboxed.ledger.read() as tx:
        until_when: datetime = tx.conn.execute(select(badge_scan.c.leased_until)).scalar_one()
    return until_when


async def test_a_killed_readers_turn_is_taken_over_after_its_lease(
    sandboxed: EngineOnSandbox, airflow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "LEASE", timedelta(seconds=0.6))
    runs = await submitted(sandboxed, runs=2, requests=55)
    sandboxed.sandbox.approve_all()
    sandboxed.sandbox.switch(latency_s=0.05)
    with monkeypatch.context() as killed:
        killed.setattr(scans, "finish", lambda *_, **__: None)  # the dead give nothing back
        leased_until = await died_in_mid_read(sandboxed, runs[0])
    assert leased_until > datetime.now(UTC)
    before = len(list_reads(sandboxed))
    sandboxed.sandbox.switch(latency_s=0.0)
    async with waiting(sandboxed, runs[1:]) as tasks:
        assert await asyncio.wait_for(tasks[0], 10) == {"status": "work"}
    arrived = list_reads(sandboxed)[before:]
    assert arrived[0] >= leased_until.timestamp(), "nobody reads while the turn is somebody's"
    assert len(arrived) == 3
    assert recorded(sandboxed) == dict.fromkeys(runs, 55)


async def test_a_cancelled_reader_gives_its_turn_back(sandboxed: EngineOnSandbox, airflow: None) -> None:
    runs = await submitted(sandboxed, runs=2, requests=55)
    sandboxed.sandbox.approve_all()
    sandboxed.sandbox.switch(latency_s=0.05)
    leased_until = await died_in_mid_read(sandboxed, runs[0])
    assert leased_until <= datetime.now(UTC)
    with sandboxed.ledger.write() as tx:
        tx.conn.execute(update(badge_scan).values(read_at=tx.now - timedelta(minutes=1)))
    sandboxed.sandbox.switch(latency_s=0.0)
    async with waiting(sandboxed, runs[1:]) as tasks:
        assert await asyncio.wait_for(tasks[0], 10) == {"status": "work"}
    assert recorded(sandboxed) == dict.fromkeys(runs, 55)
