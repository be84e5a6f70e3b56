"""What a campaign hands on to Airflow's `DAG` as it is: everything that the campaign does not say itself."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

from airflow.sdk import DAG, BaseOperator, Context
from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy
from jinja2 import Environment
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, PlainValidator, ValidationError

from capillary.campaign.field_types import MOST, MOST_DAYS, SPAN, Count, Flag, Seconds, Span, Words, kept
from capillary.campaign.occasion import zone_of
from capillary.wrong_fields import UNSAID, FieldValueError, meant, shown, wrong_fields

Callback: TypeAlias = Callable[[Context], None]

#: Arguments of Airflow's DAG that a campaign has fields of its own for, or that would break its tasks, and why.
NOT_HANDED_ON: Final = {
    "dag_id": "it is the campaign's name",
    "schedule": "it is a field of the campaign",
    "params": "they are the trigger form's",
    "fail_fast": "report runs however the other tasks ended",
    "sla_miss_callback": "Airflow 3 has none",
    "render_template_as_native_obj": "the query is text",
    "template_undefined": "a name in the query that nothing gives has to fail",
    "task_group": "the tasks stand in the DAG itself",
    "auto_register": "the DAG is registered as every other",
}
_AIRFLOWS_OF_A_TASK: Final = inspect.signature(BaseOperator.__init__).parameters.keys()
HANDED_ON: Final = tuple(name for name in inspect.signature(DAG).parameters if name not in NOT_HANDED_ON)
#: Arguments of a task that the campaign sets for its own tasks, so that those in `default_args` would do nothing.
_OF_ITS_TASKS: Final = frozenset(
    {
        "task_id",
        "retries",
        "trigger_rule",
        "deferrable",
        "mode",
        "poke_interval",
        "timeout",
        "soft_fail",
        "silent_fail",
        "never_fail",
        "exponential_backoff",
        "max_wait",
        "dag",
        "task_group",
        "default_args",
    }
)
#: Other arguments of a task that would break the campaign's tasks or do what nobody means, and why.
_NOT_FOR_ITS_TASKS: Final = {
    "params": "the run's parameters are the trigger form's",
    "do_xcom_push": "the tasks hand their plan on by XCom",
    "multiple_outputs": "a plan is handed on as one",
    "outlets": "each task would update them, a dry run's too; `report` updates the campaign's own asset",
    "render_template_as_native_obj": "the query is text",
    "sla": "Airflow 3 has none",
    "start_date": "dag_args takes it itself, in the campaign's `timezone`",
    "end_date": "dag_args takes it itself, in the campaign's `timezone`",
}
#: What of Jinja a DAG may set: the rest changes what is a template, a value that comes out of it, or lets a name that
#: nothing gives pass.
_JINJA_SETTINGS: Final = frozenset(
    {"cache_size", "extensions", "keep_trailing_newline", "lstrip_blocks", "optimized", "trim_blocks"}
)


def _checked_callbacks(given: object) -> object:
    # Errors are ValueErrors: pydantic makes a sentence of no other.
    several = list(given) if isinstance(given, list | tuple) else [given]
    if given is not None:
        for each in several or [given]:
            if isinstance(each, type) or not callable(each):
                raise ValueError(f"{shown(each)} cannot be called with a run's context")  # noqa: TRY004 - as above
    return given


def _checked_hook(given: object) -> object:
    if isinstance(given, list | tuple):
        raise ValueError(f"{shown(given)} are several, and Airflow calls one")  # noqa: TRY004 - as above
    return _checked_callbacks(given)


def _checked_tags(given: object) -> Collection[str]:
    if not isinstance(given, list | tuple | set | frozenset):
        raise ValueError(f"it is {shown(given)}")  # noqa: TRY004 - as above
    tags = []
    for place, tag in enumerate(given):
        if not isinstance(tag, str):
            raise ValueError(f"it should be a valid string at {place}, not {shown(tag)}")  # noqa: TRY004 - as above
        tags.append(tag)
    if long := [tag for tag in tags if not 1 <= len(tag) <= 100]:
        raise ValueError(f"{shown(long[0])} is empty or longer than 100 characters")
    if odd := [tag for tag in tags if not tag.isprintable()]:
        raise ValueError(f"{shown(odd[0])} has signs that do not print")
    return tags


def _checked_moment(moment: datetime) -> datetime:
    if moment != moment:  # noqa: PLR0124 - NaT, which pandas makes of a missing time, alone differs
        raise ValueError("it is NaT, a time that is missing")
    if moment.year in {MINYEAR, MAXYEAR}:  # in another zone it may be no date at all
        raise ValueError(f"{shown(moment)} is in the calendar's first or last year")
    return moment


def _checked_defaults(given: Mapping[str, object]) -> Mapping[str, object]:
    if ours := sorted(_OF_ITS_TASKS & given.keys()):
        raise ValueError(f"{ours[0]}, which the campaign sets for each of its tasks itself")
    for name, why in _NOT_FOR_ITS_TASKS.items():
        if name in given:
            raise FieldValueError(f"{name}: {why}", f"Take {name} out of default_args")
    return given


def _checked_jinja(given: Mapping[str, object] | None) -> Mapping[str, object] | None:
    if other := sorted((given or {}).keys() - _JINJA_SETTINGS):
        raise FieldValueError(
            f"{other[0]} would change what the query's Jinja means, or is not a setting of Jinja",
            f"Give some of {', '.join(sorted(_JINJA_SETTINGS))}",
        )
    settings: dict[str, Any] = dict(given or {})
    try:
        Environment(**settings)  # noqa: S701 - of SQL, not of HTML
    except Exception as error:  # noqa: BLE001 - whatever Jinja makes of it
        raise ValueError(f"Jinja refuses it: {error}") from None
    return given


def _checked_rule(given: object) -> object:
    try:
        validate_and_load_priority_weight_strategy(given)  # type: ignore[arg-type] # that is the question
    except Exception as error:  # noqa: BLE001 - whatever Airflow makes of it
        raise ValueError(f"Airflow refuses {shown(given)}: {error}") from None
    return given


def _checked_access(given: Mapping[str, object] | None) -> Mapping[str, object] | None:
    for role, rights in (given or {}).items():
        for each in rights.values() if isinstance(rights, Mapping) else (rights,):
            if not isinstance(each, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in each):
                raise ValueError(f"the rights of {shown(role)} are {shown(each)}")
    return given


def _checked_filters(given: Mapping[str, object] | None) -> Mapping[str, object] | None:
    for name, each in (given or {}).items():
        if isinstance(each, str) or not callable(each):
            raise ValueError(f"{name} is {shown(each)}, which cannot be called")  # noqa: TRY004 - as above
    return given


_DELAY: Final = f"a timedelta or seconds, 0 to {MOST_DAYS} days"
_MOMENT: Final = "a datetime (without zone: in `timezone`) or None"
_CALLED: Final = "a function or notifier for Airflow to call, or a list of them"
_Moment: TypeAlias = Annotated[InstanceOf[datetime], AfterValidator(_checked_moment)]
_Callbacks: TypeAlias = Annotated[Callback | Sequence[Callback] | None, PlainValidator(_checked_callbacks)]
_Hook: TypeAlias = Annotated[Callable[..., object] | None, PlainValidator(_checked_hook)]
_OPEN: Final = ConfigDict(extra="allow", strict=True, arbitrary_types_allowed=True)


class _Defaults(BaseModel):
    """Those of `default_args` that campaigns are often given; Airflow takes the others as they are."""

    model_config = _OPEN

    owner: Words | None = Field(default=None, description="who answers for the campaign")
    pool: Words = Field(default="default_pool", description="the name of an Airflow pool")
    retry_delay: Seconds = Field(default=None, description=_DELAY)
    max_retry_delay: Seconds = Field(default=None, description=f"{_DELAY}, or None")
    max_active_tis_per_dag: Count | None = Field(default=None, description=f"1 to {MOST:,}, or None")
    max_active_tis_per_dagrun: Count | None = Field(default=None, description=f"1 to {MOST:,}, or None")
    executor_config: Mapping[str, object] | None = Field(default=None, description="a dict, or None")
    weight_rule: Annotated[object, AfterValidator(_checked_rule)] = Field(
        default="downstream", description="downstream, upstream, absolute or a strategy that Airflow knows"
    )
    on_execute_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_failure_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_success_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_retry_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_skipped_callback: _Callbacks = Field(default=None, description=_CALLED)
    pre_execute: _Hook = Field(default=None, description="a function for Airflow to call, or None")
    post_execute: _Hook = Field(default=None, description="a function for Airflow to call, or None")


class _DagArguments(BaseModel):
    model_config = _OPEN

    description: Annotated[str, AfterValidator(kept)] | None = Field(default=None, description="a line of text")
    start_date: _Moment | None = Field(default=None, description=_MOMENT)
    end_date: _Moment | None = Field(default=None, description=_MOMENT)
    tags: Annotated[Collection[str], PlainValidator(_checked_tags)] = Field(
        default=(), description="a list of words of 1 to 100 characters"
    )
    max_active_runs: Count = Field(
        default=16, description=f"1 to {MOST:,}; a run waits for its human, perhaps for days"
    )
    max_active_tasks: Count = Field(default=16, description=f"1 to {MOST:,}")
    max_consecutive_failed_dag_runs: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=0, description=f"0 to {MOST:,}; 0 for no limit"
    )
    dagrun_timeout: Span | None = Field(default=None, description=f"{SPAN} and above the deadline, or None")
    catchup: Flag = Field(default=False, description="True or False")
    on_failure_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_success_callback: _Callbacks = Field(default=None, description=_CALLED)
    doc_md: Annotated[str, AfterValidator(kept)] | None = Field(
        default=None, description="Markdown in place of the file's docstring"
    )
    is_paused_upon_creation: Flag | None = Field(default=None, description="True, False or None")
    disable_bundle_versioning: Flag = Field(default=False, description="True or False")
    rerun_with_latest_version: Flag | None = Field(default=None, description="True, False or None")
    dag_display_name: Annotated[Words, Field(max_length=2000)] = Field(
        default="", description="a name, or leave it out for the campaign's"
    )
    template_searchpath: str | list[str] | tuple[str, ...] | None = Field(
        default=None, description="a folder or a list of them, each as text"
    )
    user_defined_macros: Mapping[str, object] | None = Field(default=None, description="a dict by name, or None")
    user_defined_filters: Annotated[Mapping[str, object] | None, AfterValidator(_checked_filters)] = Field(
        default=None, description="a dict of functions by name, or None"
    )
    jinja_environment_kwargs: Annotated[Mapping[str, object] | None, AfterValidator(_checked_jinja)] = Field(
        default=None, description="a dict of settings of a Jinja environment, or None"
    )
    owner_links: Mapping[str, str] = Field(default={}, description="a dict of addresses by owner")
    access_control: Annotated[Mapping[str, object] | None, AfterValidator(_checked_access)] = Field(
        default=None, description='a dict of rights by role, such as {"Viewer": {"can_read"}}, or None'
    )
    default_args: Annotated[Mapping[str, object], AfterValidator(_checked_defaults)] = Field(
        default={}, description="a dict of arguments of every task, such as owner and pool"
    )


def _checked(given: object) -> dict[str, Any]:
    """Return the arguments as they were given.

    Raises:
        FieldValueError: every one that is wrong is named, with what to give.
    """
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"it is {shown(given)}")
    for name in given:
        if name in NOT_HANDED_ON:
            raise FieldValueError(f"{name}: {NOT_HANDED_ON[name]}", f"Leave {name} out")
        if name not in HANDED_ON:
            near = meant(name, HANDED_ON)
            raise FieldValueError(
                f"{name}: Airflow's DAG takes no such argument{near}", f"Give some of {', '.join(HANDED_ON)}"
            )
    _explained("", _DagArguments, given)
    defaults = given.get("default_args", {})
    _explained("default_args.", _Defaults, defaults)
    _assert_airflow_takes(given, defaults)
    # What a list or a dict of the file's holds later is checked by nobody.
    return {name: _detached(each) for name, each in given.items()}


def _detached(given: object) -> object:
    if isinstance(given, dict):
        return dict(given)
    return list(given) if isinstance(given, list) else given


def _assert_airflow_takes(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Make a DAG of each argument, and a task of each default, in order to hear what Airflow says of it.

    Raises:
        FieldValueError: Airflow refuses one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the DAG that stays says them
        for name, each in given.items():
            _tried(name, each, partial(DAG, "campaign", schedule=None))
        for name, each in defaults.items():
            if name in _AIRFLOWS_OF_A_TASK:
                dag = DAG("campaign", schedule=None)
                _tried(
                    f"default_args.{name}",
                    each,
                    partial(BaseOperator, task_id="task", dag=dag, task_group=dag.task_group),
                )


def _tried(name: str, each: object, make: Callable[..., object]) -> None:
    argument = name.rpartition(".")[2]
    try:
        make(**{argument: each})
    except Exception as error:  # noqa: BLE001 - whatever Airflow makes of it
        said = str(error.args[0] if error.args else error).partition("\n")[0].rstrip(". ")
        is_unsaid = argument in UNSAID
        given = f"a value of type {type(each).__name__}" if is_unsaid else f"{shown(each)}: {said}"
        raise FieldValueError(f"{name}: Airflow refuses {given}", f"Correct {name}, or leave it out") from None


def _explained(where: str, model: type[BaseModel], given: object) -> None:
    try:
        model.model_validate(given)
    except ValidationError as error:
        wrong = list(wrong_fields(error, model.model_fields))
        raise FieldValueError(
            "; ".join(f"{where}{each.name}: {each.problem}" for each in wrong),
            "; ".join(dict.fromkeys(each.remedy for each in wrong if each.remedy)),
        ) from None


def in_zone(moment: datetime, timezone: str) -> datetime:
    """Return a moment, in the campaign's time zone where it has none."""
    return moment.replace(tzinfo=zone_of(timezone)) if moment.tzinfo is None else moment


DagArgs: TypeAlias = Annotated[Mapping[str, Any], PlainValidator(_checked)]
