"""Every matter that needs a person in words: what it is, what it means, and the one thing to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capillary.engine.attention import age, said_of
from capillary.ledger.matters import Kind, Matter
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import Outcome

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def matter(kind: Kind, **changes: object) -> Matter:
    given: dict[str, object] = {
        "account": "platform.example/100",
        "campaign": "spring",
        "dag_id": "spring",
        "run_id": "first",
        "requests": 2,
        "customers": 1_217,
        "since": NOW - timedelta(hours=5, minutes=10),
        "failures": (FailureCount(Outcome.FAILED, 816, 1_217),),
        "by": "ann",
        "reason": "wrong tier",
    }
    return Matter(kind=kind, **(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_says_what_it_means_and_one_thing_to_do(kind: Kind) -> None:
    for of in (matter(kind), matter(kind, campaign=None, since=None, requests=1, customers=1)):
        said = said_of(of, NOW)
        assert said.title
        assert not said.title.endswith(".")
        assert said.means.endswith(".")
        assert said.to_do.endswith(".")
        assert "None" not in f"{said.title} {said.means} {said.to_do}"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=7), "7 min"),
        (timedelta(hours=1), "1 h 0 min"),
        (timedelta(hours=5, minutes=10), "5 h 10 min"),
        (timedelta(days=1, minutes=59), "1 d 0 h"),
        (timedelta(days=3, hours=4, minutes=59), "3 d 4 h"),
        (timedelta(days=1_500), "1,500 d 0 h"),
    ],
)
def test_an_age_is_told_in_its_largest_units(span: timedelta, expected: str) -> None:
    assert age(span) == expected


def test_what_waits_tells_counts_age_deadline_and_failed_checks() -> None:
    waiting = matter(Kind.WAITING, until=NOW + timedelta(hours=20), failed_checks=1)
    said = said_of(waiting, NOW)
    assert said.title == (
        "spring: 2 requests with 1,217 customers waiting for the checker, 5 h 10 min, deadline in 20 h 0 min"
    )
    assert "1 request did not pass the platform's own check" in said.means
    late = said_of(matter(Kind.WAITING, until=NOW - timedelta(days=2)), NOW)
    assert late.title.endswith("deadline passed 2 d 0 h ago")


def test_a_stop_tells_who_and_why_and_the_command_that_ends_it() -> None:
    said = said_of(matter(Kind.STOPPED), NOW)
    assert said.title == "spring: sending is stopped, 5 h 10 min, by ann: wrong tier"
    assert said.to_do.endswith("python -m capillary resume --account platform.example/100 --campaign spring.")
    whole = said_of(matter(Kind.STOPPED, campaign=None), NOW)
    assert whole.to_do.endswith("python -m capillary resume --account platform.example/100.")


def test_failures_tell_their_codes_and_what_a_retry_would_take() -> None:
    failures = (
        FailureCount(Outcome.FAILED, 816, 10),
        FailureCount(Outcome.FAILED, 1039, 5),
        FailureCount(Outcome.REJECTED, None, 3),
        FailureCount(Outcome.UNCONFIRMED, None, 1),
    )
    said = said_of(matter(Kind.FAILED, customers=19, failures=failures), NOW)
    assert said.title == (
        "spring: 19 customers without the badge: 10 failed (816), 5 failed (1039), 3 rejected, 1 other kind"
    )
    assert said.means.endswith("a retry takes up to 6 customers of them.")
    shared = said_of(matter(Kind.FAILED, customers=19, failures=failures, occasion_shared=True), NOW)
    assert shared.means == (
        f"{said.means} It also takes the customers of other runs on the occasion; the retry page counts both."
    )
    checker = said_of(matter(Kind.FAILED, customers=3, failures=failures[2:3], occasion_shared=True), NOW)
    assert checker.means.endswith("a retry takes none of them unless you choose them."), "and nobody else"
    alone = said_of(matter(Kind.FAILED, customers=10, failures=failures[:1]), NOW)
    assert alone.to_do == "Retry on a day inside the badge's own period, or have the period changed on the platform."


def test_a_canary_that_holds_a_campaign_says_that_green_means_nothing_else() -> None:
    said = said_of(matter(Kind.CANARY_WAITS, reason="the canary of spring, run r1, is not decided yet"), NOW)
    assert said.title == "spring: 1,217 customers left, the configuration is not proven"
    assert said.means == (
        "The last run planned nobody, and is green only because it waits: the canary of spring, run r1, is not "
        "decided yet."
    )


def test_housekeeping_that_never_ran_says_so() -> None:
    assert said_of(Matter(kind=Kind.KEEPING_LATE), NOW).title == "badge_upkeep has not ended well yet"
    late = Matter(kind=Kind.KEEPING_LATE, since=NOW - timedelta(hours=3))
    assert said_of(late, NOW).title == "badge_upkeep has not ended well, 3 h 0 min"


def test_a_page_has_a_button_where_a_log_has_a_command() -> None:
    said = said_of(matter(Kind.STOPPED), NOW, on_page=True)
    assert said.to_do.startswith("Resume when the reason is gone.")
    assert said.title == said_of(matter(Kind.STOPPED), NOW).title
    for kind in set(Kind) - {Kind.UNKNOWN_KEY}:  # what the ledger has forgotten only a command writes back
        assert "python -m" not in said_of(matter(kind), NOW, on_page=True).to_do


def test_kinds_that_need_different_things_are_told_apart() -> None:
    failures = (FailureCount(Outcome.REJECTED, None, 217), FailureCount(Outcome.FAILED, 1026, 9))
    said = said_of(matter(Kind.FAILED, customers=226, failures=failures), NOW)
    assert said.means == "The run has ended; a retry takes none of them unless you choose them."
    assert said.to_do == (
        "217 rejected: read the checker's message, and retry when its reason is gone. 9 failed (1026): correct the "
        "customer in the warehouse or on the platform first; a retry fails again until then."
    )
    alike = (FailureCount(Outcome.FAILED, 1026, 9), FailureCount(Outcome.FAILED, 1028, 1))
    assert said_of(matter(Kind.FAILED, failures=alike), NOW).to_do.startswith("Correct the customer in the warehouse")


def test_an_age_of_less_than_a_minute_goes_without() -> None:
    since = NOW - timedelta(seconds=59)
    assert said_of(matter(Kind.WAITING, since=since), NOW).title.endswith("waiting for the checker")
    assert said_of(matter(Kind.RUN_FAILED, since=since), NOW).title == "spring: the last run failed"


def test_a_failed_run_tells_its_task_and_its_reason() -> None:
    said = said_of(matter(Kind.RUN_FAILED, task="submit", reason="Stopped: by ann"), NOW)
    assert said.title == "spring: the last run failed in submit, 5 h 10 min"
    assert said.means == "Stopped: by ann."
    assert said_of(matter(Kind.RUN_FAILED, reason=""), NOW).means.startswith("Airflow kept no reason of it")
