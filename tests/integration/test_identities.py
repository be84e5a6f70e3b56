"""The platform moves, and campaigns are copied and renamed, against the sandbox: nobody twice, nobody lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import WrongAccount
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from capillary.ledger.errors import OrganisationElsewhere
from capillary.ledger.locked_rows import occasion_of_badge
from capillary.ledger.plan import Order, Plan, commit_plan
from capillary.ledger.schema import badge_enrolment, badge_request
from capillary.ledger.staging import staging
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox


def moved(sandboxed: EngineOnSandbox, *, account_address: str = "") -> None:
    """Let the connection lead to the same platform under another name of its host."""
    base_url = sandboxed.sandbox.url.replace("127.0.0.1", "localhost")
    sandboxed.settings = replace(
        sandboxed.settings, base_url=base_url, inner_hostname=base_url, account_address=account_address
    )


async def submit(sandboxed: EngineOnSandbox, plan: Plan) -> None:
    assert plan.plan_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, plan.plan_id, lease=LEASE)


async def settle(sandboxed: EngineOnSandbox) -> dict[str | None, int]:
    """Approve everything and read; return the customers by outcome."""
    sandboxed.sandbox.approve_all()
    async with sandboxed.sender() as sender:
        await watch(sender.ledger, sender.client, sender.runtime)
    with sandboxed.ledger.read() as tx:
        rows = tx.conn.execute(select(badge_enrolment.c.outcome, func.count()).group_by(badge_enrolment.c.outcome))
        return {row[0]: row[1] for row in rows}


def planned_by(sandboxed: EngineOnSandbox, campaign: str, customers: range) -> Plan:
    """Plan as a campaign that names no occasion."""
    spec = sandboxed.spec()
    order = Order(
        dag_id=campaign,
        run_id="run",
        task_id="extract",
        capillary_conn_id="capillary",
        campaign=campaign,
        occasion=occasion_of_badge(spec.badge_id),
        spec=spec,
        customers_per_request=50,
        canary=False,
    )
    with staging() as stage:
        stage.add(list(enumerate(customers, start=1)), [])
        return commit_plan(sandboxed.ledger, stage, order)


async def test_with_its_account_address_a_platform_that_moved_goes_on_where_it_was(sandboxed: EngineOnSandbox) -> None:
    former = sandboxed.sandbox.url
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    unsent = sandboxed.plan(range(101, 151), run="second")
    moved(sandboxed, account_address=former)
    await submit(sandboxed, unsent)
    after = sandboxed.plan(range(1, 201), run="third")
    assert (after.planned, after.known_before) == (50, 150)
    await submit(sandboxed, after)
    assert await settle(sandboxed) == {"enrolled": 200}
    assert all(len(sandboxed.requests_of(customer)) == 1 for customer in range(1, 201))


async def test_without_it_nothing_is_planned_and_nothing_sent_at_the_new_address(sandboxed: EngineOnSandbox) -> None:
    former = sandboxed.settings.account
    await submit(sandboxed, sandboxed.plan(range(1, 101)))
    unsent = sandboxed.plan(range(101, 151), run="second")
    sent = len(sandboxed.sandbox.platform.requests())
    moved(sandboxed)
    with pytest.raises(OrganisationElsewhere, match=f"as account '{former}'"):
        sandboxed.plan(range(1, 201), run="third")
    with pytest.raises(OrganisationElsewhere):
        planned_by(sandboxed, "a copy", range(1, 201))
    with pytest.raises(WrongAccount, match="field Account address"):
        await submit(sandboxed, unsent)
    assert len(sandboxed.sandbox.platform.requests()) == sent


async def test_a_doubt_from_before_the_move_is_found_at_the_new_address(sandboxed: EngineOnSandbox) -> None:
    """The credential user is the same there, so that it may judge."""
    former = sandboxed.sandbox.url
    await submit(sandboxed, sandboxed.plan(range(1, 51)))
    with sandboxed.ledger.write() as tx:  # as if the answer had been lost, and nobody had read the list since
        tx.conn.exec_driver_sql("DELETE FROM badge_sighting")
        tx.conn.execute(update(badge_request).values(status="sending", error="no answer"))
    moved(sandboxed, account_address=former)
    sandboxed.clock.shift = timedelta(hours=2)
    async with sandboxed.sender() as sender:
        assert (await resolve_doubt(sender)).still_in_doubt == 0
    assert await settle(sandboxed) == {"enrolled": 50}
    assert len(sandboxed.sandbox.platform.requests()) == 1


async def test_a_copy_of_a_campaign_sends_nobody_twice(sandboxed: EngineOnSandbox) -> None:
    original = planned_by(sandboxed, "gold", range(1, 101))
    copy = planned_by(sandboxed, "gold copy", range(1, 121))
    assert (copy.planned, copy.known_elsewhere) == (20, 100)
    await submit(sandboxed, copy)
    await submit(sandboxed, original)
    assert await settle(sandboxed) == {"enrolled": 120}
    assert all(len(sandboxed.requests_of(customer)) == 1 for customer in range(1, 121))
    keys = {(request.request_key or "").rpartition(".")[0] for request in sandboxed.sandbox.platform.requests()}
    assert keys == {"cb1.gold", "cb1.gold-copy"}
