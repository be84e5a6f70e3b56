"""Pages that one day of a campaign does not show, in Chromium at three widths: the plain pages, without Airflow.

A run of two accounts, one whose id was used before, long lists, a retry on a shared occasion, and every error page.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from playwright.sync_api import Browser, expect
from sqlalchemy import update

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import badge_run
from capillary.ui import badges_view, failed_runs, import_errors, matters_view, run_known, run_view
from capillary.ui.access import NothingToSee, reader
from capillary.ui.airflow_facts import REPORT
from capillary.ui.app import pages
from local_airflow.ports import LOOPBACK, free_port
from tests.browser.screen import Theme, window
from tests.chromium import needs_chromium
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, see, send
from tests.unit.ui.run_pages import FACTS, PASSED, TEN, Airflow, Una, ended

pytestmark = needs_chromium
WINDOWS: Final[tuple[tuple[int, Theme], ...]] = ((1280, "light"), (1024, "dark"), (390, "light"))
OTHER: Final = "an.other.platform.example/9000000042"
#: Page, what stands behind its #, and what it says where it is drawn.
PAGES: Final = {
    "two-accounts": ("runs/spring/accounts", "", f"Where the customers went: Spring 2026 on {OTHER}"),
    "two-accounts-wait": ("runs/spring/wait", "", "1 request with 2 customers is not sent yet."),
    "deleted": ("runs/spring/deleted", "", "A run of this id was deleted in Airflow"),
    "mapped": ("runs/spring/mapped", "", "The sum of what 12 tasks have planned"),
    "long-lists": ("runs/spring/long", "", "24 requests, here 1 to 5 of them"),
    "long-lists-on": ("runs/spring/long", "requests-{fifth}", "24 requests, here 6 to 10 of them"),
    "retry": ("confirm/retry/spring/mapped", "", "of other runs on the occasion"),
    "retry-of-two": ("confirm/retry/spring/accounts", "", "This run planned for several occasions"),
    "badges": ("badges", "", "It also takes the customers of other runs on the occasion"),
    "unknown-run": ("runs/spring/unknown", "", "Neither Airflow nor the ledger knows"),
    "no-place": ("runs/spring/long", "x", "is not a place in the list"),
    "no-file": ("static/none.js", "", "Nothing of the badge pages is at this address."),
    "no-page": ("stop/capillary", "", "A button of a page asks this address to do something."),
    "nobody": ("nobody/badges", "", "Log in to Airflow first"),
    "nothing-to-see": ("nothing/badges", "", "You may not read the runs of any"),
}


def fill(ledger: Ledger) -> int:
    """Plan what the pages show; return the fifth request of the long run."""
    elsewhere = replace(SPEC, account=OTHER)
    ended(ledger, run("accounts", **TEN), range(1, 4))
    ended(ledger, run("accounts", spec=elsewhere, note="moved to the new organisation", **TEN), range(1, 6))
    (waiting,) = requests_of(ledger, plan(ledger, range(11, 15), run("wait", **TEN)))
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-1", decided=False)
    plan(ledger, range(11, 13), run("wait", spec=elsewhere, **TEN))
    ended(ledger, run("deleted", **TEN), range(21, 24))
    with ledger.write() as tx:
        before = tx.now - timedelta(days=3)
        tx.conn.execute(update(badge_run).where(badge_run.c.run_id == "deleted").values(planned_at=before))
    for task in range(12):
        first = 100 + 10 * task
        ended(ledger, run("mapped", task_id=f"group.extract_customers[{task}]", **TEN), range(first, first + 3))
    long = requests_of(ledger, plan(ledger, range(1_000, 1_072), run("long")))
    return int(long[4].id)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Yield the address of the pages, and the fifth request of the long run."""
    with Ledger(f"sqlite:///{tmp_path_factory.mktemp('states') / 'l.db'}", new=True, check_schema=False) as ledger:
        create(ledger.engine)
        fifth = fill(ledger)
        airflow = Airflow(ledger.engine.url)
        user: Any = object()
        airflow.app.dependency_overrides[reader] = lambda: Una(user, frozenset({"spring"}))
        airflow.told = {REPORT: PASSED}
        made_at = datetime.now(UTC) - timedelta(days=1)
        running = {"wait", "long"}

        def facts(_dag: str, run_id: str) -> object:
            state = "running" if run_id in running else "success"
            known = replace(FACTS, run_id=run_id, state=state, made_at=made_at)
            return None if run_id == "unknown" else known

        for view in (run_view, badges_view):
            patch.setattr(view, "campaign_dags", lambda _ids: {"spring": airflow.dag})
            patch.setattr(view, "returned", lambda runs, task, *_: airflow.returned(runs, task) if runs else {})
            patch.setattr(view, "deadlines", lambda _runs: {})
        for view in (run_view, matters_view):
            patch.setattr(view, "checker_url", lambda _conn: "http://checker.example/")
        patch.setattr(run_view, "run_facts", facts)
        patch.setattr(run_view, "runs_not_over", lambda _dag: (airflow.active, airflow.newest))
        patch.setattr(run_view, "recent_runs", lambda _ids: {"spring": airflow.recent})
        patch.setattr(run_view, "why_not_started", lambda *_: airflow.queued)
        patch.setattr(run_view, "task_state", lambda *_: airflow.waits)
        patch.setattr(run_view, "platform_of", lambda _conn: None)
        patch.setattr(run_known, "REQUESTS_SHOWN", 5)
        patch.setattr(badges_view, "last_runs", lambda _ids: {"spring": FACTS})
        patch.setattr(badges_view, "states_of", lambda runs: dict.fromkeys(runs, "success"))
        patch.setattr(failed_runs, "recent_runs", lambda _ids: {"spring": [FACTS]})
        patch.setattr(failed_runs, "failed_tasks", airflow.failed_tasks)
        patch.setattr(failed_runs, "returned", lambda runs, task, *_: airflow.returned(runs, task))
        patch.setattr(import_errors, "broken_files", lambda _reader: ())
        whole = FastAPI()
        whole.mount("/capillary", airflow.app)
        for name, error in (("nobody", HTTPException(401, "Not authenticated")), ("nothing", NothingToSee())):
            whole.mount(f"/{name}", refusing(airflow.app, error))
        with served(whole) as url:
            yield url, fifth


