"""What the page Badges shows: gathered from the ledger and from Airflow, in one of the readers' threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.attention import Said, said_of
from capillary.engine.remedies import retry_of
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook
from capillary.ledger.attention import LONG_UNKEPT, Kind, Matter, attention, by_urgency, with_deadlines
from capillary.ledger.database import Transaction
from capillary.ledger.overview import AccountLine, CampaignLine, accounts, campaigns
from capillary.ui.access import Reader
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
)
from capillary.ui.errors import RowUnreadable
from capillary.ui.funnel_picture import Step, bar, counts_of
from capillary.ui.headline import Headline, Tone, headline
from capillary.ui.other_dags import for_reader
from capillary.ui.reading import LedgerReader, legible
from capillary.ui.run_view import checker_url

#: How urgent each kind is, in a colour that says nothing alone.
_TONES: Final[Mapping[Kind, Tone]] = {
    Kind.UNKNOWN_KEY: Tone.BAD,
    Kind.AUTO_APPROVED: Tone.BAD,
    Kind.STOPPED: Tone.BAD,
    Kind.FILE_BROKEN: Tone.BAD,
    Kind.IN_DOUBT: Tone.WARN,
    Kind.DISTRUSTED: Tone.WARN,
    Kind.KEEPING_LATE: Tone.WARN,
    Kind.LIST_UNREAD: Tone.WARN,
    Kind.UNSETTLED: Tone.WARN,
    Kind.WAITING: Tone.WAIT,
    Kind.FAILED: Tone.BAD,
    Kind.CANARY_WAITS: Tone.WARN,
    Kind.CANARY_PASSED: Tone.GOOD,
    Kind.PAUSED: Tone.CALM,
}
_TAGS: Final[Mapping[Kind, str]] = {
    Kind.UNKNOWN_KEY: "Unknown request",
    Kind.AUTO_APPROVED: "Auto-approved",
    Kind.STOPPED: "Stopped",
    Kind.FILE_BROKEN: "File broken",
    Kind.IN_DOUBT: "In doubt",
    Kind.DISTRUSTED: "List not trusted",
    Kind.KEEPING_LATE: "No housekeeping",
    Kind.LIST_UNREAD: "List not read",
    Kind.UNSETTLED: "Not settled",
    Kind.WAITING: "Checker",
    Kind.FAILED: "Failed",
    Kind.CANARY_WAITS: "Canary waits",
    Kind.CANARY_PASSED: "Canary passed",
    Kind.PAUSED: "Paused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatterShown:
    """One thing that needs a person, in words.

    Attributes:
        matter: what the ledger or Airflow knows.
        said: the words.
        tone, tag: how urgent, and its kind in two words.
        run: dag_id and run_id of the run to look at first; None without one, or where the reader may not see it.
        checker_url: the checker's page, where a human has to decide there; empty elsewhere.
        may_resume: the connection by which this reader may resume; None where they may not, or nothing is stopped.
        may_trigger: whether this reader may start a run of the campaign that submits, and nothing is in its way.
        worth_retrying: whether a retry now would take anybody.
    """

    matter: Matter
    said: Said
    tone: Tone
    tag: str
    run: tuple[str, str] | None
    checker_url: str
    may_resume: str | None
    may_trigger: bool
    worth_retrying: bool


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
        bar: where the customers of the last run that planned somebody went; None where nobody was.
        counts: the numbers of that run.
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


@dataclass(slots=True)
class _Looked:
    """What the ledger said; a part that holds a row which cannot be read is left out, and the others stand."""

    now: datetime
    matters: tuple[Matter, ...] = ()
    lines: tuple[CampaignLine, ...] = ()
    accounts: tuple[AccountLine, ...] = ()
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
    stopped = frozenset((each.account, each.campaign) for each in looked.matters if each.kind is Kind.STOPPED)
    matters = by_urgency([*visible, *_of_airflow(dags, reader, looked.now)])
    return BadgesShown(
        matters=tuple(
            _matter(each, reader, looked.now, connections.get(each.account, ()), dags, stopped) for each in matters
        ),
        campaigns=_campaigns(dags, looked.lines, reader),
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
    for dag in dags.values():
        of_dag: dict[str, Any] = {"campaign": dag.dag_id, "dag_ids": (dag.dag_id,)}
        if dag.broken:
            yield Matter(kind=Kind.FILE_BROKEN, reason="its import error is on Airflow's page Dags", **of_dag)
        elif dag.live and dag.paused:
            yield Matter(kind=Kind.PAUSED, **of_dag)
    if UPKEEP in reader.dag_ids and any(dag.live for dag in dags.values()):
        last = kept_at()
        if last is None or last < now - LONG_UNKEPT:
            yield Matter(kind=Kind.KEEPING_LATE, dag_ids=(UPKEEP,), since=last)


def _matter(
    matter: Matter,
    reader: Reader,
    now: datetime,
    connections: Sequence[str],
    dags: Mapping[str, CampaignDag],
    stopped: Collection[tuple[str | None, str | None]] = (),
) -> MatterShown:
    visible = matter.dag_id is not None and matter.run_id is not None and matter.dag_id in reader.dag_ids
    if not visible:
        matter = replace(matter, dag_id=None, run_id=None)
    dag = dags.get(matter.dag_id or "")
    connection = matter.connection or next(iter(connections), None)
    # Its page would refuse the order as long as this stands in the way.
    held_back = (matter.account, None) in stopped or (matter.account, matter.campaign) in stopped
    may_run = dag is not None and dag.live and not dag.broken and not held_back
    asks_checker = matter.kind in {Kind.WAITING, Kind.CANARY_WAITS} and connection is not None
    return MatterShown(
        matter=matter,
        said=said_of(matter, now),
        tone=_TONES[matter.kind],
        tag=_TAGS[matter.kind],
        run=(matter.dag_id, matter.run_id) if matter.dag_id and matter.run_id else None,
        checker_url=checker_url(connection) if asks_checker and connection else "",
        may_resume=reader.may_stop_any(connections) if matter.kind is Kind.STOPPED else None,
        may_trigger=dag is not None and may_run and reader.may_trigger(dag.dag_id),
        worth_retrying=retry_of(matter.failures).customers > 0,
    )


def _campaigns(
    dags: Mapping[str, CampaignDag], lines: Sequence[CampaignLine], reader: Reader
) -> tuple[CampaignShown, ...]:
    by_dag = defaultdict[str, list[CampaignLine]](list)
    for line in sorted(lines, key=lambda each: each.last.planned_at, reverse=True):
        by_dag[line.last.dag_id].append(line)
    dag_ids = sorted({*dags, *by_dag})
    runs = last_runs(dag_ids)
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
    *,
    account: str,
) -> CampaignShown:
    counts = counts_of(line.last.funnel) if line else {}
    report = reports.get((last.dag_id, last.run_id)) if last else None
    return CampaignShown(
        name=line.last.campaign if line else dag_id,
        dag_id=dag_id,
        account=account,
        dag=dag,
        line=line,
        last=last,
        headline=_headline(last, line, report) if last else None,
        bar=bar(counts) if counts.get("planned") else None,
        counts=counts,
    )


def _headline(last: RunFacts, line: CampaignLine | None, report: Mapping[str, Any] | None) -> Headline:
    if last.is_over or line is None or line.last.run_id != last.run_id:
        return headline(last, None, report)
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
