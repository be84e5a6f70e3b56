"""Figures beside their bounds and floors, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: what was measured.
        value: in `unit`.
        unit: such as `s` or `MiB`; empty for a number.
        bound: the most that is allowed; None where nothing is promised.
        floor: the least that any program would need, measured in the same run; None where there is none.
        note: what belongs to it.
    """

    what: str
    value: float
    unit: str = ""
    bound: float | None = None
    floor: float | None = None
    note: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the bound is kept, if there is one."""
        return self.bound is None or self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of one part on one database."""

    title: str
    figures: Sequence[Figure]

    @property
    def is_kept(self) -> bool:
        """Whether every bound is kept."""
        return all(figure.is_kept for figure in self.figures)


def show(console: Console, parts: Sequence[Part], machine: Mapping[str, str]) -> None:
    """Print the table and the facts of the machine."""
    table = Table(title="make bench", title_justify="left", header_style="bold", show_edge=False, pad_edge=False)
    for name, justify in (("", "left"), ("measured", "right"), ("bound", "right"), ("floor", "right"), ("×", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("", overflow="fold")
    for part in parts:
        table.add_section()
        table.add_row(f"[bold]{part.title}[/bold]")
        for figure in part.figures:
            table.add_row(*_cells(figure))
    console.print(table)
    console.print()
    for name, fact in machine.items():
        console.print(f"{name:<16} {fact}", highlight=False, soft_wrap=True)


def _cells(figure: Figure) -> tuple[str, ...]:
    measured = _said(figure.value, figure.unit)
    missed = "" if figure.is_kept else "[red]missed[/red] "
    ratio = "" if not figure.floor else f"{figure.value / figure.floor:.1f}"
    return (
        f"  {figure.what}",
        measured if figure.is_kept else f"[red]{measured}[/red]",
        "" if figure.bound is None else f"≤ {_said(figure.bound, figure.unit)}",
        "" if figure.floor is None else _said(figure.floor, figure.unit),
        ratio,
        f"{missed}{figure.note}",
    )


def _said(value: float, unit: str) -> str:
    if isinstance(value, int):
        return f"{value:,} {unit}".rstrip()
    digits = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}".rstrip()
