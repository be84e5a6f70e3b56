"""A reply that names an id under which the platform knows nothing, while its list shows the request under another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from capillary.api.badges import BulkItem, Execution
from capillary.api.request_workflow import IssueBadgeRequest, WorkflowRequest
from capillary.engine.settle import OUTPUT_PATIENCE
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from tests.unit.engine.scripted_client import LEASE, ScriptedClient, row

LATER = OUTPUT_PATIENCE + timedelta(seconds=1)
ALL = Execution(200, tuple(BulkItem(n, "b" * 24, "ACTIVE", None, failed=False) for n in (1, 2, 3)), ())
SOME = Execution(200, (*(ALL.items or ())[:2], BulkItem(3, None, None, 1026, failed=True)), ())


async def send(scripted: ScriptedClient, state: str, execution: Execution | None) -> None:
    """Have one request sent that the reply names `p-named`, and decided as `p-1`."""

    async def named(request: IssueBadgeRequest) -> WorkflowRequest:
        return row("p-named", request.key)

    plan = scripted.plan((1, 2, 3))
    scripted.answers = [named]
    await submit_run(scripted.sender, scripted.plan_id(plan.badge_run_id), lease=LEASE)
    scripted.taken = []
    scripted.listed = [replace(row("p-1", scripted.requests()[0].request_key, state, human=True), execution=execution)]


async def look(scripted: ScriptedClient, *, after: timedelta = LATER) -> None:
    scripted.now[0] += after
    await advance(scripted.sender, scripted.plan_id(1), reader="a worker", lease=LEASE)


@pytest.mark.parametrize(
    ("state", "execution", "outcomes"),
    [
        ("approved", ALL, {"enrolled": 3}),
        ("approved", SOME, {"enrolled": 2, "unconfirmed": 1}),
        ("rejected", None, {"unconfirmed": 3}),
        ("failed", Execution(401, None, (401,)), {"unconfirmed": 3}),
    ],
    ids=["all enrolled", "one refused", "rejected", "failed"],
)
async def test_it_is_settled_by_what_carries_its_key_and_only_an_enrolment_counts(
    scripted: ScriptedClient,
    state: str,
    execution: Execution | None,
    outcomes: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can tell what the other one did, if there ever was one."""
    await send(scripted, state, execution)
    await look(scripted)
    assert (scripted.statuses(), scripted.outcomes()) == (["settled"], outcomes)
    assert "the platform does not know p-named, which was recorded for it, too" in caplog.text


async def test_the_upkeep_settles_it_as_well(scripted: ScriptedClient) -> None:
    await send(scripted, "approved", ALL)
    scripted.now[0] += LATER
    await keep_account(scripted.sender, reader="the upkeep")
    assert scripted.outcomes() == {"enrolled": 3}


async def test_it_is_waited_for_as_long_as_it_may_still_show(scripted: ScriptedClient) -> None:
    await send(scripted, "approved", ALL)
    await look(scripted, after=OUTPUT_PATIENCE - timedelta(minutes=1))
    assert scripted.statuses() == ["waiting"]
    await look(scripted, after=timedelta(minutes=1))
    assert scripted.statuses() == ["settled"]


@pytest.mark.parametrize("how", ["refused", "unreadable", "there and undecided", "the other one undecided"])
async def test_without_the_platforms_word_that_there_is_none_it_waits(scripted: ScriptedClient, how: str) -> None:
    await send(scripted, "approved", ALL)
    if how == "refused":
        scripted.refused_reads = {"p-named"}
    elif how == "unreadable":
        scripted.unreadable_reads = {"p-named"}
    elif how == "there and undecided":
        scripted.unlisted = [row("p-named", scripted.requests()[0].request_key)]
    else:
        scripted.listed = [replace(each, state="AdminTask", execution=None) for each in scripted.listed]
    await look(scripted, after=timedelta(days=1))
    assert (scripted.statuses(), scripted.outcomes()) == (["waiting"], {None: 3})


@pytest.mark.parametrize("state", ["AdminTask", "rejected", "approved"])
async def test_one_that_shows_after_all_is_read_before_the_request_is_settled_again(
    scripted: ScriptedClient, state: str
) -> None:
    await send(scripted, "rejected", None)
    await look(scripted)
    late = replace(row("p-named", scripted.requests()[0].request_key, state, human=state != "AdminTask"), execution=ALL)
    scripted.listed.append(late if state == "approved" else replace(late, execution=None))
    await keep_account(scripted.sender, reader="the upkeep")
    ends = {
        "AdminTask": ("waiting", "unconfirmed"),
        "rejected": ("settled", "rejected"),
        "approved": ("settled", "enrolled"),
    }
    status, outcome = ends[state]
    assert (scripted.statuses(), scripted.outcomes()) == ([status], {outcome: 3})
