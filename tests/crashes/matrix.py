"""The crash matrix: kill -9 at every point of every scene, rerun to quiet, and judge by the platform's books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sandbox.faults import FaultKind, Route
from tests.crashes.drive import STARTS, to_the_end
from tests.crashes.installation import LATER_S, Installation
from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.job import RETRIED, Ending, Task, TaskEnd
from tests.crashes.judge import faults_of
from tests.crashes.planted import Plant
from tests.crashes.points import UNDER_WAY_S, Moment, Point
from tests.crashes.scenes import SCENES, Fate, Stage, prepare

#: Longer than a dead reader keeps its turn, seconds.
SOON_S: Final = 400.0


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the matrix.

    Attributes:
        strikes: where its processes were to be killed, one after the other.
        struck: where they were.
        starts: of the task that was killed.
        faults: broken promises.
    """

    scene: str
    fate: Fate
    strikes: tuple[Point | int, ...]
    struck: int
    starts: int
    faults: tuple[str, ...]

    def __str__(self) -> str:
        at = ", then at ".join(
            f"passing {strike}" if isinstance(strike, int) else str(strike) for strike in self.strikes
        )
        return f"{self.scene} ({self.fate}), killed {at}"


class Matrix:
    """Prepares each scene under each fate once. Use as a context manager."""

    def __init__(self, factory: InstallationFactory) -> None:
        self._factory = factory
        self._stages: dict[tuple[str, Fate], Stage] = {}
        self._points: dict[tuple[str, Fate], tuple[Point, ...]] = {}

    def points(self, scene: str, fate: Fate) -> tuple[Point, ...]:
        """Return the points that the scene's task passes, by a run that is not killed."""
        if (scene, fate) not in self._points:
            stage = self._stage(scene, fate)
            with self._installation(stage) as installation:
                ending = installation.run(stage.scene.task, **stage.arguments)
                if ending.how in RETRIED:
                    raise RuntimeError(f"{scene} ended as {ending.how} without a crash: {ending.said}")
            self._points[scene, fate] = ending.passed
        return self._points[scene, fate]

    def run(
        self,
        scene: str,
        fate: Fate,
        strikes: Sequence[Point | int],
        *,
        pauses: Sequence[float],
        plant: Plant | None = None,
    ) -> Case:
        """Kill at the strikes, one a start, and bring the installation to its end.

        Args:
            scene: its name.
            fate: what the platform does with what reaches it.
            strikes: where to kill the first starts of the task.
            pauses: seconds before the second and later starts; then `LATER_S`.
            plant: a fault that is built into every process.
        """
        stage = self._stage(scene, fate)
        with self._installation(stage) as installation:
            installation.plant = plant
            endings = list(_starts(installation, stage, strikes, pauses))
            faults = _to_the_end(installation, stage, endings[-1])
            faults += faults_of(installation)
        struck = sum(ending.how is TaskEnd.KILLED for ending in endings)
        return Case(scene, fate, tuple(strikes), struck, len(endings), tuple(faults))

    def close(self) -> None:
        """Forget the scenes."""
        for stage in self._stages.values():
            stage.snapshot.close()

    def _stage(self, scene: str, fate: Fate) -> Stage:
        if (scene, fate) not in self._stages:
            found = next(each for each in SCENES if each.name == scene)
            self._stages[scene, fate] = prepare(self._factory, found, fate)
        return self._stages[scene, fate]

    @contextmanager
    def _installation(self, stage: Stage) -> Iterator[Installation]:
        with self._factory.installation(
            stage.scene.customers, snapshot=stage.snapshot, options=stage.options
        ) as installation:
            installation.sandbox.switch(**stage.switches)
            installation.begin()
            yield installation


def _starts(
    installation: Installation, stage: Stage, strikes: Sequence[Point | int], pauses: Sequence[float]
) -> Iterator[Ending]:
    """Start the scene's task until it comes to an end that Airflow does not try again."""
    for number in range(STARTS):
        if number:
            installation.clock.jump(pauses[number - 1] if number <= len(pauses) else LATER_S)
        strike = strikes[number] if number < len(strikes) else None
        if isinstance(strike, Point) and strike.moment is Moment.DURING:
            # The call is on its way when its sender dies, and is carried out after that.
            installation.sandbox.fault(Route.SUBMIT, FaultKind.DELAY, seconds=2 * UNDER_WAY_S, times=10)
        ending = installation.run(stage.scene.task, at=strike, **stage.arguments)
        if ending.how is TaskEnd.KILLED:
            installation.settle_down()
            installation.sandbox.platform.faults.clear()
        yield ending
        if ending.how not in RETRIED:
            return


def _to_the_end(installation: Installation, stage: Stage, last: Ending) -> list[str]:
    """Let submit, checker, wait and report come to their ends; return what did not."""
    task = stage.scene.task
    if last.how in RETRIED:
        return [f"{task} does not come to rest: {last.how} {last.said}"]
    plans = {"run 1": last.value if task is Task.PLAN else stage.arguments["plan"]}
    submit = ["run 1"] if task in {Task.PLAN, Task.SUBMIT} else []
    if stage.scene.next_run:
        plans["run 2"] = installation.run(Task.PLAN, run_id="run 2").value
        submit.append("run 2")
    return to_the_end(installation, plans, submit=submit)
