"""The fields of a campaign: what each takes, and what is said of what it does not take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, TypeAlias

from airflow.sdk import Context, CronTriggerTimetable
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.exceptions import AirflowException
from airflow.timetables.base import Timetable
from pydantic import AfterValidator, Field, InstanceOf, PlainValidator

from capillary.occasions import OCCASION_LIMIT
from capillary.wrong_fields import shown

#: What every campaign's SQL may name; the period's days only where the occasion has a token.
BOUND: Final = ("badge_id", "occasion")
BOUND_PERIOD: Final = ("period_start", "period_end")

#: Times between two runs.
_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=3_660)

Callback: TypeAlias = Callable[[Context], None]
Schedule: TypeAlias = str | timedelta | BaseTimetable | Timetable | BaseAsset | Collection[BaseAsset]


def calling_frame() -> FrameType:
    """Return the frame of the file that names the campaign: the nearest one outside this package and pydantic."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in {"capillary", "pydantic"}:
        frame = frame.f_back
    if frame is None:  # pragma: no cover - somebody called
        raise RuntimeError("a campaign is made by a DAG file")
    return frame


def query_of(sql: str) -> str:
    """Return the SQL text: what stands in the file of that name, or what was given."""
    file = Path(calling_frame().f_code.co_filename)
    if sql.strip() and any(map(str.isspace, sql)):
        return sql
    path = file.parent / sql
    if path.suffix != ".sql":
        raise ValueError(f"{shown(sql)} is neither the name of a .sql file nor a query")
    try:
        query = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = ", ".join(sorted(each.name for each in file.parent.glob("*.sql"))) or "none"
        raise ValueError(f"there is no file {shown(sql)} beside {file.name} (there: {there})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{sql!r} cannot be read as UTF-8 text ({type(error).__name__})") from None
    if not query.strip():
        raise ValueError(f"the file {sql!r} is empty")
    return query


def _checked_sql(sql: str) -> str:
    query_of(sql)
    return sql


def _checked_schedule(schedule: object) -> object:
    if isinstance(schedule, str) and schedule != "@once":
        try:
            CronTriggerTimetable(schedule, timezone="UTC").validate()
        except AirflowException as error:
            raise ValueError(f"{shown(schedule)} is no cron expression: {str(error)[:200].rstrip('.')}") from None
        return schedule
    single = schedule is None or isinstance(schedule, str | timedelta | BaseTimetable | Timetable | BaseAsset)
    several = isinstance(schedule, Collection) and schedule and all(isinstance(each, BaseAsset) for each in schedule)
    if not single and not several:
        raise ValueError(f"it is {shown(schedule)}")
    return schedule


def _checked_step(schedule: object) -> object:
    if isinstance(schedule, timedelta) and not _SHORTEST <= schedule <= _LONGEST:
        raise ValueError(f"{shown(schedule)} is no time from one minute to {_LONGEST.days} days")
    return schedule


def _checked_parameters(parameters: Mapping[str, object]) -> Mapping[str, object]:
    for name in parameters:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot be named in SQL: use letters, digits and _")
        if name in BOUND + BOUND_PERIOD:
            raise ValueError(f"{name!r} is bound by the campaign itself: take another name")
    return parameters


def _checked_tags(tags: Sequence[str]) -> Sequence[str]:
    if long := [tag for tag in tags if not 1 <= len(tag) <= 100]:
        raise ValueError(f"{shown(long[0])} is empty or longer than 100 characters")
    if odd := [tag for tag in tags if not tag.isprintable()]:
        raise ValueError(f"{shown(odd[0])} has signs that do not print")
    return tags


def _checked_callbacks(given: object) -> object:
    # Errors are ValueErrors: pydantic makes a sentence of no other.
    several = list(given) if isinstance(given, list | tuple) else [given]
    if given is not None:
        for each in several or [given]:
            if isinstance(each, type) or not callable(each):
                raise ValueError(f"{shown(each)} cannot be called with a run's context")  # noqa: TRY004 - as above
    return given


def _checked_start(start: datetime) -> datetime:
    if start.year in {MINYEAR, MAXYEAR}:  # in another zone it may be no date at all
        raise ValueError(f"{shown(start)} is in the calendar's first or last year")
    return start


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=OCCASION_LIMIT)]
Sql: TypeAlias = Annotated[str, AfterValidator(_checked_sql)]
ScheduleOrNone: TypeAlias = Annotated[Schedule | None, PlainValidator(_checked_schedule), AfterValidator(_checked_step)]
Start: TypeAlias = Annotated[InstanceOf[datetime], AfterValidator(_checked_start)]
Parameters: TypeAlias = Annotated[Mapping[str, object], AfterValidator(_checked_parameters)]
Tags: TypeAlias = Annotated[Sequence[str], AfterValidator(_checked_tags)]
Callbacks: TypeAlias = Annotated[Callback | Sequence[Callback] | None, PlainValidator(_checked_callbacks)]
