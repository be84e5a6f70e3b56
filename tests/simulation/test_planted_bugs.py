# ruff: noqa: T201 - the table is for whoever runs the tests
"""A simulation that cannot fail is worth nothing: every planted bug must break an invariant."""

from __future__ import annotations

import re

import pytest

from tests.laboratory.planting import planted
from tests.simulation.bugs import BUGS
from tests.simulation.bulk import BUG_SEEDS, cores, found, show

#: A planted function that does not fit its place any more breaks a world, too.
OF_PYTHON = re.compile(r"ended with (Type|Key|Attribute|Name|Index)Error")


def test_every_planted_bug_shows(capsys: pytest.CaptureFixture[str]) -> None:
    shown = dict(found(BUGS, jobs=cores(), by=show))
    with capsys.disabled():
        print()
        for bug, verdict in sorted(shown.items(), key=lambda each: each[1].seed if each[1] else BUG_SEEDS):
            seeds = f"{verdict.seed + 1} seeds" if verdict else "NOT FOUND"
            print(f"  {bug:26} {seeds:>10}: {BUGS[bug].rule}")
    assert shown.keys() == BUGS.keys()
    assert len(BUGS) >= 15
    assert [bug for bug, verdict in shown.items() if verdict is None] == []
    words = {bug: verdict.breach.words for bug, verdict in shown.items() if verdict and verdict.breach}
    assert [bug for bug, said in words.items() if OF_PYTHON.search(said)] == [], "by its rule, not by its signature"


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_pulled_out_again(bug: str) -> None:
    before = [owner.__dict__[attribute] for owner, attribute, _ in BUGS[bug].patches]
    with planted(BUGS[bug]):
        now = [owner.__dict__[attribute] for owner, attribute, _ in BUGS[bug].patches]
    after = [owner.__dict__[attribute] for owner, attribute, _ in BUGS[bug].patches]
    assert all(old is not new for old, new in zip(before, now, strict=True))
    assert all(old is new for old, new in zip(before, after, strict=True))
