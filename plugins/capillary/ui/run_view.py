"""What the page of a run shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from airflow.utils.state import DagRunState, TaskInstanceState

from capillary.api.request_workflow import RequestState
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.remedies import retry_of
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
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
from capillary.ui.access import Reader
from capillary.ui.active_runs import NO_RUNS, ActiveRuns, active_runs
from capillary.ui.airflow_facts import (
    EXTRACT,
    REPORT,
    WAIT,
    CampaignDag,
    RunFacts,
    campaign_dags,
    deadlines,
    recent_runs,
    returned,
    run_facts,
    runs_not_over,
    task_state,
)
from capillary.ui.canary_shown import CanaryShown, shown_canary
from capillary.ui.failed_now import as_of_now
from capillary.ui.failed_runs import made_good
from capillary.ui.failed_tasks import FailedTask, failed_tasks
from capillary.ui.funnel_picture import FunnelPicture, picture
from capillary.ui.headline import Headline, headline
from capillary.ui.hindrances import NONE, Hindrances, hindrances, platform_of
from capillary.ui.order_day import OrderImpossible
from capillary.ui.orders import Action, assert_live, choices, only_occasion, retry
from capillary.ui.other_dags import for_reader, told_to
from capillary.ui.plan_view import PlanShown, occasion_of, shown_plan
from capillary.ui.queued_run import why_not_started
from capillary.ui.reading import LedgerReader
from capillary.ui.report_view import ReportShown, shown_report
from capillary.ui.run_now import RunNow, beside_of, run_now
from capillary.ui.run_parts import PartShown, is_of_deleted, parts_of
from capillary.ui.since_count import UNKNOWN, changed_since, mark_of


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
#: Most different messages of checkers that a retry's page repeats.
_WORDS_SHOWN: Final = 5


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
        counted_at: when a dry run has counted; None where nobody knows.
        changed: of a dry run that would plan somebody, why its numbers do not hold any more, a sentence each.
        failed_task: the first task of it that failed; None where none has.
        headline: the run in one sentence.
        picture: the funnel that a dry run, or a run which the ledger does not know, has told; None of any other.
        parts: what it has planned, each account and occasion by itself; empty where it has planned nothing.
        left: of these failures, what nobody has asked for again since.
        on_occasion: those that a retry may take, whichever run on its occasion asked for them.
        left_now: what is left now of the customers that it left for a later run; None where it has planned nothing.
        failed: a page of the customers themselves.
        failed_before: how many of them stand on the pages before.
        more: where the next page of them begins; None: there is none.
        hindrances: what stands in the way of a run that submits.
        actions: what this reader may order.
        orders_say: what an order would come to, or why there is none, a sentence each.
        deadline: until when a human may decide; None where nothing waits, or nobody knows.
        active: the runs of its DAG that are not over, for the page of an order; elsewhere none.
        read_at: when the platform's list was last read, for a run that waits; None for any other.
        canary: which canary held it; None where none did.
        first_reading: calls, at least, of the account's first reading, which the next run that sends does first; 0:
            it is done, or nobody here knows.
    """

    dag_id: str
    run_id: str
    facts: RunFacts | None
    dag: CampaignDag | None
    view: RunView | None
    report: ReportShown | None
    occasions: tuple[str, ...]
    plan: PlanShown | None
    counted_at: datetime | None
    changed: tuple[str, ...]
    failed_task: FailedTask | None
    headline: Headline
    picture: FunnelPicture | None
    parts: tuple[PartShown, ...]
    left: tuple[FailureCount, ...]
    on_occasion: tuple[Retryable, ...]
    left_now: LeftNow | None
    failed: tuple[FailedCustomer, ...]
    failed_before: int
    more: Place | None
    hindrances: Hindrances
    actions: tuple[Action, ...]
    orders_say: tuple[str, ...]
    deadline: datetime | None
    active: ActiveRuns
    read_at: datetime | None
    canary: CanaryShown | None
    first_reading: int

    @property
    def exists(self) -> bool:
        """Whether anybody knows the run."""
        return self.facts is not None or self.view is not None

    @property
    def is_dry(self) -> bool:
        """Whether it has only counted; what a deleted run of the same id has planned is not its own."""
        return _is_dry(self.view, self.facts, self.report)

    @property
    def part_of(self) -> Mapping[int, PartShown]:
        """The part of each plan, by `badge_run.id`."""
        return {plan: part for part in self.parts for plan in part.plans}

    @property
    def names_parts(self) -> bool:
        """Whether a row has to say which plan it is of."""
        return len(self.part_of) > 1

    @property
    def has_failures(self) -> bool:
        """Whether anybody ended without the badge."""
        return any(part.failures for part in self.parts)

    @property
    def without_badge(self) -> int:
        """How many enrolments ended without the badge."""
        return sum(each.failure.customers for part in self.parts for each in part.failures)

    @property
    def without_badge_now(self) -> int | None:
        """How many of these are without it now; None where they are too many to look at."""
        now = [part.without_badge_now for part in self.parts]
        return None if None in now else sum(filter(None, now))

    @property
    def main_action(self) -> Action | None:
        """What is ordered first, if anything: a retry only where it may help as things are, as on the page Badges."""
        helpful = (each for each in self.actions if each is not Action.RETRY or retry_of(self.left).may_help)
        return next(helpful, None)

    @property
    def checkers(self) -> tuple[tuple[str, str], ...]:
        """The checkers' pages on which something of it waits: the name of the part, empty of a single one, and URL."""
        waits = [part for part in self.parts if part.waits and part.checker_url]
        if len({part.checker_url for part in waits}) < 2:
            return tuple(("", part.checker_url) for part in waits[:1])
        return tuple((part.name, part.checker_url) for part in waits)

    @property
    def checkers_words(self) -> tuple[str, ...]:
        """What the checkers wrote who rejected some of it, each once, the first few."""
        if self.view is None:
            return ()
        rejected = (
            each for line in self.view.requests for each in line.sightings if each.state == RequestState.REJECTED
        )
        return tuple(dict.fromkeys(each.checker_message for each in rejected if each.checker_message))[:_WORDS_SHOWN]

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
    ledger: LedgerReader, reader: Reader, dag_id: str, run_id: str, *, at: Places = AT_BEGIN, for_order: bool = False
) -> RunShown:
    """Return a run as it is shown; runs in a reader's thread.

    Args:
        ledger: the ledger.
        reader: who looks.
        dag_id: of Airflow.
        run_id: the same.
        at: where the pages of its customers and requests begin.
        for_order: something may be ordered about it: say also which runs of its DAG are not over.

    Raises:
        CapillaryError: the ledger cannot be read, and why.
    """
    facts = run_facts(dag_id, run_id)
    dag = campaign_dags({dag_id}).get(dag_id)
    platform = None if dag is None else platform_of(dag.connection)
    may_read = facts is not None and reader.may_read_xcoms(dag_id)
    run_of = (dag_id, run_id)
    report_told = _mapping(returned([run_of], REPORT).get(run_of)) if may_read else None
    output = _mapping(returned([run_of], EXTRACT).get(run_of)) if may_read else None
    mark = mark_of(output) if report_told and report_told.get("dry_run") is True else None
    known = ledger.look(
        partial(
            _of_ledger,
            dag_id=dag_id,
            run_id=run_id,
            at=at,
            dag_ids=reader.dag_ids,
            dag=dag,
            platform=platform,
            mark=mark,
            not_over=runs_not_over(dag_id) if for_order else None,
        )
    )
    view = known.view
    until = deadlines([run_of]).get(run_of) if may_read and _waits(facts, view) else None
    told = for_reader(report_told, dag_ids=reader.dag_ids, campaigns=known.campaigns)
    plan, occasion = shown_plan(output), occasion_of(output)
    report = shown_report(told)
    failed = _failed_task(reader, facts, dag, known)
    dry = _is_dry(view, facts, report)
    parts = parts_of(view, facts, checker_url, known.now.became, told, reader.dag_ids) if view else ()
    wait = task_state(dag_id, run_id, WAIT) if facts and view and not facts.is_over else None
    queued = why_not_started(dag_id, run_id) if facts and facts.state == DagRunState.QUEUED else ""
    beside = beside_of(facts, dag, view, parts, wait=wait, queued=queued, is_of_dry=dry)
    occasions = _occasions(view) if view and not dry else (occasion,) if occasion else ()
    changed = tuple(_changed(report, known.since_mark, reader)) if dry else ()
    wanted = _actions(reader, dag, facts, report, known, dry=dry, changed=bool(changed), wait=wait)
    actions = tuple(each for each in wanted if not (known.hindrances.refuses and is_held_back(each, dag)))
    held_back = () if actions == wanted else known.hindrances.refuses
    counts = report.funnel if report and (view is None or dry) else {}
    return RunShown(
        dag_id=dag_id,
        run_id=run_id,
        facts=facts,
        dag=dag,
        view=view,
        report=report,
        occasions=occasions,
        plan=plan,
        counted_at=mark.counted_at if mark else None,
        changed=changed,
        failed_task=failed,
        headline=headline(facts, view, told, failed, beside),
        picture=picture(counts, dry_run=True) if counts else None,
        parts=parts,
        left=known.left,
        on_occasion=known.on_occasion,
        left_now=known.left_now,
        failed=known.failed,
        failed_before=known.failed_before,
        more=known.more,
        hindrances=known.hindrances,
        # What is ordered is for one occasion; why it is not offered of several is said.
        actions=tuple(each for each in actions if each not in FOR_ONE_OCCASION or len(occasions) < 2),
        orders_say=(
            *held_back,
            *_orders_say(reader, dag, facts, actions, occasions, known),
            *(changed if Action.DRY_RUN in actions else ()),
        ),
        deadline=until,
        active=known.active,
        read_at=known.now.read_at if _waits(facts, view) else None,
        canary=None if dry else shown_canary(view, told, reader.dag_ids, parts),
        first_reading=known.now.first_reading,
    )


