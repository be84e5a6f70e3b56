"""Why Airflow has not started a run: the one reason that holds now, from Airflow's own database, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow.models import DagRun
from airflow.models.backfill import Backfill
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import select

from capillary.counted import counted
from capillary.engine.attention import age

#: Airflow's scheduler looks every few seconds: so long a run may be queued without a reason.
_A_MOMENT: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What Airflow's scheduler asks before it starts a queued run.

    Attributes:
        dag_id: of Airflow.
        since: when the run was queued; None where Airflow has not kept it.
        paused: its DAG is.
        broken: the file of its DAG does not load.
        gone: Airflow has no file of its DAG any more.
        backfill_paused: it is of a backfill, which is paused.
        at_most: so many runs go on at once, of the DAG or of the backfill.
        running: ids of those that do, the first that was started first.
    """

    dag_id: str
    since: datetime | None
    paused: bool = False
    broken: bool = False
    gone: bool = False
    backfill_paused: bool = False
    at_most: int = 16
    running: tuple[str, ...] = ()


def queue_of(dag_id: str, run_id: str) -> Queue | None:
    """Return what keeps a run from being started; None where Airflow knows it no more."""
    with create_session() as session:
        row = session.execute(
            select(
                DagRun.queued_at,
                DagRun.backfill_id,
                DagModel.is_paused,
                DagModel.is_stale,
                DagModel.has_import_errors,
                DagModel.max_active_runs,
                Backfill.is_paused.label("backfill_paused"),
                Backfill.max_active_runs.label("backfill_at_most"),
            )
            .outerjoin(DagModel, DagModel.dag_id == DagRun.dag_id)
            .outerjoin(Backfill, Backfill.id == DagRun.backfill_id)
            .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        ).one_or_none()
        if row is None:
            return None
        running = session.scalars(
            select(DagRun.run_id)
            .where(
                DagRun.dag_id == dag_id,
                DagRun.state == DagRunState.RUNNING,
                DagRun.backfill_id.is_(None) if row.backfill_id is None else DagRun.backfill_id == row.backfill_id,
            )
            .order_by(DagRun.start_date, DagRun.id)
        ).all()
    at_most = row.max_active_runs if row.backfill_at_most is None else row.backfill_at_most
    return Queue(
        dag_id=dag_id,
        since=row.queued_at,
        paused=bool(row.is_paused),
        broken=bool(row.has_import_errors),
        gone=row.is_stale is not False and not row.has_import_errors,
        backfill_paused=bool(row.backfill_paused),
        at_most=at_most or 0,
        running=tuple(running),
    )


def why_not_started(dag_id: str, run_id: str) -> str:
    """Return why Airflow has not started a queued run, and what to do; empty where Airflow knows it no more."""
    queue = queue_of(dag_id, run_id)
    return why_queued(queue, datetime.now(UTC)) if queue else ""


def why_queued(queue: Queue, now: datetime) -> str:
    """Return the one reason in words, and what to do about it: the first of those that hold."""
    reasons = (
        (queue.gone, f"Airflow has no file of {queue.dag_id} any more. Put it back, or mark this run as failed."),
        (
            queue.broken,
            f"The file of {queue.dag_id} does not load. Correct it; its import error is on Airflow's page Dags.",
        ),
        (queue.paused, "Its DAG is paused. Turn the DAG on, and Airflow starts it."),
        (queue.backfill_paused, "Its backfill is paused. Let the backfill go on, on the DAG's page in Airflow."),
        (0 < queue.at_most <= len(queue.running), _waits_for(queue.running)),
        (queue.since is None or now - queue.since < _A_MOMENT, "Airflow starts it in a moment."),
    )
    if holds := next((words for is_so, words in reasons if is_so), ""):
        return holds
    waited = age(now - queue.since) if queue.since else ""
    return (
        f"Airflow has not started it for {waited}, and neither its DAG nor another run holds it back. See that "
        "Airflow's scheduler runs."
    )


def _waits_for(running: Sequence[str]) -> str:
    if not running:
        return ""
    if len(running) == 1:
        return f"It waits for the run {running[0]} to end: one goes on at a time (max_active_runs)."
    return (
        f"{counted(len(running), 'run')} go on, the most at once (max_active_runs): it waits for the first of them to "
        f"end. The oldest is {running[0]}."
    )
