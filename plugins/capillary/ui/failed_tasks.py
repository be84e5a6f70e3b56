"""The task that made a run fail, and its reason, as Airflow keeps both: the first that failed names the cause.

A task that fails by an error of this project keeps the error's sentence (`capillary.failure_reason`). What ended
otherwise, such as a killed worker, is told by its log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select, tuple_

from capillary.failure_reason import FAILURE

#: In place of no index: the task is not mapped.
_NOT_MAPPED: Final = -1


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that failed.

    Attributes:
        task_id: of Airflow.
        map_index: of a mapped task; -1 of any other.
        said: why, in our error's own sentence; empty where none was kept, or the reader may not read it.
        now: what has become of that since, and what to do now (`capillary.ui.failed_now`); empty where nothing has.
    """

    task_id: str
    map_index: int = _NOT_MAPPED
    said: str = ""
    now: str = ""

    @property
    def log(self) -> tuple[str, ...]:
        """Where Airflow's UI shows its log, below the address of its run."""
        return ("tasks", self.task_id, *(("mapped", str(self.map_index)) if self.map_index != _NOT_MAPPED else ()))


def failed_tasks(
    runs: Sequence[tuple[str, str]], *, may_read: Callable[[str], bool]
) -> dict[tuple[str, str], FailedTask]:
    """Return the first task that failed in each of these runs that has one.

    Args:
        runs: by DAG id and run id.
        may_read: whether the reader may read what a DAG's tasks have kept.
    """
    if not runs:
        return {}
    columns = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    with create_session() as session:
        rows = session.execute(
            select(*columns)
            .where(
                tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(runs),
                TaskInstance.state == TaskInstanceState.FAILED,
            )
            .order_by(TaskInstance.end_date, TaskInstance.start_date, TaskInstance.map_index)
        ).all()
        reasons = {
            (each.dag_id, each.run_id, each.task_id, each.map_index): XComModel.deserialize_value(each)
            for each in session.scalars(
                select(XComModel).where(
                    tuple_(XComModel.dag_id, XComModel.run_id).in_([run for run in runs if may_read(run[0])]),
                    XComModel.key == FAILURE,
                )
            )
        }
    found: dict[tuple[str, str], FailedTask] = {}
    for dag_id, run_id, task_id, map_index in rows:
        said = reasons.get((dag_id, run_id, task_id, map_index))
        found.setdefault((dag_id, run_id), FailedTask(task_id, map_index, said if isinstance(said, str) else ""))
    return found
