"""From which day on the list is read, what is read singly beside it, and what of that the list has missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from capillary.api.errors import PlatformUnavailable
from capillary.engine import list_controls
from capillary.engine import watch as watching
from capillary.engine.errors import HistoryUnread, LedgerBehind, ListCutShort
from capillary.engine.platform_list import LOOK_BACK, PART_DAYS
from capillary.engine.settle import settle_by_reading
from capillary.engine.single_read import AWAY
from capillary.engine.submit import submit_run
from capillary.engine.watch import Watched, cluster_day, watch
from capillary.ledger import scans
from capillary.ledger.conditions import LATE_TWIN
from capillary.ledger.history import take_as_read
from capillary.ledger.schema import badge_request, badge_sighting
from tests.unit.engine.scripted_client import LEASE, NOON, SETTINGS, ScriptedClient, row

DAY = timedelta(days=1)
LONG_AGO = LATE_TWIN + 30 * DAY


@pytest.fixture(autouse=True)
def _pages_of_two(scripted: ScriptedClient) -> None:
    scripted.settings = replace(SETTINGS, page_size=2)


async def send(scripted: ScriptedClient, *, ago: timedelta, shown: bool = True, settled: bool = False) -> str:
    """Have one request accepted so long before `NOON`; return its platform request id."""
    scripted.now[0] = NOON - ago
    number = scripted.numbered + 1
    plan = scripted.plan([number], f"run {number}")
    hidden, scripted.unlisted = scripted.unlisted, []
    scripted.listed += hidden  # a list that hides what is known has nothing sent
    await submit_run(scripted.sender, scripted.plan_id(plan.badge_run_id), lease=LEASE)
    scripted.listed, scripted.unlisted = [each for each in scripted.listed if each not in hidden], hidden
    request = scripted.requests()[-1]
    (scripted.listed if shown else scripted.unlisted).append(row(f"p-{number}", request.request_key))
    if settled:
        change(scripted, request.id, status="settled", settled_at=scripted.now[0])
    scripted.now[0] = NOON
    scripted.events.clear()
    scripted.lists.clear()
    return f"p-{number}"


async def send_and_settle(scripted: ScriptedClient, count: int, *, ago: timedelta) -> None:
    """Have requests accepted and settled: what a list from an old day on shows besides."""
    for _ in range(count):
        await send(scripted, ago=ago, settled=True)


def change(scripted: ScriptedClient, request_id: object, **values: Any) -> None:  # noqa: ANN401 - columns
    scripted.write(update(badge_request).where(badge_request.c.id == request_id).values(**values))
    if values.get("status") == "settled":  # and so decided
        decided = update(badge_sighting).where(badge_sighting.c.request_id == request_id)
        scripted.write(decided.values(terminal_seen_at=values["settled_at"]))


async def read(scripted: ScriptedClient) -> Watched:
    return await watch(scripted.ledger, scripted.sender.client, scripted.sender.runtime)


def first_day(ago: timedelta) -> date:
    """Return the first day of a list that reaches back to what was sent so long before `NOON`."""
    return cluster_day(NOON - ago, SETTINGS) - LOOK_BACK


def singly(scripted: ScriptedClient) -> list[str]:
    return [event.removeprefix("read ") for event in scripted.events if event.startswith("read ")]


def trusted(scripted: ScriptedClient) -> bool:
    with scripted.ledger.read() as tx:
        return scans.state(tx, scripted.settings.account).trusted


async def test_a_strangers_key_forges_no_line_of_the_log(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.listed.append(row("p-0", "cb1.a\nlist read: all is well"))
    watched = await read(scripted)
    assert watched.unknown_key == "cb1.a\nlist read: all is well", "what the ledger keeps is the key itself"
    assert r"the platform holds cb1.a\nlist read: all is well, which" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_forgotten_request_is_read_singly_where_that_takes_fewer_calls(scripted: ScriptedClient) -> None:
    forgotten = await send(scripted, ago=LONG_AGO, shown=False)
    await send_and_settle(scripted, 2, ago=20 * DAY)
    await send(scripted, ago=2 * DAY)
    watched = await read(scripted)
    assert [since for since, _ in scripted.lists] == [first_day(2 * DAY)]
    assert singly(scripted) == [forgotten]
    assert (watched.missed, trusted(scripted)) == (0, True), "a list that begins later has missed nothing"


async def test_its_decision_is_found_and_settled(scripted: ScriptedClient) -> None:
    forgotten = await send(scripted, ago=LONG_AGO, shown=False)
    await send_and_settle(scripted, 2, ago=20 * DAY)
    scripted.unlisted = [replace(scripted.unlisted[0], state="rejected", human_decided=True)]
    assert (await read(scripted)).settled == 1
    assert singly(scripted) == [forgotten]
    assert scripted.outcomes() == {"rejected": 1, None: 2}


async def test_the_list_is_read_from_it_on_where_that_takes_no_more_calls(scripted: ScriptedClient) -> None:
    await send(scripted, ago=LONG_AGO)
    await send_and_settle(scripted, 1, ago=20 * DAY)
    await send(scripted, ago=2 * DAY)
    await read(scripted)
    assert {since for since, _ in scripted.lists} == {
        cluster_day(NOON, SETTINGS) - PART_DAYS * DAY,
        first_day(LONG_AGO),
    }
    assert singly(scripted) == []


async def test_nothing_waits_for_long_as_long_as_a_twin_of_it_may_show(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=LATE_TWIN)
    await send_and_settle(scripted, 2, ago=5 * DAY)
    await send_and_settle(scripted, 1, ago=3 * DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(LATE_TWIN)
    scripted.now[0] += timedelta(microseconds=1)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(3 * DAY)


async def test_a_request_that_was_sent_again_of_late_is_looked_for_from_its_first_send_on(
    scripted: ScriptedClient,
) -> None:
    await send(scripted, ago=LONG_AGO)
    change(scripted, 1, resends=1, last_sent_at=NOON - LATE_TWIN)
    await send_and_settle(scripted, 4, ago=20 * DAY)
    await send(scripted, ago=2 * DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(LONG_AGO)


@pytest.mark.parametrize(
    "values",
    [
        {"status": "sending", "doubt_from": NOON},
        {"status": "settled", "settled_at": NOON - DAY, "resends": 1},
    ],
    ids=["in doubt", "of which a twin may come"],
)
async def test_what_only_the_list_can_show_is_looked_for_there(
    scripted: ScriptedClient, values: dict[str, Any]
) -> None:
    await send(scripted, ago=LONG_AGO)
    change(scripted, 1, **values)
    forgotten = await send(scripted, ago=LONG_AGO - DAY)
    await send_and_settle(scripted, 8, ago=20 * DAY)
    await send(scripted, ago=2 * DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(LONG_AGO)
    assert forgotten not in singly(scripted)


async def test_of_many_forgotten_ones_some_are_read_by_lot_and_in_the_end_all(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FORGOTTEN_READS", 2)
    old = [await send(scripted, ago=LONG_AGO - n * DAY, shown=False) for n in range(7)]
    await send_and_settle(scripted, 5, ago=20 * DAY)
    await send(scripted, ago=2 * DAY)
    looked_up = set[str]()
    runtime = scripted.sender.runtime
    for _ in range(60):
        watched = await watch(scripted.ledger, scripted.sender.client, runtime)
        assert [since for since, _ in scripted.lists] == [first_day(2 * DAY)], (
            "the list is as short as if there were none"
        )
        assert len(singly(scripted)) == 2
        assert (watched.missed, trusted(scripted)) == (0, True)
        looked_up.update(singly(scripted))
        scripted.events.clear()
        scripted.lists.clear()
        if looked_up == set(old):
            break
    assert looked_up == set(old)


async def test_what_the_list_missed_is_not_pushed_aside_by_the_forgotten(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FORGOTTEN_READS", 1)
    for n in range(3):
        await send(scripted, ago=LONG_AGO - n * DAY, shown=False)
    await send_and_settle(scripted, 5, ago=20 * DAY)
    hidden = await send(scripted, ago=2 * DAY, shown=False)
    assert ((await read(scripted)).missed, trusted(scripted)) == (1, False)
    assert hidden in singly(scripted)
    assert len(singly(scripted)) == 2


async def test_what_a_later_list_should_show_is_missed_all_the_same(scripted: ScriptedClient) -> None:
    forgotten = await send(scripted, ago=LONG_AGO, shown=False)
    await send_and_settle(scripted, 2, ago=20 * DAY)
    hidden = await send(scripted, ago=2 * DAY, shown=False)
    watched = await read(scripted)
    assert sorted(singly(scripted)) == [forgotten, hidden]
    assert (watched.missed, trusted(scripted)) == (1, False)


async def test_a_request_that_this_ledger_never_sent_may_be_older_than_the_list(scripted: ScriptedClient) -> None:
    """A ledger that was set back plans the same again, and finds it on the platform."""
    found = await send(scripted, ago=3 * DAY, shown=False)
    change(scripted, 1, first_sent_at=None, last_sent_at=None)
    await send(scripted, ago=2 * DAY)
    scripted.write(update(badge_sighting).values(seen_at=NOON - DAY))
    watched = await read(scripted)
    assert singly(scripted) == [found]
    assert (watched.missed, trusted(scripted)) == (0, True)


# Days that the platform refuses to list ----------------------------------------------------------------------


def refuse(scripted: ScriptedClient, *, most: int = 10_000, reaches: int = 10_000) -> None:
    """Have the platform refuse ranges of more days, both ends counted, and first days that lie farther back."""
    today = cluster_day(NOON, SETTINGS)
    scripted.refuses = lambda first, last: ((last or today) - first).days >= most or (today - first).days > reaches


def first_reading(scripted: ScriptedClient, *, ago: timedelta) -> None:
    """Have the account's first reading been through so long before `NOON`."""
    scripted.now[0] = NOON - ago
    with scripted.ledger.write() as tx:
        take_as_read(tx, scripted.settings.account, scripted.settings.sender, since=(NOON - ago).date())
    scripted.now[0] = NOON


