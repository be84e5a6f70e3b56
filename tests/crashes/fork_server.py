"""A process that has everything imported and forks one process for each job: Airflow's import is paid once.

It has one thread and opens nothing, so that a fork of it is as good as a fresh process. One command a line on
stdin, one answer a line on stdout: `start <job>` → pid, `wait <pid> <seconds>` → wait status, or `late`.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.crashes.job import Job

ROOT = Path(__file__).parents[2]
_START_S = 60.0
_LATE = "late"


class ForkServer:
    """The fork server as its user sees it. Use as a context manager; what it started is killed at the end.

    Args:
        home: a folder for Airflow.
    """

    def __init__(self, home: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashes.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment
            | {
                "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
                "AIRFLOW_HOME": str(home),
                # As in a task: outside one, a connection that is not in the environment is looked for elsewhere.
                "_AIRFLOW_PROCESS_CONTEXT": "client",
            },
        )
        self._alive = set[int]()

    def __enter__(self) -> Self:
        if (ready := self._read()) != "ready":
            raise RuntimeError(
                f"the fork server did not start: {ready or 'it ended'}; run python -m tests.crashes.fork_server"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in tuple(self._alive):
            self.end(pid)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_START_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, job: Job) -> int:
        """Start a process; return its id."""
        pid = int(self._ask(f"start {job.dump()}"))
        self._alive.add(pid)
        return pid

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """Wait for a process; return its exit code (negative: the signal), None if it is still there."""
        answer = self._ask(f"wait {pid} {timeout_s}")
        if answer == _LATE:
            return None
        self._alive.discard(pid)
        return os.waitstatus_to_exitcode(int(answer))

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process that was started here and is not waited for yet."""
        if pid not in self._alive:
            raise ProcessLookupError(f"process {pid} was not started here, or has ended")
        os.kill(pid, number)

    def end(self, pid: int) -> None:
        """Kill a process and wait for it."""
        self.signal(pid, signal.SIGKILL)
        self.wait(pid, _START_S)

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _serve() -> None:
    from tests.crashes.process import run, warm_up  # noqa: PLC0415 - slow; only the fork_server itself needs it

    warm_up()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)  # noqa: T201 - the protocol
    running = set[int]()
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "start":
            pid = os.fork()
            if pid == 0:
                _be(rest, run)
            running.add(pid)
            print(pid, flush=True)  # noqa: T201 - the protocol
        else:
            which, _, seconds = rest.partition(" ")
            answer = _waited(int(which), float(seconds))
            if answer != _LATE:
                running.discard(int(which))
            print(answer, flush=True)  # noqa: T201 - the protocol
    # Whoever gave the commands is gone, perhaps without a word.
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _be(line: str, run: object) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        run(Job.load(line))  # type: ignore[operator]
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and its output tells why
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _waited(pid: int, seconds: float) -> str:
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return str(status)
        if time.monotonic() > until:
            return _LATE
        time.sleep(0.001)


if __name__ == "__main__":
    _serve()
