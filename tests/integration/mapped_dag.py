"""An Airflow DAG by hand whose plans are mapped: one of them finds nobody."""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule

from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from sandbox.badges import GOLD_CIRCLE

with DAG(dag_id="mapped", schedule=None, render_template_as_native_obj=True) as dag:
    plan = PlanBadgesOperator.partial(
        task_id="plan",
        occasion="mapped",
        canary=False,
        badge_id=GOLD_CIRCLE.badge_id,
        owner_type="Loyalty",
        reference_id="1_000",
        entity={"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
    ).expand(sql=["SELECT 1 AS customer_id WHERE 1 = 0", "SELECT 7 AS customer_id UNION SELECT 8"])
    submit = IssueBadgeOperator.partial(task_id="submit", deferrable=False).expand(plan=plan.output)
    wait = BadgeRequestSensor.partial(
        task_id="wait", deferrable=False, mode="poke", poke_interval=1, soft_fail=True
    ).expand(plan=submit.output)
    report = ReportBadgesOperator.partial(task_id="report", trigger_rule=TriggerRule.ALL_DONE).expand(plan=plan.output)
    plan >> submit >> wait >> report
