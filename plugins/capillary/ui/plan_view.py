"""What a dry run shows: a live run's requests and calls, how near every guard is, and the run before.

Airflow keeps it in the output of the task that planned (`capillary.plan_preview`), in the words of that day: a run of
an older version may hold less, and then less is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from capillary.plan_preview import PREVIEW


@dataclass(frozen=True, slots=True)
class GuardShown:
    """One guard: its words, what the plan comes to, and how near that is, 100 at the limit."""

    words: str
    value: str
    limit: str
    near: float
    refusal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanShown:
    """A plan that nobody has carried out.

    Attributes:
        customers, requests: of a live run; each request is one approval.
        calls, minutes, calls_per_minute: of the platform, at the account's pace.
        guards: those that are on.
        found: different customers that the query found.
        before: the same of the campaign's last run that found any; None: none that came to a plan did.
        before_run: dag_id and run_id of that run.
        before_at: when it planned.
        sample: the first customers, masked.
    """

    customers: int
    requests: int
    calls: int
    minutes: int
    calls_per_minute: int
    guards: tuple[GuardShown, ...]
    found: int
    before: int | None
    before_run: tuple[str, str] | None
    before_at: datetime | None
    sample: tuple[str, ...]

    @property
    def difference(self) -> str:
        """Return how the query's customers differ from those of the last run, in words."""
        if self.before is None:
            return "No earlier run to compare with: none has come so far as to plan a customer."
        change = self.found - self.before
        if not change:
            return f"As many as in the last run, {self.before:,}."
        return f"{abs(change):,} {'more' if change > 0 else 'fewer'} than the {self.before:,} of the last run."


#: guard → its words, and how its number is written.
_GUARDS: Final[Mapping[str, tuple[str, str]]] = {
    "min_customers": ("Customers, at least", "{:,.0f}"),
    "max_invalid_share": ("Rows without a customer id, at most", "{:.1%}"),
    "max_jump": ("As many as the last run, at most", "{:.2f} ×"),
    "max_drop": ("Fewer than the last run, at most", "{:.0%}"),
    "max_requests": ("Approvals, at most", "{:,.0f}"),
    "max_open_requests": ("Requests open at once, at most", "{:,.0f}"),
}
#: Of a guard past its limit no more is drawn.
_MOST: Final = 100.0


def shown_plan(output: Mapping[str, Any] | None) -> PlanShown | None:
    """Return what the task that planned has told; None where it told nothing, or something that is not understood."""
    told = (output or {}).get(PREVIEW)
    if not isinstance(told, Mapping):
        return None
    try:
        preview = told["preview"]
        before = preview["last_run"]
        return PlanShown(
            customers=int(told["customers"]),
            requests=int(told["requests"]),
            calls=int(told["calls"]),
            minutes=int(told["minutes"]),
            calls_per_minute=int(told["calls_per_minute"]),
            guards=_guards(preview["guards"]),
            found=int(preview["customers"]),
            before=None if before is None else int(before["customers"]),
            before_run=None if before is None else (str(before["dag_id"]), str(before["run_id"])),
            before_at=None if before is None else datetime.fromisoformat(before["planned_at"]),
            sample=tuple(map(str, preview["sample"])),
        )
    except (ArithmeticError, LookupError, TypeError, ValueError):  # an infinite number is none, either
        return None


def occasion_of(output: Mapping[str, Any] | None) -> str:
    """Return the occasion that a dry run has counted for; empty where the task that planned tells none."""
    told = (output or {}).get(PREVIEW)
    occasion = told.get("occasion") if isinstance(told, Mapping) else None
    return occasion if isinstance(occasion, str) else ""


def _guards(told: Sequence[Mapping[str, Any]]) -> tuple[GuardShown, ...]:
    return tuple(
        _guard(str(each["name"]), float(each["value"]), float(each["limit"]), each["refusal"]) for each in told
    )


def _guard(name: str, value: float, limit: float, refusal: object) -> GuardShown:
    words, number = _GUARDS.get(name, (name.replace("_", " "), "{:,.4g}"))
    part, whole = (limit, value) if name.startswith("min_") else (value, limit)
    near = _MOST if not whole else min(_MOST, 100 * part / whole)
    return GuardShown(
        words,
        number.format(value),
        number.format(limit),
        round(near if part else 0.0, 1),
        None if refusal is None else str(refusal),
    )
