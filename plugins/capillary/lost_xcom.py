"""A plan whose XCom is gone, since Airflow's database was cleaned while its run waited: the ledger knows whose it is.

An XCom holds the plan's token, and nothing is done for a plan whose token is another one. Without the XCom the ledger
is asked by DAG, run and task, which another Airflow on the same ledger may have as well: so half of a token tells the
one run of the one Airflow that planned, and nothing is found where that does not fit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow.sdk import XComArg
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.exceptions import AirflowException

from capillary.airflow_errors import PlanMissing
from capillary.airflow_run import airflow_run_of
from capillary.counted import counted
from capillary.ledger.database import Ledger
from capillary.ledger.plan import plan_of_run
from capillary.plan_reference import PlanReference

if TYPE_CHECKING:
    from airflow.sdk import Context

_LOG: Final = logging.getLogger("capillary.plan")


def planning_task_of(handed: object) -> str | None:
    """Return the id of the task whose plan another task's output is; None where the DAG file does not tell.

    Args:
        handed: what an operator was given as plan, before it is rendered.
    """
    if not isinstance(handed, XComArg):
        return None
    operators = {operator for operator, _ in handed.iter_references()}
    if len(operators) != 1 or not isinstance(operator := operators.pop(), BaseOperator):
        return None  # a mapped one makes several plans
    # Submit and wait return the reference that they were given.
    return str(getattr(operator, "planned_by", None) or operator.task_id)


def _state_of(context: Context, task_id: str) -> str:
    """Return Airflow's word for how a task of this run stands; empty where Airflow does not tell."""
    ti = context["ti"]
    ask = getattr(ti, "get_task_states", None)
    if ask is None:
        return ""
    try:
        states = ask(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    except AirflowException:
        return ""  # the sentence is less exact; the failure that it tells is the one that counts
    found = states.get(ti.run_id, {}).get(task_id)
    return "" if found is None else str(getattr(found, "value", found))


def plan_of_context(context: Context, ledger: Ledger, *, planned_by: str, account: str | None = None) -> PlanReference:
    """Return the reference of the plan that the task's run has made, for a task whose XCom is gone.

    Args:
        context: of the task.
        ledger: the ledger.
        planned_by: the task that plans, from `planning_task_of`.
        account: the account of the task's connection; None: any, where the run has made one plan only.

    Raises:
        PlanMissing: there is none, or it cannot be told for certain.
    """
    ti = context["ti"]
    with ledger.read() as tx:
        plan = plan_of_run(
            tx,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=planned_by,
            airflow_run=airflow_run_of(context),
            account=account,
        )
    if plan is None:
        raise PlanMissing(None, planned_by=planned_by, state=_state_of(context, planned_by))
    _LOG.warning(
        "the XCom of %s is gone, as after `airflow db clean`: the ledger knows this run's plan, %s in %s, "
        "and the task continues with it",
        planned_by,
        counted(plan.planned, "customer"),
        counted(plan.requests, "request"),
    )
    return PlanReference.of(plan)
