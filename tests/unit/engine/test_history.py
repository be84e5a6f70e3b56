"""An account's first reading: how far it goes, what it costs, what it survives, and what holds everything back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.request_workflow import Page, WorkflowRequest
from capillary.engine import history as reading
from capillary.engine.errors import HistoryUnread, ListCutShort
from capillary.engine.history import DAYS_AT_ONCE, FRUITLESS, PAGES_AT_ONCE, READINGS, read_history
from capillary.engine.runtime import Runtime
from capillary.ledger import history, scans, unknown_keys
from capillary.ledger.database import Transaction
from capillary.ledger.history import GOES_BACK
from tests.unit.engine.scripted_client import NOON, SETTINGS, ScriptedClient, row

DAY = timedelta(days=1)
TODAY = NOON.date()
FIRST = TODAY - GOES_BACK
ACCOUNT = SETTINGS.account
SENDER = SETTINGS.sender
KEY = "cb1.forgotten.0123456789abcdef0123456789abcdef"
REFUSED = CallRefused(what="list of requests", reason="startDate is too old", http_status=400)


@dataclass
class Platform:
    """A list that can be asked for days. `refuses` and `fails` look at the first and the last day asked for."""

    scripted: ScriptedClient
    rows: list[tuple[date, WorkflowRequest]] = field(default_factory=list)
    page_size: int = 2
    asked: list[tuple[date, date | None, int]] = field(default_factory=list)
    refuses: Callable[[date, date | None, int], bool] = lambda _first, _last, _page: False
    fails: Callable[[date, date | None], Exception | None] = lambda _first, _last: None
    ignores_last_day: bool = False
    most_days: int | None = None
    keeps_first: bool = False
    last_day_hides_open_ones: bool = False
    claims_more: int = 0
    lists_typed_alone: bool = False
    hides_keys: bool = False
    lean: bool = False
    refuses_to_show: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    read_singly: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    settings = SETTINGS

    def add(self, day: date, key: str | None = None, state: str = "approved") -> None:
        number = len(self.rows) + 1
        made = row(f"p-{number}", key or f"somebody's {number}", state)
        self.rows.append((day, replace(made, created_at=datetime(day.year, day.month, day.day, 6, tzinfo=UTC))))

    async def list_requests(
        self,
        *,
        page: int,
        start_date: date,
        end_date: date | None = None,
        request_type: str | None = None,
        **_: object,
    ) -> Page:
        if request_type is None:
            self.asked.append((start_date, end_date, page))
            if self.lists_typed_alone:
                return Page((), 0, page, total_pages=0, total_elements=0)
        else:  # at the end, whether the list has more of the type than it has shown
            assert (request_type, end_date) == ("ISSUE-BADGE", None)
        if error := self.fails(start_date, end_date):
            raise error
        if self.refuses(start_date, end_date, page):
            raise REFUSED
        first, last = start_date, date.max if end_date is None or self.ignores_last_day else end_date
        if self.most_days is not None and min(last, TODAY) - first > self.most_days * DAY:
            if self.keeps_first:
                last = first + self.most_days * DAY
            else:
                first = min(last, TODAY) - self.most_days * DAY
        found = [each for day, each in sorted(self.rows, key=lambda r: r[0]) if first <= day <= last]
        if self.last_day_hides_open_ones and end_date is not None:
            found = [each for each in found if each.state != "AdminTask"]
        if self.hides_keys:
            found = [replace(each, request_key=None, customers=(1,)) for each in found]
        if self.lean:
            found = [replace(each, request_key=None, customers=None, badge_id=None) for each in found]
        shown = found[page * self.page_size : (page + 1) * self.page_size]
        more, self.claims_more = min(self.claims_more, 1), max(self.claims_more - 1, 0)
        pages = -(-len(found) // self.page_size)
        return Page(tuple(shown), 0, page, total_pages=pages, total_elements=len(found) + more)

    async def read_request(self, platform_request_id: str) -> WorkflowRequest:
        self.read_singly.append(platform_request_id)
        if platform_request_id in self.refuses_to_show:
            raise REFUSED
        if platform_request_id in self.unreadable:
            raise ReplyUnreadable(what="one request", reason="the answer is not JSON")
        return next(each for _, each in self.rows if each.platform_request_id == platform_request_id)

    async def read(self, alive: Callable[[Transaction], None] = lambda _: None) -> None:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.scripted.now[0] += timedelta(seconds=seconds)
            self.on_sleep()

        runtime = Runtime(sleep=sleep, monotonic=lambda: 0.0, random=Random(1))  # noqa: S311 - no secret
        await read_history(self.scripted.ledger, cast("Client", self), runtime, alive=alive)

    def days_shown(self) -> set[date]:
        """Return the days that one of the answered calls asked for."""
        shown = set[date]()
        for first, last, _ in self.asked:
            if not self.refuses(first, last, 0):
                shown.update(first + n * DAY for n in range(((last or TODAY) - first).days + 1))
        return shown


@pytest.fixture
def platform(scripted: ScriptedClient) -> Platform:
    """A platform whose account the client's ledger has never seen."""
    with scripted.ledger.write() as tx:
        tx.conn.exec_driver_sql("DELETE FROM badge_history")
    return Platform(scripted)


