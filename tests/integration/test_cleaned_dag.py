"""Waiting runs in a real Airflow whose `airflow db clean` is younger than their wait."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from sandbox.server import running_sandbox
from sandbox.settings import SandboxSettings
from tests.integration.test_mapped_dag import ROOT, approve_until


def test_wait_and_report_end_well_when_airflows_own_command_has_taken_their_xcoms(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/ledger.db", new=True) as ledger:
        create(ledger.engine)
    (tmp_path / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("cleaned_dag.py"), tmp_path / "dags")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    with running_sandbox(SandboxSettings()) as sandbox:
        ended = threading.Event()
        checker = threading.Thread(target=approve_until, args=(ended, sandbox), daemon=True)
        checker.start()
        done = subprocess.run(  # noqa: S603 - our own interpreter and file
            [sys.executable, str(Path(__file__).with_name("run_dag.py")), str(tmp_path), sandbox.url],
            env={**environment, "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        ended.set()
        checker.join()
        sent = [request.customers for request in sandbox.platform.requests()]
    assert done.returncode == 0, done.stderr[-2_000:]
    states = json.loads(done.stdout.splitlines()[-1])
    tasks = ("plan", "submit", "clean", "wait", "report")
    assert states == {task: ["success"] for task in tasks}, done.stdout[-4_000:]
    assert sent == [(7, 8)]
    assert done.stdout.count("the XCom of plan is gone") == 2, "once for wait and once for report"
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as airflow:
        left = {task for (task,) in airflow.execute("SELECT task_id FROM xcom")}
    assert left.isdisjoint({"plan", "submit"})
    assert "report" in left
