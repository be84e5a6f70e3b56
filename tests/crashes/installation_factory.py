"""Makes an installation for each case: one fork server, one sandbox that is wiped, an empty ledger to copy."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy import URL
from starlette.types import Receive, Scope, Send

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from sandbox.gate import Gate
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SWITCHES, SandboxSettings
from tests.crashes.clock import SharedClock
from tests.crashes.fork_server import ForkServer
from tests.crashes.installation import Busy, Installation

#: How long a request may be missing from the list, seconds.
LAG_S: Final = 1
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes the folder in it


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An installation as it stands while none of its processes runs. In memory: SQLite ledgers alone."""

    ledger: sqlite3.Connection
    books: sqlite3.Connection
    shift_s: float

    @classmethod
    def of(cls, installation: Installation) -> Snapshot:
        """Take one."""
        taken = cls(sqlite3.connect(":memory:"), sqlite3.connect(":memory:"), installation.clock.shift_s)
        with sqlite3.connect(str(installation.ledger_url.database)) as ledger:
            ledger.backup(taken.ledger)
        ledger.close()
        with installation.sandbox.platform.books._lock:
            installation.sandbox.platform.books._database.backup(taken.books)
        return taken

    def restore(self, ledger: Path, sandbox: RunningSandbox, clock: SharedClock) -> None:
        """Bring ledger, books and clock to where they were."""
        with sqlite3.connect(ledger) as copy:
            self.ledger.backup(copy)
        copy.close()
        with sandbox.platform.books._lock:
            self.books.backup(sandbox.platform.books._database)
        clock.jump(self.shift_s)

    def close(self) -> None:
        """Forget it."""
        self.ledger.close()
        self.books.close()


class InstallationFactory:
    """What the installations share. Made by `installation_factory`."""

    def __init__(
        self, folder: Path, fork_server: ForkServer, sandbox: RunningSandbox, clock: SharedClock, busy: Busy
    ) -> None:
        self.folder = folder
        self.fork_server = fork_server
        self.sandbox = sandbox
        self.clock = clock
        self.busy = busy
        self._numbers = count()
        self._template = folder / "empty.db"
        with Ledger(URL.create("sqlite", database=str(self._template)), new=True) as ledger:
            create(ledger.engine)

    @contextmanager
    def installation(
        self,
        customers: range,
        *,
        ledger: URL | None = None,
        empty: bool = False,
        snapshot: Snapshot | None = None,
        virtual: bool = True,
        platform: Mapping[str, object] | None = None,
        options: Mapping[str, object],
    ) -> Iterator[Installation]:
        """Make a fresh installation.

        Args:
            customers: who is eligible.
            ledger: an empty PostgreSQL ledger; by default a SQLite file.
            empty: without the ledger's tables.
            snapshot: of another installation with the same customers, to go on from.
            virtual: sleeping costs no time.
            platform: other extras of the platform's connection than usual.
            options: arguments of the operators.
        """
        self.clock.reset()
        wipe(self.sandbox)
        folder = self.folder / f"case {next(self._numbers)}"
        folder.mkdir()
        if ledger is None:
            ledger = URL.create("sqlite", database=str(folder / "ledger.db"))
            if snapshot is not None:
                snapshot.restore(folder / "ledger.db", self.sandbox, self.clock)
            elif not empty:
                shutil.copy(self._template, folder / "ledger.db")
        _fill(folder / "warehouse.db", customers)
        environment = {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(folder / "warehouse.db")}),
            "AIRFLOW_CONN_BADGE_LEDGER": json.dumps(_connection(ledger)),
            "AIRFLOW_CONN_CAPILLARY": json.dumps(_platform(self.sandbox.url, platform or {})),
        }
        installation = Installation(
            self.fork_server,
            self.sandbox,
            self.clock,
            folder,
            ledger,
            environment,
            customers,
            dict(options),
            self.busy,
            virtual,
        )
        try:
            yield installation
        finally:
            installation.close()
        shutil.rmtree(folder)


def scratch(prefix: str) -> Path:
    """Make a folder, in memory where there is such a place: kill -9 loses nothing that was written anywhere."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if _MEMORY.is_dir() else None))


@contextmanager
def installation_factory() -> Iterator[InstallationFactory]:
    """Start what the cases share, in a folder of its own that is gone at the end."""
    folder = scratch("crashes-")
    try:
        clock = SharedClock(folder / "clock")
        home = folder / "airflow"
        home.mkdir()
        with (
            _counted_calls() as busy,
            running_sandbox(SandboxSettings(), clock=clock) as sandbox,
            ForkServer(home) as fork_server,
        ):
            yield InstallationFactory(folder, fork_server, sandbox, clock, busy)
    finally:
        shutil.rmtree(folder)


@contextmanager
def _counted_calls() -> Iterator[Busy]:
    busy, through = Busy(), Gate.__call__

    async def counted(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        busy.calls += scope["type"] == "http"
        try:
            await through(gate, scope, receive, send)
        finally:
            busy.calls -= scope["type"] == "http"

    Gate.__call__ = counted  # type: ignore[method-assign, assignment]
    try:
        yield busy
    finally:
        Gate.__call__ = through  # type: ignore[method-assign]


def wipe(sandbox: RunningSandbox) -> None:
    """Make the platform forget everything, and behave as at its start: a server for every case costs too much."""
    platform = sandbox.platform
    defaults = SandboxSettings()
    platform.switch(**{name: getattr(defaults, name) for name in SWITCHES})
    platform.faults.clear()
    with platform.books.transaction():
        for table in ("issual", "bulk_call", "used_key", "request"):
            platform.books._database.execute(f"DELETE FROM {table}")  # noqa: S608 - one of four names
    with platform._lock:
        platform._calls.clear()
        platform._arrivals.clear()


def _fill(path: Path, customers: range) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA synchronous=OFF")
        database.execute("CREATE TABLE member (customer_id)")
        database.executemany("INSERT INTO member VALUES (?)", ((customer,) for customer in customers))
    database.close()


def _connection(ledger: URL) -> dict[str, object]:
    if ledger.get_backend_name() == "sqlite":
        return {"conn_type": "sqlite", "host": ledger.database}
    return {
        "conn_type": "postgres",
        "host": ledger.host or ledger.query["host"],
        "port": ledger.port,
        "login": ledger.username,
        "password": ledger.password,
        "schema": ledger.database,
    }


def _platform(url: str, extra: Mapping[str, object]) -> dict[str, object]:
    usual = {
        "organisation_id": "100458",
        "calls_per_minute": 60_000,
        "visibility_lag_s": LAG_S,
        "post_timeout_s": 1,
        "read_timeout_s": 1,
        "connect_timeout_s": 0.9,
    }
    return {
        "conn_type": "capillary",
        "host": url,
        "login": "sandbox-maker",
        "password": "sandbox-maker",
        "extra": usual | dict(extra),
    }