def stands(platform: Platform) -> history.History:
    with platform.scripted.ledger.read() as tx:
        return history.history(tx, ACCOUNT, SENDER)


def unknown_key(platform: Platform) -> str | None:
    with platform.scripted.ledger.read() as tx:
        return next((each.key for each in unknown_keys.unknown_keys(tx, ACCOUNT)), None)


def unknown_keys_of(platform: Platform) -> set[str]:
    with platform.scripted.ledger.read() as tx:
        return {each.key for each in unknown_keys.unknown_keys(tx, ACCOUNT)}


async def test_an_empty_list_costs_a_call_for_each_part_and_one_for_the_whole(platform: Platform) -> None:
    await platform.read()
    *parts, whole = platform.asked
    assert whole == (FIRST - DAY, None, 0)
    assert (parts[0][0], parts[-1][1]) == (FIRST - DAY, None)
    for (_, last, _), (first, _, _) in pairwise(parts):
        assert last is not None
        assert last - first == DAY
    assert len(parts) < 2 * GOES_BACK.days / DAYS_AT_ONCE
    assert stands(platform).read_at == NOON


@pytest.mark.parametrize("most", [31, 45, 90, 365])
@pytest.mark.parametrize("keeps", ["the first days", "the last days"])
@pytest.mark.parametrize("ago", [10, 60, 200, 1500])
async def test_a_platform_that_answers_a_part_of_a_long_range_hides_nothing(
    platform: Platform, most: int, keeps: str, ago: int
) -> None:
    """It takes so many days of what is asked for, and says nothing of the others."""
    platform.most_days = most
    platform.keeps_first = keeps == "the first days"
    platform.add(TODAY - ago * DAY, KEY)
    await platform.read()
    assert unknown_key(platform) == KEY
    assert stands(platform).read_at is not None


@pytest.mark.parametrize("ago", [0, 3, 60, 1500])
async def test_a_last_day_that_is_held_against_the_end_of_a_request_hides_none_that_waits(
    platform: Platform, ago: int
) -> None:
    """What waits for its human has no end, and is in no list that has a last day."""
    for day in range(0, 1800, 40):
        platform.add(TODAY - day * DAY)
    platform.add(TODAY - ago * DAY, KEY, "AdminTask")
    platform.last_day_hides_open_ones = True
    await platform.read()
    assert unknown_key(platform) == KEY
    assert stands(platform).read_at is not None


@pytest.mark.parametrize("page", [0, 2])
async def test_a_list_that_is_refused_as_a_whole_but_not_in_parts_is_read(platform: Platform, page: int) -> None:
    for ago in range(300):
        platform.add(TODAY - ago * DAY, KEY if ago == 280 else None)

    def refuses(first: date, last: date | None, at: int) -> bool:
        return ((last or TODAY) - first).days > 100 and at >= page

    platform.refuses = refuses
    await platform.read()
    assert unknown_key(platform) == KEY
    assert stands(platform).read_at is not None


async def test_it_is_read_once_for_ever(platform: Platform) -> None:
    await platform.read()
    platform.asked.clear()
    platform.scripted.now[0] += timedelta(days=400)
    await platform.read()
    assert platform.asked == []


@pytest.mark.parametrize("ago", [0, 1, 29, 30, 31, 60, 400, 5 * 365])
async def test_a_forgotten_request_is_found_however_old_it_is(platform: Platform, ago: int) -> None:
    platform.add(TODAY - ago * DAY, KEY)
    await platform.read()
    assert unknown_key(platform) == KEY


