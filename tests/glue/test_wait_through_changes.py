"""A wait whose ledger is migrated or moved waits on for a day, says why, and writes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize

from capillary.ledger.moved import Moved, Target, mark_moved
from capillary.ledger_changes import LONGEST
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from capillary.upkeep import MigrateLedgerOperator
from tests.glue.conftest import Place
from tests.second_migration import SECOND, SecondRelease

Change = Callable[[], None]


@pytest.fixture(params=["newer ledger", "newer code", "moved ledger"])
def change(request: pytest.FixtureRequest, place: Place, release: SecondRelease) -> tuple[Change, Change, str]:
    """How the ledger becomes another's, how that ends, and what is said of it."""

    def migrate() -> None:
        assert MigrateLedgerOperator(task_id="migrate_ledger").execute(place.context()) == SECOND

    def migrate_by_another() -> None:
        with release.installed():
            migrate()

    def move() -> None:
        with place.ledger.write() as tx:
            mark_moved(tx.conn, Moved("postgresql at new", tx.now, Target("1", 1, 1)))

    def move_back() -> None:
        with (
            place.ledger.engine.connect().execution_options(ledger_moved=True, ledger_write=True) as conn,
            conn.begin(),
        ):
            conn.exec_driver_sql("DROP TABLE badge_moved")

    kind: str = request.param
    if kind == "newer ledger":
        return migrate_by_another, release.install, "SchemaDiffers: "
    if kind == "newer code":
        return release.install, migrate, "SchemaDiffers: "
    return move, move_back, "LedgerMoved: "


def wait(submitted: object, **arguments: Any) -> BadgeRequestSensor:  # noqa: ANN401 - arguments of the sensor
    return BadgeRequestSensor(task_id="wait", plan=submitted, **arguments)


def resumed(place: Place, sensor: BadgeRequestSensor, deferral: TaskDeferred) -> Any:  # noqa: ANN401 - Airflow's
    """Resume a task as Airflow does: with what it has kept of the deferral."""
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(deferral.kwargs))))
    kwargs["event"] = {"status": "work"}
    return sensor.resume_execution(deferral.method_name, kwargs, place.context())


