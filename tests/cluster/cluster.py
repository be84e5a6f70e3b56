"""The running cluster as its users and its judge see it: Airflow's API, ledger, warehouse, platform."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import URL, Engine, NullPool, bindparam, create_engine, text

from capillary.ledger.database import Ledger
from local_airflow.airflow_api import ApiSilentError
from sandbox.badges import GOLD_CIRCLE
from tests.cluster.engine import Engine as ContainerEngine
from tests.cluster.engine import Supervised
from tests.cluster.images import images
from tests.cluster.services import services
from tests.deployment.composition import CHECKOUT, DEMO, rendered
from tests.fire.airflow import FireApi
from tests.fire.campaigns import Campaign, Warehouse

#: Replicas beyond one.
SCALE: Final = {"airflow-worker": 2, "airflow-triggerer": 2, "airflow-scheduler": 2}
#: The example campaign, which the image has; its customers are the sample warehouse's.
EXAMPLE: Final = "gold_tier"
_USER: Final = "admin"
#: Seconds; two cores of its own bring it up in 90.
START_LIMIT_S: Final = 600.0


class ClusterApi(FireApi):
    """The REST API of an Airflow that asks for a password."""

    def __init__(self, url: str, password: str) -> None:
        super().__init__(url)
        self._password = password

    def _call(self, method: str, path: str, *, what: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        if not self._token:
            login = {"username": _USER, "password": self._password}
            try:
                reply = self._http.post("/auth/token", json=login)
            except httpx.TransportError as error:
                raise ApiSilentError(f"Airflow's API server does not answer when asked to {what}") from error
            self._token = str(self._checked(reply, what="log in")["access_token"])
        return super()._call(method, path, what=what, body=body)


class ClusterWarehouse(Warehouse):
    """The sample warehouse: its own customers, and those of the test's campaigns."""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        sql = (CHECKOUT / "dags" / f"{EXAMPLE}.sql").read_text()
        statement = text(sql).bindparams(bindparam("badge_id", GOLD_CIRCLE.badge_id))
        with self._engine.connect() as conn:
            self._due = {int(customer): EXAMPLE for customer in conn.execute(statement).scalars()}

    def customers(self) -> dict[int, str]:
        """The campaign of every customer who is due the badge."""
        return {**self._due, **super().customers()}


