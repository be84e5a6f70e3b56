"""A ledger that was lost and made again: nobody is submitted a second time, however long ago the first was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from capillary.engine.errors import LedgerBehind
from capillary.engine.history import DAYS_AT_ONCE
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from capillary.ledger import scans, unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.history import GOES_BACK, history
from capillary.ledger.migrate import create
from capillary.ledger.plan import Plan
from capillary.ledger.schema import badge_request
from sandbox.faults import Route
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

CUSTOMERS = range(1, 1_001)


async def submit(sandboxed: EngineOnSandbox, plan: Plan) -> None:
    assert plan.plan_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, plan.plan_id, lease=LEASE)


def lose_the_ledger(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    """Give the engine a new ledger, as `ledger create` makes it."""
    sandboxed.ledger.close()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    with Ledger(f"sqlite:///{tmp_path}/ledger.db", new=True) as new:
        assert create(new.engine)[0]
    sandboxed.ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=sandboxed.clock)


def times_submitted(sandboxed: EngineOnSandbox) -> set[int]:
    return {len(sandboxed.requests_of(customer)) for customer in CUSTOMERS}


@pytest.mark.parametrize("days", [0, 29, 31, 60, 700])
@pytest.mark.parametrize("decided", [True, False], ids=["approved", "waiting"])
async def test_nobody_is_submitted_twice_after_the_ledger_was_lost(
    sandboxed: EngineOnSandbox, tmp_path: Path, days: int, decided: bool
) -> None:
    await submit(sandboxed, sandboxed.plan(CUSTOMERS))
    if decided:
        sandboxed.sandbox.approve_all()
    sandboxed.clock.shift = timedelta(days=days)
    lose_the_ledger(sandboxed, tmp_path)
    for _ in range(2):
        # Other slices, so that no key of the new plan is one of the old.
        with pytest.raises(LedgerBehind):
            await submit(sandboxed, sandboxed.plan(range(1, 1_004), size=70))
    assert times_submitted(sandboxed) == {1}


async def test_a_new_account_costs_its_first_reading_once(sandboxed: EngineOnSandbox) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    first = sandboxed.sandbox.platform.calls[Route.LIST]
    assert first - 1 < 2 * GOES_BACK.days / DAYS_AT_ONCE
    await submit(sandboxed, sandboxed.plan(range(101, 201), run="second"))
    assert sandboxed.sandbox.platform.calls[Route.LIST] == first + 2, "every type, and whether of ours there are more"


# A stray key ------------------------------------------------------------------------------------------------


async def stray(sandboxed: EngineOnSandbox, tmp_path: Path) -> str:
    """Leave a request of ours on the platform that the ledger has never heard of; return its key."""
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    (request,) = sandboxed.sandbox.platform.requests()
    lose_the_ledger(sandboxed, tmp_path)
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(51, 101)))
    return request.request_key or ""


def unknown_key(sandboxed: EngineOnSandbox) -> str | None:
    with sandboxed.ledger.read() as tx:
        return next((each.key for each in unknown_keys.unknown_keys(tx, sandboxed.settings.account)), None)


@pytest.mark.parametrize("days", [1, 60])
async def test_a_stray_request_that_is_rejected_stops_nothing_any_more(
    sandboxed: EngineOnSandbox, tmp_path: Path, days: int
) -> None:
    key = await stray(sandboxed, tmp_path)
    sandboxed.clock.shift = timedelta(days=days)
    sandboxed.sandbox.reject(key, "a mistake")
    await submit(sandboxed, sandboxed.plan(range(51, 101)))
    assert unknown_key(sandboxed) is None
    assert len(sandboxed.sandbox.platform.requests()) == 2


async def test_a_stray_request_that_is_approved_stops_for_good(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await stray(sandboxed, tmp_path)
    sandboxed.sandbox.approve_all()
    sandboxed.clock.shift = timedelta(days=60)
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(51, 101)))


async def test_a_stray_request_that_is_not_ours_by_a_persons_word_stops_nothing(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    key = await stray(sandboxed, tmp_path)
    with sandboxed.ledger.write() as tx:
        scans.note_not_ours(tx, sandboxed.settings.account, key, by="anna")
    await submit(sandboxed, sandboxed.plan(range(51, 101)))
    assert unknown_key(sandboxed) is None


async def test_the_word_for_one_key_clears_none_that_is_older(sandboxed: EngineOnSandbox, tmp_path: Path) -> None:
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    sandboxed.clock.shift = timedelta(days=60)
    lose_the_ledger(sandboxed, tmp_path)
    with sandboxed.ledger.write() as tx:  # as if a reading of the last days had found another one since
        unknown_keys.note(tx, sandboxed.settings.account, sandboxed.settings.sender, ["cb1.stray"])
        scans.note_not_ours(tx, sandboxed.settings.account, "cb1.stray", by="anna")
    with pytest.raises(LedgerBehind):
        await submit(sandboxed, sandboxed.plan(range(51, 101)))
    assert unknown_key(sandboxed) == sandboxed.sandbox.platform.requests()[0].request_key


async def test_the_customers_of_a_rejected_request_that_was_forgotten_are_asked_for_again_under_their_key(
    sandboxed: EngineOnSandbox, tmp_path: Path
) -> None:
    """The very same request would be sent: its key is found rejected before, and nothing is sent."""
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    (request,) = sandboxed.sandbox.platform.requests()
    sandboxed.sandbox.reject(request.request_key or "", "no")
    lose_the_ledger(sandboxed, tmp_path)
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    async with sandboxed.sender() as sender:
        await watch(sender.ledger, sender.client, sender.runtime)
    with sandboxed.ledger.read() as tx:
        assert tx.conn.execute(select(badge_request.c.status)).scalars().all() == ["settled"]
        assert history(tx, sandboxed.settings.account, sandboxed.settings.sender).read_at is not None
    assert len(sandboxed.sandbox.platform.requests()) == 1