async def submit_another(scripted: ScriptedClient) -> None:
    """Submit a run of today, or what is left of it."""
    plan = scripted.plan([999], "another run")
    await submit_run(scripted.sender, scripted.plan_id(plan.badge_run_id), lease=LEASE)


async def test_a_new_account_can_send_where_ranges_of_more_than_30_days_are_refused(scripted: ScriptedClient) -> None:
    refuse(scripted, most=30)
    await submit_another(scripted)
    assert scripted.statuses() == ["waiting"]
    first = first_day(timedelta()) - LOOK_BACK  # of the first control
    assert scripted.lists == [(first, None), (first, "ISSUE-BADGE")]


@pytest.mark.parametrize("first_read", [60, 2], ids=["long before", "since"])
async def test_what_another_user_sent_since_says_nothing_of_what_this_one_sent(
    scripted: ScriptedClient, first_read: int
) -> None:
    """A restored ledger has forgotten what this user sent; another one has sent under it for days."""
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=10 * DAY, settled=True)
    await send(scripted, ago=DAY, settled=True)
    change(scripted, 2, sender="another till")
    first_reading(scripted, ago=first_read * DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(min(first_read, 1) * DAY), "a poll sends nothing"
    await watch(scripted.ledger, scripted.sender.client, scripted.sender.runtime, before_sending=True)
    assert scripted.lists[-1][0] == first_day(min(first_read, 10) * DAY) - LOOK_BACK, "from before the first control"


async def test_where_nothing_is_open_a_later_first_reading_says_what_is_known(scripted: ScriptedClient) -> None:
    await send(scripted, ago=10 * DAY, settled=True)
    first_reading(scripted, ago=DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(DAY)


async def test_an_account_without_requests_is_read_from_its_first_reading_on(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=400 * DAY)
    await read(scripted)
    assert scripted.lists[-1] == (first_day(400 * DAY), "ISSUE-BADGE")


@pytest.mark.parametrize("settled", [True, False])
async def test_an_old_request_is_reached_in_parts(scripted: ScriptedClient, settled: bool) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=40 * DAY, settled=settled)
    refuse(scripted, most=30)
    watched = await read(scripted)
    assert (watched.read.to_the_end, watched.reaches_back, watched.refused_before) == (True, True, None)
    today = cluster_day(NOON, SETTINGS)
    oldest = first_day(40 * DAY)
    asked = [since for since, _ in scripted.lists]
    assert asked == [today - PART_DAYS * DAY, oldest, oldest], "the parts, and the whole"
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_what_is_open_before_the_refused_days_is_read_singly(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=200 * DAY)
    old = await send(scripted, ago=100 * DAY, shown=False)
    await send(scripted, ago=20 * DAY)
    refuse(scripted, reaches=90)
    watched = await read(scripted)
    assert singly(scripted) == [old]
    assert watched.refused_before is not None
    assert (watched.read.to_the_end, watched.reaches_back) == (True, True)
    assert (watched.missed, trusted(scripted)) == (0, True), "days that are not listed have missed nothing"
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_what_the_listed_days_should_show_is_missed_all_the_same(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=200 * DAY)
    await send(scripted, ago=100 * DAY, shown=False)
    await send(scripted, ago=20 * DAY, shown=False)
    refuse(scripted, reaches=90)
    assert ((await read(scripted)).missed, trusted(scripted)) == (1, False)


async def test_nothing_is_sent_where_what_was_forgotten_may_stand_on_refused_days(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=200 * DAY)
    await send(scripted, ago=100 * DAY, settled=True)
    refuse(scripted, reaches=90)
    assert not (await read(scripted)).reaches_back
    with pytest.raises(HistoryUnread, match=r"--since <day>"):
        await submit_another(scripted)
    assert scripted.statuses()[-1] == "planned"
    first_reading(scripted, ago=timedelta())  # a person says that nothing stands there
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_a_first_reading_that_lies_ahead_says_nothing_of_when_the_list_was_known(
    scripted: ScriptedClient,
) -> None:
    first_reading(scripted, ago=-9 * DAY)
    await read(scripted)
    assert scripted.lists[-1][0] == first_day(watching._FIRST_LOOK)


def made_at(moment: datetime) -> str:
    """Return a platform request id that was made then."""
    ticks = int((moment - datetime(1582, 10, 15, tzinfo=UTC)) / timedelta(microseconds=1)) * 10
    return str(UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 | 0x1000, 0x80, 0, 1)))


