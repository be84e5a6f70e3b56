"""An update while runs wait for days: code and ledger change one after the other, and nothing fails or is sent twice.

The same holds for a ledger that moves from SQLite into PostgreSQL under the runs that wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from capillary.__main__ import main
from capillary.engine import polling
from capillary.ledger.database import Ledger
from capillary.ledger.revision import REVISIONS
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator
from tests.glue.conftest import BADGE, SQL, Place
from tests.second_migration import SECOND, SecondRelease


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls without a pause to speak of."""
    monkeypatch.setattr(polling, "QUIET_S", 0.01)
    monkeypatch.setattr(polling, "_GROWTH", 1.0)


def deferred(place: Place, submitted: object) -> BadgeRequestTrigger:
    with pytest.raises(TaskDeferred) as end:
        BadgeRequestSensor(task_id="wait", plan=submitted).execute(place.context())
    trigger = end.value.trigger
    assert isinstance(trigger, BadgeRequestTrigger)
    trigger.poll_interval_s = 0.05
    return trigger


def polled(trigger: BadgeRequestTrigger) -> dict[str, str]:
    async def first() -> dict[str, str]:
        async with asyncio.timeout(20):
            payload: dict[str, str] = (await anext(trigger.run())).payload
            return payload

    return asyncio.run(first())


def resume(place: Place, submitted: object, event: object) -> dict[str, Any]:
    return BadgeRequestSensor(task_id="wait", plan=submitted).execute_complete(place.context(), event)


def migrate(place: Place) -> str | None:
    return MigrateLedgerOperator(task_id="migrate_ledger").execute(place.context())


@contextmanager
def after_failed_polls(number: int, then: Callable[[], None]) -> Iterator[list[str]]:
    """Do something once so many polls in a row have failed; gives what was logged of them."""
    said: list[str] = []

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno < logging.WARNING:  # when it looks next
                return
            said.append(record.getMessage())
            if len(said) == number:
                then()

    handler, log = Watching(), logging.getLogger("capillary.trigger")
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


def again(task: Callable[[], object]) -> str:
    """Run a task that must fail in a way that Airflow retries; return what it says."""
    with pytest.raises(AirflowException) as failure:
        task()
    assert not isinstance(failure.value, AirflowFailException), f"Airflow would not retry it: {failure.value}"
    return str(failure.value)


# The schema is one revision ahead, or behind -------------------------------------------------------------------


@pytest.mark.usefixtures("_quick")
def test_a_resumed_wait_on_a_newer_ledger_waits_and_does_not_fail(
    place: Place, submitted: dict[str, Any], release: SecondRelease
) -> None:
    trigger = deferred(place, submitted)
    place.sandbox.approve_all()
    assert polled(trigger) == {"status": "work"}
    with release.installed():
        assert migrate(place) == SECOND
    for _ in range(3):
        with pytest.raises(TaskDeferred):
            resume(place, submitted, {"status": "work"})
    with release.installed():  # the worker is updated
        assert resume(place, submitted, {"status": "work"})["outcomes"] == {"enrolled": 120}


def test_a_resumed_wait_of_newer_code_waits_for_the_upkeep(
    place: Place, submitted: dict[str, Any], release: SecondRelease
) -> None:
    deferred(place, submitted)
    place.sandbox.approve_all()
    release.install()
    with pytest.raises(TaskDeferred):
        resume(place, submitted, {"status": "failed"})
    assert migrate(place) == SECOND
    assert resume(place, submitted, {"status": "failed"})["outcomes"] == {"enrolled": 120}


@pytest.mark.usefixtures("_quick")
def test_an_older_triggerer_polls_on_beside_a_newer_ledger(
    place: Place, submitted: dict[str, Any], release: SecondRelease
) -> None:
    trigger = deferred(place, submitted)
    with release.installed():
        migrate(place)
    place.sandbox.approve_all()
    with after_failed_polls(5, release.install) as said:
        assert polled(trigger) == {"status": "work"}
    assert len(said) == 5
    assert all("update the installed package" in each for each in said)
    assert resume(place, submitted, {"status": "work"})["outcomes"] == {"enrolled": 120}


