from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import delete, update

from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator
from tests.glue.conftest import BADGE, SQL, Place


def keep(place: Place) -> int:
    return BadgeUpkeepOperator(task_id="keep_house").execute(place.context())


def die(place: Place) -> None:
    """The lease of every run is over."""
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(alive_until=tx.now - timedelta(seconds=1)))


def test_an_empty_ledger_has_nothing_to_do(place: Place) -> None:
    assert keep(place) == 0
    assert sum(place.sandbox.platform.calls.values()) == 0


def test_what_was_decided_is_settled_though_nobody_waits(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    place.sandbox.approve_all()
    assert keep(place) == 3
    assert place.outcomes() == {"enrolled": 120}
    assert keep(place) == 0


def test_unsent_customers_of_a_dead_run_are_given_back_and_of_a_living_one_kept(place: Place) -> None:
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    keep(place)
    assert place.outcomes() == {None: 120}
    die(place)
    keep(place)
    assert place.outcomes() == {}


def test_a_lost_reply_is_found(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    place.sandbox.fault("submit", "drop", times=1)
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert place.statuses() == {"sending": 1, "waiting": 2}
    keep(place)
    assert place.statuses() == {"waiting": 3}
    assert place.sent() == list(range(1_001, 1_121))


def test_one_account_that_fails_is_named(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    place.platform(organisation_id="7")
    with pytest.raises(AirflowException, match=r"/100458: connection 'capillary' leads to .*/7 by now.*point it back"):
        keep(place)


def test_the_ledger_is_migrated_once(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    new = tmp_path_factory.mktemp("new") / "ledger.db"
    place.connect("badge_ledger", conn_type="sqlite", host=str(new))
    migrate = MigrateLedgerOperator(task_id="migrate_ledger")
    revision = migrate.execute(place.context())
    assert migrate.execute(place.context()) == revision
    Ledger(f"sqlite:///{new}").close()


def test_a_twin_that_comes_late_is_found_though_nothing_is_open(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    place.sandbox.approve_all()
    with place.ledger.write() as tx:  # as if each had been sent three times, and never found
        tx.conn.execute(delete(badge_sighting))
        tx.conn.execute(update(badge_request).values(status="settled", resends=2, settled_at=tx.now))
        tx.conn.execute(update(badge_enrolment).values(outcome="unconfirmed"))
    assert keep(place) == 3
    assert place.outcomes() == {"enrolled": 120}
    with place.ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(settled_at=tx.now - timedelta(days=8)))
    before = sum(place.sandbox.platform.calls.values())
    assert keep(place) == 0
    assert sum(place.sandbox.platform.calls.values()) == before, "not for ever"
