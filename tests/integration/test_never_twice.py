"""Whatever happens to a reply, the platform's books show each customer in one request, and nobody is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from capillary.api.errors import EverythingRefused
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import AutoApproved, LedgerBehind, ListCutShort, SubmittingOff
from capillary.engine.send import Sent
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from capillary.ledger.schema import badge_enrolment, badge_request
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

CUSTOMERS = range(1_001, 1_201)


async def submit(sandboxed: EngineOnSandbox, run_id: int | None, **options: Any) -> dict[Sent, int]:  # noqa: ANN401 - those of `submit_run`
    assert run_id is not None
    async with sandboxed.sender() as sender:
        submitted = await submit_run(sender, sandboxed.plan_id(run_id), lease=LEASE, **options)
    return dict(submitted.counts)


async def look(sandboxed: EngineOnSandbox) -> int:
    async with sandboxed.sender() as sender:
        watched = await watch(sender.ledger, sender.client, sender.runtime)
    assert watched.read.to_the_end
    return watched.settled


def outcomes(sandboxed: EngineOnSandbox) -> dict[str | None, int]:
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(select(badge_enrolment.c.outcome, func.count()).group_by(badge_enrolment.c.outcome))
        return {outcome: count for outcome, count in rows}  # noqa: C416 - Row is no pair to dict()


def statuses(sandboxed: EngineOnSandbox) -> dict[str, int]:
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(select(badge_request.c.status, func.count()).group_by(badge_request.c.status))
        return {status: count for status, count in rows}  # noqa: C416 - Row is no pair to dict()


def assert_each_customer_once(sandboxed: EngineOnSandbox) -> None:
    found = {customer: sandboxed.requests_of(customer) for customer in CUSTOMERS}
    assert {customer: ids for customer, ids in found.items() if len(ids) != 1} == {}


async def test_everybody_is_enrolled_on_the_platforms_word(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    assert (plan.planned, plan.requests) == (200, 4)
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.ACCEPTED: 4}
    assert await look(sandboxed) == 0
    assert outcomes(sandboxed) == {None: 200}
    sandboxed.sandbox.approve_all()
    assert await look(sandboxed) == 4
    assert outcomes(sandboxed) == {"enrolled": 200}
    assert_each_customer_once(sandboxed)


async def test_a_second_run_finds_nothing_left_to_do(sandboxed: EngineOnSandbox) -> None:
    await submit(sandboxed, sandboxed.plan(CUSTOMERS).badge_run_id)
    second = sandboxed.plan(CUSTOMERS, run="second")
    assert (second.planned, second.known_before) == (0, 200)
    assert await submit(sandboxed, second.badge_run_id) == {}
    assert_each_customer_once(sandboxed)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("drop", {}),
        ("reset", {}),
        ("hang", {"seconds": 4.0}),
        ("status", {"status": 500}),
        ("status", {"status": 502}),
        ("status", {"status": 504}),
        ("html", {}),
        ("truncated", {}),
        ("status", {"status": 400, "code": 809}),
    ],
)
async def test_a_reply_lost_after_the_commit_is_found_and_not_sent_again(
    sandboxed: EngineOnSandbox, kind: str, options: dict[str, Any]
) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", kind, when="after", **options)
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.ACCEPTED: 3, Sent.IN_DOUBT: 1}
    # The last request waits until the lost one has arrived, and the list is read meanwhile: it may be found there.
    assert statuses(sandboxed) in ({"waiting": 4}, {"waiting": 3, "sending": 1})
    # A retry of the task does not touch it; the next look at the list finds it.
    assert await submit(sandboxed, plan.badge_run_id) == {}
    await look(sandboxed)
    assert statuses(sandboxed) == {"waiting": 4}
    sandboxed.sandbox.approve_all()
    await look(sandboxed)
    assert outcomes(sandboxed) == {"enrolled": 200}
    assert_each_customer_once(sandboxed)


async def test_what_never_arrived_is_sent_again_under_the_same_key_once_its_absence_is_confirmed(
    sandboxed: EngineOnSandbox,
) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "drop", when="before")
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.ACCEPTED: 3, Sent.IN_DOUBT: 1}
    async with sandboxed.sender() as sender:
        assert (await resolve_doubt(sender)).sent_again == 0, "too early to judge"
        sandboxed.clock.shift = timedelta(minutes=30)
        assert (await resolve_doubt(sender)).sent_again == 1, "the last request of the run was kept for a control"
    assert statuses(sandboxed) == {"waiting": 4}
    assert_each_customer_once(sandboxed)


async def test_without_a_control_absence_is_confirmed_an_hour_later(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS, size=len(CUSTOMERS))
    sandboxed.sandbox.fault("submit", "drop", when="before")
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.IN_DOUBT: 1}
    async with sandboxed.sender() as sender:
        sandboxed.clock.shift = timedelta(minutes=30)
        resolved = await resolve_doubt(sender)
        assert (resolved.sent_again, resolved.still_in_doubt) == (0, 1), "no control was accepted later"
        sandboxed.clock.shift = timedelta(hours=2)
        assert (await resolve_doubt(sender)).sent_again == 1
    assert statuses(sandboxed) == {"waiting": 1}
    assert_each_customer_once(sandboxed)


async def test_a_sender_that_dies_in_mid_call_leaves_a_doubt_and_no_twin(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "hang", when="after", seconds=3.0)
    task = asyncio.create_task(submit(sandboxed, plan.badge_run_id))
    while not sandboxed.sandbox.platform.requests():  # noqa: ASYNC110 - the sandbox runs in a thread
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(sandboxed) == {"sending": 1, "planned": 3}
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.ACCEPTED: 3}
    await look(sandboxed)
    assert statuses(sandboxed) == {"waiting": 4}
    assert_each_customer_once(sandboxed)


async def test_a_429_is_obeyed_and_the_request_sent_later(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "status", when="before", status=429, retry_after="1")
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.NOT_TAKEN: 1, Sent.ACCEPTED: 4}
    arrivals = [arrival.at for arrival in sandboxed.sandbox.platform.arrivals if arrival.route == "submit"]
    assert arrivals[1] - arrivals[0] >= 1
    assert_each_customer_once(sandboxed)


async def test_wrong_credentials_send_nothing_and_lose_nobody(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "status", when="before", status=403, code=2001)
    with pytest.raises(EverythingRefused, match="2001"):
        await submit(sandboxed, plan.badge_run_id)
    assert statuses(sandboxed) == {"planned": 4}
    assert sandboxed.sandbox.platform.requests() == []


async def test_a_request_refused_for_its_content_is_not_accepted(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "status", when="before", status=400, code=2008)
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.REFUSED: 1, Sent.ACCEPTED: 3}
    assert outcomes(sandboxed) == {"not_accepted": 50, None: 150}


async def test_an_automatic_approval_is_noticed_before_a_second_request_goes_out(sandboxed: EngineOnSandbox) -> None:
    sandboxed.sandbox.switch(auto_approve=True)
    plan = sandboxed.plan(CUSTOMERS)
    with pytest.raises(AutoApproved, match="without a human's approval"):
        await submit(sandboxed, plan.badge_run_id)
    assert len(sandboxed.sandbox.platform.requests()) == 1


async def test_the_switch_stops_sending(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.submitting[0] = False
    with pytest.raises(SubmittingOff, match="switched off"):
        await submit(sandboxed, plan.badge_run_id)
    assert statuses(sandboxed) == {"planned": 4}


async def test_a_ledger_behind_the_platform_stops_sending(sandboxed: EngineOnSandbox) -> None:
    await submit(sandboxed, sandboxed.plan(CUSTOMERS).badge_run_id)
    with sandboxed.ledger.write() as tx:
        tx.conn.execute(badge_enrolment.delete())
        tx.conn.exec_driver_sql("DELETE FROM badge_sighting")
        tx.conn.execute(badge_request.delete())
        tx.conn.exec_driver_sql("DELETE FROM badge_run")
    plan = sandboxed.plan(CUSTOMERS, run="after the loss", size=20)
    with pytest.raises(LedgerBehind, match="does not know"):
        await submit(sandboxed, plan.badge_run_id)
    assert_each_customer_once(sandboxed)


async def test_a_list_that_cannot_be_read_to_its_end_holds_sending_back(sandboxed: EngineOnSandbox) -> None:
    first = sandboxed.plan(CUSTOMERS)
    await submit(sandboxed, first.badge_run_id)
    later = sandboxed.plan(range(2_001, 2_051), run="later")
    sandboxed.settings = replace(sandboxed.settings, page_size=2)
    sandboxed.sandbox.switch(list_rows="duplicates")
    for _ in range(2):
        with pytest.raises(ListCutShort, match=r"read 3 times and never to its end \(last time 3 pages"):
            await submit(sandboxed, later.badge_run_id)
    assert len(sandboxed.sandbox.platform.requests()) == 4
    assert statuses(sandboxed) == {"planned": 1, "waiting": 4}
    sandboxed.sandbox.switch(list_rows="complete")
    assert await submit(sandboxed, later.badge_run_id) == {Sent.ACCEPTED: 1}


async def test_a_rejection_ends_the_request(sandboxed: EngineOnSandbox) -> None:
    await submit(sandboxed, sandboxed.plan(CUSTOMERS).badge_run_id)
    key = sandboxed.sandbox.platform.requests()[0].request_key
    assert key is not None
    assert sandboxed.sandbox.reject(key, "not this year") == 1
    assert await look(sandboxed) == 1
    assert outcomes(sandboxed) == {"rejected": 50, None: 150}


async def test_auto_approval_of_a_resent_request_stops_the_submission(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS)
    sandboxed.sandbox.fault("submit", "drop", when="before")
    assert await submit(sandboxed, plan.badge_run_id) == {Sent.IN_DOUBT: 1, Sent.ACCEPTED: 3}
    sandboxed.clock.shift = timedelta(hours=2)
    sandboxed.sandbox.switch(auto_approve=True)
    others = sandboxed.plan(range(2_001, 2_101), run="others")
    with pytest.raises(AutoApproved):
        await submit(sandboxed, others.badge_run_id)
    assert_each_customer_once(sandboxed)
    assert len(sandboxed.sandbox.platform.requests()) == 4, "the one that was sent again, and no new one"