async def test_keys_of_others_matter_nothing(platform: Platform) -> None:
    platform.add(TODAY - 60 * DAY)
    platform.rows.append((TODAY - 50 * DAY, replace(row("p-by-hand", None), customers=(7,))))
    await platform.read()
    assert unknown_key(platform) is None
    assert stands(platform).read_at is not None


async def test_a_long_list_is_read_in_parts_that_are_written_down(platform: Platform) -> None:
    for ago in range(300):
        platform.add(TODAY - ago * DAY)
    steps: list[date | None] = []
    await platform.read(lambda _: steps.append(stands(platform).next_day))
    ends = {step for step in steps if step and step > TODAY - 300 * DAY}
    assert len(ends) >= 300 / platform.page_size / PAGES_AT_ONCE
    assert stands(platform).read_at is not None
    assert len(platform.asked) < 2 * 300 / platform.page_size, "few calls more than the pages"


async def test_a_single_day_is_never_cut(platform: Platform) -> None:
    for _ in range(2 * (PAGES_AT_ONCE + 5)):
        platform.add(TODAY - 90 * DAY)
    platform.add(TODAY - 90 * DAY, KEY)
    await platform.read()
    assert unknown_key(platform) == KEY


async def test_a_killed_reading_goes_on_where_it_was(platform: Platform) -> None:
    for ago in range(300):
        platform.add(TODAY - ago * DAY)
    killed_at = TODAY - 100 * DAY

    def dies(tx: Transaction) -> None:
        if (stands(platform).next_day or FIRST) > killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await platform.read(dies)
    at = stands(platform).next_day
    assert at is not None
    assert at > killed_at
    platform.asked.clear()
    platform.scripted.now[0] += scans.LEASE  # a killed task keeps the turn for so long
    await platform.read()
    assert min(first for first, last, _ in platform.asked if last) == at - DAY
    assert (FIRST - DAY, None, 0) in platform.asked, "what it had read does not count for the list as a whole"
    assert stands(platform).read_at is not None


async def test_each_part_overlaps_the_next_by_a_day_and_the_last_has_no_end(platform: Platform) -> None:
    """Whether the platform includes the days it is given, and of which time zone they are, it does not say."""
    for ago in range(0, 600, 2):
        platform.add(TODAY - ago * DAY)
    await platform.read()
    read = [(first, last) for first, last, page in platform.asked if page > 0]
    parts = sorted(set(read), key=lambda part: part[0])
    assert len(parts) > 5
    for (_, last), (first, _) in pairwise(parts):
        assert last is not None
        assert last - first == DAY, "the last day of the one and the first of the other are in both"
    assert parts[-1][1] is None


async def test_a_list_that_does_not_look_at_the_last_day_is_read_once(platform: Platform) -> None:
    platform.ignores_last_day = True
    for ago in range(0, 200, 1):
        platform.add(TODAY - ago * DAY, KEY if ago == 150 else None)
    await platform.read()
    assert unknown_key(platform) == KEY
    assert len(platform.asked) < 3 * 100 + 20


@pytest.mark.parametrize(
    ("ahead", "again"), [(timedelta(seconds=30), False), (2 * scans.CLOCK_JUMP, True), (60 * DAY, True)]
)
async def test_a_reading_that_ended_in_the_future_is_done_again(
    platform: Platform, ahead: timedelta, *, again: bool
) -> None:
    """The clock was ahead then, and nobody knows when it was: a restored ledger sent what was sent after it."""
    platform.scripted.now[0] += ahead
    await platform.read()
    platform.scripted.now[0] -= ahead
    platform.add(TODAY - 6 * DAY, KEY)
    asked = len(platform.asked)
    await platform.read()
    assert (len(platform.asked) > asked) is again
    assert unknown_key(platform) == (KEY if again else None)
    assert stands(platform).read_at is not None
    asked = len(platform.asked)
    await platform.read()
    assert len(platform.asked) == asked


@pytest.mark.parametrize("at_once", [40, 90, 400])
@pytest.mark.parametrize("ago", [3, 41, 100, 399])
async def test_a_list_that_looks_at_no_last_day_and_ends_in_silence_is_read_on_from_there(
    platform: Platform, at_once: int, ago: int
) -> None:
    """It shows later days than those asked for, but not all of them: what lay behind was taken as read, and sent."""
    platform.ignores_last_day, platform.keeps_first, platform.most_days = True, True, at_once
    for day in sorted({*range(0, 1200, 10), ago}):
        platform.add(TODAY - day * DAY, KEY if day == ago else None, "AdminTask" if day == ago else "approved")
    await platform.read()
    assert unknown_key(platform) == KEY


