"""Count who would be planned, as a dry run in Airflow does: the same transaction, rolled back."""

from __future__ import annotations

from typing import cast

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from capillary.arguments import InlineArguments
from capillary.campaign.dag import PlanCampaignOperator
from capillary.check.finding import Finding, Verdict
from capillary.check.plans import Planning
from capillary.counted import counted
from capillary.errors import CapillaryError
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.wiring import open_ledger


def dry_run(planning: Planning) -> Finding:
    """Return the counts of a dry run, or why a run would plan nothing.

    The platform is called only where a retry asks for ``unconfirmed``: those customers' badges are read.
    """
    task = planning.task
    task.is_dry_run = True
    context = cast("Context", {**planning.context, "params": {**planning.context["params"], "dry_run": True}})
    task.preflight = False  # it was looked at, and a call takes the account's slot in the ledger
    try:
        if type(task) in {PlanBadgesOperator, PlanCampaignOperator}:
            reference = PlanReference.parse(task.execute(context))
        elif type(task) is IssueBadgeOperator and task.customers is not None:
            with open_ledger(task.ledger_conn_id) as ledger:  # its own execute submits
                reference = task.plan_customers(
                    context, ledger, [list(task.customers)], task.read_arguments(InlineArguments)
                )
        else:
            words = f"{type(task).__name__} is an operator of your own, which may do more than count"
            return Finding(Verdict.NOT_CHECKED, planning.where, "dry run", words)
    except (CapillaryError, AirflowException) as error:
        return Finding(Verdict.FAILS, planning.where, "dry run", str(error))
    words = (
        f"dry run: {counted(reference.planned, 'customer')} in {counted(reference.requests, 'request')} (approvals "
        f"needed: {reference.requests:,}): {reference.equation()}{_why(reference)}"
    )
    return Finding(Verdict.OK, planning.where, "dry run", words)


def _why(reference: PlanReference) -> str:
    if reference.waits_for_canary:
        return "; a request under the configuration is not settled yet"
    return "; held small by the canary" if reference.canary and reference.planned else ""
