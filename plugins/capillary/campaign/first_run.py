"""What Airflow starts when a campaign's DAG is turned on: nothing that was due before, as far as its timetables let us.

Airflow works out the next run again whenever it reads the file, paused or not. If a DAG has never run by its schedule,
a timetable decides whether the last tick counts; if it has, a tick that it missed always does.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.sdk import AssetOrTimeSchedule, CronPartitionTimetable, CronTriggerTimetable, MultipleCronTriggerTimetable
from airflow.sdk.bases.timetable import BaseTimetable
from airflow.sdk.definitions.asset import BaseAsset
from airflow.sdk.definitions.timetables.assets import AssetTriggeredTimetable
from airflow.timetables import assets, simple, trigger

from capillary.campaign.schedule import Schedule

#: A tick that passed no longer ago still counts. Airflow may read the file after a tick and before its scheduler makes
#: the run: without this, the very first run would then be lost. Airflow's own figure is a tenth of the interval.
LATE: Final = timedelta(minutes=1)
_SINGLE: Final = (
    CronTriggerTimetable,
    CronPartitionTimetable,
    trigger.CronTriggerTimetable,
    trigger.CronPartitionTimetable,
)
_SEVERAL: Final = (MultipleCronTriggerTimetable, trigger.MultipleCronTriggerTimetable)
_ASSETS: Final = (Collection, BaseAsset, AssetTriggeredTimetable, simple.AssetTriggeredTimetable)
_OR_ASSETS: Final = (AssetOrTimeSchedule, assets.AssetOrTimeSchedule)


def timetable_of(schedule: Schedule | None, timezone: str) -> Any:  # noqa: ANN401 - Airflow's union names types of its core
    """Return what Airflow's DAG is given for a campaign's schedule.

    Of Airflow's timetables by cron expression, only one that says itself what `run_immediately` is keeps it.
    """
    if isinstance(schedule, str) and schedule != "@once":
        return CronTriggerTimetable(schedule, timezone=timezone, run_immediately=LATE)
    return _waiting(schedule)


def begins_at(schedule: Schedule | None, given: datetime | None, *, catchup: bool) -> datetime | None:
    """Return the DAG's `start_date`: none that has passed, where Airflow would start the last tick because of it."""
    if given is None or catchup or not _waits(schedule):
        return given
    return given if given > datetime.now(UTC) - LATE else None


def once_on(schedule: Schedule | None, *, catchup: bool) -> str:
    """Say what starts by itself once the DAG is on, in sentences; empty where it has no schedule."""
    if schedule is None:
        return ""
    if type(schedule) in _OR_ASSETS:
        inner: Schedule | None = getattr(schedule, "timetable", None)
        return f"{once_on(inner, catchup=catchup)} It also runs when its assets are updated."
    if isinstance(schedule, _ASSETS) and not isinstance(schedule, str):
        return "Once it is on, it also runs when its assets are updated."
    if catchup:
        return "Once it is on, every run of its schedule that it has missed starts at once."
    if _waits(schedule):
        return (
            "Once it is on, it also runs by its schedule, from the next time on. But if it has run by its schedule "
            "before, and missed a time since, that run starts at once."
        )
    return "Once it is on, it also runs by its schedule, and a run of that may start at once."


def _waits(schedule: object) -> bool:
    """Whether the first run is the schedule's next tick, if there is no `start_date`."""
    if isinstance(schedule, str):
        return schedule != "@once"
    if type(schedule) in _OR_ASSETS:
        return _waits(getattr(schedule, "timetable", None))
    crons = _crons(_waiting(schedule))
    return bool(crons) and all(getattr(each, _setting(each)) == LATE for each in crons)


def _waiting(schedule: Any) -> Any:  # noqa: ANN401 - as it was given
    """Return the schedule, as a copy where it has to change: the file may hold it for another DAG as well."""
    if type(schedule) in _OR_ASSETS:
        changed = copy(schedule)
        changed.timetable = _waiting(schedule.timetable)
        return changed
    if type(schedule) in _SEVERAL:
        changed = copy(schedule)
        setattr(changed, _several(schedule), list(map(_waiting, _crons(schedule))))
        return changed
    if type(schedule) in _SINGLE and getattr(schedule, _setting(schedule)) is False:
        changed = copy(schedule)
        setattr(changed, _setting(schedule), LATE)
        return changed
    return schedule


def _crons(schedule: object) -> list[Any]:
    if type(schedule) in _SEVERAL:
        return list(getattr(schedule, _several(schedule)))
    return [schedule] if type(schedule) in _SINGLE else []


def _setting(cron: object) -> str:
    """Return the name under which a timetable keeps `run_immediately`: of Airflow's tasks or of its scheduler."""
    return "run_immediately" if isinstance(cron, BaseTimetable) else "_run_immediately"


def _several(crons: object) -> str:
    return "timetables" if isinstance(crons, BaseTimetable) else "_timetables"
