"""An id in a table stands on one line or two, and nothing of the table is hidden: in Chromium, at any width."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import Locator, expect

from capillary.ledger.database import Ledger
from tests.unit.ledger.orders import plan, requests_of, run, see, send
from tests.unit.ui.browsing import browsing
from tests.unit.ui.run_pages import TEN, Airflow

RUN: Final = "manual__2026-11-27T06:49:00.123456+00:00"
UUID: Final = "2f0a7d2c-5e4b-11f1-9c3a-0242ac120002"
#: How many lines the text of an element takes.
LINES: Final = """each => {
    const range = document.createRange();
    range.selectNodeContents(each);
    return new Set([...range.getClientRects()].map(line => Math.round(line.top))).size;
}"""


async def lines(ids: Locator) -> list[int]:
    return [await each.evaluate(LINES) for each in await ids.all()]


@pytest.mark.parametrize("width", [1280, 930, 800, 390])  # 930: the tab in a window of 1,280
async def test_an_id_is_not_broken_into_many_lines(ledger: Ledger, airflow: Airflow, width: int) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, 8), run(RUN, **TEN)))
    send(ledger, request.id)
    see(ledger, request.id, UUID, decided=False)
    async with browsing(airflow) as (page, _):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/capillary/runs/spring/" + RUN)
        cell = page.locator("td.ids")
        await expect(cell.locator("code")).to_have_text([UUID])
        assert [each <= 2 for each in await lines(cell.locator("code, .id"))] == [True, True]
        if width >= 930:
            hidden = "each => each.scrollWidth - each.clientWidth"
            assert await page.locator(".scroll", has=cell).evaluate(hidden) == 0, "the ids run out of the frame"
        await page.goto("/capillary/customer#1")
        cell = page.locator("td.ids")
        await expect(cell.locator("code")).to_have_text([UUID])
        assert [each <= 2 for each in await lines(cell.locator("a.id, code"))] == [True, True]
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), (
            "its frame scrolls, no more"
        )
