"""What a campaign hands on to Airflow's `DAG` as it is: everything that the campaign does not say itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, Any, Final, TypeAlias

from airflow.sdk import DAG, Context
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, PlainValidator, ValidationError

from capillary.campaign.field_types import Count, Flag, Span, Words, kept
from capillary.wrong_fields import FieldValueError, meant, shown, wrong_fields

Callback: TypeAlias = Callable[[Context], None]

#: Arguments of Airflow's DAG that a campaign has fields of its own for, or that would break its tasks, and why.
NOT_HANDED_ON: Final = {
    "dag_id": "it is the campaign's name",
    "schedule": "it is a field of the campaign",
    "params": "they are the trigger form's",
    "fail_fast": "report runs whatever became of the others",
    "sla_miss_callback": "Airflow 3 has none",
    "task_group": "the tasks stand in the DAG itself",
    "render_template_as_native_obj": "the query is text",
    "auto_register": "the DAG is registered as every other",
}
HANDED_ON: Final = tuple(name for name in inspect.signature(DAG).parameters if name not in NOT_HANDED_ON)
#: Arguments of a task that the campaign sets for its own tasks, so that those in `default_args` would do nothing.
_OF_ITS_TASKS: Final = frozenset(
    {"task_id", "retries", "trigger_rule", "deferrable", "mode", "poke_interval", "timeout", "soft_fail", "max_wait"}
)


def _checked_callbacks(given: object) -> object:
    # Errors are ValueErrors: pydantic makes a sentence of no other.
    several = list(given) if isinstance(given, list | tuple) else [given]
    if given is not None:
        for each in several or [given]:
            if isinstance(each, type) or not callable(each):
                raise ValueError(f"{shown(each)} cannot be called with a run's context")  # noqa: TRY004 - as above
    return given


def _checked_tags(tags: Sequence[str]) -> Sequence[str]:
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
    return given


_MOMENT: Final = "a datetime (without zone: in `timezone`) or None"
_CALLED: Final = "a function or notifier for Airflow to call, or a list of them"
_Moment: TypeAlias = Annotated[InstanceOf[datetime], AfterValidator(_checked_moment)]
_Callbacks: TypeAlias = Annotated[Callback | Sequence[Callback] | None, PlainValidator(_checked_callbacks)]
_OPEN: Final = ConfigDict(extra="allow", strict=True, arbitrary_types_allowed=True)


class _Defaults(BaseModel):
    """Those of `default_args` that campaigns are often given; Airflow takes the others as they are."""

    model_config = _OPEN

    owner: Words | None = Field(default=None, description="who answers for the campaign")
    pool: Words = Field(default="default_pool", description="the name of an Airflow pool")
    retry_delay: Span | None = Field(default=None, description="a timedelta")


class _DagArguments(BaseModel):
    model_config = _OPEN

    description: Annotated[str, AfterValidator(kept)] | None = Field(default=None, description="a line of text")
    start_date: _Moment | None = Field(default=None, description=_MOMENT)
    end_date: _Moment | None = Field(default=None, description=_MOMENT)
    tags: Annotated[Sequence[str], AfterValidator(_checked_tags)] = Field(
        default=(), description="a list of words of 1 to 100 characters"
    )
    max_active_runs: Count = Field(default=16, description="1 or more; a run waits for its human, perhaps for days")
    max_active_tasks: Count = Field(default=16, description="1 or more")
    dagrun_timeout: Span | None = Field(default=None, description="a timedelta above the deadline, or None")
    catchup: Flag = Field(default=False, description="True or False")
    on_failure_callback: _Callbacks = Field(default=None, description=_CALLED)
    on_success_callback: _Callbacks = Field(default=None, description=_CALLED)
    doc_md: Annotated[str, AfterValidator(kept)] | None = Field(
        default=None, description="Markdown in place of the file's docstring"
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
    _explained("default_args.", _Defaults, given.get("default_args", {}))
    return dict(given)


def _explained(where: str, model: type[BaseModel], given: object) -> None:
    try:
        model.model_validate(given)
    except ValidationError as error:
        wrong = list(wrong_fields(error, model.model_fields))
        raise FieldValueError(
            "; ".join(f"{where}{each.name}: {each.problem}" for each in wrong),
            "; ".join(dict.fromkeys(each.remedy for each in wrong if each.remedy)),
        ) from None


DagArgs: TypeAlias = Annotated[Mapping[str, Any], PlainValidator(_checked)]
