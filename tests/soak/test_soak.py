"""Days of two campaigns: nothing grows, and what would grow without the product's care is noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from capillary.engine import watch
from capillary.ledger import conditions
from tests.simulation.shape import HOUR, Shape
from tests.soak.__main__ import MOST, Soak, growth, month

DAYS: Final = 9


@pytest.fixture
def shape(monkeypatch: pytest.MonkeyPatch) -> Shape:
    """Days in place of weeks: what waits for two days counts as forgotten. One request of the second day does."""
    for module in (watch, conditions):
        monkeypatch.setattr(module, "LATE_TWIN", timedelta(days=2))
    return replace(month(2, seed=2, forgets=0.06), page_size=1, poll=2 * HOUR, max_poll=2 * HOUR)


def test_no_invariant_breaks_and_nothing_grows(shape: Shape) -> None:
    soak = Soak(shape, days=DAYS)
    verdict = soak.run()
    assert verdict.breach is None
    assert verdict.requests >= 2 * DAYS
    assert {name: ratio for name, ratio in growth(soak.days).items() if ratio > MOST} == {}


def test_a_list_that_is_always_read_from_the_oldest_request_on_is_noticed(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_past_the_forgotten", lambda _tx, _settings, since, _needed: since)
    soak = Soak(shape, days=DAYS)
    assert soak.run().breach is None
    assert growth(soak.days)["pages"] > MOST
