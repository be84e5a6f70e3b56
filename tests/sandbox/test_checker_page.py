"""The checker's page as people and screen readers get it: confirmation, names, labels, times, contrast."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sandbox.checker_lines import counted, moment
from sandbox.origins import Origins
from sandbox.settings import SettingsError
from tests.sandbox.calling import START, Caller, MakeCaller

PAGE = "/_sandbox/checker"
TEMPLATES = Path(__file__).parents[2] / "sandbox" / "templates"
VOID = frozenset({"meta", "input", "br", "link"})


@dataclass
class Tag:
    """An element: its text is that of everything in it."""

    name: str
    attributes: dict[str, str]
    above: list[Tag] = field(default_factory=list)
    text: str = ""

    def inside(self, name: str) -> Tag | None:
        """The nearest element of this name that it stands in."""
        return next((tag for tag in reversed(self.above) if tag.name == name), None)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self._open: list[Tag] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Tag(tag, {name: value or "" for name, value in attrs}, list(self._open))
        self.tags.append(found)
        if tag not in VOID:
            self._open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag, f"</{tag}> closes something else"

        if tag in ("dt", "dd", "label", "p"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            tag.text += data


def read(page: str) -> list[Tag]:
    """Return the elements of a page, each of which is closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.tags


async def _page(call: Caller, path: str = PAGE) -> list[Tag]:
    return read((await call.client.get(path)).text)


async def _busy(sandbox: MakeCaller, **settings: object) -> Caller:
    call = sandbox(**settings)
    for number in range(3):
        await call.submit(f"key-{number}", list(range(1, number + 2)))
    await call.submit("key-decided", [7, 8])
    call.platform.reject("key-decided", "No.")
    return call


async def test_every_decision_is_asked_for_twice(sandbox: MakeCaller) -> None:
    """A form stands behind a summary that opens it, and says what it does and to how many."""
    tags = await _page(await _busy(sandbox))
    forms = [tag for tag in tags if tag.name == "form"]
    assert len(forms) == 3 * 2 + 1
    assert all(form.inside("details") for form in forms)
    assert [tag.text for tag in tags if tag.name == "summary"] == [*["Approve…", "Reject…"] * 3, "Approve all…"]
    assert not any("open" in tag.attributes for tag in tags if tag.name == "details")
    said = [" ".join(form.text.split()) for form in forms]
    assert said[2].startswith("Approve 2 customers for Gold Circle 2026? The platform enrols them at once.")
    assert said[2].endswith("Approve 2 customers")
    assert said[1].startswith("Reject 1 customer for Gold Circle 2026?")
    assert "Approve all 3 requests with 6 customers" in said[-1]
    assert "Type 3 to confirm" in said[-1]
    assert all("cannot be undone" in each for each in said)


async def test_each_request_has_its_own_two_buttons(sandbox: MakeCaller) -> None:
    call = await _busy(sandbox)
    tags = await _page(call)
    waiting = [record.platform_request_id for record in call.platform.requests() if not record.ended]
    for request_id in waiting:
        of_request = [tag for tag in tags if (row := tag.inside("li")) and row.attributes["id"] == f"w-{request_id}"]
        named = {tag.attributes["value"] for tag in of_request if tag.attributes.get("name") == "request"}
        actions = [tag.attributes["value"] for tag in of_request if tag.attributes.get("name") == "action"]
        assert (named, actions) == ({request_id}, ["approve", "reject"])


@pytest.mark.parametrize(("waiting", "hidden"), [(0, True), (1, True), (2, False)])
async def test_all_is_offered_for_more_than_one(sandbox: MakeCaller, waiting: int, hidden: bool) -> None:
    call = sandbox()
    for number in range(waiting):
        await call.submit(f"key-{number}", [number + 1])
    (offer,) = [tag for tag in await _page(call) if tag.attributes.get("id") == "all"]
    assert ("hidden" in offer.attributes) is hidden


