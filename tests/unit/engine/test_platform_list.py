"""Only a list read to its end, without a gap, can show that something is not there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, ClassVar, cast

import pytest

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyTooLarge, ReplyUnreadable
from capillary.api.request_workflow import Page, WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.platform_list import (
    LOOK_BACK,
    PART_DAYS,
    DaysRead,
    ListRead,
    first_page,
    read_days,
    read_every_type,
    read_list,
)
from capillary.engine.unreadable_rows import way_out
from tests.unit.engine.scripted_client import SETTINGS, row


def page(ids: str, number: int, total: int, *, unreadable: int = 0, pages: int = 2) -> Page:
    rows = tuple(row(name, f"cb1.x.{name}") for name in ids)
    return Page(rows=rows, unreadable_rows=unreadable, number=number, total_pages=pages, total_elements=total)


REFUSED = CallRefused(what="list of requests", reason="there is no such page", http_status=400)
UNREADABLE = ReplyUnreadable(what="list of requests", reason="it has no data")
EMPTY = page("", 2, 4)


class Pages:
    """A platform whose list is these pages."""

    settings = replace(SETTINGS, page_size=2)

    def __init__(self, *pages: Page | Exception) -> None:
        self.pages = pages

    async def list_requests(self, *, page: int, **_: object) -> Page:
        answer = self.pages[page]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def read(*pages: Page | Exception) -> tuple[ListRead, str]:
    """Return how the reading went, and which rows it handed on."""
    seen: list[str] = []

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        seen.extend(row.platform_request_id for row in rows)

    client = cast("Client", Pages(*pages))
    return await read_list(client, since=date(2026, 11, 1), request_type=None, on_page=on_page), "".join(seen)


@pytest.mark.parametrize(
    ("pages", "to_the_end"),
    [
        ((page("ab", 0, 4), page("cd", 1, 4), EMPTY), True),
        ((page("ab", 0, 3), page("cd", 1, 4), EMPTY), True),  # it grew at its end
        ((page("ab", 0, 4), page("cd", 0, 4)), False),  # the page number does not move
        ((page("ab", 0, 4), page("c", 1, 4)), False),  # a row is missing
        ((page("ab", 0, 4, unreadable=1), page("c", 1, 4)), False),
        ((page("ab", 0, 5), page("cd", 1, 4), EMPTY), False),  # it shrank: the row that moved up was skipped
        ((page("ab", 0, 4), page("bd", 1, 4), EMPTY), False),  # a row came twice: the totals add up, c is hidden
    ],
)
async def test_what_a_reading_can_show(pages: tuple[Page, ...], to_the_end: bool) -> None:
    found, seen = await read(*pages)
    assert found.to_the_end == to_the_end
    assert len(seen) + sum(p.unreadable_rows for p in pages[: found.pages]) >= found.rows


@pytest.mark.parametrize(
    ("pages", "to_the_end", "shown"),
    [
        ((page("a", 0, 1, pages=1),), True, "a"),
        ((page("ab", 0, 2, pages=1), page("", 1, 2, pages=1)), True, "ab"),
        ((page("ab", 0, 2, pages=1), page("", 1, 0, pages=0)), True, "ab"),
        ((page("ab", 0, 2, pages=1), page("ab", 0, 2, pages=1)), True, "ab"),  # the last page again
        ((page("ab", 0, 2, pages=1), page("ab", 1, 2, pages=1)), True, "ab"),
        ((page("ab", 0, 2, pages=1), REFUSED), True, "ab"),
        ((page("ab", 0, 2, pages=1), UNREADABLE), False, "ab"),
        ((page("ab", 0, 2, pages=1), page("c", 1, 3, pages=2)), True, "abc"),  # it grew in the meantime, and says so
        ((page("ab", 0, 2, pages=1), page("c", 1, 1, pages=1)), False, "abc"),  # totals of one page
        ((page("ab", 0, 2, pages=1), page("cd", 1, 2, pages=1), page("e", 2, 1, pages=1)), False, "abcde"),
        ((page("ab", 0, 2, pages=1), page("c", 0, 1, pages=1)), False, "abc"),  # and a number that does not move
        ((page("ab", 0, 4), page("cd", 1, 4), page("e", 2, 4)), False, "abcde"),  # capped totals
        ((page("ab", 0, 5, pages=2), page("c", 1, 5, pages=2, unreadable=1), page("e", 2, 5)), False, "abce"),
    ],
)
async def test_a_full_last_page_is_looked_behind(
    pages: tuple[Page | Exception, ...], to_the_end: bool, shown: str
) -> None:
    found, seen = await read(*pages)
    assert (found.pages, found.to_the_end, seen) == (len(pages), to_the_end, shown)


async def test_a_page_as_long_as_those_before_is_full() -> None:
    """The platform shows fewer rows than it is asked for."""
    found, seen = await read(page("a", 0, 2), page("b", 1, 2), page("c", 2, 2), page("", 3, 2))
    assert (found.pages, found.to_the_end, seen) == (4, False, "abc")


@pytest.mark.parametrize("error", [REFUSED, UNREADABLE])
async def test_a_page_that_the_totals_promise_must_come(error: Exception) -> None:
    with pytest.raises(type(error)):
        await read(page("ab", 0, 4), error)


# Pages that are too large ------------------------------------------------------------------------------------


@dataclass
class Heavy:
    """A platform whose rows weigh, and a page of which may weigh no more than ten; a row alone no more than fifty.

    Attributes:
        weights: of each row, by its id, oldest first.
        asked: limit and number of every page asked for.
    """

    weights: dict[str, int]
    page_size: int = 8
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def settings(self) -> PlatformSettings:
        return replace(SETTINGS, page_size=self.page_size)

    async def list_requests(self, *, page: int, limit: int, **_: object) -> Page:
        self.asked.append((limit, page))
        ids = list(self.weights)[page * limit : (page + 1) * limit]
        if sum(self.weights[each] for each in ids) > (50 if limit == 1 else 10):
            raise ReplyTooLarge(what="list of requests", reason="it has many bytes")
        rows = tuple(row(each, f"cb1.x.{each}") for each in ids)
        total = len(self.weights)
        return Page(rows, unreadable_rows=0, number=page, total_pages=-(-total // limit), total_elements=total)


async def read_heavy(platform: Heavy) -> tuple[ListRead, set[str]]:
    seen: set[str] = set()

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        seen.update(row.platform_request_id for row in rows)

    client = cast("Client", platform)
    return await read_list(client, since=date(2026, 11, 1), request_type=None, on_page=on_page), seen


async def test_a_page_that_is_too_large_is_read_again_with_half_the_limit() -> None:
    platform = Heavy(dict.fromkeys("abcdefghij", 1) | {"i": 4, "j": 5, "k": 4})
    found, seen = await read_heavy(platform)
    assert (found.to_the_end, found.rows, seen) == (True, 11, set("abcdefghijk"))
    assert found.pages == len(platform.asked)
    assert platform.asked == [(8, 0), (8, 1), (4, 0), (4, 1), (4, 2), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5)]


async def test_a_row_that_is_large_alone_is_read_alone() -> None:
    found, seen = await read_heavy(Heavy({"a": 1, "b": 40, "c": 1}))
    assert (found.to_the_end, found.rows, seen) == (True, 3, set("abc"))


@pytest.mark.parametrize("too_large", ["a", "b", "d"])
async def test_a_row_that_is_too_large_alone_costs_no_other_and_proves_no_absence(too_large: str) -> None:
    platform = Heavy(dict.fromkeys("abcd", 1) | {too_large: 51}, page_size=3)
    found, seen = await read_heavy(platform)
    assert (found.to_the_end, seen) == (False, set("abcd") - {too_large})
    assert way_out(found) == "", "it has no name by which a person could say that it is somebody else's"


# Days -------------------------------------------------------------------------------------------------------

TODAY = date(2026, 11, 23)
DAY = timedelta(days=1)


@dataclass
class Days:
    """A platform that lists one row a day, but no more than so many days at once, nor older days than that.

    Attributes:
        most: days, both ends counted; up to today where the last one is not given.
        shows: of more days it shows the "first" or the "last" ones and says nothing; None: it refuses them.
        waiting: days whose request waits for its human: hidden wherever a last day is asked for.
        unanswered: of so many days or more nothing comes back in time.
        answers_back_to: nor where the first day lies more days back than this.
        reaches: how many days back the first day may lie.
        inclusive: whether the first and the last day asked for are shown.
        asked: the ranges asked for; the first page of each.
    """

    most: int = 10_000
    shows: str | None = None
    waiting: frozenset[date] = frozenset()
    unanswered: int = 10_000
    answers_back_to: int = 10_000
    reaches: int = 10_000
    inclusive: bool = True
    calendar: date = TODAY
    state: str = "approved"
    asked: list[tuple[date, date | None]] = field(default_factory=list)

    settings = replace(SETTINGS, page_size=100)

    async def list_requests(
        self,
        *,
        page: int,
        start_date: date,
        end_date: date | None = None,
        request_type: str | None = None,
        **_: object,
    ) -> Page:
        assert request_type == "ISSUE-BADGE"
        if page > 0:
            raise REFUSED
        self.asked.append((start_date, end_date))
        last = end_date or self.calendar
        if (last - start_date).days >= self.unanswered or (self.calendar - start_date).days > self.answers_back_to:
            raise PlatformUnavailable(what="list of requests", reason="no answer in time")
        too_many = (last - start_date).days >= self.most
        if (too_many and not self.shows) or (self.calendar - start_date).days > self.reaches:
            raise REFUSED
        if too_many and self.shows == "first":
            last = start_date + DAY * (self.most - 1)
        elif too_many:
            start_date = last - DAY * (self.most - 1)
        if not self.inclusive:
            start_date, last = start_date + DAY, last - DAY if end_date else last
        days = [start_date + DAY * n for n in range((last - start_date).days + 1)]
        if end_date is not None:
            days = [day for day in days if day not in self.waiting]
        rows = tuple(row(str(day), "somebody's", self.state) for day in days)
        return Page(rows=rows, unreadable_rows=0, number=0, total_pages=1, total_elements=len(rows))


async def read_since(platform: Days, since: date) -> tuple[DaysRead, set[str]]:
    seen: set[str] = set()

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        seen.update(row.platform_request_id for row in rows)

    client = cast("Client", platform)
    return await read_days(client, since=since, today=TODAY, request_type="ISSUE-BADGE", on_page=on_page), seen


async def test_a_month_is_read_at_once() -> None:
    platform = Days()
    found, _ = await read_since(platform, TODAY - PART_DAYS * DAY)
    assert (found.since, found.refused, found.read.to_the_end) == (TODAY - PART_DAYS * DAY, False, True)
    assert platform.asked == [(TODAY - PART_DAYS * DAY, None)]


async def test_more_days_are_read_in_parts_and_the_whole_is_counted() -> None:
    platform = Days()
    since = TODAY - 60 * DAY
    found, seen = await read_since(platform, since)
    assert (found.since, found.refused, found.read.to_the_end, len(seen)) == (since, False, True, 61)
    assert platform.asked == [
        (TODAY - 28 * DAY, None),
        (TODAY - 55 * DAY, TODAY - 27 * DAY),
        (since, TODAY - 54 * DAY),
        (since, None),
    ], "three parts, and how many rows the whole has"


@pytest.mark.parametrize("shows", ["first", "last"])
@pytest.mark.parametrize("most", [30, 31, 90])
@pytest.mark.parametrize("ago", [29, 40, 100, 400])
async def test_a_range_that_is_clipped_in_silence_hides_nothing(shows: str, most: int, ago: int) -> None:
    since = TODAY - ago * DAY
    found, seen = await read_since(Days(most=most, shows=shows), since)
    assert (found.since, found.refused, found.read.to_the_end) == (since, False, True)
    assert seen == {str(since + DAY * n) for n in range(ago + 1)}


@pytest.mark.parametrize("ago", [29, 30, 60, 100])
async def test_what_waits_is_read_where_the_last_day_is_held_against_the_end_of_a_request(ago: int) -> None:
    since = TODAY - ago * DAY
    waiting = frozenset({since, TODAY - 28 * DAY, TODAY})
    platform = Days(waiting=waiting)
    found, seen = await read_since(platform, since)
    assert found.read.to_the_end
    assert seen == {str(since + DAY * n) for n in range(ago + 1)}


async def test_where_so_many_days_get_no_answer_their_parts_count() -> None:
    since = TODAY - 60 * DAY
    platform = Days(unanswered=40)
    found, seen = await read_since(platform, since)
    assert (found.refused, found.read.to_the_end, len(seen)) == (False, True, 61)
    assert platform.asked[3:] == [(since, None), (TODAY - 2 * DAY, None)] * 2, "twice, and it is not the platform"


@pytest.mark.parametrize("longest", [4, 10, 14, 30])
@pytest.mark.parametrize("ago", [20, 60])
async def test_ranges_that_get_no_answer_are_halved(longest: int, ago: int) -> None:
    since = TODAY - ago * DAY
    found, seen = await read_since(Days(unanswered=longest), since)
    assert (found.since, found.refused, found.unanswered, found.read.to_the_end) == (since, False, False, True)
    assert seen == {str(since + DAY * n) for n in range(ago + 1)}


async def test_old_days_that_get_no_answer_cost_no_others() -> None:
    found, seen = await read_since(Days(answers_back_to=35), TODAY - 60 * DAY)
    assert (found.refused, found.unanswered, found.read.to_the_end) == (False, True, True)
    assert found.since in (TODAY - 35 * DAY, TODAY - 34 * DAY)
    assert seen == {str(found.since + DAY * n) for n in range((TODAY - found.since).days + 1)}
    assert not found.shows(TODAY - 36 * DAY)


async def test_where_the_whole_is_refused_only_the_newest_part_shows_what_waits() -> None:
    """A last day may be held against the end of a request, and what waits has none."""
    found, _ = await read_since(Days(most=PART_DAYS + 2), TODAY - 60 * DAY)
    newest = TODAY - PART_DAYS * DAY
    assert (found.refused, found.read.to_the_end, found.whole_since) == (False, True, newest)
    assert found.shows(newest)
    assert [found.shows_what_waits(day) for day in (newest, newest + LOOK_BACK - DAY, newest + LOOK_BACK)] == [
        False,
        False,
        True,
    ]
    found, _ = await read_since(Days(), TODAY - 60 * DAY)
    assert found.shows_what_waits(TODAY - 60 * DAY + LOOK_BACK)


async def test_parts_that_show_what_waits_hide_nothing_that_waits() -> None:
    found, _ = await read_since(Days(most=PART_DAYS + 2, state="AdminTask"), TODAY - 60 * DAY)
    assert found.whole_since is None
    assert found.shows_what_waits(TODAY - 60 * DAY + LOOK_BACK)


@dataclass
class OfTypes(Days):
    """A platform that lists every type where none is asked for; `typed_alone`: nothing."""

    typed_alone: bool = False

    async def list_requests(
        self, *, page: int, start_date: date, end_date: date | None = None, request_type: str | None = None, **_: object
    ) -> Page:
        found = await super().list_requests(
            page=page, start_date=start_date, end_date=end_date, request_type="ISSUE-BADGE"
        )
        hides = self.typed_alone and request_type is None
        return replace(found, rows=(), total_elements=0, total_pages=0) if hides else found


async def test_every_type_is_read_and_ours_where_it_has_more() -> None:
    for typed_alone in (False, True):
        days = OfTypes(typed_alone=typed_alone)
        seen: set[str] = set()

        async def on_page(rows: tuple[WorkflowRequest, ...], seen: set[str] = seen) -> None:
            seen.update(row.platform_request_id for row in rows)

        found = await read_every_type(cast("Client", days), since=TODAY - 3 * DAY, today=TODAY, on_page=on_page)
        assert (found.read.to_the_end, found.since, len(seen)) == (True, TODAY - 3 * DAY, 4)
        assert len(days.asked) == (3 if typed_alone else 2)


async def test_what_our_type_alone_shows_is_shown_as_surely_as_its_parts_show_it() -> None:
    """Nothing is listed where no type is asked for, at once; with ours the whole is refused, and read in parts."""

    class TypedInParts(OfTypes):
        async def list_requests(self, *, request_type: str | None = None, **options: Any) -> Page:  # noqa: ANN401
            self.most = PART_DAYS + 2 if request_type and not self.counting else 10_000
            return await super().list_requests(request_type=request_type, **options)

        @property
        def counting(self) -> bool:
            return len(self.asked) <= 4  # the parts and the whole of every type, and how many there are of ours

    async def on_page(_: tuple[WorkflowRequest, ...]) -> None: ...

    days = TypedInParts(typed_alone=True)
    found = await read_every_type(cast("Client", days), since=TODAY - 60 * DAY, today=TODAY, on_page=on_page)
    assert found.whole_since == TODAY - PART_DAYS * DAY
    assert not found.shows_what_waits(TODAY - 40 * DAY)


async def test_where_nothing_gets_an_answer_nothing_is_read() -> None:
    class GoneAfterTheParts(Days):
        async def list_requests(
            self,
            *,
            page: int,
            start_date: date,
            end_date: date | None = None,
            request_type: str | None = None,
            **more: object,
        ) -> Page:
            if len(self.asked) == 3:
                self.unanswered = 0
            return await super().list_requests(
                page=page, start_date=start_date, end_date=end_date, request_type=request_type, **more
            )

    with pytest.raises(PlatformUnavailable):
        await read_since(GoneAfterTheParts(), TODAY - 60 * DAY)


async def test_a_part_that_is_cut_short_shows_no_absence() -> None:
    class CutShort(Days):
        async def list_requests(
            self,
            *,
            page: int,
            start_date: date,
            end_date: date | None = None,
            request_type: str | None = None,
            **more: object,
        ) -> Page:
            found = await super().list_requests(
                page=page, start_date=start_date, end_date=end_date, request_type=request_type, **more
            )
            return replace(found, total_elements=found.total_elements + 1) if len(self.asked) == 2 else found

    found, seen = await read_since(CutShort(), TODAY - 60 * DAY)
    assert (found.read.to_the_end, len(seen)) == (False, 61)


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("calendar", [TODAY - DAY, TODAY, TODAY + DAY], ids=["west", "here", "east"])
@pytest.mark.parametrize("most", [30, 31, 7, 4])
@pytest.mark.parametrize("ago", [32, 60, 79])
async def test_a_range_that_is_too_long_is_read_in_parts_without_a_gap(
    inclusive: bool, calendar: date, most: int, ago: int
) -> None:
    since = TODAY - ago * DAY
    platform = Days(most=most, inclusive=inclusive, calendar=calendar)
    found, seen = await read_since(platform, since)
    assert (found.since, found.refused, found.read.to_the_end) == (since, False, True)
    assert seen == {str(since + DAY * n) for n in range(not inclusive, (calendar - since).days + 1)}
    assert len(platform.asked) <= 11 + ago // (most // 2 - 1)


async def test_the_days_that_stay_refused_are_known() -> None:
    platform = Days(most=30, reaches=90)
    found, seen = await read_since(platform, TODAY - 120 * DAY)
    assert found.refused
    assert found.since in (TODAY - 90 * DAY, TODAY - 89 * DAY)
    assert seen == {str(found.since + DAY * n) for n in range((TODAY - found.since).days + 1)}
    assert found.read.to_the_end, "what was listed was listed whole"
    assert (found.shows(found.since + 2 * DAY), found.shows(found.since + DAY)) == (True, False)


@pytest.mark.parametrize(("ago", "calls"), [(60, 5), (20, 2), (1, 1)])
async def test_where_the_newest_days_are_refused_too_it_is_not_the_days(ago: int, calls: int) -> None:
    platform = Days(reaches=-10)
    with pytest.raises(CallRefused):
        await read_since(platform, TODAY - ago * DAY)
    assert len(platform.asked) == calls


async def test_a_first_page_that_is_too_large_is_asked_for_in_smaller_ones() -> None:
    class Heavy(Days):
        limits: ClassVar[list[object]] = []

        async def list_requests(self, *, page: int, start_date: date, **more: Any) -> Page:  # noqa: ANN401 - as the client takes them
            self.limits.append(more["limit"])
            if more["limit"] > 25:
                raise ReplyTooLarge(what="list of requests", reason="it is too large")
            return await super().list_requests(page=page, start_date=start_date, **more)

    heavy = Heavy()
    shown = await first_page(cast("Client", heavy), since=TODAY, request_type="ISSUE-BADGE")
    assert (shown.total_elements, heavy.limits) == (1, [100, 50, 25])
