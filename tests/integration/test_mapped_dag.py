"""Mapped plans in a real Airflow: what Airflow itself makes of a part that finds nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings

ROOT = Path(__file__).parents[2]


def approve_until(ended: threading.Event, sandbox: RunningSandbox) -> None:
    while not ended.wait(0.5):
        sandbox.approve_all()


def test_a_part_that_finds_nobody_keeps_no_other_from_its_end(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/ledger.db", new=True) as ledger:
        create(ledger.engine)
    (tmp_path / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("mapped_dag.py"), tmp_path / "dags")
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
    assert states == {task: ["success", "success"] for task in ("plan", "submit", "wait", "report")}, done.stdout[
        -4_000:
    ]
    assert sent == [(7, 8)]