async def test_the_page_can_be_heard_and_used_without_a_mouse(sandbox: MakeCaller) -> None:
    call = await _busy(sandbox)
    (request_id, *_) = [record.platform_request_id for record in call.platform.requests()]
    for path in (PAGE, f"{PAGE}/{request_id}", f"{PAGE}/none"):
        tags = await _page(call, path)
        ids = [tag.attributes["id"] for tag in tags if "id" in tag.attributes]
        assert len(ids) == len(set(ids))
        for tag in tags:
            if tag.name in ("textarea", "input") and tag.attributes.get("type") != "hidden":
                label = tag.inside("label")
                assert label is not None
                assert label.text.strip()
            for reference in ("aria-labelledby", "aria-describedby"):
                assert not tag.attributes.get(reference) or tag.attributes[reference] in ids
            assert int(tag.attributes.get("tabindex", "0")) <= 0
        assert [tag.attributes.get("lang") for tag in tags if tag.name == "html"] == ["en"]
        assert [tag.name for tag in tags if tag.name == "h1"] == ["h1"]
        levels = [int(tag.name[1]) for tag in tags if re.fullmatch(r"h\d", tag.name)]
        assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
        assert all(tag.text.strip() for tag in tags if tag.name in ("button", "summary", "a", "h1", "h2", "h3"))


async def test_what_the_refresh_renews_has_a_name(sandbox: MakeCaller) -> None:
    """refresh.js finds rows and live parts by their ids: one without would be thrown away every five seconds."""
    tags = await _page(await _busy(sandbox))
    renewed = [tag for tag in tags if tag.name == "li" or {"data-live", "data-shown"} & tag.attributes.keys()]
    assert len(renewed) > 10
    assert all(tag.attributes.get("id") for tag in renewed)
    assert not [tag for tag in tags if tag.name in ("form", "textarea", "details") and _is_renewed(tag)]
    assert not [tag for tag in tags if tag.attributes.get("http-equiv") == "refresh"]
    assert [tag.attributes["data-refresh-ms"] for tag in tags if tag.name == "script"] == ["5000"]


def _is_renewed(tag: Tag) -> bool:
    return any("data-live" in each.attributes for each in [tag, *tag.above])


async def test_a_list_that_is_cut_says_so(sandbox: MakeCaller) -> None:
    call = sandbox()
    for number in range(101):
        await call.submit(f"key-{number}", [number + 1])
    shown = "".join(tag.text for tag in await _page(call) if tag.name == "main")
    assert "The oldest 100 of 101 requests are shown." in shown
    assert "all 101 requests with 101 customers" in shown


async def test_the_customers_of_a_large_request_are_cut_and_counted(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", list(range(1, 1_201)))
    page = (await call.client.get(f"{PAGE}/{request_id}")).text
    assert "99, 100 and 1,100 more" in page
    assert page.index("Reject…") < page.index("99, 100"), "the buttons stand above a list that may be long"


@pytest.mark.parametrize(
    ("zone", "at", "shown", "machine"),
    [
        ("Asia/Kolkata", START, "21 Sep 2026 19:43:20 UTC+05:30", "2026-09-21T14:13:20+00:00"),
        ("UTC", START, "21 Sep 2026 14:13:20 UTC", "2026-09-21T14:13:20+00:00"),
        ("Europe/London", START, "21 Sep 2026 15:13:20 UTC+01:00", "2026-09-21T14:13:20+00:00"),
        ("Europe/London", START + 60 * 86_400, "20 Nov 2026 14:13:20 UTC", "2026-11-20T14:13:20+00:00"),
        ("America/St_Johns", START, "21 Sep 2026 11:43:20 UTC-02:30", "2026-09-21T14:13:20+00:00"),
        ("Asia/Singapore", START + 10 * 3600, "22 Sep 2026 08:13:20 UTC+08:00", "2026-09-22T00:13:20+00:00"),
    ],
)
def test_a_time_says_its_zone(zone: str, at: float, shown: str, machine: str) -> None:
    found = moment(at, ZoneInfo(zone))
    assert (found.shown, found.machine) == (shown, machine)


async def test_every_time_on_the_pages_has_its_zone(sandbox: MakeCaller) -> None:
    call = await _busy(sandbox, timezone="America/New_York")
    decided = call.platform.requests()[-1].platform_request_id
    for path, times in ((PAGE, 4), (f"{PAGE}/{decided}", 2)):
        tags = await _page(call, path)
        found = [tag for tag in tags if tag.name == "time"]
        assert [tag.text for tag in found] == ["21 Sep 2026 10:13:20 UTC-04:00"] * times
        assert {tag.attributes["datetime"] for tag in found} == {"2026-09-21T14:13:20+00:00"}
        assert "times in America/New_York (UTC-04:00)" in "".join(tag.text for tag in tags if tag.name == "header")


@pytest.mark.parametrize(("number", "text"), [(0, "0 requests"), (1, "1 request"), (1_200, "1,200 requests")])
def test_a_noun_agrees_with_its_number(number: int, text: str) -> None:
    assert counted(number, "request") == text


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The tables of a ledger that the page asks, with one request by a campaign and one by a DAG made by hand."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            "CREATE TABLE badge_run (id, campaign, dag_id, run_id);"
            "CREATE TABLE badge_request (request_key, badge_run_id);"
            "INSERT INTO badge_run VALUES (1, 'gold', 'gold', 'manual__<1>'), (2, 'vip', 'by_hand', 'run 2');"
            "INSERT INTO badge_request VALUES ('key-0', 1), ('key-decided', 2);"
        )
    return path


