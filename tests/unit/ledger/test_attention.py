"""What needs a person now: each kind of matter with its right counts, when it begins and when it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from capillary.ledger import scans, unknown_keys
from capillary.ledger.attention import attention
from capillary.ledger.database import Ledger
from capillary.ledger.erase import erase
from capillary.ledger.matters import Kind, Matter, Urgency, by_urgency, with_deadlines, with_tolerated
from capillary.ledger.outstanding import outstanding
from capillary.ledger.reports import FailureCount
from capillary.ledger.request_rows import Seen, record_sighting, refuse
from capillary.ledger.schema import badge_run, badge_scan
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, resume, stop
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, SPEC, customers_of, plan, requests_of, run, see, send, settle_as

ACCOUNT = SPEC.account
ELSEWHERE = replace(SPEC, account="other.example/200")


def matters(ledger: Ledger, kind: Kind | None = None) -> list[Matter]:
    with ledger.read() as tx:
        return [each for each in attention(tx) if kind in (None, each.kind)]


def kinds(ledger: Ledger) -> list[Kind]:
    return [each.kind for each in matters(ledger)]


def read_now(ledger: Ledger, account: str = ACCOUNT) -> None:
    """The list is read at this moment."""
    with ledger.write() as tx:
        scans.ensure(tx, account)
        tx.conn.execute(update(badge_scan).where(badge_scan.c.account == account).values(read_at=tx.now))


def end(ledger: Ledger, request_id: int, endings: dict[int, Ending]) -> None:
    send(ledger, request_id)
    see(ledger, request_id, f"p-{request_id}")
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=[f"p-{request_id}"], endings=endings)


def test_nothing_needs_anybody_in_an_empty_ledger_and_in_one_where_all_went_well(ledger: Ledger) -> None:
    assert matters(ledger) == []
    for request in requests_of(ledger, plan(ledger, range(1, 8))):
        settle_as(ledger, request.id, Outcome.ENROLLED)
    assert matters(ledger) == []


def test_what_was_just_planned_or_sent_needs_nobody(ledger: Ledger, clock: Clock) -> None:
    first, _, _ = requests_of(ledger, plan(ledger, range(1, 8)))
    read_now(ledger)
    send(ledger, first.id)
    clock.advance(minutes=5)
    assert matters(ledger) == []


def test_requests_that_wait_for_the_checker_are_added_up_by_campaign(ledger: Ledger, clock: Clock) -> None:
    first, second, third = requests_of(ledger, plan(ledger, range(1, 8)))
    sent_at = clock.now
    for request in (first, third):
        send(ledger, request.id)
        see(ledger, request.id, f"p-{request.id}", decided=False)
    clock.advance(hours=1)
    (again,) = requests_of(ledger, plan(ledger, [8, 9], run("second", dag_id="spring_again")))
    send(ledger, again.id)
    see(ledger, again.id, "p-again", decided=False)
    other = replace(ORDER, campaign="autumn", dag_id="autumn", occasion="Autumn", spec=ELSEWHERE)
    (elsewhere,) = requests_of(ledger, plan(ledger, [1], other))
    send(ledger, elsewhere.id)
    see(ledger, elsewhere.id, "p-elsewhere", decided=False)
    settle_as(ledger, second.id, Outcome.ENROLLED)
    assert matters(ledger) == [
        Matter(
            kind=Kind.WAITING,
            account=ACCOUNT,
            campaign="spring",
            dag_ids=("spring", "spring_again"),
            dag_id="spring",
            run_id="first",
            connection="capillary_default",
            requests=3,
            customers=6,
            since=sent_at,
            asks_checker=True,
        ),
        Matter(
            kind=Kind.WAITING,
            account="other.example/200",
            campaign="autumn",
            dag_ids=("autumn",),
            dag_id="autumn",
            run_id="first",
            connection="capillary_default",
            requests=1,
            customers=1,
            since=clock.now,
            asks_checker=True,
        ),
    ]


def test_a_twin_that_is_decided_does_not_end_the_waiting_of_the_other(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1, 2]))
    send(ledger, request.id)
    see(ledger, request.id, "decided", decided=True)
    see(ledger, request.id, "waits", decided=False)
    (waiting,) = matters(ledger)
    assert (waiting.kind, waiting.requests, waiting.customers) == (Kind.WAITING, 1, 2)


def test_a_request_that_failed_the_platforms_own_check_is_counted_where_it_waits(ledger: Ledger) -> None:
    first, second = requests_of(ledger, plan(ledger, [1, 2, 3, 4]))
    for request, checks in ((first, "payload"), (second, "")):
        send(ledger, request.id)
        with ledger.write() as tx:
            record_sighting(tx, request.id, Seen(f"p-{request.id}", "AdminTask", decided=False, failed_checks=checks))
    (waiting,) = matters(ledger)
    assert (waiting.requests, waiting.failed_checks) == (2, 1)


def test_doubt_is_told_when_it_lasts_longer_than_it_should(ledger: Ledger, clock: Clock) -> None:
    first, second, _ = requests_of(ledger, plan(ledger, range(1, 8)))
    read_now(ledger)
    sent_at = clock.now
    send(ledger, first.id)
    clock.advance(minutes=30)
    send(ledger, second.id)
    clock.advance(minutes=61)  # the first may be judged since a minute after its send, so for 90 minutes
    read_now(ledger)
    assert matters(ledger) == []
    clock.advance(seconds=1)
    read_now(ledger)
    (long,) = matters(ledger)
    assert (long.kind, long.requests, long.customers, long.since) == (Kind.IN_DOUBT, 1, 3, sent_at)
    clock.advance(minutes=30)
    read_now(ledger)
    (long,) = matters(ledger)
    assert (long.requests, long.customers, long.since) == (2, 6, sent_at)


def test_a_decided_request_that_nobody_settles_is_told_after_two_hours(ledger: Ledger, clock: Clock) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1, 2]))
    send(ledger, request.id)
    clock.advance(days=1)
    read_now(ledger)
    see(ledger, request.id, "p-1")
    decided_at = clock.now
    clock.advance(hours=2)
    read_now(ledger)
    assert matters(ledger) == []
    clock.advance(seconds=1)
    read_now(ledger)
    (unsettled,) = matters(ledger)
    assert (unsettled.kind, unsettled.requests, unsettled.customers) == (Kind.UNSETTLED, 1, 2)
    assert unsettled.since == decided_at


def test_a_list_that_nobody_reads_while_requests_are_open_is_told(ledger: Ledger, clock: Clock) -> None:
    first, _, _ = requests_of(ledger, plan(ledger, range(1, 8)))
    read_now(ledger)
    clock.advance(hours=12)  # nothing is open, so nobody has to read
    assert matters(ledger, Kind.LIST_UNREAD) == []
    send(ledger, first.id)
    see(ledger, first.id, decided=False)
    sent_at = clock.now
    clock.advance(hours=2)
    assert matters(ledger, Kind.LIST_UNREAD) == []
    clock.advance(seconds=1)
    (unread,) = matters(ledger, Kind.LIST_UNREAD)
    assert (unread.requests, unread.customers, unread.since) == (1, 3, sent_at)
    assert (unread.account, unread.campaign, unread.dag_ids) == (ACCOUNT, None, ("spring",))
    with ledger.write() as tx:
        scans.note_whole(tx, ACCOUNT, sender="ann", begun_at=clock.now, pages=1)
    assert matters(ledger, Kind.LIST_UNREAD) == [], "submit has read it, without a turn"
    clock.advance(hours=3)
    assert len(matters(ledger, Kind.LIST_UNREAD)) == 1
    read_now(ledger)
    assert matters(ledger, Kind.LIST_UNREAD) == []


def test_a_list_that_missed_a_request_is_told_for_a_day(ledger: Ledger, clock: Clock) -> None:
    with ledger.write() as tx:
        scans.distrust(tx, ACCOUNT)
    since = clock.now
    (found,) = matters(ledger)
    assert (found.kind, found.account, found.since, found.until) == (
        *(Kind.DISTRUSTED, ACCOUNT, since),
        since + timedelta(days=1),
    )
    clock.advance(days=1)
    assert matters(ledger) == []


def test_a_stop_is_told_with_who_when_and_why_until_it_is_released(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, [1])
    since = clock.now
    stop(ledger, Scope(ACCOUNT, "spring"), by="ann", reason="wrong tier")
    clock.advance(hours=1)
    stop(ledger, Scope(ACCOUNT), by="bob", reason="all of it")
    one, whole = matters(ledger)
    assert (one.kind, one.campaign, one.dag_ids, one.since, one.by, one.reason) == (
        *(Kind.STOPPED, "spring", ("spring",), since),
        *("ann", "wrong tier"),
    )
    assert (whole.campaign, whole.dag_ids, whole.by, whole.reason) == (None, ("spring",), "bob", "all of it")
    for scope in (Scope(ACCOUNT), Scope(ACCOUNT, "spring")):
        resume(ledger, scope, by="ann")
    assert matters(ledger) == []


def test_a_key_that_the_ledger_does_not_know_is_counted_once_for_all_users(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, [1], run("first", capillary_conn_id="of_the_account"))
    with ledger.write() as tx:
        unknown_keys.note(tx, ACCOUNT, "ann", ["cb1.a", "cb1.b"])
    clock.advance(minutes=1)
    with ledger.write() as tx:
        unknown_keys.note(tx, ACCOUNT, "bob", ["cb1.b"])
    (found,) = matters(ledger)
    assert (found.kind, found.account, found.requests, found.since) == (Kind.UNKNOWN_KEY, ACCOUNT, 2, clock.now)
    assert (found.dag_ids, found.connection) == (("spring",), "of_the_account")


def test_auto_approval_is_told_until_a_human_decides_a_request(ledger: Ledger, clock: Clock) -> None:
    first, second, third = requests_of(ledger, plan(ledger, range(1, 8)))
    settle_as(ledger, first.id, Outcome.ENROLLED, auto=True)
    clock.advance(minutes=1)
    settle_as(ledger, second.id, Outcome.ENROLLED, auto=True)
    (found,) = matters(ledger)
    assert (found.kind, found.account, found.requests, found.since) == (Kind.AUTO_APPROVED, ACCOUNT, 2, clock.now)
    clock.advance(minutes=1)
    settle_as(ledger, third.id, Outcome.ENROLLED)
    assert matters(ledger) == []


def test_an_ended_run_tells_its_failures_by_outcome_and_code(ledger: Ledger, clock: Clock) -> None:
    first, second, third = requests_of(ledger, plan(ledger, range(1, 8)))
    end(
        ledger,
        first.id,
        {
            1: Ending(Outcome.FAILED, error_code=816),
            2: Ending(Outcome.FAILED, error_code=1026),
            3: Ending(Outcome.ALREADY_ENROLLED, error_code=1040),
        },
    )
    end(
        ledger,
        second.id,
        {4: Ending(Outcome.FAILED, error_code=816), 5: Ending(Outcome.ENROLLED), 6: Ending(Outcome.UNCONFIRMED)},
    )
    assert matters(ledger) == [], "the run has not ended"
    held = send(ledger, third.id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=2008, reason="the payload is not valid")
    (found,) = matters(ledger)
    assert found == Matter(
        kind=Kind.FAILED,
        account=ACCOUNT,
        campaign="spring",
        dag_ids=("spring",),
        dag_id="spring",
        run_id="first",
        customers=5,
        since=clock.now,
        failures=(
            FailureCount(Outcome.FAILED, 816, 2),
            FailureCount(Outcome.FAILED, 1026, 1),
            FailureCount(Outcome.NOT_ACCEPTED, 2008, 1),
            FailureCount(Outcome.UNCONFIRMED, None, 1),
        ),
    )


def test_the_tasks_of_a_run_are_one_matter_for_each_occasion(ledger: Ledger) -> None:
    for task, occasion, customers in (("a", "Spring", (1, 2)), ("b", "Spring", (3,)), ("c", "Winter", (1,))):
        (request,) = requests_of(ledger, plan(ledger, customers, run("first", task_id=task, occasion=occasion)))
        end(ledger, request.id, dict.fromkeys(customers, Ending(Outcome.FAILED, error_code=816)))
    winter, spring = sorted(matters(ledger, Kind.FAILED), key=lambda each: each.customers)
    assert spring.failures == (FailureCount(Outcome.FAILED, 816, 3),)
    assert winter.failures == (FailureCount(Outcome.FAILED, 816, 1),)
    assert not spring.occasion_shared, "the other task is of the same run"


def test_a_failed_run_says_whether_others_are_on_its_occasion(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1]))
    settle_as(ledger, request.id, Outcome.FAILED)
    plan(ledger, [2], run("elsewhere", occasion="Winter"))
    (nobody,) = requests_of(ledger, plan(ledger, [1, 3], run("again")))
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).where(badge_run.c.run_id == "again").values(discarded=1))
    assert nobody.customers == 1, "the first was asked for before"
    assert [each.occasion_shared for each in matters(ledger, Kind.FAILED)] == [False]
    plan(ledger, [4], run("another"))
    assert [each.occasion_shared for each in matters(ledger, Kind.FAILED)] == [True]


def test_what_was_asked_for_again_has_left_its_run_and_stands_with_the_retry(ledger: Ledger, clock: Clock) -> None:
    (first,) = requests_of(ledger, plan(ledger, [1, 2, 3]))
    end(
        ledger,
        first.id,
        {customer: Ending(Outcome.FAILED, error_code=code) for customer, code in ((1, 816), (2, 816), (3, 1026))},
    )
    clock.advance(hours=1)
    (again,) = requests_of(ledger, plan(ledger, [1, 2], run("again", retry=frozenset({Outcome.FAILED}))))
    (left,) = matters(ledger, Kind.FAILED)
    assert (left.run_id, left.failures) == ("first", (FailureCount(Outcome.FAILED, 1026, 1),))
    end(ledger, again.id, {1: Ending(Outcome.ENROLLED), 2: Ending(Outcome.FAILED, error_code=816)})
    older, newer = matters(ledger, Kind.FAILED)
    assert (older.run_id, older.customers) == ("first", 1)
    assert (newer.run_id, newer.failures) == ("again", (FailureCount(Outcome.FAILED, 816, 1),))
    retried = plan(ledger, [2, 3], run("last", retry=frozenset({Outcome.FAILED})))
    for request in requests_of(ledger, retried):  # a second and a third attempt
        settle_as(ledger, request.id, Outcome.ENROLLED)
    assert matters(ledger) == []


def test_failures_are_told_for_two_weeks(ledger: Ledger, clock: Clock) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1]))
    settle_as(ledger, request.id, Outcome.REJECTED)
    clock.advance(days=14)
    assert kinds(ledger) == [Kind.FAILED]
    clock.advance(seconds=1)
    assert kinds(ledger) == []


def test_a_run_that_is_asked_for_by_its_number_is_told_whenever_it_planned(ledger: Ledger, clock: Clock) -> None:
    old = plan(ledger, [1, 2, 3])
    settle_as(ledger, requests_of(ledger, old)[0].id, Outcome.FAILED)
    other = plan(ledger, [7], run("other", campaign="autumn", occasion="Autumn"))
    settle_as(ledger, requests_of(ledger, other)[0].id, Outcome.FAILED)
    clock.advance(days=100)
    again = plan(ledger, [2], run("again", retry=frozenset({Outcome.FAILED})))
    settle_as(ledger, requests_of(ledger, again)[0].id, Outcome.REJECTED)
    with ledger.read() as tx:
        asked = [outstanding(tx, of=[each.badge_run_id or 0]) for each in (old, other, again)]
        assert outstanding(tx, of=[]) == ()
    assert [[(each.run_id, each.failures) for each in found] for found in asked] == [
        [("first", (FailureCount(Outcome.FAILED, None, 2),))],
        [("other", (FailureCount(Outcome.FAILED, None, 1),))],
        [("again", (FailureCount(Outcome.REJECTED, None, 1),))],
    ]
    assert [each.run_id for each in matters(ledger)] == ["again"], "the others planned too long ago"


def test_whoever_was_erased_is_nobodys_to_retry(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1, 2]))
    settle_as(ledger, request.id, Outcome.FAILED)
    with ledger.write() as tx:
        erase(tx, 1)
    (left,) = matters(ledger)
    assert left.customers == 1


def test_a_run_that_planned_nobody_behind_a_canary_is_told_until_the_rest_was_taken(
    ledger: Ledger, clock: Clock
) -> None:
    canary = plan(ledger, range(1, 31), run("canary", canary=True, customers_per_request=10))
    (held,) = requests_of(ledger, canary)
    send(ledger, held.id)
    see(ledger, held.id, "p-1", decided=False)
    assert kinds(ledger) == [Kind.WAITING], "the canary itself waits for the checker, and that is told"
    clock.advance(hours=1)
    plan(ledger, range(1, 31), run("behind", canary=True))
    behind = matters(ledger, Kind.CANARY_WAITS)
    assert [(each.customers, each.dag_id, each.run_id, each.since) for each in behind] == [
        (20, "spring", "canary", clock.now)
    ]
    assert behind[0].reason == ("the canary of spring, run canary, sent 2026-11-23 12:00 UTC, is not decided yet")
    see(ledger, held.id, "p-1")
    endings = dict.fromkeys(customers_of(ledger, held.id), Ending(Outcome.ENROLLED))
    with ledger.write() as tx:
        assert settle(tx, held.id, sightings_read=["p-1"], endings=endings)
    (passed,) = matters(ledger)
    assert (passed.kind, passed.customers, passed.run_id) == (Kind.CANARY_PASSED, 20, "behind")
    for request in requests_of(ledger, plan(ledger, range(1, 31), run("rest", canary=True))):
        settle_as(ledger, request.id, Outcome.ENROLLED)
    assert matters(ledger) == []


def test_a_cap_of_its_own_is_no_canary(ledger: Ledger) -> None:
    for request in requests_of(ledger, plan(ledger, range(1, 8), run("first", cap=3))):
        settle_as(ledger, request.id, Outcome.ENROLLED)
    assert matters(ledger) == []


def test_red_comes_before_the_rest_and_of_one_kind_the_oldest(ledger: Ledger, clock: Clock) -> None:
    first, second = requests_of(ledger, plan(ledger, [1, 2, 3, 4]))
    send(ledger, first.id)
    see(ledger, first.id, decided=False)
    settle_as(ledger, second.id, Outcome.ENROLLED)
    (failed,) = requests_of(ledger, plan(ledger, [1], run("x", campaign="autumn", occasion="Autumn")))
    settle_as(ledger, failed.id, Outcome.FAILED)
    clock.advance(minutes=1)
    stop(ledger, Scope(ACCOUNT), by="ann", reason="wrong tier")
    assert kinds(ledger) == [Kind.STOPPED, Kind.FAILED, Kind.WAITING]
    made = [Matter(kind=kind, since=clock.now - timedelta(hours=hours)) for kind in Kind for hours in (1, 2)]
    ordered = by_urgency(reversed(made))
    assert [each.kind for each in ordered] == [kind for kind in Kind for _ in range(2)]
    assert [each.since for each in ordered[:2]] == [clock.now - timedelta(hours=2), clock.now - timedelta(hours=1)]


def test_every_kind_stands_in_the_place_of_its_colour() -> None:
    assert {urgency: [kind for kind in Kind if Matter(kind=kind).urgency is urgency] for urgency in Urgency} == {
        Urgency.RED: [
            *(Kind.UNKNOWN_KEY, Kind.AUTO_APPROVED, Kind.STOPPED, Kind.FILE_BROKEN, Kind.RUN_FAILED, Kind.FAILED)
        ],
        Urgency.YELLOW: [
            *(Kind.IN_DOUBT, Kind.DISTRUSTED, Kind.KEEPING_LATE, Kind.LIST_UNREAD, Kind.UNSETTLED, Kind.CANARY_WAITS)
        ],
        Urgency.BLUE: [Kind.WAITING],
        Urgency.GREEN: [Kind.CANARY_PASSED],
        Urgency.GREY: [Kind.PAUSED],
    }


def test_in_a_colour_whole_campaigns_come_first_then_the_most_customers_then_the_oldest(clock: Clock) -> None:
    hour, old = clock.now - timedelta(hours=1), clock.now - timedelta(days=9)
    ordered = [
        Matter(kind=Kind.RUN_FAILED, since=clock.now),
        Matter(kind=Kind.FAILED, customers=1_003, since=clock.now, campaign="vips"),
        Matter(kind=Kind.FAILED, customers=7, since=old),
        Matter(kind=Kind.FAILED, customers=7, since=hour),
        Matter(kind=Kind.FAILED, customers=7),
        Matter(kind=Kind.FAILED, customers=6, since=old),
        Matter(kind=Kind.KEEPING_LATE, since=hour),
        Matter(kind=Kind.CANARY_WAITS, customers=900, since=hour),
        Matter(kind=Kind.IN_DOUBT, customers=500, since=clock.now),
        Matter(kind=Kind.FAILED, customers=3, since=old, campaign="gold", tolerated=True),
        Matter(kind=Kind.WAITING, customers=1, since=clock.now, until=clock.now + timedelta(hours=1)),
        Matter(kind=Kind.WAITING, customers=900, since=clock.now),
        Matter(kind=Kind.WAITING, customers=3, since=old),
    ]
    assert by_urgency(reversed(ordered)) == by_urgency(ordered) == tuple(ordered)


def test_what_airflow_calls_passed_is_tolerated_and_stands_with_the_yellow() -> None:
    red = Matter(kind=Kind.FAILED, dag_id="vips", run_id="r", customers=1)
    passed = Matter(kind=Kind.FAILED, dag_id="gold", run_id="r", customers=900)
    waits = Matter(kind=Kind.CANARY_WAITS, dag_id="gold", run_id="x", customers=5)
    found = with_tolerated([passed, waits, red], {("gold", "r"), ("gold", "x")})
    assert found == (red, replace(passed, tolerated=True), waits)
    assert [each.urgency for each in found] == [Urgency.RED, Urgency.YELLOW, Urgency.YELLOW]


def test_what_waits_gets_its_deadline_from_airflow_and_the_soonest_comes_first(ledger: Ledger, clock: Clock) -> None:
    for campaign in ("spring", "autumn", "winter"):
        order = run("r", campaign=campaign, dag_id=campaign, occasion=campaign)
        (request,) = requests_of(ledger, plan(ledger, [1], order))
        send(ledger, request.id)
        see(ledger, request.id, campaign, decided=False)
        clock.advance(minutes=1)
    soon, late = clock.now + timedelta(hours=1), clock.now + timedelta(days=1)
    found = with_deadlines(matters(ledger), {("spring", "r"): late, ("autumn", "r"): soon, ("autumn", "x"): late})
    assert [(each.campaign, each.until) for each in found] == [("autumn", soon), ("spring", late), ("winter", None)]


def of_dag(ledger: Ledger, dag_id: str) -> list[Matter]:
    with ledger.read() as tx:
        return list(attention(tx, {dag_id}))


def test_of_a_campaign_that_two_dags_plan_each_is_told_its_own_counts(ledger: Ledger) -> None:
    read_now(ledger)
    for dag_id, customers, connection in (("mine", [1], "till_a"), ("theirs", [2, 3], "till_b")):
        order = run(f"run_of_{dag_id}", dag_id=dag_id, capillary_conn_id=connection, customers_per_request=1)
        for request in requests_of(ledger, plan(ledger, customers, order)):
            send(ledger, request.id)
            see(ledger, request.id, f"p-{request.id}", decided=False)
    for dag_id, requests, connection in (("mine", 1, "till_a"), ("theirs", 2, "till_b")):
        (waiting,) = of_dag(ledger, dag_id)
        assert (waiting.kind, waiting.run_id, waiting.connection) == (Kind.WAITING, f"run_of_{dag_id}", connection)
        assert (waiting.requests, waiting.customers) == (requests, requests)
    assert of_dag(ledger, "neither") == []
    (both,) = matters(ledger)
    assert both.requests == 3


def test_counts_of_a_whole_account_are_those_of_the_dags_that_are_asked_for(ledger: Ledger, clock: Clock) -> None:
    for dag_id, customers in (("mine", [1]), ("theirs", [2, 3])):
        order = run(dag_id, dag_id=dag_id, campaign=dag_id, occasion=dag_id, customers_per_request=1)
        for request in requests_of(ledger, plan(ledger, customers, order)):
            send(ledger, request.id)
            with ledger.write() as tx:
                record_sighting(tx, request.id, Seen(f"p-{request.id}", "APPROVED", decided=True, auto_approved=True))
    read_now(ledger)
    clock.advance(hours=3)
    for dag_id, requests in (("mine", 1), ("theirs", 2)):
        found = {each.kind: each for each in of_dag(ledger, dag_id)}
        assert found[Kind.AUTO_APPROVED].requests == requests
        assert (found[Kind.LIST_UNREAD].requests, found[Kind.LIST_UNREAD].customers) == (requests, requests)


def test_a_failed_run_is_told_of_its_own_dag_alone(ledger: Ledger) -> None:
    for request in requests_of(ledger, plan(ledger, [1], run("r", dag_id="theirs"))):
        settle_as(ledger, request.id, Outcome.FAILED)
    assert of_dag(ledger, "mine") == []
    assert [each.kind for each in of_dag(ledger, "theirs")] == [Kind.FAILED]


def test_a_canary_of_another_dag_is_told_without_its_name(ledger: Ledger) -> None:
    order = run("secret", dag_id="theirs", campaign="theirs", canary=True)
    (held,) = requests_of(ledger, plan(ledger, [1, 2], order))
    send(ledger, held.id)
    see(ledger, held.id, "p-1", decided=False)
    plan(ledger, range(11, 31), run("behind", dag_id="mine", campaign="mine", occasion="Mine", canary=True))
    (waits,) = of_dag(ledger, "mine")
    assert (waits.kind, waits.dag_id, waits.run_id, waits.customers) == (Kind.CANARY_WAITS, "mine", "behind", 20)
    assert waits.reason == "the canary of another DAG of this account is not decided yet"
    with ledger.read() as tx:
        (named,) = (each for each in attention(tx, {"mine", "theirs"}) if each.kind is Kind.CANARY_WAITS)
    assert (named.dag_id, named.run_id) == ("theirs", "secret")
    assert "the canary of theirs, run secret" in (named.reason or "")
