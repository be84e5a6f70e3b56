from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.campaign.occasion import Occasion, OccasionInvalid, ResolvedOccasion, own_name
from capillary.errors import TerminalError
from capillary.ledger.locked_rows import occasion_of_badge

ALL_TOKENS = "{day} {week} {month}"


def days(start: str, end: str) -> tuple[date, date]:
    return date.fromisoformat(start), date.fromisoformat(end)


@pytest.mark.parametrize(
    ("pattern", "day", "name", "period"),
    [
        ("gold {day}", "2026-11-23", "gold 2026-11-23", days("2026-11-23", "2026-11-24")),
        ("gold {day}", "2026-12-31", "gold 2026-12-31", days("2026-12-31", "2027-01-01")),
        ("gold {week}", "2026-11-23", "gold 2026-W48", days("2026-11-23", "2026-11-30")),
        ("gold {week}", "2026-11-29", "gold 2026-W48", days("2026-11-23", "2026-11-30")),
        ("gold {week}", "2026-12-31", "gold 2026-W53", days("2026-12-28", "2027-01-04")),
        ("gold {week}", "2027-01-03", "gold 2026-W53", days("2026-12-28", "2027-01-04")),
        ("gold {week}", "2027-01-04", "gold 2027-W01", days("2027-01-04", "2027-01-11")),
        ("gold {week}", "2024-12-30", "gold 2025-W01", days("2024-12-30", "2025-01-06")),
        ("gold {month}", "2026-11-30", "gold 2026-11", days("2026-11-01", "2026-12-01")),
        ("gold {month}", "2026-12-31", "gold 2026-12", days("2026-12-01", "2027-01-01")),
        ("gold {month}", "2028-02-29", "gold 2028-02", days("2028-02-01", "2028-03-01")),
        ("{month}/{week}", "2026-11-23", "2026-11/2026-W48", days("2026-11-23", "2026-11-30")),
        ("{month}{month}", "2026-11-23", "2026-112026-11", days("2026-11-01", "2026-12-01")),
        (ALL_TOKENS, "2026-11-23", "2026-11-23 2026-W48 2026-11", days("2026-11-23", "2026-11-24")),
        ("gold", "2026-11-23", "gold", (None, None)),
    ],
)
def test_a_day_has_one_occasion(pattern: str, day: str, name: str, period: tuple[date, date]) -> None:
    assert Occasion(pattern).resolve_day(date.fromisoformat(day)) == ResolvedOccasion(name, *period)


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", "2026-11-30T23:59:59+00:00", "2026-11-30"),
        ("Asia/Kolkata", "2026-11-30T18:29:59+00:00", "2026-11-30"),
        ("Asia/Kolkata", "2026-11-30T18:30:00+00:00", "2026-12-01"),
        ("America/New_York", "2026-12-01T04:59:59+00:00", "2026-11-30"),
        ("America/New_York", "2026-11-01T05:59:00+00:00", "2026-11-01"),  # 01:59 summer time
        ("America/New_York", "2026-11-01T06:00:00+00:00", "2026-11-01"),  # 01:00 again, winter time
        ("America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),  # a day of 25 hours
        ("Europe/Berlin", "2026-03-28T22:59:59+00:00", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00:00+00:00", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00:00+00:00", "2026-03-30"),  # a day of 23 hours
        ("America/Sao_Paulo", "2018-11-04T03:00:00+00:00", "2018-11-04"),  # this day began at 01:00
        ("Pacific/Kiritimati", "2026-12-31T10:00:00+00:00", "2027-01-01"),
    ],
)
def test_the_day_is_the_local_one(zone: str, moment: str, day: str) -> None:
    assert Occasion("{day}", zone).resolve(datetime.fromisoformat(moment)).name == day


def test_a_moment_is_the_same_in_every_zone_and_must_have_one() -> None:
    moment = datetime(2026, 11, 30, 18, 30, tzinfo=UTC)
    occasion = Occasion("{day}", "Asia/Kolkata")
    for zone in (ZoneInfo("America/New_York"), timezone(timedelta(hours=14))):
        assert occasion.resolve(moment.astimezone(zone)) == occasion.resolve(moment)
    with pytest.raises(ValueError, match="no time zone"):
        occasion.resolve(datetime(2026, 11, 30, 18, 30))  # noqa: DTZ001 - that is the case


