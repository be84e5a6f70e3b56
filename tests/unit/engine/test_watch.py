"""From which day on the list is read, what is read singly beside it, and what of that the list has missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from capillary.engine import watch as watching
from capillary.engine.submit import submit_run
from capillary.engine.watch import Watched, cluster_day, watch
from capillary.ledger import scans
from capillary.ledger.open_work import LATE_TWIN
from capillary.ledger.schema import badge_request, badge_sighting
from tests.unit.engine.desk import LEASE, NOON, SETTINGS, Desk, row

DAY = timedelta(days=1)
LONG_AGO = LATE_TWIN + 30 * DAY


@pytest.fixture(autouse=True)
def _pages_of_two(desk: Desk) -> None:
    desk.settings = replace(SETTINGS, page_size=2)


async def send(desk: Desk, *, ago: timedelta, shown: bool = True, settled: bool = False) -> str:
    """Have one request accepted so long before `NOON`; return its platform request id."""
    desk.now[0] = NOON - ago
    number = desk.numbered + 1
    plan = desk.plan([number], f"run {number}")
    await submit_run(desk.sender, desk.plan_id(plan.badge_run_id), lease=LEASE)
    request = desk.requests()[-1]
    (desk.listed if shown else desk.unlisted).append(row(f"p-{number}", request.key))
    if settled:
        change(desk, request.id, status="settled", settled_at=desk.now[0])
    desk.now[0] = NOON
    desk.events.clear()
    desk.lists.clear()
    return f"p-{number}"


async def send_and_settle(desk: Desk, count: int, *, ago: timedelta) -> None:
    """Have requests accepted and settled: what a list from an old day on shows besides."""
    for _ in range(count):
        await send(desk, ago=ago, settled=True)


def change(desk: Desk, request_id: object, **values: Any) -> None:  # noqa: ANN401 - columns
    desk.write(update(badge_request).where(badge_request.c.id == request_id).values(**values))


async def read(desk: Desk) -> Watched:
    return await watch(desk.ledger, desk.sender.client, desk.sender.runtime)


def day_before(ago: timedelta) -> date:
    """Return the first day of a list that reaches back to what was sent so long before `NOON`."""
    return cluster_day(NOON - ago, SETTINGS) - DAY


def singly(desk: Desk) -> list[str]:
    return [event.removeprefix("read ") for event in desk.events if event.startswith("read ")]


def trusted(desk: Desk) -> bool:
    with desk.ledger.read() as tx:
        return scans.state(tx, desk.settings.account).trusted


async def test_a_strangers_key_forges_no_line_of_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.listed.append(row("p-0", "cb1.a\nlist read: all is well"))
    watched = await read(desk)
    assert watched.foreign_key == "cb1.a\nlist read: all is well", "what the ledger keeps is the key itself"
    assert r"the platform holds cb1.a\nlist read: all is well, which" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_forgotten_request_is_read_singly_where_that_takes_fewer_calls(desk: Desk) -> None:
    forgotten = await send(desk, ago=LONG_AGO, shown=False)
    await send_and_settle(desk, 2, ago=20 * DAY)
    await send(desk, ago=2 * DAY)
    watched = await read(desk)
    assert [since for since, _ in desk.lists] == [day_before(2 * DAY)]
    assert singly(desk) == [forgotten]
    assert (watched.missed, trusted(desk)) == (0, True), "a list that begins later has missed nothing"


async def test_its_decision_is_found_and_settled(desk: Desk) -> None:
    forgotten = await send(desk, ago=LONG_AGO, shown=False)
    await send_and_settle(desk, 2, ago=20 * DAY)
    desk.unlisted = [replace(desk.unlisted[0], state="rejected", human_decided=True)]
    assert (await read(desk)).settled == 1
    assert singly(desk) == [forgotten]
    assert desk.outcomes() == {"rejected": 1, None: 2}


async def test_the_list_is_read_from_it_on_where_that_takes_no_more_calls(desk: Desk) -> None:
    await send(desk, ago=LONG_AGO)
    await send_and_settle(desk, 1, ago=20 * DAY)
    await send(desk, ago=2 * DAY)
    await read(desk)
    assert [since for since, _ in desk.lists] == [day_before(LONG_AGO)]
    assert singly(desk) == []


async def test_nothing_is_forgotten_as_long_as_a_twin_of_it_may_show(desk: Desk) -> None:
    await send(desk, ago=LATE_TWIN)
    await send_and_settle(desk, 2, ago=5 * DAY)
    await send_and_settle(desk, 1, ago=3 * DAY)
    await read(desk)
    assert desk.lists[-1][0] == day_before(LATE_TWIN)
    desk.now[0] += timedelta(microseconds=1)
    await read(desk)
    assert desk.lists[-1][0] == day_before(3 * DAY)


async def test_a_request_that_was_sent_again_of_late_is_looked_for_from_its_first_send_on(desk: Desk) -> None:
    await send(desk, ago=LONG_AGO)
    change(desk, 1, resends=1, last_sent_at=NOON - LATE_TWIN)
    await send_and_settle(desk, 4, ago=20 * DAY)
    await send(desk, ago=2 * DAY)
    await read(desk)
    assert desk.lists[-1][0] == day_before(LONG_AGO)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "sending", "doubt_from": NOON},
        {"status": "settled", "settled_at": NOON - DAY, "resends": 1},
    ],
    ids=["in doubt", "of which a twin may come"],
)
async def test_what_only_the_list_can_show_is_looked_for_there(desk: Desk, values: dict[str, Any]) -> None:
    await send(desk, ago=LONG_AGO)
    change(desk, 1, **values)
    forgotten = await send(desk, ago=LONG_AGO - DAY)
    await send_and_settle(desk, 8, ago=20 * DAY)
    await send(desk, ago=2 * DAY)
    await read(desk)
    assert desk.lists[-1][0] == day_before(LONG_AGO)
    assert forgotten not in singly(desk)


async def test_only_so_many_are_left_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FORGOTTEN_READS", 2)
    forgotten = [await send(desk, ago=LONG_AGO, shown=False) for _ in range(2)]
    await send_and_settle(desk, 3, ago=LONG_AGO - DAY)
    await send(desk, ago=LONG_AGO - 2 * DAY)
    await send_and_settle(desk, 4, ago=20 * DAY)
    await send(desk, ago=2 * DAY)
    await read(desk)
    assert desk.lists[-1][0] == day_before(LONG_AGO - 2 * DAY)
    assert sorted(singly(desk)) == forgotten


async def test_what_a_later_list_should_show_is_missed_all_the_same(desk: Desk) -> None:
    forgotten = await send(desk, ago=LONG_AGO, shown=False)
    await send_and_settle(desk, 2, ago=20 * DAY)
    hidden = await send(desk, ago=2 * DAY, shown=False)
    watched = await read(desk)
    assert sorted(singly(desk)) == [forgotten, hidden]
    assert (watched.missed, trusted(desk)) == (1, False)


async def test_a_request_that_this_ledger_never_sent_may_be_older_than_the_list(desk: Desk) -> None:
    """A ledger that was set back plans the same again, and finds it on the platform."""
    found = await send(desk, ago=3 * DAY, shown=False)
    change(desk, 1, first_sent_at=None, last_sent_at=None)
    await send(desk, ago=2 * DAY)
    desk.write(update(badge_sighting).values(seen_at=NOON - DAY))
    watched = await read(desk)
    assert singly(desk) == [found]
    assert (watched.missed, trusted(desk)) == (0, True)
