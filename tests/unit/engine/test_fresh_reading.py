"""A worker that a trigger has called takes the trigger's reading of the list in place of its own, while it is fresh."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from capillary.api.badges import BulkItem, Execution
from capillary.engine.polling import FRESH
from capillary.engine.submit import submit_run
from capillary.engine.wait import advance
from capillary.engine.watch import watch_in_turn
from capillary.ledger import scans
from tests.unit.engine.scripted_client import LEASE, ScriptedClient, row


async def decide(scripted: ScriptedClient, requests: int, *, decided: int) -> None:
    """Have requests of one customer each sent, so many of them approved, and the list read by a trigger."""
    plan = scripted.plan(range(1, requests + 1), size=1)
    await submit_run(scripted.sender, scripted.plan_id(plan.badge_run_id), lease=LEASE)
    for number, request in enumerate(scripted.requests(), start=1):
        shown = row(f"p-{number}", request.request_key)
        if number <= decided:
            line = BulkItem(number, "b" * 24, "ACTIVE", None, failed=False)
            shown = replace(shown, state="approved", human_decided=True, execution=Execution(200, (line,), ()))
        scripted.listed.append(shown)
    await poll(scripted)


async def poll(scripted: ScriptedClient) -> None:
    sender = scripted.sender
    read = await watch_in_turn(
        scripted.ledger, sender.client, sender.runtime, reader="a trigger", older_than=timedelta(0), settle=False
    )
    assert read is not None
    scripted.events.clear()


async def resume(scripted: ScriptedClient, fresh: timedelta | None) -> tuple[bool, int]:
    """A worker is called; return whether it read the list, and how many requests it read singly."""
    await advance(scripted.sender, scripted.plan_id(1), reader="a worker", lease=LEASE, fresh=fresh)
    calls = [event.split()[0] for event in scripted.events]
    return "list" in calls, calls.count("read")


@pytest.mark.parametrize(
    ("after_s", "fresh", "calls"),
    [
        (0, FRESH, (False, 1)),
        (30, FRESH, (False, 1)),
        (31, FRESH, (True, 0)),
        (-600, FRESH, (True, 0)),  # the ledger's clock was set back
        (0, None, (True, 0)),  # nobody called: a retry, or a person's clearing
    ],
)
async def test_a_reading_serves_for_thirty_seconds(
    scripted: ScriptedClient, after_s: int, fresh: timedelta | None, calls: tuple[bool, int]
) -> None:
    await decide(scripted, 3, decided=1)
    scripted.now[0] += timedelta(seconds=after_s)
    assert await resume(scripted, fresh) == calls
    assert scripted.statuses() == ["settled", "waiting", "waiting"]
    assert scripted.outcomes() == {"enrolled": 1, None: 2}


async def test_a_list_that_costs_no_more_calls_than_single_reads_is_read_again(scripted: ScriptedClient) -> None:
    await decide(scripted, 3, decided=2)
    assert await resume(scripted, FRESH) == (True, 0), "one page in place of two single reads"
    assert scripted.statuses() == ["settled", "settled", "waiting"]


async def test_another_users_reading_does_not_serve(scripted: ScriptedClient) -> None:
    await decide(scripted, 3, decided=1)
    scripted.settings = replace(scripted.settings, login="till.two")
    assert await resume(scripted, FRESH) == (True, 0)


async def test_a_reading_that_did_not_come_to_its_end_does_not_serve(scripted: ScriptedClient) -> None:
    await decide(scripted, 3, decided=1)
    scripted.now[0] += timedelta(seconds=60)
    scripted.cut_short, scripted.cut_short_of = 1, "ISSUE-BADGE"
    await poll(scripted)
    assert await resume(scripted, FRESH) == (True, 0)


async def test_the_reading_that_the_ledger_knows_is_the_triggers(scripted: ScriptedClient) -> None:
    """It counts from when it began."""
    await decide(scripted, 1, decided=0)
    with scripted.ledger.read() as tx:
        reading = scans.whole_reading(tx, scripted.settings.account, scripted.settings.sender, within=FRESH)
    assert reading is not None
    assert (reading.begun_at, reading.pages) == (scripted.now[0], 1)
