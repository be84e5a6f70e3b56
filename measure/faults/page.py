"""The table of docs/faults.md: written between two markers, and read again by its test."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from measure.faults.contenders import Contender
from measure.faults.fault import Fault
from measure.faults.scene import CHECKOUT
from measure.faults.verdict import Cell

PAGE: Final = CHECKOUT / "docs" / "faults.md"
BEGIN: Final = "<!-- python -m measure.faults writes from here -->"
END: Final = "<!-- to here -->"
NOT_INSTALLED: Final = "not installed here"


class PageDamaged(Exception):
    """The page has not both markers, each once; the message says which page."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender and what it did; no cells where it cannot be had here."""

    contender: Contender
    cells: Sequence[Cell]

    def texts(self) -> tuple[str, ...]:
        """Return the row as the table shows it, the name first."""
        cells = [str(cell) for cell in self.cells] or [NOT_INSTALLED] * len(Fault)
        return (self.contender.name, *cells)


def write(rows: Iterable[Row], page: Path = PAGE) -> None:
    """Replace the table of the page.

    Raises:
        PageDamaged: it cannot be found.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise PageDamaged(
            f"{page} lacks its markers: put {BEGIN} and {END} around the table, each on a line of its own"
        )
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{_table(list(rows))}\n{END}{after}", encoding="utf-8")


def _table(rows: Sequence[Row]) -> str:
    heads = ("", *Fault)
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, *(row.texts() for row in rows))]
    lines.insert(1, "|---" * len(heads) + "|")
    made_of = dict.fromkeys(package for row in rows if row.cells for package in row.contender.made_of)
    facts = [f"Python {platform.python_version()}", *made_of]
    return "\n".join([*lines, "", f"Taken on {datetime.now(UTC):%Y-%m-%d} with {', '.join(facts)}."])
