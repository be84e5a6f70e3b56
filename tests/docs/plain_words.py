"""Words that this project does not use, what to write in their place, and every sentence they are looked for in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

#: What is not written, as a pattern that ignores case → what to write in its place. A reader on call at night knows
#: the second; the first is old, rare, or a riddle without its story.
UNUSED: Final[dict[str, str]] = {
    r"\banew\b": "again, or the verb with 're' (resend, restart)",
    r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|later\b)": "is not a …, does not …, has no …",
    r"\bmeanwhile\b": "in the meantime, by then, since then; or leave it out",
    r"\bwhom\b": "who, or turn the sentence: 'customers who hold the badge'",
    r"\bshall\b": "must, should, will",
    r"\b(?:nought|naught)\b": "zero, nothing",
    r"\bfor once\b": "one time, one-time",
    r"\bfor ever\b": "forever, always, permanently",
    r"\bdeeds?\b": "action, operation",
    r"\b(?:broke|break|breaks|broken) off\b": "lost the connection, stopped, was cut short",
    r"\bmean it\b": "on purpose",
    r"\bsave for\b": "except",
    r"\bsave that\b": "except that",
    r"\bmend(?:s|ed|ing)?\b": "fix, correct, repair",
    r"\b(?:lest|albeit|whilst|amongst)\b": "so that … not, although, while, among",
    r"\b(?:hence|whence|thence|thus)\b": "so, from there",
    r"\b(?:thereof|whereof|hereby|therein|wherein)\b": "of it, by this, in it",
    r"\b(?:hinder(?:s|ed)?|behoof|betwixt)\b": "prevent, benefit, between",
    r"\bproves? no absence\b": "does not prove that anything is missing",
    r"\bwho cannot see\b": "name what is not visible, and what was not done",
    r"\bif that can be\b": "if expected",
}
_UNUSED: Final = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in UNUSED.items()]
#: The pages that people read, and the packages whose every text they may see: errors, log lines, help, docstrings.
PAGES: Final = ("*.md", "docs/*.md", "sandbox/*.md", "tests/*.md", ".github/**/*.md")
PACKAGES: Final = ("plugins", "local_airflow", "sandbox", "dags")


def unused_words(text: str) -> list[str]:
    """Return each unused word that stands in this text, with what stands around it and what to write."""
    flat = " ".join(text.split())
    return [
        f"{flat[max(0, found.start() - 40) : found.end() + 40]!r}: write {instead}"
        for pattern, instead in _UNUSED
        for found in pattern.finditer(flat)
    ]


def pages() -> list[Path]:
    """Return every page of documentation."""
    return sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})


def modules() -> list[Path]:
    """Return every module of the packages."""
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def texts_of(module: Path) -> Iterator[tuple[int, str]]:
    """Give the line and the text of each sentence in a module: messages, help and docstrings; a gap for each value."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    inside = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value
