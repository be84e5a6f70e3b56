"""The whole check: files, then the connections that they name, then queries and badges by those connections."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow.configuration import conf
from airflow.sdk import DAG

from capillary.campaign.dag import PlanCampaignOperator
from capillary.check.answers import Answers, ask, ask_for_badges
from capillary.check.dag_files import Loaded, load, shown
from capillary.check.finding import Finding, Verdict
from capillary.check.one_plan import counted, findings_of
from capillary.check.plans import Planning, connections_of, planning_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to check.

    Attributes:
        path: a DAG file, or a folder of them.
        campaign: the id of one DAG; None for all.
        files_only: use no connection.
        dry_run: count whom a run would plan.
    """

    path: Path
    campaign: str | None = None
    files_only: bool = False
    dry_run: bool = False


def dags_folder() -> Path:
    """Return the folder where Airflow looks for DAGs."""
    return Path(conf.get_mandatory_value("core", "dags_folder"))


def check(asked: Asked) -> tuple[Finding, ...]:
    """Return what there is to say; nothing is written to ledger, platform or warehouse.

    Raises:
        NothingToCheck: there is no such path, or no DAG file in it.
    """
    loaded = load(asked.path)
    dags, findings = _wanted(loaded, asked)
    plannings = list[Planning]()
    for file, dag in dags:
        found = list(planning_tasks(file, dag))
        plannings += [each for each in found if isinstance(each, Planning)]
        findings += [_mode(each) if isinstance(each, Planning) else each for each in found]
        if not found:
            findings.append(Finding(Verdict.OK, f"{shown(file)}, DAG {dag.dag_id!r}", "", "it loads"))
    if asked.files_only:
        return tuple(findings)
    answers = Answers()
    try:
        findings += ask(answers, _users(dags))
        ask_for_badges(answers, plannings)
        for planning in plannings:
            told = list(findings_of(planning, answers))
            findings += told
            if asked.dry_run:
                findings.append(counted(planning, answers, told))
    finally:
        for engine in answers.warehouses.values():
            engine.dispose()
    return tuple(findings)


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


def _users(dags: tuple[tuple[Path, DAG], ...]) -> Mapping[tuple[str, str], list[str]]:
    """Return the DAGs that use a connection, by attribute and id."""
    users = defaultdict[tuple[str, str], list[str]](list)
    for _, dag in dags:
        for connection in dict.fromkeys(connections_of(dag)):
            users[connection].append(dag.dag_id)
    return users


def _mode(planning: Planning) -> Finding:
    task = planning.task
    if not isinstance(task, PlanCampaignOperator):
        words = "always a dry run" if task.is_dry_run else "plans"
    else:
        words = "live" if task.badge_campaign.live else "not live, so that every run is a dry run"
    return Finding(Verdict.OK, planning.where, "", words)
