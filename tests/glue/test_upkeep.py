from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import delete, func, inspect, select, update
from sqlalchemy.exc import OperationalError

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.revision import REVISIONS
from capillary.ledger.runs import open_accounts
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
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


@pytest.mark.parametrize("how", ["leads elsewhere", "is gone"])
def test_what_a_dead_run_never_sent_is_given_back_though_its_connection_now(
    place: Place, how: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistaken address was corrected: nothing but these rows holds the old one, and new runs are refused for it."""
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("mistake", "extract"))
    die(place)
    lead_away(place, how)
    calls = place.sandbox.platform.calls.total()
    assert keep(place) == 0
    assert place.outcomes() == {}
    assert place.sandbox.platform.calls.total() == calls
    (said,) = (each for each in caplog.records if each.name == "capillary.upkeep")
    assert said.levelname == "WARNING"
    assert "run mistake of DAG vip, which counts as dead since " in said.getMessage()
    assert "has 120 customers planned and never sent; given back without a look at the platform" in said.getMessage()
    assert not re.search("WrongAccount|ConnectionMissing", capsys.readouterr().out), "nothing is left to do"
    assert keep(place) == 0, "and so at every hour"
    place.platform(organisation_id="7")
    assert PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("next"))["planned"] == 120


def test_a_try_that_reads_nothing_since_its_commit_was_not_answered_is_made_up_for_by_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn to read the list is taken and its reader not told: the next try comes after a minute, not after five."""
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())
    place.sandbox.approve_all()
    really, unanswered = Ledger.write, [True]

    @contextmanager
    def write(ledger: Ledger) -> Iterator[Transaction]:
        with really(ledger) as tx:
            yield tx
        if unanswered:
            unanswered.clear()
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(Ledger, "write", write)
    with pytest.raises(AirflowException, match="LedgerUnavailable"):
        keep(place)
    assert keep(place) == 3
    assert place.outcomes() == {"enrolled": 120}


def test_what_was_given_back_is_said_of_each_run_without_a_customer(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("first", "extract"))
    place.customers(*range(2_001, 2_002))
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("second", "extract"))
    die(place)
    with caplog.at_level("INFO", "capillary.upkeep"):
        assert keep(place) == 0
    said = "\n".join(caplog.messages)
    for run, customers in (("first", "120 customers"), ("second", "1 customer")):
        assert f"run {run} of DAG vip, which counts as dead since " in said
        assert f"has {customers} planned and never sent; given back, since the platform's list shows none" in said
    assert not re.search(r"\b(?:1[01]\d\d|2001)\b", said), "counts, and no id of a customer"


# A ledger that was restored to before it sent ----------------------------------------------------------------


@contextmanager
def restored(place: Place) -> Iterator[None]:
    """What is done inside is forgotten by the ledger afterwards, and its runs are dead."""
    file = place.ledger.engine.url.database
    assert file is not None
    place.ledger.engine.dispose()
    with closing(sqlite3.connect(file)) as ledger, closing(sqlite3.connect(f"{file}.backup")) as backup:
        ledger.backup(backup)
    yield
    place.ledger.engine.dispose()
    with closing(sqlite3.connect(f"{file}.backup")) as backup, closing(sqlite3.connect(file)) as ledger:
        backup.backup(ledger)
    die(place)


def sent_and_forgotten(place: Place) -> None:
    """The run `forgotten` sends 120 customers, and the ledger is restored to before it did."""
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("forgotten", "extract"))
    with restored(place):
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context("forgotten", "submit"))
    assert place.statuses()["planned"] == 3
    assert set(range(1_001, 1_121)) <= set(place.sent())


def settle_one_run(place: Place) -> None:
    """The account is in use: a run of before has ended."""
    place.customers(*range(501, 551))
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("ended", "extract"))
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context("ended", "submit"))
    place.sandbox.approve_all()
    assert keep(place) == 1
    place.customers(*range(1_001, 1_121))


def lead_away(place: Place, how: str) -> None:
    """No connection of the account can be read any more."""
    if how == "leads elsewhere":
        place.platform(organisation_id="7")
    elif how == "is gone":
        place.monkeypatch.delenv("AIRFLOW_CONN_CAPILLARY")
    else:
        place.platform(calls_per_minute="many")


