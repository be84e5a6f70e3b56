"""Kill -9 at named points, rerun to quiet; nobody is enrolled twice, nobody is lost, nothing fails falsely.

The long form, every point and 400 double crashes, is `python -m tests.crashes`.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.crashes.draw import doubles, sample
from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.matrix import Case, Matrix
from tests.crashes.planted import Plant
from tests.crashes.points import Moment, Point
from tests.crashes.scenes import SCENES, Fate

SEED = 20_261_123
DOUBLE = 20


@pytest.fixture(scope="module")
def matrix(installations: InstallationFactory) -> Iterator[Matrix]:
    made = Matrix(installations)
    yield made
    made.close()


def told(cases: list[Case]) -> dict[str, tuple[str, ...]]:
    return {str(case): case.faults for case in cases if case.faults}


def test_a_crash_at_any_named_point_costs_nobody_anything(matrix: Matrix) -> None:
    cases = list(sample(matrix, Random(SEED)))  # noqa: S311 - a draw that can be repeated
    assert told(cases) == {}
    drawn, struck = (
        {(point.name, point.moment) for case in chosen for point in case.strikes if isinstance(point, Point)}
        for chosen in (cases, [case for case in cases if case.struck])
    )
    assert drawn - struck == set(), "every named point was met"
    assert len(struck) > 40


def test_a_second_crash_in_the_rerun_costs_nobody_anything(matrix: Matrix) -> None:
    cases = list(doubles(matrix, Random(SEED), DOUBLE))  # noqa: S311 - a draw that can be repeated
    assert told(cases) == {}


def test_every_task_has_points_around_its_commits_and_calls(matrix: Matrix) -> None:
    passed = {scene.name: matrix.points(scene.name, Fate.PARKED) for scene in SCENES}
    assert {name: len(points) for name, points in passed.items() if len(points) < 2} == {}
    names = {point.name for points in passed.values() for point in points}
    assert {"call submit", "call list", "call get", "call badges"} <= names
    assert {
        "commit candidates.planning",
        "commit send._claimed",
        "commit send._accepted",
        "commit settle._settle",
    } <= names
    assert "commit elsewhere" not in names


def test_a_task_that_forgets_its_claims_is_seen(matrix: Matrix) -> None:
    accepted = Point("call submit", 2, Moment.AFTER)
    case = matrix.run("submit", Fate.PARKED, [accepted], pauses=[0.0], plant=Plant.FORGETS_CLAIMS)
    assert case.struck == 1
    assert any(fault.startswith("I1:") for fault in case.faults)
