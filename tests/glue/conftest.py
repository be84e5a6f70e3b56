"""Operators and sensors as a worker runs them: connections in the environment, the sandbox, a ledger in a file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from sqlalchemy import create_engine, func, select, text

from capillary import base_operator, wiring
from capillary.__main__ import main
from capillary.engine import second_look
from capillary.engine.runtime import Runtime
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import badge_enrolment, badge_pace, badge_request, metadata
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings
from tests.postgresql import ServerMissing, running_server
from tests.second_migration import SecondRelease

Check = Callable[..., tuple[int, list[str], str]]
#: A line of Airflow's log.
LOG = re.compile(r"(?m)^\d{4}-\d\d-\d\dT.*\n")
#: What every plan of these tests has in common.
BADGE: dict[str, Any] = {
    "occasion": "vip",
    "badge_id": GOLD_CIRCLE.badge_id,
    "owner_type": "Loyalty",
    "reference_id": "42",
    "entity": {"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
    "canary": False,
    "customers_per_request": 50,
}
SQL = "SELECT customer_id FROM vip ORDER BY customer_id"


@dataclass
class Pushed:
    """Keeps what a task pushes."""

    values: dict[str, Any] = field(default_factory=dict)

    def __call__(self, key: str, value: object) -> None:
        self.values[key] = value


@dataclass
class Place:
    """Everything around a task, and the books to judge it by."""

    sandbox: RunningSandbox
    ledger: Ledger
    warehouse: str
    monkeypatch: pytest.MonkeyPatch
    pushed: Pushed = field(default_factory=Pushed)

    def connect(self, conn_id: str, **facts: object) -> None:
        """Define a connection."""
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(facts))

    def platform(self, **extra: object) -> None:
        """Define the platform's connection, with other extras than usual."""
        self.connect("capillary", **self.sandbox_connection(**extra))

    def sandbox_connection(self, **extra: object) -> dict[str, object]:
        """Return what a connection to the sandbox says."""
        facts = {"organisation_id": "100458", "calls_per_minute": 60_000, "visibility_lag_s": 0, "post_timeout_s": 2}
        return {
            "conn_type": "capillary",
            "host": self.sandbox.url,
            "login": "sandbox-maker",
            "password": "sandbox-maker",
            "extra": facts | {"connect_timeout_s": 1} | extra,
        }

    def customers(self, *ids: object) -> None:
        """Put customers into the warehouse, and nobody else."""
        engine = create_engine(self.warehouse)
        with engine.begin() as conn:
            conn.execute(text("DELETE FROM vip"))
            for each in ids:
                conn.execute(text("INSERT INTO vip VALUES (:id)"), {"id": each})
        engine.dispose()

    def context(self, run_id: str = "run", task_id: str = "task", *, clears: int = 0) -> Context:
        """Return what Airflow hands to a task of a run that a person has cleared so often."""
        ti = SimpleNamespace(dag_id="vip", run_id=run_id, task_id=task_id, map_index=-1, xcom_push=self.pushed)
        return cast("Context", {"ti": ti, "params": {}, "dag_run": SimpleNamespace(clear_number=clears)})

    def request_keys(self) -> list[str]:
        """Return the request keys on the platform, oldest first."""
        return [request.request_key or "" for request in self.sandbox.platform.requests()]

    def outcomes(self) -> dict[str | None, int]:
        """Customers by outcome, None while open."""
        with self.ledger.read() as tx:
            rows = tx.conn.execute(select(badge_enrolment.c.outcome, func.count()).group_by(badge_enrolment.c.outcome))
            return {row[0]: row[1] for row in rows}

    def statuses(self) -> dict[str, int]:
        """Requests by status."""
        with self.ledger.read() as tx:
            rows = tx.conn.execute(select(badge_request.c.status, func.count()).group_by(badge_request.c.status))
            return {row[0]: row[1] for row in rows}

    def rows(self) -> int:
        """Rows of the whole ledger, the account's call slots apart."""
        with self.ledger.read() as tx:
            tables = [table for table in metadata.sorted_tables if table is not badge_pace]
            return sum(tx.conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)

    def sent(self) -> list[int]:
        """Every customer that the platform's books hold, once for each request."""
        return sorted(customer for request in self.sandbox.platform.requests() for customer in request.customers)


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds of waiting for each run would be most of these tests."""
    monkeypatch.setattr(second_look, "LOOK_AFTER_S", 0.1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    url, warehouse = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/warehouse.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    engine = create_engine(warehouse)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE vip (customer_id)"))
    engine.dispose()
    with running_sandbox(SandboxSettings()) as sandbox, Ledger(url) as ledger:
        place = Place(sandbox, ledger, warehouse, monkeypatch)
        place.platform()
        # As in a task: outside one, a connection that is not in the environment is looked for in a database.
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
        place.connect("badge_ledger", conn_type="sqlite", host=f"{tmp_path}/ledger.db")
        place.connect("warehouse", conn_type="sqlite", host=f"{tmp_path}/warehouse.db")
        place.customers(*range(1_001, 1_121))
        yield place


@pytest.fixture
def new_ledger(place: Place) -> Iterator[dict[str, object]]:
    """What the connection of an empty PostgreSQL says."""
    try:
        with running_server() as server:
            facts: dict[str, object] = {
                "conn_type": "postgres",
                "login": server.url.username,
                "schema": server.url.database,
                "extra": {"host": str(server.url.query["host"])},
            }
            place.connect("new_ledger", **facts)
            yield facts
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries of a read follow each other at once."""

    async def at_once(_: float) -> None: ...

    def runtime(*, threads: bool) -> Runtime:
        return Runtime(sleep=at_once, threads=threads)

    monkeypatch.setattr(wiring, "runtime_of", runtime)
    monkeypatch.setattr(base_operator, "runtime_of", runtime)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SecondRelease:
    """Installs a release with one more migration, and that of now."""
    made = tmp_path / "second"
    made.mkdir()
    return SecondRelease(monkeypatch, made)


@pytest.fixture
def submitted(place: Place) -> dict[str, Any]:
    """Three requests with the checker, as `submit` hands them on."""
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context(task_id="extract"))
    return IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context(task_id="submit"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for DAG files."""
    made = tmp_path / "dags"
    made.mkdir()
    return made


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """Runs `capillary check`; returns its exit code, its lines without Airflow's log, and standard error."""

    def checked(*arguments: str | Path) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = main(["check", *map(str, arguments)])
        said = capsys.readouterr()
        return code, LOG.sub("", said.out).splitlines(), said.err

    yield checked
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)) or name.startswith("unusual_prefix_"):
            del sys.modules[name]
