"""Worlds in which much goes wrong, and nobody is enrolled twice, lost or made up."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.bulk import cores, play, played
from tests.simulation.shape import Mode

#: As many as a minute of continuous integration has room for; the command plays thousands.
SEEDS = range(60)


def test_no_invariant_breaks() -> None:
    verdicts = list(played(SEEDS, jobs=cores()))
    broken = {verdict.seed: verdict.breach for verdict in verdicts if verdict.breach is not None}
    assert broken == {}, "play one again: python -m tests.simulation --from SEED --seeds 1 --story"
    modes = Counter(verdict.mode for verdict in verdicts)
    assert min(modes[mode] for mode in Mode) > 0
    assert sum(verdict.requests for verdict in verdicts) > len(SEEDS)


@pytest.mark.parametrize("seed", [2, 12, 35])
def test_the_same_seed_tells_the_same_story_in_another_process(seed: int) -> None:
    here, again, (there,) = play(seed), play(seed), played([seed], jobs=2)
    assert here.lines
    assert here.digest == again.digest == there.digest