class Cluster:
    """Everything that runs. Made by `running_cluster`.

    Attributes:
        containers: as the engine has them.
        api: Airflow's REST API, as the user `admin`.
        airflow: engine of Airflow's metadata.
        ledger: of the campaigns.
        warehouse: of the campaigns.
        sandbox: calls the platform's own routes.
    """

    def __init__(self, containers: ContainerEngine, secrets: Mapping[str, str]) -> None:
        self.containers = containers
        self._variables = dict(secrets)
        postgres = containers.one("postgres").container.address
        place = URL.create("postgresql+psycopg", host=postgres, port=5432)
        airflow = place.set(username="airflow", password=secrets["AIRFLOW_DB_PASSWORD"], database="airflow")
        self.airflow: Engine = create_engine(airflow, poolclass=NullPool)
        self.ledger = Ledger(
            place.set(username="badge_ledger", password=secrets["LEDGER_DB_PASSWORD"], database="badge_ledger")
        )
        warehouse = containers.one("sample-warehouse").container.address
        self.warehouse = ClusterWarehouse(place.set(host=warehouse, username="warehouse", database="warehouse"))
        server = containers.one("airflow-apiserver").container.address
        self.api = ClusterApi(f"http://{server}:8080", json.loads(secrets["AIRFLOW_UI_PASSWORDS"])[_USER])
        platform = containers.one("sandbox").container.address
        self.sandbox = httpx.Client(base_url=f"http://{platform}:8090", timeout=60, trust_env=False)

    @property
    def ours(self) -> list[str]:
        """The services that are not the world outside: what `docker compose` without the profile demo has."""
        return [service.name for service in services(rendered(self._variables))]

    def restart(self) -> None:
        """Stop every service and start it again, as with the machine."""
        self.containers.stop(self.ours)
        self.containers.start(self.ours, START_LIMIT_S)

    def down_and_up(self, **changed: str) -> None:
        """`docker compose down`, then `up`: new containers on the old volumes, with what .env says now."""
        self._variables |= changed
        self.containers.stop(self.ours)
        self.containers.renew(services(rendered(self._variables)))
        self.containers.start(self.ours, START_LIMIT_S)

    def reopen_ledger(self) -> None:
        """Open the ledger again: its tables were restored."""
        url = self.ledger.url
        self.ledger.close()
        self.ledger = Ledger(url)

    def close(self) -> None:
        """Close what was opened."""
        self.api.__exit__(None, None, None)
        self.sandbox.close()
        self.ledger.close()

    def answers(self) -> bool:
        """Whether Airflow's API server answers."""
        return bool(self.api.components())

    def switch(self, **switches: object) -> None:
        """Set switches of the platform."""
        self.sandbox.patch("/_sandbox/switches", json=switches).raise_for_status()

    def await_campaigns(self, names: Sequence[str]) -> None:
        """Wait until the campaigns are loaded, and unpause them."""
        self.until(lambda: set(names) <= self._loaded(), f"loaded: {', '.join(names)}")
        for name in names:
            self.api.unpause(name)

    def trigger(self, campaign: str, run_id: str) -> None:
        """Trigger a run, through outages of the API server."""

        def triggered() -> bool:
            with suppress(ApiSilentError):
                self.api.trigger_as(campaign, run_id)
                return True
            return False

        self.until(triggered, f"triggered: {campaign} {run_id}")

    def run_states(self) -> dict[tuple[str, str], str]:
        """The state of every run, by DAG and run."""
        with self.airflow.connect() as conn:
            rows = conn.execute(text("SELECT dag_id, run_id, state FROM dag_run"))
            return {(row.dag_id, row.run_id): row.state for row in rows}

    def task(self, campaign: str, task_id: str) -> tuple[str | None, int, str]:
        """State, try and host name of a task of the campaign's only run."""
        with self.airflow.connect() as conn:
            row = conn.execute(
                text("SELECT state, try_number, hostname FROM task_instance WHERE dag_id = :dag AND task_id = :task"),
                {"dag": campaign, "task": task_id},
            ).one_or_none()
            return (None, 0, "") if row is None else (row.state, row.try_number, row.hostname or "")

    def queued_at(self, campaign: str, task_id: str) -> datetime | None:
        """When a task of the campaign's only run was queued last; None before it is."""
        with self.airflow.connect() as conn:
            moment: datetime | None = conn.execute(
                text("SELECT queued_dttm FROM task_instance WHERE dag_id = :dag AND task_id = :task"),
                {"dag": campaign, "task": task_id},
            ).scalar_one()
            return moment

    def triggerers(self, campaign: str, run_id: str) -> set[str]:
        """The jobs of the triggerers in which a run's `wait` was deferred: each keeps a log of its own."""
        folder = self.containers.volumes["airflow-logs"] / f"dag_id={campaign}" / f"run_id={run_id}" / "task_id=wait"
        return {file.name.rpartition(".trigger.")[2] for file in folder.glob("*.trigger.*")}

    def sent(self, campaign: Campaign) -> int:
        """How many requests of a campaign the platform has."""
        customers = {one for one, of in self.warehouse.customers().items() if of == campaign.name}
        books = self.sandbox.get("/_sandbox/requests").json()
        return sum(bool(customers.intersection(each["customers"])) for each in books)

    def await_mid_submit(self, campaign: Campaign) -> Supervised:
        """Wait until the platform has some of the campaign's requests and not all; returns the worker at it.

        The first goes alone: with the second, several are on their way.
        """
        self.until(lambda: self.sent(campaign) > 1, f"{campaign.name} submits")
        state, _, hostname = self.task(campaign.name, "submit")
        if state != "running":
            raise TimeoutError(f"{campaign.name}: submit is {state}, and was to be interrupted while it runs")
        return self.containers.by_hostname(hostname)

    def until(self, holds: Callable[[], bool], what: str, limit_s: float = START_LIMIT_S) -> None:
        """Wait until it holds.

        Raises:
            TimeoutError: it does not within the limit.
        """
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {limit_s:g} s: {what}; see {self.containers.logs}")
            time.sleep(0.2)

    def _loaded(self) -> set[str]:
        with self.airflow.connect() as conn:
            return set(conn.execute(text("SELECT dag_id FROM dag WHERE NOT is_stale")).scalars())


@contextmanager
def running_cluster(built: Path, variables: Mapping[str, str], *, memory: Path, disk: Path) -> Iterator[Cluster]:
    """Bring the file up with its profile demo, and end everything with the block.

    Args:
        built: what `images.build` made.
        variables: what .env holds, and what is set beside it.
        memory: a folder in a file system of its own.
        disk: a folder for volumes and logs.

    Raises:
        ClusterFailed: it does not come up.
    """
    document = rendered(variables)
    engine = ContainerEngine(document, services(document, [DEMO]), SCALE, images(built), memory=memory, disk=disk)
    cluster = None
    try:
        engine.up()
        engine.wait_up(START_LIMIT_S)
        cluster = Cluster(engine, variables)
        yield cluster
    finally:
        if cluster is not None:
            cluster.close()
        engine.down()