def checker_url(conn_id: str) -> str:
    """Return the checker's page of a platform's connection; empty where there is none, or the API server has not it."""
    try:
        return CapillaryHook(conn_id).get_settings().checker_url
    except CapillaryError:
        return ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger knows of a run, and which campaigns its reader may see."""

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


def _of_ledger(
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
) -> _Known:
    view = run(tx, dag_id, run_id, after=at.requests, requests=REQUESTS_SHOWN)
    accounts = frozenset(plan.planned.account for plan in view.plans) if view else frozenset[str]()
    accounts |= {mark.account} if mark else frozenset()
    known = _Known(
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


def _failed_task(reader: Reader, facts: RunFacts | None, dag: CampaignDag | None, known: _Known) -> FailedTask | None:
    if facts is None or facts.state != "failed":
        return None
    run_of = (facts.dag_id, facts.run_id)
    failed = failed_tasks([run_of], may_read=reader.may_read_xcoms).get(run_of)
    if failed is None:
        return None
    told = told_to(failed, facts.dag_id, dag_ids=reader.dag_ids, campaigns=known.campaigns)
    taken = known.left_now is not None and known.left_now.later
    given_back = known.view.funnel.discarded if known.view and not taken else 0
    live = dag is None or dag.live
    good = known.view is None and made_good(recent_runs({facts.dag_id}).get(facts.dag_id, []), facts, live=live)
    return as_of_now(told, facts.dag_id, known.now.stops, given_back=given_back, made_good=good)


def _occasions(view: RunView) -> tuple[str, ...]:
    """Return the occasions of a run's plans; of one name on two accounts they are two, and named so."""
    pairs = dict.fromkeys((plan.planned.account, plan.planned.occasion) for plan in view.plans)
    several = len({account for account, _ in pairs}) > 1
    return tuple(f"{occasion} on {account}" if several else occasion for account, occasion in pairs)


