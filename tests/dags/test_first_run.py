"""What Airflow's own timetables start when a campaign's DAG is turned on: at several moments, for every schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import airflow._shared.timezones.timezone as clock
import pytest
from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
    PartitionedAssetTimetable,
)
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables import interval, trigger
from airflow.timetables.base import DagRunInfo
from pendulum import instance

from capillary.campaign import BadgeCampaign, first_run
from capillary.campaign.first_run import LATE, begins_at, once_on
from capillary.campaign.schedule import Schedule
from tests.dags.test_campaign import campaign

#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
SetClock: TypeAlias = Callable[[datetime], None]
TICK: Final = datetime(2026, 11, 27, 6, tzinfo=UTC)
DAY: Final = timedelta(days=1)
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
SIX: Final = "0 6 * * *"
BY_CRON: Final[dict[str, Any]] = {
    "text": SIX,
    "cron": CronTriggerTimetable(SIX, timezone="UTC"),
    "scheduler's cron": trigger.CronTriggerTimetable(SIX, timezone="UTC"),
    "crons": MultipleCronTriggerTimetable(SIX, "0 6 * * MON", timezone="UTC"),
    "scheduler's crons": trigger.MultipleCronTriggerTimetable(SIX, "0 6 * * MON", timezone="UTC"),
    "partitions": CronPartitionTimetable(SIX, timezone="UTC"),
    "or assets": AssetOrTimeSchedule(timetable=CronTriggerTimetable(SIX, timezone="UTC"), assets=[Asset("load")]),
}
#: Just after a tick, 1, 9 and 11 percent of the interval after it, and before the next.
MOMENTS: Final = {
    "just after": LATE + timedelta(seconds=1),
    "1 %": DAY * 0.01,
    "README's": timedelta(minutes=48),
    "9 %": DAY * 0.09,
    "11 %": DAY * 0.11,
    "just before": DAY - timedelta(seconds=1),
}


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock of Airflow's timetables, and ours."""

    def set_clock(now: datetime) -> None:
        monkeypatch.setattr(first_run, "datetime", SimpleNamespace(now=now.astimezone))
        for module in (trigger, interval, clock):
            monkeypatch.setattr(module, "utcnow", lambda: instance(now))

    return set_clock


def due(made: BadgeCampaign, last: datetime | None = None) -> datetime | None:
    """Return when the next run by schedule is due, as Airflow's scheduler works it out.

    Args:
        made: its DAG is paused.
        last: the last run by schedule; None if there was none.
    """
    dag = DagSerialization.from_dict(DagSerialization.to_dict(made.dag()))
    ran = DagRunInfo.exact(instance(last)) if last else None
    info = dag.next_dagrun_info(last_automated_run_info=ran)
    return info and info.run_after


@pytest.mark.parametrize("start", [None, LONG_AGO, TICK], ids=["no start", "start long ago", "start at the tick"])
@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
@pytest.mark.parametrize("after", MOMENTS.values(), ids=MOMENTS)
def test_the_first_run_is_the_next_tick(
    at: SetClock, after: timedelta, schedule: Schedule, start: datetime | None
) -> None:
    at(TICK + after)
    assert due(campaign(schedule=schedule, dag_args={"start_date": start})) == TICK + DAY


@pytest.mark.parametrize("schedule", ["@hourly", "@daily", "@weekly", "*/15 * * * *", "0 22 28-31 * *"])
@pytest.mark.parametrize("part", [0.01, 0.09, 0.11, 0.99])
def test_the_part_of_the_interval_does_not_matter(at: SetClock, schedule: str, part: float) -> None:
    daily = trigger.CronTriggerTimetable(schedule, timezone="UTC")
    before = daily._align_to_prev(instance(TICK))
    after = daily._get_next(before)
    now = max(before + (after - before) * part, before + LATE + timedelta(seconds=1))
    at(now)
    assert due(campaign(schedule=schedule)) == after


@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), LATE])
def test_a_file_that_is_read_just_after_the_tick_does_not_lose_the_first_run(
    at: SetClock,
    schedule: Schedule,
    late: timedelta,
) -> None:
    at(TICK + late)
    assert due(campaign(schedule=schedule)) == TICK
    assert due(campaign(schedule=schedule, dag_args={"start_date": TICK})) == TICK


@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
def test_a_first_day_to_come_is_waited_for(at: SetClock, schedule: Schedule) -> None:
    at(TICK + timedelta(hours=1))
    made = campaign(schedule=schedule, dag_args={"start_date": TICK + 9 * DAY})
    assert due(made) == TICK + 9 * DAY
    assert made.dag().start_date == TICK + 9 * DAY


