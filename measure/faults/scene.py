"""One cell of the table: a platform with one fault before it, a warehouse, and the processes of a contender."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import psutil  # type: ignore[import-untyped] # its stubs are a package that nothing else here needs

from measure.faults.fault import Fault, arm
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import MAKER, CheckerMode, SandboxSettings

#: Where `measure`, `sandbox` and `plugins` are.
CHECKOUT: Final = Path(__file__).resolve().parents[2]
CUSTOMERS: Final = range(100_001, 105_001)
#: Seconds that one process of a contender may take.
LIMIT_S: Final = 180.0
#: A call that is open this long after the fault has struck is the one that gets no reply, seconds.
_OPEN_FOR_S: Final = 0.5
_TICK_S: Final = 0.02
_TAIL_LINES: Final = 20


Found = TypeVar("Found")


class MeasuringFailed(Exception):
    """A cell could not be measured; the message says which process did what, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a contender finds.

    Attributes:
        fault: what strikes the third request.
        sandbox: the platform and its books. Its checker approves by itself, as soon as a request has arrived.
        folder: empty, for the contender's files and logs.
        warehouse: SQLite file; table `vip` with a column `customer_id`.
    """

    fault: Fault
    sandbox: RunningSandbox
    folder: Path
    warehouse: Path

    def assert_struck(self) -> None:
        """See that the fault has happened.

        Raises:
            MeasuringFailed: it still waits for its call.
        """
        if self.sandbox.platform.faults.waiting():
            calls = self.sandbox.platform.calls[Route.SUBMIT]
            raise MeasuringFailed(f"{self.fault}: never struck, since the contender sent {calls} requests")

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a contender's process, with what its program is to know."""
        return environment(self.sandbox.url, self.warehouse, **more)

    def run(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
        """Run a program once, and once more if the fault is to kill it; return whether it ended well."""
        with self.started(name, command, environment) as process:
            self.strike(process.pid)
        if self.fault is Fault.KILLED:
            with self.started(f"{name}-again", command, environment) as process:
                pass
        return process.returncode == 0

    def strike(self, root: int) -> None:
        """Kill -9 the process at or below `root` whose call gets no reply, if that is the fault.

        Raises:
            MeasuringFailed: there is none.
        """
        if self.fault is not Fault.KILLED:
            return
        self._await("the third request", lambda: not self.sandbox.platform.faults.waiting(), root)
        sender = self._await("the process that waits for its reply", lambda: self._sender(root), root)
        if not self._is_committed():
            raise MeasuringFailed("the platform has not committed the third request: the fault struck something else")
        os.kill(sender, signal.SIGKILL)

    def _is_committed(self) -> bool:
        return self.sandbox.platform.calls[Route.SUBMIT] >= 3 and len(self.sandbox.platform.requests()) >= 3

    def _sender(self, root: int) -> int:
        """Return the one process that holds a connection to the platform now and a while later, or 0.

        The caller that gets no reply is among them at any time: if there is one alone, it is that one.
        """
        port = int(self.sandbox.url.rpartition(":")[2])
        found = _callers(root, port)
        if not found:
            return 0
        time.sleep(_OPEN_FOR_S)
        found &= _callers(root, port)
        return found.pop() if len(found) == 1 else 0

    def _await(self, what: str, look: Callable[[], Found], root: int) -> Found:
        until = time.monotonic() + LIMIT_S
        while not (found := look()):
            if not _runs(root) or time.monotonic() > until:
                said = "\n".join(tail(log) for log in sorted(self.folder.glob("*.log")))
                raise MeasuringFailed(f"{what} did not show. The last words of {self.folder.name}:\n{said}")
            time.sleep(_TICK_S)
        return found

    @contextmanager
    def started(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program beside the block, and wait for its end.

        Raises:
            MeasuringFailed: it does not end in time.
        """
        log = self.folder / f"{name}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - commands of this package, no shell
                command,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise MeasuringFailed(f"{name} did not end within {LIMIT_S:.0f} s. Its last words:\n{tail(log)}") from None
        finally:
            if process.poll() is None:
                kill_family(process.pid)
            process.wait()


@contextmanager
def scene(fault: Fault, folder: Path, *, port: int = 0) -> Iterator[Scene]:
    """Set the scene.

    Args:
        fault: what strikes the third request.
        folder: is made.
        port: of the platform; 0 for a free one.
    """
    folder.mkdir(parents=True)
    settings = SandboxSettings(checker=CheckerMode.AUTOMATIC)
    with running_sandbox(settings, port=port) as sandbox:
        arm(sandbox, fault)
        yield Scene(fault, sandbox, folder, make_warehouse(folder / "warehouse.db"))


def make_warehouse(path: Path) -> Path:
    """Write the customers, and return the file."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE vip (customer_id INTEGER NOT NULL)")
        conn.executemany("INSERT INTO vip VALUES (?)", ((customer,) for customer in CUSTOMERS))
    return path


def environment(url: str, warehouse: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process: the caller's, with `facts` and what is given on top."""
    return {**os.environ, **facts(url, warehouse), **more}


def facts(url: str, warehouse: Path) -> dict[str, str]:
    """Return what `field.request_body` reads, and what it takes to be imported and to call this machine."""
    return {
        "PLATFORM": url,
        "ORGANISATION": str(SandboxSettings().organisation),
        "TILL": MAKER.username,
        "TILL_PASSWORD": MAKER.password,
        "BADGE": GOLD_CIRCLE.badge_id,
        "WAREHOUSE": str(warehouse),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONPATH": str(CHECKOUT),
    }


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])


def kill_family(root: int) -> None:
    """Kill a process that we started and everything below it."""
    for each in _family(root):
        with suppress(psutil.Error):
            each.kill()


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _family(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [*process.children(recursive=True), process]
    except psutil.Error:
        return []


def _callers(root: int, port: int) -> set[int]:
    """Return the processes at or below `root` with an open connection to a port."""
    found = set()
    for process in _family(root):
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:
            continue
        if any(
            each.raddr and each.raddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in connections
        ):
            found.add(process.pid)
    return found
