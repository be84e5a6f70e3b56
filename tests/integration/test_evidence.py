"""A platform that echoes keys altered, or approves by itself after its reply: judged by the platform's own books."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from capillary.engine.absence import WITHOUT_CONTROL
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import AutoApproved, LedgerBehind
from capillary.engine.submit import submit_run
from sandbox.faults import FaultKind, Route
from sandbox.settings import MAKER, EchoedKey
from tests.integration.test_adoption import bring_back, emptied, gold, outcomes, settle, submit
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox
from tests.sandbox.calling import basic, submission

altered = pytest.mark.parametrize("kind", [kind for kind in EchoedKey if kind is not EchoedKey.AS_SENT])


def held_by(sandboxed: EngineOnSandbox, customers: range) -> Counter[int]:
    """Count the requests on the platform's books that hold a customer."""
    held = Counter(each for request in sandboxed.sandbox.platform.requests() for each in request.customers)
    return Counter({customer: held[customer] for customer in customers if held[customer]})


def make_by_hand(sandboxed: EngineOnSandbox, customers: list[int]) -> None:
    """Make a request for customers and the badge of the engine, as somebody in Member Care does."""
    platform = sandboxed.sandbox.platform
    maker = {"authorization": basic(MAKER)}
    platform.workflow.create(platform.access.workflow_caller(maker), "ISSUE-BADGE", submission("REF-77", customers))


@altered
async def test_under_an_altered_echo_everybody_is_sent_once_and_settled(
    sandboxed: EngineOnSandbox, kind: EchoedKey
) -> None:
    sandboxed.sandbox.switch(echoed_key=kind)
    sandboxed.sandbox.fault(Route.SUBMIT, FaultKind.DROP)
    customers = range(1, 101)
    await submit(sandboxed, sandboxed.plan(customers))
    sandboxed.clock.shift += WITHOUT_CONTROL + timedelta(hours=1)
    async with sandboxed.sender() as sender:
        await resolve_doubt(sender)  # submit has found it by itself, where it had more to send
    await settle(sandboxed)
    assert set(held_by(sandboxed, customers).values()) == {1}
    assert outcomes(sandboxed) == {"enrolled": 100}


@pytest.mark.parametrize("kind", [EchoedKey.UPPER, EchoedKey.PREFIXED, EchoedKey.DASHES, EchoedKey.CUT])
async def test_a_ledger_that_forgot_stops_at_an_altered_key_and_learns_it_by_an_import(
    sandboxed: EngineOnSandbox, tmp_path: Path, kind: EchoedKey
) -> None:
    customers = range(11, 111)
    await submit(sandboxed, sandboxed.plan(customers))
    emptied(sandboxed, tmp_path)
    sandboxed.sandbox.switch(echoed_key=kind)
    with pytest.raises(LedgerBehind):
        # The warehouse has grown, so that no slice of the new plan is one of the old.
        await submit(sandboxed, sandboxed.plan(range(1, 161), run="again"))
    imported = await bring_back(sandboxed, gold(sandboxed))
    assert (imported.requests, imported.customers, imported.is_complete) == (2, 100, True)
    await settle(sandboxed)
    assert set(held_by(sandboxed, customers).values()) == {1}
    assert outcomes(sandboxed) == {"enrolled": 100}


async def test_a_strangers_request_for_one_of_the_customers_holds_the_doubt(sandboxed: EngineOnSandbox) -> None:
    sandboxed.sandbox.fault(Route.SUBMIT, FaultKind.HTML, when="before")
    plan = sandboxed.plan(range(1, 11))
    await submit(sandboxed, plan)
    make_by_hand(sandboxed, [3])
    sandboxed.clock.shift += WITHOUT_CONTROL + timedelta(hours=1)
    async with sandboxed.sender() as sender:
        assert (await resolve_doubt(sender)).still_in_doubt == 1
    assert held_by(sandboxed, range(1, 11)) == {3: 1}


@pytest.mark.parametrize("stop", [True, False])
async def test_approval_by_itself_just_after_the_reply_stops_before_the_second_request(
    sandboxed: EngineOnSandbox, stop: bool
) -> None:
    sandboxed.sandbox.switch(auto_approve_after_s=0.1)
    plan = sandboxed.plan(range(1, 201), size=20)
    assert plan.badge_run_id is not None
    async with sandboxed.sender() as sender:
        submitting = submit_run(sender, sandboxed.plan_id(plan.badge_run_id), lease=LEASE, stop_on_auto_approval=stop)
        if stop:
            with pytest.raises(AutoApproved):
                await submitting
        else:
            await submitting
    assert len(sandboxed.sandbox.platform.requests()) == (1 if stop else 10)
