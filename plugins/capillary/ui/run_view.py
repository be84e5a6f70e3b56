"""What the page of a run shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.remedies import Advice, advice
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Transaction
from capillary.ledger.left_over import LeftNow, left_now
from capillary.ledger.outstanding import outstanding
from capillary.ledger.reports import FailureCount
from capillary.ledger.retryable import Retryable, retryable
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
from capillary.ui.order_day import OrderImpossible
from capillary.ui.orders import Action, assert_live, choices, only_occasion, retry
from capillary.ui.plan_view import PlanShown, occasion_of, shown_plan
from capillary.ui.reading import LedgerReader
from capillary.ui.report_view import ReportShown, shown_report


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """A run as it is shown.

    Attributes:
        dag_id, run_id: of Airflow.
        facts: what Airflow knows; None where the run was deleted there.
        dag: the campaign's DAG; None for a DAG of another kind.
        view: what the ledger knows; None where nothing was planned: a dry run, or one that has not come so far.
        report: what its task `report` has returned, for whoever may read that.
        occasions: that it planned for, or counted for; several where its tasks did; empty where nobody knows.
        plan: what a dry run has told of the plan; None of another run, or where nothing was told.
        headline: the run in one sentence.
        picture: its funnel; None where there are no counts yet.
        failures: what became of those without the badge, each with its meaning and remedy.
        left: of these failures, what nobody has asked for again since.
        on_occasion: those that a retry may take, whichever run on its occasion asked for them.
        left_now: what is left now of the customers that it left for a later run; None where it has planned nothing.
        failed: a page of the customers themselves.
        actions: what this reader may order.
        orders_say: what an order would come to, or why there is none, a sentence each.
        deadline: until when a human may decide; None where nothing waits, or nobody knows.
        checker_url: the checker's page; empty where the connection names none.
    """

    dag_id: str
    run_id: str
    facts: RunFacts | None
    dag: CampaignDag | None
    view: RunView | None
    report: ReportShown | None
    occasions: tuple[str, ...]
    plan: PlanShown | None
    headline: Headline
    picture: FunnelPicture | None
    failures: tuple[Advice, ...]
    left: tuple[FailureCount, ...]
    on_occasion: tuple[Retryable, ...]
    left_now: LeftNow | None
    failed: tuple[FailedCustomer, ...]
    actions: tuple[Action, ...]
    orders_say: tuple[str, ...]
    deadline: datetime | None
    checker_url: str

    @property
    def exists(self) -> bool:
        """Whether anybody knows the run."""
        return self.facts is not None or self.view is not None

    @property
    def is_dry(self) -> bool:
        """Whether it has only counted."""
        return self.view is None and self.report is not None and self.report.dry_run

    @property
    def occasion(self) -> str:
        """The occasion that it planned for, or counted for; empty where nobody knows."""
        return ", ".join(self.occasions)

    @property
    def told(self) -> tuple[tuple[str, object], ...]:
        """What the trigger form said, without what it left open, and without the note, which stands by itself."""
        conf = self.facts.conf if self.facts else {}
        return tuple(
            (name, value) for name, value in conf.items() if name != "note" and value not in (None, "", [], ())
        )

    @property
    def no_requests(self) -> str:
        """Why the ledger has no request of it."""
        if self.view is None or not self.view.funnel.planned:
            return "None: nobody was planned."
        funnel = self.view.funnel
        planned = counted(funnel.planned, "customer", "was", "were")
        return f"None is left: {planned} planned, and {funnel.discarded:,} of them given back unsent."


def shown_run(
    ledger: LedgerReader, reader: Reader, dag_id: str, run_id: str, *, after: Place | None = None
) -> RunShown:
    """Return a run as it is shown; runs in a reader's thread.

    Raises:
        CapillaryError: the ledger cannot be read, and why.
    """
    facts = run_facts(dag_id, run_id)
    dag = campaign_dags({dag_id}).get(dag_id)
    known = ledger.look(partial(_of_ledger, dag_id=dag_id, run_id=run_id, after=after))
    view = known.view
    told: Mapping[str, Any] | None = None
    plan = until = None
    occasion = ""
    if facts is not None and reader.may_read_xcoms(dag_id):
        until = deadlines([(dag_id, run_id)]).get((dag_id, run_id)) if _waits(facts, view) else None
        told = _mapping(returned([(dag_id, run_id)], REPORT).get((dag_id, run_id)))
        output = _mapping(returned([(dag_id, run_id)], EXTRACT).get((dag_id, run_id)))
        plan, occasion = shown_plan(output), occasion_of(output)
    report = shown_report(told)
    occasions = _occasions(view) if view else (occasion,) if occasion else ()
    actions = _actions(reader, dag, facts, report, known)
    counts = _counts(view, report)
    connection = view.plans[-1].planned.connection if view else dag.connection if dag else None
    return RunShown(
        dag_id=dag_id,
        run_id=run_id,
        facts=facts,
        dag=dag,
        view=view,
        report=report,
        occasions=occasions,
        plan=plan,
        headline=headline(facts, view, told),
        picture=picture(counts, dry_run=view is None) if counts else None,
        failures=tuple(map(advice, view.failures)) if view else (),
        left=known.left,
        on_occasion=known.on_occasion,
        left_now=known.left_now,
        failed=known.failed,
        actions=actions,
        orders_say=tuple(_orders_say(reader, dag, facts, actions, occasions, known)),
        deadline=until,
        checker_url=checker_url(connection) if connection else "",
    )


def checker_url(conn_id: str) -> str:
    """Return the checker's page of a platform's connection; empty where there is none, or the API server has not it."""
    try:
        return CapillaryHook(conn_id).get_settings().checker_url
    except CapillaryError:
        return ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger knows of a run."""

    view: RunView | None
    left: tuple[FailureCount, ...] = ()
    on_occasion: tuple[Retryable, ...] = ()
    left_now: LeftNow | None = None
    failed: tuple[FailedCustomer, ...] = ()


