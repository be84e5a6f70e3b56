"""Real Airflow with three users, the sandbox and its checker's page: what the browser looks at."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console

from local_airflow.airflow_api import AirflowApi
from local_airflow.environment import Sources, build_environment
from local_airflow.home import DAGS, Home
from local_airflow.interruption import Interruption
from local_airflow.metadata import start_metadata
from local_airflow.ports import LOOPBACK, free_port
from local_airflow.processes import Processes
from local_airflow.startup import AIRFLOW_PROCESSES, SandboxOptions, Startup

#: Who may log in, each with the name as the password: role by role, what Airflow's own simple auth manager knows.
USERS: Final = {"ada": "admin", "uma": "user", "vic": "viewer"}
CAMPAIGNS: Final = ("gold_tier", "monthly_streak", "new_arrivals")
#: Customers of the example warehouse: some 60 of them are due the gold badge.
CUSTOMERS: Final = 5_000
LIMIT_S: Final = 90.0


class RunningAirflow:
    """A whole Airflow. Made by `running_airflow`.

    Attributes:
        url: of Airflow's UI.
        checker: of the checker's page.
        home: where everything is kept.
    """

    def __init__(self, home: Home) -> None:
        home.create()
        self.home = home
        api_port, self._sandbox_port = free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{api_port}"
        self.checker = f"http://{LOOPBACK}:{self._sandbox_port}/"
        self.processes = Processes(home.processes, home.process_logs)
        self._interruption = Interruption()
        dags = home.directory / "dags"
        _write_campaigns(dags)
        passwords = home.directory / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in USERS}))
        metadata = start_metadata(home, self.processes, os.environ, pause=time.sleep)
        environment = build_environment(
            os.environ,
            home=home,
            secrets=home.secrets(),
            dags_folder=dags,
            api_port=api_port,
            sandbox_port=self._sandbox_port,
            metadata_url=metadata.url,
            schedules=False,  # a campaign's own run, at its hour, would stand beside those that the tests count
        )
        self.environment = environment | {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",
        }
        self._clients: dict[str | None, httpx.Client] = {}

    def start(self) -> None:
        """Start everything, and wait until every campaign can be triggered."""
        startup = Startup(
            home=self.home,
            environment=self.environment,
            sources=Sources(own_platform=False, own_warehouse=False, own_ledger=False),
            processes=self.processes,
            interruption=self._interruption,
            console=Console(quiet=True),
        )
        startup.prepare(sandbox_port=self._sandbox_port, sandbox=SandboxOptions(None), customers=CUSTOMERS)
        with AirflowApi(self.url) as api:
            startup.start_airflow(api)
        loaded = {*CAMPAIGNS, "badge_upkeep"}
        until(lambda: loaded <= {dag["dag_id"] for dag in self.get("/api/v2/dags")["dags"]}, "the campaigns are loaded")

    def restart_api_server(self) -> None:
        """End the API server and start it again."""
        os.kill(self.processes.pids()["api-server"], 15)
        until(lambda: self.processes.exit_code("api-server") is not None, "the API server has ended")
        command = [sys.executable, "-m", "airflow", *AIRFLOW_PROCESSES["api-server"]]
        self.processes.start("api-server", command, self.environment, serves=True)
        with AirflowApi(self.url) as api:
            until(lambda: bool(api.components()), "the API server answers")

    def client(self, user: str | None = "ada") -> httpx.Client:
        """Return a client that is logged in as a user; None: as nobody."""
        if user not in self._clients:
            client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
            if user is not None:
                reply = client.post("/auth/token", json={"username": user, "password": user})
                client.headers["Authorization"] = f"Bearer {reply.raise_for_status().json()['access_token']}"
            self._clients[user] = client
        return self._clients[user]

    def get(self, path: str, user: str = "ada") -> dict[str, Any]:
        """Return what Airflow's API says."""
        content: dict[str, Any] = self.client(user).get(path).raise_for_status().json()
        return content

    def trigger(self, dag_id: str, conf: Mapping[str, object], *, note: str | None = None) -> str:
        """Start a run, its DAG unpaused, and return its id."""
        self.client().patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        body = {"logical_date": None, "conf": dict(conf), "note": note}
        run = self.client().post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).raise_for_status().json()
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def stop(self) -> None:
        """End everything that was started."""
        for client in self._clients.values():
            client.close()
        self.processes.stop(grace_s=2)


def until(ready: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.2)


def _write_campaigns(folder: Path) -> None:
    """Copy the example campaigns, which look at their requests every ten seconds here, 200 customers in each."""
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in CAMPAIGNS:
        file = folder / f"{name}.py"
        quick = "    poll_interval_s=10,\n    customers_per_request=200,\n    live="
        file.write_text(file.read_text().replace("    live=", quick))


@contextmanager
def running_airflow(directory: Path | None = None) -> Iterator[RunningAirflow]:
    """Start everything, and end it all with the block."""
    folder = directory or Path(tempfile.mkdtemp(prefix="browser-"))
    airflow = RunningAirflow(Home(folder / "airflow"))
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()
        if directory is None:
            shutil.rmtree(folder, ignore_errors=True)
