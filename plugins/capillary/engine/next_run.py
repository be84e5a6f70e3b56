"""What is said of a later run: of its configuration, and of the customers that an earlier one left.

Nobody knows what a later run is told: its file and form may change, and where the occasion recurs its occasion is
another one. So a sentence names the condition under which it holds: the same occasion, the same settings, *Canary* on.
"""

from __future__ import annotations

from typing import Final

from capillary.ledger.canary import OpenCanary
from capillary.ledger.plan import CANARY_CUSTOMERS

#: Which run takes those that an earlier one left: none of another occasion, and of a retry's only such a retry.
TAKES: Final = "a run with the same occasion and settings takes those still left, up to its cap"
#: How every sentence about a configuration without proof begins, in reports of earlier versions, too.
NOT_PROVEN: Final = "The configuration is not proven"
_WAS_OPEN: Final = "a request under its configuration was open when this run planned"


def canary_now(holding: str | None) -> str:
    """Return what a run takes under a configuration that is not proven, without full stop.

    Args:
        holding: one clause without full stop: which request under it is open; None where none is.
    """
    if holding:
        return f"The configuration is not proven, and {holding}: until that changes, a run with Canary on plans nobody"
    return f"The configuration is not proven: with Canary on, a run under it takes at most {CANARY_CUSTOMERS} customers"


def why_nobody(holding: OpenCanary | None, *, proven: bool) -> str:
    """Return why a run that met an open request planned nobody, and what to do now, without full stop.

    Args:
        holding: what keeps its customers back now; None where nothing does any more.
        proven: whether its configuration is proven now.
    """
    if holding is not None:
        return f"{holding.sentence()}: {holding.to_do[:1].lower()}{holding.to_do[1:].removesuffix('.')}"
    if proven:
        return f"{_WAS_OPEN}; the configuration is proven now, and {TAKES}"
    return f"{_WAS_OPEN}; it is not any more. {canary_now(None)}. Find out why nothing is proven, then start one"
