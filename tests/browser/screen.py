"""A person's browser: one user of Airflow, logged in, who looks at the badge pages and at the checker's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.chromium import PATIENCE_MS

#: A run of Airflow takes a while on two cores: seconds until a page must say what is waited for.
LIMIT_S: Final = 120.0
#: What axe calls a fault that keeps somebody out.
SERIOUS: Final = frozenset({"serious", "critical"})
HEIGHT: Final = 900
#: A window that holds a whole page, and how much of a window lies below the part of it that scrolls.
_HIGH: Final = 3_000
_BEYOND_THE_PAGE: Final = """main => {
  for (let each = main.getRootNode().host ?? main; each; each = each.parentElement)
    if (/auto|scroll/.test(getComputedStyle(each).overflowY)) return innerHeight - each.getBoundingClientRect().bottom
  return 0
}"""
Theme = Literal["light", "dark"]


class Screen:
    """One browser window.

    Attributes:
        page: Airflow's tab, which keeps its place.
        desk: the tab of the checker's page.
        main: the badge page that is shown, inside Airflow's UI or on its own.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.desk: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.main: Locator = self.page.locator("main.page")

    def log_in(self, user: str) -> None:
        """Log in by Airflow's own form."""
        self.page.goto(f"{self.url}/")
        self.page.fill("input[name=username]", user)
        self.page.fill("input[name=password]", user)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(f"{self.url}/")

    def open(self, path: str) -> None:
        """Go to a page, and wait until it is drawn."""
        self.page.goto(f"{self.url}{path}")
        self.main.wait_for()

    def open_run(self, dag_id: str, run_id: str) -> None:
        """Go to the tab of a run."""
        self.open(f"/dags/{dag_id}/runs/{run_id}/plugin/badges_run")

    @property
    def run_id(self) -> str:
        """The run whose tab is shown."""
        return self.page.url.split("/runs/")[1].split("/")[0].replace("%3A", ":").replace("%2B", "+")

    def says(self, *words: str, limit_s: float = LIMIT_S) -> None:
        """Wait until the page says so; it renews itself."""
        for each in words:
            expect(self.main).to_contain_text(each, timeout=limit_s * 1000)

    def says_not(self, *words: str) -> None:
        """Assert that the page, which is drawn, does not say so."""
        for each in words:
            expect(self.main).not_to_contain_text(each, timeout=1000)

    def press(self, name: str) -> None:
        """Press a button, or follow a link that looks like one."""
        self.main.get_by_role("link", name=name).or_(self.main.get_by_role("button", name=name)).first.click()

    def faults(self) -> list[str]:
        """Return what axe finds serious on the badge page that is shown."""
        inside = "[data-testid=badge-pages]" if self.page.locator("[data-testid=badge-pages]").count() else "main.page"
        found: dict[str, Any] = Axe().run(self.page, context=inside).response
        return [
            f"{each['id']} ({each['impact']}): {json.dumps([node['target'] for node in each['nodes']][:3])}"
            for each in found["violations"]
            if each["impact"] in SERIOUS
        ]

    def overflows(self) -> bool:
        """Return whether the page is wider than its window: only tables may scroll, and inside their frames."""
        return bool(self.main.evaluate("main => main.scrollWidth > main.clientWidth + 1"))

    def outgrows(self) -> bool:
        """Return whether Airflow's own document is higher than its window: only the panel inside may scroll."""
        return bool(self.page.evaluate("document.documentElement.scrollHeight > globalThis.innerHeight"))

    def shoot(
        self, file: Path | None, *, to_end_of: str = "", width: int = 1280, height: int = HEIGHT, least: int = 720
    ) -> None:
        """Take a picture of the window; None: of none.

        Args:
            file: where it goes.
            to_end_of: how the last box of the picture begins: the window ends below it. Empty: the window is `height`.
            width: of the window.
            height: the same.
            least: the height that Airflow's navigation needs.
        """
        if file is None:
            return
        before = self.page.viewport_size
        self.page.mouse.move(width - 2, 2)  # it points at nothing
        self.page.set_viewport_size({"width": width, "height": _HIGH if to_end_of else height})
        self.page.wait_for_timeout(400)
        if to_end_of:
            box = self.main.locator(".card").filter(has_text=re.compile(rf"^\s*{re.escape(to_end_of)}"))
            bottom = float(box.first.evaluate("each => each.getBoundingClientRect().bottom"))
            beyond = float(self.main.evaluate(_BEYOND_THE_PAGE))
            self.page.set_viewport_size({"width": width, "height": max(least, round(bottom + beyond) + 12)})
            self.page.wait_for_timeout(400)
        self.page.screenshot(path=file, animations="disabled")
        if before is not None:
            self.page.set_viewport_size(before)

    def decide(self, checker: str, word: str, message: str = "") -> None:
        """Decide the first request that waits, on the checker's page in another tab: `Approve` or `Reject`."""
        self.desk.goto(checker)
        first = self.desk.locator("section li").first
        first.locator("summary", has_text=word).click()
        form = first.locator("details[open] form")
        if message:
            form.locator("textarea").fill(message)
        form.locator("button").click()
        self.desk.wait_for_load_state()

    def approve_all(self, checker: str) -> None:
        """Approve all that waits, two requests or more, on the checker's page in another tab."""
        self.desk.goto(checker)
        self.desk.locator("summary", has_text="Approve all").click()
        number = self.desk.locator("#all-count").inner_text()
        self.desk.fill("input[name=count]", number)
        self.desk.get_by_role("button", name="Approve all").click()
        self.desk.wait_for_load_state()


@contextmanager
def window(
    browser: Browser, url: str, user: str | None, *, theme: Theme = "light", width: int = 1280
) -> Iterator[Screen]:
    """Yield a window of a user; None: of nobody."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=theme, timezone_id="Asia/Kolkata"
    )
    try:
        screen = Screen(context, url)
        if user is not None:
            screen.log_in(user)
        yield screen
        assert screen.errors == []
    finally:
        context.close()
