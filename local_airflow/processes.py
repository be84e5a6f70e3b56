"""Processes that are started together and leave nobody behind.

Each process leads a session of its own. Whatever it starts stays in that session, even what changes its
process group as Airflow's tasks do, so a session can be emptied as a whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs

from local_airflow.errors import ComponentFailedError

#: Seconds to end in order before being killed: time for a short task to come to its end.
GRACE_S = 5.0
#: The same where no task runs. A scheduler or triggerer that gets SIGTERM at the wrong moment never ends.
IDLE_GRACE_S = 2.0
#: The least for a database, which writes what it holds: killed, it would do so at its next start.
STORE_GRACE_S = 10.0
#: Seconds for the system to take a killed process away.
KILL_LIMIT_S = 2.0
TAIL_LINES = 20
_CALLS, _SERVES, _STORES = range(3)
_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Started:
    """One started process: enough to know it again after this program was killed."""

    name: str
    pid: int
    #: Seconds since the epoch, by the system's own record: tells a process from a later one with its id.
    created: float


@dataclass(frozen=True, slots=True)
class _Running:
    started: Started
    handle: subprocess.Popen[bytes]
    #: Who ends first: those who serve nobody, then the servers, then what the servers store their data in.
    turn: int


class Processes:
    """The processes of one start, in order.

    Args:
        record: file that names them while they run.
        logs: directory; each process writes NAME.log there.
    """

    def __init__(self, record: Path, logs: Path) -> None:
        self._record = record
        self._logs = logs
        self._running: dict[str, _Running] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        serves: bool = False,
        stores: bool = False,
    ) -> None:
        """Start it in a session of its own, with its output in NAME.log.

        Args:
            name: for people, and of its log.
            command: program and arguments.
            environment: the whole of it.
            serves: others call it, so it is ended after them.
            stores: it is a database, which is ended last, and by SIGINT: PostgreSQL waits at SIGTERM for whoever is
                connected.
        """
        with self.log_of(name).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - commands of this package, no shell
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = Started(name, process.pid, _created(process.pid) or time.time())
        self._running[name] = _Running(started, process, _STORES if stores else _SERVES if serves else _CALLS)
        self._write()

    def log_of(self, name: str) -> Path:
        """Where it writes."""
        return self._logs / f"{name}.log"

    def pids(self) -> dict[str, int]:
        """What runs, by name."""
        return {name: process.started.pid for name, process in self._running.items()}

    def exit_code(self, name: str) -> int | None:
        """How it ended; None while it runs."""
        return self._running[name].handle.poll()

    def check(self) -> None:
        """See that all of them are alive.

        Raises:
            ComponentFailedError: one is not; with its exit code and the end of its log.
        """
        for name in self._running:
            code = self.exit_code(name)
            if code is not None:
                raise self.failure(name, f"ended by itself with exit code {code}")

    def done(self, name: str) -> bool:
        """Whether a command that is meant to end has ended well; it is then forgotten.

        Raises:
            ComponentFailedError: it ended with an exit code other than 0.
        """
        code = self.exit_code(name)
        if code is None:
            return False
        if code != 0:
            raise self.failure(name, f"failed with exit code {code}")
        self.forget(name)
        return True

    def forget(self, name: str) -> None:
        """Watch it no more: it has ended."""
        del self._running[name]
        self._write()

    def failure(self, name: str, reason: str) -> ComponentFailedError:
        """The error that tells what became of a process."""
        log = self.log_of(name)
        return ComponentFailedError(name, reason=reason, log=str(log), tail=tail(log))

    def stop(self, hurry: threading.Event | None = None, grace_s: float = GRACE_S) -> None:
        """End all of them and what they have started: first who serves nobody, then the servers, then a database.

        Args:
            hurry: once set, nobody is waited for any more.
            grace_s: seconds for each of the three to end in order before SIGKILL; a database has ten at the least.
        """
        hurry = hurry or threading.Event()
        latest_first = list(reversed(self._running.values()))
        for turn in (_CALLS, _SERVES, _STORES):
            ending = [process for process in latest_first if process.turn == turn]
            families = [_family(process.started) for process in ending]
            for process in ending:
                # To the leader alone: it ends its own in order.
                process.handle.send_signal(signal.SIGINT if turn == _STORES else signal.SIGTERM)
            deadline = time.monotonic() + (max(grace_s, STORE_GRACE_S) if turn == _STORES else grace_s)
            while (
                any(process.handle.poll() is None for process in ending)
                and time.monotonic() < deadline
                and not hurry.is_set()
            ):
                time.sleep(_TICK_S)
            for process, family in zip(ending, families, strict=True):
                _kill([*family, *_family(process.started)])
                process.handle.wait()
        self._running.clear()
        self._record.unlink(missing_ok=True)

    def _write(self) -> None:
        beside = self._record.with_suffix(".new")
        beside.write_text(json.dumps([asdict(process.started) for process in self._running.values()]))
        beside.rename(self._record)


def end_left_behind(record: Path) -> list[str]:
    """End what a killed run left behind, by its record. Returns the names of what was still there.

    A process is ours if it has the recorded id and time of creation, or is in the session of one that had.
    """
    try:
        entries = [
            Started(str(entry["name"]), int(entry["pid"]), float(entry["created"]))
            for entry in json.loads(record.read_text())
        ]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    names = []
    for started in reversed(entries):
        family = _family(started)
        if family:
            names.append(started.name)
            _kill(family)
    record.unlink(missing_ok=True)
    return names


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    try:
        with log.open(errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()
    except FileNotFoundError:
        return ""


def _created(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _family(started: Started) -> list[psutil.Process]:
    """The process, its session and its descendants; nobody if its id belongs to somebody else by now."""
    created = _created(started.pid)
    if created is not None and abs(created - started.created) > 1:
        return []
    # While anybody is left in a session the system gives its id to no new process.
    family: dict[psutil.Process, None] = {}
    for pid in psutil.pids():
        if _session(pid) != started.pid:
            continue
        try:
            member = psutil.Process(pid)
            # Those who left the session are known by their parent while it lives.
            family.update(dict.fromkeys([member, *member.children(recursive=True)]))
        except psutil.Error:
            continue
    return list(family)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _kill(family: Iterable[psutil.Process]) -> None:
    """Kill them all and see that they are gone."""
    killed = set(family)
    for member in killed:
        try:
            # psutil compares the time of creation first: a reused id is not hit.
            member.kill()
        except psutil.Error:
            continue
    deadline = time.monotonic() + KILL_LIMIT_S
    while any(_alive(member) for member in killed) and time.monotonic() < deadline:
        time.sleep(_TICK_S / 5)


def _alive(process: psutil.Process) -> bool:
    try:
        # A zombie runs no more: it waits for whoever reaps orphans here.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
