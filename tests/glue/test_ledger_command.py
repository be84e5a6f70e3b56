"""What a person says to the ledger: make one, a new organisation, a key that is not ours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import delete, select, update

from capillary.__main__ import main
from capillary.engine.history import DAYS_AT_ONCE
from capillary.hooks import CapillaryHook
from capillary.ledger import scans, unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.history import GOES_BACK, History, history
from capillary.ledger.revision import REVISIONS
from capillary.ledger.schema import badge_not_ours, badge_request, badge_sighting
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator
from sandbox.faults import Route
from tests.glue.conftest import BADGE, SQL, Place

STRAY = "cb1.stray.0123456789abcdef0123456789abcdef"


@pytest.fixture
def new_place(place: Place, tmp_path: Path) -> Place:
    """A place without a ledger."""
    place.ledger.close()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    return place


def reopen(place: Place, tmp_path: Path) -> None:
    place.ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")


def account(place: Place) -> str:
    return f"{urlsplit(place.sandbox.url).netloc}/100458"


def sender(place: Place) -> str:
    return CapillaryHook("capillary").get_settings().sender


def stands(place: Place) -> History:
    with place.ledger.read() as tx:
        return history(tx, account(place), sender(place))


def submit(place: Place) -> None:
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context())
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context())


def today(place: Place) -> date:
    zone = ZoneInfo(CapillaryHook("capillary").get_settings().cluster_timezone)
    with place.ledger.read() as tx:
        return tx.now.astimezone(zone).date()


# Making one -------------------------------------------------------------------------------------------------


def test_a_ledger_is_made_behind_its_connection(
    new_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "create"]) == 0
    assert capsys.readouterr().out == f"ledger: created at {REVISIONS[-1]}\n"
    reopen(new_place, tmp_path)
    assert stands(new_place).read_at is None, "the list is read before anything is sent"
    submit(new_place)
    assert new_place.sandbox.platform.calls[Route.LIST] > GOES_BACK.days / DAYS_AT_ONCE


def test_a_new_organisation_is_not_read_back(
    new_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "create", "--new-organisation"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"ledger: created at {REVISIONS[-1]}; {account(new_place)} is treated as new, as you say")
    assert new_place.sandbox.platform.calls.total() == 0
    reopen(new_place, tmp_path)
    assert stands(new_place).first_day == today(new_place)
    submit(new_place)
    assert new_place.sandbox.platform.calls[Route.LIST] == 2, "of every type, and whether of ours there are more"


def test_the_word_may_be_given_later_and_is_for_one_account(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.connect("other", **(place.sandbox_connection() | {"extra": {"organisation_id": "7"}}))
    assert main(["ledger", "create", "--new-organisation", "--capillary-conn-id", "other"]) == 0
    said = capsys.readouterr().out
    assert "there already" in said
    assert "/7 is treated as new" in said
    assert stands(place).read_at is None


def test_the_word_changes_nothing_where_the_list_was_read(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    submit(place)
    before = stands(place)
    assert main(["ledger", "create", "--new-organisation"]) == 0
    assert "has been read already" in capsys.readouterr().out
    assert stands(place) == before


def test_without_the_platforms_connection_no_new_ledger_is_made_on_its_word(
    new_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "create", "--new-organisation", "--capillary-conn-id", "nowhere"]) == 1
    assert "There is no Airflow connection 'nowhere'" in capsys.readouterr().err
    assert not (tmp_path / "ledger.db").exists()


# Not ours ---------------------------------------------------------------------------------------------------


def stop_by(place: Place, key: str) -> None:
    submit(place)
    with place.ledger.write() as tx:
        unknown_keys.note(tx, account(place), sender(place), [key])


def test_a_persons_word_is_kept_and_the_list_read_once_more(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stop_by(place, STRAY)
    place.customers(*range(2_001, 2_051))
    plan = PlanBadgesOperator(task_id="extract", sql=SQL, **BADGE).execute(place.context("later"))
    assert main(["ledger", "import", "--not-ours", STRAY]) == 0
    assert "The next submit reads the whole list again before it sends" in capsys.readouterr().out
    with place.ledger.read() as tx:
        (said,) = tx.conn.execute(select(badge_not_ours)).all()
    assert (said.account, said.key) == (account(place), STRAY)
    assert said.said_by
    assert abs(said.said_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert stands(place).read_at is None
    IssueBadgeOperator(task_id="submit", plan=plan).execute(place.context("later"))
    assert stands(place).read_at is not None
    assert len(place.sent()) == 170


def test_the_word_for_other_keys_leaves_the_stop(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stop_by(place, STRAY)
    assert main(["ledger", "import", "--not-ours", "cb1.a", "--not-ours", "cb1.b"]) == 0
    assert f"cb1.a, cb1.b. Submitting stays stopped by {STRAY}" in capsys.readouterr().out
    with place.ledger.read() as tx:
        assert [each.key for each in unknown_keys.unknown_keys(tx, account(place))] == [STRAY]


def test_a_key_that_a_stranger_chose_is_shown_on_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stop_by(place, "cb1.a\nledger: all is well")
    assert main(["ledger", "import", "--not-ours", "cb1.b\nledger: noted"]) == 0
    said = capsys.readouterr().out
    assert r"cb1.b\nledger: noted. Submitting stays stopped by cb1.a\nledger: all is well" in said
    assert said.splitlines()[-1].startswith("ledger: noted for ")


def test_the_word_may_come_before_the_request_shows(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "import", "--not-ours", STRAY]) == 0
    assert "Nothing was stopped" in capsys.readouterr().out


def test_a_request_of_the_ledger_is_ours_whatever_a_person_says(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place)
    assert main(["ledger", "import", "--not-ours", "cb1.other", "--not-ours", place.request_keys()[0]]) == 1
    assert "is a request of this ledger, and so it is ours" in capsys.readouterr().err
    with place.ledger.read() as tx:
        assert tx.conn.execute(select(badge_not_ours)).all() == [], "none of them was noted"


def test_a_key_of_another_form_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "import", "--not-ours", "order-17"]) == 1
    assert "is not a key that could be ours" in capsys.readouterr().err


def test_a_request_that_shows_no_key_goes_by_its_platform_request_id(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = "7d3f0a52-ca99-11f0-8000-0242ac120002"
    assert main(["ledger", "import", "--not-ours", dark]) == 1, "nobody was stopped by it"
    stop_by(place, dark)
    assert main(["ledger", "import", "--not-ours", dark]) == 0
    assert "The next submit reads the whole list again" in capsys.readouterr().out
    with place.ledger.read() as tx:
        assert unknown_keys.unknown_keys(tx, account(place)) == ()


NAMED = "4355e800-e71c-11f1-8f3e-325096b39f47"


@pytest.mark.parametrize("by", ["answered_id", "error"])
def test_what_holds_a_doubt_may_be_said_to_be_not_ours_by_its_platform_request_id(
    place: Place, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    submit(place)
    said = NAMED if by == "answered_id" else f"request {NAMED} on the platform (under key REF-77) may be it"
    with place.ledger.write() as tx:
        tx.conn.execute(delete(badge_sighting))
        tx.conn.execute(update(badge_request).values(status="sending", **{by: said}))
    assert main(["ledger", "import", "--not-ours", NAMED]) == 0
    assert "The next reading judges what is in doubt without them" in capsys.readouterr().out
    assert main(["ledger", "import", "--not-ours", NAMED.replace("4", "5")]) == 1
    with place.ledger.read() as tx:
        assert scans.are_not_ours(tx, account(place), [NAMED]) == {NAMED}


def test_a_request_that_was_seen_is_ours_by_its_platform_request_id_too(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place)
    with place.ledger.write() as tx:
        seen = tx.conn.execute(select(badge_sighting.c.platform_request_id)).scalars().first()
        tx.conn.execute(update(badge_request).values(status="sending", answered_id=seen))
    assert main(["ledger", "import", "--not-ours", str(seen)]) == 1
    assert "is a request of this ledger, and so it is ours" in capsys.readouterr().err


# A lost ledger ----------------------------------------------------------------------------------------------


def test_a_lost_ledger_stops_every_task_and_a_new_one_submits_nobody_again(place: Place, tmp_path: Path) -> None:
    submit(place)
    place.sandbox.approve_all()
    place.ledger.close()
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()
    with pytest.raises(AirflowFailException, match="the ledger was lost"):
        submit(place)
    assert main(["ledger", "create"]) == 0
    place.customers(*range(1_000, 1_121))  # other slices, other keys
    with pytest.raises(AirflowFailException, match="which this ledger does not know"):
        submit(place)
    reopen(place, tmp_path)
    assert place.sent() == list(range(1_001, 1_121))