def test_a_restored_ledger_finds_what_it_had_sent_before_anything_is_given_back(place: Place) -> None:
    sent_and_forgotten(place)
    assert keep(place) == 0
    assert place.statuses() == {"waiting": 3}
    place.sandbox.approve_all()
    assert keep(place) == 3
    assert place.outcomes() == {"enrolled": 120}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("leads elsewhere", r"WrongAccount: connection 'capillary' now leads to .*/7, .*point it back"),
        ("is gone", "ConnectionMissing: There is no Airflow connection 'capillary'"),
        ("is wrong", "ConnectionInvalid: Connection 'capillary', field 'calls_per_minute'"),
    ],
)
def test_of_an_account_in_use_nothing_is_given_back_unread_and_upkeep_fails_where_its_connection(
    place: Place, how: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    settle_one_run(place)
    sent_and_forgotten(place)
    lead_away(place, how)
    for _ in range(2):
        with pytest.raises(AirflowException, match=why):
            keep(place)
        assert place.statuses() == {"settled": 1, "planned": 3}
    said = [
        each.getMessage() for each in caplog.records if each.levelname == "ERROR" and "forgotten" in each.getMessage()
    ]
    assert len(said) == 2
    assert "run forgotten of DAG vip, which counts as dead since " in said[0]
    assert "has 120 customers planned and never sent; not given back, since" in said[0]
    assert "clear the run's task report" in said[0]
    place.platform()
    assert keep(place) == 0
    assert place.statuses() == {"settled": 1, "waiting": 3}, "once it is read, nothing was forgotten"


def test_report_gives_back_what_upkeep_will_not_give_back_unread(place: Place) -> None:
    """The way out that the log names, where the account is gone for good."""
    settle_one_run(place)
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("unsent", "extract"))
    die(place)
    lead_away(place, "is gone")
    with pytest.raises(AirflowException, match="ConnectionMissing"):
        keep(place)
    with pytest.raises(AirflowFailException, match="120 customers never sent and given back"):
        ReportBadgesOperator(task_id="report", plan=plan).execute(place.context("unsent", "report"))
    assert keep(place) == 0


def test_a_connection_that_is_wrong_may_be_corrected_so_nothing_is_given_back_unread(place: Place) -> None:
    sent_and_forgotten(place)
    lead_away(place, "is wrong")
    with pytest.raises(AirflowException, match="ConnectionInvalid"):
        keep(place)
    assert place.statuses() == {"planned": 3}
    place.platform()
    keep(place)
    assert place.statuses() == {"waiting": 3}


@pytest.mark.usefixtures("no_pauses")
def test_a_platform_that_does_not_answer_keeps_what_was_not_sent(place: Place) -> None:
    sent_and_forgotten(place)
    place.sandbox.fault("list", "drop", times=200)
    with pytest.raises(AirflowException, match="PlatformUnavailable"):
        keep(place)
    assert place.statuses() == {"planned": 3}


def test_what_was_given_back_unread_is_sent_to_nobody_twice(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Restored to before the account's very first send, its address looks like a mistaken one."""
    sent_and_forgotten(place)
    lead_away(place, "leads elsewhere")
    assert keep(place) == 0
    assert place.statuses() == {}
    assert "If the ledger was restored to an earlier moment, the platform may hold requests" in caplog.text
    place.platform()
    place.customers(*range(1_051, 1_171))
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("next", "extract"))
    with pytest.raises(AirflowFailException, match="this ledger does not know"):
        IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context("next", "submit"))
    assert place.sent() == list(range(1_001, 1_121))


def test_an_account_that_fails_keeps_no_other_from_being_kept(place: Place) -> None:
    """The account that no connection leads to comes first, and everything of the other is done all the same."""
    settle_one_run(place)
    PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("unsent", "extract"))
    place.connect("second_till", **place.sandbox_connection(organisation_id="200"))
    options = BADGE | {"capillary_conn_id": "second_till", "preflight": False}
    PlanBadgesOperator(task_id="extract", sql=SQL, **options).execute(place.context("second", "extract"))
    die(place)
    lead_away(place, "is gone")
    place.monkeypatch.delenv("AIRFLOW_CONN_SECOND_TILL")
    with pytest.raises(AirflowException, match="ConnectionMissing") as failed:
        keep(place)
    assert "/200" not in str(failed.value)
    assert place.statuses() == {"settled": 1, "planned": 3}, "of the first; the second's were given back"


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
