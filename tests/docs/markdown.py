"""What the tests need of Markdown: headings, fenced blocks, tables and links. Nothing is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_HEADING: Final = re.compile(r"(#{1,6}) +(.*?) *#*$")
_FENCE: Final = re.compile(r"(`{3,}|~{3,}) *(\w*)")
_CELL: Final = re.compile(r"(?<!\\)\|")
_LINK: Final = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
_REFERENCE: Final = re.compile(r"^ {0,3}\[[^\]]+\]: *<?([^\s>]+)>?", re.MULTILINE)
_CODE: Final = re.compile(r"`+([^`]+)`+")


@dataclass(slots=True)
class Section:
    """What stands between one heading and the next. `blocks`: language and content of the fenced blocks."""

    level: int
    title: str
    lines: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)

    @property
    def prose(self) -> str:
        """Everything but the fenced blocks."""
        return "\n".join(self.lines)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the section's tables, cells stripped; heads and rules are left out."""
        found: list[tuple[str, ...]] = []
        lines = [line for line in self.lines if line.startswith("|")]
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if not _is_rule(line) and not _is_rule(following):
                found.append(tuple(cell.strip() for cell in _CELL.split(line)[1:-1]))
        return found


def _is_rule(line: str) -> bool:
    return bool(line) and set(line) <= set("|-: ")


def sections(file: Path) -> list[Section]:
    """Return the page's sections; what stands before the first heading has an empty title."""
    found = [Section(0, "")]
    fence, language, content = "", "", list[str]()
    for line in file.read_text(encoding="utf-8").splitlines():
        if fence:
            if line.strip() == fence:
                found[-1].blocks.append((language, "\n".join(content)))
                fence = ""
            else:
                content.append(line)
        elif opened := _FENCE.match(line.strip()):
            fence, language, content = opened[1], opened[2], []
        elif heading := _HEADING.match(line):
            found.append(Section(len(heading[1]), heading[2]))
        else:
            found[-1].lines.append(line)
    assert not fence, f"{file}: a fenced block is not closed"
    return found


def code_of(text: str) -> list[str]:
    """Return what stands in backticks."""
    return _CODE.findall(text)


def links(file: Path) -> Iterator[str]:
    """Yield the targets of the page's links, code left out."""
    for section in sections(file):
        prose = _CODE.sub("", section.prose)
        yield from _LINK.findall(prose)
        yield from _REFERENCE.findall(prose)


def anchors(file: Path) -> frozenset[str]:
    """Return the fragments that the page's headings can be linked by, as GitHub makes them."""
    found: dict[str, int] = {}
    for section in sections(file):
        if section.level:
            words = re.sub(r"[^\w\- ]", "", section.title.lower()).replace(" ", "-")
            found[words] = found.get(words, -1) + 1
    return frozenset(
        words if not number else f"{words}-{number}" for words, last in found.items() for number in range(last + 1)
    )
