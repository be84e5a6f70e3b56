"""Contender: this project's four tasks, as `docs/campaigns.md` shows them ("By hand, in your own DAG").

`python -m measure.faults.our_tasks` stands for Airflow's executor: it imports everything once, then forks a process
for every try of every task. An exception or a killed process is tried again as often as the task has retries, an
`AirflowFailException` is not; the delay before a retry is a second. It stands for the triggerer, too: a sensor that
has deferred is resumed half a second later, as if its trigger had called.

Each line of stdin is a run: JSON with the environment of its tasks and the file of their log. Each line of stdout
is the end of one: `0` if all of them succeeded, else `1`.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from capillary.commands.ledger import create_ledger
from capillary.engine.polling import Event
from capillary.hooks import ledger_url_of
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.upkeep import MigrateLedgerOperator
from measure.faults.request_body import CUSTOMERS_PER_REQUEST, SQL

LOOK_AGAIN_S: Final = 0.5
RETRY_DELAY_S: Final = 1.0
_FORK: Final = multiprocessing.get_context("fork")
_LOG: Final = logging.getLogger("measure.faults.our_tasks")


class Failed(Exception):
    """A task has failed for good."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one try ended: with a value, by deferring, or by an exception that may be tried again or not."""

    value: Any = None
    deferred: bool = False
    error: str = ""
    final: bool = False


def main() -> None:
    """Run what stdin says."""
    _import_hooks()
    for line in sys.stdin:
        order = json.loads(line)
        process = _FORK.Process(target=_run, args=(order["environment"], order["log"]))
        process.start()
        process.join()
        sys.stdout.write(f"{int(process.exitcode != 0)}\n")
        sys.stdout.flush()


def _import_hooks() -> None:
    """Import what the first connection would import, before processes are forked."""
    os.environ["AIRFLOW_CONN_WARM_UP"] = json.dumps({"conn_type": "sqlite", "host": ":memory:"})
    BaseHook.get_connection("warm_up").get_hook()  # type: ignore[no-untyped-call] # Airflow's own
    del os.environ["AIRFLOW_CONN_WARM_UP"]


def _run(environment: dict[str, str], log: str) -> None:
    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    try:
        _run_tasks()
    except Failed as error:
        sys.exit(str(error))


def _run_tasks() -> None:
    create_ledger(ledger_url_of("badge_ledger"), new_organisation_of=None)  # as its user does, once
    _task("migrate", 2, lambda: MigrateLedgerOperator(task_id="migrate").execute(_context("migrate")))
    plan = _task("plan", 3, _plan)
    submit = IssueBadgeOperator(task_id="submit", plan=plan)
    _task("submit", 5, lambda: submit.execute(_context("submit")))
    wait = BadgeRequestSensor(task_id="wait", plan=plan)
    _task("wait", 3, lambda: wait.execute(_context("wait")), lambda: _resume(wait))
    report = ReportBadgesOperator(task_id="report", plan=plan)
    _LOG.info("report: %s", _task("report", 2, lambda: report.execute(_context("report"))))


def _plan() -> object:
    return PlanBadgesOperator(
        task_id="plan",
        sql=SQL,
        occasion="vip",
        badge_id=os.environ["BADGE"],
        owner_type="Loyalty",
        reference_id="42",
        entity={"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
        customers_per_request=CUSTOMERS_PER_REQUEST,
        # A new configuration would be held at ten customers; the others take everybody at once, too.
        canary=False,
    ).execute(_context("plan"))


def _resume(wait: BadgeRequestSensor) -> object:
    return wait.execute_complete(_context("wait"), {"status": Event.WORK.value})


def _task(name: str, retries: int, execute: Callable[[], object], resume: Callable[[], object] | None = None) -> Any:  # noqa: ANN401 - what a task returns
    """Run a task as Airflow would, and return what it returned.

    Raises:
        Failed: the last try has failed, or a failure was final.
    """
    attempt, work = 0, execute
    while True:
        ending = _in_a_process(work)
        if ending is not None and ending.deferred and resume is not None:
            work = resume
            time.sleep(LOOK_AGAIN_S)
            continue
        if ending is not None and not ending.error:
            return ending.value
        said = "killed" if ending is None else ending.error
        _LOG.warning("%s, try %d: %s", name, attempt + 1, said)
        if attempt == retries or (ending is not None and ending.final):
            raise Failed(f"{name}: {said}")
        attempt, work = attempt + 1, execute
        time.sleep(RETRY_DELAY_S)


def _in_a_process(work: Callable[[], object]) -> Ending | None:
    """Return how it ended; None if the process was killed."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_try, args=(work, sender))
    process.start()
    sender.close()
    try:
        ending: Ending | None = receiver.recv()
    except EOFError:
        ending = None
    process.join()
    return ending


def _try(work: Callable[[], object], sender: Connection) -> None:
    try:
        ending = Ending(work())
    except TaskDeferred:
        ending = Ending(deferred=True)
    except AirflowFailException as error:
        ending = Ending(error=str(error), final=True)
    except Exception as error:  # noqa: BLE001 - Airflow catches all, too
        _LOG.exception("the try failed")
        ending = Ending(error=f"{type(error).__name__}: {error}")
    sender.send(ending)


def _context(task_id: str) -> Context:
    ti = SimpleNamespace(dag_id="vip", run_id="run", task_id=task_id, map_index=-1, xcom_push=lambda **_: None)
    return cast("Context", {"ti": ti, "params": {}, "dag_run": SimpleNamespace(clear_number=0)})


if __name__ == "__main__":
    main()
