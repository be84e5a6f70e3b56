"""Who submits: what each is called, what it is made of, and how it is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from measure.faults import ours, stock_airflow
from measure.faults.fault import Fault
from measure.faults.scene import CHECKOUT, Scene, scene, tail
from measure.faults.verdict import Cell, judge

DLT: Final = "dlt==1.31.0"
_INSTALL_LIMIT_S: Final = 600

#: Runs the contender in a scene, and returns whether it says that all is well.
Run = Callable[[Scene], bool]


class NotInstalled(Exception):
    """A contender cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table.

    Attributes:
        word: its name on the command line.
        name: its name in the table.
        made_of: packages whose versions belong to the figures, as `name version`.
        ready: makes what it needs in a folder, for a platform at a port, and yields how it is run.
    """

    word: str
    name: str
    made_of: tuple[str, ...]
    ready: Callable[[Path, int], AbstractContextManager[Run]]


def measure(contender: Contender, place: Path, *, port: int, say: Callable[[str], None]) -> tuple[Cell, ...]:
    """Run a contender under every fault.

    Args:
        contender: which.
        place: folder for everything that it leaves.
        port: of the platform, which is a new one each time.
        say: takes a line for people as each cell is known.

    Raises:
        NotInstalled: it cannot be had here.
        MeasuringFailed: it could not be measured.
    """
    cells: list[Cell] = []
    with contender.ready(place, port) as run:
        for fault in Fault:
            with scene(fault, place / fault.name.lower(), port=port) as each:
                ended_well = run(each)
                each.assert_struck()
                cells.append(judge(each, ended_well=ended_well))
            say(f"{contender.name}: {fault}: {cells[-1]}")
    return tuple(cells)


@contextmanager
def _script(_place: Path, _port: int) -> Iterator[Run]:
    command = [sys.executable, "-m", "measure.faults.script_httpx"]
    yield lambda scene: scene.run("script", command, scene.environment())


@contextmanager
def _dlt(place: Path, _port: int) -> Iterator[Run]:
    python = _installed(place / "dlt", DLT)

    def run(scene: Scene) -> bool:
        # Its own state stays in the scene's folder, and it calls nobody else.
        kept = {"DLT_DATA_DIR": str(scene.folder / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
        return scene.run("dlt", [python, "-m", "measure.faults.dlt_destination"], scene.environment(**kept))

    yield run


def _installed(place: Path, package: str) -> Path:
    """Install a package into an environment of its own, and return that one's Python.

    Raises:
        NotInstalled: it cannot be installed.
    """
    place.mkdir(parents=True)
    python, log = place / "bin" / "python", place / "install.log"
    with log.open("wb") as said:
        for command in (
            [sys.executable, "-m", "venv", str(place)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
        ):
            try:
                subprocess.run(  # noqa: S603 - commands of this package, no shell
                    command, cwd=CHECKOUT, stdout=said, stderr=said, check=True, timeout=_INSTALL_LIMIT_S
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise NotInstalled(f"{package}: {type(error).__name__}. {tail(log)}") from error
    return python


def _versions(*packages: str) -> tuple[str, ...]:
    return tuple(f"{package} {version(package)}" for package in packages)


OURS: Final = Contender("ours", "this project", _versions("airflow-provider-capillary", "apache-airflow"), ours.ready)
CONTENDERS: Final = (
    Contender("script", "script with httpx and tenacity", _versions("httpx", "tenacity"), _script),
    Contender("dlt", "dlt custom destination", (DLT.replace("==", " "),), _dlt),
    Contender(
        "airflow",
        "Airflow HttpOperator and HttpSensor, 1 retry",
        _versions("apache-airflow", "apache-airflow-providers-http"),
        stock_airflow.ready,
    ),
    OURS,
)