@given(st.dates(date(1, 1, 1), date(9998, 12, 31)), st.sampled_from(["{day}", "{week}", "{month}"]))
def test_periods_hold_their_day_and_meet(day: date, pattern: str) -> None:
    occasion = Occasion(pattern)
    period = occasion.resolve_day(day)
    assert period.period_start is not None
    assert period.period_end is not None
    assert period.period_start <= day < period.period_end
    assert occasion.resolve_day(period.period_start) == period
    if period.period_end.year < date.max.year:
        following = occasion.resolve_day(period.period_end)
        assert following.period_start == period.period_end
        assert following.name != period.name


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", ["occasion", "empty"]),
        (" gold", ["occasion", "blanks"]),
        ("go\nld", ["occasion", "do not print"]),
        ("gold {months}", ["occasion", "{months}", "Did you mean {month}?", "{day}, {week}, {month}"]),
        ("gold {Month}", ["{Month}", "Did you mean {month}?"]),
        ("gold {year}", ["{year}", "The tokens are {day}, {week}, {month}"]),
        ("gold {}", ["no token {}"]),
        ("gold {month", ["brace", "{month}"]),
        ("gold month}", ["brace"]),
        ("{{month}}", ["brace"]),
        ("x" * 201, ["201 characters", "at most 200"]),
        ("x" * 191 + "{day}", ["201 characters"]),
    ],
)
def test_a_pattern_that_cannot_be_used_is_named_with_its_remedy(pattern: str, words: list[str]) -> None:
    with pytest.raises(OccasionInvalid) as caught:
        Occasion(pattern)
    assert [word for word in words if word not in str(caught.value)] == []
    assert isinstance(caught.value, TerminalError)


@pytest.mark.parametrize("pattern", ["x" * 200, "x" * 190 + "{day}"])
def test_a_name_may_fill_the_ledgers_column(pattern: str) -> None:
    assert len(Occasion(pattern).resolve_day(date(2026, 11, 23)).name) == 200


@pytest.mark.parametrize("zone", ["", "Asia", "Asia/Kolkatta", "../../etc/passwd", "/etc/localtime", "IST+5"])
def test_an_unknown_zone_is_named_with_its_remedy(zone: str) -> None:
    with pytest.raises(OccasionInvalid, match=r"^timezone: .*Give an IANA name such as Asia/Kolkata"):
        Occasion("gold", zone)


def test_the_nearest_zone_is_offered() -> None:
    with pytest.raises(OccasionInvalid, match="Did you mean Asia/Kolkata"):
        Occasion("gold", "Asia/Kolkatta")


def test_the_calendars_last_year_has_no_periods() -> None:
    assert Occasion("gold").resolve_day(date.max).name == "gold"
    with pytest.raises(OccasionInvalid, match="earlier day"):
        Occasion("{month}").resolve_day(date.max)


def test_the_occasion_of_a_badge_covers_all_time() -> None:
    shared = Occasion(occasion_of_badge("a1b2c3d4e5f60718293a4b5c"), "Asia/Kolkata")
    assert not shared.recurs
    for day in (date.min, date(2026, 11, 23), date.max):
        assert shared.resolve_day(day) == ResolvedOccasion("badge:a1b2c3d4e5f60718293a4b5c")


@pytest.mark.parametrize(
    "name", ["gold", "badges", "badge", "my badge:1", "bad:ge", "none left", "Gold-Badge: 1", "x" * 200]
)
def test_a_name_of_ones_own_is_taken_as_it_is(name: str) -> None:
    assert own_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "badge:a1b2c3d4e5f60718293a4b5c",
        "badge:",
        "BADGE:gold",
        "Badge :gold",
        "b adge: gold",
        "badge: {month}",
        "ｂａｄｇｅ：gold",
        "badge︓gold",
    ],
)
def test_a_name_that_could_be_taken_for_a_badges_shared_occasion_is_refused(name: str) -> None:
    with pytest.raises(OccasionInvalid, match="names the occasion that campaigns of a badge share"):
        own_name(name)


def test_a_letter_in_one_sign_or_two_gives_one_name_and_case_counts() -> None:
    assert own_name("cafe\u0301 {month}") == own_name("caf\u00e9 {month}") == "caf\u00e9 {month}"
    assert own_name("Caf\u00e9 {month}") != own_name("caf\u00e9 {month}")


def test_a_name_that_fits_once_its_letters_are_composed_is_taken() -> None:
    assert own_name("e\u0301" * 200) == "\u00e9" * 200


@pytest.mark.parametrize("name", ["None", "none", "NULL", "undefined"])
def test_what_becomes_of_a_missing_value_is_no_name(name: str) -> None:
    with pytest.raises(OccasionInvalid, match=f"'{name}' is the text that a missing value turns into.* leave the occ"):
        own_name(name)


@pytest.mark.parametrize("name", ["", " ", " gold", "gold ", "go\nld", "\u200bbadge:gold", "x" * 201])
def test_a_name_that_does_not_fit_or_print_is_refused(name: str) -> None:
    with pytest.raises(OccasionInvalid, match="Give printable text"):
        own_name(name)
