"""The promises that a judge may find broken, each by its short name. docs/design.md defines every one."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

#: A promise to users, by number.
Invariant: TypeAlias = Literal["I0", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"]
#: A rule of the seeded worlds alone.
WorldRule: TypeAlias = Literal["switch", "stop", "owner", "auto-approval", "lost"]
Rule: TypeAlias = Invariant | WorldRule

INVARIANTS: Final[tuple[str, ...]] = get_args(Invariant)
WORLD_RULES: Final[tuple[str, ...]] = get_args(WorldRule)


def broken(rule: Rule, words: str) -> str:
    """Return the sentence that says which promise does not hold, and how that showed."""
    return f"{rule}: {words}"
