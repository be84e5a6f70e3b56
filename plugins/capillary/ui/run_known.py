"""What the ledger knows of a run, read in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from capillary.api.settings import PlatformSettings
from capillary.ledger.database import Transaction
from capillary.ledger.left_over import LeftNow, left_now
from capillary.ledger.occasion_mark import Mark, SinceMark, since_mark
from capillary.ledger.outstanding import outstanding
from capillary.ledger.overview import campaigns_of
from capillary.ledger.reports import FailureCount
from capillary.ledger.retryable import Retryable, retryable
from capillary.ledger.run_page import (
    CUSTOMERS_SHOWN,
    REQUESTS_SHOWN,
    FailedCustomer,
    Place,
    RunView,
    failed_customers_of,
    failed_customers_up_to,
    run,
)
from capillary.ledger.since_then import since_then
from capillary.ui.active_runs import NO_RUNS, ActiveRuns, active_runs
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.hindrances import NONE, Hindrances, hindrances
from capillary.ui.run_now import RunNow, run_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the pages of a run's lists begin.

    Attributes:
        customers: after which customer; None: at the first one.
        requests: after which request; 0: at the first one.
    """

    customers: Place | None = None
    requests: int = 0


AT_BEGIN: Final = Places()
#: Of so many customers without the badge a page also counts what became since: it reads a row for each.
_SINCE_AT_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a run.

    Attributes:
        since_mark: what has changed since a dry run has counted; None of any other run.
        campaigns: those that its reader may see.
        now: what is so now of a run that its report cannot know.

    The others are as in `capillary.ui.run_view.RunShown`.
    """

    view: RunView | None
    left: tuple[FailureCount, ...] = ()
    on_occasion: tuple[Retryable, ...] = ()
    left_now: LeftNow | None = None
    since_mark: SinceMark | None = None
    active: ActiveRuns = NO_RUNS
    failed: tuple[FailedCustomer, ...] = ()
    failed_before: int = 0
    more: Place | None = None
    hindrances: Hindrances = NONE
    campaigns: frozenset[str] = frozenset()
    now: RunNow = field(default_factory=RunNow)


def known_of(
    tx: Transaction,
    *,
    dag_id: str,
    run_id: str,
    at: Places,
    dag_ids: frozenset[str],
    dag: CampaignDag | None,
    platform: PlatformSettings | None,
    mark: Mark | None,
    not_over: tuple[tuple[RunFacts, ...], RunFacts | None] | None,
) -> Known:
    """Read what the page of a run shows.

    Args:
        tx: the transaction.
        dag_id: of Airflow.
        run_id: the same.
        at: where the pages of its customers and requests begin.
        dag_ids: those that the reader may read.
        dag: the campaign's DAG; None for a DAG of another kind.
        platform: its platform; None where the API server does not know it.
        mark: what a dry run has counted by; None of any other run.
        not_over: the runs of its DAG that Airflow has not ended, and the newest one; None: nobody asks for them.
    """
    view = run(tx, dag_id, run_id, after=at.requests, requests=REQUESTS_SHOWN)
    accounts = frozenset(plan.planned.account for plan in view.plans) if view else frozenset[str]()
    accounts |= {mark.account} if mark else frozenset()
    known = Known(
        view,
        hindrances=NONE if dag is None else hindrances(tx, dag, platform, accounts),
        campaigns=campaigns_of(tx, dag_ids),
        since_mark=None if mark is None else since_mark(tx, mark),
        active=NO_RUNS if dag is None or not_over is None else active_runs(tx, dag, *not_over),
        now=run_now(tx, view, platform),
    )
    if view is None:
        return known
    plans = {plan.badge_run_id for plan in view.plans}
    known = replace(known, left_now=left_now(tx, plans))
    if not view.failures:
        return known
    by_plan = {each.badge_run_id: each.failures for each in outstanding(tx, of=plans)}
    left = tuple(failure for failures in by_plan.values() for failure in failures)
    failed = failed_customers_of(tx, dag_id, run_id, after=at.customers, limit=CUSTOMERS_SHOWN + 1)
    few = sum(each.customers for each in view.failures) <= _SINCE_AT_MOST
    return replace(
        known,
        left=left,
        failed_before=failed_customers_up_to(tx, dag_id, run_id, at.customers) if at.customers else 0,
        now=known.now.with_failures(by_plan, since_then(tx, plans) if few else None),
        on_occasion=retryable(tx, plans) if left else (),
        failed=failed[:CUSTOMERS_SHOWN],
        more=failed[CUSTOMERS_SHOWN - 1].place if len(failed) > CUSTOMERS_SHOWN else None,
    )
