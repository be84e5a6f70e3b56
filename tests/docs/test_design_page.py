"""docs/design.md says what the code does: the life of a request, the invariants, the numbers, the rooms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from capillary.api.settings import PlatformSettings
from capillary.base_operator import RUN_LEASE
from capillary.campaign import BadgeCampaign
from capillary.engine.absence import WITHOUT_CONTROL
from capillary.engine.list_controls import CONTROLS
from capillary.engine.platform_list import LOOK_BACK
from capillary.engine.polling import QUIET_S
from capillary.engine.second_look import LOOK_AFTER_S
from capillary.engine.settle import OUTPUT_PATIENCE
from capillary.ledger.conditions import LATE_TWIN
from capillary.ledger.history import GOES_BACK
from capillary.ledger.pace import SLOT_GRACE_S, START_WITHIN_S
from capillary.ledger.request_rows import MAX_RESENDS
from capillary.ledger.scans import DISTRUST
from capillary.ledger.status import RequestStatus
from tests.docs.markdown import ROOT, Section, code_of, sections
from tests.laboratory.rules import INVARIANTS, WORLD_RULES

PAGE: Final = ROOT / "docs" / "design.md"
SECTIONS: Final = sections(PAGE)
#: On one line: where a line breaks means nothing.
TEXT: Final = re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8"))
PACKAGE: Final = ROOT / "plugins" / "capillary"
#: The defaults of the connection.
DEFAULTS: Final[dict[str, Any]] = {each.name: each.default for each in fields(PlatformSettings)}
INVARIANT: Final = re.compile(r"\bI\d\b")
#: What the project wrote, and what may speak of the design.
WRITTEN: Final = ("*.md", "dags", "docs", "local_airflow", "measure", "plugins", "sandbox", "tests")


def section(title: str) -> Section:
    (found,) = (each for each in SECTIONS if each.title == title)
    return found


def written() -> Iterator[tuple[Path, str]]:
    """Yield every Python file and page of the project with its text; this test apart."""
    for place in WRITTEN:
        for path in ROOT.glob(place):
            for file in [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.md")]:
                if file != Path(__file__):
                    yield file, file.read_text(encoding="utf-8")


# The life of a request ----------------------------------------------------------------------------------------


def test_the_picture_of_a_request_and_the_table_say_the_same() -> None:
    ((_, picture),) = section("The life of a request").blocks
    drawn = {tuple(pair) for pair in re.findall(r"^ *(\S+) --> (\S+?):", picture, re.MULTILINE)}
    listed = set[tuple[str, ...]]()
    for change, *_ in section("Who may change what").rows():
        before, after = (code_of(side) or ["[*]"] for side in change.split("→"))
        listed |= {(status, after[0]) for status in before}
    assert drawn == listed
    assert {status for pair in drawn for status in pair} == {"[*]", *RequestStatus}


@pytest.mark.parametrize("status", RequestStatus)
def test_every_status_says_what_comes_next_and_who_ends_it(status: str) -> None:
    prose = section(status).prose
    assert "**Next:**" in prose
    assert status == RequestStatus.SETTLED or "**If nobody acts:**" in prose


def hours(span: timedelta) -> str:
    return {1: "an hour", 6: "Six hours", 24: "24 hours"}[int(span / timedelta(hours=1))]


@pytest.mark.parametrize(
    "said",
    [
        f"at most {MAX_RESENDS}, so three sends",
        f"`post_timeout_s`, {DEFAULTS['post_timeout_s']:.0f} seconds by default",
        f"`visibility_lag_s`, {DEFAULTS['visibility_lag_s'] / 60:.0f} minutes by default",
        f"`doubt_from` = claim + {START_WITHIN_S:.0f} s + `post_timeout_s` + `visibility_lag_s`",
        f"starts within {START_WITHIN_S:.0f} seconds of the slot",
        f"a read up to {SLOT_GRACE_S:.0f} second later, a POST up to {SLOT_GRACE_S + START_WITHIN_S:.0f}",
        f"read again {LOOK_AFTER_S:.0f} seconds later",
        f"{hours(WITHOUT_CONTROL)} after `doubt_from`",
        f"in the last {hours(DISTRUST)}",
        f"{hours(RUN_LEASE)} after the last one the run counts as dead",
        f"Up to {CONTROLS} of the missing ones are read",
        f"{ {4: 'four'}[2 * LOOK_BACK.days] } days before the first send",
        f"stays here for up to {OUTPUT_PATIENCE / timedelta(minutes=1):.0f} minutes",
        f"deadline of `wait` ({BadgeCampaign.model_fields['deadline'].default.days} days by default)",
        f"watched for {LATE_TWIN.days} days",
        f"silent for {QUIET_S:.0f} seconds after deferring",
        f"{ {5: 'five'}[GOES_BACK.days // 365] } years before the first send",
    ],
)
def test_a_number_is_the_codes(said: str) -> None:
    assert said in TEXT


def test_with_the_defaults_doubt_may_be_judged_when_the_page_says() -> None:
    seconds = START_WITHIN_S + DEFAULTS["post_timeout_s"] + DEFAULTS["visibility_lag_s"]
    assert f"{seconds // 60:.0f} minutes and {seconds % 60:.0f} seconds after the claim" in TEXT


# Invariants ---------------------------------------------------------------------------------------------------


def defined() -> list[str]:
    return [each.title.split(":")[0] for each in SECTIONS if re.match(r"I\d: ", each.title)]


def test_the_invariants_are_defined_once_and_in_order() -> None:
    assert defined() == [f"I{number}" for number in range(9)]


def test_the_judges_rules_are_those_that_are_defined() -> None:
    assert list(INVARIANTS) == defined()
    assert list(WORLD_RULES) == [code_of(row[0])[0] for row in section("Other rules of the seeded worlds").rows()]


def test_every_invariant_that_is_named_is_defined() -> None:
    used = {name for _, text in written() for name in INVARIANT.findall(text)}
    assert used == set(defined())


def test_who_names_an_invariant_leads_to_its_definition() -> None:
    lost = [
        str(file.relative_to(ROOT)) for file, text in written() if INVARIANT.search(text) and "design.md" not in text
    ]
    assert [name for name in lost if name != "docs/design.md"] == []


def test_nobody_speaks_of_a_design_without_its_page() -> None:
    loose = re.compile(r"\(design(?!\.md)\b|\bdesign, *(?:I?\d|§)", re.IGNORECASE)
    found = [f"{file.relative_to(ROOT)}: {match[0]}" for file, text in written() for match in loose.finditer(text)]
    assert found == []


def test_a_heading_that_is_named_in_code_is_there() -> None:
    titles = {each.title for each in SECTIONS}
    named = {
        (str(file.relative_to(ROOT)), title)
        for file, text in written()
        if file.suffix == ".py"
        for tail in re.findall(r"docs/design\.md, ([^\n]+)", text)
        for title in re.findall(r'"([^"]+)"', tail)
    }
    assert named
    assert {each for each in named if each[1] not in titles} == set()


@pytest.mark.parametrize("words", ["(design, 4.2)", "#: Design, 4.2: an hour", "see design, I3", "(design §4)"])
def test_a_design_without_its_page_is_seen(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.test_design_page.ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(words, encoding="utf-8")
    with pytest.raises(AssertionError):
        test_nobody_speaks_of_a_design_without_its_page()


def test_every_rule_that_the_worlds_judge_is_explained() -> None:
    judged = set[str]()
    for file in (ROOT / "tests" / "simulation").glob("*.py"):
        judged |= set(re.findall(r'\.breach\(\s*"([^"]+)"', file.read_text(encoding="utf-8")))
    others = {code_of(row[0])[0] for row in section("Other rules of the seeded worlds").rows()}
    assert {name for name in judged if not INVARIANT.fullmatch(name)} == others
    assert {name for name in judged if INVARIANT.fullmatch(name)} <= set(defined())


# Rooms --------------------------------------------------------------------------------------------------------


def room_of(parts: tuple[str, ...], places: dict[str, str]) -> str:
    """Return the room of a module, by its path within the package."""
    if (PACKAGE / parts[0]).is_dir():
        return places.get(f"{'/'.join(parts[:2])}.py", places[f"{parts[0]}/"])
    return places.get(f"{parts[0]}.py", places["*.py"])


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield the modules of the package that a file imports, wherever in it, by their paths within the package."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (tuple(name.split(".")[1:]) for name in names if name.startswith("capillary."))


#: A campaign hands itself to what makes its DAG, when it is asked for one: the one import that goes upwards.
LATE: Final = (("campaign", "model"), ("campaign", "dag", "dag_of"))


def used_by(places: dict[str, str]) -> dict[str, set[str]]:
    """Return which rooms each room imports from, as the code has it."""
    used: dict[str, set[str]] = {room: set() for room in places.values()}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        room = room_of(parts, places)
        used[room] |= {room_of(module, places) for module in imported(file) if (parts, module) != LATE} - {room}
    return used


def test_the_table_of_rooms_is_the_code() -> None:
    rows = section("Rooms").rows()
    places = {place: row[0] for row in rows for place in code_of(row[1])}
    may = {row[0]: set(row[3].split(", ")) - {"–"} for row in rows}
    # An editable install leaves a folder without code beside the rooms.
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert {place for place in places if place.endswith("/")} == folders
    assert [
        place for place in places if place.endswith(".py") and place != "*.py" and not (PACKAGE / place).exists()
    ] == []
    assert used_by(places) == may


def test_the_drawing_of_the_rooms_is_the_table() -> None:
    ((_, drawing),) = section("Rooms").blocks
    drawn = set(re.findall(r"^ *(\w+) --> (\w+)$", drawing, re.MULTILINE))
    assert drawn == {(row[0], room) for row in section("Rooms").rows() for room in row[3].split(", ") if room != "–"}


def test_the_imports_make_no_circle() -> None:
    may = {row[0]: set(row[3].split(", ")) - {"–"} for row in section("Rooms").rows()}
    while may:
        free = {room for room, below in may.items() if not below & may.keys()}
        assert free, may
        may = {room: below for room, below in may.items() if room not in free}
