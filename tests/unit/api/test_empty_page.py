"""A list without rows: said in every way in which serialisers say it, and never taken from what merely lacks them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from capillary.api.errors import ReplyUnreadable
from capillary.api.request_workflow import parse_page
from tests.unit.api.documented import page, row
from tests.unit.api.scripted import platform, reply

DAY = date(2026, 11, 21)
MISSING = object()


def listed(data: object = None, *, total: object = 0, pages: object = 0, here: object = 0, number: object = 0) -> Any:  # noqa: ANN401 - JSON as it comes
    pagination = {"totalElements": total, "totalPages": pages, "numberOfElements": here, "number": number}
    shown = {name: value for name, value in pagination.items() if value is not MISSING}
    return {"pagination": shown} | ({} if data is MISSING else {"data": data})


@pytest.mark.parametrize(
    "payload",
    [
        listed([]),
        listed(None),
        listed(MISSING),
        listed(None, pages=1),
        listed(None, total=0.0, pages=0.0, here=0.0, number=0.0),
        listed(None, total="0", pages="0", here="0", number="0"),
        listed(None, here=None),
        listed(None, here=MISSING, pages=MISSING, number=MISSING),
        listed(None, pages=None, number=None),
        listed([], pages=None, number=None),
        listed([], pages=MISSING, number=MISSING),
    ],
)
async def test_a_total_of_0_is_an_empty_list(payload: object) -> None:
    read = await platform(reply(200, payload)).client().list_requests(page=0, start_date=DAY)
    assert (read.rows, read.unreadable_rows, read.number, read.total_elements) == ((), 0, 0, 0)
    assert read.total_pages in (0, 1)


@pytest.mark.parametrize(("number", "pages"), [(1, 1), (2, 2), (3, 2), ("2", 2.0)])
def test_0_elements_behind_the_last_page_are_an_empty_page(number: object, pages: object) -> None:
    read = parse_page(listed(None, total=7, pages=pages, here=0, number=number))
    assert (read.rows, read.total_elements) == ((), 7)


@pytest.mark.parametrize(
    "payload",
    [
        {"data": None},
        {"data": []},
        {"data": None, "pagination": None},
        {"data": [], "pagination": []},
        {"data": [], "pagination": {}},
        {"data": None, "pagination": {"numberOfElements": 0}},
        listed(None, total=3, pages=1),
        listed(None, total=3, pages=1, here=3),
        listed(None, total=7, pages=2, here=0, number=1),
        listed(None, total=7, pages=2, here=None, number=2),
        listed(None, total=7, pages=0, here=0, number=0),
        listed(None, here=3),
        listed(None, pages=2),
        listed(None, total=None),
        listed(None, total=False),
        listed(None, total="none"),
        listed(None, total=-1),
        listed([], total=-1),
        listed([], number=-1),
        listed([], pages="many"),
        listed([], pages=-1),
        listed([row()], pages=MISSING, here=1),
        listed([row()], number=MISSING, here=1),
        listed([], number=0.5),
        listed({}),
        listed({"requests": []}),
        listed(""),
        listed(0),
        listed(False),
        listed("[]"),
        page(row(), number=None),
        page(row(), pages=None),
    ],
)
async def test_what_merely_lacks_rows_is_no_answer(payload: object) -> None:
    with pytest.raises(ReplyUnreadable):
        await platform(*[reply(200, payload)] * 5).client().list_requests(page=0, start_date=DAY)


async def test_no_other_read_takes_a_pagination_for_an_answer() -> None:
    with pytest.raises(ReplyUnreadable):
        await platform(*[reply(200, listed(None))] * 5).client().read_badge("a" * 24)