def refusing(like: FastAPI, error: Exception) -> FastAPI:
    """Return the application for a reader who is refused everything."""

    def refuse() -> None:
        raise error

    app = pages(like.state.ledger)
    app.dependency_overrides[reader] = refuse
    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the pages are not served"
        time.sleep(0.05)
    try:
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_keeps_nobody_out(places: tuple[str, int], browser: Browser, name: str) -> None:
    url, fifth = places
    path, place, says = PAGES[name]
    address = f"/{path}" if path.startswith(("nobody/", "nothing/")) else f"/capillary/{path}"
    address += f"#{place.format(fifth=fifth)}" if place else ""
    pictures = os.environ.get("SCREENSHOTS_OF_STATES")
    for width, theme in WINDOWS:
        with window(browser, url, None, theme=theme, width=width) as screen:
            screen.open(address)
            screen.says(says, limit_s=20)
            assert not screen.overflows(), width
            assert screen.faults() == [], (width, theme)
            assert screen.main.locator("a.button, button").count(), "there is a way from here"
            if pictures:
                screen.shoot(Path(pictures, f"{name}-{width}-{theme}.png"), width=width, height=1400)


def test_the_next_requests_and_the_first_ones_are_reached_by_their_buttons(
    places: tuple[str, int], browser: Browser
) -> None:
    with window(browser, places[0], None) as screen:
        screen.open("/capillary/runs/spring/long")
        shown = []
        for press in ("The next requests", "The next requests", "The next requests", "The first requests", ""):
            screen.says("24 requests, here", limit_s=20)
            shown.append(screen.main.get_by_text(re.compile("24 requests, here")).inner_text())
            if press:
                screen.press(press)
                expect(screen.main).not_to_contain_text(shown[-1], timeout=20_000)
        screen.page.go_back()
        expect(screen.main).not_to_contain_text(shown[-1], timeout=20_000)
        shown.append(screen.main.get_by_text(re.compile("24 requests, here")).inner_text())
    ranges = [found for each in shown for found in re.findall("here ([0-9]+ to [0-9]+)", each)]
    assert ranges == ["1 to 5", "6 to 10", "11 to 15", "16 to 20", "1 to 5", "16 to 20"]
