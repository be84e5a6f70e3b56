"""The table of what starts when a DAG is turned on names the timetables that the code sets, and its minute."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from airflow.sdk import AssetOrTimeSchedule, CronPartitionTimetable, CronTriggerTimetable, MultipleCronTriggerTimetable

from capillary.campaign.first_run import LATE, once_on
from capillary.campaign.schedule import Schedule
from capillary.campaign.trigger_form import UNPAUSE
from tests.docs.markdown import ROOT, code_of, sections

SECTION: Final = next(each for each in sections(ROOT / "docs/campaigns.md") if each.title == "Turning it on")
ROWS: Final = SECTION.rows()
_CRON: Final = "0 6 * * *"


def test_the_row_of_cron_names_every_timetable_whose_first_run_is_the_next_tick() -> None:
    single = CronTriggerTimetable(_CRON, timezone="UTC")
    made: list[Schedule] = [
        single,
        MultipleCronTriggerTimetable(_CRON, timezone="UTC"),
        CronPartitionTimetable(_CRON, timezone="UTC"),
        AssetOrTimeSchedule(timetable=single, assets=[]),
    ]
    row = next(row for row in ROWS if row[0].startswith("cron expression"))
    assert code_of(row[0])[:4] == [type(each).__name__ for each in made]
    assert row[1].startswith("nothing")
    for schedule in (_CRON, *made):
        assert "from the next time on" in once_on(schedule, catchup=False)


def test_the_rows_in_bold_are_those_that_may_start_at_once() -> None:
    bold = {row[0]: "**" in row[1] for row in ROWS}
    assert bold == {
        ROWS[0][0]: False,
        "`timedelta`": True,
        '`"@once"`': True,
        "other timetables, and `run_immediately`": True,
        "assets": False,
        "any with `catchup`": True,
    }
    for schedule in (timedelta(days=1), "@once", CronTriggerTimetable(_CRON, timezone="UTC", run_immediately=True)):
        assert "may start at once" in once_on(schedule, catchup=False)


def test_the_tick_and_the_minute_are_the_codes() -> None:
    assert f"*{UNPAUSE}*" in " ".join(SECTION.prose.split())
    assert f"*{UNPAUSE}*" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert timedelta(minutes=1) == LATE
    assert "A time that passed up to a minute ago still counts" in " ".join(SECTION.prose.split())
