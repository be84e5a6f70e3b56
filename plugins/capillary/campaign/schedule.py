"""The schedule of a campaign: what Airflow takes, except what nobody wants, such as a run each second or none ever."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias

from airflow.sdk import CronTriggerTimetable
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.definitions.timetables.simple import ContinuousTimetable as SdkContinuousTimetable
from airflow.sdk.exceptions import AirflowException
from airflow.timetables.base import Timetable
from airflow.timetables.simple import ContinuousTimetable
from airflow.utils.dates import cron_presets
from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError
from pydantic import PlainValidator

from capillary.counted import counted
from capillary.missing_value import reads_like_none
from capillary.wrong_fields import FieldValueError, meant, shown

Schedule: TypeAlias = str | timedelta | BaseTimetable | Timetable | BaseAsset | Collection[BaseAsset]

#: A run waits for a human; what starts one more often was meant otherwise.
SHORTEST: Final = timedelta(minutes=1)
#: The scheduler counts on from run to run; further on there are no dates.
LONGEST: Final = timedelta(days=3_660)
_CRON_FIELDS: Final = ("minute", "hour", "day", "month", "day of the week")
#: Airflow's, and two that croniter knows under another name.
PRESETS: Final = ("@once", *cron_presets, "@midnight", "@annually")
_CONTINUOUS: Final = "@continuous"
#: croniter's R: a number that is drawn again whenever the file is read.
_RANDOM: Final = re.compile(r"(^|[\s,])r\b", re.IGNORECASE)


def checked_schedule(schedule: object) -> object:
    """Return a schedule that Airflow takes and that fires, but not each second.

    Raises:
        ValueError: Airflow does not take it, or it fires each second or never.
    """
    if isinstance(schedule, str) and schedule != "@once":
        _assert_meant(schedule)
        return schedule
    single = schedule is None or isinstance(schedule, str | timedelta | BaseTimetable | Timetable | BaseAsset)
    several = isinstance(schedule, Collection) and schedule and all(isinstance(each, BaseAsset) for each in schedule)
    # A class has all that a timetable has.
    if isinstance(schedule, type) or (not single and not several):
        raise ValueError(f"it is {shown(schedule)}")
    for part in _parts(schedule):
        _assert_meant(part)
    return schedule


def _parts(schedule: object) -> Iterator[object]:
    """Yield the cron expressions and spans of a timetable of Airflow's, of its tasks' or its scheduler's kind."""
    if isinstance(schedule, timedelta | ContinuousTimetable | SdkContinuousTimetable):
        yield schedule
    for name in ("expression", "_expression", "delta", "_delta"):
        if (part := getattr(schedule, name, None)) is not None:
            yield part
    for name in ("timetable", "timetables", "_timetables"):
        inner: Any = getattr(schedule, name, ())
        for each in inner if isinstance(inner, list | tuple) else (inner,):
            yield from _parts(each)


def _assert_meant(part: object) -> None:
    if isinstance(part, ContinuousTimetable | SdkContinuousTimetable) or part == _CONTINUOUS:
        said = shown(part) if isinstance(part, str) else f"{type(part).__name__}()"
        raise FieldValueError(
            f"{said} starts a run as soon as the last one has ended, and one that finds nobody ends at once: the "
            "warehouse would be asked again and again without a pause",
            'Give the time between two runs, such as "@hourly" or timedelta(minutes=15)',
        )
    if isinstance(part, str):
        _assert_cron_meant(part)
        return
    now = datetime.now(UTC)
    try:
        # A relativedelta of dateutil's has no length but from a day on.
        span = now + part - now  # type: ignore[operator] # a timedelta or relativedelta
    except OverflowError:
        span = timedelta.max
    if not SHORTEST <= span <= LONGEST:
        raise ValueError(f"{shown(part)} is shorter than a minute, or longer than {LONGEST.days} days")


def _assert_cron_meant(expression: str) -> None:
    if expression in PRESETS or (expression.startswith("@") and croniter.is_valid(expression)):  # "@Daily"
        return
    if reads_like_none(expression):
        raise FieldValueError(
            f"{shown(expression)} is a text, and not a cron expression", "Write None without quotes for no schedule"
        )
    if expression.strip().startswith("@"):
        raise FieldValueError(
            f"{shown(expression)} is not a preset of Airflow{meant(expression.strip().lower(), PRESETS)}",
            f"Give one of {', '.join(PRESETS)}, or a cron expression",
        )
    fields = expression.split()
    if len(fields) > len(_CRON_FIELDS):
        raise ValueError(
            f"{shown(expression)} has {len(fields)} fields, and the sixth would be seconds, with a run at each that "
            f"fits: leave out all but five (minute, hour, day, month, day of the week)"
        )
    if _RANDOM.search(expression):
        raise ValueError(
            f"{shown(expression)} draws its R again whenever the file is read, so its times would keep changing"
        )
    if len(fields) < len(_CRON_FIELDS):
        raise ValueError(
            f"{shown(expression)} is not a cron expression: it has {counted(len(fields), 'field')} and not five "
            f"({', '.join(_CRON_FIELDS)})"
        )
    try:
        CronTriggerTimetable(expression, timezone="UTC").validate()
        croniter(expression, datetime.now(UTC)).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError(f"{shown(expression)} never comes: no month has that day") from None
    except (AirflowException, CroniterError):
        raise ValueError(f"{shown(expression)} is not a cron expression{_unfit(fields)}") from None


def _unfit(fields: list[str]) -> str:
    """Return which fields of a cron expression are wrong by themselves; croniter's own words name none."""
    wrong = []
    for place, (name, given) in enumerate(zip(_CRON_FIELDS, fields, strict=True)):
        alone = ["*"] * len(_CRON_FIELDS)
        alone[place] = given
        if not croniter.is_valid(" ".join(alone)):
            wrong.append(f"the {name} cannot be {shown(given)}")
    return f": {' and '.join(wrong)}" if wrong else ""


ScheduleOrNone: TypeAlias = Annotated[Schedule | None, PlainValidator(checked_schedule)]
