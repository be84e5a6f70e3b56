"""Only a list read to its end, without a gap, can show that something is not there."""

from __future__ import annotations

from datetime import date
from typing import cast

import pytest

from capillary.api.client import Client
from capillary.api.request_workflow import Page, WorkflowRequest
from capillary.engine.platform_list import read_list
from tests.unit.engine.desk import row


def page(ids: str, number: int, total: int, *, unreadable: int = 0) -> Page:
    rows = tuple(row(name, f"cb1.x.{name}") for name in ids)
    return Page(rows=rows, unreadable_rows=unreadable, number=number, total_pages=2, total_elements=total)


class Pages:
    """A platform whose list is these pages."""

    def __init__(self, *pages: Page) -> None:
        self.pages = pages

    async def list_requests(self, *, page: int, **_: object) -> Page:
        return self.pages[page]


@pytest.mark.parametrize(
    ("pages", "to_the_end"),
    [
        ((page("ab", 0, 4), page("cd", 1, 4)), True),
        ((page("ab", 0, 3), page("cd", 1, 4)), True),  # it grew at its end
        ((page("ab", 0, 4), page("cd", 0, 4)), False),  # the page number does not move
        ((page("ab", 0, 4), page("c", 1, 4)), False),  # a row is missing
        ((page("ab", 0, 4, unreadable=1), page("c", 1, 4)), False),
        ((page("ab", 0, 5), page("cd", 1, 4)), False),  # it shrank: the row that moved up was skipped
        ((page("ab", 0, 4), page("bd", 1, 4)), False),  # a row came twice: the totals add up, c is hidden
    ],
)
async def test_what_a_reading_can_show(pages: tuple[Page, ...], to_the_end: bool) -> None:
    seen: list[str] = []

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        seen.extend(row.platform_request_id for row in rows)

    read = await read_list(cast("Client", Pages(*pages)), since=date(2026, 11, 1), request_type=None, on_page=on_page)
    assert read.to_the_end == to_the_end
    assert len(seen) + sum(p.unreadable_rows for p in pages[: read.pages]) >= read.rows
