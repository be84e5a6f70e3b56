"""Runs that failed and that nothing since has made good: those whose customers the ledger does not know, too."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.utils.state import DagRunState

from capillary.ledger.given_back import GivenBack
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.stop_ends import StopEnd
from capillary.ledger.stops import Scope
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import REPORT, CampaignDag, RunFacts, recent_runs, returned
from capillary.ui.failed_now import as_of_now
from capillary.ui.failed_tasks import FailedTask, failed_tasks
from capillary.ui.other_dags import for_reader, told_to
from capillary.ui.page_words import for_a_page


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed runs of campaigns.

    Attributes:
        standing: of each DAG the run that failed and was not made good since.
        tasks: what failed in these and in other runs, by DAG id and run id.
    """

    standing: Mapping[str, RunFacts]
    tasks: Mapping[tuple[str, str], FailedTask]


def failures_of(
    dags: Mapping[str, CampaignDag],
    last: Collection[RunFacts],
    reader: Reader,
    campaigns: Collection[str],
    stops: Mapping[Scope, StopEnd],
    given_back: Mapping[tuple[str, str], GivenBack | None],
) -> Failures:
    """Return the failures of campaigns.

    Args:
        dags: the campaigns.
        last: other runs, whose failed task is told where they have one.
        reader: who looks.
        campaigns: whose names the reader may have.
        stops: what became of every stop.
        given_back: what a campaign's last run has given back unsent, by DAG id and run id.
    """
    found = {dag_id: standing_failure(runs, live=dags[dag_id].live) for dag_id, runs in recent_runs(dags).items()}
    standing = {dag_id: run for dag_id, run in found.items() if run is not None}
    failed = [run for run in (*standing.values(), *last) if run.state == DagRunState.FAILED]
    tasks = failed_tasks(
        list(dict.fromkeys((run.dag_id, run.run_id) for run in failed)), may_read=reader.may_read_xcoms
    )
    told = {run: told_to(task, run[0], dag_ids=reader.dag_ids, campaigns=campaigns) for run, task in tasks.items()}
    return Failures(
        standing,
        {run: as_of_now(task, run[0], stops, given_back=given_back.get(run)) for run, task in told.items()},
    )


def matters_of(
    failures: Failures, reader: Reader, campaigns: Collection[str], *, told: Collection[tuple[str, str]]
) -> Iterator[Matter]:
    """Yield a matter for each standing failure.

    Args:
        failures: of the campaigns.
        reader: who looks.
        campaigns: whose names the reader may have.
        told: the runs that another matter is about, which says more.
    """
    runs = {(run.dag_id, run.run_id): run for run in failures.standing.values()}
    untold = [run for run in runs if run not in told]
    verdicts = returned([run for run in untold if reader.may_read_xcoms(run[0])], REPORT)
    for run in untold:
        task = failures.tasks.get(run)
        remedy = task.now if task else ""
        verdict = _sentence(verdicts.get(run), reader, campaigns)
        yield Matter(
            kind=Kind.RUN_FAILED,
            campaign=run[0],
            dag_ids=(run[0],),
            dag_id=run[0],
            run_id=run[1],
            since=runs[run].ended_at,
            reason=(task.said if task else "") or (verdict.replace(f" {remedy}", "") if remedy else verdict),
            task=task.task_id if task else None,
            remedy=remedy or None,
        )


def standing_failure(newest_first: Sequence[RunFacts], *, live: bool) -> RunFacts | None:
    """Return the run of a DAG that failed and that no later run has made good; None where there is none.

    A dry run makes good what a dry run failed at, and no run that was to submit.

    Args:
        newest_first: runs of the DAG; those that are not over say nothing.
        live: whether the campaign submits unless a run says otherwise.
    """
    dry_passed = False
    for run in newest_first:
        counts = is_dry(run, live=live)
        if run.state == DagRunState.FAILED and not (counts and dry_passed):
            return run
        if run.state == DagRunState.SUCCESS:
            if not counts:
                return None
            dry_passed = True
    return None


def is_dry(run: RunFacts, *, live: bool) -> bool:
    """Return whether a run only counts; live: the campaign submits unless a run says otherwise."""
    return not live or run.conf.get("dry_run") is True


def made_good(newest_first: Sequence[RunFacts], failed: RunFacts, *, live: bool) -> bool:
    """Return whether a later run has made good what a run failed at.

    Args:
        newest_first: the newest runs of its DAG; where it is not among them, all are later.
        failed: the run.
        live: whether the campaign submits unless a run says otherwise.
    """
    of_dry = is_dry(failed, live=live)
    later = itertools.takewhile(lambda run: run.run_id != failed.run_id, newest_first)
    return any(run.state == DagRunState.SUCCESS and (of_dry or not is_dry(run, live=live)) for run in later)


def _sentence(report: object, reader: Reader, campaigns: Collection[str]) -> str:
    if not isinstance(report, Mapping):
        return ""
    told: Mapping[str, Any] = for_reader(report, dag_ids=reader.dag_ids, campaigns=campaigns) or {}
    said = told.get("sentence")
    return for_a_page(said) if isinstance(said, str) else ""
