"""The table that the long form prints: points against what became of the cases killed there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.crashes.matrix import Case
from tests.crashes.points import Point


def table(cases: Iterable[Case]) -> str:
    """Return one line for each scene and first point, with the cases by fate, and the totals."""
    rows: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for case in cases:
        first = case.strikes[0]
        name = (first.name, str(first.moment)) if isinstance(first, Point) else ("any", "")
        row = rows[case.scene, *name]
        row["cases"] += 1
        row[str(case.fate)] += 1
        row["killed"] += case.struck
        row["starts"] += case.starts
        row["faults"] += bool(case.faults)
    columns = ("cases", "parked", "executed", "checked", "killed", "starts", "faults")
    lines = [f"{'scene':<22} {'point':<36} {'moment':<7}" + "".join(f"{column:>9}" for column in columns)]
    total: Counter[str] = Counter()
    for (scene, point, moment), row in sorted(rows.items()):
        total.update(row)
        lines.append(f"{scene:<22} {point:<36} {moment:<7}" + "".join(f"{row[column]:>9}" for column in columns))
    lines.append(f"{'total':<67}" + "".join(f"{total[column]:>9}" for column in columns))
    return "\n".join(lines)
