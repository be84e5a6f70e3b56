"""The funnel of a run as a picture whose steps add up: what the query returned, and where the planned ones went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from capillary.ledger.reports import Funnel
from capillary.ledger.status import Outcome

#: So much of the whole a part is at least, percent, where there is anybody in it: one of a million is seen, too.
_SEEN: Final = 0.7
#: name → its words and its colour. The planned ones stand first, so that they flow straight down.
_READ: Final[Mapping[str, tuple[str, str]]] = {
    "planned": ("planned", "f-planned"),
    "known_before": ("known before", "f-known"),
    "over_cap": ("left for a later run", "f-cap"),
    "duplicates": ("duplicates", "f-duplicates"),
    "invalid": ("not customer ids", "f-invalid"),
}
_ENDED: Final[Mapping[str, tuple[str, str]]] = {
    Outcome.ENROLLED: ("enrolled", "f-enrolled"),
    Outcome.ALREADY_ENROLLED: ("already enrolled", "f-already"),
    "open": ("open", "f-open"),
    Outcome.UNCONFIRMED: ("unconfirmed", "f-unconfirmed"),
    Outcome.FAILED: ("failed", "f-failed"),
    Outcome.REJECTED: ("rejected", "f-rejected"),
    Outcome.NOT_ACCEPTED: ("not accepted", "f-refused"),
    "discarded": ("given back unsent", "f-back"),
}
#: Drawn hatched, too: they stand beside a part of the same hue.
_HATCHED: Final = frozenset({"over_cap", Outcome.ALREADY_ENROLLED, Outcome.REJECTED})


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a step: its words, its customers, and where it lies, in percent of the width."""

    name: str
    words: str
    colour: str
    customers: int
    x: float
    width: float
    hatched: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A number and the parts that it is the sum of; parts without anybody are left out."""

    words: str
    customers: int
    parts: tuple[Part, ...]

    @property
    def sentence(self) -> str:
        """Return the step as an equation in words."""
        said = " + ".join(f"{part.customers:,} {part.words}" for part in self.parts)
        return f"{self.customers:,} {self.words} = {said or 0}"


@dataclass(frozen=True, slots=True)
class FunnelPicture:
    """Two steps: the rows of the query, and the planned customers, where anybody was planned and sent."""

    read: Step
    ended: Step | None

    @property
    def planned_ends(self) -> float:
        """Return where the planned part of the first step ends, percent."""
        return next((part.x + part.width for part in self.read.parts if part.name == "planned"), 0.0)


def counts_of(funnel: Funnel) -> dict[str, int]:
    """Return the funnel's numbers by name, outcomes among them, as the report of a run has them."""
    named = {each.name: getattr(funnel, each.name) for each in fields(funnel)}
    counts = {name: value for name, value in named.items() if isinstance(value, int)}
    return counts | {str(outcome): customers for outcome, customers in funnel.outcomes.items()}


def picture(counts: Mapping[str, int], *, dry_run: bool = False) -> FunnelPicture:
    """Return the picture of a run's counts; nobody has gone anywhere in a dry run."""
    read = _step("rows of the query", counts.get("eligible", 0), _READ, counts)
    planned = counts.get("planned", 0)
    return FunnelPicture(read, None if dry_run or not planned else _step("planned", planned, _ENDED, counts))


def bar(counts: Mapping[str, int]) -> Step:
    """Return the second step alone: where the planned customers of a run went."""
    return _step("planned", counts.get("planned", 0), _ENDED, counts)


def _step(words: str, whole: int, kinds: Mapping[str, tuple[str, str]], counts: Mapping[str, int]) -> Step:
    there = {name: counts.get(name, 0) for name in kinds if counts.get(name, 0)}
    widths = _widths(list(there.values()))
    parts, x = [], 0.0
    for (name, customers), width in zip(there.items(), widths, strict=True):
        said, colour = kinds[name]
        parts.append(Part(str(name), said, colour, customers, round(x, 3), round(width, 3), name in _HATCHED))
        x += width
    return Step(words, whole, tuple(parts))


def _widths(customers: list[int]) -> list[float]:
    whole = sum(customers)
    raw = [max(_SEEN, 100 * each / whole) for each in customers]
    return [100 * each / sum(raw) for each in raw]
