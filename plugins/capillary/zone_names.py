"""Names of time zones that are none: what they mean depends on the machine, so that two workers count other days."""

from __future__ import annotations

from typing import Final

#: The machine's own zone, the one for rules of POSIX, and what stands where nobody chose one.
_OF_MACHINE: Final = frozenset({"localtime", "posixrules", "Factory"})
#: Copies of all zones, which not every machine has; those in `right` count leap seconds.
_COPIES: Final = ("posix/", "right/")


def depends_on_machine(name: str) -> bool:
    """Return whether a name's meaning, or whether it has one, depends on the machine."""
    return name in _OF_MACHINE or name.startswith(_COPIES)
