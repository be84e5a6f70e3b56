"""What is said of a later run: of its configuration, and of the customers whom an earlier one left.

Nobody knows what a later run is told: its file and form may change, and where the occasion recurs its occasion is
another one. So a sentence names the condition under which it holds: the same occasion, the same settings, *Canary* on.
"""

from __future__ import annotations

from typing import Final

from capillary.ledger.canary import OpenCanary
from capillary.ledger.plan import CANARY_CUSTOMERS

#: Which run takes those whom an earlier one left: of another occasion none does, and a retry's only such a retry.
TAKES: Final = "a run with the same occasion and settings takes those still left, up to its cap"
#: How every sentence about a configuration without proof begins.
NOT_PROVEN: Final = "The configuration is not proven"
#: What a run takes at most under it.
TAKES_FEW: Final = f"with Canary on, a run under it takes at most {CANARY_CUSTOMERS} customers"


def plans_nobody(holding: str) -> str:
    """Say, in a clause after `NOT_PROVEN`, that a run would plan nobody.

    Args:
        holding: one clause without full stop: which request is not settled.
    """
    return f", and {holding}: until that changes, a run with Canary on plans nobody"


def canary_now(holding: str | None) -> str:
    """Return what a run takes under a configuration that is not proven, without full stop.

    Args:
        holding: as in `plans_nobody`; None where no request under it is open.
    """
    return f"{NOT_PROVEN}{plans_nobody(holding) if holding else f': {TAKES_FEW}'}"


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
    return f"{_WAS_OPEN}; it is not any more, and proved nothing. Find out why; {TAKES_FEW}"


_WAS_OPEN: Final = "a request under its configuration was open when this run planned"
