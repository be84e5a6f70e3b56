"""Waiting runs in a real Airflow whose `airflow db clean` is younger than their wait."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.real_dag import run_to_its_end


def test_wait_and_report_end_well_when_airflows_own_command_has_taken_their_xcoms(tmp_path: Path) -> None:
    ended = run_to_its_end("cleaned_dag.py", tmp_path)
    tasks = ("plan", "submit", "clean", "wait", "report")
    assert ended.states == {task: ["success"] for task in tasks}, ended.log[-4_000:]
    assert ended.sent == [(7, 8)]
    assert ended.log.count("the XCom of plan is gone") == 2, "once for wait and once for report"
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as airflow:
        left = {task for (task,) in airflow.execute("SELECT task_id FROM xcom")}
    assert left.isdisjoint({"plan", "submit"})
    assert "report" in left
