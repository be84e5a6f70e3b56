"""Why Airflow has not started a run: the one reason that holds, from Airflow's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.models import DagRun
from airflow.models.backfill import Backfill
from airflow.models.dag import DagModel
from sqlalchemy import Engine, Table, create_engine, insert, update
from sqlalchemy.orm import Session

from capillary.ui import queued_run
from capillary.ui.queued_run import Queue, queue_of, why_not_started, why_queued

NOW = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)
QUEUE = Queue(dag_id="spring", since=NOW - timedelta(minutes=7))
PAUSED = "Its DAG is paused. Turn the DAG on, and Airflow starts it."
MOMENT = "Airflow starts it in a moment."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"since": NOW - timedelta(seconds=59)}, MOMENT),
        ({"since": None}, MOMENT),
        ({"paused": True}, PAUSED),
        ({"paused": True, "since": NOW}, PAUSED),
        ({"paused": True, "at_most": 1, "running": ("a",)}, PAUSED),
        ({"broken": True, "paused": True}, "The file of spring does not load. Correct it; its import error is on Air"),
        ({"gone": True}, "Airflow has no file of spring any more. Put it back, or mark this run as failed."),
        ({"backfill_paused": True}, "Its backfill is paused. Let the backfill go on"),
        (
            {"at_most": 1, "running": ("manual__1",), "since": NOW},
            "It waits for the run manual__1 to end: one goes on at a time (max_active_runs).",
        ),
        (
            {"at_most": 2, "running": ("manual__1", "manual__2")},
            "2 runs go on, the most at once (max_active_runs): it waits for the first of them to end. The oldest is",
        ),
        (
            {"at_most": 3, "running": ("manual__1", "manual__2")},
            "Airflow has not started it for 7 min, and neither its DAG nor another run holds it back. See that Airf",
        ),
    ],
    ids=[
        "just queued",
        "nobody knows since when",
        "paused",
        "just queued and paused",
        "paused and full",
        "broken",
        "gone",
        "backfill paused",
        "one at a time",
        "full",
        "no reason",
    ],
)
def test_one_reason_is_said_and_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert why_queued(replace(QUEUE, **changes), NOW).startswith(said)


@pytest.fixture
def airflow_tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Airflow's tables of DAGs and runs, with a DAG that runs two at once, and a run of it that is queued."""
    engine = create_engine("sqlite://")
    for model in (DagModel, DagRun, Backfill):
        table: Table = model.__table__
        table.create(engine)
    with engine.begin() as conn:
        conn.execute(
            insert(DagModel.__table__).values(
                dag_id="spring",
                bundle_name="dags",
                is_paused=False,
                is_stale=False,
                has_import_errors=False,
                max_active_runs=2,
                max_active_tasks=16,
                max_consecutive_failed_dag_runs=0,
                has_task_concurrency_limits=False,
            )
        )
    made(engine, "own", "queued", queued_at=NOW)

    @contextmanager
    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    monkeypatch.setattr(queued_run, "create_session", session)
    yield engine
    engine.dispose()


def made(engine: Engine, run_id: str, state: str, dag_id: str = "spring", **values: object) -> None:
    given = {"dag_id": dag_id, "run_id": run_id, "state": state, "run_after": NOW, "run_type": "manual", "conf": None}
    with engine.begin() as conn:
        conn.execute(
            insert(DagRun.__table__).values(
                **given | {"clear_number": 0, "log_template_id": None, "span_status": "not_started"} | values
            )
        )


def test_what_holds_a_run_is_read_from_airflows_tables(airflow_tables: Engine) -> None:
    assert queue_of("spring", "own") == Queue(dag_id="spring", since=NOW, at_most=2)
    made(airflow_tables, "later", "running", start_date=NOW)
    made(airflow_tables, "first", "running", start_date=NOW - timedelta(hours=1))
    made(airflow_tables, "over", "success", start_date=NOW - timedelta(hours=2))
    made(airflow_tables, "other", "running", dag_id="autumn", start_date=NOW)
    found = queue_of("spring", "own")
    assert found is not None
    assert found.running == ("first", "later"), "of this DAG, those that go on, the oldest first"
    assert "The oldest is first." in why_not_started("spring", "own")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"is_paused": True}, "paused"),
        ({"is_stale": True}, "gone"),
        ({"is_stale": True, "has_import_errors": True}, "broken"),
    ],
)
def test_the_dags_own_state_is_told(airflow_tables: Engine, values: dict[str, bool], field: str) -> None:
    with airflow_tables.begin() as conn:
        conn.execute(update(DagModel.__table__).values(**values))
    assert queue_of("spring", "own") == replace(
        Queue(dag_id="spring", since=NOW, at_most=2),
        **{field: True},  # type: ignore[arg-type]
    )


def test_a_run_of_a_backfill_waits_for_the_backfills_own_runs(airflow_tables: Engine) -> None:
    with airflow_tables.begin() as conn:
        conn.execute(
            insert(Backfill.__table__).values(
                id=3,
                dag_id="spring",
                from_date=NOW,
                to_date=NOW,
                is_paused=True,
                max_active_runs=1,
                dag_run_conf={},
                reprocess_behavior="none",
                created_at=NOW,
                updated_at=NOW,
            )
        )
    made(airflow_tables, "filled", "queued", queued_at=NOW, backfill_id=3)
    made(airflow_tables, "by hand", "running", start_date=NOW)
    made(airflow_tables, "filling", "running", start_date=NOW, backfill_id=3)
    assert queue_of("spring", "filled") == Queue(
        dag_id="spring", since=NOW, backfill_paused=True, at_most=1, running=("filling",)
    )
    assert queue_of("spring", "own") == Queue(dag_id="spring", since=NOW, at_most=2, running=("by hand",))


def test_a_run_that_airflow_does_not_know_has_no_reason(airflow_tables: Engine) -> None:
    assert airflow_tables.dialect.name == "sqlite"
    assert why_not_started("spring", "nobody's") == ""
