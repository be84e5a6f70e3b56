"""What the page of a run shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from airflow.utils.state import DagRunState

from capillary.api.request_workflow import RequestState
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.remedies import retry_of
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.left_over import LeftNow
from capillary.ledger.occasion_mark import SinceMark
from capillary.ledger.reports import FailureCount
from capillary.ledger.retryable import Retryable
from capillary.ledger.run_page import (
    FailedCustomer,
    Place,
    RunView,
)
from capillary.ui.access import Reader
from capillary.ui.active_runs import ActiveRuns
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
from capillary.ui.failed_now import as_of_now, beside_report
from capillary.ui.failed_runs import made_good
from capillary.ui.failed_tasks import FailedTask, failed_tasks
from capillary.ui.funnel_picture import FunnelPicture, picture
from capillary.ui.headline import Headline, headline
from capillary.ui.hindrances import Hindrances, platform_of
from capillary.ui.orders import Action
from capillary.ui.other_dags import for_reader, told_to
from capillary.ui.plan_view import PlanShown, occasion_of, shown_plan
from capillary.ui.platforms_clock import by_platforms_clock
from capillary.ui.queued_run import why_not_started
from capillary.ui.reading import LedgerReader
from capillary.ui.report_view import ReportShown, shown_report
from capillary.ui.run_known import AT_BEGIN, Known, Places, known_of
from capillary.ui.run_now import beside_of
from capillary.ui.run_orders import FOR_ONE_OCCASION, actions_on, is_held_back, orders_say
from capillary.ui.run_parts import PartShown, is_of_deleted, parts_of
from capillary.ui.since_count import UNKNOWN, changed_since, mark_of

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
        platform: what the connection of its DAG says; None where the API server has it not.
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
    platform: PlatformSettings | None

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

    def on_platform(self, plan: int, shown: str) -> str:
        """Return a time that the platform shows of a request of this plan, in words that name its zone."""
        known = self.platform if self.platform and self.platform.account == self.part_of[plan].account else None
        return by_platforms_clock(shown, known.cluster_timezone if known else "")

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
            known_of,
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
    wanted = actions_on(reader, dag, facts, report, known, dry=dry, changed=bool(changed), wait=wait)
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
        headline=headline(facts, view, told, beside_report(failed, told), beside),
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
            *orders_say(reader, dag, facts, actions, occasions, known),
            *(changed if Action.DRY_RUN in actions else ()),
        ),
        deadline=until,
        active=known.active,
        read_at=known.now.read_at if _waits(facts, view) else None,
        canary=None if dry else shown_canary(view, told, reader.dag_ids, parts),
        first_reading=known.now.first_reading,
        platform=platform,
    )


def checker_url(conn_id: str) -> str:
    """Return the checker's page of a platform's connection; empty where there is none, or the API server has not it."""
    try:
        return CapillaryHook(conn_id).get_settings().checker_url
    except CapillaryError:
        return ""


def _failed_task(reader: Reader, facts: RunFacts | None, dag: CampaignDag | None, known: Known) -> FailedTask | None:
    if facts is None or facts.state != "failed":
        return None
    run_of = (facts.dag_id, facts.run_id)
    failed = failed_tasks([run_of], may_read=reader.may_read_xcoms).get(run_of)
    if failed is None:
        return None
    told = told_to(failed, facts.dag_id, dag_ids=reader.dag_ids, campaigns=known.campaigns)
    taken = known.left_now is not None and known.left_now.later
    given_back = None if taken else known.now.given_back
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


def _changed(report: ReportShown | None, since: SinceMark | None, reader: Reader) -> Iterator[str]:
    """Yield why what a dry run has counted does not hold any more."""
    if report is None or not report.planned:
        return
    if since is None:
        yield UNKNOWN
        return
    yield from changed_since(since, planned=report.planned, left=report.left_over or 0, dag_ids=reader.dag_ids)


def _waits(facts: RunFacts | None, view: RunView | None) -> bool:
    """Return whether the run waits for the checker, or for what the checker has decided to be read."""
    if facts is None or facts.is_over or view is None:
        return False
    return any(plan.wait.undecided or plan.wait.decided for plan in view.plans)


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