def deferral_of(task: Callable[[], object]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as end:
        task()
    return end.value


def paused_s(deferral: TaskDeferred) -> float:
    assert isinstance(deferral.trigger, DateTimeTrigger)
    return deferral.trigger.moment.timestamp() - datetime.now(UTC).timestamp()


def test_a_resumed_wait_looks_again_until_the_change_is_over(
    place: Place,
    submitted: dict[str, Any],
    change: tuple[Change, Change, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin, end, said = change
    waits = deferral_of(lambda: wait(submitted).execute(place.context()))
    assert isinstance(waits.trigger, BadgeRequestTrigger)
    place.sandbox.approve_all()
    begin()
    since: set[str] = set()
    for _ in range(12):  # more often than Airflow would retry
        with caplog.at_level(logging.WARNING, "capillary.wait"):
            waits = deferral_of(partial(resumed, place, wait(submitted), waits))
        assert waits.kwargs is not None
        since.add(waits.kwargs["changes_since"])
    assert len(since) == 1
    lines = [record.getMessage() for record in caplog.records if record.name == "capillary.wait"]
    assert len(lines) == 12
    assert all(line.startswith(said) and "Nothing was read or written. The wait goes on" in line for line in lines)
    end()
    assert resumed(place, wait(submitted), waits)["outcomes"] == {"enrolled": 120}


def test_nothing_is_written_meanwhile(place: Place, submitted: dict[str, Any], release: SecondRelease) -> None:
    place.sandbox.approve_all()
    with release.installed():
        MigrateLedgerOperator(task_id="migrate_ledger").execute(place.context())
    before = place.rows(), place.statuses(), place.outcomes(), len(place.sandbox.platform.requests())
    place.pushed.values.clear()
    deferral_of(lambda: wait(submitted).execute(place.context()))
    assert wait(submitted, deferrable=False).poke(place.context()).is_done is False
    assert (place.rows(), place.statuses(), place.outcomes(), len(place.sandbox.platform.requests())) == before
    assert before[1:3] == ({"waiting": 3}, {None: 120})
    assert place.pushed.values == {}


@pytest.mark.parametrize(
    ("waited", "first_s", "pause_s"),
    [
        (timedelta(0), 60, 60),
        (timedelta(0), 10, 30),  # a resumed task can be failed by the exit event of its own deferral
        (timedelta(minutes=10), 60, 300),
        (timedelta(hours=5), 60, 900),
        (timedelta(hours=5), 3_600, 3_600),
        (LONGEST - timedelta(seconds=5), 60, 900),
    ],
)
def test_it_looks_less_and_less_often(
    place: Place,
    submitted: dict[str, Any],
    release: SecondRelease,
    waited: timedelta,
    first_s: float,
    pause_s: float,
) -> None:
    release.install()
    since = datetime.now(UTC) - waited
    sensor = wait(submitted, poll_interval_s=first_s)
    again = deferral_of(lambda: sensor.execute_complete(place.context(), since, changes_since=since.isoformat()))
    assert paused_s(again) == pytest.approx(pause_s, abs=5)
    assert again.kwargs is not None
    assert again.kwargs["changes_since"] == since.isoformat()
    assert again.timeout == pytest.approx(LONGEST - waited + timedelta(minutes=10), abs=timedelta(seconds=5))


def test_after_a_day_it_fails_with_what_to_do_and_goes_on_when_cleared(
    place: Place, submitted: dict[str, Any], change: tuple[Change, Change, str]
) -> None:
    begin, end, said = change
    place.sandbox.approve_all()
    begin()
    since = (datetime.now(UTC) - LONGEST).isoformat()
    with pytest.raises(AirflowFailException, match=rf"^{said}.*looked again for 24 h.*clear this task") as failure:
        wait(submitted).execute_complete(place.context(), since, changes_since=since)
    assert "badge_upkeep settles them" in str(failure.value)
    with pytest.raises(AirflowSkipException, match="looked again for 24 h"):
        wait(submitted, soft_fail=True).resume_execution(
            "execute_complete", {"event": {"status": "work"}, "changes_since": since}, place.context()
        )
    deferral_of(lambda: wait(submitted).execute(place.context()))  # a new try has a day again
    end()
    assert wait(submitted).execute(place.context())["outcomes"] == {"enrolled": 120}


def test_a_wait_without_a_triggerer_looks_again_by_itself(
    place: Place, submitted: dict[str, Any], change: tuple[Change, Change, str]
) -> None:
    begin, end, _ = change
    place.sandbox.approve_all()
    sensor = wait(submitted, mode="reschedule")
    begin()
    for _ in range(12):
        assert sensor.poke(place.context()).is_done is False
    end()
    ended = sensor.poke(place.context())
    assert ended.is_done
    assert ended.xcom_value == {**submitted, "outcomes": {"enrolled": 120}}


def test_the_deadline_is_judged_when_the_ledger_can_be_read_again(
    place: Place, submitted: dict[str, Any], change: tuple[Change, Change, str]
) -> None:
    """A checker who was in time shall not be called late because of an update."""
    begin, end, _ = change
    place.sandbox.approve_all()
    begin()
    waits = deferral_of(lambda: wait(submitted, timeout=0.001).execute(place.context()))
    end()
    assert resumed(place, wait(submitted, timeout=0.001), waits)["outcomes"] == {"enrolled": 120}


def test_a_plan_whose_xcom_is_gone_is_looked_for_once_the_ledger_can_be_read(
    place: Place, submitted: dict[str, Any], release: SecondRelease
) -> None:
    release.install()
    waits = deferral_of(lambda: wait(submitted).execute(place.context()))
    release.uninstall()
    place.sandbox.approve_all()
    sensor = wait(submitted)
    sensor.plan = None
    assert resumed(place, sensor, waits)["outcomes"] == {"enrolled": 120}


@pytest.mark.parametrize("kind", ["missing", "before the first release", "a table is missing"])
def test_what_no_update_ends_is_not_waited_for(place: Place, submitted: dict[str, Any], kind: str) -> None:
    if kind == "missing":
        place.connect("badge_ledger", conn_type="sqlite", host="/nowhere/ledger.db")
    else:
        with place.ledger.write() as tx:
            text = (
                "UPDATE badge_ledger_version SET version_num = '0001'"
                if kind == "before the first release"
                else "ALTER TABLE badge_request RENAME TO requests"
            )
            tx.conn.exec_driver_sql(text)
    with pytest.raises(AirflowException):
        wait(submitted).execute_complete(place.context(), {"status": "work"})


def test_the_pause_ends_at_its_moment_and_its_event_resumes_the_wait(
    place: Place, submitted: dict[str, Any], change: tuple[Change, Change, str]
) -> None:
    async def fired(trigger: DateTimeTrigger) -> object:
        async with asyncio.timeout(20):
            return (await anext(trigger.run())).payload

    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    _path, kwargs = DateTimeTrigger(moment=soon).serialize()
    event = asyncio.run(fired(DateTimeTrigger(**kwargs)))
    assert datetime.now(UTC) >= soon
    begin, _end, _said = change
    begin()
    since = datetime.now(UTC).isoformat()
    again = deferral_of(lambda: wait(submitted).execute_complete(place.context(), event, changes_since=since))
    assert again.kwargs is not None
    assert again.kwargs["changes_since"] == since
