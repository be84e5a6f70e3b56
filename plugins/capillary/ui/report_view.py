"""What a run's task `report` has returned, as far as it is understood: a run of an older version may tell less.

Airflow keeps it, and anybody with the right may write it there. What is missing or of an odd type is not told; it never
stands in the way of a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: A count is a column of the ledger: a larger number is none.
_MOST: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportShown:
    """A report.

    Attributes:
        passed: its verdict.
        dry_run: it is one of a run that has only counted.
        canary: the run was held small, or would be.
        known_through: which other campaigns knew the customers; empty where it tells none.
        left_over, requests: how many; None where it does not tell.
        funnel: the counts that it tells, by name.
    """

    passed: bool
    dry_run: bool
    canary: bool
    known_through: str
    left_over: int | None
    requests: int | None
    funnel: Mapping[str, int]

    @property
    def planned(self) -> int | None:
        """Customers in its plan; None where it does not tell."""
        return self.funnel.get("planned")


def shown_report(told: object) -> ReportShown | None:
    """Return a report; None where nothing was returned, or something else than a report."""
    if not isinstance(told, Mapping):
        return None
    funnel, known_through = told.get("funnel"), told.get("known_through")
    counts = {str(name): _count(value) for name, value in funnel.items()} if isinstance(funnel, Mapping) else {}
    return ReportShown(
        passed=told.get("verdict") == "pass",
        dry_run=told.get("dry_run") is True,
        canary=told.get("canary") is True,
        known_through=known_through if isinstance(known_through, str) else "",
        left_over=_count(told.get("left_over")),
        requests=_count(told.get("requests")),
        funnel={name: number for name, number in counts.items() if number is not None},
    )


def _count(value: Any) -> int | None:  # noqa: ANN401 - whatever Airflow keeps
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None
