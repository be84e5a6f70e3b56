"""The whole check: files, then the connections that they name, then queries and badges by those connections."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import DAG

from capillary.campaign.dag import PlanCampaignOperator
from capillary.check.airflow_database import AirflowDatabase, airflow_database
from capillary.check.answers import Answers, ask, ask_for_badges
from capillary.check.dag_files import Loaded, load, shown
from capillary.check.finding import Finding, Verdict
from capillary.check.one_plan import counted, findings_of
from capillary.check.plans import Looked, Planning, look_at
from capillary.check.pools import pool_findings
from capillary.check.sample_run import SampleRun
from capillary.check.sending import sending_findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to check.

    Attributes:
        path: a DAG file, or a folder of them.
        campaign: the id of one DAG; None for all.
        files_only: use no connection.
        dry_run: count who would be planned.
    """

    path: Path
    campaign: str | None = None
    files_only: bool = False
    dry_run: bool = False


def check(asked: Asked) -> tuple[Finding, ...]:
    """Return what there is to say; nothing is written to ledger, platform or warehouse.

    Raises:
        NothingToCheck: there is no such path, or no DAG file in it.
    """
    database = None if asked.files_only else airflow_database()
    try:
        loaded = load(asked.path, has_database=database is not None)
        dags, findings = _wanted(loaded, asked)
        return (*findings, *_of_dags(dags, asked, database))
    finally:
        if database is not None:
            database.close()


def _of_dags(dags: tuple[tuple[Path, DAG], ...], asked: Asked, database: AirflowDatabase | None) -> Iterator[Finding]:
    run = SampleRun(database=database, files_only=asked.files_only)
    looks = [(dag, look_at(file, dag, run)) for file, dag in dags]
    for (file, dag), (_, looked) in zip(dags, looks, strict=True):
        yield from map(_mode, looked.plannings)
        yield from looked.findings
        if not looked.plannings and not looked.findings:
            yield Finding(Verdict.OK, f"{shown(file)}, DAG {dag.dag_id!r}", "", "it loads")
        if not asked.files_only:
            yield from pool_findings(file, dag, None if database is None else database.pools)
    if not asked.files_only:
        yield from _by_connections(looks, asked)


def _by_connections(looks: list[tuple[DAG, Looked]], asked: Asked) -> Iterator[Finding]:
    """Yield what the connections say of plans, and of what a live run would send."""
    answers, plannings = Answers(), [planning for _, looked in looks for planning in looked.plannings]
    try:
        yield from ask(answers, _users(looks))
        ask_for_badges(answers, plannings)
        for planning in plannings:
            told = list(findings_of(planning, answers))
            yield from told
            if asked.dry_run:
                yield counted(planning, answers, told)
        for _, looked in looks:
            for sending in looked.sendings:
                yield from sending_findings(sending, answers)
    finally:
        for engine in answers.warehouses.values():
            engine.dispose()


def _wanted(loaded: Loaded, asked: Asked) -> tuple[tuple[tuple[Path, DAG], ...], list[Finding]]:
    """Return the DAGs that were asked for, and what is wrong with their files."""
    if asked.campaign is None:
        return loaded.dags, list(loaded.findings)
    dags = tuple((file, dag) for file, dag in loaded.dags if dag.dag_id == asked.campaign)
    if dags:
        files = tuple(shown(file) for file, _ in dags)
        return dags, [finding for finding in loaded.findings if finding.where.startswith(files)]
    names = sorted(dag.dag_id for _, dag in loaded.dags)
    close = difflib.get_close_matches(asked.campaign, names, n=1)
    remedy = f"Did you mean {close[0]}? " if close else ""
    missing = Finding(
        Verdict.FAILS,
        shown(asked.path.resolve()),
        f"campaign {asked.campaign!r}",
        f"no file that can be loaded defines it. {remedy}There are: {', '.join(names) or 'none'}",
    )
    return (), [*loaded.findings, missing]


def _users(looks: list[tuple[DAG, Looked]]) -> Mapping[tuple[str, str], list[str]]:
    """Return the DAGs that use a connection, by attribute and id."""
    users = defaultdict[tuple[str, str], list[str]](list)
    for dag, looked in looks:
        for connection in looked.connections:
            users[connection].append(dag.dag_id)
    return users


def _mode(planning: Planning) -> Finding:
    task = planning.task
    if not isinstance(task, PlanCampaignOperator):
        words = "always a dry run" if task.is_dry_run else "plans"
    else:
        words = "live" if task.badge_campaign.live else "not live, so every run is a dry run"
    return Finding(Verdict.OK, planning.where, "", words)
