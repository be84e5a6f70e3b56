"""Where an account's first reading stands, kept in the ledger."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from capillary.ledger import history, scans, unknown_keys
from capillary.ledger.database import Ledger
from capillary.ledger.history import GOES_BACK, Days, History
from tests.unit.ledger.conftest import Clock

ACCOUNT = "https://platform.example/100"
SENDER, OTHER = "0123456789abcdef", "fedcba9876543210"
TODAY = date(2026, 11, 23)
DAY = timedelta(days=1)
FIRST = TODAY - GOES_BACK


def stands(ledger: Ledger, account: str = ACCOUNT) -> History:
    with ledger.read() as tx:
        return history.history(tx, account, SENDER)


def begin(ledger: Ledger, today: date = TODAY) -> History:
    with ledger.write() as tx:
        return history.begin(tx, ACCOUNT, SENDER, today=today)


def advance(ledger: Ledger, first: date, last: date, *, refused: bool = False) -> bool:
    with ledger.write() as tx:
        return history.advance(tx, ACCOUNT, SENDER, Days(first, last), refused=refused)


def finish(ledger: Ledger, today: date = TODAY) -> History:
    with ledger.write() as tx:
        return history.finish(tx, ACCOUNT, SENDER, today=today)


def test_an_account_that_was_never_seen_is_unread(ledger: Ledger) -> None:
    assert stands(ledger) == History(None, None, None, None)
    assert finish(ledger).read_at is None


def test_a_first_reading_begins_five_years_back(ledger: Ledger) -> None:
    assert begin(ledger) == History(FIRST, FIRST, None, None)
    assert (TODAY - FIRST).days == 5 * 365


def test_a_killed_reading_goes_on_where_it_was_on_another_day_too(ledger: Ledger) -> None:
    begin(ledger)
    assert advance(ledger, FIRST, TODAY - 9 * DAY)
    assert begin(ledger, TODAY + DAY) == History(FIRST, TODAY - 8 * DAY, None, None)


def test_it_is_through_when_today_is_read_and_not_before(ledger: Ledger, clock: Clock) -> None:
    begin(ledger)
    advance(ledger, FIRST, TODAY - DAY)
    assert finish(ledger).read_at is None
    advance(ledger, TODAY, TODAY)
    assert finish(ledger) == History(FIRST, TODAY + DAY, None, clock.now)
    clock.advance(days=3)
    assert finish(ledger, TODAY + 3 * DAY).read_at == clock.now - 3 * DAY, "once forever"


def test_a_step_counts_only_from_where_the_reading_stands(ledger: Ledger) -> None:
    assert not advance(ledger, FIRST, TODAY), "it has not begun"
    begin(ledger)
    assert not advance(ledger, FIRST + DAY, TODAY)
    assert advance(ledger, FIRST, TODAY)
    finish(ledger)
    assert not advance(ledger, TODAY + DAY, TODAY + DAY), "it is through"


def test_days_that_stay_unread_are_named_and_keep_it_from_being_through(ledger: Ledger) -> None:
    begin(ledger)
    days = [FIRST + each * DAY for each in range(9)]
    for number, day in enumerate(days):
        assert advance(ledger, day, day, refused=number in (0, 1, 2, 5, 7, 8))
    advance(ledger, days[-1] + DAY, TODAY)
    words = f"{days[0]} to {days[2]}, {days[5]}, {days[7]} to {days[8]}"
    assert finish(ledger) == History(FIRST, TODAY + DAY, words, None)


def test_a_reading_that_left_days_unread_begins_again(ledger: Ledger) -> None:
    begin(ledger)
    advance(ledger, FIRST, FIRST, refused=True)
    assert begin(ledger).unread == str(FIRST), "it is not over yet"
    advance(ledger, FIRST + DAY, TODAY)
    finish(ledger)
    assert begin(ledger) == History(FIRST, FIRST, None, None)


def test_a_persons_word_ends_it(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        history.take_as_read(tx, ACCOUNT, SENDER, since=TODAY - 9 * DAY)
    assert stands(ledger) == History(TODAY - 9 * DAY, TODAY - 9 * DAY, None, clock.now)
    assert stands(ledger, "https://platform.example/200").read_at is None, "and that of no other account"


@pytest.mark.parametrize("word", [True, False], ids=["a person's day", "years"])
def test_it_is_read_again_from_the_first_day_that_matters(ledger: Ledger, word: bool) -> None:
    since = TODAY - 9 * DAY if word else FIRST
    with ledger.write() as tx:
        history.take_as_read(tx, ACCOUNT, SENDER, since=since)
        unknown_keys.note(tx, ACCOUNT, SENDER, ["cb1.stray"])
        history.read_again(tx, ACCOUNT, SENDER)
    assert stands(ledger) == History(since, since, None, None)
    assert begin(ledger).next_day == since


def test_a_key_that_is_not_ours_is_so_in_its_account(ledger: Ledger) -> None:
    long = "cb1." + "x" * 100
    with ledger.write() as tx:
        for _ in range(2):  # said twice is said once
            scans.note_not_ours(tx, ACCOUNT, "cb1.stray", by="anna")
            scans.note_not_ours(tx, ACCOUNT, long, by="anna")
        assert scans.are_not_ours(tx, ACCOUNT, ["cb1.stray", "cb1.other", long]) == {"cb1.stray", long}
        assert scans.are_not_ours(tx, "https://platform.example/200", ["cb1.stray"]) == set()
        assert scans.are_not_ours(tx, ACCOUNT, []) == set()


@pytest.mark.parametrize("count", [2, 3, 30, 31, 1826])
def test_halves_are_the_whole_without_a_gap(count: int) -> None:
    days = Days(TODAY, TODAY + (count - 1) * DAY)
    first, second = days.halves()
    assert (first.first, second.last) == (days.first, days.last)
    assert second.first == first.last + DAY
    assert first.count + second.count == days.count == count
    assert first.count >= 1


def test_one_users_reading_is_none_of_another(ledger: Ledger) -> None:
    begin(ledger)
    advance(ledger, FIRST, TODAY)
    finish(ledger)
    with ledger.write() as tx:
        assert history.history(tx, ACCOUNT, OTHER) == History(None, None, None, None)
        assert not history.advance(tx, ACCOUNT, OTHER, Days(FIRST, TODAY), refused=False)
        assert history.begin(tx, ACCOUNT, OTHER, today=TODAY) == History(FIRST, FIRST, None, None)
        history.read_again(tx, ACCOUNT, OTHER)
    assert stands(ledger).read_at is not None


def days_to_read(ledger: Ledger, today: date = TODAY) -> int:
    with ledger.read() as tx:
        return history.days_to_read(tx, ACCOUNT, SENDER, today=today)


def test_the_days_that_are_still_to_be_read_are_counted(ledger: Ledger) -> None:
    every = GOES_BACK.days + 1
    assert days_to_read(ledger) == every, "nobody has begun"
    begin(ledger)
    assert days_to_read(ledger) == every
    assert advance(ledger, FIRST, FIRST + 29 * DAY, refused=False)
    assert days_to_read(ledger) == every - 30
    assert advance(ledger, FIRST + 30 * DAY, TODAY, refused=False)
    assert days_to_read(ledger) == 1, "it is not through before it is finished"
    finish(ledger)
    assert days_to_read(ledger) == 0
    assert days_to_read(ledger, TODAY + DAY) == 0


def test_days_that_stayed_unread_are_counted_again(ledger: Ledger) -> None:
    begin(ledger)
    assert advance(ledger, FIRST, TODAY, refused=True)
    finish(ledger)
    assert days_to_read(ledger) == GOES_BACK.days + 1


def test_what_another_user_has_read_counts_for_itself(ledger: Ledger) -> None:
    with ledger.write() as tx:
        history.take_as_read(tx, ACCOUNT, OTHER, since=FIRST)
    assert days_to_read(ledger) == GOES_BACK.days + 1


def test_a_reading_that_ended_in_the_future_is_done_again(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        history.take_as_read(tx, ACCOUNT, SENDER, since=TODAY - 9 * DAY)
    assert days_to_read(ledger) == 0
    clock.advance(hours=-1)
    assert days_to_read(ledger) == 10
