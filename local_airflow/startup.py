"""Starting a local Airflow: what is prepared, what runs, and when it counts as started."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import httpx
from rich.console import Console

from local_airflow.airflow_api import AirflowApi
from local_airflow.environment import Sources
from local_airflow.home import Home
from local_airflow.interruption import Interruption
from local_airflow.ports import LOOPBACK
from local_airflow.processes import Processes

#: Airflow's processes, as production has them. Logs are read from the directory that all of them share:
#: without `--skip-serve-logs` two more servers would listen, on all interfaces.
AIRFLOW_PROCESSES = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
SCHEDULER = "scheduler"
#: Others call them, so they end last.
SERVERS = frozenset({"api-server", "sandbox"})
#: What the health page reports on: the API server is the one that answers.
GATES = frozenset({"metadatabase", "scheduler", "dag-processor", "triggerer"})

#: Seconds until a component must be there. Airflow takes 20 s on two cores; the slack is for busy machines.
START_LIMIT_S = 180.0
PREPARE_LIMIT_S = 1_800.0
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How the sandbox behaves.

    Attributes:
        checker_delay_s: the automatic checker decides so long after a request arrived; None: a person does.
        unknown_every: customer ids divisible by this are unknown to the platform; 0 for none.
    """

    checker_delay_s: float | None
    unknown_every: int = 97

    def arguments(self) -> list[str]:
        """Its command line."""
        checker = (
            ["--checker", "manual"]
            if self.checker_delay_s is None
            else ["--checker", "automatic", "--delay", f"{self.checker_delay_s:g}"]
        )
        return [*checker, "--unknown-every", str(self.unknown_every)]


class Startup:
    """Prepares and starts everything, in parallel where nothing forbids it.

    Args:
        home: where everything is kept.
        environment: of every process.
        sources: which platform and databases are the user's own.
        processes: takes what is started.
        interruption: ends every wait.
        console: for people.
    """

    def __init__(
        self,
        *,
        home: Home,
        environment: dict[str, str],
        sources: Sources,
        processes: Processes,
        interruption: Interruption,
        console: Console,
    ) -> None:
        self._home = home
        self._environment = environment
        self._sources = sources
        self._processes = processes
        self._interruption = interruption
        self._console = console

    def prepare(self, *, sandbox_port: int | None, sandbox: SandboxOptions, customers: int) -> None:
        """Start the sandbox, seed the example warehouse, make or migrate the ledger and Airflow: all at once.

        Args:
            sandbox_port: None where the platform is the user's own.
            sandbox: how it behaves.
            customers: size of the example warehouse.
        """
        if sandbox_port is not None:
            arguments = ["--port", str(sandbox_port), "--books", str(self._home.sandbox_books)]
            if not self._sources.own_ledger:
                # The user's own may have a password in its address: they give it in the variable SANDBOX_LEDGER.
                arguments += ["--ledger", f"sqlite:///{self._home.ledger_db}"]
            self._python("sandbox", "sandbox", *arguments, *sandbox.arguments())
        steps = []
        if not self._sources.own_warehouse:
            warehouse = f"sqlite:///{self._home.warehouse_db}"
            self._python("warehouse", "sandbox.warehouse", "--url", warehouse, "--customers", str(customers))
            steps.append("warehouse")
        ledger = [] if self._sources.own_ledger else ["--url", f"sqlite:///{self._home.ledger_db}"]
        # Where this home has started before and the ledger is missing, it was lost: an empty one would forget
        # who was submitted, so that nothing is made in its place.
        command = "upgrade" if self._home.has_started_before else "create"
        self._python("ledger", "capillary", "ledger", command, *ledger)
        steps.append("ledger")
        migrating = not self._airflow_is_migrated()
        if migrating:
            self._python("airflow-db", "airflow", "db", "migrate")
            steps.append("airflow-db")
        for step in steps:
            self._wait(step, partial(self._processes.done, step), limit_s=PREPARE_LIMIT_S)
            said = _last_line(self._processes.log_of(step))
            if step != "airflow-db" and said:
                self._console.print(said)
        if migrating:
            self._home.airflow_db_version.write_text(version("apache-airflow-core"))
        if sandbox_port is not None:
            self._wait("sandbox", lambda: _answers(sandbox_port), limit_s=START_LIMIT_S)
            self._console.print(f"sandbox ready, its checker's page at http://{LOOPBACK}:{sandbox_port}/")

    def start_airflow(self, api: AirflowApi, *, before_scheduling: Callable[[], None] = lambda: None) -> None:
        """Start Airflow's processes and wait until each has said that it is alive.

        The scheduler comes last: a task that it starts before the API server answers uses up a try, with an empty log.

        Args:
            api: of this Airflow.
            before_scheduling: called once the API answers and before the scheduler starts.
        """
        started = datetime.now(UTC)
        for name in (name for name in AIRFLOW_PROCESSES if name != SCHEDULER):
            self._python(name, "airflow", *AIRFLOW_PROCESSES[name])

        def api_answers() -> bool:
            self._processes.check()
            return bool(api.components())

        self._wait("api-server", api_answers, limit_s=START_LIMIT_S, waiting_for="Airflow's API server")
        before_scheduling()
        self._python(SCHEDULER, "airflow", *AIRFLOW_PROCESSES[SCHEDULER])

        def all_healthy() -> bool:
            self._processes.check()
            # A heartbeat from before the start is that of a run that was killed.
            return {
                component.name
                for component in api.components()
                if component.healthy and (component.heartbeat or started) >= started
            } >= GATES

        self._wait(SCHEDULER, all_healthy, limit_s=START_LIMIT_S, waiting_for="Airflow")

    def _airflow_is_migrated(self) -> bool:
        # The question alone costs Airflow's own command 3 s.
        try:
            migrated_to = self._home.airflow_db_version.read_text()
        except FileNotFoundError:
            return False
        kept = self._home.postgresql.exists() or self._home.airflow_db.exists()
        return kept and migrated_to == version("apache-airflow-core")

    def _python(self, name: str, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self._processes.start(name, command, self._environment, serves=name in SERVERS)

    def _wait(self, name: str, ready: Callable[[], bool], *, limit_s: float, waiting_for: str = "") -> None:
        with self._console.status(f"waiting for {waiting_for or name}"):
            deadline = time.monotonic() + limit_s
            while not ready():
                if name in self._processes.pids() and self._processes.exit_code(name) is not None:
                    self._processes.check()
                if time.monotonic() > deadline:
                    raise self._processes.failure(name, f"was not ready within {limit_s:g} s")
                self._interruption.pause(_TICK_S)


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://{LOOPBACK}:{port}/", timeout=2, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
