"""A ledger is moved while runs plan, submit and wait on it; judged by the platform's books."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred
from sqlalchemy import create_engine, text

from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.sensors import BadgeRequestSensor
from tests.glue.conftest import BADGE, Place

CHECKOUT: Final = Path(__file__).parents[2]
#: Most runs, how many go on over the new ledger, and new customers of each.
MOST: Final = 120
AFTER: Final = 3
EACH: Final = 60
#: A query of each run: its own customers, and the last ones of the run before.
SQL: Final = "SELECT customer_id FROM vip WHERE customer_id BETWEEN :first AND :last ORDER BY customer_id"


def copy() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "capillary", "ledger", "copy", "--to-conn-id", "new_ledger"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "plugins")])},
    )


class Campaign:
    """Runs one after the other, each task tried again as Airflow does, until all its requests are sent.

    Attributes:
        waiting: what each run's wait is handed.
        again: how often a task was tried again.
        faults: what ended the runs before their time.
    """

    def __init__(self, place: Place) -> None:
        self.waiting: dict[str, dict[str, Any]] = {}
        self.again = 0
        self.faults: list[BaseException] = []
        self._place = place
        self._end = MOST
        self._thread = threading.Thread(target=self._all)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end = min(MOST, len(self.waiting) + AFTER)
        self._thread.join()

    def _all(self) -> None:
        try:
            while len(self.waiting) < self._end:
                self._one(len(self.waiting))
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            self.faults.append(error)

    def _one(self, number: int) -> None:
        context = self._place.context(f"run {number}")
        first = number * EACH
        asked = {"first": max(1, first - 9), "last": first + EACH}
        plan = self._tried(
            lambda: PlanBadgesOperator(task_id="extract", sql=SQL, parameters=asked, **BADGE).execute(context)
        )
        self._tried(lambda: IssueBadgeOperator(task_id="submit", plan=plan, in_flight=2).execute(context))
        self.waiting[f"run {number}"] = plan

    def _tried(self, task: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        while True:
            try:
                return task()
            except (AirflowFailException, AirflowSkipException):
                raise
            except (AirflowException, TaskDeferred):  # in doubt: it looks again
                self.again += 1
                assert self.again < 600, "nothing goes on"
                time.sleep(0.2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_campaign_at_work_loses_nobody_and_sends_nobody_twice(
    place: Place, new_ledger: dict[str, object], seed: int
) -> None:
    """The copy is killed twice and tried again until it is through; the runs go on over the new ledger."""
    chance = random.Random(seed)  # noqa: S311 - of a test
    engine = create_engine(place.warehouse)
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM vip"))
        conn.execute(text("INSERT INTO vip VALUES (:id)"), [{"id": each} for each in range(1, MOST * EACH + 1)])
    engine.dispose()
    place.sandbox.fault("submit", "drop", times=1)
    kills = 0
    with Campaign(place) as campaign:
        while True:
            process = copy()
            try:
                _, told = process.communicate(timeout=chance.uniform(1.5, 6.0) if kills < 2 else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                continue
            if process.returncode == 0:
                break
            assert "sent a short time ago without an answer yet" in told
        before = len(campaign.waiting)
        place.connect("badge_ledger", **new_ledger)
    assert campaign.faults == []
    assert before < len(campaign.waiting) <= MOST
    customers = [*range(1, len(campaign.waiting) * EACH + 1)]
    assert place.sent() == customers
    place.sandbox.approve_all()
    outcomes: Counter[str] = Counter()
    for run_id, plan in campaign.waiting.items():
        wait = BadgeRequestSensor(task_id="wait", plan=plan)
        ended: dict[str, Any] = wait.execute_complete(place.context(run_id), {"status": "failed"})
        outcomes.update(ended["outcomes"])
    assert outcomes == {"enrolled": len(customers)}
    issued = place.sandbox.platform.enrolments(BADGE["badge_id"])
    assert {customer: len(each) for customer, each in issued.items()} == dict.fromkeys(customers, 1)
