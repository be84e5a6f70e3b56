"""One task in a process of its own, as a worker of Airflow runs it: `python -m measure.bench.tasks ORDER ANSWER`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final, cast

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from capillary.ledger.guards import Guards
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.sensors import BadgeRequestSensor
from measure.bench.measured import answer
from sandbox.badges import GOLD_CIRCLE

#: One human click for 500 customers: a million is 2,000 approvals, which the default guards refuse.
_NO_LIMIT: Final = Guards(max_requests=None, max_open_requests=None, max_jump=None)


def context(task_id: str, run_id: str = "run") -> Context:
    """Return what Airflow hands to a task."""
    ti = SimpleNamespace(dag_id="bench", run_id=run_id, task_id=task_id, map_index=-1, xcom_push=_pushed)
    return cast("Context", {"ti": ti, "params": {}, "dag_run": SimpleNamespace(clear_number=0)})


def _pushed(*, key: str, value: object) -> None:
    """Take what the pages of the UI read: they are not open here."""


def planning(sql: str, *, campaign: str, customers_per_request: int) -> PlanBadgesOperator:
    """Return the operator that plans everybody whom the query finds."""
    return PlanBadgesOperator(
        task_id="extract",
        sql=sql,
        campaign=campaign,
        occasion=campaign,
        badge_id=GOLD_CIRCLE.badge_id,
        owner_type="Loyalty",
        reference_id="42",
        entity={"till_id": "1", "store_id": "2", "zone_id": "3", "concept_id": "4"},
        customers_per_request=customers_per_request,
        canary=False,
        guards=_NO_LIMIT,
    )


def _extract(order: dict[str, Any]) -> Mapping[str, object]:
    operator = planning(
        "SELECT customer_id FROM earned", campaign="million", customers_per_request=order["customers_per_request"]
    )
    return operator.execute(context("extract"))


def _submit(order: dict[str, Any]) -> Mapping[str, object]:
    return IssueBadgeOperator(task_id="submit", plan=order["plan"]).execute(context("submit"))


def _defer(order: dict[str, Any]) -> Mapping[str, object]:
    """Look once, and return what the trigger is made from."""
    try:
        _sensor(order).execute(context("wait"))
    except TaskDeferred as deferral:
        classpath, facts = deferral.trigger.serialize()
        return {"classpath": classpath, "facts": facts}
    raise RuntimeError("the sensor did not defer: nothing was left undecided")


def _resume(order: dict[str, Any]) -> Mapping[str, object]:
    """Go on where the trigger called, and settle."""
    return _sensor(order).execute_complete(context("wait"), order["event"])


def _sensor(order: dict[str, Any]) -> BadgeRequestSensor:
    return BadgeRequestSensor(task_id="wait", plan=order["plan"], timeout=timedelta(days=1))


_TASKS: Final[Mapping[str, Callable[[dict[str, Any]], Mapping[str, object]]]] = {
    "extract": _extract,
    "submit": _submit,
    "defer": _defer,
    "resume": _resume,
}

if __name__ == "__main__":
    # The cost of a task's log is part of it.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    answer(lambda order: _TASKS[order["task"]](order))
