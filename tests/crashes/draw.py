"""Which cases of the crash matrix are run: all single crashes, a sample of them, and pairs by lot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Final

from tests.crashes.installation import LATER_S
from tests.crashes.job import Task
from tests.crashes.matrix import SOON_S, Case, Matrix
from tests.crashes.points import Moment, Point
from tests.crashes.scenes import SCENES, Fate, Scene

#: Draws for one named point, should it not be met.
DRAWS: Final = 5
#: Tasks that read the list in turn: started at once after a crash they wait until the dead reader's turn is over.
_READERS: Final = frozenset({Task.WAIT, Task.UPKEEP, Task.TRIGGER})
#: Scenes in which requests reach the platform, or are decided there: what becomes of them matters.
_FATEFUL: Final = frozenset({Task.SUBMIT, Task.WAIT, Task.UPKEEP})


def fates_of(scene: Scene) -> tuple[Fate, ...]:
    """Return the fates under which a scene's task is killed."""
    return tuple(Fate) if scene.task in _FATEFUL else (Fate.PARKED,)


def every_single(matrix: Matrix) -> Iterator[Case]:
    """Kill once at every point of every scene, under each fate."""
    for scene in SCENES:
        for fate in fates_of(scene):
            for point in matrix.points(scene.name, fate):
                yield _single(matrix, scene, fate, point)


def sample(matrix: Matrix, random: Random) -> Iterator[Case]:
    """Kill once at every named point: its scene, fate and passing by lot.

    What a task passes depends a little on whose reply or approval is faster; where the point was not met, the
    case is returned nevertheless and another one is drawn.
    """
    places: dict[tuple[str, Moment], list[tuple[Scene, Fate, Point]]] = defaultdict(list)
    for scene in SCENES:
        fate = random.choice(fates_of(scene))
        for point in matrix.points(scene.name, fate):
            places[point.name, point.moment].append((scene, fate, point))
    for name in sorted(places):
        for _ in range(DRAWS):
            yield (case := _single(matrix, *random.choice(places[name])))
            if case.struck:
                break


#: A request in doubt was sent once. Two more deaths in mid-POST use up its three sends, and it rightly ends as
#: unconfirmed: such scenes are killed once.
_SENT_AT_MOST_ONCE = tuple(scene for scene in SCENES if "in doubt" not in scene.name)


def doubles(matrix: Matrix, random: Random, count: int) -> Iterator[Case]:
    """Kill at a point by lot and again in the rerun, until so many cases were killed twice.

    The others, whose rerun ended before it came so far, are returned, too.
    """
    while count > 0:
        scene = random.choice(_SENT_AT_MOST_ONCE)
        fate = random.choice(fates_of(scene))
        points = matrix.points(scene.name, fate)
        strikes = random.choice(points), random.randint(1, len(points))
        pauses = [random.choice((0.0, SOON_S, LATER_S)), random.choice((0.0, SOON_S, LATER_S))]
        case = matrix.run(scene.name, fate, strikes, pauses=pauses)
        count -= case.struck == len(strikes)
        yield case


def _single(matrix: Matrix, scene: Scene, fate: Fate, point: Point) -> Case:
    pause = SOON_S if scene.task in _READERS else 0.0
    return matrix.run(scene.name, fate, [point], pauses=[pause])
