"""Every relative link of the docs leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.markdown import ROOT, anchors, code_of, links, sections
from tests.docs.names import leads_somewhere

PLACES = ("*.md", ".github/**/*.md", "docs/**/*.md", "sandbox/**/*.md")
PAGES = sorted(page for place in PLACES for page in ROOT.glob(place))


def broken(page: Path) -> list[str]:
    """Return the page's links that lead nowhere."""
    found: list[str] = []
    for target in links(page):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        inside = there == ROOT or ROOT in there.parents
        known = inside and there.exists()
        if known and parts.fragment and there.suffix == ".md":
            known = unquote(parts.fragment) in anchors(there)
        if not known:
            found.append(target)
    return found


def test_the_pages_are_found() -> None:
    found = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/design.md",
        "docs/glossary.md",
    } <= found


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = {(ROOT / urlsplit(target).path).resolve() for target in links(ROOT / "README.md")}
    assert [
        page
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        if page.name != "README.md" and page not in linked
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Named as code, without a link. The platform's own pages begin with `docs/`, too, and have no suffix."""
    prose = "\n".join(section.prose for section in sections(page))
    named = [
        name
        for name in code_of(prose)
        if re.fullmatch(r"docs/[\w/-]+\.\w+|(?:\.ci|tests|sandbox|plugins|local_airflow)/[\w/.*-]+", name)
    ]
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_is_named_exists(page: Path) -> None:
    prose = "\n".join(section.prose for section in sections(page))
    named = [name for name in code_of(prose) if re.fullmatch(r"capillary(?:\.\w+)+", name)]
    assert [name for name in named if not leads_somewhere(name)] == []


@pytest.mark.parametrize(
    ("link", "leads_nowhere"),
    [
        ("[a](there.md)", False),
        ("[a](there.md#a-heading-1)", False),
        ("[a](#here)", False),
        ("[a](https://example.com/no.md)", False),
        ("`[a](no.md)`", False),
        ("[a](no.md)", True),
        ("[a](there.md#another)", True),
        ("[a](there.md#a-heading-2)", True),
        ("[a](#there)", True),
        ("[a]: no.md", True),
    ],
)
def test_a_broken_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str, leads_nowhere: bool) -> None:
    monkeypatch.setattr("tests.docs.test_links.ROOT", tmp_path.resolve())
    (tmp_path / "there.md").write_text("# A heading\n\n## A heading\n", encoding="utf-8")
    page = tmp_path.resolve() / "page.md"
    page.write_text(f"# Here\n\n```\n[a](no.md)\n```\n\n{link}\n", encoding="utf-8")
    assert bool(broken(page)) is leads_nowhere
