"""Tasks that were handed a plan before the ledger was restored: none acts for whoever has its number now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from sqlalchemy import insert, select

from capillary.airflow_errors import PlanMissing, airflow_failures
from capillary.engine import polling
from capillary.ledger.plan_id import PlanId
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.plan_reference import PlanReference
from capillary.sensors import BadgeRequestSensor
from capillary.triggers import BadgeRequestTrigger
from tests.glue.conftest import BADGE, SQL, Place

Reference = dict[str, Any]


def plan(place: Place, run_id: str, **changes: object) -> Reference:
    operator = PlanBadgesOperator(task_id="extract", sql=SQL, **{**BADGE, **changes})
    return dict(operator.execute(place.context(run_id, "extract")))


def submit(place: Place, plan: object) -> None:
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())


def wait(place: Place, plan: object) -> None:
    BadgeRequestSensor(task_id="wait", plan=plan).execute(place.context())


def report(place: Place, plan: object) -> None:
    ReportBadgesOperator(task_id="report", plan=plan).execute(place.context())


@pytest.fixture
def scene(place: Place) -> tuple[Reference, Reference]:
    """A plan of before the restore, and the stranger's that has its number now."""
    before = plan(place, "before")
    # An early backup: nothing was planned, and the numbers begin again.
    with place.ledger.write() as tx:
        for table in (badge_enrolment, badge_request, badge_run):
            tx.conn.execute(table.delete())
        tx.conn.exec_driver_sql("DELETE FROM sqlite_sequence")
    place.customers(*range(5_001, 5_061))
    stranger = plan(place, "stranger", occasion="another")
    assert stranger["badge_run_id"] == before["badge_run_id"]
    assert stranger["token"] != before["token"]
    return before, stranger


@pytest.mark.parametrize("task", [submit, wait, report])
def test_no_task_acts_for_the_plan_that_has_its_number_now(
    place: Place, scene: tuple[Reference, Reference], task: Callable[[Place, object], None]
) -> None:
    before, _ = scene
    with pytest.raises(AirflowFailException, match=r"the ledger has no plan 1 .* Clear the task that plans"):
        task(place, before)
    assert place.statuses() == {"planned": 2}
    assert place.sent() == []
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_run.c.discarded)).scalars().all() == [0]


def test_a_trigger_of_before_keeps_no_strangers_run_alive(
    place: Place, scene: tuple[Reference, Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, stranger = scene
    submit(place, stranger)
    monkeypatch.setattr(polling, "QUIET_S", 0.01)
    with pytest.raises(TaskDeferred) as deferred:
        wait(place, stranger)
    classpath, facts = deferred.value.trigger.serialize()
    assert classpath.endswith("BadgeRequestTrigger")
    assert (facts["badge_run_id"], facts["token"]) == (stranger["badge_run_id"], stranger["token"])
    with place.ledger.read() as tx:
        alive_until = tx.conn.execute(select(badge_run.c.alive_until)).scalar_one()

    async def first_event() -> object:
        async for event in BadgeRequestTrigger(**{**facts, "token": before["token"]}).run():
            return event.payload
        return None

    assert asyncio.run(first_event()) == {"status": "failed"}, "the worker says why"
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_run.c.alive_until)).scalar_one() == alive_until


@pytest.mark.parametrize("task", [submit, wait, report])
@pytest.mark.parametrize(
    "changes",
    [{"token": None}, {"badge_run_id": None}, {"token": 7}, {"badge_run_id": "1"}, None],
    ids=["no token", "no number", "a number for a token", "a text for a number", "of an older version"],
)
def test_a_reference_without_its_token_is_none_and_gives_nothing_back(
    place: Place, task: Callable[[Place, object], None], changes: Reference | None
) -> None:
    reference = plan(place, "run")
    if changes is None:
        del reference["token"]
    with pytest.raises(AirflowFailException, match=r"no plan was handed over \(dict\)"):
        task(place, {**reference, **(changes or {})})
    assert place.statuses() == {"planned": 3}


def test_a_reference_hands_on_number_and_token(place: Place) -> None:
    reference = PlanReference.parse(plan(place, "run"))
    with place.ledger.read() as tx:
        row = tx.conn.execute(select(badge_run.c.id, badge_run.c.token)).one()
    assert reference.plan_id == PlanId(row.id, row.token)
    assert PlanReference.parse(reference.to_xcom()) == reference
    dry = PlanReference.parse(plan(place, "dry", dry_run=True))
    assert (dry.is_dry_run, dry.plan_id, dry.token) == (True, None, None)
    with pytest.raises(PlanMissing):
        PlanReference.parse({**reference.to_xcom(), "badge_run_id": None})


def test_rows_that_are_gone_under_a_task_end_it_with_a_sentence_that_may_be_tried_again(place: Place) -> None:
    sighting = {"platform_request_id": "p", "request_id": 77, "state": "AdminTask", "auto_approved": False}
    with (
        pytest.raises(
            AirflowException, match=r"the ledger's rows are not those that this task has read .* restored"
        ) as caught,
        airflow_failures(),
        place.ledger.write() as tx,
    ):
        tx.conn.execute(insert(badge_sighting).values(seen_at=tx.now, **sighting))
    assert not isinstance(caught.value, AirflowFailException)
    assert "INSERT" not in str(caught.value)
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_request)).all() == []
