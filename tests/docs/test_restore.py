"""The way out of a ledger that is behind the platform, as docs/ledger.md describes it under "Backup and restore"."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from capillary.engine.errors import LedgerBehind
from capillary.engine.submit import Submitted, submit_run
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.ledger.plan import Plan
from capillary.ledger.schema import badge_scan
from tests.integration.conftest import LEASE, House, house  # noqa: F401 - the fixture


async def submit(house: House, plan: Plan) -> Submitted:  # noqa: F811 - the fixture
    assert plan.badge_run_id is not None
    async with house.sender() as sender:
        return await submit_run(sender, plan.badge_run_id, lease=LEASE)


async def test_the_same_plan_finds_its_requests_and_only_then_may_the_mark_go(house: House, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    await submit(house, house.plan(range(1, 101)))
    lost = {request.platform_request_id for request in house.sandbox.platform.requests()}
    url = f"sqlite:///{tmp_path}/emptied.db"
    with Ledger(url, check_schema=False) as empty:
        upgrade(empty.engine)
    with Ledger(url, clock=house.clock) as emptied:
        house.ledger = emptied
        others = house.plan(range(1001, 1051), run="others")
        with pytest.raises(LedgerBehind):
            await submit(house, others)

        _take_the_mark_away(emptied)
        with pytest.raises(LedgerBehind):  # the next reading puts it back
            await submit(house, others)

        again = house.plan(range(1, 101), run="again")
        with pytest.raises(LedgerBehind):  # it does not go by itself
            await submit(house, others)
        _take_the_mark_away(emptied)
        assert (await submit(house, again)).counts == {}
        await submit(house, others)
    sent_later = [request for request in house.sandbox.platform.requests() if request.platform_request_id not in lost]
    assert [set(request.customers) for request in sent_later] == [set(range(1001, 1051))]


def _take_the_mark_away(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.conn.execute(update(badge_scan).values(foreign_key=None, foreign_seen_at=None))
