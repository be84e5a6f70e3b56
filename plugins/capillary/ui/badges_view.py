"""What the page Badges shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from airflow.utils.state import DagRunState

from capillary.counted import counted
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.answers import PlannedRun
from capillary.ledger.attention import LONG_UNKEPT, attention
from capillary.ledger.database import Transaction
from capillary.ledger.matters import Kind, Matter, with_deadlines, with_tolerated
from capillary.ledger.overview import AccountLine, CampaignLine, accounts, campaigns
from capillary.ledger.status import Outcome
from capillary.ledger.stop_ends import StopEnd, stop_ends
from capillary.ledger.stops import Scope
from capillary.ui import failed_runs, import_errors
from capillary.ui.access import Reader
from capillary.ui.aftermath import NOTHING
from capillary.ui.aftermath_row import after_row
from capillary.ui.airflow_facts import (
    REPORT,
    UPKEEP,
    CampaignDag,
    RunFacts,
    campaign_dags,
    deadlines,
    kept_at,
    last_runs,
    returned,
    states_of,
)
from capillary.ui.errors import RowUnreadable
from capillary.ui.failed_now import beside_report
from capillary.ui.failed_runs import Failures
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.funnel_picture import Step, bar, counts_of
from capillary.ui.headline import Beside, Headline, Tone, headline
from capillary.ui.matters_view import MatterShown, shown_matter, standing
from capillary.ui.once_on import once_on
from capillary.ui.other_dags import for_reader
from capillary.ui.queued_run import why_not_started
from capillary.ui.reading import LedgerReader, legible


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignShown:
    """One campaign: its DAG, its last run, and where the last planned customers went.

    Attributes:
        name: of the campaign, or of the DAG where nothing was ever planned.
        dag_id: its DAG.
        dag: what Airflow knows of it; None where its file is gone, or it is a DAG of another kind.
        line: what the ledger knows; None where nothing was ever planned.
        account: whose, where the same DAG has planned for several; empty elsewhere.
        last: the last run of its DAG; None without one, and where the DAG has planned for another account since.
        headline: how that run ended, or what it waits for.
        counts: the numbers of the last run that planned, if only to find nobody.
        took: the numbers of the last one that planned somebody; empty where none has.
        bar: where its customers went; None where nobody was planned.
    """

    name: str
    dag_id: str
    account: str
    dag: CampaignDag | None
    line: CampaignLine | None
    last: RunFacts | None
    headline: Headline | None
    bar: Step | None
    counts: Mapping[str, int]
    took: Mapping[str, int]

    @property
    def holders_of_run(self) -> int:
        """How many hold the badge by the run that the bar is of."""
        return self.took.get(Outcome.ENROLLED, 0) + self.took.get(Outcome.ALREADY_ENROLLED, 0)

    @property
    def earlier(self) -> PlannedRun | None:
        """The run that the bar is of, where that is not the last one of the DAG."""
        of = self.line and (self.line.took or self.line.last)
        return of if of and (self.last is None or of.run_id != self.last.run_id) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountShown:
    """One account, with what its connection says, where the API server knows that."""

    line: AccountLine
    calls_per_minute: int | None
    submitting: bool | None
    checker_url: str
    may_stop: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadgesShown:
    """The page.

    Attributes:
        matters, campaigns, accounts: its parts.
        left_out: parts that cannot be read, in sentences.
        now: by the ledger's clock.
    """

    matters: tuple[MatterShown, ...]
    campaigns: tuple[CampaignShown, ...]
    accounts: tuple[AccountShown, ...]
    left_out: tuple[str, ...]
    now: datetime

    @property
    def is_new(self) -> bool:
        """Whether there are campaigns, and none of them has planned or run yet."""
        return bool(self.campaigns) and not any(each.line or each.last for each in self.campaigns)


@dataclass(slots=True)
class _Looked:
    """What the ledger said; a part that holds a row which cannot be read is left out, and the others stand."""

    now: datetime
    matters: tuple[Matter, ...] = ()
    lines: tuple[CampaignLine, ...] = ()
    accounts: tuple[AccountLine, ...] = ()
    stops: Mapping[Scope, StopEnd] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def shown_badges(ledger: LedgerReader, reader: Reader) -> BadgesShown:
    """Return the page; runs in a reader's thread.

    Raises:
        CapillaryError: the ledger cannot be read, and why.
    """
    dags = campaign_dags(reader.dag_ids)
    looked = ledger.look(partial(_of_ledger, dag_ids=reader.dag_ids))
    connections = {each.account: each.connections for each in looked.accounts}
    visible = [each for each in looked.matters if reader.may_see(each)]
    waiting = [
        (each.dag_id, each.run_id)
        for each in visible
        if each.kind is Kind.WAITING and each.dag_id and each.run_id and reader.may_read_xcoms(each.dag_id)
    ]
    visible = [*with_deadlines(visible, deadlines(waiting))]
    names = {line.last.campaign for line in looked.lines}
    runs = last_runs(sorted({*dags, *(line.last.dag_id for line in looked.lines)}))
    given_back = {(line.last.dag_id, line.last.run_id): line.given_back for line in looked.lines}
    failures = failed_runs.failures_of(dags, runs.values(), reader, names, looked.stops, given_back)
    told = {(each.dag_id, each.run_id) for each in visible if each.dag_id and each.run_id}
    visible += failed_runs.matters_of(failures, reader, names, told=told)
    stopped = frozenset((each.account, each.campaign) for each in looked.matters if each.kind is Kind.STOPPED)
    visible += _of_airflow(dags, reader, looked.now)
    read_at = {each.account: each.read_at for each in looked.accounts}
    states = states_of({(each.dag_id, each.run_id) for each in visible if each.dag_id and each.run_id})
    matters = with_tolerated(visible, {run for run, state in states.items() if state == DagRunState.SUCCESS})
    return BadgesShown(
        matters=tuple(
            standing(
                shown_matter(each, reader, looked.now, connections.get(each.account, ()), dags, failures, stopped),
                states.get((each.dag_id or "", each.run_id or ""), ""),
                reader,
                read_at.get(each.account),
            )
            for each in matters
        ),
        campaigns=_campaigns(dags, looked.lines, reader, runs, failures, looked),
        accounts=tuple(_account(each, reader) for each in looked.accounts),
        left_out=looked.left_out,
        now=looked.now,
    )


def _of_ledger(tx: Transaction, dag_ids: frozenset[str]) -> _Looked:
    looked = _Looked(tx.now)
    parts: dict[str, Callable[[], None]] = {
        "What needs a person now": lambda: setattr(looked, "matters", attention(tx, dag_ids)),
        "Campaigns": lambda: setattr(looked, "lines", campaigns(tx, dag_ids)),
        "Accounts": lambda: setattr(looked, "accounts", accounts(tx, dag_ids)),
        "Stops": lambda: setattr(looked, "stops", stop_ends(tx)),
    }
    for name, look in parts.items():
        try:
            with legible():
                look()
        except RowUnreadable as error:
            looked.left_out = (*looked.left_out, f"{name}: {error}")
    return looked


def _of_airflow(dags: Mapping[str, CampaignDag], reader: Reader, now: datetime) -> Iterator[Matter]:
    """Yield the matters that only Airflow knows of."""
    yield from import_errors.matters_of(import_errors.broken_files(reader), dags)
    for dag in dags.values():
        if dag.live and dag.paused and not dag.broken:
            yield Matter(kind=Kind.PAUSED, campaign=dag.dag_id, dag_ids=(dag.dag_id,), reason=once_on(dag, now))
    if UPKEEP in reader.dag_ids and any(dag.live for dag in dags.values()):
        last = kept_at()
        if last is None or last < now - LONG_UNKEPT:
            yield Matter(kind=Kind.KEEPING_LATE, dag_ids=(UPKEEP,), since=last)


def _campaigns(
    dags: Mapping[str, CampaignDag],
    lines: Sequence[CampaignLine],
    reader: Reader,
    runs: Mapping[str, RunFacts],
    failures: Failures,
    looked: _Looked,
) -> tuple[CampaignShown, ...]:
    by_dag = defaultdict[str, list[CampaignLine]](list)
    for line in sorted(lines, key=lambda each: each.last.planned_at, reverse=True):
        by_dag[line.last.dag_id].append(line)
    dag_ids = sorted({*dags, *by_dag})
    may_read = [run for run in runs.values() if run.is_over and reader.may_read_xcoms(run.dag_id)]
    names = {line.last.campaign for line in lines}
    reports = {
        run: for_reader(told, dag_ids=reader.dag_ids, campaigns=names)
        for run, told in returned([(run.dag_id, run.run_id) for run in may_read], REPORT).items()
        if isinstance(told, Mapping)
    }
    return tuple(
        _campaign(
            name,
            dags.get(name),
            line,
            runs.get(name) if nth == 0 else None,
            reports,
            failures,
            looked,
            account=line.last.account if line and len({each.last.account for each in by_dag[name]}) > 1 else "",
        )
        for name in dag_ids
        for nth, line in enumerate(by_dag.get(name) or [None])
    )


def _campaign(
    dag_id: str,
    dag: CampaignDag | None,
    line: CampaignLine | None,
    last: RunFacts | None,
    reports: Mapping[tuple[str, str], Mapping[str, Any] | None],
    failures: Failures,
    looked: _Looked,
    *,
    account: str,
) -> CampaignShown:
    counts = counts_of(line.last.funnel) if line else {}
    took = counts_of(line.took.funnel) if line and line.took else {}
    report = reports.get((last.dag_id, last.run_id)) if last else None
    failed = beside_report(failures.tasks.get((last.dag_id, last.run_id)) if last else None, report)
    return CampaignShown(
        name=line.last.campaign if line else dag_id,
        dag_id=dag_id,
        account=account,
        dag=dag,
        line=line,
        last=last,
        headline=_headline(last, line, report, failed, _beside(last, dag, line, report, looked)) if last else None,
        bar=bar(took) if took else None,
        counts=counts,
        took=took,
    )


def _beside(
    last: RunFacts,
    dag: CampaignDag | None,
    line: CampaignLine | None,
    report: Mapping[str, Any] | None,
    looked: _Looked,
) -> Beside:
    own = line if line and line.last.run_id == last.run_id and not looked.left_out else None
    return Beside(
        dry=failed_runs.is_dry(last, live=dag is None or dag.live),
        queued=why_not_started(last.dag_id, last.run_id) if last.state == "queued" else "",
        once_on=once_on(dag, looked.now) if last.state == "queued" and dag and dag.paused else "",
        after=after_row(own, looked.matters, report or {}, looked.now) if own else NOTHING,
    )


def _headline(
    last: RunFacts,
    line: CampaignLine | None,
    report: Mapping[str, Any] | None,
    failed: FailedTask | None,
    beside: Beside,
) -> Headline:
    if last.is_over or last.state == "queued" or line is None or line.last.run_id != last.run_id:
        return headline(last, None, report, failed, beside)
    if line.requests_undecided:
        return Headline(Tone.WAIT, "Waits for the checker", "")
    in_doubt = counted(line.requests_in_doubt, "request", "is", "are")
    if line.requests_in_doubt:
        return Headline(Tone.WARN, "In doubt", f"{in_doubt} being sent, or in doubt.")
    return Headline(Tone.CALM, "Running", "")


def _account(line: AccountLine, reader: Reader) -> AccountShown:
    calls_per_minute = submitting = None
    checker = ""
    for conn_id in line.connections:
        try:
            settings = CapillaryHook(conn_id).get_settings()
        except CapillaryError:
            continue
        calls_per_minute, submitting, checker = settings.calls_per_minute, settings.submitting, settings.checker_url
        break
    return AccountShown(
        line=line,
        calls_per_minute=calls_per_minute,
        submitting=submitting,
        checker_url=checker,
        may_stop=reader.may_stop_any(line.connections),
    )
