"""The badge pages in Chromium, against real Airflow and the sandbox: one day of a campaign, as a person lives it.

It is one test: a whole Airflow is started once, and each chapter goes on from where the one before has ended.
`SCREENSHOTS=docs/images pytest tests/browser` renews the pictures of the docs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.running_airflow import RunningAirflow, running_airflow, until
from tests.browser.screen import Screen, window
from tests.chromium import needs_chromium

pytestmark = needs_chromium
#: Why the checker of this day says no.
WORDS = "Not this <b>store</b>'s customers."


@pytest.fixture(scope="module")
def airflow() -> Iterator[RunningAirflow]:
    with running_airflow() as airflow:
        yield airflow


def picture(name: str) -> Path | None:
    folder = os.environ.get("SCREENSHOTS")
    return Path(folder, f"{name}.png") if folder else None


def test_one_day_of_a_campaign(airflow: RunningAirflow, browser: Browser) -> None:
    with window(browser, airflow.url, "ada") as ada:
        an_overview_of_what_never_ran(ada)
        airflow.trigger("badge_upkeep", {})  # its schedule does it elsewhere
        a_dry_run_by_the_form(ada)
        it_is_carried_out(airflow, ada)
        it_waits_and_the_checker_approves(airflow, ada)
        the_rest_is_taken_and_one_request_rejected(airflow, ada)
        what_the_checker_said_stands_on_the_run(ada)
        the_rejected_are_retried(airflow, ada)
        a_customer_is_looked_up(ada)
        sending_is_stopped_and_resumed(airflow, ada)
        it_turns_dark_without_a_reload(ada)
    a_viewer_sees_and_orders_nothing(airflow, browser)
    nobody_sees_anything(airflow, browser)
    it_fits_a_small_window_and_a_phone(airflow, browser)
    it_stands_without_airflows_ui(airflow, browser)


def an_overview_of_what_never_ran(ada: Screen) -> None:
    ada.page.get_by_role("link", name="Badges").click()
    ada.says("What needs a person now", "gold_tier: live, and its DAG is paused", "nothing was planned yet")
    assert ada.faults() == []


def a_dry_run_by_the_form(ada: Screen) -> None:
    ada.page.goto(f"{ada.url}/dags/gold_tier")
    ada.page.get_by_role("button", name="Trigger").first.click()
    form = ada.page.get_by_role("dialog")
    form.locator("[name=element_dry_run]").evaluate("box => box.checked || box.click()")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_be_hidden(timeout=30_000)
    until(lambda: bool(_runs(ada, "gold_tier")), "the dry run is there")
    ada.open_run("gold_tier", _runs(ada, "gold_tier")[0])
    ada.says("Dry run: 10 customers in 1 request would be planned", "What a live run would do", "Approvals, at most")
    ada.says("1,227", "masked")
    assert ada.faults() == []
    ada.shoot(picture("dry-run"), to_end_of="What a live run would do", width=1440)


def it_is_carried_out(airflow: RunningAirflow, ada: Screen) -> None:
    dry = ada.run_id
    ada.press("Carry out")
    ada.says("submits 10 customers in 1 request", "It is a canary: 10 of 1,227 customers.", '"dry_run": false')
    assert ada.faults() == []
    ada.main.locator("textarea").fill("The first ten, by hand.")
    ada.press("Submit them now")
    ada.page.wait_for_url(re.compile(r"/dags/gold_tier/runs/.*/plugin/badges_run"))
    assert ada.run_id != dry
    run = airflow.get(f"/api/v2/dags/gold_tier/dagRuns/{ada.run_id}")
    assert run["note"] == "The first ten, by hand."
    assert run["triggering_user_name"] == "ada"
    assert (run["conf"]["dry_run"], run["conf"]["note"]) == (False, "The first ten, by hand.")
    airflows_grid_hides_no_run(ada)


def it_waits_and_the_checker_approves(airflow: RunningAirflow, ada: Screen) -> None:
    ada.says("Waits for the checker", "10 customers in 1 request wait for the checker", "The first ten, by hand.")
    assert ada.faults() == []
    ada.shoot(picture("run-waiting"), to_end_of="Requests", width=1440)
    link = ada.main.get_by_role("link", name="Checker").first
    assert link.get_attribute("href") == airflow.checker
    ada.press("Look now")
    ada.says("Clears the task wait")
    assert ada.faults() == []
    ada.decide(airflow.checker, "Approve", "Fine.")
    ada.press("Look now")
    ada.says("Passed", "The canary passed, 1,217 customers left: a run with the same occasion and settings", "“Fine.”")
    picture_says = ada.main.locator("svg.funnel").get_attribute("aria-label")
    assert picture_says is not None
    assert picture_says.startswith("1,319 rows of the query = 10 planned + 1,217 left for a later run + 92 duplicates.")
    planned = picture_says.partition("10 planned = ")[2]
    assert sum(int(each.split()[0].replace(",", "")) for each in planned.split(" + ")) == 10


def the_rest_is_taken_and_one_request_rejected(airflow: RunningAirflow, ada: Screen) -> None:
    ada.press("Take the rest now")
    ada.says("takes the 1,217 customers that this one left", "That makes 7 requests")
    ada.press("Take them now")
    ada.page.wait_for_url(re.compile(r"/dags/gold_tier/runs/.*/plugin/badges_run"))
    ada.says("in 7 requests wait for the checker")
    airflows_grid_hides_no_run(ada)
    ada.decide(airflow.checker, "Reject", WORDS)
    ada.approve_all(airflow.checker)


def what_the_checker_said_stands_on_the_run(ada: Screen) -> None:
    ada.says("Failed", f"“{WORDS}”", "rejected by the checker", "Without the badge, by code", "1026")
    ada.says("the customer was not found", "correct the customer in the warehouse or on the platform first")
    assert ada.main.locator("b", has_text="store").count() == 0, "a checker's words are words"
    assert ada.faults() == []
    ada.shoot(picture("run-failed"), to_end_of="Requests", width=1440)
    with ada.page.expect_download() as downloading:
        ada.main.get_by_role("link", name="All as CSV").click()
    lines = downloading.value.path().read_text().splitlines()
    assert lines[0].startswith("customer_id,outcome,code,checker_message")
    assert sum(",rejected," in line for line in lines) == 200
    ada.open("/plugin/badges")
    ada.says("gold_tier", "customers without the badge: 200 rejected")
    ada.says_not("badge_upkeep")
    assert ada.faults() == []
    ada.shoot(picture("badges"), to_end_of="127.0.0.1")


def the_rejected_are_retried(airflow: RunningAirflow, ada: Screen) -> None:
    ada.press("Retry the failed")
    ada.says("Choose at least one kind of failure.", "200 customers rejected, code none")
    ada.main.get_by_label("200 customers rejected").check()
    send = ada.main.get_by_role("button", name="Retry them now")
    ada.press("Choose these")
    ada.says("Plans up to 200 customers again", '"retry_outcomes"', f"“{WORDS}”")
    assert ada.faults() == []
    expect(send).to_be_enabled()
    ada.main.get_by_label("200 customers rejected").uncheck()
    expect(send).to_be_disabled()
    ada.says("The boxes above were changed")
    ada.main.get_by_label("200 customers rejected").check()
    expect(send).to_be_enabled()
    ada.page.go_back()
    ada.says("Choose at least one kind of failure.")
    ada.page.go_forward()
    ada.says("Plans up to 200 customers again")
    ada.press("Retry them now")
    ada.page.wait_for_url(re.compile(r"/dags/gold_tier/runs/.*/plugin/badges_run"))
    ada.says("200 customers in 1 request wait for the checker", "attempt 2")
    airflows_grid_hides_no_run(ada)
    ada.decide(airflow.checker, "Approve", "Approved.")
    ada.says("All of 200 customers ended")


def a_customer_is_looked_up(ada: Screen) -> None:
    failed = _runs(ada, "gold_tier")[1]
    ada.open_run("gold_tier", failed)
    ada.says("Since then", "got the badge by a later run", "1 to 100 of")
    ada.press("The next customers")
    ada.says("101 to 200 of")
    ada.press("The first customers")
    ada.says("1 to 100 of")
    row = ada.main.get_by_role("row", name="rejected").filter(has_text="enrolled by a later run").first
    customer = row.get_by_role("link").inner_text()
    row.get_by_role("link").click()
    ada.page.wait_for_url("**/plugin/badges/customer")
    ada.says(f"Customer {customer}", "2 attempts")
    ada.main.get_by_label("Customer id").fill(customer)
    ada.press("Look up")
    ada.page.wait_for_url("**/plugin/badges/customer")
    ada.says(f"Customer {customer}", "2 attempts", f"“{WORDS}”", "rejected", "“Approved.”", "issued as")
    assert ada.faults() == []
    ada.shoot(picture("customer"), to_end_of="gold_tier")
    ada.main.get_by_label("Customer id").fill("12x")
    ada.press("Look up")
    ada.says("“12x” is not a customer id")
    ada.main.get_by_label("Customer id").fill("7")
    ada.press("Look up")
    ada.says("No campaign that you may see has planned this customer")


def sending_is_stopped_and_resumed(airflow: RunningAirflow, ada: Screen) -> None:
    ada.open("/plugin/badges")
    ada.says("Request list trusted")
    assert not ada.outgrows(), "a second scrollbar beside the panel's own"
    ada.press("Stop sending")
    ada.says("No process sends another request")
    assert ada.faults() == []
    ada.main.get_by_label("Reason").fill("The list of customers is wrong.")
    ada.press("Stop sending")
    ada.says("sending is stopped", "by ada in Airflow: The list of customers is wrong.", "stopped")
    assert ada.main.get_by_role("link", name="Take the rest now").count() == 0
    ada.press("Resume")
    ada.says("ada in Airflow", "The list of customers is wrong.", "This alone sends nothing")
    ada.press("Resume")
    ada.says("sending")
    ada.says_not("sending is stopped")
    log = airflow.get("/api/v2/eventLogs?event=badges.stop")["event_logs"]
    assert [(each["owner"], "The list of customers is wrong." in each["extra"]) for each in log] == [("ada", True)]


def it_turns_dark_without_a_reload(ada: Screen) -> None:
    card = ada.main.locator(".card").first
    ada.page.evaluate("globalThis.sameDocument = true")
    light = card.evaluate("each => getComputedStyle(each).backgroundColor")
    ada.page.get_by_text("User", exact=True).click()
    ada.page.get_by_role("menuitem", name="Appearance").hover()
    ada.page.get_by_role("menuitemradio", name="Dark").or_(ada.page.get_by_role("menuitem", name="Dark")).first.click()
    until(lambda: card.evaluate("each => getComputedStyle(each).backgroundColor") != light, "it is dark", limit_s=10)
    assert ada.page.evaluate("globalThis.sameDocument") is True
    ada.page.keyboard.press("Escape")
    assert ada.faults() == []
    ada.shoot(picture("badges-dark"), to_end_of="127.0.0.1")


def a_viewer_sees_and_orders_nothing(airflow: RunningAirflow, browser: Browser) -> None:
    with window(browser, airflow.url, "vic") as vic:
        vic.open("/plugin/badges")
        vic.says("gold_tier", "customers without the badge")
        vic.says_not("Retry the failed", "Stop sending", "Take the rest")
        failed = _runs(vic, "gold_tier")[1]
        vic.open(f"/plugin/badges/confirm/retry/gold_tier/{failed}")
        vic.says("You may not see this", "Airflow does not let you start runs of gold_tier.")


def nobody_sees_anything(airflow: RunningAirflow, browser: Browser) -> None:
    with window(browser, airflow.url, None) as nobody:
        reply = nobody.page.goto(f"{airflow.url}/capillary/badges")
        assert reply is not None
        assert reply.status == 401
        nobody.says("Log in to Airflow first")
        nobody.says_not("gold_tier")
        nobody.page.goto(f"{airflow.url}/plugin/badges")
        expect(nobody.page.locator("input[name=password]")).to_be_visible()


def it_fits_a_small_window_and_a_phone(airflow: RunningAirflow, browser: Browser) -> None:
    for width in (1024, 390):
        with window(browser, airflow.url, "ada", width=width) as ada:
            for path in ("/plugin/badges", "/plugin/badges/customer#7"):
                ada.open(path)
                assert not ada.overflows(), (path, width)
                assert not ada.outgrows(), (path, width)
            ada.page.goto(f"{airflow.url}/dags/gold_tier/runs/{_runs(ada, 'gold_tier')[1]}/plugin/badges_run")
            if width < 768:  # Airflow's own header leaves a tab no room there
                ada.page.wait_for_url(f"{airflow.url}/capillary/runs/**")
            ada.says("Requests", "All as CSV")
            assert not ada.overflows(), width
            if width > 768:  # it becomes a phone's while the tab is open
                ada.page.set_viewport_size({"width": 700, "height": 900})
                ada.page.wait_for_url(f"{airflow.url}/capillary/runs/**")
                ada.says("Requests", "All as CSV")
                ada.page.set_viewport_size({"width": width, "height": 900})
            ada.page.goto(f"{airflow.url}/capillary/badges")
            ada.says("Campaigns")
            assert not ada.overflows(), width


def it_stands_without_airflows_ui(airflow: RunningAirflow, browser: Browser) -> None:
    with window(browser, airflow.url, "ada", theme="dark") as ada:
        ada.page.add_init_script("Object.defineProperty(globalThis, 'ReactRouterDOM', {get: () => undefined})")
        ada.page.goto(f"{airflow.url}/plugin/badges")
        ada.page.wait_for_url(f"{airflow.url}/capillary/badges")
        ada.says("Campaigns")
        assert ada.faults() == []
        ada.main.get_by_role("link", name=re.compile(r"ago$")).first.click()
        ada.page.wait_for_url(f"{airflow.url}/capillary/runs/**")
        ada.says("Where the customers went")
        assert ada.faults() == []
        ada.errors.clear()  # Airflow's own UI, which misses its router


def airflows_grid_hides_no_run(ada: Screen) -> None:
    """Airflow's UI puts this filter over a run that it has not heard of, in the second after it shows it."""
    ada.page.wait_for_timeout(3_000)
    assert "run_after" not in ada.page.url


def _runs(screen: Screen, dag_id: str) -> list[str]:
    """Return the runs of a DAG, the newest first."""
    address = f"{screen.url}/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after"
    runs = screen.page.context.request.get(address).json()["dag_runs"]
    return [str(run["dag_run_id"]) for run in runs]
