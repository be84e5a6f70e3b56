"""How long whole pages take in Airflow's own API application: `python -m measure.bench.page_requests ORDER ANSWER`.

The application is Airflow's, with its auth manager, its middleware and a metadata database; the user is logged in, and
reads the ledger that `bench.page_questions` has filled. Requests come one after the other, in this process: no socket
and no browser is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from capillary.ledger.database import Ledger
from capillary.ledger.occasion_mark import mark
from capillary.ledger.preview import Preview, last_run
from capillary.ledger.status import Outcome
from capillary.plan_preview import PREVIEW, PlanPreview
from local_airflow.environment import build_environment
from local_airflow.home import Home
from measure.bench.measured import answer
from measure.bench.page_rows import ACCOUNTS, BETWEEN_RUNS, CAMPAIGNS, FIRST_CUSTOMER, OCCASIONS
from measure.bench.surroundings import Database

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.utils.state import DagRunState
    from fastapi import FastAPI

REPEATS: Final = 40
USER: Final = "ada"
#: Its run_id.
DRY_RUN: Final = "dry"
#: As the pages' module sends what stands behind the # of an address.
_PLACE: Final = "X-Badge-Place"
_CAMPAIGN: Final = """
from capillary.campaign import BadgeCampaign, Entity

dag = BadgeCampaign(
    name="{name}",
    sql="SELECT 1 AS customer_id",
    badge_id="a1b2c3d4e5f60718293a4b5c",
    owner_type="Loyalty",
    reference_id="134",
    entity=Entity(till_id="50001", store_id="7001", zone_id="601", concept_id="501"),
    schedule=None,
    live=True,
).dag()
"""


def airflow_environment(folder: Path, database: Database) -> dict[str, str]:
    """Return the environment of an Airflow of its own, which knows this ledger and the campaigns that it names."""
    home, dags = Home(folder / "airflow_of_pages"), folder / "dags_of_pages"
    home.create()
    dags.mkdir()
    for name in _campaigns():
        (dags / f"{name}.py").write_text(_CAMPAIGN.format(name=name))
    passwords = home.directory / "passwords.json"
    passwords.write_text(json.dumps({USER: USER}))
    user = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    # Nobody listens on a port: the application is called in its process.
    made = build_environment(user, home=home, secrets=home.secrets(), dags_folder=dags, api_port=1, sandbox_port=1)
    return {
        **made,
        "AIRFLOW_CONN_BADGE_LEDGER": json.dumps(dict(database.connection)),
        "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        **database.environment,
    }


def _campaigns() -> list[str]:
    return [f"campaign_{number}" for number in range(CAMPAIGNS)]


def _ask(order: dict[str, Any]) -> Mapping[str, object]:
    for command in (("db", "migrate"), ("dags", "reserialize")):
        subprocess.run([sys.executable, "-m", "airflow", *command], check=True)  # noqa: S603 - our own interpreter
    url, runs, requests = order.pop("url"), order["runs"], order["requests_per_run"]
    _add_runs(runs)
    _add_dry_run(url, runs, requests, requests * order["customers_per_request"])
    from airflow.api_fastapi.app import create_app  # noqa: PLC0415 - it reads the database that was made just now

    return asyncio.run(_pages(create_app(), **order))


def _add_runs(runs: int) -> None:
    """Write what Airflow would know of the ledger's runs."""
    from airflow.utils.session import create_session  # noqa: PLC0415 - it needs the database
    from airflow.utils.state import DagRunState  # noqa: PLC0415 - as above

    now = datetime.now(UTC)
    with create_session() as session:
        for number in range(1, runs + 1):
            state = DagRunState.RUNNING if number == runs else DagRunState.SUCCESS
            began = now - (runs - number) * BETWEEN_RUNS
            session.add(_run(f"campaign_{number % CAMPAIGNS}", f"run_{number}", began=began, state=state))


def _add_dry_run(url: str, runs: int, requests: int, customers: int) -> None:
    """Write what Airflow would know of a dry run that counted for the occasion of the newest run, just now."""
    from airflow.models import TaskInstance  # noqa: PLC0415 - it needs the database
    from airflow.models.dag_version import DagVersion  # noqa: PLC0415 - as above
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: PLC0415 - as above
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - as above
    from airflow.utils.session import create_session  # noqa: PLC0415 - as above
    from airflow.utils.state import DagRunState, TaskInstanceState  # noqa: PLC0415 - as above

    dag_id, done = f"campaign_{runs % CAMPAIGNS}", TaskInstanceState.SUCCESS
    with create_session() as session:
        session.add(_run(dag_id, DRY_RUN, began=datetime.now(UTC), state=DagRunState.SUCCESS, conf={"dry_run": True}))
        session.flush()
        dag, version = SerializedDagModel.get_dag(dag_id), DagVersion.get_latest_version(dag_id)
        assert dag is not None  # noqa: S101 - for the type
        assert version is not None  # noqa: S101 - the same
        for task_id, told in _told_by_a_dry_run(url, runs, requests, customers).items():
            task = dag.get_task(task_id)
            session.add(TaskInstance(task, run_id=DRY_RUN, dag_version_id=version.id, state=done))
            session.flush()
            XComModel.set("return_value", told, dag_id=dag_id, task_id=task_id, run_id=DRY_RUN, session=session)