def test_no_older_task_does_anything_to_a_newer_ledger(
    place: Place, submitted: dict[str, Any], release: SecondRelease
) -> None:
    place.customers(*range(2_001, 2_051))
    later = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("later"))
    place.sandbox.approve_all()
    with release.installed():
        migrate(place)
    rows, sent, statuses = place.rows(), place.sent(), place.statuses()
    place.customers(*range(3_001, 3_051))
    for task in (
        lambda: PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("third")),
        lambda: IssueBadgeOperator(task_id="submit", plan=later).execute(place.context("later")),
        lambda: IssueBadgeOperator(task_id="submit", plan=later).execute_complete(
            place.context("later"), {"status": "work"}, reference=later, waiting_since="2026-01-01T00:00:00+00:00"
        ),
        lambda: ReportBadgesOperator(task_id="report", plan=submitted).execute(place.context()),
        lambda: BadgeUpkeepOperator(task_id="keep_house").execute(place.context()),
        lambda: migrate(place),
    ):
        assert f"at revision {SECOND}, which this code does not know" in again(task)
    with pytest.raises(TaskDeferred):
        BadgeRequestSensor(task_id="wait", plan=submitted).execute(place.context())
    assert (place.rows(), place.sent(), place.statuses()) == (rows, sent, statuses)
    release.install()
    IssueBadgeOperator(task_id="submit", plan=later).execute(place.context("later"))
    assert len(place.sent()) == 170
    BadgeUpkeepOperator(task_id="keep_house").execute(place.context())
    assert place.statuses() == {"settled": 3, "waiting": 1}


@pytest.mark.usefixtures("_quick")
def test_the_command_upgrades_while_runs_wait(
    place: Place, submitted: dict[str, Any], release: SecondRelease, capsys: pytest.CaptureFixture[str]
) -> None:
    trigger = deferred(place, submitted)
    release.install()
    capsys.readouterr()
    assert main(["ledger", "check"]) == 1
    assert main(["ledger", "upgrade"]) == 0
    assert capsys.readouterr().out == f"ledger: migrated from {REVISIONS[-1]} to {SECOND}\n"
    place.sandbox.approve_all()
    assert polled(trigger) == {"status": "work"}
    assert resume(place, submitted, {"status": "work"})["outcomes"] == {"enrolled": 120}


# The ledger moves ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_quick")
def test_a_waiting_run_goes_on_where_its_ledger_was_moved_to(
    place: Place,
    submitted: dict[str, Any],
    new_ledger: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trigger = deferred(place, submitted)
    assert main(["ledger", "copy", "--to-conn-id", "new_ledger"]) == 0
    assert "copied to postgresql" in capsys.readouterr().out
    # Until the connection leads there, the wait looks again, and the others are tried again.
    with pytest.raises(TaskDeferred):
        resume(place, submitted, {"status": "work"})
    assert "was moved to" in again(lambda: BadgeUpkeepOperator(task_id="keep_house").execute(place.context()))
    place.sandbox.approve_all()
    with after_failed_polls(4, lambda: place.connect("badge_ledger", **new_ledger)) as said:
        assert polled(trigger) == {"status": "work"}
    assert len(said) == 4
    assert resume(place, submitted, {"status": "work"})["outcomes"] == {"enrolled": 120}
    assert len(place.sent()) == 120


def test_what_was_planned_before_the_move_is_sent_once_after_it(place: Place, new_ledger: dict[str, object]) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    assert main(["ledger", "copy", "--to-conn-id", "new_ledger"]) == 0
    assert "was moved to" in again(lambda: IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context()))
    assert place.sent() == []
    place.connect("badge_ledger", **new_ledger)
    for _ in range(2):
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert place.sent() == list(range(1_001, 1_121))


def test_customers_of_before_the_move_are_known_after_it(
    place: Place, submitted: dict[str, Any], new_ledger: dict[str, object]
) -> None:
    assert main(["ledger", "copy", "--to-conn-id", "new_ledger"]) == 0
    place.connect("badge_ledger", **new_ledger)
    place.customers(*range(1_001, 1_131))
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("later"))
    assert (plan["planned"], plan["badge_run_id"]) == (10, submitted["badge_run_id"] + 1)


def test_a_submit_at_work_holds_the_move_up(
    place: Place, new_ledger: dict[str, object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its POST is on its way, and the answer will want to be written down."""
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())

    async def killed(*_: object, **__: object) -> None:
        raise SystemExit(9)

    place.sandbox.fault("submit", "drop", times=1)
    with monkeypatch.context() as dying:
        dying.setattr("capillary.engine.hold.Hold.look", killed)
        with pytest.raises(SystemExit):
            IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert main(["ledger", "copy", "--to-conn-id", "new_ledger"]) == 1
    assert "sent a short time ago without an answer yet: switch Submitting off" in capsys.readouterr().err
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert main(["ledger", "copy", "--to-conn-id", "new_ledger"]) == 0
    assert len(place.sent()) == 120
    Ledger(place.ledger.url, though_moved=True).close()