def _is_dry(view: RunView | None, facts: RunFacts | None, report: ReportShown | None) -> bool:
    own = view is not None and any(not is_of_deleted(plan, facts) for plan in view.plans)
    return not own and report is not None and report.dry_run


def _actions(
    reader: Reader,
    dag: CampaignDag | None,
    facts: RunFacts | None,
    report: ReportShown | None,
    known: _Known,
    *,
    dry: bool,
    changed: bool,
    wait: str | None,
) -> tuple[Action, ...]:
    if dag is None or facts is None:
        return ()
    found = []
    if dry:  # what the ledger knows is of a deleted run with the same id
        known = replace(known, view=None, left=(), left_now=None)
    if _may_look(facts, known.view, wait) and reader.may_clear(dag.dag_id):
        found.append(Action.LOOK_NOW)
    if dag.live and reader.may_trigger(dag.dag_id):
        found += [Action.RETRY] if known.left and not (known.left_now and known.left_now.waits_for) else []
        passed = facts.is_over and report is not None and report.passed
        found += [Action.REST] if facts.is_over and _may_take_rest(known.left_now, passed=passed) else []
        if passed and report and report.dry_run and report.planned:
            found.append(Action.DRY_RUN if changed else Action.CARRY_OUT)
    return tuple(found)


def _changed(report: ReportShown | None, since: SinceMark | None, reader: Reader) -> Iterator[str]:
    """Yield why what a dry run has counted does not hold any more."""
    if report is None or not report.planned:
        return
    if since is None:
        yield UNKNOWN
        return
    yield from changed_since(since, planned=report.planned, left=report.left_over or 0, dag_ids=reader.dag_ids)


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


#: Orders that make a run for the occasion of this one.
FOR_ONE_OCCASION: Final = frozenset({Action.RETRY, Action.REST})


def is_held_back(action: Action, dag: CampaignDag | None) -> bool:
    """Return whether what stands in the way of a run that submits stands in the way of this, too."""
    if action is Action.DRY_RUN:  # it goes on under a stop
        return dag is not None and dag.broken
    return action is not Action.LOOK_NOW


#: Said of a retry that would take nobody as things are.
_CHOOSE: Final = "Retry the failed: takes none of them by itself; choose the kinds on its page."


#: `wait` sleeps in these states; in any other one it looks already, and a clear would break that off.
_SLEEPS: Final = frozenset({TaskInstanceState.DEFERRED, TaskInstanceState.UP_FOR_RESCHEDULE})


def _may_look(facts: RunFacts, view: RunView | None, wait: str | None) -> bool:
    """Return whether a look at once would tell more: a human has yet to decide, or the try of `wait` was cut short."""
    if facts.is_over or view is None:
        return False
    undecided = any(plan.wait.undecided for plan in view.plans)
    return (undecided and wait in _SLEEPS) or wait == TaskInstanceState.UP_FOR_RETRY


def _waits(facts: RunFacts | None, view: RunView | None) -> bool:
    """Return whether the run waits for the checker, or for what the checker has decided to be read."""
    if facts is None or facts.is_over or view is None:
        return False
    return any(plan.wait.undecided or plan.wait.decided for plan in view.plans)


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
