"""Every relative link of the docs leads somewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.markdown import ROOT, anchors, links

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sandbox/**/*.md")])


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
    assert {"README.md", "docs/api.md", "docs/ledger.md"} <= {str(page.relative_to(ROOT)) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


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
