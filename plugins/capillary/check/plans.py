"""What of a DAG plans customers or sends them, with its templates rendered as for a run that starts now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from airflow.sdk import DAG, BaseOperator, Context
from airflow.sdk.definitions.mappedoperator import MappedOperator

from capillary.arguments import (
    Arguments,
    InlineArguments,
    KeepingArguments,
    ReportArguments,
    SendingArguments,
    WaitingArguments,
)
from capillary.base_operator import PlanningOperator
from capillary.campaign.dag import PlanCampaignOperator
from capillary.check.dag_files import shown
from capillary.check.finding import Finding, Verdict
from capillary.check.rendering import Rendered, redacted, rendered
from capillary.check.sample_run import SampleRun
from capillary.checked_operator import CheckedOperator
from capillary.errors import CapillaryError
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.templating.text import holds_jinja

#: Attributes of this package's operators and sensors that name a connection.
CONNECTIONS: Final = ("capillary_conn_id", "warehouse_conn_id", "ledger_conn_id")
#: Of a mapped task with more parts the first are looked at.
_MOST_PARTS: Final = 100
_WHEN_IT_RUNS: Final = "is known when it runs"


@dataclass(frozen=True, slots=True)
class Planning:
    """A task that plans customers.

    Attributes:
        where: its file and campaign, or its file, DAG and task.
        dag_id: of its DAG.
        task: a copy that may be changed, its templates rendered.
        context: what Airflow would hand to it.
        is_sound: whether its arguments are right.
    """

    where: str
    dag_id: str
    task: PlanningOperator
    context: Context
    is_sound: bool

    @property
    def values(self) -> Mapping[str, object]:
        """The values of the query's names."""
        task = self.task
        if isinstance(task, PlanCampaignOperator):
            return task.values_for(task.badge_campaign.when.resolve(self.context["dag_run"].run_after))
        return (task.parameters if isinstance(task, PlanBadgesOperator) else None) or {}

    @property
    def is_dry_run(self) -> bool:
        """Whether every run of it is a dry one."""
        return self.task.is_dry_run


@dataclass(frozen=True, slots=True)
class Sending:
    """A task that sends what was planned live.

    Attributes:
        where: its file and campaign, or its file, DAG and task.
        task: a copy, its templates rendered.
        planning: the task whose plan it sends; None where that is not known before a run.
    """

    where: str
    task: IssueBadgeOperator
    planning: Planning | None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a DAG has of this package's tasks.

    Attributes:
        plannings: tasks that plan, those apart of which nothing is known before a run.
        sendings: tasks that send, those apart whose plan is always that of a dry run.
        connections: attribute and id of the connections that its tasks name, those known before a run.
        findings: what is wrong with templates and arguments, or not known.
    """

    plannings: list[Planning] = field(default_factory=list)
    sendings: list[Sending] = field(default_factory=list)
    connections: dict[tuple[str, str], None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def look_at(file: Path, dag: DAG, run: SampleRun) -> Looked:
    """Return what a DAG has of this package's tasks, rendered and with their arguments checked."""
    looked = Looked()
    by_task: dict[str, Planning] = {}
    is_campaign = any(isinstance(task, PlanCampaignOperator) for task in dag.tasks)
    for task in dag.topological_sort():  # type: ignore[no-untyped-call] # Airflow's own
        where = f"{shown(file)}, DAG {dag.dag_id!r}, task {task.task_id!r}"
        if isinstance(task, MappedOperator):
            _look_at_parts(looked, task, dag, file, where, run)
            looked.findings.extend(_of_mapped(task, where))
        elif isinstance(task, BaseOperator) and _is_ours(task):
            where = f"{shown(file)}, campaign {dag.dag_id!r}" if is_campaign else where
            copied = rendered(task, dag, file, where, run)
            wrong = list(_arguments(copied, where, run))
            looked.findings.extend([*copied.findings, *wrong, *_unknown(copied, where)])
            looked.connections.update(dict.fromkeys(_connections(copied.task)))
            copy = copied.task
            if isinstance(copy, PlanningOperator) and _plans(copy) and copied.is_whole and not _unplanned(copied):
                by_task[task.task_id] = Planning(where, dag.dag_id, copy, copied.context, not wrong)
            if isinstance(copy, IssueBadgeOperator):
                looked.findings.extend(_handed_over(copy, dag, where))
                looked.sendings.extend(_sending(copy, where, by_task))
    looked.plannings.extend(by_task.values())
    return looked


def _is_ours(task: BaseOperator) -> bool:
    return any(each.__module__.partition(".")[0] == "capillary" for each in type(task).__mro__)


def _plans(task: PlanningOperator) -> bool:
    return not isinstance(task, IssueBadgeOperator) or task.customers is not None


def _unplanned(copied: Rendered) -> bool:
    """Return whether what it plans is another task's output."""
    return bool(copied.outputs)


