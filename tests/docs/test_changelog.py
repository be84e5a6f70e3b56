"""CHANGELOG.md keeps its form: the newest version first, known groups alone, no group empty."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Final

import pytest
from packaging.version import Version

from tests.docs.markdown import ROOT, Section, sections

PAGE: Final = ROOT / "CHANGELOG.md"
#: Keep a Changelog's, in the order in which we write them.
GROUPS: Final = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_VERSION: Final = re.compile(r"\[(\d+\.\d+\.\d+)\] – (unreleased|\d{4}-\d{2}-\d{2})")


def faults(page: Path) -> list[str]:
    """Return what is wrong with the form of a changelog."""
    found = list[str]()
    title, *rest = [each for each in sections(page) if each.level]
    if title.title != "Changelog":
        found.append("it is not called Changelog")
    releases = list[Section]()
    groups = list[str]()
    for each in rest:
        if each.level == 2:
            releases.append(each)
            groups = []
        elif each.level != 3 or each.title not in GROUPS:
            found.append(f"there is no group {each.title!r}")
        else:
            if groups and GROUPS.index(each.title) <= GROUPS.index(groups[-1]):
                found.append(f"{each.title} comes after {groups[-1]}")
            groups.append(each.title)
            if not re.search(r"^- \S", each.prose, re.MULTILINE):
                found.append(f"{each.title} is empty")
    return [*found, *_wrong_releases([each.title for each in releases])]


def _wrong_releases(titles: list[str]) -> list[str]:
    if titles[:1] != ["[Unreleased]"]:
        return ["it does not begin with [Unreleased]"]
    found = [f"{title!r} is not a version with a date" for title in titles[1:] if not _VERSION.fullmatch(title)]
    if found:
        return found
    released = [match.groups() for match in map(_VERSION.fullmatch, titles[1:]) if match]
    numbers = [Version(number) for number, _ in released]
    if numbers != sorted(set(numbers), reverse=True):
        found.append("the newest version does not come first")
    days = [date.fromisoformat(day) for _, day in released if day != "unreleased"]
    if days != sorted(days, reverse=True):
        found.append("a version is younger than the one after it")
    if any(day == "unreleased" for _, day in released[1:]):
        found.append("an older version has no date")
    return found


def test_the_changelog_keeps_its_form() -> None:
    assert faults(PAGE) == []


def test_the_newest_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = next(each.title for each in sections(PAGE) if each.title.startswith("[") and each.title != "[Unreleased]")
    assert newest.startswith(f"[{project['version']}] ")


GOOD: Final = """# Changelog
## [Unreleased]
### Added
- This.
## [0.2.0] – 2026-12-01
### Changed
- That.
### Security
- And that.
## [0.1.0] – 2026-11-30
### Added
- All.
"""


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("", "", None),
        ("## [0.2.0] – 2026-12-01", "## [0.2.0] – unreleased", None),
        ("## [Unreleased]\n### Added\n- This.\n", "", "it does not begin with [Unreleased]"),
        ("### Changed", "### Improved", "there is no group 'Improved'"),
        ("- That.\n", "", "Changed is empty"),
        ("### Security", "### Added", "Added comes after Changed"),
        ("### Security", "### Changed", "Changed comes after Changed"),
        ("[0.2.0]", "[0.0.9]", "the newest version does not come first"),
        ("[0.2.0]", "[0.1.0]", "the newest version does not come first"),
        ("2026-11-30", "2026-12-02", "a version is younger than the one after it"),
        ("## [0.1.0] – 2026-11-30", "## [0.1.0] – unreleased", "an older version has no date"),
        ("2026-11-30", "30.11.2026", "'[0.1.0] – 30.11.2026' is not a version with a date"),
    ],
)
def test_a_wrong_form_is_seen(tmp_path: Path, before: str, after: str, fault: str | None) -> None:
    page = tmp_path / "CHANGELOG.md"
    page.write_text(GOOD.replace(before, after, 1), encoding="utf-8")
    assert faults(page) == ([fault] if fault else [])
