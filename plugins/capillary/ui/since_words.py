"""What became since of customers who ended without the badge, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from capillary.engine.remedies import code_word
from capillary.ledger.run_page import FailedCustomer
from capillary.ledger.status import HAS_BADGE, Outcome


def since_of(customer: FailedCustomer) -> str:
    """Return what became of one of them."""
    if not customer.asked_again:
        return "nothing"
    if customer.last_outcome is None:
        return "asked for again, not ended yet"
    ended = customer.last_outcome.replace("_", " ")
    if customer.last_outcome in HAS_BADGE:
        return f"{ended} by a later run"
    code = "" if customer.last_code is None else f", code {code_word(customer.last_code)}"
    return f"asked for again: {ended}{code}"


def since_clauses(customers: int, ended: Mapping[Outcome | None, int]) -> Iterator[str]:
    """Yield what became of all of them, a clause each; nothing where nobody was asked for again.

    Args:
        customers: how many ended without the badge.
        ended: how the last attempt ended that followed, with how many; None: not ended yet.
    """
    if not ended:
        return
    hold = held_since(ended)
    if hold:
        yield f"{hold:,} of these {customers:,} got the badge by a later run"
    for outcome, number in ended.items():
        if outcome is not None and outcome not in HAS_BADGE:
            yield f"{number:,} ended again as {outcome.replace('_', ' ')}"
    if waiting := ended.get(None):
        yield f"{waiting:,} {_were(waiting)} asked for again without an end yet"
    if rest := customers - sum(ended.values()):
        yield f"{rest:,} {_were(rest)} not asked for again"


def held_since(ended: Mapping[Outcome | None, int]) -> int:
    """Return how many of them hold the badge by a later run."""
    return sum(number for outcome, number in ended.items() if outcome in HAS_BADGE)


def _were(customers: int) -> str:
    return "was" if customers == 1 else "were"
