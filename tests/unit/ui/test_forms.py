"""What a person has changed on a page is what is sent, or nothing can be sent: in Chromium, against our own pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from playwright.async_api import Locator, Page, expect
from sqlalchemy import delete

from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_stop
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, order_stop
from capillary.ui import rendering, run_routes
from tests.unit.ledger.orders import SPEC, customers_of, plan, requests_of, run, send
from tests.unit.ui.browsing import browsing
from tests.unit.ui.run_pages import DAG, TEN, Airflow, ended

RETRY: Final = "/capillary/confirm/retry/spring/first"
RUNS: Final = "/api/v2/dags/spring/dagRuns"


@pytest.fixture
def two_kinds(ledger: Ledger) -> None:
    """A run of which two customers were rejected, and five failed with a code that passes."""
    rejected, failed = requests_of(ledger, plan(ledger, range(1, 8), run("first", customers_per_request=5)))[::-1]
    for request, state, ending in (
        (rejected, "rejected", Ending(Outcome.REJECTED)),
        (failed, "approved", Ending(Outcome.FAILED, error_code=500)),
    ):
        send(ledger, request.id)
        shown = Seen(f"p-{request.id}", state, decided=True, auto_approved=False, checker_message=f"{state} by Cara")
        with ledger.write() as tx:
            record_sighting(tx, request.id, shown)
            endings = dict.fromkeys(customers_of(ledger, request.id), ending)
            settle(tx, request.id, sightings_read=[f"p-{request.id}"], endings=endings)


def box(page: Page, name: str) -> Locator:
    return page.get_by_label(name)


def sending(page: Page) -> Locator:
    return page.get_by_role("button", name="Retry them now")


@pytest.mark.usefixtures("two_kinds")
async def test_what_is_ticked_is_what_is_sent_or_nothing_can_be(airflow: Airflow) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await expect(sending(page)).to_be_enabled()
        await box(page, "2 customers rejected").check()
        await expect(sending(page)).to_be_disabled()
        await expect(page.get_by_role("status").filter(has_text="Press Choose these first")).to_be_visible()
        await page.get_by_role("button", name="Choose these").click()
        await expect(page.get_by_text("Plans up to 7 customers again")).to_be_visible()
        await expect(sending(page)).to_be_enabled()
        await box(page, "5 customers failed").uncheck()
        await expect(sending(page)).to_be_disabled()
        await box(page, "5 customers failed").check()
        await expect(sending(page)).to_be_enabled()
        await box(page, "5 customers failed").uncheck()
        await page.get_by_role("button", name="Choose these").click()
        await expect(page.get_by_text("Plans up to 2 customers again")).to_be_visible()
        await sending(page).click()
        await page.wait_for_url("**/runs/spring/second")
    assert sent == [
        ("POST", RUNS, {"logical_date": None, "conf": {"dry_run": False, "retry_outcomes": ["rejected"]}}),
    ]


@pytest.mark.usefixtures("two_kinds")
async def test_a_note_survives_choosing_and_goes_with_the_order(airflow: Airflow) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await page.locator("#note").fill("By hand.")
        await box(page, "2 customers rejected").check()
        await page.get_by_role("button", name="Choose these").click()
        await expect(page.get_by_text("Plans up to 7 customers again")).to_be_visible()
        await expect(page.locator("#note")).to_have_value("By hand.")
        await page.go_back()
        await expect(page.get_by_text("Plans up to 5 customers again")).to_be_visible()
        await expect(page.locator("#note")).to_have_value("")
        await page.locator("#note").fill("Only these.")
        await page.get_by_role("button", name="Choose these").click()
        await expect(sending(page)).to_be_enabled()
        await sending(page).click()
        await page.wait_for_url("**/runs/spring/second")
    assert [(each[2]["note"], each[2]["conf"]["note"]) for each in sent] == [("Only these.", "Only these.")]


@pytest.mark.usefixtures("two_kinds")
async def test_choosing_without_a_tick_says_so_at_the_button(airflow: Airflow) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await box(page, "5 customers failed").uncheck()
        asked = sent.asked
        await page.get_by_role("button", name="Choose these").click()
        said = page.locator("form[data-redraws]").get_by_role("alert")
        await expect(said).to_have_text("Choose at least one kind of failure.")
        await expect(said).to_be_visible()
        assert sent.asked == asked, "there is nothing to draw"
        await box(page, "2 customers rejected").check()
        await expect(said).to_be_hidden()
        await page.get_by_role("button", name="Choose these").click()
        await expect(page.get_by_text("Plans up to 2 customers again")).to_be_visible()
    assert sent == []


@pytest.mark.usefixtures("two_kinds")
async def test_a_box_that_the_browser_has_changed_without_a_word_is_seen_before_sending(airflow: Airflow) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await expect(sending(page)).to_be_enabled()
        await box(page, "2 customers rejected").evaluate("each => (each.checked = true)")
        await sending(page).click()
        await expect(sending(page)).to_be_disabled()
    assert sent == []


@pytest.mark.usefixtures("two_kinds")
async def test_a_box_that_is_changed_while_the_page_is_asked_for_again_keeps_it_from_being_sent(
    airflow: Airflow,
) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        sent.answers.clear()
        await sending(page).click()
        await expect(sending(page)).to_be_disabled()
        await box(page, "2 customers rejected").check()
        sent.answers.set()
        await expect(page.get_by_text("Nothing was sent: the boxes were changed meanwhile.")).to_be_visible()
        await expect(sending(page)).to_be_disabled()
    assert sent == []


@pytest.mark.usefixtures("two_kinds")
async def test_after_back_and_reload_the_page_says_what_it_would_send(airflow: Airflow) -> None:
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await box(page, "2 customers rejected").check()
        await page.goto("/capillary/runs/spring/first")
        await page.go_back()
        await expect(box(page, "2 customers rejected")).not_to_be_checked()
        await expect(sending(page)).to_be_enabled()
        await box(page, "2 customers rejected").check()
        await page.reload()
        await expect(box(page, "2 customers rejected")).not_to_be_checked()
        await expect(sending(page)).to_be_enabled()
    assert sent == []


@pytest.mark.usefixtures("two_kinds")
async def test_what_has_changed_since_the_page_was_drawn_is_shown_and_not_sent(
    ledger: Ledger, airflow: Airflow
) -> None:
    """Another tab has retried them, or somebody has stopped sending: the page is asked for again before it sends."""
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        await page.locator("#note").fill("By hand.")
        ended(ledger, run("third", **TEN), range(11, 13))
        await sending(page).click()
        await expect(page.get_by_role("alert").filter(has_text="Nothing was sent: things have changed")).to_be_visible()
        await expect(page.get_by_text("Plans up to 7 customers again")).to_be_visible()
        await expect(page.locator("#note")).to_have_value("By hand.")
        order_stop(ledger, Scope(SPEC.account), by="bob", reason="The list is wrong.")
        await sending(page).click()
        await expect(page.get_by_role("heading", name="Not now")).to_be_visible()
        await expect(page.get_by_text("Sending is stopped: every campaign of")).to_contain_text("(The list is wrong.)")
        assert sent == []
        with ledger.write() as tx:
            tx.conn.execute(delete(badge_stop))
        await page.goto(RETRY)
        await sending(page).click()
        await page.wait_for_url("**/runs/spring/second")
    assert len(sent) == 1


@pytest.mark.usefixtures("two_kinds")
async def test_without_javascript_nothing_can_be_sent_and_the_page_says_so(airflow: Airflow) -> None:
    async with browsing(airflow, javascript=False) as (page, sent):
        await page.goto(RETRY)
        await expect(sending(page)).to_be_disabled()
        await expect(page.get_by_text("The page’s script does not run, so nothing can be sent")).to_be_visible()
        await box(page, "2 customers rejected").check()
        await page.get_by_role("button", name="Choose these").click()
        await expect(page.get_by_text("Plans up to 7 customers again")).to_be_visible()
        await expect(sending(page)).to_be_disabled()
    assert sent == []


@pytest.mark.usefixtures("two_kinds")
async def test_a_dag_is_turned_on_after_its_run_is_made_and_not_where_it_is_refused(airflow: Airflow) -> None:
    airflow.dag = replace(DAG, paused=True)
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        sent.refused = {"POST"}
        await sending(page).click()
        await expect(page.get_by_text("Airflow refused it (HTTP 403): no")).to_be_visible()
        assert [each[0] for each in sent] == ["POST"]
        await expect(sending(page)).to_be_enabled()
        sent.refused = {"PATCH"}
        await sending(page).click()
        await expect(page.get_by_text("run second is made, and waits: its DAG could not be turned on")).to_be_visible()
        await expect(sending(page)).to_be_disabled()
        assert [each[:2] for each in sent[1:]] == [("POST", RUNS), ("PATCH", "/api/v2/dags/spring")]


@pytest.mark.usefixtures("two_kinds")
async def test_a_page_that_renews_itself_leaves_a_ticked_box_alone(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_routes, "page", partial(rendering.page, renew_s=1))
    async with browsing(airflow) as (page, sent):
        await page.goto(RETRY)
        ended(ledger, run("third", **TEN), range(11, 13))
        await expect(page.get_by_text("Plans up to 7 customers again")).to_be_visible()
        sent.answers.clear()
        async with page.expect_request("**/confirm/**"):
            pass  # a renewal is on its way
        await box(page, "2 customers rejected").check()
        await box(page, "2 customers rejected").blur()
        asked = sent.asked
        ended(ledger, run("fourth", **TEN), range(21, 24))
        sent.answers.set()
        await asyncio.sleep(2.5)
        await expect(box(page, "2 customers rejected")).to_be_checked()
        await expect(sending(page)).to_be_disabled()
        assert sent.asked == asked, "and it is not renewed while it is ticked"
        await box(page, "2 customers rejected").uncheck()
        await box(page, "2 customers rejected").blur()
        await expect(page.get_by_text("Plans up to 10 customers again")).to_be_visible()