@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
@pytest.mark.parametrize(
    ("last", "next_run"), [(TICK, TICK + DAY), (TICK - DAY, TICK), (TICK - 9 * DAY, TICK)], ids=str
)
def test_a_dag_that_ran_by_schedule_makes_up_for_the_last_tick_alone(
    at: SetClock,
    schedule: Schedule,
    last: datetime,
    next_run: datetime,
) -> None:
    """Airflow's timetables leave no choice here; its words on the form are these."""
    at(TICK + timedelta(hours=9))
    assert due(campaign(schedule=schedule), last) == next_run
    assert "if it has run by its schedule before, and missed a time since" in once_on(schedule, catchup=False)


@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
@pytest.mark.parametrize("after", MOMENTS.values(), ids=MOMENTS)
def test_with_catchup_every_tick_since_the_first_day_is_made(
    at: SetClock, after: timedelta, schedule: Schedule
) -> None:
    at(TICK + after)
    arguments = {"catchup": True, "start_date": TICK - 3 * DAY}
    made = campaign(schedule=schedule, occasion="vip {day}", dag_args=arguments)
    assert made.dag().start_date == TICK - 3 * DAY
    assert due(made) == TICK - 3 * DAY
    assert due(made, TICK - 2 * DAY) == TICK - DAY
    assert due(made, TICK) == TICK + DAY
    assert "every run of its schedule that it has missed" in once_on(schedule, catchup=True)


@pytest.mark.parametrize(
    "schedule",
    [
        "@once",
        timedelta(days=1),
        DeltaTriggerTimetable(timedelta(days=1)),
        CronDataIntervalTimetable(SIX, timezone="UTC"),
        CronTriggerTimetable(SIX, timezone="UTC", run_immediately=True),
        CronTriggerTimetable(SIX, timezone="UTC", run_immediately=timedelta(days=1)),
        AssetOrTimeSchedule(timetable=DeltaTriggerTimetable(timedelta(days=1)), assets=[Asset("load")]),
    ],
    ids=["once", "span", "delta", "intervals", "at once", "within a day", "span or assets"],
)
def test_what_starts_at_once_says_so(at: SetClock, schedule: Schedule) -> None:
    now = TICK + timedelta(hours=9)
    at(now)
    made = due(campaign(schedule=schedule))
    assert made is not None
    assert made <= now
    assert "by its schedule, and a run of that may start at once." in once_on(schedule, catchup=False)


def test_its_own_start_date_stays_where_it_decides(at: SetClock) -> None:
    """The one run of @once is for its start_date, and so is its occasion."""
    at(TICK)
    assert begins_at("@once", LONG_AGO, catchup=False) == LONG_AGO
    assert due(campaign(schedule="@once", dag_args={"start_date": LONG_AGO})) == LONG_AGO
    assert begins_at(timedelta(days=1), LONG_AGO, catchup=False) == LONG_AGO
    assert begins_at(SIX, None, catchup=False) is None


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (None, ""),
        (Asset("load"), "Once it is on, it also runs when its assets are updated."),
        (Asset("load") | Asset("merge"), "Once it is on, it also runs when its assets are updated."),
        ([Asset("load")], "Once it is on, it also runs when its assets are updated."),
        (PartitionedAssetTimetable(assets=Asset("load")), "Once it is on, it also runs when its assets are updated."),
    ],
    ids=["by hand", "asset", "any asset", "assets", "partitions of an asset"],
)
def test_without_a_clock_nothing_is_due(at: SetClock, schedule: Schedule | None, words: str) -> None:
    at(TICK)
    made = campaign(schedule=schedule)
    assert (due(made), once_on(made.schedule, catchup=False)) == (None, words)
    assert str(made.dag().params.get_param("dry_run").description).endswith(f"until the DAG is on. {words}".rstrip())


@pytest.mark.parametrize("schedule", BY_CRON.values(), ids=BY_CRON)
def test_assets_are_named_beside_the_clock_where_both_start_runs(schedule: Schedule) -> None:
    said = once_on(schedule, catchup=False)
    assert said.startswith("Once it is on, it also runs by its schedule, from the next time on. ")
    assert said.endswith("It also runs when its assets are updated.") is isinstance(schedule, AssetOrTimeSchedule)


def test_the_files_own_timetable_stays_as_it_was() -> None:
    """The file may give it to another DAG as well."""
    inner = CronTriggerTimetable(SIX, timezone="UTC")
    several = MultipleCronTriggerTimetable(SIX, timezone="UTC")
    for schedule in (inner, several, AssetOrTimeSchedule(timetable=inner, assets=[Asset("load")])):
        campaign(schedule=schedule).dag()
    assert inner.run_immediately is False
    assert several.timetables[0].run_immediately is False


def test_the_first_run_is_for_the_occasion_of_its_tick(at: SetClock) -> None:
    """Between the ticks of 31 October and 28 November, and in a zone whose day is another one."""
    at(datetime(2026, 11, 1, 12, tzinfo=UTC))
    made = campaign(schedule="0 1 28-31 * *", occasion="vip {month}", timezone="Asia/Kolkata")
    first = due(made)
    assert first == datetime(2026, 11, 27, 19, 30, tzinfo=UTC)
    assert made.when.resolve(first).name == "vip 2026-11"
