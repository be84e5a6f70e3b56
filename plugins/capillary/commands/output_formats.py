"""How a command prints rows: a table for people, CSV or JSON for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table

from capillary.api.outside_text import on_one_line
from capillary.engine.attention import age

#: What a row is made of. Times are aware; the unit of a number is in its column's name.
Row = Mapping[str, object]

#: Columns of a table that goes to no terminal: its lines are not wrapped, so that `grep` and `cut` find whole rows.
_UNWRAPPED: Final = 10_000
#: A word of at most so many characters, such as a time, is not folded on a terminal; its header may be.
_SHORT: Final = 20
#: Blanks beside a column.
_BESIDE: Final = 2


class _Console(Console):
    """A console that leaves it to its caller what it means that nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_csv(rows: Iterable[Row], columns: Sequence[str], out: TextIO) -> int:
    """Write a header and the rows as they come; return their number. What is missing is empty."""
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow({name: _plain(row[name]) for name in columns})
        count += 1
    return count


def print_json(rows: Iterable[Row], columns: Sequence[str], out: TextIO) -> int:
    """Write one array with an object a line as they come; return their number. What is missing is null."""
    count = 0
    for row in rows:
        named = {name: _plain(row[name]) for name in columns}
        out.write(f"{',' if count else '['}\n{json.dumps(named, ensure_ascii=False)}")
        count += 1
    out.write("\n]\n" if count else "[]\n")
    return count


def print_table(rows: Iterable[Row], columns: Sequence[str], out: TextIO) -> int:
    """Write a table; return the number of rows. A column in which no row says anything is left out.

    On a terminal long words are folded into the lines below, and where it is too narrow for that each row becomes a
    block of lines; elsewhere no line is folded, and nothing is coloured.
    """
    kept = list(rows)
    if not kept:
        return 0
    said = [name for name in columns if any(_says_something(row[name]) for row in kept)]
    console = _Console(file=out, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNWRAPPED
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in said:
        is_number = all(isinstance(row[name], int) or row[name] is None for row in kept)
        longest = max(len(_shown(name, row[name])) for row in kept)
        least = max(min(longest, _SHORT), *map(len, _header(name).split()))
        table.add_column(_header(name), justify="right" if is_number else "left", overflow="fold", min_width=least)
    for row in kept:
        table.add_row(*(_shown(name, row[name]) for name in said))
    if console.is_terminal and sum(_BESIDE + (column.min_width or 0) for column in table.columns) > console.width:
        return print_blocks(kept, columns, out)
    console.print(table)
    return len(kept)


def print_blocks(rows: Iterable[Row], columns: Sequence[str], out: TextIO) -> int:
    """Write a block of lines for each row, with what it says; return the number of rows. For rows of many words."""
    count = 0
    width = max(len(_header(name)) for name in columns)
    for row in rows:
        if count:
            out.write("\n")
        for name in columns:
            if _says_something(row[name]):
                out.write(f"{_header(name):{width}}  {_shown(name, row[name])}\n")
        count += 1
    return count


def _plain(value: object) -> object:
    """Return a value as CSV and JSON know it; times in UTC, `2026-11-25T06:00:00Z`."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _says_something(value: object) -> bool:
    return value not in (None, "", 0)


def _header(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_s") and isinstance(value, int):
        return age(timedelta(seconds=value))
    return on_one_line(str(_plain(value)))
