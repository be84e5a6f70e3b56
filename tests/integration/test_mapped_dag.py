"""Mapped plans in a real Airflow: what Airflow itself makes of a part that finds nobody."""

from __future__ import annotations

from pathlib import Path

from tests.integration.real_dag import run_to_its_end


def test_a_part_that_finds_nobody_keeps_no_other_from_its_end(tmp_path: Path) -> None:
    ended = run_to_its_end("mapped_dag.py", tmp_path)
    tasks = ("plan", "submit", "wait", "report")
    assert ended.states == {task: ["success", "success"] for task in tasks}, ended.log[-4_000:]
    assert ended.sent == [(7, 8)]
