"""Whom a retry may take on an occasion, and what is left now: held against what a plan takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capillary.ledger.canary import OpenCanary, Stand
from capillary.ledger.database import Ledger
from capillary.ledger.left_over import LeftNow, left_now
from capillary.ledger.request_rows import refuse
from capillary.ledger.retryable import Retryable, retryable
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import ORDER, customers_of, plan, requests_of, run, see, send
from tests.unit.ledger.orders import request as row_of
from tests.unit.ledger.test_attention import end

PASSES, DATA = Ending(Outcome.FAILED, error_code=500), Ending(Outcome.FAILED, error_code=1026)
TEN = {"customers_per_request": 10}
OTHER: dict[str, Any] = {"campaign": "autumn", "dag_id": "autumn", "shared_occasion": True, **TEN}


def whom(ledger: Ledger, *plans: int | None) -> set[Retryable]:
    with ledger.read() as tx:
        return set(retryable(tx, {each or 0 for each in plans}))


def left(ledger: Ledger, *plans: int | None) -> LeftNow:
    with ledger.read() as tx:
        return left_now(tx, {each or 0 for each in plans})


def test_a_retry_takes_the_whole_occasion_and_the_count_says_so(ledger: Ledger) -> None:
    theirs = plan(ledger, range(1, 7), replace(ORDER, **OTHER))
    (request,) = requests_of(ledger, theirs)
    end(ledger, request.id, dict.fromkeys(range(1, 5), PASSES) | {5: DATA, 6: Ending(Outcome.ENROLLED)})
    own = plan(ledger, range(1, 9), run("own", shared_occasion=True, **TEN))
    (request,) = requests_of(ledger, own)
    end(ledger, request.id, dict.fromkeys((7, 8), PASSES))
    elsewhere = plan(ledger, [99], run("elsewhere", occasion="Winter", **TEN))
    (request,) = requests_of(ledger, elsewhere)
    end(ledger, request.id, {99: PASSES})
    assert whom(ledger, own.badge_run_id) == {
        Retryable(Outcome.FAILED, 500, 6, 2),
        Retryable(Outcome.FAILED, 1026, 1, 0),
    }
    order = run("again", retry=frozenset({Outcome.FAILED}), retry_codes=frozenset({500}), shared_occasion=True, **TEN)
    assert plan(ledger, range(1, 9), order, dry_run=True).planned == 6


def test_whoever_was_asked_for_again_is_counted_by_the_last_attempt(ledger: Ledger) -> None:
    first = plan(ledger, [1, 2, 3], run("first", **TEN))
    (request,) = requests_of(ledger, first)
    end(ledger, request.id, dict.fromkeys((1, 2, 3), PASSES))
    second = plan(ledger, [1, 2], run("second", retry=frozenset({Outcome.FAILED}), **TEN))
    assert whom(ledger, first.badge_run_id) == {Retryable(Outcome.FAILED, 500, 1, 1)}, "two of them are open"
    (request,) = requests_of(ledger, second)
    end(ledger, request.id, {1: PASSES, 2: Ending(Outcome.ENROLLED)})
    assert whom(ledger, first.badge_run_id) == {Retryable(Outcome.FAILED, 500, 2, 1)}
    assert whom(ledger, first.badge_run_id, second.badge_run_id) == {Retryable(Outcome.FAILED, 500, 2, 2)}
    again = run("third", retry=frozenset({Outcome.FAILED}), **TEN)
    assert plan(ledger, [1, 2, 3], again, dry_run=True).planned == 2


def test_a_retry_is_counted_by_the_attempts_that_its_requests_hold(ledger: Ledger) -> None:
    """A request holds customers of one attempt: 3 of attempt 2 and 2 of attempt 3 come to two requests."""
    first = plan(ledger, range(1, 6), run("first", **TEN))
    (request,) = requests_of(ledger, first)
    end(ledger, request.id, dict.fromkeys(range(1, 6), PASSES))
    (request,) = requests_of(ledger, plan(ledger, [1, 2], run("second", retry=frozenset({Outcome.FAILED}), **TEN)))
    end(ledger, request.id, dict.fromkeys((1, 2), PASSES))
    (found,) = whom(ledger, first.badge_run_id)
    assert (found.by_attempt, found.by_itself_by_attempt) == ({1: 3, 2: 2}, {})
    again = plan(ledger, range(1, 6), run("third", retry=frozenset({Outcome.FAILED}), **TEN), dry_run=True)
    assert (again.planned, again.requests) == (5, 2)


def test_who_was_refused_is_taken_by_every_run_until_the_third_time(ledger: Ledger) -> None:
    for attempt, by_itself in ((1, 2), (2, 2), (3, 0)):
        made = plan(ledger, [1, 2], run(f"try {attempt}", **TEN))
        assert made.planned == 2
        (request,) = requests_of(ledger, made)
        held = send(ledger, request.id)
        with ledger.write() as tx:
            assert refuse(tx, held, code=2008, reason="no")
        (found,) = whom(ledger, made.badge_run_id)
        assert found == Retryable(Outcome.NOT_ACCEPTED, 2008, 2, 2, by_itself)
        assert found.by_itself_by_attempt == ({attempt: 2} if by_itself else {})
        assert plan(ledger, [1, 2], run("next", **TEN), dry_run=True).planned == by_itself


@pytest.mark.parametrize("cap", [2, 8])
def test_what_is_left_is_what_the_last_run_of_the_campaign_left(ledger: Ledger, cap: int) -> None:
    first = plan(ledger, range(1, 11), run("first", cap=2))
    unsent = OpenCanary("spring", "first", None, canary=False, stand=Stand.UNSENT)
    assert left(ledger, first.badge_run_id) == LeftNow(8, 8, later=False, canary=False, proven=False, waits_for=unsent)
    plan(ledger, [50], run("winter", occasion="Winter"))
    plan(ledger, range(1, 13), run("autumn", campaign="autumn", dag_id="autumn", shared_occasion=True, cap=1))
    assert left(ledger, first.badge_run_id).later is False, "another occasion, and another campaign"
    plan(ledger, range(1, 10), run("second", cap=cap, shared_occasion=True))
    now = left(ledger, first.badge_run_id)
    assert (now.by_run, now.later) == (8, True)
    assert now.may_be_taken(canary=False) is (cap == 2)
    assert not now.may_be_taken(canary=True), "the first run's request is open"


def test_what_a_held_run_left_may_be_taken_once_the_canary_has_passed(ledger: Ledger) -> None:
    canary = plan(ledger, range(1, 31), run("canary", canary=True, **TEN))
    (request,) = requests_of(ledger, canary)
    send(ledger, request.id)
    held = plan(ledger, range(1, 31), run("held", canary=True, **TEN))
    assert (held.planned, held.waits_for_canary) == (0, True)
    waits_for = OpenCanary("spring", "canary", row_of(ledger, request.id).first_sent_at, stand=Stand.SENDING)
    assert left(ledger, held.badge_run_id) == LeftNow(
        20, 20, later=False, canary=True, proven=False, waits_for=waits_for
    )
    assert not left(ledger, held.badge_run_id).may_be_taken(canary=True)
    assert left(ledger, held.badge_run_id).may_be_taken(canary=False)
    see(ledger, request.id, "p-1")
    end_of = dict.fromkeys(customers_of(ledger, request.id), Ending(Outcome.ENROLLED))
    with ledger.write() as tx:
        assert settle(tx, request.id, sightings_read=["p-1"], endings=end_of)
    now = left(ledger, held.badge_run_id)
    assert (now.may_be_taken(canary=True), now.canary_passed, now.customers) == (True, True, 20)
