"""What the connections say of one task that plans: its arguments, its badge, a stop, its query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from jinja2 import UndefinedError

from capillary.api.outside_text import on_one_line
from capillary.api.settings import PlatformSettings
from capillary.check.answers import Answers
from capillary.check.connections import ANSWER_WITHIN_S, NoAnswer, answers_within, utc_now
from capillary.check.dry_run import dry_run
from capillary.check.finding import Finding, Verdict
from capillary.check.plans import Planning
from capillary.engine.preflight import assert_fit
from capillary.engine.query_probe import Depth, probe_query
from capillary.errors import CapillaryError
from capillary.operators import PlanBadgesOperator

#: Of a value that is not what the argument takes.
_OF_VALUES: Final = (TypeError, ValueError, AttributeError, UndefinedError)
#: What is right once a query was looked at so far, and what its database does not tell.
_DEPTH: Final = {
    Depth.COLUMNS: "query with its columns and parameters",
    Depth.NAMES: "query without its columns",
    Depth.NOTHING: "",
}
_UNTOLD: Final = {Depth.COLUMNS: "", Depth.NAMES: "no columns of a query", Depth.NOTHING: "nothing of a query"}


def findings_of(planning: Planning, answers: Answers) -> Iterator[Finding]:
    """Yield what the connections say of one planning task: its query, its badge, a stop."""
    task, where = planning.task, planning.where
    settings = answers.platforms.get(task.capillary_conn_id)
    if settings is None:
        yield Finding(Verdict.NOT_CHECKED, where, "badge", _away(task.capillary_conn_id))
    elif planning.is_sound:
        wrong = list(_explained(where, "arguments", lambda: _spec_of(planning, settings)))
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
    except _OF_VALUES as error:
        words = f"one is of a type that it does not take ({type(error).__name__}: {error}). Correct the task"
        yield Finding(Verdict.FAILS, where, about, words)
    else:
        if said:
            yield Finding(Verdict.OK, where, about, said)


def _spec_of(planning: Planning, settings: PlatformSettings) -> str:
    planning.task.spec_of(settings)
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
    if planning.task.is_dry_run:
        return  # it goes on
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
        call = partial(probe_query, engine, sql, planning.values)
        (said,) = answers_within(ANSWER_WITHIN_S, [(conn_id, call)])
        if isinstance(said, NoAnswer):
            del answers.warehouses[conn_id]  # the next query need not wait, too
        if isinstance(said, Exception):
            raise said
        depths.append(said)
        return _DEPTH[said]

    yield from _explained(planning.where, "query", look)
    for depth in depths:
        if untold := _UNTOLD[depth]:
            words = f"{engine.dialect.name} shows {untold} without running it; check --dry-run runs it"
            yield Finding(Verdict.NOT_CHECKED, planning.where, "query", words)


def counted(planning: Planning, answers: Answers, found: list[Finding]) -> Finding:
    """Return who would be planned, where nothing that was found stands against it."""
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
    if not planning.is_sound or any(finding.verdict is Verdict.FAILS for finding in found):
        return Finding(Verdict.NOT_CHECKED, planning.where, "dry run", "what fails above would fail here, too")
    return dry_run(planning)
