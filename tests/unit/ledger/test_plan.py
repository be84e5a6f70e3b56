"""Customers become requests once, all of them, or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import update

from capillary.ledger.database import Ledger
from capillary.ledger.errors import GuardRefused, LedgerBroken, OccasionTaken
from capillary.ledger.guards import Guards
from capillary.ledger.plan import commit_plan, customers_to_read
from capillary.ledger.request_rows import ConfirmedAbsence, refuse, release, resend
from capillary.ledger.schema import badge_request
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import request_key
from capillary.ledger.staging import Unclear, staging
from capillary.ledger.status import Outcome, RequestStatus
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import (
    DOUBT,
    NO_GUARDS,
    ORDER,
    SPEC,
    customers_of,
    is_empty,
    open_twice,
    outcomes,
    plan,
    request,
    requests_of,
    run,
    see,
    send,
    settle_as,
    snapshot,
)


def test_every_row_of_the_query_is_counted_once(ledger: Ledger) -> None:
    plan(ledger, [1, 2])
    made = plan(ledger, [9, 1, 8, 9, 7, 6, 9], run("second", cap=3), invalid=2)
    assert (made.eligible, made.invalid, made.duplicates, made.known_before, made.over_cap, made.planned) == (
        9,
        2,
        2,
        1,
        1,
        3,
    )
    assert made.eligible == made.invalid + made.duplicates + made.known_before + made.over_cap + made.planned
    rows = snapshot(ledger)
    assert len(rows["badge_invalid"]) == 2
    assert len(rows["badge_enrolment"]) == 2 + 3


def test_batches_with_the_same_customer_stage_it_once(ledger: Ledger) -> None:
    with staging() as staged:
        staged.add([(1, 5), (2, 6)], [])
        staged.add([(3, 5), (4, 7)], [])
        made = commit_plan(ledger, staged, ORDER)
    assert (made.eligible, made.duplicates, made.planned) == (4, 1, 3)


def test_requests_are_cut_from_exactly_the_rows_inserted(ledger: Ledger) -> None:
    made = plan(ledger, [70, 10, 60, 20, 50, 30, 40])
    rows = requests_of(ledger, made)
    assert [customers_of(ledger, row.id) for row in rows] == [[10, 20, 30], [40, 50, 60], [70]]
    assert [row.customers for row in rows] == [3, 3, 1]
    assert [row.ordinal for row in rows] == [0, 1, 2]
    assert {row.status for row in rows} == {"planned"}
    assert made.requests == 3


def test_the_key_can_be_rebuilt_from_the_ledgers_rows(ledger: Ledger) -> None:
    first = plan(ledger, [3, 2, 1, 4])
    for row in requests_of(ledger, first):
        settle_as(ledger, row.id, Outcome.FAILED)
    second = plan(ledger, [9, 4, 8, 3, 7, 2, 6, 1], run("second", retry=frozenset({Outcome.FAILED})))
    rows = requests_of(ledger, second)
    assert [(row.attempt, customers_of(ledger, row.id)) for row in rows] == [
        (1, [6, 7, 8]),
        (1, [9]),
        (2, [1, 2, 3]),
        (2, [4]),
    ]
    assert second.requests == 4
    for row in [*requests_of(ledger, first), *rows]:
        assert row.request_key == request_key(
            SPEC.fingerprint(), "spring", ORDER.occasion, row.attempt, customers_of(ledger, row.id)
        )


def test_the_cap_takes_the_querys_first_customers(ledger: Ledger) -> None:
    made = plan(ledger, [30, 5, 20, 1], replace(ORDER, cap=2))
    assert customers_of(ledger, requests_of(ledger, made)[0].id) == [5, 30]
    assert (made.planned, made.over_cap) == (2, 2)


def test_a_cap_of_zero_plans_nobody(ledger: Ledger) -> None:
    made = plan(ledger, [1, 2], replace(ORDER, cap=0))
    assert (made.planned, made.over_cap, made.requests) == (0, 2, 0)
    assert snapshot(ledger)["badge_enrolment"] == []


def test_an_unproven_spec_gets_ten_customers_until_a_human_approved_it(ledger: Ledger) -> None:
    careful = {"canary": True, "customers_per_request": 500}
    first = plan(ledger, range(1, 31), run("first", **careful))
    assert (first.canary, first.waits_for_canary, first.planned, first.requests) == (True, False, 10, 1)
    waiting = plan(ledger, range(1, 31), run("second", **careful))
    assert (waiting.waits_for_canary, waiting.planned, waiting.over_cap) == (True, 0, 20)
    settle_as(ledger, requests_of(ledger, first)[0].id, Outcome.ENROLLED)
    rest = plan(ledger, range(1, 31), run("third", **careful))
    assert (rest.canary, rest.waits_for_canary, rest.planned, rest.known_before) == (False, False, 20, 10)


def test_nobody_waits_for_a_canary_when_nobody_is_left(ledger: Ledger) -> None:
    plan(ledger, [1, 2], run("first", canary=True))
    assert not plan(ledger, [1, 2], run("second", canary=True)).waits_for_canary


def test_a_settled_canary_that_proved_nothing_is_followed_by_another(ledger: Ledger) -> None:
    first = plan(ledger, range(1, 31), run("first", canary=True, customers_per_request=10))
    settle_as(ledger, requests_of(ledger, first)[0].id, Outcome.FAILED)
    second = plan(ledger, range(1, 31), run("second", canary=True))
    assert (second.canary, second.waits_for_canary, second.planned) == (True, False, 10)


def test_a_rerun_before_anything_was_sent_plans_anew(ledger: Ledger) -> None:
    plan(ledger, [1, 2, 3, 4], invalid=1)
    made = plan(ledger, [3, 4, 5], replace(ORDER))
    assert not made.kept
    assert (made.known_before, made.planned) == (0, 3)
    assert customers_of(ledger, requests_of(ledger, made)[0].id) == [3, 4, 5]
    rows = snapshot(ledger)
    assert len(rows["badge_run"]) == 1
    assert len(rows["badge_enrolment"]) == 3
    assert rows["badge_invalid"] == []


def test_a_rerun_after_something_was_sent_keeps_the_plan(ledger: Ledger, clock: Clock) -> None:
    made = plan(ledger, [1, 2, 3, 4])
    send(ledger, requests_of(ledger, made)[0].id)
    before = snapshot(ledger)
    clock.advance(hours=1)
    again = plan(ledger, [3, 4, 5])
    assert again == replace(made, kept=True)
    after = snapshot(ledger)
    assert after["badge_run"] != before["badge_run"], "the run is alive again"
    assert {**after, "badge_run": []} == {**before, "badge_run": []}


def test_a_rerun_after_a_released_try_keeps_the_plan(ledger: Ledger) -> None:
    made = plan(ledger, [1, 2])
    held = send(ledger, requests_of(ledger, made)[0].id)
    with ledger.write() as tx:
        assert release(tx, held, reason="429")
    assert plan(ledger, [5]).kept


def test_a_refused_plan_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(GuardRefused, match="min_customers=4"):
        plan(ledger, [1, 2, 3], replace(ORDER, guards=Guards(min_customers=4)), invalid=5)
    assert is_empty(ledger)


def test_a_refused_rerun_leaves_the_earlier_plan(ledger: Ledger) -> None:
    plan(ledger, [1, 2, 3])
    before = snapshot(ledger)
    with pytest.raises(GuardRefused):
        plan(ledger, [4], replace(ORDER, guards=Guards(min_customers=2)))
    assert snapshot(ledger) == before


def test_a_dry_run_counts_and_leaves_nothing(ledger: Ledger) -> None:
    made = plan(ledger, [1, 1, 2, 3, 4], invalid=1, dry_run=True)
    assert made.badge_run_id is None
    assert (made.eligible, made.duplicates, made.invalid, made.planned, made.requests) == (6, 1, 1, 4, 2)
    assert is_empty(ledger)


def test_a_dead_run_is_tidied_and_its_customers_planned_again(ledger: Ledger, clock: Clock) -> None:
    dead = plan(ledger, [1, 2, 3, 4])
    sent, unsent = requests_of(ledger, dead)
    send(ledger, sent.id)
    clock.advance(hours=6)
    held_back = plan(ledger, [1, 2, 3, 4], run("second"))
    assert held_back.planned == 0, "at the end of its lease the run still counts as alive"
    clock.advance(seconds=1)
    made = plan(ledger, [1, 2, 3, 4], run("third"))
    assert (made.planned, made.known_before) == (1, 3)
    assert requests_of(ledger, made)[0].request_key == unsent.request_key, "the same content keeps its key"
    assert [row.id for row in requests_of(ledger, dead)] == [sent.id]
    rows = snapshot(ledger)
    assert len(rows["badge_enrolment"]) == 4
    assert open_twice(ledger) == 0


def test_a_second_run_knows_the_customers_of_the_first(ledger: Ledger) -> None:
    plan(ledger, [1, 2])
    made = plan(ledger, [1, 2, 3], run("second"))
    assert (made.known_before, made.planned) == (2, 1)


def test_another_occasion_knows_nobody(ledger: Ledger) -> None:
    plan(ledger, [1, 2])
    assert plan(ledger, [1, 2], run("second", occasion="Summer")).planned == 2


def test_an_occasion_of_another_badge_is_refused(ledger: Ledger) -> None:
    plan(ledger, [1])
    before = snapshot(ledger)
    with pytest.raises(OccasionTaken, match="another occasion"):
        plan(ledger, [2], run("second", spec=replace(SPEC, badge_id="0" * 24)))
    assert snapshot(ledger) == before


def test_an_occasion_of_another_campaign_is_refused(ledger: Ledger) -> None:
    plan(ledger, [1])
    before = snapshot(ledger)
    with pytest.raises(OccasionTaken, match=r"belongs to campaign 'spring'; .* shared_occasion=True"):
        plan(ledger, [2], run("second", campaign="other"))
    assert snapshot(ledger) == before


@pytest.mark.parametrize(
    ("guards", "passes", "refused"),
    [
        pytest.param({"min_customers": 3}, (3, 0), (2, 0), id="min_customers"),
        pytest.param({"max_invalid_share": 0.25}, (3, 1), (2, 1), id="max_invalid_share"),
        pytest.param({"max_jump": 2.0}, (8, 0), (9, 0), id="max_jump"),
        pytest.param({"max_drop": 0.5}, (2, 0), (1, 0), id="max_drop"),
        pytest.param({"max_requests": 2}, (6, 0), (7, 0), id="max_requests"),
        pytest.param({"max_open_requests": 4}, (6, 0), (7, 0), id="max_open_requests"),
    ],
)
def test_a_guard_refuses_one_past_its_limit(
    ledger: Ledger, guards: dict[str, float], passes: tuple[int, int], refused: tuple[int, int]
) -> None:
    plan(ledger, range(1001, 1005))  # the run before: 4 customers, 2 open requests
    order = run("second", guards=replace(NO_GUARDS, **guards))  # type: ignore[arg-type]
    before = snapshot(ledger)
    with pytest.raises(GuardRefused, match=next(iter(guards))):
        plan(ledger, range(1, refused[0] + 1), order, invalid=refused[1])
    assert snapshot(ledger) == before
    assert plan(ledger, range(1, passes[0] + 1), order, invalid=passes[1]).planned == passes[0]


def test_all_guards_that_refuse_are_named_and_a_person_may_override_them(ledger: Ledger) -> None:
    order = replace(ORDER, guards=Guards(min_customers=99, max_requests=1, max_open_requests=1))
    with pytest.raises(GuardRefused, match=r"min_customers.*max_requests.*max_open_requests"):
        plan(ledger, range(1, 8), order)
    assert plan(ledger, range(1, 8), replace(order, override_guards=True)).planned == 7


def test_open_requests_of_the_campaigns_other_occasions_count(ledger: Ledger) -> None:
    plan(ledger, [1, 2, 3])
    order = run("second", occasion="Summer", guards=replace(NO_GUARDS, max_open_requests=1))
    with pytest.raises(GuardRefused, match="1 request of the campaign is open"):
        plan(ledger, [4], order)


ALL = frozenset(Outcome)


@pytest.mark.parametrize(
    ("outcome", "retry", "cleared", "planned"),
    [
        (Outcome.ENROLLED, ALL, True, 0),
        (Outcome.ALREADY_ENROLLED, ALL, True, 0),
        (Outcome.FAILED, frozenset(), True, 0),
        (Outcome.FAILED, frozenset({Outcome.REJECTED}), True, 0),
        (Outcome.FAILED, frozenset({Outcome.FAILED}), False, 2),
        (Outcome.REJECTED, frozenset({Outcome.REJECTED}), False, 2),
        (Outcome.UNCONFIRMED, frozenset(), True, 0),
        (Outcome.UNCONFIRMED, frozenset({Outcome.UNCONFIRMED}), False, 0),
        (Outcome.UNCONFIRMED, frozenset({Outcome.UNCONFIRMED}), True, 2),
    ],
)
def test_who_may_be_planned_again(
    ledger: Ledger, outcome: Outcome, retry: frozenset[Outcome], cleared: bool, planned: int
) -> None:
    first = plan(ledger, [1, 2])
    settle_as(ledger, requests_of(ledger, first)[0].id, outcome)
    made = plan(ledger, [1, 2], run("second", retry=retry), cleared=[1, 2] if cleared else [])
    assert (made.planned, made.known_before) == (planned, 2 - planned)
    assert [row.attempt for row in requests_of(ledger, made)] == ([2] if planned else [])


@pytest.mark.parametrize("status", ["planned", "sending", "waiting"])
def test_an_open_customer_is_never_planned_again(ledger: Ledger, status: str) -> None:
    request_id = requests_of(ledger, plan(ledger, [1, 2]))[0].id
    if status != "planned":
        send(ledger, request_id)
    if status == "waiting":
        see(ledger, request_id, decided=False)
    assert request(ledger, request_id).status == status
    assert plan(ledger, [1, 2], run("second", retry=ALL), cleared=[1, 2]).planned == 0


def test_a_reopened_request_keeps_its_customers(ledger: Ledger) -> None:
    request_id = requests_of(ledger, plan(ledger, [1, 2]))[0].id
    settle_as(ledger, request_id, Outcome.FAILED)
    see(ledger, request_id, "twin", decided=False)
    assert set(outcomes(ledger, request_id).values()) == {"failed"}
    assert plan(ledger, [1, 2], run("second", retry=ALL), cleared=[1, 2]).planned == 0


def test_the_badge_of_an_earlier_attempt_counts(ledger: Ledger) -> None:
    first = requests_of(ledger, plan(ledger, [1]))[0].id
    settle_as(ledger, first, Outcome.FAILED)
    retry = frozenset({Outcome.FAILED})
    settle_as(ledger, requests_of(ledger, plan(ledger, [1], run("second", retry=retry)))[0].id, Outcome.FAILED)
    see(ledger, first, "twin")
    with ledger.write() as tx:
        assert settle(tx, first, sightings_read=[f"p-{first}", "twin"], endings={1: Ending(Outcome.ENROLLED)})
    assert plan(ledger, [1], run("third", retry=ALL), cleared=[1]).planned == 0


def test_a_refused_submission_is_planned_again_by_itself_three_times_in_all(ledger: Ledger) -> None:
    for attempt in (1, 2, 3):
        (row,) = requests_of(ledger, plan(ledger, [1], run(f"run {attempt}")))
        assert row.attempt == attempt
        held = send(ledger, row.id)
        with ledger.write() as tx:
            assert refuse(tx, held, code=2008, reason="refused")
    assert plan(ledger, [1], run("fourth")).planned == 0
    assert plan(ledger, [1], run("fifth", retry=frozenset({Outcome.NOT_ACCEPTED}))).planned == 1


def test_a_customer_of_a_doubtful_request_is_read_first(ledger: Ledger, clock: Clock) -> None:
    request_id = requests_of(ledger, plan(ledger, [1, 2]))[0].id
    held = send(ledger, request_id)
    clock.advance(minutes=2)
    with ledger.write() as tx:
        absence = ConfirmedAbsence(request_id, held.key, held.tries, tx.now)
        assert resend(tx, absence, sender="sender", doubt_after=DOUBT)
    see(ledger, request_id)
    with ledger.write() as tx:
        assert settle(
            tx,
            request_id,
            sightings_read=["p-1"],
            endings=dict.fromkeys([1, 2], Ending(Outcome.REJECTED)),
        )
    order = run("second", retry=frozenset({Outcome.REJECTED}))
    with staging() as staged:
        staged.add([(1, 1), (2, 2), (3, 3)], [])
        unclear = customers_to_read(ledger, staged, order)
        assert {customer: of.attempt for customer, of in unclear.items()} == {1: 1, 2: 1}
        staged.clear([(2, 1)])
        made = commit_plan(ledger, staged, order)
    assert (made.planned, made.known_before) == (2, 1)
    assert [customers_of(ledger, row.id) for row in requests_of(ledger, made)] == [[3], [2]]


def test_the_look_at_the_badge_is_told_the_first_send_of_any_attempt(ledger: Ledger) -> None:
    first = requests_of(ledger, plan(ledger, [1, 2]))[0].id
    sent_at = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC)
    _settled_unconfirmed(ledger, first, sent_at)
    again = run("second", retry=frozenset({Outcome.UNCONFIRMED}))
    second = requests_of(ledger, plan(ledger, [1], again, cleared=[1]))[0].id
    _settled_unconfirmed(ledger, second, sent_at + timedelta(days=9))
    with staging() as staged:
        staged.add([(1, 1), (2, 2)], [])
        unclear = customers_to_read(ledger, staged, run("third", retry=frozenset({Outcome.UNCONFIRMED})))
    assert unclear == {1: Unclear(2, sent_at), 2: Unclear(1, sent_at)}


def _settled_unconfirmed(ledger: Ledger, request_id: int, sent_at: datetime) -> None:
    settle_as(ledger, request_id, Outcome.UNCONFIRMED)
    with ledger.write() as tx:
        tx.conn.execute(update(badge_request).where(badge_request.c.id == request_id).values(first_sent_at=sent_at))


def test_nobody_is_read_on_a_new_occasion(ledger: Ledger) -> None:
    with staging() as staged:
        staged.add([(1, 1)], [])
        assert customers_to_read(ledger, staged, ORDER) == {}


def test_two_plans_at_once_take_no_customer_twice(ledger: Ledger) -> None:
    start = Barrier(4)

    def one(number: int) -> int:
        with staging() as staged:
            staged.add([(n, n) for n in range(number + 1, number + 201)], [])
            start.wait(timeout=10)
            return commit_plan(ledger, staged, run(f"run {number}", customers_per_request=50)).planned

    with ThreadPoolExecutor(4) as pool:
        planned = list(pool.map(one, [0, 50, 100, 150]))
    rows = snapshot(ledger)["badge_enrolment"]
    assert sum(planned) == len(rows) == 350
    assert open_twice(ledger) == 0


def test_a_lease_is_taken_from_the_order(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, [1], replace(ORDER, lease=timedelta(minutes=1)))
    clock.advance(minutes=1, seconds=1)
    assert plan(ledger, [1], run("second")).planned == 1


def test_a_request_without_its_enrolments_is_not_discarded(ledger: Ledger) -> None:
    made = plan(ledger, [1, 2, 3])
    with ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(customers=2))
    with pytest.raises(LedgerBroken, match="nothing was discarded"):
        plan(ledger, [4])
    assert requests_of(ledger, made)[0].status == RequestStatus.PLANNED
    assert customers_of(ledger, requests_of(ledger, made)[0].id) == [1, 2, 3]
