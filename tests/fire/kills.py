"""Who is killed, by `kill -9`, and started again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from random import Random

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs

from tests.fire.agenda import Agenda
from tests.fire.stack import Stack, kill, members


class Victim(StrEnum):
    """What dies."""

    SCHEDULER = "scheduler and its workers"
    SCHEDULER_ALONE = "scheduler alone"  #: its workers and their tasks go on for a while, with nobody to report to
    TRIGGERER = "triggerer"
    API_SERVER = "api-server"
    TASK = "task"  #: the process that runs the operator
    SUPERVISOR = "worker"  #: the process that supervises a task and sends its heartbeats; the task is left behind


#: How likely each is.
WEIGHTS = {
    Victim.SCHEDULER: 3,
    Victim.SCHEDULER_ALONE: 3,
    Victim.TRIGGERER: 4,
    Victim.API_SERVER: 4,
    Victim.TASK: 9,
    Victim.SUPERVISOR: 5,
}
_COMPONENT = {
    Victim.SCHEDULER: "scheduler",
    Victim.SCHEDULER_ALONE: "scheduler",
    Victim.TRIGGERER: "triggerer",
    Victim.API_SERVER: "api-server",
}
#: Seconds between two kills, until a component is started anew, and that an orphaned worker lives on.
PAUSE_S = (4.0, 11.0)
RESTART_S = (1.0, 2.0)
ORPHAN_S = (5.0, 40.0)
#: Seconds after which no task is waited for any more, and within which a task that was found dies.
TASK_LIMIT_S = 12.0
TASK_LIFE_S = 2.5

_WORKER = "airflow worker -- LocalExecutor"
_TASK = "airflow worker -- "


class Killer:
    """Kills at random until it has killed so many.

    Args:
        stack: whose processes die.
        agenda: on which it stands.
        random: draws the victims and the times.
        kills: how many.
        tell: takes one line for each kill.
    """

    def __init__(self, stack: Stack, agenda: Agenda, random: Random, kills: int, tell: Callable[[str], None]) -> None:
        self._stack = stack
        self._agenda = agenda
        self._random = random
        self._left = kills
        self._tell = tell
        self._down: set[str] = set()
        self.counts: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether nobody dies any more and everything was started again."""
        return self._left <= 0 and not self._down

    def begin(self) -> None:
        """Let the first one die after a pause."""
        self._agenda.later(self._random.uniform(*PAUSE_S), self._next)

    def _begin_again(self) -> None:
        if self._stack.answers():
            self.begin()
        else:
            self._agenda.later(1.0, self._begin_again)

    def _next(self) -> None:
        if self._left <= 0:
            return
        if not self._stack.answers():
            # Without its API server nothing of Airflow moves: another death would hit nobody at work.
            self._agenda.later(1.0, self._begin_again)
            return
        victim = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if victim in _COMPONENT:
            self._kill_component(victim)
        else:
            self._await_task(victim, time.monotonic() + TASK_LIMIT_S)

    def _kill_component(self, victim: Victim) -> None:
        component = _COMPONENT[victim]
        if component in self._down:
            self._agenda.later(0.5, self._next)
            return
        session = self._stack.session(component)
        family = members(session)
        if victim is Victim.SCHEDULER_ALONE:
            kill([process for process in family if process.pid == session])
            self._agenda.later(self._random.uniform(*ORPHAN_S), lambda: kill(members(session)))
        else:
            kill(family)
        self._down.add(component)
        self._agenda.later(self._random.uniform(*RESTART_S), lambda: self._restart(component))
        self._killed(victim)

    def _restart(self, component: str) -> None:
        self._stack.start(component)
        self._down.discard(component)

    def _await_task(self, victim: Victim, deadline: float) -> None:
        """Kill a task at a random moment of its life; another victim where none runs."""
        if running_tasks(self._stack):
            self._agenda.later(self._random.uniform(0, TASK_LIFE_S), lambda: self._kill_task(victim, deadline))
        elif time.monotonic() < deadline:
            self._agenda.later(0.1, lambda: self._await_task(victim, deadline))
        else:
            self._next()

    def _kill_task(self, victim: Victim, deadline: float) -> None:
        tasks = running_tasks(self._stack)
        if not tasks:
            self._await_task(victim, deadline)
            return
        task = self._random.choice(tasks)
        try:
            doomed = task if victim is Victim.TASK else task.parent()
        except psutil.Error:
            doomed = None
        if doomed is None or not _is_worker_of(task, doomed):
            self._await_task(victim, deadline)
            return
        kill([doomed])
        self._killed(victim)

    def _killed(self, victim: Victim) -> None:
        self._left -= 1
        self.counts[victim] += 1
        self._tell(f"killed {victim}")
        self._agenda.later(self._random.uniform(*PAUSE_S), self._next)


def running_tasks(stack: Stack) -> list[psutil.Process]:
    """The processes that run an operator now.

    Idle workers are left alone: one of them holds the lock of LocalExecutor's queue while it waits, and killed then
    it would leave all others waiting forever, which no task of anybody's survives.
    """
    return [
        process
        for session in sorted(stack.scheduler_sessions())
        for process in members(session)
        if _title(process).startswith(_TASK) and not _title(process).startswith(_WORKER)
    ]


def _is_worker_of(task: psutil.Process, doomed: psutil.Process) -> bool:
    return doomed == task or (_title(doomed).startswith(_WORKER) and "<idle>" not in _title(doomed))


def _title(process: psutil.Process) -> str:
    try:
        # A process that sets its title leaves one argument, or its words as arguments, and empty ones behind.
        return " ".join(part for part in process.cmdline() if part)
    except psutil.Error:
        return ""
