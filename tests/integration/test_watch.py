"""What a reading of the list brings, and what it does when the list does not show all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from capillary.api.client import Client
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.errors import ListCutShort
from capillary.engine.settle import settle_by_reading
from capillary.engine.sightings import record_rows
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch, watch_in_turn
from capillary.ledger import scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.schema import badge_enrolment, badge_request, badge_sighting
from sandbox.faults import FaultKind, Route
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox


async def submitted(sandboxed: EngineOnSandbox, customers: range = range(1, 101)) -> None:
    plan = sandboxed.plan(customers)
    assert plan.badge_run_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, sandboxed.plan_id(plan.badge_run_id), lease=LEASE)


def states(sandboxed: EngineOnSandbox) -> list[str]:
    with sandboxed.ledger.read() as tx:
        return list(tx.conn.execute(select(badge_sighting.c.state).order_by(badge_sighting.c.state)).scalars())


def state(sandboxed: EngineOnSandbox) -> scans.ScanState:
    with sandboxed.ledger.read() as tx:
        return scans.state(tx, sandboxed.settings.account)


async def test_readers_take_turns(sandboxed: EngineOnSandbox) -> None:
    await submitted(sandboxed)
    async with sandboxed.sender() as sender:
        look = (sender.ledger, sender.client, sender.runtime)
        minute = timedelta(minutes=1)
        with sandboxed.ledger.write() as tx:
            assert scans.lease(tx, sandboxed.settings.account, by="another", older_than=timedelta(0))
        assert await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False) is None
        with sandboxed.ledger.write() as tx:
            scans.finish(tx, sandboxed.settings.account, by="another")
        assert await watch_in_turn(*look, reader="me", older_than=minute, settle=False) is None, "read of late"
        assert await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False) is not None


async def test_a_reader_that_died_loses_its_turn_after_a_while(sandboxed: EngineOnSandbox) -> None:
    await submitted(sandboxed)
    with sandboxed.ledger.write() as tx:
        scans.lease(tx, sandboxed.settings.account, by="dead", older_than=timedelta(0))
    sandboxed.clock.shift = scans.LEASE + timedelta(seconds=1)
    async with sandboxed.sender() as sender:
        look = (sender.ledger, sender.client, sender.runtime)
        assert await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False) is not None
        with sandboxed.ledger.write() as tx:
            scans.renew(tx, sandboxed.settings.account, by="dead")
            assert scans.lease(tx, sandboxed.settings.account, by="third", older_than=timedelta(0))


async def test_a_turn_is_given_back_when_reading_fails(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submitted(sandboxed)
    async with sandboxed.sender() as sender:
        look = (sender.ledger, sender.client, sender.runtime)
        with monkeypatch.context() as patch:
            patch.setattr(Client, "list_requests", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False)
        assert await watch_in_turn(*look, reader="you", older_than=timedelta(0), settle=False) is not None


@pytest.mark.parametrize("is_committed", [True, False], ids=["its commit stands", "its commit was lost"])
async def test_a_turn_whose_reader_was_not_told_of_it_keeps_nobody_from_reading(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    await submitted(sandboxed)
    really = Ledger.write
    replies = [False]

    @contextmanager
    def write(ledger: Ledger) -> Iterator[Transaction]:
        told = replies.pop() if replies else True
        with really(ledger) as tx:
            yield tx
            if not told and not is_committed:
                raise OperationalError("COMMIT", None, Exception("the server went away"))
        if not told:
            raise OperationalError("COMMIT", None, Exception("the server went away"))

    async with sandboxed.sender() as sender:
        look = (sender.ledger, sender.client, sender.runtime)
        monkeypatch.setattr(Ledger, "write", write)
        with pytest.raises(OperationalError):
            await watch_in_turn(*look, reader="upkeep 1", older_than=timedelta(0), settle=False)
        assert replies == []
        assert await watch_in_turn(*look, reader="upkeep 2", older_than=timedelta(0), settle=False) is not None


async def test_a_turn_of_another_reader_is_not_given_back_by_one_that_lost_a_commit(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submitted(sandboxed)
    with sandboxed.ledger.write() as tx:
        assert scans.lease(tx, sandboxed.settings.account, by="another", older_than=timedelta(0))

    def gone(*_: object, **__: object) -> bool:
        raise OperationalError("UPDATE", None, Exception("the server went away"))

    async with sandboxed.sender() as sender:
        look = (sender.ledger, sender.client, sender.runtime)
        with monkeypatch.context() as patch:
            patch.setattr(scans, "lease", gone)
            with pytest.raises(OperationalError):
                await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False)
        assert await watch_in_turn(*look, reader="me", older_than=timedelta(0), settle=False) is None


async def test_a_list_that_hides_requests_is_distrusted_and_they_are_read_singly(sandboxed: EngineOnSandbox) -> None:
    await submitted(sandboxed)
    sandboxed.sandbox.approve_all()
    sandboxed.clock.shift = timedelta(minutes=1)
    sandboxed.sandbox.switch(list_rows="hides")
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
    assert (watched.missed, watched.settled) == (1, 2)
    assert states(sandboxed) == ["approved", "approved"]
    assert not state(sandboxed).trusted
    sandboxed.clock.shift += scans.DISTRUST
    assert state(sandboxed).trusted


async def test_a_row_without_its_details_is_known_by_the_platforms_id(sandboxed: EngineOnSandbox) -> None:
    await submitted(sandboxed)
    sandboxed.sandbox.approve_all()
    async with sandboxed.sender() as sender:
        page = await sender.client.list_requests(page=0, start_date=sandboxed.clock().date() - timedelta(days=1))
    bare: list[WorkflowRequest] = [replace(row, request_key=None, customers=None, execution=None) for row in page.rows]
    with sandboxed.ledger.write() as tx:
        recorded = record_rows(tx, sandboxed.settings.account, sandboxed.settings.sender, bare)
    assert (len(recorded.rows), recorded.new, recorded.unknown_key) == (2, 0, None)
    assert states(sandboxed) == ["approved", "approved"]


async def test_a_new_account_submits_where_the_list_takes_30_days_at_most(sandboxed: EngineOnSandbox) -> None:
    sandboxed.sandbox.switch(list_range_days=30)
    await submitted(sandboxed)
    assert states(sandboxed) == ["AdminTask", "AdminTask"]


async def test_an_account_that_was_quiet_for_40_days_goes_on_there(sandboxed: EngineOnSandbox) -> None:
    sandboxed.clock.shift = -timedelta(days=40)
    await submitted(sandboxed)
    sandboxed.clock.shift = timedelta()
    sandboxed.sandbox.switch(list_range_days=30)
    sandboxed.sandbox.approve_all()
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
    assert (watched.read.to_the_end, watched.reaches_back, watched.settled) == (True, True, 2)
    second = sandboxed.plan(range(101, 151), run="second")
    assert second.plan_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, second.plan_id, lease=LEASE)
    assert len(sandboxed.sandbox.platform.requests()) == 3


async def test_what_waits_from_before_the_days_that_are_listed_is_read_singly(sandboxed: EngineOnSandbox) -> None:
    sandboxed.clock.shift = -timedelta(days=100)
    await submitted(sandboxed)
    sandboxed.clock.shift = timedelta()
    sandboxed.sandbox.approve_all()
    sandboxed.sandbox.switch(list_reaches_days=90, list_lag_s=3_600)
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
    assert (watched.settled, watched.missed, state(sandboxed).trusted) == (2, 0, True)


async def test_totals_of_one_page_hide_nothing_and_nothing_is_sent(
    sandboxed: EngineOnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored ledger has forgotten the newest request, which stands behind a full page."""
    monkeypatch.setattr("capillary.engine.history._PAUSE_S", 0.01)
    sandboxed.settings = replace(sandboxed.settings, page_size=2)
    await submitted(sandboxed, range(1, 151))
    with sandboxed.ledger.write() as tx:
        tx.conn.execute(badge_sighting.delete().where(badge_sighting.c.request_id == 3))
        tx.conn.execute(badge_enrolment.delete().where(badge_enrolment.c.request_id == 3))
        assert tx.conn.execute(badge_request.delete().where(badge_request.c.id == 3)).rowcount == 1
    sandboxed.sandbox.switch(list_totals="page")
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
    assert (watched.read.rows, watched.read.to_the_end) == (3, False)
    assert watched.unknown_key == sandboxed.sandbox.platform.requests()[-1].request_key
    second = sandboxed.plan(range(101, 151), run="second")
    assert second.plan_id is not None
    async with sandboxed.sender() as sender:
        with pytest.raises(ListCutShort):
            await submit_run(sender, second.plan_id, lease=LEASE)
    assert len(sandboxed.sandbox.platform.requests()) == 3


@pytest.mark.parametrize(("status", "code"), [(404, None), (403, 4000)], ids=["no such page", "not yours"])
async def test_a_single_read_that_is_refused_leaves_the_others(
    sandboxed: EngineOnSandbox, status: int, code: int | None
) -> None:
    await submitted(sandboxed)
    sandboxed.sandbox.approve_all()
    sandboxed.clock.shift = timedelta(minutes=1)
    sandboxed.sandbox.switch(list_lag_s=3_600)
    sandboxed.sandbox.fault(Route.GET, FaultKind.STATUS, status=status, code=code)
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
        assert (watched.settled, states(sandboxed)) == (1, ["AdminTask", "approved"])
        sandboxed.sandbox.fault(Route.GET, FaultKind.STATUS, status=status, code=code)
        assert await settle_by_reading(sender.ledger, sender.client, sender.runtime, [1, 2]) == 0
        sandboxed.sandbox.switch(list_lag_s=0)
        assert (await watch(sender.ledger, sender.client, sender.runtime)).settled == 1
