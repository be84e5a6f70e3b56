"""The pools that tasks name: the scheduler leaves a task alone forever whose pool is missing, or has too few slots."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from airflow.sdk import DAG

from capillary.check.dag_files import shown
from capillary.check.finding import Finding, Verdict

#: Airflow makes it itself, and keeps it.
_OF_AIRFLOW: Final = "default_pool"


def pool_findings(file: Path, dag: DAG, pools: Mapping[str, int] | None) -> Iterator[Finding]:
    """Yield what is wrong with the pools of a DAG's tasks.

    Args:
        file: of the DAG.
        dag: whose tasks name pools.
        pools: the slots of Airflow's pools by name; None where they are not known.
    """
    where = f"{shown(file)}, DAG {dag.dag_id!r}"
    tasks = defaultdict[tuple[str, int], list[str]](list)
    for task in dag.tasks:
        tasks[task.pool, task.pool_slots].append(task.task_id)
    for (pool, wanted), task_ids in tasks.items():
        who = f"{'task' if len(task_ids) == 1 else 'tasks'} {', '.join(task_ids)}"
        if pools is None:
            if pool != _OF_AIRFLOW:
                words = "Airflow's database is not available here: see that the pool is under Admin, Pools"
                yield Finding(Verdict.NOT_CHECKED, where, f"pool {pool!r}", words)
        elif pool not in pools:
            close = difflib.get_close_matches(pool, pools, n=1)
            words = (
                f"Airflow has no such pool, and never starts {who}. {f'Did you mean {close[0]}? ' if close else ''}"
                f"Create it under Admin, Pools, or with `airflow pools set {pool} 8 ''`"
            )
            yield Finding(Verdict.FAILS, where, f"pool {pool!r}", words)
        elif 0 <= pools[pool] < wanted:  # -1 is without a limit
            words = (
                f"it has {pools[pool]} slots, and Airflow never starts {who}, which takes {wanted}. Give the pool more "
                "slots under Admin, Pools, or lower pool_slots"
            )
            yield Finding(Verdict.FAILS, where, f"pool {pool!r}", words)
