"""Run the one DAG of a folder in a real Airflow, whose own code decides which task may start.

Usage: run_dag.py HOME PLATFORM, where HOME/dags holds the DAG's file. Prints a line of JSON: each task's states, in the
order of its parts.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict

HOME, PLATFORM = sys.argv[1:]
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": f"{HOME}/dags",
    "AIRFLOW_CONN_CAPILLARY": json.dumps(
        {
            "conn_type": "capillary",
            "host": PLATFORM,
            "login": "sandbox-maker",
            "password": "sandbox-maker",
            "extra": {"organisation_id": "100458", "calls_per_minute": 60_000, "visibility_lag_s": 0},
        }
    ),
    "AIRFLOW_CONN_BADGE_LEDGER": json.dumps({"conn_type": "sqlite", "host": f"{HOME}/ledger.db"}),
    "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": f"{HOME}/warehouse.db"}),
}

from airflow.dag_processing.dagbag import DagBag  # noqa: E402 - Airflow reads its settings when it is imported
from airflow.utils.db import initdb  # noqa: E402 - same

initdb()
bag = DagBag(f"{HOME}/dags")
(dag,) = bag.dags.values()
states: dict[str, dict[int, str | None]] = defaultdict(dict)
for ti in dag.test().get_task_instances():
    states[ti.task_id][ti.map_index] = ti.state
print(json.dumps({task: [parts[at] for at in sorted(parts)] for task, parts in states.items()}))  # noqa: T201
