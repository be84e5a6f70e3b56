"""What a dead run has never sent is given back after a reading of the list that would have shown it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from capillary.engine import wait
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.ledger import scans
from capillary.ledger.schema import badge_history, badge_request, badge_scan, badge_sighting
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

LONG_AFTER = timedelta(days=90)


async def sent_and_forgotten(sandboxed: EngineOnSandbox) -> None:
    """Two requests stand on the platform, and the ledger was restored to before its first reading of the account."""
    plan = sandboxed.plan(range(1, 101))
    assert plan.badge_run_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, sandboxed.plan_id(plan.badge_run_id), lease=LEASE)
    unsent = {"status": "planned", "tries": 0, "first_sent_at": None, "last_sent_at": None, "doubt_from": None}
    with sandboxed.ledger.write() as tx:
        tx.conn.execute(badge_sighting.delete())
        tx.conn.execute(badge_history.delete())
        tx.conn.execute(badge_scan.delete())
        tx.conn.execute(update(badge_request).values(**unsent, sender=None, answered_id=None))


async def keep(sandboxed: EngineOnSandbox) -> None:
    async with sandboxed.sender() as sender:
        kept = await keep_account(sender, reader="upkeep")
    assert (kept.settled, kept.broken) == (0, ())


def statuses(sandboxed: EngineOnSandbox) -> dict[str, int]:
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(select(badge_request.c.status, func.count()).group_by(badge_request.c.status))
        return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("later", [timedelta(hours=7), LONG_AFTER], ids=["in the list", "in the first reading alone"])
async def test_what_the_platform_holds_is_found_however_long_ago_it_was_sent(
    sandboxed: EngineOnSandbox, later: timedelta
) -> None:
    await sent_and_forgotten(sandboxed)
    sandboxed.clock.shift = later
    await keep(sandboxed)
    assert statuses(sandboxed) == {"waiting": 2}


async def test_what_the_platform_does_not_hold_is_given_back(
    sandboxed: EngineOnSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandboxed.plan(range(1, 101))
    sandboxed.clock.shift = LONG_AFTER
    with caplog.at_level("INFO", "capillary.upkeep"):
        await keep(sandboxed)
    assert statuses(sandboxed) == {}
    assert "run run of DAG gold" in caplog.text
    assert "100 customers planned and never sent; given back, since the platform's list shows none of it" in caplog.text


async def test_a_living_run_keeps_what_it_has_not_sent(sandboxed: EngineOnSandbox) -> None:
    sandboxed.plan(range(1, 101))
    await keep(sandboxed)
    assert statuses(sandboxed) == {"planned": 2}


async def test_nothing_is_given_back_while_another_task_reads_the_list(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sandboxed.plan(range(1, 101))
    await keep(sandboxed)  # the first reading is through
    sandboxed.clock.shift = timedelta(hours=7)
    monkeypatch.setattr(wait, "TURN_LOOKS", 1)
    account = sandboxed.settings.account
    with sandboxed.ledger.write() as tx:
        assert scans.lease(tx, account, by="another", older_than=timedelta(0))
    with caplog.at_level("INFO", "capillary.upkeep"):
        await keep(sandboxed)
    assert statuses(sandboxed) == {"planned": 2}
    assert "not given back now, since the platform's list was not read to its end" in caplog.text
    with sandboxed.ledger.write() as tx:
        scans.finish(tx, account, by="another")
    await keep(sandboxed)
    assert statuses(sandboxed) == {}


async def test_nothing_is_given_back_by_a_list_that_hides_requests(sandboxed: EngineOnSandbox) -> None:
    sent = sandboxed.plan(range(1, 101), run="sent")
    assert sent.badge_run_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, sandboxed.plan_id(sent.badge_run_id), lease=LEASE)
    sandboxed.plan(range(101, 151), run="unsent")
    sandboxed.clock.shift = timedelta(hours=7)
    sandboxed.sandbox.switch(list_rows="hides")
    await keep(sandboxed)
    assert statuses(sandboxed) == {"waiting": 2, "planned": 1}
    sandboxed.sandbox.switch(list_rows="complete")
    await keep(sandboxed)
    assert statuses(sandboxed) == {"waiting": 2}
