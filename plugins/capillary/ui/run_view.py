"""What the page of a run shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from capillary.engine.remedies import Advice, advice
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Transaction
from capillary.ledger.outstanding import outstanding
from capillary.ledger.reports import FailureCount
from capillary.ledger.run_page import FailedCustomer, Place, RunView, failed_customers_of, run
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import (
    EXTRACT,
    REPORT,
    CampaignDag,
    RunFacts,
    campaign_dags,
    deadlines,
    returned,
    run_facts,
)
from capillary.ui.funnel_picture import FunnelPicture, counts_of, picture
from capillary.ui.headline import Headline, headline
from capillary.ui.orders import Action
from capillary.ui.plan_view import PlanShown, shown_plan
from capillary.ui.reading import LedgerReader


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """A run as it is shown.

    Attributes:
        dag_id, run_id: of Airflow.
        facts: what Airflow knows; None where the run was deleted there.
        dag: the campaign's DAG; None for a DAG of another kind.
        view: what the ledger knows; None where nothing was planned: a dry run, or one that has not come so far.
        report: what its task `report` has returned, for whoever may read that.
        plan: what a dry run has told of the plan; None of another run, or where nothing was told.
        headline: the run in one sentence.
        picture: its funnel; None where there are no counts yet.
        failures: what became of those without the badge, each with its meaning and remedy.
        left: of these failures, what nobody has asked for again since.
        failed: a page of the customers themselves.
        actions: what this reader may order.
        deadline: until when a human may decide; None where nothing waits, or nobody knows.
        checker_url: the checker's page; empty where the connection names none.
    """

    dag_id: str
    run_id: str
    facts: RunFacts | None
    dag: CampaignDag | None
    view: RunView | None
    report: Mapping[str, Any] | None
    plan: PlanShown | None
    headline: Headline
    picture: FunnelPicture | None
    failures: tuple[Advice, ...]
    left: tuple[FailureCount, ...]
    failed: tuple[FailedCustomer, ...]
    actions: tuple[Action, ...]
    deadline: datetime | None
    checker_url: str

    @property
    def exists(self) -> bool:
        """Whether anybody knows the run."""
        return self.facts is not None or self.view is not None

    @property
    def is_dry(self) -> bool:
        """Whether it has only counted."""
        return self.view is None and bool((self.report or {}).get("dry_run"))

    @property
    def occasion(self) -> str:
        """The occasion that it planned for; empty where the ledger knows none."""
        return self.view.plans[0].planned.occasion if self.view else ""

    @property
    def told(self) -> tuple[tuple[str, object], ...]:
        """What the trigger form said, without what it left open, and without the note, which stands by itself."""
        conf = self.facts.conf if self.facts else {}
        return tuple(
            (name, value) for name, value in conf.items() if name != "note" and value not in (None, "", [], ())
        )

    @property
    def left_over(self) -> int:
        """Customers that it left for a later run."""
        return self.view.funnel.over_cap if self.view else 0


def shown_run(
    ledger: LedgerReader, reader: Reader, dag_id: str, run_id: str, *, after: Place | None = None
) -> RunShown:
    """Return a run as it is shown; runs in a reader's thread.

    Raises:
        CapillaryError: the ledger cannot be read, and why.
    """
    facts = run_facts(dag_id, run_id)
    dag = campaign_dags({dag_id}).get(dag_id)
    view, left, failed = ledger.look(partial(_of_ledger, dag_id=dag_id, run_id=run_id, after=after))
    report = plan = until = None
    if facts is not None and reader.may_read_xcoms(dag_id):
        until = deadlines([(dag_id, run_id)]).get((dag_id, run_id)) if _waits(facts, view) else None
        report = _mapping(returned([(dag_id, run_id)], REPORT).get((dag_id, run_id)))
        plan = shown_plan(_mapping(returned([(dag_id, run_id)], EXTRACT).get((dag_id, run_id))))
    counts = _counts(view, report)
    connection = view.plans[-1].planned.connection if view else dag.connection if dag else None
    return RunShown(
        dag_id=dag_id,
        run_id=run_id,
        facts=facts,
        dag=dag,
        view=view,
        report=report,
        plan=plan,
        headline=headline(facts, view, report),
        picture=picture(counts, dry_run=view is None) if counts else None,
        failures=tuple(map(advice, view.failures)) if view else (),
        left=left,
        failed=failed,
        actions=_actions(reader, dag, facts, view, report, left),
        deadline=until,
        checker_url=checker_url(connection) if connection else "",
    )


def checker_url(conn_id: str) -> str:
    """Return the checker's page of a platform's connection; empty where there is none, or the API server has not it."""
    try:
        return CapillaryHook(conn_id).get_settings().checker_url
    except CapillaryError:
        return ""


def _of_ledger(
    tx: Transaction, *, dag_id: str, run_id: str, after: Place | None
) -> tuple[RunView | None, tuple[FailureCount, ...], tuple[FailedCustomer, ...]]:
    view = run(tx, dag_id, run_id)
    if view is None or not view.failures:
        return view, (), ()
    plans = {plan.badge_run_id for plan in view.plans}
    left = tuple(failure for each in outstanding(tx, of=plans) for failure in each.failures)
    return view, left, failed_customers_of(tx, dag_id, run_id, after=after)


def _counts(view: RunView | None, report: Mapping[str, Any] | None) -> dict[str, int]:
    if view is not None:
        return counts_of(view.funnel)
    funnel = _mapping((report or {}).get("funnel")) or {}
    return {name: value for name, value in funnel.items() if isinstance(value, int)}


def _actions(
    reader: Reader,
    dag: CampaignDag | None,
    facts: RunFacts | None,
    view: RunView | None,
    report: Mapping[str, Any] | None,
    left: tuple[FailureCount, ...],
) -> tuple[Action, ...]:
    if dag is None or facts is None:
        return ()
    found = []
    report = report or {}
    if _waits(facts, view):
        found += [Action.LOOK_NOW] if reader.may_clear(dag.dag_id) else []
    if reader.may_trigger(dag.dag_id):
        found += [Action.RETRY] if left else []
        passed = facts.is_over and report.get("verdict") == "pass"
        proven = report.get("canary_passed") or not report.get("canary")
        found += [Action.REST] if passed and view is not None and report.get("left_over") and proven else []
        found += [Action.CARRY_OUT] if passed and report.get("dry_run") and dag.live and _planned(report) else []
    return tuple(found)


def _waits(facts: RunFacts | None, view: RunView | None) -> bool:
    """Return whether the run waits for the checker, or for what the checker has decided to be read."""
    if facts is None or facts.is_over or view is None:
        return False
    return any(plan.wait.undecided or plan.wait.decided for plan in view.plans)


def _planned(report: Mapping[str, Any]) -> int:
    return int((_mapping(report.get("funnel")) or {}).get("planned", 0))


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
