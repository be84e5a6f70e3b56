"""What a task finds when it is started: each scene is prepared once, and every case goes on from its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from sandbox.faults import FaultKind, Route, When
from sandbox.settings import ListRows
from tests.crashes.installation import LATER_S, RUN_IS_DEAD_S, Installation
from tests.crashes.installation_factory import InstallationFactory, Snapshot
from tests.crashes.job import Ending, Task, TaskEnd

#: Customers of a request.
SIZE: Final = 3
_WIDE: Final = 8


class Fate(StrEnum):
    """What the platform does with a request that reaches it."""

    PARKED = "parked"  #: it waits for the checker
    EXECUTED = "executed"  #: it is executed at once, with no human
    CHECKED = "checked"  #: a checker approves it within moments


_SWITCHES: Final[dict[Fate, dict[str, object]]] = {
    Fate.PARKED: {},
    Fate.EXECUTED: {"auto_approve": True},
    Fate.CHECKED: {"checker": "automatic"},
}
_OPTIONS: Final[Mapping[Fate, dict[str, object]]] = {
    Fate.PARKED: {},
    Fate.EXECUTED: {"on_auto_approved": "accept"},
    Fate.CHECKED: {},
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A task and what it finds.

    Attributes:
        name: for the table.
        task: the task that is killed.
        requests: how many the first run plans.
        prepare: brings an installation there and returns the arguments of the task.
        next_run: a second run follows, and takes what the first one gave back.
        list_hides: the platform's list leaves out every second request, though a single read finds it.
    """

    name: str
    task: Task
    requests: int
    prepare: Callable[[Installation], dict[str, Any]]
    next_run: bool = False
    list_hides: bool = False

    @property
    def customers(self) -> range:
        """Who is eligible; the last request is not full."""
        return range(4_001, 4_001 + SIZE * self.requests - 1)


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene that is prepared, under one fate.

    Attributes:
        arguments: of the task.
        never_taken: POSTs that the preparation's faults kept from the platform.
    """

    scene: Scene
    fate: Fate
    snapshot: Snapshot
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, object]:
        """Arguments of every operator."""
        return {"customers_per_request": SIZE, "in_flight": 2, **_OPTIONS[self.fate]}

    @property
    def switches(self) -> dict[str, object]:
        """The platform's switches, which no snapshot holds."""
        return _SWITCHES[self.fate] | ({"list_rows": ListRows.HIDES} if self.scene.list_hides else {})


def prepare(factory: InstallationFactory, scene: Scene, fate: Fate) -> Stage:
    """Bring a scene about; every process of the preparation ends as it should."""
    stage = Stage(scene, fate, snapshot=None)  # type: ignore[arg-type] # taken below
    with factory.installation(scene.customers, options=stage.options) as installation:
        installation.sandbox.switch(**stage.switches)
        arguments = scene.prepare(installation)
        return Stage(scene, fate, Snapshot.of(installation), arguments)


def _must(ending: Ending, *ends: TaskEnd) -> Ending:
    if ending.how not in ends:
        raise RuntimeError(f"the preparation ended as {ending.how}: {ending.said}")
    return ending


def _planned(installation: Installation) -> dict[str, Any]:
    return {"plan": _must(installation.run(Task.PLAN), TaskEnd.RETURNED).value}


def _submitted(installation: Installation) -> dict[str, Any]:
    arguments = _planned(installation)
    _must(installation.run(Task.SUBMIT, **arguments), TaskEnd.RETURNED)
    return arguments


def _in_doubt(installation: Installation, *, in_flight: int, when: When, end: TaskEnd) -> dict[str, Any]:
    """The second request never arrives; the third one is lost before or after the platform has it."""
    arguments = _planned(installation)
    installation.sandbox.fault(Route.SUBMIT, FaultKind.DELAY, seconds=0)
    installation.sandbox.fault(Route.SUBMIT, FaultKind.DROP, when=When.BEFORE)
    installation.sandbox.fault(Route.SUBMIT, FaultKind.DROP, when=when)
    _must(installation.run(Task.SUBMIT, in_flight=in_flight, **arguments), end)
    return arguments


def _stopped_by_doubt(installation: Installation) -> dict[str, Any]:
    arguments = _in_doubt(installation, in_flight=2, when=When.BEFORE, end=TaskEnd.DEFERRED)
    installation.clock.jump(LATER_S)
    return arguments


def _dead(installation: Installation) -> dict[str, Any]:
    arguments = _in_doubt(installation, in_flight=2, when=When.BEFORE, end=TaskEnd.DEFERRED)
    _approve_first(installation)
    installation.clock.jump(RUN_IS_DEAD_S)
    return arguments


def _waiting(installation: Installation) -> dict[str, Any]:
    arguments = _in_doubt(installation, in_flight=_WIDE, when=When.AFTER, end=TaskEnd.RETURNED)
    _approve_first(installation)
    installation.clock.jump(LATER_S)
    return arguments


def _deferred(installation: Installation) -> dict[str, Any]:
    arguments = _submitted(installation)
    installation.sandbox.approve_all()
    return arguments | {
        "trigger": {
            "badge_run_id": arguments["plan"]["badge_run_id"],
            "token": arguments["plan"]["token"],
            "capillary_conn_id": "capillary",
            "ledger_conn_id": "badge_ledger",
            "deadline": (installation.clock.now() + timedelta(days=7)).isoformat(),
            "poll_interval_s": 60,
            "settle_every_s": 900,
            "ended": 0,
            "doubt_due": 0,
        }
    }


def _polled(installation: Installation) -> dict[str, Any]:
    arguments = _deferred(installation)
    _must(installation.run(Task.TRIGGER, **arguments), TaskEnd.RETURNED)
    return arguments


def _unlisted(installation: Installation) -> dict[str, Any]:
    arguments = _deferred(installation)
    installation.clock.jump(LATER_S)
    return arguments


def _ended(installation: Installation) -> dict[str, Any]:
    arguments = _deferred(installation)
    _must(installation.run(Task.WAIT, **arguments), TaskEnd.RETURNED)
    return arguments


def _approve_first(installation: Installation) -> None:
    first = installation.sandbox.platform.requests()[0]
    installation.sandbox.approve(first.request_key or "")


SCENES: Final = (
    Scene("plan", Task.PLAN, 3, lambda _: {}),
    Scene("plan, planned before", Task.PLAN, 3, _planned),
    Scene("submit", Task.SUBMIT, 3, _planned),
    Scene("submit, two in doubt", Task.SUBMIT, 5, _stopped_by_doubt),
    Scene("wait, two in doubt", Task.WAIT, 3, _waiting),
    Scene("trigger", Task.TRIGGER, 3, _deferred),
    Scene("wait, all decided", Task.WAIT, 3, _polled),
    Scene("wait, list hides", Task.WAIT, 3, _unlisted, list_hides=True),
    Scene("upkeep of a dead run", Task.UPKEEP, 5, _dead, next_run=True),
    Scene("report", Task.REPORT, 3, _ended),
)
