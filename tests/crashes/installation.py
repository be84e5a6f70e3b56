"""A case's surroundings: ledger, warehouse, platform and clock, and the product's tasks in processes of their own."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL

from capillary.ledger.database import Ledger
from sandbox.server import RunningSandbox
from tests.crashes.clock import SharedClock
from tests.crashes.fork_server import ForkServer
from tests.crashes.job import Ending, Job, Task, TaskEnd
from tests.crashes.planted import Plant
from tests.crashes.points import UNDER_WAY_S, Point

#: Longer than any task of these takes, seconds.
TASK_S: Final = 60.0
#: Longer than any doubt and any lease of a reader, shorter than a run's lease, seconds.
LATER_S: Final = 2 * 3_600.0
#: Longer than a run's lease, seconds.
RUN_IS_DEAD_S: Final = 7 * 3_600.0


@dataclass(frozen=True, slots=True)
class Process:
    """A task that was started."""

    pid: int
    job: Job


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended."""

    task: Task
    run_id: str
    ending: Ending


@dataclass
class Busy:
    """How many calls the platform is at."""

    calls: int = 0


@dataclass
class Installation:
    """One case.

    Attributes:
        customers: who is eligible.
        options: arguments of the operators.
        busy: what the platform is at.
        virtual: sleeping moves the clock on instead of the process waiting.
        plant: a fault that every process is given.
        ended: every process so far.
    """

    fork_server: ForkServer
    sandbox: RunningSandbox
    clock: SharedClock
    folder: Path
    ledger_url: URL
    environment: dict[str, str]
    customers: range
    options: dict[str, Any]
    busy: Busy
    virtual: bool = True
    plant: Plant | None = None
    ended: list[Ended] = field(default_factory=list)
    _running: dict[int, Process] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def start(
        self,
        task: Task,
        *,
        plan: Mapping[str, Any] | None = None,
        run_id: str = "run 1",
        at: Point | int | None = None,
        signal_number: int = signal.SIGKILL,
        gun: Path | None = None,
        **options: object,
    ) -> Process:
        """Start a task in a process of its own."""
        folder = self.folder / f"{next(self._numbers)} {task}"
        folder.mkdir()
        job = Job(
            task=task,
            folder=str(folder),
            run_id=run_id,
            environment=self.environment,
            clock=str(self.clock.path),
            plan=plan,
            options=self.options | options,
            virtual=self.virtual,
            at=at,
            signal_number=int(signal_number),
            gun=None if gun is None else str(gun),
            plant=self.plant,
        )
        process = Process(self.fork_server.start(job), job)
        self._running[process.pid] = process
        return process

    def end(self, process: Process) -> Ending:
        """Wait for a task; one that takes too long is killed, and an error."""
        code = self.fork_server.wait(process.pid, TASK_S)
        self._running.pop(process.pid)
        folder = Path(process.job.folder)
        if code is None:
            self.fork_server.end(process.pid)
            raise TimeoutError(f"{process.job.task} took longer than {TASK_S:.0f} s:\n{output(folder)}")
        ending = Ending.read(folder / "ending")
        if ending.how is TaskEnd.KILLED and code != -signal.SIGKILL:
            raise RuntimeError(f"{process.job.task} ended with {code}:\n{output(folder)}")
        self.ended.append(Ended(process.job.task, process.job.run_id, ending))
        return ending

    def run(self, task: Task, **options: Any) -> Ending:  # noqa: ANN401 - the arguments of `start`
        """Run a task to its end."""
        return self.end(self.start(task, **options))

    def together(self, *starts: Mapping[str, Any]) -> list[Ending]:
        """Start tasks that begin at the same moment; return their ends in order.

        Args:
            starts: arguments of `start`, one for each process.
        """
        gun = self.folder / f"gun {next(self._numbers)}"
        processes = [self.start(**start, gun=gun) for start in starts]
        gun.touch()
        return [self.end(process) for process in processes]

    def stopped(self, process: Process) -> None:
        """Wait until a process was frozen."""
        until = time.monotonic() + TASK_S
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            if time.monotonic() > until:
                raise TimeoutError(f"{process.job.task} was never frozen:\n{output(Path(process.job.folder))}")
            time.sleep(0.002)

    def wake(self, process: Process) -> None:
        """Let a frozen process go on."""
        self.fork_server.signal(process.pid, signal.SIGCONT)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, as the test reads it."""
        return Ledger(self.ledger_url, clock=self.clock.now)

    def close(self) -> None:
        """Kill what still runs, and close the ledger."""
        for process in self._running.values():
            self.fork_server.end(process.pid)
        if "ledger" in self.__dict__:
            self.ledger.close()

    def settle_down(self) -> None:
        """Wait until the platform has done with every call that left its sender, who may be dead."""
        time.sleep(UNDER_WAY_S)
        until = time.monotonic() + 5
        while self.busy.calls:
            if time.monotonic() > until:
                raise TimeoutError("the platform is still busy with a call")
            time.sleep(0.005)

    def begin(self) -> None:
        """What comes from here on is the case; what was before only prepared it."""
        self.ended.clear()


def output(folder: Path) -> str:
    """Return the end of what a process said."""
    return (folder / "output").read_text(errors="replace")[-4_000:] if (folder / "output").exists() else "(nothing)"
