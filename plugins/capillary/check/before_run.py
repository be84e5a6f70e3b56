"""The whole check: files, then the connections that they name, then queries and badges by those connections."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from airflow.configuration import conf
from airflow.sdk import DAG
from sqlalchemy import Engine

from capillary.api.badges import Badge
from capillary.api.outside_text import on_one_line
from capillary.api.settings import PlatformSettings
from capillary.campaign import PlanCampaignOperator
from capillary.check.connections import (
    ANSWER_WITHIN_S,
    ledger_says,
    platform_says,
    read_badges,
    utc_now,
    warehouse_says,
    within,
)
from capillary.check.dag_files import Loaded, load, shown
from capillary.check.dry_run import dry_run
from capillary.check.finding import Finding, Verdict
from capillary.check.plans import Planning, connections_of, planning_tasks
from capillary.engine.preflight import assert_fit
from capillary.engine.query_probe import Depth, probe_query
from capillary.errors import CapillaryError
from capillary.ledger.stops import Stop
from capillary.operators import PlanBadgesOperator

#: What is right once a query was looked at so far, and what its database does not tell.
_DEPTH: Final = {
    Depth.COLUMNS: "query with its columns and parameters",
    Depth.NAMES: "query without its columns",
    Depth.NOTHING: "",
}
_UNTOLD: Final = {Depth.COLUMNS: "", Depth.NAMES: "no columns of a query", Depth.NOTHING: "nothing of a query"}


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


@dataclass(frozen=True, slots=True)
class Answers:
    """What the connections say, each asked once.

    Attributes:
        platforms: by connection: settings.
        warehouses: by connection: an engine that has answered.
        ledgers: by connection: what is stopped, and the ledger's clock.
        badges: by connection and badge id.
    """

    platforms: dict[str, PlatformSettings] = field(default_factory=dict)
    warehouses: dict[str, Engine] = field(default_factory=dict)
    ledgers: dict[str, tuple[tuple[Stop, ...], datetime]] = field(default_factory=dict)
    badges: dict[tuple[str, str], Badge | CapillaryError | None] = field(default_factory=dict)


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
        findings += _ask(answers, _users(dags))
        _ask_for_badges(answers, plannings)
        for planning in plannings:
            told = list(_of_planning(planning, answers))
            findings += told
            if asked.dry_run:
                findings.append(_counted(planning, answers, told))
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


def _ask(answers: Answers, users: Mapping[tuple[str, str], list[str]]) -> Iterator[Finding]:
    """Ask every connection; what answers is kept."""
    ask: Mapping[str, Callable[[Answers, str], Finding]] = {
        "capillary_conn_id": _ask_platform,
        "warehouse_conn_id": _ask_warehouse,
        "ledger_conn_id": _ask_ledger,
    }
    for attribute, conn_id in sorted(users):
        by = ", ".join(users[attribute, conn_id])
        try:
            yield ask[attribute](answers, conn_id)
        except CapillaryError as error:
            yield Finding(Verdict.FAILS, _connection(conn_id), f"used by {by}", str(error))
        except Exception as error:  # noqa: BLE001 - a provider's own; its words may quote a password
            words = f"it cannot be used ({type(error).__name__}). Correct its fields and its extra"
            yield Finding(Verdict.FAILS, _connection(conn_id), f"used by {by}", words)


def _ask_platform(answers: Answers, conn_id: str) -> Finding:
    settings, said = platform_says(conn_id)
    answers.platforms[conn_id] = settings
    if not settings.submitting:
        return Finding(
            Verdict.BEWARE, _connection(conn_id), "", f"{said} Switch Submitting on before a run shall send anything."
        )
    return Finding(Verdict.OK, _connection(conn_id), "", on_one_line(said))


def _ask_warehouse(answers: Answers, conn_id: str) -> Finding:
    engine = within(ANSWER_WITHIN_S, conn_id, lambda: warehouse_says(conn_id))
    answers.warehouses[conn_id] = engine
    return Finding(Verdict.OK, _connection(conn_id), "", f"a {engine.dialect.name} database that answers")


def _ask_ledger(answers: Answers, conn_id: str) -> Finding:
    stops, now = ledger_says(conn_id)
    answers.ledgers[conn_id] = stops, now
    return Finding(Verdict.OK, _connection(conn_id), "", "a ledger of this version that keeps its promises")


def _connection(conn_id: str) -> str:
    return f"connection {conn_id!r}"


def _ask_for_badges(answers: Answers, plannings: list[Planning]) -> None:
    wanted = defaultdict[str, dict[str, None]](dict)
    for planning in plannings:
        task = planning.task
        if task.preflight and task.capillary_conn_id in answers.platforms and isinstance(task.badge_id, str):
            wanted[task.capillary_conn_id][task.badge_id] = None
    for conn_id, badge_ids in wanted.items():
        for badge_id, badge in read_badges(answers.platforms[conn_id], list(badge_ids)).items():
            answers.badges[conn_id, badge_id] = badge


def _of_planning(planning: Planning, answers: Answers) -> Iterator[Finding]:
    """Yield what the connections say of one planning task: its arguments, its query, its badge, a stop."""
    task, where = planning.task, planning.where
    settings = answers.platforms.get(task.capillary_conn_id)
    if settings is None:
        yield Finding(Verdict.NOT_CHECKED, where, "badge", _away(task.capillary_conn_id))
    else:
        wrong = list(_explained(where, "arguments", lambda: _arguments_of(planning, settings)))
        yield from wrong
        if not wrong:
            yield from _badge(planning, answers)
            yield from _stops(planning, answers, settings)
    yield from _query(planning, answers)


def _away(conn_id: str) -> str:
    return f"connection {conn_id!r} does not answer; correct that first"


def _explained(where: str, about: str, look: Callable[[], str]) -> Iterator[Finding]:
    """Yield what a look says, or why it fails."""
    try:
        said = look()
    except CapillaryError as error:
        yield Finding(Verdict.FAILS, where, about, str(error))
    except (TypeError, ValueError, AttributeError) as error:  # of a value that is not what the argument takes
        words = f"one is of a type that it does not take ({type(error).__name__}: {error}). Correct the task"
        yield Finding(Verdict.FAILS, where, about, words)
    else:
        if said:
            yield Finding(Verdict.OK, where, about, said)


def _arguments_of(planning: Planning, settings: PlatformSettings) -> str:
    planning.task.spec_of(settings)
    planning.task.occasion_name()
    planning.task.campaign_name(planning.dag_id)
    return ""


def _badge(planning: Planning, answers: Answers) -> Iterator[Finding]:
    task = planning.task
    if not task.preflight:
        yield Finding(Verdict.NOT_CHECKED, planning.where, "badge", "it says preflight=False")
        return
    if (task.capillary_conn_id, task.badge_id) not in answers.badges:
        return
    badge = answers.badges[task.capillary_conn_id, task.badge_id]
    settings = answers.platforms[task.capillary_conn_id]
    _, now = answers.ledgers.get(task.ledger_conn_id, ((), utc_now()))

    def look() -> str:
        if isinstance(badge, CapillaryError):
            raise badge
        assert_fit(badge, badge_id=task.badge_id, account=settings.account, now=now)
        return f"badge {on_one_line(badge.name or task.badge_id)}" if badge else ""

    yield from _explained(planning.where, "badge", look)


def _stops(planning: Planning, answers: Answers, settings: PlatformSettings) -> Iterator[Finding]:
    campaign = planning.task.campaign_name(planning.dag_id)
    stops, _ = answers.ledgers.get(planning.task.ledger_conn_id, ((), None))
    for stop in stops:
        if stop.scope.account == settings.account and stop.scope.campaign in ("", campaign):
            yield Finding(
                Verdict.FAILS,
                planning.where,
                "stop",
                f"sending is stopped: {stop}. To go on: python -m capillary resume {stop.scope.options}",
            )


def _query(planning: Planning, answers: Answers) -> Iterator[Finding]:
    task = planning.task
    if not isinstance(task, PlanBadgesOperator):
        return  # its customers stand in the DAG
    sql: object = task.sql
    if not isinstance(sql, str):
        words = f"its sql is a {type(sql).__name__}. Give a SELECT, or the name of a .sql file, as text"
        yield Finding(Verdict.FAILS, planning.where, "query", words)
        return
    if sql.strip().endswith(".sql") and not any(map(str.isspace, sql.strip())):
        yield Finding(Verdict.FAILS, planning.where, "query", f"there is no file {sql!r} beside the DAG. Correct sql")
        return
    conn_id = task.warehouse_conn_id
    engine = answers.warehouses.get(conn_id)
    if engine is None:
        yield Finding(Verdict.NOT_CHECKED, planning.where, "query", _away(conn_id))
        return
    depths: list[Depth] = []

    def look() -> str:
        depths.append(within(ANSWER_WITHIN_S, conn_id, lambda: probe_query(engine, sql, planning.values)))
        return _DEPTH[depths[0]]

    yield from _explained(planning.where, "query", look)
    for depth in depths:
        if untold := _UNTOLD[depth]:
            words = f"{engine.dialect.name} tells {untold} without running it; check --dry-run does run it"
            yield Finding(Verdict.NOT_CHECKED, planning.where, "query", words)


def _counted(planning: Planning, answers: Answers, found: list[Finding]) -> Finding:
    task = planning.task
    away = [
        conn_id
        for conn_id, known in (
            (task.capillary_conn_id, answers.platforms),
            (task.ledger_conn_id, answers.ledgers),
            (getattr(task, "warehouse_conn_id", None), answers.warehouses),
        )
        if conn_id is not None and conn_id not in known
    ]
    if away:
        return Finding(Verdict.NOT_CHECKED, planning.where, "dry run", _away(away[0]))
    if any(finding.verdict is Verdict.FAILS for finding in found):
        return Finding(Verdict.NOT_CHECKED, planning.where, "dry run", "what fails above would fail here, too")
    return dry_run(planning)