async def test_an_id_that_says_a_wrong_time_ends_nothing(platform: Platform) -> None:
    """Requests that were moved may have new ids; that one of them looks young proves nothing of the last day."""
    for ago in range(300):
        platform.add(TODAY - ago * DAY, KEY if ago == 3 else None)
    platform.rows[250] = (platform.rows[250][0], replace(platform.rows[250][1], created_at=NOON - 2 * DAY))
    await platform.read()
    assert unknown_key(platform) == KEY


@pytest.mark.parametrize("ago", [0, 60, 1500])
async def test_a_list_without_details_hides_no_key(platform: Platform, ago: int) -> None:
    """Each of its rows is read singly, and one that is refused keeps none of the others from being read."""
    for day in range(0, 1800, 200):
        platform.add(TODAY - day * DAY)
    platform.refuses_to_show = {"p-1", "p-2"}
    platform.add(TODAY - ago * DAY, KEY)
    platform.lean = True
    await platform.read()
    assert unknown_keys_of(platform) == {KEY, "p-1", "p-2"}, "what is not shown may be ours as well"
    assert stands(platform).read_at is not None
    assert {f"p-{number}" for number in range(1, 11)} == set(platform.read_singly)


@pytest.mark.parametrize(
    ("shown", "stops"),
    [
        ({}, True),
        ({"customers": ()}, True),
        ({"customers": (1,)}, False),
        ({"request_key": "somebody's"}, False),
        ({"badge_id": "b"}, False),  # ours say more than a badge
        ({"state": "rejected"}, False),
        ({"state": "approved"}, True),
        ({"request_type": "EARN-BADGE"}, True),  # a type may be another one's by mistake
        ({"wraps_issue_bulk": False}, False),
        ({"request_type": ""}, True),
    ],
)
async def test_a_row_that_stays_dark_stops_submitting(platform: Platform, shown: dict[str, Any], stops: bool) -> None:
    platform.rows.append((TODAY - 50 * DAY, replace(row("p-dark", None), **shown)))
    platform.lean = True
    await platform.read()
    assert unknown_keys_of(platform) == ({"p-dark"} if stops else set())
    assert stands(platform).read_at is not None


async def test_a_single_read_that_stays_unreadable_ends_the_reading_all_the_same(platform: Platform) -> None:
    platform.add(TODAY - 50 * DAY)
    platform.lean, platform.unreadable = True, {"p-1"}
    await platform.read()
    assert unknown_keys_of(platform) == {"p-1"}
    assert stands(platform).read_at is not None


async def test_what_a_person_called_not_ours_is_not_asked_for_again(platform: Platform) -> None:
    platform.add(TODAY - 50 * DAY)
    platform.lean, platform.refuses_to_show = True, {"p-1"}
    settings = platform.settings
    with platform.scripted.ledger.write() as tx:
        scans.note_not_ours(tx, settings.account, "p-1", by="a person")
    await platform.read()
    assert (unknown_keys_of(platform), platform.read_singly) == (set(), [])


async def test_rows_without_a_key_are_read_singly_and_others_not(platform: Platform) -> None:
    platform.add(TODAY - 3 * DAY)
    platform.rows.append((TODAY, replace(row("by-hand", None), customers=(1,))))
    platform.rows.append((TODAY, replace(row("another-call", None), wraps_issue_bulk=False)))
    await platform.read()
    assert platform.read_singly == ["by-hand"]


async def test_a_key_that_only_a_single_read_shows_is_found(platform: Platform) -> None:
    """The list may show badge and customers and leave the key out."""
    platform.add(TODAY - 3 * DAY, KEY)
    platform.hides_keys = True
    await platform.read()
    assert unknown_keys_of(platform) == {KEY}


async def test_a_platform_that_lists_nothing_where_no_type_is_asked_for_is_read_with_ours(platform: Platform) -> None:
    platform.add(TODAY - 400 * DAY, KEY)
    platform.lists_typed_alone = True
    await platform.read()
    assert unknown_keys_of(platform) == {KEY}
    assert stands(platform).read_at is not None


