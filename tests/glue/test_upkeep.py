from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import delete, func, inspect, select, update

from capillary.ledger.database import Ledger
from capillary.ledger.revision import REVISIONS
from capillary.ledger.runs import open_accounts
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


async def _killed(*_: object, **__: object) -> None:
    raise SystemExit(9)


def test_a_lost_reply_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    place.sandbox.fault("submit", "drop", times=1)
    with monkeypatch.context() as killed:
        # The task is killed as it begins to wait for its doubt.
        killed.setattr("capillary.engine.hold.Hold.look", _killed)
        with pytest.raises(SystemExit):
            IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    sending = place.statuses()["sending"]
    assert sending == 1
    keep(place)
    assert "sending" not in place.statuses()
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    assert place.statuses() == {"waiting": 3}
    assert place.sent() == list(range(1_001, 1_121))


def test_one_account_that_fails_is_named(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    place.platform(organisation_id="7")
    with pytest.raises(
        AirflowException, match=r"/100458: WrongAccount: connection 'capillary' now leads to .*/7, .*point it back"
    ):
        keep(place)


def test_what_a_dead_run_never_sent_is_given_back_wherever_its_connection_leads_by_now(place: Place) -> None:
    """A mistaken address was corrected: nothing but these rows holds the old one, and new runs are refused for it."""
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    die(place)
    place.platform(organisation_id="7")
    calls = place.sandbox.platform.calls.total()
    assert keep(place) == 0
    assert place.outcomes() == {}
    assert place.sandbox.platform.calls.total() == calls


def test_what_cannot_be_given_back_is_named_and_keeps_nothing_else_from_being_kept(place: Place) -> None:
    sent = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=sent).execute(place.context())
    place.sandbox.approve_all()
    place.customers(*range(2_001, 2_011))
    broken = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("broken", "extract"))
    die(place)
    with place.ledger.write() as tx:
        tx.conn.execute(delete(badge_enrolment).where(badge_enrolment.c.customer_id == 2_001))
    with pytest.raises(AirflowException, match="LedgerBroken") as failed:
        keep(place)
    assert broken["planned"] == 10
    assert not isinstance(failed.value, AirflowFailException), "it is tried again"
    assert place.statuses() == {"settled": 3, "planned": 1}


def test_a_ledger_that_is_the_codes_is_left_alone(place: Place) -> None:
    assert MigrateLedgerOperator(task_id="migrate_ledger").execute(place.context()) == REVISIONS[-1]


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_a_lost_ledger_is_not_made_again(place: Place, left: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The volume was lost: an empty ledger in its place would let everybody be submitted a second time."""
    lost = tmp_path_factory.mktemp("lost") / "ledger.db"
    if left == "an empty file":
        lost.touch()
    place.connect("badge_ledger", conn_type="sqlite", host=str(lost))
    for task in (MigrateLedgerOperator(task_id="migrate_ledger"), BadgeUpkeepOperator(task_id="keep_house")):
        with pytest.raises(AirflowFailException, match=r"the ledger was lost.*ledger create"):
            task.execute(place.context())
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE)
    with pytest.raises(AirflowFailException, match=r"the ledger was lost.*ledger create"):
        plan.execute(place.context())
    assert lost.exists() is (left == "an empty file")
    if lost.exists():
        with Ledger(f"sqlite:///{lost}", check_schema=False) as ledger, ledger.read() as tx:
            assert inspect(tx.conn).get_table_names() == []


# Two connections of one account -----------------------------------------------------------------------------


def two_connections(place: Place) -> None:
    """Each of two connections sends a run."""
    place.connect("second_till", **place.sandbox_connection())
    for conn_id, first in (("second_till", 2_001), ("capillary", 1_001)):
        place.customers(*range(first, first + 100))
        options = BADGE | {"occasion": conn_id, "campaign": conn_id, "capillary_conn_id": conn_id}
        plan = PlanBadgesOperator(task_id="extract", sql=SQL, **options).execute(place.context(conn_id))
        IssueBadgeOperator(task_id="submit", plan=plan, capillary_conn_id=conn_id).execute(place.context(conn_id))


def leave_in_doubt(place: Place, conn_id: str) -> None:
    """One request of the connection's run was never answered, two hours ago; it is not on the platform."""
    with place.ledger.write() as tx:
        (run_id,) = tx.conn.execute(select(badge_run.c.id).where(badge_run.c.capillary_conn_id == conn_id)).scalars()
        request_id = tx.conn.execute(
            select(func.min(badge_request.c.id)).where(badge_request.c.badge_run_id == run_id)
        ).scalar_one()
        tx.conn.execute(delete(badge_sighting).where(badge_sighting.c.request_id == request_id))
        long_ago = {name: tx.now - timedelta(hours=2) for name in ("first_sent_at", "last_sent_at", "doubt_from")}
        lost = {
            "status": "sending",
            "request_key": "cb1.lost",
            "error": "no answer",
            "sender": conn_id,
            "answered_id": None,
        }
        tx.conn.execute(update(badge_request).where(badge_request.c.id == request_id).values(**long_ago, **lost))


def test_upkeep_works_once_for_each_account_and_connection(place: Place) -> None:
    two_connections(place)
    with place.ledger.read() as tx:
        assert [each.capillary_conn_id for each in open_accounts(tx)] == ["capillary", "second_till"]
    place.sandbox.approve_all()
    assert keep(place) == 4
    assert place.outcomes() == {"enrolled": 200}
    with place.ledger.read() as tx:
        assert open_accounts(tx) == ()


def test_a_connection_that_is_gone_holds_nothing_up_that_another_one_can_do(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    two_connections(place)
    place.monkeypatch.delenv("AIRFLOW_CONN_SECOND_TILL")
    place.sandbox.approve_all()
    assert keep(place) == 4
    assert "There is no Airflow connection 'second_till'" in capsys.readouterr().out


def test_a_connection_that_is_gone_is_named_as_long_as_doubt_is_left(place: Place) -> None:
    two_connections(place)
    leave_in_doubt(place, "second_till")
    place.monkeypatch.delenv("AIRFLOW_CONN_SECOND_TILL")
    with place.ledger.write() as tx:  # no control: nothing was sent later than the one in doubt
        tx.conn.execute(update(badge_request).values(first_sent_at=tx.now - timedelta(hours=3)))
    with pytest.raises(AirflowException, match="There is no Airflow connection 'second_till'"):
        keep(place)


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
    assert sum(place.sandbox.platform.calls.values()) == before, "not forever"
