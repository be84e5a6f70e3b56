"""What Airflow knows of campaigns and runs, from its own database: the API server may read it, and no task may."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from airflow.models import DagRun
from airflow.models.dag import DagModel, DagTag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session, joinedload

from capillary.sensors import DEADLINE
from capillary.ui.reading import LEDGER_CONN_ID

#: Every campaign's DAG has it, and `badge_upkeep`.
TAG: Final = "badges"
#: The DAG that keeps house (`dags/badge_upkeep.py`).
UPKEEP: Final = "badge_upkeep"
#: The task that plans, by its class: it says which DAG is a campaign's, whatever its tags.
_PLANS: Final = "PlanCampaignOperator"
#: Under which tasks of a campaign keep what they return.
_RETURNED: Final = "return_value"
#: The tasks of a campaign's DAG, by what they return to these pages.
EXTRACT: Final = "extract_eligible_customers"
REPORT: Final = "report"
#: So many runs of a DAG are recent: as many dry runs may come after one that failed.
_RECENT: Final = 20
#: A DAG run that Airflow has not ended is one of these; of more than so many the oldest are not looked at.
_NOT_OVER: Final = (DagRunState.QUEUED, DagRunState.RUNNING)
_NOT_OVER_AT_MOST: Final = 100
#: The limits of a campaign, on its DAG's own page: its fields are in no other thing that Airflow keeps.
_AT_MOST: Final = re.compile(r"^\| at most \| (.*) \|$", re.MULTILINE)
_LIMIT: Final = re.compile(r"(customers per request|customer cap) ([0-9]{1,9})", re.ASCII)
#: Waits for the checker; cleared, it looks at once.
WAIT: Final = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDag:
    """The DAG of a campaign.

    Attributes:
        dag_id: its id, which is the campaign's name.
        paused: Airflow starts none of its runs.
        broken: its file does not load any more; what Airflow has is an older one.
        live: the campaign submits unless a run says otherwise.
        fields: names of its trigger form.
        schedule: in Airflow's words; None without one.
        next_run_at: None while it is paused or has no schedule.
        due_at: when the next run of its schedule is due, paused or not; may have passed. None if there is none.
        by_assets: an update of its assets starts a run.
        catchup: every run that its schedule has missed is made.
        occasion: the pattern of its occasion.
        connection: Airflow's connection of the platform.
        customers_per_request, customer_cap: of the campaign, as its DAG's own page says them; None where it does not.
        defaults: of its trigger form, by field.
    """

    dag_id: str
    paused: bool
    broken: bool
    live: bool
    fields: frozenset[str]
    schedule: str | None
    next_run_at: datetime | None
    occasion: str
    connection: str
    customers_per_request: int | None = None
    customer_cap: int | None = None
    due_at: datetime | None = None
    by_assets: bool = False
    catchup: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def canary(self) -> bool:
        """Whether a run whose form says nothing else has *Canary* on."""
        return self.defaults.get("canary") is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A DAG run.

    Attributes:
        dag_id, run_id: of Airflow.
        state: Airflow's word: queued, running, success or failed.
        run_type: Airflow's word: manual, scheduled, backfill, asset_triggered.
        by: the user who triggered it; None where nobody did.
        moment: the logical date or, where there is none, when it was to start.
        started_at, ended_at: None while it has not.
        made_at: when Airflow made it, which a clear does not change; None of a run of an older Airflow.
        conf: what it was told, as it was given.
        note: Airflow's own note of the run.
    """

    dag_id: str
    run_id: str
    state: str
    run_type: str
    by: str | None
    moment: datetime
    started_at: datetime | None
    ended_at: datetime | None
    conf: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None
    made_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether Airflow is through with it."""
        return self.state in {DagRunState.SUCCESS, DagRunState.FAILED}


def campaign_dags(dag_ids: Collection[str]) -> dict[str, CampaignDag]:
    """Return the campaigns among these DAGs, by id; those of the ledger that the pages read.

    A DAG whose file is gone is none any more. One whose file does not load is stale for Airflow, too, and is shown.
    """
    with create_session() as session:
        rows = session.scalars(
            select(DagModel)
            .join(DagTag, DagTag.dag_id == DagModel.dag_id)
            .where(DagTag.name == TAG, DagModel.is_stale.is_(False) | DagModel.has_import_errors.is_(True))
            .order_by(DagModel.dag_id)
        ).all()
        models = {row.dag_id: row for row in rows if row.dag_id in dag_ids}
        found = {}
        for serialized in SerializedDagModel.get_latest_serialized_dags(dag_ids=list(models), session=session):
            plan = _planning_task(serialized.data or {})
            if plan is not None and (plan.get("ledger_conn_id") or LEDGER_CONN_ID) == LEDGER_CONN_ID:
                found[serialized.dag_id] = _campaign(models[serialized.dag_id], serialized.data or {}, plan)
        return dict(sorted(found.items()))


def run_facts(dag_id: str, run_id: str) -> RunFacts | None:
    """Return a DAG run, or None where there is none."""
    with create_session() as session:
        row = session.scalar(
            select(DagRun)
            .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            .options(joinedload(DagRun.dag_run_note))
        )
        return None if row is None else _run(row)


def runs_not_over(dag_id: str) -> tuple[tuple[RunFacts, ...], RunFacts | None]:
    """Return a DAG's queued and running runs, the newest first, and its newest run, over or not."""
    newest = select(func.max(DagRun.id)).where(DagRun.dag_id == dag_id).scalar_subquery()
    with create_session() as session:
        rows = session.scalars(
            select(DagRun)
            .where(DagRun.dag_id == dag_id, DagRun.state.in_(_NOT_OVER) | (DagRun.id == newest))
            .order_by(DagRun.id.desc())
            .limit(_NOT_OVER_AT_MOST)
            .options(joinedload(DagRun.dag_run_note))
        ).all()
        runs = [_run(row) for row in rows]
        return tuple(run for run in runs if not run.is_over), runs[0] if runs else None


