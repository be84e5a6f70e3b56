"""What Airflow says of the run that a task belongs to."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context


def airflow_run_of(context: Context) -> str:
    """Return what tells this run of this Airflow from every other one: when it began; empty where that is not known.

    It stays the same until the run has ended and is cleared.
    """
    dag_run = context.get("dag_run")
    started = getattr(dag_run, "start_date", None)
    return "" if started is None else str(started.astimezone(UTC).isoformat(timespec="microseconds"))


def clears_of(context: Context) -> int:
    """Return how often a person has cleared tasks of this run. Airflow's own retries are not among them.

    A run that was deleted and made again begins at 0.
    """
    return context["dag_run"].clear_number or 0