@pytest.mark.parametrize(
    "error", [PlatformUnavailable(what="list", reason="504"), ReplyUnreadable(what="list", reason="HTML")]
)
@pytest.mark.parametrize("most", [27, 14, 10, 1])
async def test_ranges_that_get_no_answer_are_halved(platform: Platform, error: Exception, most: int) -> None:
    platform.add(TODAY - 300 * DAY, KEY)
    platform.fails = lambda first, last: error if ((last or TODAY) - first).days > most + 1 else None
    await platform.read()
    assert unknown_keys_of(platform) == {KEY}
    assert stands(platform).read_at is not None
    assert platform.slept == []


async def test_a_day_that_never_gets_an_answer_ends_the_reading_by_name(platform: Platform) -> None:
    bad = TODAY - 100 * DAY
    gone = PlatformUnavailable(what="list", reason="gateway timeout")
    platform.fails = lambda first, last: gone if first <= bad <= (last or TODAY) else None
    with pytest.raises(ListCutShort, match=r"does not answer when asked for the list of [0-9-]+.*ledger import --dags"):
        await platform.read()
    assert stands(platform).read_at is None


# Refused days -----------------------------------------------------------------------------------------------


async def test_a_refused_range_is_halved_and_what_stays_refused_is_named(platform: Platform) -> None:
    oldest_shown = TODAY - 90 * DAY
    platform.refuses = lambda first, _last, _page: first < oldest_shown
    platform.add(TODAY - 80 * DAY, KEY)
    with pytest.raises(HistoryUnread) as caught:
        await platform.read()
    assert f"of {FIRST} to {oldest_shown} to this user" in str(caught.value), (
        "each day is asked for with the one before"
    )
    assert "ledger import --dags <folder> --since <day>" in str(caught.value)
    assert stands(platform).read_at is None
    assert unknown_key(platform) == KEY, "what is shown is read all the same"
    assert len(platform.asked) < 5 * GOES_BACK.days / DAYS_AT_ONCE, "none between two refused days is asked for"


@pytest.mark.parametrize("bad", [[200], [3], [200, 500], [3, 4]])
async def test_single_days_that_are_refused_are_named_and_the_others_read(platform: Platform, bad: list[int]) -> None:
    days = [TODAY - ago * DAY for ago in bad]

    def refuses(first: date, last: date | None, _page: int) -> bool:
        return any(first <= day <= (last or TODAY) for day in days)

    platform.refuses = refuses
    with pytest.raises(HistoryUnread):
        await platform.read()
    unread = stands(platform).unread or ""
    named = {day for each in history._parsed(unread) for day in (each.first, each.last)}
    assert all(any(each.first <= day <= each.last for each in history._parsed(unread)) for day in days)
    assert all(min(abs(day - bad_day) for bad_day in days) <= DAY for day in named), "with their neighbours at most"
    assert platform.days_shown() >= {FIRST, TODAY, *(TODAY - ago * DAY for ago in range(600, 1800))}


async def test_a_page_that_is_refused_refuses_its_range(platform: Platform) -> None:
    """Some lists end after so many rows, whatever they hold."""
    for ago in range(100):
        platform.add(TODAY - ago * DAY, KEY if ago == 60 else None)
    platform.refuses = lambda _first, _last, page: page >= 5
    await platform.read()
    assert unknown_key(platform) == KEY
    assert stands(platform).read_at is not None


async def test_a_list_that_is_refused_as_a_whole_is_the_connections(platform: Platform) -> None:
    platform.refuses = lambda *_: True
    with pytest.raises(CallRefused):
        await platform.read()
    assert stands(platform).unread is None
    assert len(platform.asked) == 2


async def test_days_that_were_refused_are_asked_for_again_by_the_next_task(platform: Platform) -> None:
    platform.refuses = lambda first, _last, _page: first < TODAY - 90 * DAY
    with pytest.raises(HistoryUnread):
        await platform.read()
    platform.refuses = lambda *_: False
    platform.add(TODAY - 200 * DAY, KEY)
    await platform.read()
    assert stands(platform).read_at is not None
    assert unknown_key(platform) == KEY


# A platform that fails --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [PlatformUnavailable(what="list", reason="away"), ReplyUnreadable(what="list", reason="odd")]
)
async def test_failures_between_steps_forward_are_waited_out(platform: Platform, error: Exception) -> None:
    for ago in range(300):
        platform.add(TODAY - ago * DAY)
    calls = iter(range(10_000))
    platform.fails = lambda *_: error if next(calls) % 30 >= 28 else None  # today, too
    await platform.read()
    assert stands(platform).read_at is not None
    assert set(platform.slept) == {60.0}
    assert len(platform.slept) > FRUITLESS


