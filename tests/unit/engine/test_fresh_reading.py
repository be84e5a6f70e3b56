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
from tests.unit.engine.desk import LEASE, Desk, row


async def decide(desk: Desk, requests: int, *, decided: int) -> None:
    """Have requests of one customer each sent, so many of them approved, and the list read by a trigger."""
    plan = desk.plan(range(1, requests + 1), size=1)
    await submit_run(desk.sender, desk.plan_id(plan.badge_run_id), lease=LEASE)
    for number, request in enumerate(desk.requests(), start=1):
        shown = row(f"p-{number}", request.request_key)
        if number <= decided:
            line = BulkItem(number, "b" * 24, "ACTIVE", None, failed=False)
            shown = replace(shown, state="approved", human_decided=True, execution=Execution(200, (line,), ()))
        desk.listed.append(shown)
    await poll(desk)


async def poll(desk: Desk) -> None:
    sender = desk.sender
    read = await watch_in_turn(
        desk.ledger, sender.client, sender.runtime, reader="a trigger", older_than=timedelta(0), settle=False
    )
    assert read is not None
    desk.events.clear()


async def resume(desk: Desk, fresh: timedelta | None) -> dict[str, int]:
    """A worker is called; return its calls by kind."""
    await advance(desk.sender, desk.plan_id(1), reader="a worker", lease=LEASE, fresh=fresh)
    calls = [event.split()[0] for event in desk.events]
    return {kind: calls.count(kind) for kind in ("list", "read")}


@pytest.mark.parametrize(
    ("after_s", "fresh", "calls"),
    [
        (0, FRESH, {"list": 0, "read": 1}),
        (30, FRESH, {"list": 0, "read": 1}),
        (31, FRESH, {"list": 1, "read": 0}),
        (-600, FRESH, {"list": 1, "read": 0}),  # the ledger's clock was set back
        (0, None, {"list": 1, "read": 0}),  # nobody called: a retry, or a person's clearing
    ],
)
async def test_a_reading_serves_for_thirty_seconds(
    desk: Desk, after_s: int, fresh: timedelta | None, calls: dict[str, int]
) -> None:
    await decide(desk, 3, decided=1)
    desk.now[0] += timedelta(seconds=after_s)
    assert await resume(desk, fresh) == calls
    assert desk.statuses() == ["settled", "waiting", "waiting"]
    assert desk.outcomes() == {"enrolled": 1, None: 2}


async def test_a_list_that_costs_no_more_calls_than_single_reads_is_read_again(desk: Desk) -> None:
    await decide(desk, 3, decided=2)
    assert await resume(desk, FRESH) == {"list": 1, "read": 0}, "one page in place of two single reads"
    assert desk.statuses() == ["settled", "settled", "waiting"]


async def test_another_users_reading_does_not_serve(desk: Desk) -> None:
    await decide(desk, 3, decided=1)
    desk.settings = replace(desk.settings, login="till.two")
    assert await resume(desk, FRESH) == {"list": 1, "read": 0}


async def test_a_reading_that_did_not_come_to_its_end_does_not_serve(desk: Desk) -> None:
    await decide(desk, 3, decided=1)
    desk.now[0] += timedelta(seconds=60)
    desk.cut_short, desk.cut_short_of = 1, "ISSUE-BADGE"
    await poll(desk)
    assert await resume(desk, FRESH) == {"list": 1, "read": 0}


async def test_the_reading_that_the_ledger_knows_is_the_triggers(desk: Desk) -> None:
    """It counts from when it began."""
    await decide(desk, 1, decided=0)
    with desk.ledger.read() as tx:
        reading = scans.whole_reading(tx, desk.settings.account, desk.settings.sender, within=FRESH)
    assert reading is not None
    assert (reading.begun_at, reading.pages) == (desk.now[0], 1)
