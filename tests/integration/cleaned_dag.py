"""An Airflow DAG by hand whose XComs are cleaned between submit and wait, by Airflow's own command."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, TriggerRule, task

from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from sandbox.badges import GOLD_CIRCLE

with DAG(dag_id="cleaned", schedule=None) as dag:
    plan = PlanBadgesOperator(
        task_id="plan",
        sql="SELECT 7 AS customer_id UNION SELECT 8",
        canary=False,
        badge_id=GOLD_CIRCLE.badge_id,
        owner_type="Loyalty",
        reference_id="1",
        entity={"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
    )
    submit = IssueBadgeOperator(task_id="submit", plan=plan.output, deferrable=False)

    @task
    def clean() -> None:
        """Remove every XCom; a process of its own, since a task may not touch Airflow's database."""
        before = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        command = ["airflow", "db", "clean", "--tables", "xcom", "--clean-before-timestamp", before]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("_AIRFLOW")}
        subprocess.run([sys.executable, "-m", *command, "--skip-archive", "--yes"], env=environment, check=True)  # noqa: S603

    wait = BadgeRequestSensor(
        task_id="wait", plan=plan.output, deferrable=False, mode="poke", poke_interval=1, retries=0
    )
    report = ReportBadgesOperator(task_id="report", plan=submit.output, trigger_rule=TriggerRule.ALL_DONE, retries=0)
    plan >> submit >> clean() >> wait >> report
