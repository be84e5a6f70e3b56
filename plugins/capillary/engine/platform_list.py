"""Read the platform's list of requests to its end, or know that it was not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Final

from capillary.api.client import Client
from capillary.api.request_workflow import REQUEST_TYPE, WorkflowRequest

#: More pages than this are no list: some platforms answer any page number with the same page.
MAX_PAGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ListRead:
    """How a reading of the list went.

    Attributes:
        pages: calls made.
        rows: rows seen.
        to_the_end: paged to the end with the page number moving, the totals adding up, and every row readable: only
            such a reading can show that something is not there.
    """

    pages: int
    rows: int
    to_the_end: bool


async def read_list(
    client: Client,
    *,
    since: date,
    until: date | None = None,
    request_type: str | None,
    on_page: Callable[[tuple[WorkflowRequest, ...]], Awaitable[None]],
) -> ListRead:
    """Read the list, oldest first, and hand every page on.

    Args:
        client: the platform.
        since: first day of the list, in the cluster's time zone.
        until: its last day; None: up to now.
        request_type: only this type. None for all: a filter could hide what is looked for.
        on_page: takes the rows of a page; they are forgotten afterwards, so that memory stays flat.
    """
    rows, numbers, ids, total = 0, set[int](), set[str](), 0
    consistent = True
    for number in range(MAX_PAGES):
        page = await client.list_requests(page=number, start_date=since, end_date=until, request_type=request_type)
        if page.number in numbers:
            return ListRead(number + 1, rows, to_the_end=False)
        numbers.add(page.number)
        found = len(page.rows) + page.unreadable_rows
        rows += found
        # A list that shrinks while it is read, or repeats a row, may have skipped another one.
        ids.update(row.platform_request_id for row in page.rows)
        consistent = consistent and page.total_elements >= total and page.unreadable_rows == 0
        total = page.total_elements
        await on_page(page.rows)
        if found == 0 or number + 1 >= page.total_pages:
            return ListRead(number + 1, rows, to_the_end=consistent and rows == len(ids) == total)
    return ListRead(MAX_PAGES, rows, to_the_end=False)


def hides_its_key(row: WorkflowRequest) -> bool:
    """Whether a row could be of ours for all that its key tells: somebody made it by hand, or it is not shown.

    Other types carry no request id of ours; a row without a readable type may be any of them.
    """
    return row.request_key is None and row.request_type in ("", REQUEST_TYPE)
