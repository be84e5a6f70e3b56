"""This project as a contender: connections as a user makes them, and a worker that runs the tasks."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from measure.faults.scene import CHECKOUT, LIMIT_S, MeasuringFailed, Scene, environment, kill_family, tail
from sandbox.settings import MAKER, SandboxSettings

_LOG_NAME: Final = "worker.log"


@contextmanager
def ready(place: Path, port: int) -> Iterator[Callable[[Scene], bool]]:
    """Start a worker, and yield how this project is run in a scene; end the worker with the block."""
    surroundings = environment(
        f"http://127.0.0.1:{port}",
        place,
        AIRFLOW_HOME=str(place / "airflow"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        # As in a task: connections come from the environment, never from a database of Airflow's.
        _AIRFLOW_PROCESS_CONTEXT="client",
        # Without it macOS ends forked processes that touch its frameworks.
        OBJC_DISABLE_INITIALIZE_FORK_SAFETY="YES",
        PYTHONPATH=os.pathsep.join((str(CHECKOUT / "plugins"), str(CHECKOUT))),
    )
    with (place / _LOG_NAME).open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "measure.faults.our_tasks"],
            env=surroundings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield lambda scene: _run(worker, scene, place / _LOG_NAME)
    finally:
        kill_family(worker.pid)
        worker.communicate()


def _run(worker: subprocess.Popen[str], scene: Scene, worker_log: Path) -> bool:
    """Run the four tasks; Airflow's retries are part of it, so nothing is started again from outside."""
    assert worker.stdin is not None  # noqa: S101 - narrows the type
    assert worker.stdout is not None  # noqa: S101 - narrows the type
    log = scene.folder / "tasks.log"
    worker.stdin.write(json.dumps({"environment": _connections(scene), "log": str(log)}) + "\n")
    worker.stdin.flush()
    scene.strike(worker.pid)
    ended, _, _ = select.select([worker.stdout], [], [], LIMIT_S)
    said = worker.stdout.readline().strip() if ended else ""
    if not said:
        why = f"has ended:\n{tail(worker_log)}" if ended else f"took more than {LIMIT_S:.0f} s:\n{tail(log)}"
        raise MeasuringFailed(f"the worker {why}")
    return said == "0"


def _connections(scene: Scene) -> dict[str, str]:
    platform = {
        "conn_type": "capillary",
        "host": scene.sandbox.url,
        "login": MAKER.username,
        "password": MAKER.password,
        # All but the pace is as it comes: nobody waits for a minute's budget here.
        "extra": {"organisation_id": str(SandboxSettings().organisation), "calls_per_minute": 60_000},
    }
    return {
        "AIRFLOW_CONN_CAPILLARY": json.dumps(platform),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(scene.warehouse)}),
        "AIRFLOW_CONN_BADGE_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(scene.folder / "ledger.db")}),
    }
