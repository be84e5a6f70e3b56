"""One DAG of a file of this folder, run by real Airflow in a process of its own, with a checker who approves."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a DAG's run ended.

    Attributes:
        states: of each task's parts, by task.
        log: what Airflow printed.
        sent: the customers of each request on the platform.
    """

    states: dict[str, list[str]]
    log: str
    sent: list[tuple[int, ...]]


def run_to_its_end(file: str, folder: Path) -> Ended:
    """Run the DAG of a file beside this one; `folder` gets Airflow's home, its database and the ledger."""
    with Ledger(f"sqlite:///{folder}/ledger.db", new=True) as ledger:
        create(ledger.engine)
    with closing(sqlite3.connect(folder / "warehouse.db")) as warehouse:
        warehouse.execute("CREATE TABLE users (user_id INTEGER)")
    (folder / "dags").mkdir()
    shutil.copy(Path(__file__).with_name(file), folder / "dags")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    with running_sandbox(SandboxSettings()) as sandbox:
        ended = threading.Event()
        checker = threading.Thread(target=_approve_until, args=(ended, sandbox), daemon=True)
        checker.start()
        done = subprocess.run(  # noqa: S603 - our own interpreter and file
            [sys.executable, str(Path(__file__).with_name("run_dag.py")), str(folder), sandbox.url],
            env={**environment, "PYTHONPATH": f"{_ROOT / 'plugins'}{os.pathsep}{_ROOT}"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        ended.set()
        checker.join()
        sent = [request.customers for request in sandbox.platform.requests()]
    assert done.returncode == 0, done.stderr[-2_000:]
    return Ended(json.loads(done.stdout.splitlines()[-1]), done.stdout, sent)


def _approve_until(ended: threading.Event, sandbox: RunningSandbox) -> None:
    while not ended.wait(0.5):
        sandbox.approve_all()