def task_state(dag_id: str, run_id: str, task_id: str) -> str | None:
    """Return Airflow's word for where a task of a run is; None where it has not come so far."""
    with create_session() as session:
        state: str | None = session.scalar(
            select(TaskInstance.state).where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id == run_id,
                TaskInstance.task_id == task_id,
                TaskInstance.map_index == -1,
            )
        )
        return state


def last_runs(dag_ids: Collection[str]) -> dict[str, RunFacts]:
    """Return the last run of each of these DAGs that has one."""
    with create_session() as session:
        newest = select(func.max(DagRun.id)).where(DagRun.dag_id.in_(dag_ids)).group_by(DagRun.dag_id)
        rows = session.scalars(
            select(DagRun).where(DagRun.id.in_(newest)).options(joinedload(DagRun.dag_run_note))
        ).all()
        return {row.dag_id: _run(row) for row in rows}


def recent_runs(dag_ids: Collection[str]) -> dict[str, list[RunFacts]]:
    """Return the newest runs of each of these DAGs, the newest first."""
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.id.desc())
    with create_session() as session:
        newest = select(DagRun.id, place.label("place")).where(DagRun.dag_id.in_(dag_ids)).subquery()
        rows = session.scalars(
            select(DagRun)
            .join(newest, newest.c.id == DagRun.id)
            .where(newest.c.place <= _RECENT)
            .order_by(DagRun.dag_id, DagRun.id.desc())
            .options(joinedload(DagRun.dag_run_note))
        ).all()
        found: dict[str, list[RunFacts]] = {}
        for row in rows:
            found.setdefault(row.dag_id, []).append(_run(row))
        return found


def states_of(runs: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return Airflow's word for how each of these runs stands; one that was deleted there is left out."""
    if not runs:
        return {}
    with create_session() as session:
        rows = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.state).where(tuple_(DagRun.dag_id, DagRun.run_id).in_(runs))
        )
        return {(row.dag_id, row.run_id): str(row.state) for row in rows}


def kept_at() -> datetime | None:
    """Return when housekeeping last came to its end; None if never."""
    with create_session() as session:
        found: datetime | None = session.scalar(
            select(func.max(DagRun.end_date)).where(DagRun.dag_id == UPKEEP, DagRun.state == DagRunState.SUCCESS)
        )
        return found


def returned(runs: Sequence[tuple[str, str]], task_id: str, key: str = _RETURNED) -> dict[tuple[str, str], Any]:
    """Return what a task of each of these runs has returned, or has kept under a key, where it has."""
    if not runs:
        return {}
    with create_session() as session:
        return dict(_returned(session, runs, task_id, key))


def deadlines(runs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
    """Return until when a human may decide, for each of these runs whose `wait` has kept it."""
    found = {run: _moment(told) for run, told in returned(runs, WAIT, DEADLINE).items()}
    return {run: moment for run, moment in found.items() if moment is not None}


def _returned(
    session: Session, runs: Sequence[tuple[str, str]], task_id: str, key: str
) -> list[tuple[tuple[str, str], Any]]:
    rows = session.scalars(
        select(XComModel).where(
            tuple_(XComModel.dag_id, XComModel.run_id).in_(runs),
            XComModel.task_id == task_id,
            XComModel.key == key,
            XComModel.map_index == -1,
        )
    )
    return [((row.dag_id, row.run_id), XComModel.deserialize_value(row)) for row in rows]


def _moment(told: object) -> datetime | None:
    """Return a moment with its zone; None of anything else that Airflow may keep in its place."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(str(told))
        return None if moment.utcoffset() is None else moment
    return None


def _planning_task(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tasks = (each.get("__var", {}) for each in data.get("dag", {}).get("tasks", ()))
    return next((each for each in tasks if each.get("task_type") == _PLANS), None)


def _campaign(model: DagModel, data: Mapping[str, Any], plan: Mapping[str, Any]) -> CampaignDag:
    params = {name: param.get("default") for name, param in data["dag"].get("params", ())}
    return CampaignDag(
        dag_id=model.dag_id,
        paused=bool(model.is_paused),
        broken=bool(model.has_import_errors),
        live=params.get("dry_run") is False,
        fields=frozenset(params),
        schedule=model.timetable_description or model.timetable_summary or None,
        next_run_at=None if model.is_paused else model.next_dagrun_create_after,
        due_at=model.next_dagrun_create_after,
        by_assets=model.asset_expression is not None,
        catchup=bool(data["dag"].get("catchup")),
        occasion=str(plan.get("occasion") or ""),
        connection=str(plan.get("capillary_conn_id") or "capillary"),
        defaults=params,
        **limits_of(str(data["dag"].get("doc_md") or "")),
    )


def limits_of(doc: str) -> dict[str, int]:
    """Return the limits that the table of facts on a campaign's DAG names (`capillary.campaign.dag`)."""
    row = _AT_MOST.search(doc)
    return {name.replace(" ", "_"): int(most) for name, most in _LIMIT.findall(row[1] if row else "")}


def _run(row: DagRun) -> RunFacts:
    return RunFacts(
        dag_id=row.dag_id,
        run_id=row.run_id,
        state=str(row.state),
        run_type=str(row.run_type),
        by=row.triggering_user_name,
        moment=row.logical_date or row.run_after,
        started_at=row.start_date,
        ended_at=row.end_date,
        conf=row.conf if isinstance(row.conf, Mapping) else {},
        note=row.note,
        made_at=row.created_at,
    )
