"""A run's funnel from the counts that a test is about."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from capillary.ledger.reports import Funnel
from capillary.ledger.status import Outcome


def funnel_of(**counts: int) -> Funnel:
    """Return a funnel of these counts, outcomes by their own word; what is not given is 0, `canary` False."""
    outcomes = {outcome: counts.pop(str(outcome), 0) for outcome in Outcome}
    given: dict[str, Any] = {each.name: 0 for each in fields(Funnel)} | {"canary": False, "outcomes": outcomes} | counts
    return Funnel(**given)


def sound_funnel_of(**counts: int) -> Funnel:
    """Return the same, with as many customers planned, and rows of the query, as the counts account for."""
    planned = funnel_of(**counts).accounted
    return funnel_of(**{"eligible": planned, "planned": planned} | counts)