async def since_before_sending(scripted: ScriptedClient) -> date:
    """Return from which day on the list is read before anything is sent."""
    scripted.lists.clear()
    await watch(scripted.ledger, scripted.sender.client, scripted.sender.runtime, before_sending=True)
    return min(since for since, _ in scripted.lists)


async def send_with_a_wrong_clock(
    scripted: ScriptedClient, *, ago: timedelta, by_the_ledger: timedelta, name: str
) -> None:
    """Have one request settled that was sent so long ago, and by the ledger's clock of then at another time."""
    shown = await send(scripted, ago=ago, settled=True)
    sent_at = NOON - by_the_ledger
    change(scripted, scripted.requests()[-1].id, first_sent_at=sent_at, last_sent_at=sent_at)
    known = badge_sighting.c.platform_request_id == shown
    scripted.write(update(badge_sighting).where(known).values(platform_request_id=name))
    scripted.listed = [
        replace(each, platform_request_id=name) if each.platform_request_id == shown else each
        for each in scripted.listed
    ]


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), 3 * DAY, 9 * DAY, 50 * DAY])
async def test_what_was_sent_while_the_clock_was_ahead_is_as_old_as_the_platform_says(
    scripted: ScriptedClient, ahead: timedelta
) -> None:
    """A ledger that was restored later took its newest request for one of today, and sent what lay between."""
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=20 * DAY, settled=True)
    await send_with_a_wrong_clock(scripted, ago=10 * DAY, by_the_ledger=10 * DAY - ahead, name=made_at(NOON - 10 * DAY))
    assert await since_before_sending(scripted) == first_day(10 * DAY) - LOOK_BACK


