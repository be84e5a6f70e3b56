"""What a process of these tests is told to do, and how it ended."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.crashes.planted import Plant
from tests.crashes.points import Moment, Point


class Task(StrEnum):
    """The tasks of the product, as Airflow starts them."""

    PLAN = "plan"
    SUBMIT = "submit"
    WAIT = "wait"
    TRIGGER = "trigger"
    UPKEEP = "upkeep"
    REPORT = "report"
    MIGRATE = "migrate"


class TaskEnd(StrEnum):
    """How a process ended."""

    RETURNED = "returned"
    DEFERRED = "deferred"  #: a human has not decided everything
    SKIPPED = "skipped"
    FAILED = "failed"  #: Airflow would try again
    TERMINAL = "terminal"  #: Airflow would not
    BROKEN = "broken"  #: an exception that Airflow was not meant to see
    KILLED = "killed"


#: Ends after which Airflow starts the task anew.
RETRIED = frozenset({TaskEnd.FAILED, TaskEnd.KILLED, TaskEnd.BROKEN})


@dataclass(frozen=True, slots=True)
class Job:
    """One task in one process.

    Attributes:
        task: which.
        folder: where its ending and its output go.
        run_id: Airflow's run.
        environment: variables, the Airflow connections among them.
        plan: what the planning task returned.
        options: arguments of the operator beside those of every test.
        clock: the shared clock's file.
        virtual: sleeping moves the clock on instead of the process waiting.
        at, signal_number: at which point, or at its how many-th passing, the process gets which signal.
        gun: the process waits before its task until this file is there.
        plant: a fault that is built into the process.
    """

    task: Task
    folder: str
    run_id: str
    environment: Mapping[str, str]
    clock: str
    plan: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    virtual: bool = True
    at: Point | int | None = None
    signal_number: int = int(signal.SIGKILL)
    gun: str | None = None
    plant: Plant | None = None

    def dump(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: str) -> Job:
        """Read what `dump` wrote."""
        facts = json.loads(line)
        facts["task"] = Task(facts["task"])
        facts["at"] = _point(facts["at"]) if isinstance(facts["at"], dict) else facts["at"]
        facts["plant"] = None if facts["plant"] is None else Plant(facts["plant"])
        return cls(**facts)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended.

    Attributes:
        how: in one word.
        value: what it returned.
        said: an exception's kind and message.
        passed: the points that it passed.
    """

    how: TaskEnd
    value: Any = None
    said: str = ""
    passed: tuple[Point, ...] = ()

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.rename(path)

    @classmethod
    def read(cls, path: Path) -> Ending:
        """Read what `write` wrote; a process that wrote nothing was killed."""
        if not path.exists():
            return cls(TaskEnd.KILLED)
        facts = json.loads(path.read_text())
        return cls(TaskEnd(facts["how"]), facts["value"], facts["said"], tuple(_point(p) for p in facts["passed"]))


def _point(facts: Mapping[str, Any]) -> Point:
    return Point(facts["name"], facts["nth"], Moment(facts["moment"]))
