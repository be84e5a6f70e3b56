"""A planted bug: it breaks one rule of the product, and whoever judges must notice.

The product has no switch for them; they replace its functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

#: Owner, attribute and replacement.
Patch: TypeAlias = tuple[ModuleType | type, str, object]


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug.

    Attributes:
        rule: what the product does in its place.
        patches: what is replaced.
    """

    rule: str
    patches: Sequence[Patch]


def plant(bug: Bug) -> None:
    """Plant it into this process for good."""
    for owner, attribute, replacement in bug.patches:
        setattr(owner, attribute, replacement)


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Plant it for the length of the block."""
    before = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in bug.patches]
    plant(bug)
    try:
        yield
    finally:
        for owner, attribute, original in before:
            setattr(owner, attribute, original)