async def test_what_was_sent_ahead_and_tells_no_time_is_passed_over(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=20 * DAY, settled=True)
    await send_with_a_wrong_clock(scripted, ago=10 * DAY, by_the_ledger=-5 * DAY, name="p-2")
    assert await since_before_sending(scripted) == first_day(20 * DAY) - LOOK_BACK


async def test_a_clock_that_was_behind_has_the_list_read_from_earlier_on(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send_with_a_wrong_clock(scripted, ago=10 * DAY, by_the_ledger=14 * DAY, name=made_at(NOON - 10 * DAY))
    assert await since_before_sending(scripted) == first_day(14 * DAY) - LOOK_BACK


async def test_an_id_of_the_future_makes_nothing_younger(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send_with_a_wrong_clock(scripted, ago=10 * DAY, by_the_ledger=10 * DAY, name=made_at(NOON + 10 * DAY))
    assert await since_before_sending(scripted) == first_day(10 * DAY) - LOOK_BACK


async def test_of_twins_the_first_one_tells_when_it_was_sent(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send_with_a_wrong_clock(scripted, ago=10 * DAY, by_the_ledger=DAY, name=made_at(NOON - 10 * DAY))
    request = scripted.requests()[-1]
    scripted.write(
        insert(badge_sighting).values(
            platform_request_id=made_at(NOON - 2 * DAY),
            request_id=request.id,
            state="approved",
            auto_approved=False,
            seen_at=NOON,
            terminal_seen_at=NOON,
        )
    )
    scripted.listed.append(row(made_at(NOON - 2 * DAY), request.request_key, "approved"))
    assert await since_before_sending(scripted) == first_day(10 * DAY) - LOOK_BACK


# Single reads that the platform refuses ----------------------------------------------------------------------


async def test_a_refused_single_read_stops_no_other_one(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    gone = await send(scripted, ago=2 * DAY, shown=False)
    other = await send(scripted, ago=2 * DAY, shown=False)
    scripted.unlisted = [replace(each, state="rejected", human_decided=True) for each in scripted.unlisted]
    scripted.refused_reads = {gone}
    assert (await read(scripted)).settled == 1
    assert sorted(singly(scripted)) == [gone, other]
    assert scripted.statuses() == ["waiting", "settled"]
    assert scripted.outcomes() == {None: 1, "rejected": 1}, "what was not shown is not an outcome"
    assert f"refuses to show request {gone} (HTTP 404, code None)" in caplog.text
    scripted.listed, scripted.unlisted = scripted.unlisted[1:], scripted.unlisted[:1]
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_a_single_read_that_stays_unreadable_stops_no_other_one(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A platform may tell of a request that is gone by HTTP 200 without data."""
    gone = await send(scripted, ago=2 * DAY, shown=False)
    await send(scripted, ago=2 * DAY, shown=False)
    scripted.unlisted = [replace(each, state="rejected", human_decided=True) for each in scripted.unlisted]
    scripted.unreadable_reads = {gone}
    assert (await read(scripted)).settled == 1
    assert scripted.statuses() == ["waiting", "settled"]
    assert f"request {gone} stays unreadable" in caplog.text


async def test_a_single_read_that_always_fails_stops_no_other_one(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of them, at either end of those that are shown."""
    requests = [await send(scripted, ago=2 * DAY, shown=False) for _ in range(4)]
    scripted.unlisted = [replace(each, state="rejected", human_decided=True) for each in scripted.unlisted]
    scripted.failing_reads = {requests[0]: 500, requests[-1]: 500}
    assert (await read(scripted)).settled == 2
    assert scripted.statuses() == ["waiting", "settled", "settled", "waiting"]
    assert f"request {requests[0]} cannot be read" in caplog.text
    scripted.failing_reads = {}
    assert (await read(scripted)).settled == 2


@pytest.mark.parametrize(("status", "asked"), [(500, AWAY), (502, 1), (503, 1), (504, 1), (429, 1)])
async def test_a_platform_that_is_away_ends_the_look(scripted: ScriptedClient, status: int, asked: int) -> None:
    requests = [await send(scripted, ago=2 * DAY, shown=False) for _ in range(AWAY + 1)]
    scripted.failing_reads = dict.fromkeys(requests, status)
    with pytest.raises(PlatformUnavailable):
        await read(scripted)
    assert len(singly(scripted)) == asked
    assert set(scripted.statuses()) == {"waiting"}


async def test_a_request_of_which_one_twin_is_refused_stays_waiting(scripted: ScriptedClient) -> None:
    gone = await send(scripted, ago=2 * DAY)
    await send(scripted, ago=2 * DAY)
    scripted.listed = [replace(each, state="rejected", human_decided=True) for each in scripted.listed]
    scripted.listed.append(replace(scripted.listed[0], platform_request_id="p-twin"))
    sender = scripted.sender
    await watch(scripted.ledger, sender.client, sender.runtime, settle=False)
    scripted.refused_reads = {gone}
    assert await settle_by_reading(scripted.ledger, sender.client, sender.runtime, [1, 2]) == 1
    assert scripted.statuses() == ["waiting", "settled"]
    scripted.refused_reads = set()
    assert await settle_by_reading(scripted.ledger, sender.client, sender.runtime, [1]) == 1


async def test_a_list_that_is_not_read_to_its_end_is_told(
    scripted: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, ago=DAY)
    await read(scripted)
    assert "not read to its end" not in caplog.text
    scripted.cut_short, scripted.cut_short_of = 1, "ISSUE-BADGE"
    await read(scripted)
    assert "the list of platform.example/100 was not read to its end (1 page, 1 row)" in caplog.text


@pytest.mark.parametrize(
    "state", ["APPROVED", "Approved", "Success", "FAILURE", "rejected.", "CANCELLED", "Auto_Approved"]
)
async def test_a_state_that_reads_as_an_end_and_is_none_waits_and_is_told(
    scripted: ScriptedClient, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, ago=DAY)
    scripted.listed = [replace(each, state=state) for each in scripted.listed]
    await read(scripted)
    assert scripted.statuses() == ["waiting"]
    assert (
        f"1 request of platform.example/100 is in a state whose name sounds final ('{state}') but is none of "
        "approved, failed, rejected, so it counts as waiting"
    ) in caplog.text


@pytest.mark.parametrize("state", ["AdminTask", "ZoneTask", "Pending", "Executing", "approved"])
async def test_other_states_are_told_of_nobody(
    scripted: ScriptedClient, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    await send(scripted, ago=DAY)
    scripted.listed = [replace(each, state=state) for each in scripted.listed]
    await read(scripted)
    assert "reads as if" not in caplog.text


# Lists that hide what is known ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["what waits", "what is decided", "what is settled"])
async def test_nothing_is_sent_on_a_list_that_hides_what_this_ledger_knows(
    scripted: ScriptedClient, hidden: str
) -> None:
    await send(scripted, ago=DAY, shown=False, settled=hidden == "what is settled")
    if hidden == "what is decided":
        scripted.write(update(badge_sighting).values(terminal_seen_at=NOON, state="approved"))
    with pytest.raises(ListCutShort, match=r"does not show 1 request of ours that a single read shows"):
        await submit_another(scripted)
    assert scripted.statuses()[-1] == "planned"
    scripted.listed, scripted.unlisted = scripted.unlisted, []
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


@pytest.mark.parametrize("hidden", ["what waits", "what is settled"])
@pytest.mark.parametrize("read_is", ["403", "500 forever", "404 of an address that shows nobody"])
async def test_a_single_read_without_an_answer_does_not_say_that_the_request_is_gone(
    scripted: ScriptedClient, hidden: str, read_is: str
) -> None:
    first = await send(scripted, ago=DAY, shown=False, settled=hidden == "what is settled")
    other = await send(scripted, ago=DAY)
    if read_is == "500 forever":
        scripted.unreadable_reads = {first}
    else:
        scripted.refused_with = int(read_is.split(maxsplit=1)[0])
        scripted.refused_reads = {first, other} if "nobody" in read_is else {first}
    with pytest.raises(ListCutShort, match="refuses to show"):
        await submit_another(scripted)
    assert scripted.statuses()[-1] == "planned"


@pytest.mark.parametrize("status", [404, 410])
async def test_a_bare_404_says_that_a_request_is_gone_where_other_single_reads_are_answered(
    scripted: ScriptedClient, status: int
) -> None:
    scripted.refused_reads, scripted.refused_with = {await send(scripted, ago=DAY, shown=False)}, status
    await send(scripted, ago=DAY)
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


@pytest.mark.parametrize("why", ["gone", "young", "another's", "old", "found"])
async def test_what_says_nothing_of_the_list_stops_nothing(scripted: ScriptedClient, why: str) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=20 * DAY if why == "old" else DAY, shown=False, settled=True)
    if why == "old":
        await send(scripted, ago=DAY)
    elif why == "gone":
        scripted.unlisted, scripted.taken = [], []
    elif why == "young":
        lag = timedelta(seconds=scripted.settings.visibility_lag_s)
        scripted.write(update(badge_sighting).values(seen_at=NOON - lag))
    else:
        change(scripted, 1, **({"tries": 0} if why == "found" else {"sender": "another till"}))
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_of_many_hidden_ones_some_are_looked_up(
    scripted: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_controls, "CONTROLS", 2)
    for _ in range(5):
        await send(scripted, ago=DAY, shown=False, settled=True)
    scripted.events.clear()
    watched = await watch(scripted.ledger, scripted.sender.client, scripted.sender.runtime, before_sending=True)
    assert (watched.missed, len(singly(scripted))) == (2, 2)


# A list without details --------------------------------------------------------------------------------------

FORGOTTEN = "cb1.forgotten.0123456789abcdef0123456789abcdef"


async def test_what_a_restored_ledger_forgot_shows_though_the_filter_of_the_type_matches_nothing(
    scripted: ScriptedClient,
) -> None:
    await send(scripted, ago=DAY)
    scripted.listed.append(row("p-forgotten", FORGOTTEN))
    scripted.misread_types = frozenset({"ISSUE-BADGE"})
    with pytest.raises(LedgerBehind, match=FORGOTTEN):
        await submit_another(scripted)
    assert scripted.posts[1:] == []


@pytest.mark.parametrize("state", ["AdminTask", "approved", "failed", "ZoneTask"])
async def test_what_a_restored_ledger_forgot_shows_behind_a_lean_list(scripted: ScriptedClient, state: str) -> None:
    await send(scripted, ago=DAY)
    scripted.listed.append(row("p-forgotten", FORGOTTEN, state))
    scripted.lean = True
    with pytest.raises(LedgerBehind, match=FORGOTTEN):
        await submit_another(scripted)
    assert singly(scripted) == ["p-forgotten"], "what the ledger knows is not asked for"
    assert scripted.posts[1:] == []


async def test_what_stays_dark_holds_submitting_until_a_person_looks(scripted: ScriptedClient) -> None:
    await send(scripted, ago=DAY)
    scripted.listed += [row("p-dark", None), row("p-other", None)]
    scripted.lean = True
    with pytest.raises(LedgerBehind, match=r"p-(dark|other) and 1 more.*--not-ours p-"):
        await submit_another(scripted)
    with scripted.ledger.write() as tx:
        for each in ("p-dark", "p-other"):
            scans.note_not_ours(tx, scripted.settings.account, each, by="a person")
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_what_a_later_reading_lights_up_holds_nothing_any_more(scripted: ScriptedClient) -> None:
    await send(scripted, ago=DAY)
    scripted.lean = True
    scripted.listed.append(row("p-slow", None))
    with pytest.raises(LedgerBehind):
        await submit_another(scripted)
    scripted.listed[-1] = replace(scripted.listed[-1], request_key="somebody's", customers=(5,))
    await submit_another(scripted)
    assert scripted.statuses()[-1] == "waiting"


async def test_only_what_this_ledger_may_have_forgotten_is_looked_behind(scripted: ScriptedClient) -> None:
    first_reading(scripted, ago=60 * DAY)
    await send(scripted, ago=20 * DAY)
    for ago in (19 * DAY, 3 * DAY):
        made_at = NOON - ago
        scripted.listed.append(replace(row(f"made {ago.days} days ago", "somebody's"), created_at=made_at))
    await send(scripted, ago=5 * DAY)
    scripted.lean = True
    await submit_another(scripted)
    assert singly(scripted) == ["made 3 days ago"], "what was sent before the newest request it knows it knew"


async def test_a_poll_looks_behind_nothing(scripted: ScriptedClient) -> None:
    await send(scripted, ago=DAY)
    scripted.listed.append(row("p-forgotten", FORGOTTEN))
    scripted.lean = True
    assert (await read(scripted)).unknown_key is None
    assert singly(scripted) == []


# The first day -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hour", range(0, 24, 3))
async def test_an_excluded_first_day_and_a_zone_set_wrong_hide_no_open_request(
    scripted: ScriptedClient, hour: int
) -> None:
    """The connection says UTC, the cluster is 8 hours west of it, and the platform leaves `startDate` out."""
    scripted.settings = replace(scripted.settings, cluster_timezone="UTC")
    sent_at = NOON.replace(hour=hour, minute=5) - 3 * DAY
    await send(scripted, ago=NOON - sent_at)
    await read(scripted)
    its_day = (sent_at - timedelta(hours=8)).date()
    assert scripted.lists[-1][0] < its_day


# What was found and not sent ---------------------------------------------------------------------------------


async def test_what_a_restored_ledger_found_hides_nothing_that_was_sent_before_it(scripted: ScriptedClient) -> None:
    """What it found young says nothing of what else was sent since the backup: the list is read from there on."""
    first_reading(scripted, ago=60 * DAY)
    known = await send(scripted, ago=40 * DAY, settled=True)
    await send(scripted, ago=DAY)
    change(scripted, 2, tries=0, sender=None)
    await read(scripted)
    assert scripted.lists[-1][0] <= first_day(40 * DAY), known


async def test_a_ledger_that_found_all_that_it_holds_is_read_from_what_it_knew(scripted: ScriptedClient) -> None:
    await send(scripted, ago=LONG_AGO)
    change(scripted, 1, tries=0, sender=None)
    await send_and_settle(scripted, 3, ago=LONG_AGO)
    scripted.write(update(badge_request).values(tries=0, sender=None))
    watched = await read(scripted)
    assert watched.reaches_back