def _run(
    dag_id: str, run_id: str, *, began: datetime, state: DagRunState, conf: Mapping[str, object] | None = None
) -> DagRun:
    from airflow.models import DagRun  # noqa: PLC0415 - it needs the database
    from airflow.utils.types import DagRunType  # noqa: PLC0415 - as above

    return DagRun(
        dag_id=dag_id,
        run_id=run_id,
        run_type=DagRunType.MANUAL,
        run_after=began,
        logical_date=None,
        start_date=began,
        conf=dict(conf or {}),
        state=state,
    )


def _told_by_a_dry_run(url: str, runs: int, requests: int, customers: int) -> Mapping[str, object]:
    """Return what the tasks of a dry run have returned, by task, as the ledger stands."""
    from capillary.ui.airflow_facts import EXTRACT, REPORT  # noqa: PLC0415 - it imports Airflow's models

    place = {"account": ACCOUNTS[runs % 2], "campaign": f"campaign_{runs % CAMPAIGNS}"}
    with Ledger(url) as ledger, ledger.read() as tx:
        before = last_run(tx, **place)
        # As a canary's: its page asks the ledger for the most.
        stands = mark(tx, 1 + (runs - 1) % OCCASIONS, spec="bench", canary=True, retry=[Outcome.FAILED])
    preview = PlanPreview(
        **place,
        occasion=stands.occasion,
        customers=customers,
        requests=requests,
        calls=requests + 2,
        minutes=4,
        calls_per_minute=60,
        preview=Preview(customers=customers, guards=(), last_run=before, sample=(), mark=stands),
    )
    funnel = {"eligible": customers, "known_before": 0, "over_cap": 0, "planned": customers}
    report = {"verdict": "pass", "sentence": "Done.", "dry_run": True, "requests": requests, "left_over": 0}
    return {EXTRACT: {PREVIEW: json.loads(json.dumps(preview.to_xcom()))}, REPORT: report | {"funnel": funnel}}


async def _pages(app: FastAPI, *, runs: int, requests_per_run: int, customers_per_request: int) -> Mapping[str, object]:
    middle, customers = runs // 2, runs * requests_per_run * customers_per_request
    ended = f"campaign_{middle % CAMPAIGNS}/run_{middle}"
    waiting = f"campaign_{runs % CAMPAIGNS}/run_{runs}"
    dry = f"campaign_{runs % CAMPAIGNS}/{DRY_RUN}"
    customer = str(FIRST_CUSTOMER + customers // 2)
    # name → address, what stands behind its #, and what the page holds where it is the right one
    asked = {
        "badges": ("badges", "", 'class="matters"'),
        "run": (f"runs/{ended}", "", 'id="part-1-h"'),
        "run_waiting": (f"runs/{waiting}", "", 'class="funnel"'),
        "customer": ("customer", customer, "<time datetime"),
        "dry_run": (f"runs/{dry}", "", "Different customers in the query"),
        "carry_out": (f"confirm/carry-out/{dry}", "", "data-body="),
        "retry": (f"confirm/retry/{ended}", "", 'name="take"'),
    }
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
        reply = await client.post("/auth/token", json={"username": USER, "password": USER})
        client.headers["Authorization"] = f"Bearer {reply.raise_for_status().json()['access_token']}"
        found: dict[str, object] = {"repeats": REPEATS}
        for name, (path, place, says) in asked.items():
            found[f"{name}_ms"] = await _p95_ms(client, f"/capillary/{path}", {_PLACE: place}, says)
        return found


async def _p95_ms(client: httpx.AsyncClient, path: str, headers: Mapping[str, str], says: str) -> float:
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        reply = await client.get(path, headers=dict(headers))
        taken.append((time.perf_counter() - begun) * 1000)
        if reply.status_code != httpx.codes.OK or says not in reply.text:
            raise RuntimeError(
                f"{path} answered {reply.status_code}, and not the page that says {says!r}: {reply.text}"
            )
    return sorted(taken)[int(REPEATS * 0.95) - 1]


if __name__ == "__main__":
    answer(_ask)
