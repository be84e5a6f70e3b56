"""What of a DAG plans customers, with its templates rendered as for a run that starts now."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from airflow.sdk import DAG, Context, XComArg
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.execution_time import macros
from jinja2 import TemplateError, UndefinedError

from capillary.base_operator import PlanningOperator
from capillary.campaign.dag import PlanCampaignOperator
from capillary.check.dag_files import shown
from capillary.check.finding import Finding, Verdict
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.templating.query import OF_LOGICAL_DATE

#: Attributes of this package's operators and sensors that name a connection.
CONNECTIONS: Final = ("capillary_conn_id", "warehouse_conn_id", "ledger_conn_id")
_WHEN_IT_RUNS: Final = "is known when it runs"
_UNDEFINED: Final = re.compile(r"'(\w+)' is undefined")


@dataclass(frozen=True, slots=True)
class Planning:
    """A task that plans customers.

    Attributes:
        where: its file and campaign, or its file, DAG and task.
        dag_id: of its DAG.
        task: a copy that may be changed, its templates rendered.
        context: what Airflow would hand to it.
    """

    where: str
    dag_id: str
    task: PlanningOperator
    context: Context

    @property
    def values(self) -> Mapping[str, object]:
        """The values of the query's names."""
        task = self.task
        if isinstance(task, PlanCampaignOperator):
            return task.values_for(task.badge_campaign.when.resolve(self.context["dag_run"].run_after))
        return (task.parameters if isinstance(task, PlanBadgesOperator) else None) or {}


def planning_tasks(file: Path, dag: DAG) -> Iterator[Planning | Finding]:
    """Yield the tasks of a DAG that plan, and a finding for each that does not say yet what it plans."""
    for task in dag.tasks:
        where = f"{shown(file)}, DAG {dag.dag_id!r}, task {task.task_id!r}"
        if isinstance(task, MappedOperator):
            if issubclass(task.operator_class, PlanningOperator) and "plan" not in _arguments(task):
                yield Finding(Verdict.NOT_CHECKED, where, "", f"it is mapped, and what each part plans {_WHEN_IT_RUNS}")
        elif isinstance(task, PlanningOperator) and _plans(task):
            if isinstance(task, PlanCampaignOperator):
                where = f"{shown(file)}, campaign {dag.dag_id!r}"
            yield _rendered(task, dag, where)


def connections_of(dag: DAG) -> Iterator[tuple[str, str]]:
    """Yield the connections that this package's tasks of a DAG name: attribute and id, those known before a run."""
    for task in dag.tasks:
        if any(each.__module__.partition(".")[0] == "capillary" for each in type(task).__mro__):
            for attribute in CONNECTIONS:
                conn_id = getattr(task, attribute, None)
                if isinstance(conn_id, str) and conn_id and "{{" not in conn_id:
                    yield attribute, conn_id


def _plans(task: PlanningOperator) -> bool:
    return not isinstance(task, IssueBadgeOperator) or task.customers is not None


def _arguments(task: MappedOperator) -> set[str]:
    expanded = task.expand_input.value
    return {*task.partial_kwargs, *(expanded if isinstance(expanded, Mapping) else ())}


def _rendered(task: PlanningOperator, dag: DAG, where: str) -> Planning | Finding:
    if others := [name for name in task.template_fields if _is_output(getattr(task, name, None))]:
        return Finding(
            Verdict.NOT_CHECKED, where, "", f"its {', '.join(others)}, another task's output, {_WHEN_IT_RUNS}"
        )
    copy = task.prepare_for_execution()
    try:
        context = _context(copy, dag)
        copy.render_template_fields(context)
    except Exception as error:  # noqa: BLE001 - a template runs whatever it names
        # This package's operators say it in their own words.
        return _unrendered(where, error, error.__context__ if isinstance(error, AirflowException) else error)
    return Planning(where, dag.dag_id, copy, context)


def _unrendered(where: str, error: Exception, cause: BaseException | None) -> Finding:
    """Return what it means that a template cannot be rendered: its own fault, or a fact that a run alone knows."""
    is_wrong = isinstance(cause, TemplateError)
    if isinstance(cause, UndefinedError):
        unknown = _UNDEFINED.search(str(cause))
        # A name that no run has, or one that a run without a logical date has not.
        is_wrong = unknown is not None and unknown.group(1) not in Context.__annotations__.keys() - OF_LOGICAL_DATE
    if is_wrong:
        return Finding(Verdict.FAILS, where, "template", str(error))
    return Finding(Verdict.NOT_CHECKED, where, "template", f"what it names {_WHEN_IT_RUNS}: {error}")


def _is_output(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_output, value.values()))
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return any(map(_is_output, value))
    return isinstance(value, XComArg)


def _context(task: PlanningOperator, dag: DAG) -> Context:
    """Return what Airflow hands to a task of a run that starts now, of what is known before it runs.

    It is one by the DAG's schedule: that of an asset has no logical date.
    """
    now = datetime.now(UTC)
    run_id = f"check__{now.isoformat()}"
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id=run_id, task_id=task.task_id, map_index=-1, try_number=1)
    is_by_asset = isinstance(dag.schedule, BaseAsset | list | tuple | set)
    params = dag.params.dump()
    if "dry_run" in params:
        params["dry_run"] = True
    run = SimpleNamespace(
        dag_id=dag.dag_id, run_id=run_id, logical_date=None if is_by_asset else now, run_after=now, conf={}
    )
    facts: dict[str, Any] = {
        "dag": dag,
        "dag_run": run,
        "data_interval_end": now,
        "data_interval_start": now,
        "ds": now.strftime("%Y-%m-%d"),
        "ds_nodash": now.strftime("%Y%m%d"),
        "logical_date": now,
        "macros": macros,
        "params": params,
        "run_id": run_id,
        "task": task,
        "task_instance": ti,
        "ti": ti,
        "ts": now.isoformat(),
        "ts_nodash": now.strftime("%Y%m%dT%H%M%S"),
    }
    if is_by_asset:
        facts = {name: fact for name, fact in facts.items() if name not in OF_LOGICAL_DATE}
    return cast("Context", facts)
