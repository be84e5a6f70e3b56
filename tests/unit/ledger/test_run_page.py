"""One run: the funnel, its requests, and the failed customers page by page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from capillary.ledger.database import Ledger
from capillary.ledger.reports import FailureCount
from capillary.ledger.request_rows import Seen, record_sighting, refuse
from capillary.ledger.run_page import (
    FailedCustomer,
    RunView,
    every_failed_customer,
    failed_customers_of,
    requests_of,
    run,
)
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome, RequestStatus
from tests.unit.ledger import orders
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, customers_of, plan, see, send, settle_as
from tests.unit.ledger.test_attention import end


def view(ledger: Ledger, run_id: str = "first", **shown: int) -> RunView:
    with ledger.read() as tx:
        found = run(tx, "spring", run_id, **shown)
    assert found is not None
    return found


def failed(ledger: Ledger, run_id: str = "first", **page: object) -> tuple[FailedCustomer, ...]:
    with ledger.read() as tx:
        return failed_customers_of(tx, "spring", run_id, **page)  # type: ignore[arg-type]


def test_a_run_without_a_plan_is_none(ledger: Ledger) -> None:
    plan(ledger, [1])
    plan(ledger, [2], orders.run("dry"), dry_run=True)
    with ledger.read() as tx:
        assert run(tx, "spring", "dry") is None
        assert run(tx, "autumn", "first") is None
        assert failed_customers_of(tx, "spring", "dry") == ()


def test_the_steps_of_a_runs_funnel_add_up_over_all_its_tasks(ledger: Ledger) -> None:
    a = plan(ledger, [1, 2, 3, 4, 4], replace(ORDER, task_id="extract[0]", cap=3), invalid=1)
    b = plan(ledger, [4, 5], replace(ORDER, task_id="extract[1]", note="by hand"))
    end(
        ledger,
        orders.requests_of(ledger, a)[0].id,
        {
            1: Ending(Outcome.FAILED, error_code=816),
            2: Ending(Outcome.FAILED, error_code=1026),
            3: Ending(Outcome.ENROLLED),
        },
    )
    held = send(ledger, orders.requests_of(ledger, b)[0].id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=816, reason="no")
    found = view(ledger)
    counts = found.funnel
    assert (counts.eligible, counts.invalid, counts.duplicates, counts.over_cap, counts.planned) == (8, 1, 1, 1, 5)
    assert counts.balances()
    assert {outcome: n for outcome, n in counts.outcomes.items() if n} == {
        Outcome.FAILED: 2,
        Outcome.ENROLLED: 1,
        Outcome.NOT_ACCEPTED: 2,
    }
    assert found.failures == (
        FailureCount(Outcome.NOT_ACCEPTED, 816, 2),
        FailureCount(Outcome.FAILED, 816, 1),
        FailureCount(Outcome.FAILED, 1026, 1),
    )
    assert [(each.planned.task_id, each.planned.note, each.wait.is_over) for each in found.plans] == [
        ("extract[0]", None, True),
        ("extract[1]", "by hand", True),
    ]


def test_each_request_shows_where_it_stands_its_age_and_the_checkers_words(ledger: Ledger, clock: Clock) -> None:
    planned = plan(ledger, range(1, 8))
    rejected, waiting, unsent = orders.requests_of(ledger, planned)
    sent_at = clock.now
    send(ledger, rejected.id)
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-2", decided=False)
    clock.advance(hours=1)
    with ledger.write() as tx:
        seen = Seen("p-1", "rejected", decided=True, checker_message="wrong tier <b>", end_time="2026-11-27T06:52:53")
        record_sighting(tx, rejected.id, seen)
    decided_at = clock.now
    clock.advance(hours=1)
    endings = dict.fromkeys(customers_of(ledger, rejected.id), Ending(Outcome.REJECTED))
    with ledger.write() as tx:
        assert settle(tx, rejected.id, sightings_read=["p-1"], endings=endings)
    one, two, three = view(ledger).requests
    assert (one.request_key, one.status, one.customers, one.age_s) == (
        rejected.request_key,
        RequestStatus.SETTLED,
        3,
        3600,
    )
    assert (one.first_sent_at, one.decided_at, one.settled_at) == (sent_at, decided_at, clock.now)
    assert (one.sightings[0].checker_message, one.sightings[0].platform_request_id) == ("wrong tier <b>", "p-1")
    assert (one.sightings[0].end_time, two.sightings[0].end_time) == ("2026-11-27T06:52:53", None)
    assert (one.waits_for_checker, one.task_id, one.connection, one.tries) == (
        *(False, "extract", "capillary_default"),
        1,
    )
    assert (two.waits_for_checker, two.age_s, two.decided_at, two.settled_at) == (True, 7200, None, None)
    assert (three.request_id, three.status, three.age_s, three.sightings) == (
        unsent.id,
        RequestStatus.PLANNED,
        None,
        (),
    )


def test_a_request_with_a_twin_is_decided_when_both_are(ledger: Ledger, clock: Clock) -> None:
    (request,) = orders.requests_of(ledger, plan(ledger, [1]))
    send(ledger, request.id)
    see(ledger, request.id, "p-1")
    clock.advance(minutes=1)
    see(ledger, request.id, "twin", decided=False)
    (line,) = view(ledger).requests
    assert (line.decided_at, line.waits_for_checker) == (None, True)
    assert [each.platform_request_id for each in line.sightings] == ["twin", "p-1"], "what waits comes first"
    clock.advance(minutes=1)
    see(ledger, request.id, "twin")
    (line,) = view(ledger).requests
    assert (line.decided_at, line.waits_for_checker, line.age_s) == (clock.now, False, 120)


def test_requests_come_page_by_page_each_once(ledger: Ledger) -> None:
    planned = plan(ledger, range(1, 31))
    expected = [each.id for each in orders.requests_of(ledger, planned)]
    found = view(ledger, requests=4)
    assert ([each.request_id for each in found.requests], found.has_more) == (expected[:4], True)
    with ledger.read() as tx:
        rest = [each.request_id for each in requests_of(tx, found.plans, after=expected[3], limit=100)]
    assert rest == expected[4:]
    assert not view(ledger, requests=10).has_more


def test_failed_customers_have_code_and_words_and_come_page_by_page(ledger: Ledger) -> None:
    planned = plan(ledger, [5, 4, 3, 2, 1, 6, 7])
    first, second, third = orders.requests_of(ledger, planned)
    in_first = customers_of(ledger, first.id)
    end(
        ledger,
        first.id,
        {
            in_first[0]: Ending(Outcome.FAILED, error_code=816),
            in_first[1]: Ending(Outcome.ENROLLED),
            in_first[2]: Ending(Outcome.FAILED, error_code=1026),
        },
    )
    send(ledger, second.id)
    with ledger.write() as tx:
        record_sighting(tx, second.id, Seen("p-2", "rejected", decided=True, checker_message="ask Ann"))
    endings = dict.fromkeys(customers_of(ledger, second.id), Ending(Outcome.REJECTED))
    with ledger.write() as tx:
        assert settle(tx, second.id, sightings_read=["p-2"], endings=endings)
    settle_as(ledger, third.id, Outcome.ALREADY_ENROLLED)
    everybody = failed(ledger)
    assert [(each.customer_id, each.outcome, each.code, each.checker_message) for each in everybody] == [
        (in_first[0], Outcome.FAILED, 816, None),
        (in_first[2], Outcome.FAILED, 1026, None),
        *((each, Outcome.REJECTED, None, "ask Ann") for each in customers_of(ledger, second.id)),
    ]
    assert (everybody[-1].request_key, everybody[-1].platform_request_ids) == (second.request_key, "p-2")
    pages, after = [], None
    while page := failed(ledger, after=after, limit=2):
        pages.append(page)
        after = page[-1].place
    assert [len(page) for page in pages] == [2, 2, 1]
    assert tuple(each for page in pages for each in page) == everybody
    with ledger.read() as tx:
        assert tuple(every_failed_customer(tx, "spring", "first")) == everybody


def test_a_failed_customer_that_was_asked_for_again_is_marked(ledger: Ledger, clock: Clock) -> None:
    (request,) = orders.requests_of(ledger, plan(ledger, [1, 2]))
    settle_as(ledger, request.id, Outcome.FAILED)
    clock.advance(hours=1)
    plan(ledger, [2], orders.run("again", retry=frozenset({Outcome.FAILED})))
    assert [(each.customer_id, each.asked_again) for each in failed(ledger)] == [(1, False), (2, True)]
    assert failed(ledger, "again") == (), "it is open"


def test_a_stream_of_more_than_one_part_has_everybody_once(ledger: Ledger) -> None:
    customers = list(range(1, 10_101))
    planned = plan(ledger, customers, replace(ORDER, customers_per_request=10_000))
    for request in orders.requests_of(ledger, planned):
        settle_as(ledger, request.id, Outcome.FAILED)
    with ledger.read() as tx:
        assert [each.customer_id for each in every_failed_customer(tx, "spring", "first")] == customers


def test_a_run_that_planned_nobody_behind_a_canary_names_it(ledger: Ledger, clock: Clock) -> None:
    canary = plan(ledger, range(1, 31), orders.run("canary", canary=True, customers_per_request=10))
    send(ledger, orders.requests_of(ledger, canary)[0].id)
    clock.advance(hours=1)
    plan(ledger, range(1, 31), orders.run("behind", canary=True))
    (behind,) = view(ledger, "behind").plans
    assert behind.canary is not None
    assert (behind.canary.run_id, behind.canary.sent_at) == ("canary", clock.now - timedelta(hours=1))
    assert view(ledger, "canary").plans[0].canary is None
