"""Somebody else's request, with a key that no column holds: the list is read on, and submitting stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import URL

from capillary.api.errors import InDoubt
from capillary.api.request_workflow import Entity, IssueBadgeRequest
from capillary.engine.errors import LedgerBehind
from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.unknown_keys import unknown_keys
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import running_sandbox
from tests.integration.test_database_faults import settings_of
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox, ShiftedClock
from tests.unit.ledger.conftest import BACKENDS, empty_database, postgresql_server  # noqa: F401 - fixtures


@pytest.fixture(params=BACKENDS)
def any_house(request: pytest.FixtureRequest, empty_database: Callable[[str], URL]) -> Iterator[EngineOnSandbox]:  # noqa: F811
    url = empty_database(request.param)
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    clock = ShiftedClock()
    with running_sandbox() as sandbox, Ledger(url, clock=clock) as ledger:
        yield EngineOnSandbox(ledger, sandbox, settings_of(sandbox.url), clock)


@pytest.mark.parametrize("length", [65, 100, 2_000])
async def test_the_list_is_read_on_and_submitting_stops(any_house: EngineOnSandbox, length: int) -> None:
    sandboxed, spec = any_house, any_house.spec()
    key = "cb1." + "k" * (length - 4)
    plan = sandboxed.plan(range(1, 101))
    assert plan.plan_id is not None
    async with sandboxed.sender() as sender:
        await submit_run(sender, plan.plan_id, lease=LEASE)
        stranger = IssueBadgeRequest(
            key=key,
            badge_id=GOLD_CIRCLE.badge_id,
            owner_type=spec.owner_type,
            reference_id=spec.reference_id,
            entity=Entity(spec.till_id, spec.store_id, spec.zone_id, spec.concept_id),
            hostname=spec.hostname,
            customers=[900_001],
        )
        await sender.client.clear_to_send()
        with suppress(InDoubt):  # it is taken; our client knows no key of this length again
            await sender.client.submit(stranger)
        sandboxed.sandbox.approve_all()
        watched = await watch(sandboxed.ledger, sender.client, sender.runtime)
        assert watched.read.to_the_end
        assert watched.settled == 2, "ours are settled beside it"
        with sandboxed.ledger.read() as tx:
            assert [each.key for each in unknown_keys(tx, sandboxed.settings.account)] == [key[:64]]
        later = sandboxed.plan(range(101, 201), run="later")
        assert later.plan_id is not None
        with pytest.raises(LedgerBehind, match=key[:64]):
            await submit_run(sender, later.plan_id, lease=LEASE)
    assert all(sandboxed.requests_of(customer) == [] for customer in range(101, 201))
