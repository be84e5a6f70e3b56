"""Names in `default_args` that are nearly an argument of ours: Airflow passes over what no operator takes.

`default_args={"dryrun": True}` would send. A name is left alone where Airflow, or any operator that the process has
loaded, takes it; and one that is not near to an argument of ours is nobody's business here.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.bases.operator import get_merged_defaults
from airflow.sdk.definitions._internal.contextmanager import DagContext, TaskGroupContext

from capillary.arguments import (
    Arguments,
    InlineArguments,
    QueryArguments,
    ReportArguments,
    SendingArguments,
    WaitingArguments,
)
from capillary.wrong_fields import WrongField, shown
from capillary.wrong_fields import meant as nearest_of

_MODELS: Final[tuple[type[Arguments], ...]] = (
    QueryArguments,
    InlineArguments,
    SendingArguments,
    WaitingArguments,
    ReportArguments,
)
#: The arguments of our operators.
OURS: Final = frozenset(name for model in _MODELS for name in model.model_fields)
#: How alike a name is to an argument that it is taken for, 0 to 1: `dyr_run` is 0.83 of `dry_run`.
_NEAR: Final = 0.8
#: What is meant by a name that is near to none of ours, and what our operators keep an argument as.
_ELSEWHERE: Final = {
    "live": "dry_run (live=False is dry_run=True)",
    "policies": "policy",
    "is_dry_run": "dry_run",
}
#: Arguments near to one of ours that operators of Airflow's providers take: of 2,007 names in amazon 9.39,
#: cncf.kubernetes 10.25, databricks 7.23, dbt.cloud 4.11, google 22.8, microsoft.azure 15.2, salesforce 5.15, snowflake
#: 6.20, apache.spark 6.3, common.sql 2.4 and standard 1.21.
AIRFLOWS: Final = frozenset(
    {
        "acl_policy",
        "asset_id",
        "custom_headers",
        "customer_id",
        "dnspolicy",
        "entity_id",
        "hyperparameters",
        "identity",
        "job_parameters",
        "job_poll_interval",
        "model_parameters",
        "parameter_spec",
        "parameter_values",
        "path_parameters",
        "poke_interval",
        "poll_interval",
        "polling_interval",
        "query_parameters",
        "reference_image",
        "reference_image_id",
        "request",
        "request_id",
    }
)
_CONN_ID: Final = "_conn_id"


def misspelt(default_args: Mapping[str, object], dag: DAG | None, group: TaskGroup | None) -> Iterator[WrongField]:
    """Yield the names that are nearly ours, each with its place and the nearest right name.

    Args:
        default_args: those of the DAG, the task group and the task, merged.
        dag: the task's DAG.
        group: its task group.
    """
    for name in default_args:
        if (meant := _meant(name)) is not None:
            yield WrongField(
                name,
                f"no operator takes the name {shown(name)} in {_place(name, dag, group)}, and Airflow would ignore it "
                "without a warning",
                f"Write {meant}; if another task takes it, give it to that task alone",
            )


def of_partial(operator: type[BaseOperator], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[WrongField]]:
    """Return what `partial` was given with its own `default_args` in their place, and the wrong names.

    Airflow merges the DAG's and the group's when the task runs, and by then has dropped those of `partial` itself: a
    dry run would send.
    """
    dag = kwargs.get("dag") or DagContext.get_current()
    group = kwargs.get("task_group") or (TaskGroupContext.get_current(dag) if dag else None)
    own = kwargs.get("default_args") or {}
    merged, _ = get_merged_defaults(dag=dag, task_group=group, task_params=None, task_default_args=own)
    taken = {name: value for name, value in own.items() if name in OURS and _takes(operator, name)}
    return {**taken, **kwargs}, [*unknown(operator, kwargs), *misspelt(merged, dag, group)]


def unknown(operator: type[BaseOperator], given: Iterable[str]) -> Iterator[WrongField]:
    """Yield the arguments that an operator does not take: with the nearest that it does, or whose they are."""
    for name in given:
        if _takes(operator, name):
            continue
        meant = _ELSEWHERE.get(name) or _nearest(name)
        if name in OURS:
            remedy = "Give it to the task that takes it"
        elif meant is not None and _takes(operator, meant.split()[0]):
            remedy = f"Write {meant}"
        else:
            remedy = "Correct its name, or leave it out"
        yield WrongField(name, f"{operator.__name__} has no such argument", remedy)


def _takes(operator: type[BaseOperator], name: str) -> bool:
    return name in _arguments(operator)


@cache
def _arguments(operator: type[BaseOperator]) -> frozenset[str]:
    inits = (kind.__init__ for kind in operator.__mro__ if "__init__" in vars(kind))  # type: ignore[misc] # of classes
    return frozenset(name for init in inits for name in inspect.signature(init).parameters)


def around_a_campaign() -> Iterator[WrongField]:
    """Yield the names in the `default_args` of a DAG around a campaign's own that are ours alone, or nearly."""
    around = DagContext.get_current()
    if around is None:
        return
    for name in around.default_args:
        if (name in OURS and not _is_taken(name)) or _meant(name) is not None:
            yield WrongField(
                "dag",
                f"it makes a DAG of its own, and the DAG {around.dag_id!r} gives {name} in its default_args, which "
                "would not reach it",
                "Call it outside that DAG, and give the campaign's own field",
            )


