"""Airflow's API server alone, with its own database, four users, and a ledger that the test has filled."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Final

import httpx

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from local_airflow.environment import build_environment
from local_airflow.home import DAGS, Home
from local_airflow.ports import LOOPBACK, free_port
from local_airflow.processes import Processes
from tests.pages.auth import NARROW

#: Who may log in, each with the name as the password. `una` may read the DAG new_arrivals alone.
USERS: Final = {"ada": "admin", "olga": "op", "uma": "user", "vic": "viewer", NARROW: "user"}
LIMIT_S: Final = 240.0


class ApiServer:
    """A running API server.

    Attributes:
        url: its address.
        ledger: the ledger's file.
        airflow_db: the file of Airflow's metadata.
    """

    def __init__(self, home: Home, changes: Mapping[str, str]) -> None:
        home.create()
        self.ledger = home.ledger_db
        self.airflow_db = home.airflow_db
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        passwords = home.directory / "passwords.json"
        passwords.write_text(json.dumps({name: name for name in USERS}))
        self._processes = Processes(home.processes, home.process_logs)
        self._clients: dict[str | None, httpx.Client] = {}
        self._environment = {
            **build_environment(
                {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")},
                home=home,
                secrets=home.secrets(),
                dags_folder=DAGS,
                api_port=port,
                sandbox_port=free_port(),
            ),
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.pages.auth.NarrowAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            **changes,
        }

    def start(self) -> None:
        """Migrate Airflow, read the example campaigns, and wait until the server answers."""
        with Ledger(f"sqlite:///{self.ledger}", new=True) as fresh:
            create(fresh.engine)
        for name, *arguments in (("migrate", "db", "migrate"), ("dags", "dags", "reserialize")):
            self._processes.start(name, [sys.executable, "-m", "airflow", *arguments], self._environment)
            self._until(name)
        self._processes.start(
            "api-server", [sys.executable, "-m", "airflow", "api-server"], self._environment, serves=True
        )
        deadline = time.monotonic() + LIMIT_S
        while not self._answers():
            assert time.monotonic() < deadline, self._processes.log_of("api-server").read_text()[-3000:]
            self._processes.check()
            time.sleep(0.2)

    def client(self, user: str | None) -> httpx.Client:
        """Return a client with a user's token; None: without any."""
        if user not in self._clients:
            client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
            if user is not None:
                reply = client.post("/auth/token", json={"username": user, "password": user}).raise_for_status()
                client.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
            self._clients[user] = client
        return self._clients[user]

    def stop(self) -> None:
        """End it."""
        for client in self._clients.values():
            client.close()
        self._processes.stop(grace_s=2)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v2/version", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _until(self, name: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not self._processes.done(name):
            assert time.monotonic() < deadline, self._processes.log_of(name).read_text()[-3000:]
            time.sleep(0.2)


@contextmanager
def running_server(**changes: str) -> Iterator[ApiServer]:
    """Start a server, with these variables changed, and end it with the block."""
    folder = Path(tempfile.mkdtemp(prefix="pages-"))
    server = ApiServer(Home(folder / "airflow"), changes)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        rmtree(folder, ignore_errors=True)