def _look_at_parts(looked: Looked, task: MappedOperator, dag: DAG, file: Path, where: str, run: SampleRun) -> None:
    """Add what is wrong with the parts of a mapped task, as far as its DAG file writes them out."""
    if not issubclass(task.operator_class, CheckedOperator):
        return
    for index, values in enumerate(_parts(task)):
        part = f"{where}, part {index}"
        try:
            unmapped = task.unmap(values)
        except CapillaryError as error:
            looked.findings.append(Finding(Verdict.FAILS, part, "arguments", str(error)))
            continue
        copied = rendered(unmapped, dag, file, part, run)
        looked.findings.extend([*copied.findings, *_arguments(copied, part, run)])
        looked.connections.update(dict.fromkeys(_connections(copied.task)))


def _parts(task: MappedOperator) -> list[Mapping[str, Any]]:
    """Return values of the first parts, in which each value stands once; nothing where another task gives them."""
    expanded = task.expand_input.value
    if isinstance(expanded, Mapping):
        values = {name: each for name, each in expanded.items() if isinstance(each, list | tuple) and each}
        longest = max(map(len, values.values()), default=0) if len(values) == len(expanded) else 0
        parts: list[Mapping[str, Any]] = [
            {name: each[min(index, len(each) - 1)] for name, each in values.items()} for index in range(longest)
        ]
    else:
        given = expanded if isinstance(expanded, list | tuple) else ()
        parts = [each for each in given if isinstance(each, Mapping)]
    return parts[:_MOST_PARTS]


def _of_mapped(task: MappedOperator, where: str) -> Iterator[Finding]:
    expanded = task.expand_input.value
    given = {*task.partial_kwargs, *(expanded if isinstance(expanded, Mapping) else ())}
    if issubclass(task.operator_class, PlanningOperator) and "plan" not in given:
        yield Finding(Verdict.NOT_CHECKED, where, "", f"it is mapped, and what each part plans {_WHEN_IT_RUNS}")


def _unknown(copied: Rendered, where: str) -> Iterator[Finding]:
    """Yield which arguments of a task that plans are another task's output; those that a plan is for, are meant."""
    if copied.outputs and isinstance(copied.task, PlanningOperator) and _plans(copied.task):
        words = f"its {', '.join(copied.outputs)}, another task's output, {_WHEN_IT_RUNS}"
        yield Finding(Verdict.NOT_CHECKED, where, "", words)


def _connections(task: BaseOperator) -> Iterator[tuple[str, str]]:
    for attribute in CONNECTIONS:
        conn_id = getattr(task, attribute, None)
        if isinstance(conn_id, str) and conn_id and not holds_jinja(conn_id):
            yield attribute, conn_id


def _arguments(copied: Rendered, where: str, run: SampleRun) -> Iterator[Finding]:
    """Yield what is wrong with arguments once they are rendered, such as a text that became too long."""
    task = copied.task
    if not copied.is_whole or not isinstance(task, CheckedOperator):
        return
    try:
        if copied.outputs:
            task.check_now(_model(task))
        else:
            task.read_arguments(_model(task))
        if isinstance(task, PlanningOperator) and _plans(task) and not copied.outputs:
            task.occasion_name()
            task.campaign_name(task.dag_id)
    except CapillaryError as error:
        yield Finding(Verdict.FAILS, where, "arguments", redacted(f"{error}{_with(copied, run)}"))
    except (TypeError, ValueError, AttributeError) as error:  # of a value that is not what the argument takes
        words = f"one is of a type that it does not take ({type(error).__name__}: {error}). Correct the task"
        yield Finding(Verdict.FAILS, where, "arguments", redacted(f"{words}{_with(copied, run)}"))


def _with(copied: Rendered, run: SampleRun) -> str:
    return f" ({run})" if copied.had_jinja else ""


def _model(task: CheckedOperator) -> type[Arguments]:
    """Return what a task's arguments have to be."""
    if isinstance(task, PlanBadgesOperator):
        return task.arguments
    if isinstance(task, IssueBadgeOperator):
        return SendingArguments if task.customers is None else InlineArguments
    if isinstance(task, BadgeRequestSensor):
        return WaitingArguments
    return ReportArguments if isinstance(task, ReportBadgesOperator) else KeepingArguments


def _handed_over(task: IssueBadgeOperator, dag: DAG, where: str) -> Iterator[Finding]:
    """Yield why a task is handed no plan, or by what: a task of somebody else's may hand over anything."""
    planner = dag.get_task(task.planned_by) if task.planned_by in dag.task_dict else None
    if isinstance(planner, BaseOperator) and not _is_ours(planner):
        words = f"it is handed over by task {task.planned_by!r}, which is none of this package's, and {_WHEN_IT_RUNS}"
        yield Finding(Verdict.NOT_CHECKED, where, "plan", words)
    elif isinstance(planner, BaseOperator) and not planner.do_xcom_push:
        words = f"task {task.planned_by!r} says do_xcom_push=False, and hands over none. Leave do_xcom_push out there"
        yield Finding(Verdict.FAILS, where, "plan", words)


def _sending(task: IssueBadgeOperator, where: str, plannings: Mapping[str, Planning]) -> Iterator[Sending]:
    planning = plannings.get(task.task_id if task.customers is not None else task.planned_by or "")
    if planning is None or not planning.is_dry_run:
        yield Sending(where, task, planning)