def of_a_campaign(default_args: Mapping[str, object]) -> Iterator[WrongField]:
    """Yield the names in a campaign's own `default_args` that are ours, or nearly, or that no task takes."""
    for name in default_args:
        if name in OURS or _meant(name) is not None:
            yield WrongField(
                "dag_args",
                f"default_args: {name} is an argument of an operator, which the campaign's own fields give",
                "Give the campaign's field",
            )
        elif not _is_taken(name):
            airflows = _arguments(BaseOperator) - {"self", "kwargs"}
            yield WrongField(
                "dag_args",
                f"default_args: no task takes {name}{nearest_of(name, airflows)}, and Airflow would ignore it "
                "without a warning",
                "Correct its name, or leave it out",
            )


def _meant(name: object) -> str | None:
    """Return the argument of ours that a name is misspelt for; None where it is right, another's, or far from ours."""
    if not isinstance(name, str) or name in OURS | AIRFLOWS:
        return None
    found = _ELSEWHERE.get(name) or _nearest(name)
    return None if found is None or _is_taken(name) else found


@cache
def _nearest(name: str) -> str | None:
    plain = _plain(name)
    # Ids of connections are alike by their ending: what stands before it is compared alone.
    is_conn_id = plain.endswith(_plain(_CONN_ID))
    among = {_plain(each): each for each in OURS if each.endswith(_CONN_ID) == is_conn_id}
    if is_conn_id:
        ending = len(_plain(_CONN_ID))
        plain, among = plain[:-ending], {each[:-ending]: right for each, right in among.items()}
    found = difflib.get_close_matches(plain, among, n=1, cutoff=_NEAR)
    return among[found[0]] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _is_taken(name: str) -> bool:
    """Return whether an operator that this process has loaded, and that is none of ours, takes such an argument."""
    operators: list[type[Any]] = [BaseOperator]
    for operator in operators:
        operators += operator.__subclasses__()
        is_ours = operator.__module__.startswith("capillary.")
        if not is_ours and "__init__" in vars(operator) and name in inspect.signature(operator.__init__).parameters:
            return True
    return False


def _place(name: str, dag: DAG | None, group: TaskGroup | None) -> str:
    """Return whose `default_args` hold a name."""
    # A group's hold those of the groups around it: the outermost one that has the name was given it.
    holders = []
    while group is not None and group.group_id is not None:
        if name in (group.default_args or {}):
            holders.append(f"default_args of the task group {group.group_id!r}")
        group = group.parent_group
    if holders:
        return holders[-1]
    if dag is not None and name in dag.default_args:
        return f"default_args of the DAG {dag.dag_id!r}"
    return "the task's own default_args"
