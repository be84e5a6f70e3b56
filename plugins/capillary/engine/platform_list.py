"""Read the platform's list of requests to its end, or know that it was not."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyTooLarge, ReplyUnreadable
from capillary.api.request_workflow import REQUEST_TYPE, Page, WorkflowRequest, is_decided
from capillary.counted import counted

#: More pages than this are not a list: some platforms answer any page number with the same page.
MAX_PAGES: Final = 10_000
#: The list is read from so long before the first send that matters: the platform does not say whether `startDate`
#: is included, and its clock and time zone may be a day away from ours.
LOOK_BACK: Final = timedelta(days=2)
#: Days between both ends of a part, and most days that are asked for at once: 30 days with both ends counted, and with
#: a day more on the platform's calendar.
PART_DAYS: Final = 28
#: A part of fewer days does not get on: parts overlap by a day.
_LEAST_DAYS: Final = 2
_DAY: Final = timedelta(days=1)
_NO_ANSWER: Final = (PlatformUnavailable, ReplyUnreadable)

_LOG: Final = logging.getLogger("capillary.list")

OnPage = Callable[[tuple[WorkflowRequest, ...]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ListRead:
    """How a reading of the list went.

    Attributes:
        pages: calls made.
        rows: rows seen.
        to_the_end: paged to the end with the page number moving, the totals adding up, and every row readable: only
            such a reading can show that something is not there.
        but_for: names of rows that show nothing, where it would have come to the end but for them.
    """

    pages: int
    rows: int
    to_the_end: bool
    but_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DaysRead:
    """How a reading of the list from a day up to now went.

    Attributes:
        read: all its parts; a row on a day that two parts share counts twice.
        since: the first day that was asked for and shown; later than asked where older days do not come.
        refused: the platform refuses to list the days before `since`.
        unanswered: it gives no answer to them, though it does to the newest.
        whole_since: only from this day on is shown for certain what waits: older days were asked for with a last day,
            which the platform may hold against the *end* of a request, and they showed nothing that waits. None: all.
    """

    read: ListRead
    since: date
    refused: bool
    unanswered: bool = False
    whole_since: date | None = None

    def shows_what_waits(self, day: date) -> bool:
        """Return whether every request that was sent on a day or later must stand there though nobody decided it."""
        whole = self.since if self.whole_since is None else max(self.since, self.whole_since)
        return day - LOOK_BACK >= whole

    def shows(self, day: date) -> bool:
        """Return whether every request that was sent on a day or later must stand on what was read."""
        return day - LOOK_BACK >= self.since


#: In place of the name of a row that has none, since its page is too large to be read.
_UNNAMED: Final = ""


@dataclass(slots=True)
class _Pages:
    """What the pages so far add up to."""

    page_size: int
    rows: int = 0
    total: int = 0
    most_on_a_page: int = 0
    numbers: set[int] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    without_id: int = 0
    unreadable: set[str] = field(default_factory=set)
    consistent: bool = True
    may_go_on: bool = False
    calls: int = 0

    def take(self, page: Page, number: int) -> bool:
        """Add one page; return whether it may be followed by another one."""
        without_id = page.unreadable_rows + page.foreign_rows
        found = len(page.rows) + without_id
        has_moved = page.number not in self.numbers
        is_last = number + 1 >= page.total_pages
        is_full = found >= self.page_size or 0 < self.most_on_a_page <= found
        self.rows += found
        # A list that shrinks while it is read, or repeats a row, may have skipped another one. A page that holds
        # rows and that the totals do not count shows that they count too few.
        self.consistent &= page.total_elements >= self.total
        self.consistent &= has_moved and (found == 0 or number < max(page.total_pages, 1))
        self.numbers.add(page.number)
        self.ids.update(row.platform_request_id for row in page.rows)
        self.without_id += without_id
        self.unreadable |= page.unreadable or ({_UNNAMED} if page.unreadable_rows else set())
        self.total = page.total_elements
        self.most_on_a_page = max(self.most_on_a_page, found)
        # Totals that count one page, or are capped, end at a full page.
        self.may_go_on = is_last and is_full
        return has_moved and found > 0 and (not is_last or is_full)

    def left_out(self, number: int) -> Page:
        """Return what stands for a page of one row that is too large to be read: a row that says nothing."""
        at = max(self.numbers, default=-1) + 1
        return Page(
            rows=(), unreadable_rows=1, number=at, total_pages=max(self.total, number + 1), total_elements=self.total
        )

    def shows_nothing_new(self, page: Page) -> bool:
        """Return whether a page after the last one is empty, or shows again what was shown."""
        rows = {row.platform_request_id for row in page.rows}
        return page.unreadable <= self.unreadable and page.unreadable_rows <= self.without_id and rows <= self.ids

    def read(self, calls: int) -> ListRead:
        """Return how the reading went that ends here: whether nothing can have been missed."""
        add_up = self.consistent and self.rows == len(self.ids) + self.without_id == self.total
        # Nobody can say of a row without a name that it is somebody else's.
        but_for = frozenset(self.unreadable) if add_up and _UNNAMED not in self.unreadable else frozenset[str]()
        return ListRead(calls, self.rows, to_the_end=add_up and not self.unreadable, but_for=but_for)


async def read_list(
    client: Client,
    *,
    since: date,
    until: date | None = None,
    request_type: str | None,
    on_page: OnPage,
) -> ListRead:
    """Read the list, oldest first, and hand every page on.

    Where the last page by the totals is full, one page more is asked for: totals may count too few. Where a page is
    larger than is read, the reading begins again with half as many rows a page, since its pages have other numbers:
    the rows before it are handed on once more.

    Args:
        client: the platform.
        since: first day of the list, in the cluster's time zone.
        until: its last day; None: up to now.
        request_type: only this type. None for all: a filter could hide what is looked for.
        on_page: takes the rows of a page; they are forgotten afterwards, so that memory stays flat.
    """
    limit, made = client.settings.page_size, 0
    while True:
        pages = _Pages(limit)
        try:
            read = await _read_pages(
                client, pages, since=since, until=until, request_type=request_type, on_page=on_page
            )
        except ReplyTooLarge as error:
            made += pages.calls
            limit //= 2
            _LOG.warning("the list is read again with %s a page: %s", counted(limit, "request"), error.reason)
        else:
            return replace(read, pages=made + read.pages)


async def _read_pages(
    client: Client, pages: _Pages, *, since: date, until: date | None, request_type: str | None, on_page: OnPage
) -> ListRead:
    """Read the list once with pages of one size.

    Raises:
        ReplyTooLarge: a page of several rows is larger than is read. A single row that is counts as an unreadable one.
    """
    for number in range(MAX_PAGES):
        pages.calls += 1
        try:
            page = await client.list_requests(
                page=number, start_date=since, end_date=until, request_type=request_type, limit=pages.page_size
            )
        except ReplyTooLarge as error:
            if pages.page_size > 1:
                raise
            _LOG.error("row %d of the list is left out: %s", number + 1, error.reason)
            page = pages.left_out(number)
        except (CallRefused, ReplyUnreadable) as error:
            if not pages.may_go_on:
                raise
            # A refused page is one that there is none of; what cannot be read may be anything.
            is_refused = isinstance(error, CallRefused)
            return pages.read(number + 1) if is_refused else ListRead(number + 1, pages.rows, to_the_end=False)
        if pages.may_go_on and pages.shows_nothing_new(page):
            return pages.read(number + 1)
        if page.number in pages.numbers and not pages.may_go_on:
            return ListRead(number + 1, pages.rows, to_the_end=False)
        goes_on = pages.take(page, number)
        await on_page(page.rows)
        if not goes_on:
            return pages.read(number + 1)
    return ListRead(MAX_PAGES, pages.rows, to_the_end=False)


async def read_days(client: Client, *, since: date, today: date, request_type: str | None, on_page: OnPage) -> DaysRead:
    """Read the list from a day up to now: in parts, the newest first, where the days are many or refused at once.

    A platform may answer a long range with the days that it takes, its first or its last ones, and say nothing of the
    rest; and it may hold the last day of a part against the end of a request, which one that waits has not. So many
    days are read in parts, and once more at once where the whole has more rows than its parts have shown.

    A part that is refused, or gets no answer while the newest days do, is made shorter; where the shortest stays so,
    the reading ends with the part before.
    Parts overlap by a day, since nobody says whether the platform includes both ends.

    Args:
        client: the platform.
        since: first day of the list, in the cluster's time zone.
        today: the day that it is there.
        request_type: as `read_list` takes it.
        on_page: as `read_list` takes it; rows that two parts share come twice.

    Raises:
        CallRefused: the newest days are refused as well, so that it is not the days that the platform refuses.
        PlatformUnavailable, ReplyUnreadable: nor do they get an answer.
    """
    if today - since > _DAY * PART_DAYS:
        return await _read_many_days(client, since=since, today=today, request_type=request_type, on_page=on_page)
    try:
        read = await read_list(client, since=since, request_type=request_type, on_page=on_page)
    except (CallRefused, *_NO_ANSWER) as error:
        if since >= today - _DAY * _LEAST_DAYS:
            raise
        await _assert_newest_days_come(client, today, request_type)
        _LOG.warning("the platform does not list its requests since %s at once: %s", since, error.reason)
        return await _read_parts(client, since=since, today=today, request_type=request_type, on_page=on_page)
    return DaysRead(read, since, refused=False)


async def read_every_type(client: Client, *, since: date, today: date, on_page: OnPage) -> DaysRead:
    """Do what `read_days` does, without a filter of the type; and once more with ours, where that counts more rows.

    A filter may hide what is looked for; and a platform may list nothing, or another type, where none is asked for.
    """
    shown = set[str]()

    async def on_shown(rows: tuple[WorkflowRequest, ...]) -> None:
        shown.update(row.platform_request_id for row in rows)
        await on_page(rows)

    days = await read_days(client, since=since, today=today, request_type=None, on_page=on_shown)
    counted_by = await _page_since(client, since=max(since, days.since), today=today, request_type=REQUEST_TYPE)
    of_type = None if counted_by is None else counted_by.total_elements
    if counted_by is None or of_type is None or of_type <= len(shown):
        return days
    await on_page(counted_by.rows)  # another node may show them in an older state now
    _LOG.info("the list has %s of %s, and %d of every type", counted(of_type, "request"), REQUEST_TYPE, len(shown))
    typed = await read_days(client, since=since, today=today, request_type=REQUEST_TYPE, on_page=on_page)
    later = days if days.since >= typed.since else typed
    # What is shown by one of the two alone is shown as surely as that one shows it.
    ends = [each for each in (days.whole_since, typed.whole_since) if each is not None]
    return replace(later, read=_together((days.read, typed.read)), whole_since=max(ends, default=None))


async def first_page(client: Client, *, since: date, until: date | None = None, request_type: str | None) -> Page:
    """Return the list's first page, with fewer rows than the connection says where it is larger than is read.

    Raises:
        ReplyTooLarge: its first row alone is.
    """
    limit = client.settings.page_size
    while True:
        try:
            return await client.list_requests(
                page=0, start_date=since, end_date=until, request_type=request_type, limit=limit
            )
        except ReplyTooLarge:
            if limit == 1:
                raise
            limit //= 2


async def total_since(client: Client, *, since: date, today: date, request_type: str | None) -> int | None:
    """Return how many rows the list since a day has; None where so many days alone are refused, or not answered twice.

    Raises:
        PlatformUnavailable: nor are today's.
    """
    page = await _page_since(client, since=since, today=today, request_type=request_type)
    return None if page is None else page.total_elements


async def _page_since(client: Client, *, since: date, today: date, request_type: str | None) -> Page | None:
    for _ in range(2):
        try:
            return await first_page(client, since=since, request_type=request_type)
        except CallRefused as error:
            _LOG.info("the list is read only in parts, because the platform refuses it as a whole: %s", error.reason)
            return None
        except _NO_ANSWER as error:
            await _assert_newest_days_come(client, today, request_type)
            _LOG.warning("the platform does not answer when asked for the whole list: %s", error)
    return None


async def _read_many_days(
    client: Client, *, since: date, today: date, request_type: str | None, on_page: OnPage
) -> DaysRead:
    shown = set[str]()

    async def on_shown(rows: tuple[WorkflowRequest, ...]) -> None:
        shown.update(row.platform_request_id for row in rows)
        await on_page(rows)

    days = await _read_parts(client, since=since, today=today, request_type=request_type, on_page=on_shown)
    total = await total_since(client, since=days.since, today=today, request_type=request_type)
    if total is None:
        return days
    days = replace(days, whole_since=None)
    if total <= len(shown):
        return days
    _LOG.info("the list since %s has %s, and its parts have shown %d", since, counted(total, "row"), len(shown))
    try:
        whole = await read_list(client, since=days.since, request_type=request_type, on_page=on_page)
    except CallRefused as error:
        _LOG.error("the platform refuses the rest of the list, which its parts do not show: %s", error.reason)
        whole = replace(days.read, to_the_end=False, but_for=frozenset())
    return replace(days, read=_together((days.read, whole)))


async def _read_parts(
    client: Client, *, since: date, today: date, request_type: str | None, on_page: OnPage
) -> DaysRead:
    parts: list[ListRead] = []
    shown_since, until, days = today, None, PART_DAYS
    is_refused = shows_waiting = False
    newest = today

    async def on_ended_page(rows: tuple[WorkflowRequest, ...]) -> None:
        nonlocal shows_waiting
        shows_waiting |= not all(is_decided(row.state) for row in rows)
        await on_page(rows)

    while shown_since > since:
        first = max(since, (until or today) - _DAY * days)
        try:
            take = on_ended_page if until else on_page
            parts.append(await read_list(client, since=first, until=until, request_type=request_type, on_page=take))
        except (CallRefused, *_NO_ANSWER) as error:
            is_refused = isinstance(error, CallRefused)
            if not is_refused:
                await _assert_newest_days_come(client, today, request_type)
            if days > _LEAST_DAYS:
                days = max(days // 2, _LEAST_DAYS)
                continue
            if not parts:
                raise
            _LOG.error("the platform does not list its requests before %s: %s", shown_since, error.reason)
            break
        newest = newest if until else first
        shown_since, until = first, first + _DAY
    is_cut = shown_since > since
    return DaysRead(
        _together(parts),
        shown_since,
        refused=is_cut and is_refused,
        unanswered=is_cut and not is_refused,
        whole_since=None if shows_waiting else newest,
    )


async def _assert_newest_days_come(client: Client, today: date, request_type: str | None) -> None:
    """Ask for the newest days: where these are refused or get no answer as well, it is not the days."""
    await first_page(client, since=today - _DAY * _LEAST_DAYS, request_type=request_type)


def _together(parts: Iterable[ListRead]) -> ListRead:
    read = list(parts)
    return ListRead(
        sum(part.pages for part in read),
        sum(part.rows for part in read),
        to_the_end=all(part.to_the_end for part in read),
        but_for=frozenset().union(*(part.but_for for part in read))
        if all(part.to_the_end or part.but_for for part in read)
        else frozenset(),
    )


def hides_its_key(row: WorkflowRequest) -> bool:
    """Whether a row could be of ours for all that its key tells: somebody made it by hand, or it is not shown.

    Calls of another kind carry no request id of ours; a row that does not show its call may be any of them.
    """
    return row.request_key is None and row.may_issue_badges