async def test_a_long_list_that_gets_no_answer_is_read_in_parts_alone(platform: Platform) -> None:
    away = PlatformUnavailable(what="list", reason="gateway timeout")
    platform.add(TODAY - 60 * DAY, KEY)
    platform.fails = lambda first, last: away if ((last or TODAY) - first).days > 365 else None
    await platform.read()
    assert unknown_key(platform) == KEY
    assert stands(platform).read_at is not None


async def test_an_outage_at_the_end_hides_nothing(platform: Platform) -> None:
    """What fails once for the long list is asked again, as the short ones are."""
    platform.add(TODAY - 60 * DAY, KEY, "AdminTask")
    platform.last_day_hides_open_ones = True
    away = iter([PlatformUnavailable(what="list", reason="away")])
    platform.fails = lambda first, last: next(away, None) if ((last or TODAY) - first).days > 365 else None
    await platform.read()
    assert unknown_key(platform) == KEY


async def test_a_platform_that_stays_away_ends_the_task_until_its_retry(platform: Platform) -> None:
    platform.fails = lambda *_: PlatformUnavailable(what="list", reason="away", retry_after_s=7.0)
    with pytest.raises(PlatformUnavailable):
        await platform.read()
    assert len(platform.asked) == 2 * FRUITLESS, "each time today is asked for as well"
    assert platform.slept == [7.0] * (FRUITLESS - 1)
    platform.fails = lambda *_: None
    await platform.read()
    assert stands(platform).read_at is not None, "the turn was given back"


async def test_a_part_that_is_never_read_to_its_end_is_not_taken_as_read(platform: Platform) -> None:
    platform.add(TODAY - 60 * DAY)
    platform.claims_more = 1_000
    with pytest.raises(ListCutShort, match=f"list of {FIRST} to [0-9-]{{10}} was read {READINGS} times"):
        await platform.read()
    assert stands(platform).read_at is None
    platform.claims_more = READINGS
    await platform.read()
    assert stands(platform).read_at is not None


# Others -----------------------------------------------------------------------------------------------------


async def test_another_task_that_reads_is_waited_for(platform: Platform) -> None:
    with platform.scripted.ledger.write() as tx:
        scans.lease(tx, ACCOUNT, by="another", older_than=timedelta(0))
    looks = iter(range(100))

    def the_other_is_through() -> None:
        if next(looks) == 3:
            with platform.scripted.ledger.write() as tx:
                history.take_as_read(tx, ACCOUNT, SENDER, since=TODAY)

    platform.on_sleep = the_other_is_through
    signs: list[datetime] = []
    await platform.read(lambda tx: signs.append(tx.now))
    assert platform.asked == []
    assert len(signs) == 4, "whoever waits is alive"


async def test_a_reader_that_died_is_followed_by_the_one_who_waits(platform: Platform) -> None:
    with platform.scripted.ledger.write() as tx:
        scans.lease(tx, ACCOUNT, by="dead", older_than=timedelta(0))
    await platform.read()
    assert sum(platform.slept) == pytest.approx(scans.LEASE.total_seconds(), abs=reading._TURN_LOOK_S)
    assert stands(platform).read_at is not None


async def test_a_reading_that_somebody_begins_again_is_read_again(platform: Platform) -> None:
    for ago in range(300):
        platform.add(TODAY - ago * DAY, KEY if ago == 290 else None)
    once = iter([True])

    def begin_again(tx: Transaction) -> None:
        if (history.history(tx, ACCOUNT, SENDER).next_day or FIRST) > TODAY - 100 * DAY and next(once, False):
            history.read_again(tx, ACCOUNT, SENDER)

    await platform.read(begin_again)
    assert stands(platform).read_at is not None
    assert unknown_key(platform) == KEY, "the second reading has found it again"


async def test_what_this_ledger_knows_by_now_is_no_unknown_key(platform: Platform) -> None:
    platform.scripted.plan([1, 2, 3])
    (request,) = platform.scripted.requests()
    platform.add(TODAY - 40 * DAY, request.request_key)
    await platform.read()
    assert unknown_key(platform) is None
    assert platform.scripted.statuses() == ["waiting"]