async def test_campaign_and_run_are_named_where_the_ledger_is_known(sandbox: MakeCaller, ledger: Path) -> None:
    call = await _busy(sandbox, ledger=f"sqlite:///{ledger}")
    tags = await _page(call)
    facts = [" ".join(tag.text.split()) for tag in tags if tag.name == "dl"]
    assert facts[0].startswith("Campaign gold Run manual__<1> Request key key-0 Waits")
    assert facts[1].startswith("Request key key-1")
    assert facts[3].startswith("Campaign vip (DAG by_hand) Run run 2 Request key key-decided")
    assert "campaign gold?" in " ".join(next(tag.text for tag in tags if tag.name == "form").split())
    assert "Campaigns and runs are not named" not in "".join(tag.text for tag in tags)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/ledger.db", "postgresql+psycopg://127.0.0.1:1/none"])
async def test_a_ledger_that_does_not_answer_hides_nothing_else(sandbox: MakeCaller, url: str) -> None:
    tags = await _page(await _busy(sandbox, ledger=url))
    assert "Campaigns and runs are not named: the ledger does not answer." in "".join(tag.text for tag in tags)
    assert len([tag for tag in tags if tag.name == "li"]) == 4


def test_a_ledger_that_is_not_there_is_not_made(sandbox: MakeCaller, tmp_path: Path) -> None:
    call = sandbox(ledger=f"sqlite:///{tmp_path / 'ledger.db'}")
    assert "ledger" not in repr(call.platform.settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["books.db", "nosuchdialect://x/y"])
def test_what_is_no_address_of_a_ledger_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="ledger: not usable") as refused:
        Origins(url)
    assert url not in str(refused.value)


def _colours(scheme: str) -> dict[str, str]:
    style = (TEMPLATES / "layout.html").read_text()
    light, dark = re.findall(r":root \{([^}]*)\}", style)
    found = dict(re.findall(r"--(\w+): (#\w+)", light))
    return found | (dict(re.findall(r"--(\w+): (#\w+)", dark)) if scheme == "dark" else {})


def _luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "back"])
@pytest.mark.parametrize(
    ("ink", "least"),
    [*((text, 4.5) for text in ("ink", "dim", "good", "bad", "wait", "act")), ("edge", 3.0)],
)
def test_colours_have_enough_contrast(scheme: str, ground: str, ink: str, least: float) -> None:
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for the edges of what can be pressed (1.4.11)."""
    colours = _colours(scheme)
    dark, bright = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
    assert (bright + 0.05) / (dark + 0.05) >= least
