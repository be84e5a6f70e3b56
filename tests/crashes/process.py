"""The process under test: one task of the product, exactly as a worker or the triggerer would run it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import psycopg

from capillary import base_operator, triggers, wiring
from capillary.commands.ledger import create_ledger
from capillary.engine.runtime import Runtime
from capillary.engine.verdict import OnFinding, Policy
from capillary.hooks import ledger_url_of
from capillary.ledger.database import Ledger
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator
from sandbox.badges import GOLD_CIRCLE
from tests.crashes.clock import SharedClock
from tests.crashes.job import Ending, Job, Task, TaskEnd
from tests.crashes.planted import plant
from tests.crashes.points import Points

__all__ = ["psycopg", "run", "warm_up"]  # the driver is loaded here, before processes are forked

#: What every plan of these tests has in common.
BADGE: dict[str, Any] = {
    "occasion": "gold",
    "badge_id": GOLD_CIRCLE.badge_id,
    "owner_type": "Loyalty",
    "reference_id": "42",
    "entity": {"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
    "canary": False,
}
SQL = "SELECT customer_id FROM member ORDER BY customer_id"
_PLANNING = frozenset(
    {"campaign", "customers_per_request", "customer_cap", "occasion", "preflight", "retry_outcomes", "shared_occasion"}
)
_GUN_S = 20.0


def warm_up() -> None:
    """Import what the first connection would import, before processes are forked."""
    os.environ["AIRFLOW_CONN_WARM_UP"] = json.dumps({"conn_type": "sqlite", "host": ":memory:"})
    BaseHook.get_connection("warm_up").get_hook()  # type: ignore[no-untyped-call] # Airflow's own
    del os.environ["AIRFLOW_CONN_WARM_UP"]


def run(job: Job) -> None:
    """Run the job's task and write its ending; its output goes to a file beside that."""
    folder = Path(job.folder)
    _redirect(folder / "output")
    os.environ |= job.environment
    points = Points(job.at, job.signal_number)
    _set_time(SharedClock(Path(job.clock)), virtual=job.virtual)
    points.set()
    if job.plant is not None:
        plant(job.plant)
    if job.gun is not None:
        _await(Path(job.gun))
    how, value, said = _end_of(job)
    Ending(how, value, said, tuple(points.passed)).write(folder / "ending")


def _end_of(job: Job) -> tuple[TaskEnd, Any, str]:
    try:
        return TaskEnd.RETURNED, _TASKS[job.task](job), ""
    except TaskDeferred as deferred:
        return TaskEnd.DEFERRED, deferred.trigger.serialize()[1], ""
    except AirflowSkipException as error:
        return TaskEnd.SKIPPED, None, str(error)
    except AirflowFailException as error:
        return TaskEnd.TERMINAL, None, f"{type(error).__name__}: {error}"
    except AirflowException as error:
        return TaskEnd.FAILED, None, f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
        traceback.print_exc()
        return TaskEnd.BROKEN, None, f"{type(error).__name__}: {error}"


def _context(job: Job) -> Context:
    ti = SimpleNamespace(dag_id="gold", run_id=job.run_id, task_id=job.task, map_index=-1, xcom_push=lambda **_: None)
    return cast("Context", {"ti": ti, "params": {}, "dag_run": SimpleNamespace(clear_number=0)})


def _policy(job: Job) -> Policy:
    accepted = job.options.get("on_auto_approved") == OnFinding.ACCEPT
    return Policy(on_auto_approved=OnFinding.ACCEPT if accepted else OnFinding.FAIL)


def _plan(job: Job) -> object:
    options = {name: value for name, value in job.options.items() if name in _PLANNING}
    return PlanBadgesOperator(task_id="plan", sql=SQL, **(BADGE | options)).execute(_context(job))


def _submit(job: Job) -> object:
    options = {name: value for name, value in job.options.items() if name in {"in_flight", "on_auto_approved"}}
    return IssueBadgeOperator(task_id="submit", plan=job.plan, **options).execute(_context(job))


def _wait(job: Job) -> object:
    return BadgeRequestSensor(task_id="wait", plan=job.plan, policy=_policy(job)).execute(_context(job))


def _trigger(job: Job) -> object:
    async def first_event() -> object:
        async for event in BadgeRequestTrigger(**job.options["trigger"]).run():
            return event.payload
        return None

    return asyncio.run(first_event())


def _upkeep(job: Job) -> object:
    return BadgeUpkeepOperator(task_id="upkeep").execute(_context(job))


def _report(job: Job) -> object:
    return ReportBadgesOperator(task_id="report", plan=job.plan, policy=_policy(job)).execute(_context(job))


def _migrate(job: Job) -> object:
    """Make the ledger as a person does, unless it is there; then migrate as the upkeep does."""
    create_ledger(ledger_url_of("badge_ledger"), new_organisation_of=None)
    return MigrateLedgerOperator(task_id="migrate").execute(_context(job))


_TASKS = {
    Task.PLAN: _plan,
    Task.SUBMIT: _submit,
    Task.WAIT: _wait,
    Task.TRIGGER: _trigger,
    Task.UPKEEP: _upkeep,
    Task.REPORT: _report,
    Task.MIGRATE: _migrate,
}


def _set_time(clock: SharedClock, *, virtual: bool) -> None:
    async def sleep(seconds: float) -> None:
        if virtual:
            clock.jump(seconds)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(seconds)

    def runtime_of(*, threads: bool) -> Runtime:
        return Runtime(sleep=sleep, monotonic=clock.monotonic, threads=threads)

    def now(_ledger: Ledger, _conn: Connection) -> object:
        return clock.now()

    wiring.runtime_of = runtime_of
    base_operator.runtime_of = runtime_of  # type: ignore[attr-defined]
    triggers.runtime_of = runtime_of  # type: ignore[attr-defined]
    Ledger.now = now  # type: ignore[method-assign, assignment]


def _redirect(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _await(gun: Path) -> None:
    until = time.monotonic() + _GUN_S
    while not gun.exists():
        if time.monotonic() > until:
            raise TimeoutError("the starting gun was never fired")
        time.sleep(0.0005)