def _of_ledger(tx: Transaction, *, dag_id: str, run_id: str, after: Place | None) -> _Known:
    view = run(tx, dag_id, run_id)
    if view is None:
        return _Known(None)
    plans = {plan.badge_run_id for plan in view.plans}
    rest = left_now(tx, plans)
    if not view.failures:
        return _Known(view, left_now=rest)
    left = tuple(failure for each in outstanding(tx, of=plans) for failure in each.failures)
    whom = retryable(tx, plans) if left else ()
    return _Known(view, left, whom, rest, failed_customers_of(tx, dag_id, run_id, after=after))


def _occasions(view: RunView) -> tuple[str, ...]:
    """Return the occasions of a run's plans; of one name on two accounts they are two."""
    return tuple(
        name for _, name in dict.fromkeys((plan.planned.account, plan.planned.occasion) for plan in view.plans)
    )


def _counts(view: RunView | None, report: ReportShown | None) -> Mapping[str, int]:
    if view is not None:
        return counts_of(view.funnel)
    return report.funnel if report else {}


def _actions(
    reader: Reader, dag: CampaignDag | None, facts: RunFacts | None, report: ReportShown | None, known: _Known
) -> tuple[Action, ...]:
    if dag is None or facts is None:
        return ()
    found = []
    if _waits(facts, known.view):
        found += [Action.LOOK_NOW] if reader.may_clear(dag.dag_id) else []
    if dag.live and reader.may_trigger(dag.dag_id):
        found += [Action.RETRY] if known.left else []
        passed = facts.is_over and report is not None and report.passed
        found += [Action.REST] if facts.is_over and _may_take_rest(known.left_now, passed=passed) else []
        found += [Action.CARRY_OUT] if passed and report and report.dry_run and report.planned else []
    return tuple(found)


def _may_take_rest(left: LeftNow | None, *, passed: bool) -> bool:
    """Return whether a run now would take what this one left: also behind a canary that has passed since."""
    return left is not None and left.by_run > 0 and left.may_be_taken and (passed or left.canary_passed)


def _orders_say(
    reader: Reader,
    dag: CampaignDag | None,
    facts: RunFacts | None,
    actions: tuple[Action, ...],
    occasions: tuple[str, ...],
    known: _Known,
) -> Iterator[str]:
    if dag is None or facts is None or not reader.may_trigger(dag.dag_id):
        return
    try:
        if known.left or (known.left_now and known.left_now.by_run):
            assert_live(dag)
        if Action.RETRY in actions:
            kinds = choices(known.left, None)
            if any(each.chosen for each in kinds):
                said = retry(dag, facts, only_occasion(occasions), kinds, known.on_occasion).says[0]
                yield f"Retry the failed: {said[0].lower()}{said[1:]}"
            else:
                yield _CHOOSE
        elif Action.REST in actions:
            only_occasion(occasions)
    except OrderImpossible as error:
        yield str(error)


#: Said of a retry that would take nobody as things are.
_CHOOSE: Final = "Retry the failed: takes none of them by itself; choose the kinds on its page."


def _waits(facts: RunFacts | None, view: RunView | None) -> bool:
    """Return whether the run waits for the checker, or for what the checker has decided to be read."""
    if facts is None or facts.is_over or view is None:
        return False
    return any(plan.wait.undecided or plan.wait.decided for plan in view.plans)


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
