"""Who may change a request: each row of the table, and everybody else refused without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import (
    FACTS,
    Claim,
    ConfirmedAbsence,
    Seen,
    claim,
    dead_runs,
    discard_unsent,
    give_up,
    keep_alive,
    note_answer,
    note_doubt,
    note_held_doubt,
    record_sighting,
    refuse,
    release,
    resend,
)
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome, RequestStatus
from capillary.ledger.stops import assert_run_not_stopped
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import (
    DOUBT,
    absence,
    endings,
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


@pytest.fixture
def planned(ledger: Ledger) -> int:
    """A planned request of customers 1, 2, 3, whose run has begun to submit: the rows of the stop are there."""
    of_run = requests_of(ledger, plan(ledger, [1, 2, 3]))[0]
    with ledger.write() as tx:
        assert_run_not_stopped(tx, of_run.badge_run_id)
    request_id: int = of_run.id
    return request_id


def _claim(ledger: Ledger, request_id: int, badge_run_id: int) -> Claim | None:
    with ledger.write() as tx:
        return claim(tx, request_id, badge_run_id=OpenPlan(badge_run_id), sender="sender", doubt_after=DOUBT)


def _resend(ledger: Ledger, clock: Clock, request_id: int) -> Claim | None:
    """Send once more what was not found once its doubt could be judged."""
    clock.advance(minutes=2)
    absent = absence(ledger, request_id, clock.now)
    with ledger.write() as tx:
        return resend(tx, absent, sender="sender", doubt_after=DOUBT)


def _bring_to(ledger: Ledger, request_id: int, status: str) -> None:
    if status == "sending":
        send(ledger, request_id)
    if status == "waiting":
        send(ledger, request_id)
        see(ledger, request_id, decided=False)
    if status == "settled":
        settle_as(ledger, request_id, Outcome.FAILED)
    assert request(ledger, request_id).status == status


def test_a_claim_writes_the_intent(ledger: Ledger, clock: Clock, planned: int) -> None:
    held = send(ledger, planned)
    row = request(ledger, planned)
    assert (row.status, row.tries, row.resends, row.sender) == ("sending", 1, 0, "sender")
    assert (row.first_sent_at, row.last_sent_at, row.doubt_from) == (clock.now, clock.now, clock.now + DOUBT)
    assert held == Claim(planned, row.request_key, 1, claimed_at=clock.now)


@pytest.mark.parametrize("status", ["sending", "waiting", "settled"])
def test_only_a_planned_request_is_claimed(ledger: Ledger, planned: int, status: str) -> None:
    _bring_to(ledger, planned, status)
    before = snapshot(ledger)
    assert _claim(ledger, planned, request(ledger, planned).badge_run_id) is None
    assert snapshot(ledger) == before


def test_only_the_run_that_planned_a_request_claims_it(ledger: Ledger, planned: int) -> None:
    other = plan(ledger, [4], run("second"))
    assert other.badge_run_id is not None
    before = snapshot(ledger)
    assert _claim(ledger, planned, other.badge_run_id) is None
    assert snapshot(ledger) == before


def test_a_released_request_is_claimed_again(ledger: Ledger, clock: Clock, planned: int) -> None:
    begin = clock.now
    held = send(ledger, planned)
    with ledger.write() as tx:
        assert release(tx, held, reason="429")
    row = request(ledger, planned)
    assert (row.status, row.tries, row.doubt_from, row.error) == ("planned", 1, None, "429")
    clock.advance(minutes=1)
    assert send(ledger, planned).tries == 2
    row = request(ledger, planned)
    assert (row.first_sent_at, row.last_sent_at, row.error) == (begin, clock.now, None)


def test_a_refused_request_is_settled_as_not_accepted(ledger: Ledger, clock: Clock, planned: int) -> None:
    held = send(ledger, planned)
    with ledger.write() as tx:
        assert refuse(tx, held, code=2014, reason="refused")
    row = request(ledger, planned)
    assert (row.status, row.settled_at, row.error_code, row.error) == ("settled", clock.now, 2014, "refused")
    assert endings(ledger, planned) == dict.fromkeys([1, 2, 3], ("not_accepted", 2014))


def test_a_request_with_a_customer_that_has_an_outcome_is_not_refused_whole(ledger: Ledger, planned: int) -> None:
    held = send(ledger, planned)
    with ledger.write() as tx:
        tx.conn.execute(
            update(badge_enrolment).where(badge_enrolment.c.customer_id == 2).values(outcome=Outcome.ENROLLED)
        )
    before = snapshot(ledger)
    message = f"request {planned} has 3 customers, 2 open; nothing was settled"
    with pytest.raises(LedgerBroken, match=message), ledger.write() as tx:
        refuse(tx, held, code=2014, reason="refused")
    assert snapshot(ledger) == before


Act = Callable[[Transaction, Claim], bool]
BY_SENDER: dict[str, Act] = {
    "release": lambda tx, held: release(tx, held, reason="late"),
    "refuse": lambda tx, held: refuse(tx, held, code=2008, reason="late"),
    "note_doubt": lambda tx, held: note_doubt(tx, held, reason="late"),
}
sender_acts = pytest.mark.parametrize("act", BY_SENDER.values(), ids=BY_SENDER)


def _does_nothing(ledger: Ledger, act: Act, held: Claim) -> bool:
    """Return whether an act says that it changed nothing, and did not."""
    before = snapshot(ledger)
    with ledger.write() as tx:
        said = act(tx, held)
    return said is False and snapshot(ledger) == before


@sender_acts
@pytest.mark.parametrize("status", ["planned", "waiting", "settled"])
def test_a_sender_changes_nothing_that_is_not_sending(
    ledger: Ledger, clock: Clock, planned: int, act: Act, status: str
) -> None:
    _bring_to(ledger, planned, status)
    row = request(ledger, planned)
    assert _does_nothing(ledger, act, Claim(planned, row.request_key, row.tries, claimed_at=clock.now))


@sender_acts
def test_an_old_try_changes_nothing_after_a_new_claim(ledger: Ledger, planned: int, act: Act) -> None:
    old = send(ledger, planned)
    with ledger.write() as tx:
        assert release(tx, old, reason="429")
    send(ledger, planned)
    assert _does_nothing(ledger, act, old)


@pytest.mark.parametrize("name", ["release", "refuse"])
def test_a_doubtful_request_is_neither_released_nor_refused(
    ledger: Ledger, clock: Clock, planned: int, name: str
) -> None:
    send(ledger, planned)
    held = _resend(ledger, clock, planned)
    assert held is not None
    assert request(ledger, planned).resends == 1
    assert _does_nothing(ledger, BY_SENDER[name], held)


def test_a_doubt_is_noted(ledger: Ledger, planned: int) -> None:
    held = send(ledger, planned)
    with ledger.write() as tx:
        assert note_doubt(tx, held, reason="timeout")
    row = request(ledger, planned)
    assert (row.status, row.error) == ("sending", "timeout")


NOTES: dict[str, Act] = {
    "answered_id": lambda tx, held: note_answer(tx, held, "p-9"),
    "error": lambda tx, held: note_held_doubt(tx, held.request_id, key=held.key, tries=held.tries, reason="no control"),
}


@pytest.mark.parametrize(("column", "noted"), [("answered_id", "p-9"), ("error", "no control")])
@pytest.mark.parametrize(
    "other", [{"request_id": 10**6}, {"key": "cb1.spring.0"}, {"tries": 2}], ids=["request", "key", "try"]
)
def test_what_is_noted_of_a_send_is_noted_of_that_one_alone(
    ledger: Ledger, planned: int, column: str, noted: str, other: dict[str, Any]
) -> None:
    held = send(ledger, planned)
    assert _does_nothing(ledger, NOTES[column], replace(held, **other))
    with ledger.write() as tx:
        assert NOTES[column](tx, held)
    row = request(ledger, planned)
    assert (row.status, row.tries, getattr(row, column)) == ("sending", 1, noted)


def test_an_answer_to_an_earlier_send_is_not_noted(ledger: Ledger, clock: Clock, planned: int) -> None:
    held = send(ledger, planned)
    assert _does_nothing(ledger, NOTES["answered_id"], replace(held, claimed_at=held.claimed_at - timedelta(seconds=1)))


@pytest.mark.parametrize("status", ["planned", "waiting", "settled"])
def test_what_keeps_a_doubt_open_is_noted_while_it_is_one(
    ledger: Ledger, clock: Clock, planned: int, status: str
) -> None:
    _bring_to(ledger, planned, status)
    row = request(ledger, planned)
    assert _does_nothing(ledger, NOTES["error"], Claim(planned, row.request_key, row.tries, claimed_at=clock.now))


def test_a_request_is_sent_three_times_and_then_given_up(ledger: Ledger, clock: Clock, planned: int) -> None:
    key = send(ledger, planned).key
    for tries in (2, 3):
        held = _resend(ledger, clock, planned)
        assert held == Claim(planned, key, tries, claimed_at=clock.now, is_again=True)
    before = snapshot(ledger)
    assert _resend(ledger, clock, planned) is None
    assert snapshot(ledger) == before
    absent = absence(ledger, planned, clock.now)
    with ledger.write() as tx:
        assert give_up(tx, absent)
    row = request(ledger, planned)
    assert (row.status, row.settled_at, row.error) == ("settled", clock.now, "sent three times and never found")
    assert endings(ledger, planned) == dict.fromkeys([1, 2, 3], ("unconfirmed", None))


def test_who_sends_again_is_written_down(ledger: Ledger, clock: Clock, planned: int) -> None:
    send(ledger, planned)
    clock.advance(minutes=2)
    absent = absence(ledger, planned, clock.now)
    with ledger.write() as tx:
        assert resend(tx, absent, sender="another", doubt_after=DOUBT)
    row = request(ledger, planned)
    assert (row.sender, row.last_sent_at, row.doubt_from) == ("another", clock.now, clock.now + DOUBT)


def test_giving_one_up_leaves_the_others_in_doubt(ledger: Ledger, clock: Clock) -> None:
    first, second = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    for request_id in (first, second):
        send(ledger, request_id)
    for _ in range(2):
        clock.advance(minutes=2)
        for request_id in (first, second):
            absent = absence(ledger, request_id, clock.now)
            with ledger.write() as tx:
                assert resend(tx, absent, sender="sender", doubt_after=DOUBT)
    clock.advance(minutes=2)
    absent = absence(ledger, first, clock.now)
    with ledger.write() as tx:
        assert give_up(tx, absent)
    assert [request(ledger, request_id).status for request_id in (first, second)] == ["settled", "sending"]
    assert endings(ledger, second) == dict.fromkeys([4, 5, 6], (None, None))


def _try_both(ledger: Ledger, absent: ConfirmedAbsence) -> tuple[Claim | None, bool]:
    with ledger.write() as tx:
        return resend(tx, absent, sender="s", doubt_after=DOUBT), give_up(tx, absent)


def test_a_request_that_may_be_sent_again_is_not_given_up(ledger: Ledger, clock: Clock, planned: int) -> None:
    send(ledger, planned)
    clock.advance(minutes=2)
    before = snapshot(ledger)
    absent = absence(ledger, planned, clock.now)
    with ledger.write() as tx:
        assert not give_up(tx, absent)
    assert snapshot(ledger) == before


@pytest.mark.parametrize("resends", [0, 2])
def test_a_scan_begun_before_the_doubt_proves_nothing(ledger: Ledger, clock: Clock, planned: int, resends: int) -> None:
    send(ledger, planned)
    for _ in range(resends):
        assert _resend(ledger, clock, planned)
    row = request(ledger, planned)
    clock.advance(hours=1)
    before = snapshot(ledger)
    for begun in (row.doubt_from - timedelta(seconds=1), row.doubt_from):
        assert _try_both(ledger, absence(ledger, planned, begun)) == (None, False)
    late = absence(ledger, planned, clock.now)
    for tries in (row.tries - 1, row.tries + 1):
        assert _try_both(ledger, replace(late, tries=tries)) == (None, False)
    assert snapshot(ledger) == before
    assert _try_both(ledger, late) != (None, False)


@pytest.mark.parametrize("status", ["planned", "waiting", "settled"])
def test_absence_matters_only_while_sending(ledger: Ledger, clock: Clock, planned: int, status: str) -> None:
    _bring_to(ledger, planned, status)
    clock.advance(hours=1)
    before = snapshot(ledger)
    assert _try_both(ledger, absence(ledger, planned, clock.now)) == (None, False)
    assert snapshot(ledger) == before


@pytest.mark.parametrize("status", ["planned", "sending", "waiting", "settled"])
def test_a_new_sighting_opens_a_request_of_any_status(ledger: Ledger, planned: int, status: str) -> None:
    _bring_to(ledger, planned, status)
    known = outcomes(ledger, planned)
    assert see(ledger, planned, "new", decided=False)
    row = request(ledger, planned)
    assert (row.status, row.settled_at, row.doubt_from) == ("waiting", None, None)
    assert outcomes(ledger, planned) == known


def test_a_known_sighting_opens_nothing(ledger: Ledger, planned: int) -> None:
    _bring_to(ledger, planned, "settled")
    assert not see(ledger, planned, f"p-{planned}")
    assert request(ledger, planned).status == "settled"


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        ("failed", "approved", "waiting"),
        ("rejected", "approved", "waiting"),
        ("approved", "approved", "settled"),
        ("approved", "failed", "settled"),
        ("failed", "rejected", "settled"),
        ("failed", "failed", "settled"),
    ],
)
def test_what_is_approved_after_it_ended_otherwise_is_read_again(
    ledger: Ledger, planned: int, before: str, now: str, status: str
) -> None:
    """The platform may execute once more what it called failed; nothing else opens a known sighting."""
    send(ledger, planned)
    with ledger.write() as tx:
        assert record_sighting(tx, planned, Seen("p-1", before, decided=True, approved=before == "approved"))
        assert settle(tx, planned, sightings_read=["p-1"], endings=dict.fromkeys((1, 2, 3), Ending(Outcome.FAILED)))
    known = outcomes(ledger, planned)
    with ledger.write() as tx:
        assert not record_sighting(tx, planned, Seen("p-1", now, decided=True, approved=now == "approved"))
    row = request(ledger, planned)
    assert (row.status, row.settled_at is None) == (status, status == "waiting")
    assert outcomes(ledger, planned) == known


def test_a_decided_state_is_never_taken_back(ledger: Ledger, clock: Clock, planned: int) -> None:
    assert see(ledger, planned, decided=False)
    clock.advance(minutes=1)
    decided_at = clock.now
    assert not see(ledger, planned, decided=True)
    clock.advance(minutes=1)
    assert not see(ledger, planned, decided=False)
    with ledger.write() as tx:
        assert not record_sighting(tx, planned, Seen("p-1", "rejected", decided=True))
        row = tx.conn.execute(select(badge_sighting)).one()
    assert (row.state, row.terminal_seen_at) == ("rejected", decided_at)
    clock.advance(minutes=1)
    see(ledger, planned, decided=False)
    with ledger.read() as tx:
        row = tx.conn.execute(select(badge_sighting)).one()
    assert (row.state, row.terminal_seen_at) == ("rejected", decided_at)


@pytest.fixture
def twins(ledger: Ledger) -> tuple[int, int]:
    """Two requests; each is seen undecided, the first one as p-1 and p-2, the second one as p-3."""
    first, second = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    for request_id, name in ((first, "p-1"), (first, "p-2"), (second, "p-3")):
        assert see(ledger, request_id, name, decided=False)
    return first, second


def seen(ledger: Ledger, *columns: str) -> list[tuple[object, ...]]:
    """Return columns of all sightings in the order of their names."""
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(*(badge_sighting.c[name] for name in columns)).order_by(badge_sighting.c.platform_request_id)
        )
        return [tuple(row) for row in rows]


def record(ledger: Ledger, request_id: int, what: Seen) -> bool:
    with ledger.write() as tx:
        return record_sighting(tx, request_id, what)


@pytest.mark.parametrize("decided", [True, False])
def test_news_of_a_sighting_touches_that_sighting_alone(
    ledger: Ledger, clock: Clock, twins: tuple[int, int], decided: bool
) -> None:
    assert not record(ledger, twins[0], Seen("p-2", "Escalated", decided=decided))
    moment = clock.now if decided else None
    assert seen(ledger, "state", "terminal_seen_at") == [
        ("AdminTask", None),
        ("Escalated", moment),
        ("AdminTask", None),
    ]
    # Another request's sighting is not this one's, whatever a reply says.
    assert not record(ledger, twins[0], Seen("p-3", "approved", decided=decided))
    assert seen(ledger, "request_id", "state")[2] == (twins[1], "AdminTask")


@pytest.mark.parametrize(
    ("news", "opened"),
    [
        ("p-2", [0]),  # was seen failed: its own request is read again, and no other one that ended
        ("p-1", []),  # was approved before; that its twin had failed says nothing of it
        ("p-3", []),  # another request's
    ],
    ids=["failed before", "approved before", "of another request"],
)
def test_what_is_approved_later_opens_its_own_request_alone(
    ledger: Ledger, twins: tuple[int, int], news: str, opened: list[int]
) -> None:
    for request_id, states, customers in (
        (twins[0], {"p-1": "approved", "p-2": "failed"}, (1, 2, 3)),
        (twins[1], {"p-3": "failed"}, (4, 5, 6)),
    ):
        for name, state in states.items():
            record(ledger, request_id, Seen(name, state, decided=True, approved=state == "approved"))
        with ledger.write() as tx:
            endings = dict.fromkeys(customers, Ending(Outcome.FAILED))
            assert settle(tx, request_id, sightings_read=list(states), endings=endings)
    assert not record(ledger, twins[0], Seen(news, "approved", decided=True, approved=True))
    waiting = [n for n, request_id in enumerate(twins) if request(ledger, request_id).status == "waiting"]
    assert waiting == opened


def test_the_checkers_message_is_kept_and_never_lost(ledger: Ledger, planned: int) -> None:
    record(ledger, planned, Seen("p-1", "AdminTask", decided=False, checker_message="wait"))
    assert seen(ledger, "checker_message") == [("wait",)]
    record(ledger, planned, Seen("p-1", "rejected", decided=True, checker_message=None))
    assert seen(ledger, "checker_message") == [("wait",)]
    record(ledger, planned, Seen("p-1", "rejected", decided=True, checker_message="no"))
    assert seen(ledger, "checker_message") == [("no",)]


def test_what_helps_to_find_a_request_is_kept_as_it_was_shown_last(ledger: Ledger, planned: int) -> None:
    record(
        ledger, planned, Seen("p-1", "AdminTask", decided=False, maker_id="7", start_time="9:00", failed_checks="A, B")
    )
    record(ledger, planned, Seen("p-1", "AdminTask", decided=False))
    record(ledger, planned, Seen("p-1", "approved", decided=True, end_time="9:05"))
    assert seen(ledger, *FACTS) == [("7", "9:00", "9:05", "A, B")]
    record(ledger, planned, Seen("p-1", "approved", decided=True, failed_checks=""))
    assert seen(ledger, *FACTS) == [("7", "9:00", "9:05", "")]


@pytest.mark.parametrize("made_ago", [timedelta(days=3), timedelta(0), timedelta(days=-1), None])
def test_what_was_found_counts_as_sent_when_it_was_made(
    ledger: Ledger, clock: Clock, planned: int, made_ago: timedelta | None
) -> None:
    """A ledger that was restored finds what it planned and has not sent."""
    made_at = None if made_ago is None else clock.now - made_ago
    record(ledger, planned, Seen("p-1", "AdminTask", decided=False, created_at=made_at))
    sent_at = min(made_at or clock.now, clock.now)
    found = request(ledger, planned)
    assert (found.first_sent_at, found.last_sent_at, found.tries, found.sender) == (sent_at, sent_at, 0, None)
    clock.advance(days=1)
    record(ledger, planned, Seen("p-twin", "AdminTask", decided=False, created_at=clock.now))
    assert request(ledger, planned).first_sent_at == sent_at, "a later sighting changes nothing"


def test_what_was_sent_keeps_the_moment_of_its_claim(ledger: Ledger, clock: Clock, planned: int) -> None:
    send(ledger, planned)
    sent_at = clock.now
    clock.advance(minutes=5)
    record(ledger, planned, Seen("p-1", "AdminTask", decided=False, created_at=sent_at - timedelta(days=1)))
    assert (request(ledger, planned).first_sent_at, request(ledger, planned).last_sent_at) == (sent_at, sent_at)


@pytest.mark.parametrize(
    ("first", "then", "kept"), [(False, False, False), (False, True, True), (True, False, True), (True, True, True)]
)
def test_a_decision_once_seen_without_a_human_stays_so(
    ledger: Ledger, planned: int, first: bool, then: bool, kept: bool
) -> None:
    for auto_approved in (first, then):
        record(ledger, planned, Seen("p-1", "approved", decided=True, auto_approved=auto_approved))
    assert seen(ledger, "auto_approved") == [(kept,)]


def test_a_request_that_was_seen_is_not_discarded_whatever_its_status(ledger: Ledger, planned: int) -> None:
    see(ledger, planned, decided=False)
    with ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(status=RequestStatus.PLANNED))
    before = snapshot(ledger)
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[request(ledger, planned).badge_run_id]) == 0
    assert snapshot(ledger) == before


def test_all_that_runs_give_back_is_counted(ledger: Ledger) -> None:
    runs = [plan(ledger, range(1, 8)).badge_run_id, plan(ledger, range(11, 15), run("second")).badge_run_id]
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[OpenPlan(run_id) for run_id in runs if run_id]) == 11
        assert tx.conn.execute(select(badge_run.c.discarded).order_by(badge_run.c.id)).scalars().all() == [7, 4]
        assert tx.conn.execute(select(badge_request)).all() == []


def test_a_request_that_lost_a_customer_is_not_discarded(ledger: Ledger, planned: int) -> None:
    with ledger.write() as tx:
        tx.conn.execute(delete(badge_enrolment).where(badge_enrolment.c.customer_id == 2))
    before = snapshot(ledger)
    run_id = request(ledger, planned).badge_run_id
    message = f"request {planned} of run {run_id} holds 2 enrolments, 3 planned; nothing was discarded"
    with pytest.raises(LedgerBroken, match=message), ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[run_id])
    assert snapshot(ledger) == before


def test_a_run_is_dead_once_its_lease_is_over(ledger: Ledger, clock: Clock) -> None:
    first, second, third = (
        plan(ledger, [number], order).badge_run_id or 0
        for number, order in enumerate((run("first"), run("second"), run("third", occasion="another")))
    )
    with ledger.write() as tx:
        keep_alive(tx, OpenPlan(second), lease=timedelta(days=2))
        rows = tx.conn.execute(select(badge_run.c.occasion_id, badge_run.c.alive_until).order_by(badge_run.c.id)).all()
    occasion, another = rows[0].occasion_id, rows[2].occasion_id
    clock.now = rows[0].alive_until
    for later, dead in ((timedelta(0), ()), (timedelta(seconds=1), (first,)), (timedelta(days=3), (first, second))):
        clock.now += later
        with ledger.read() as tx:
            assert dead_runs(tx, occasion) == dead
    with ledger.read() as tx:
        assert dead_runs(tx, another) == (third,)


def test_unsent_requests_go_with_exactly_their_customers(ledger: Ledger) -> None:
    made = plan(ledger, range(1, 8))
    other = plan(ledger, [50], run("second"))
    sent, seen, unsent = (row.id for row in requests_of(ledger, made))
    send(ledger, sent)
    see(ledger, seen, decided=False)
    assert made.badge_run_id is not None
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[OpenPlan(made.badge_run_id)]) == 1
        assert discard_unsent(tx, badge_run_ids=[OpenPlan(made.badge_run_id)]) == 0
    assert [row.id for row in requests_of(ledger, made)] == [sent, seen]
    assert outcomes(ledger, unsent) == {}
    assert len(outcomes(ledger, sent)) == len(outcomes(ledger, seen)) == 3
    assert len(requests_of(ledger, other)) == 1
    with ledger.read() as tx:
        discarded = tx.conn.execute(select(badge_run.c.discarded).order_by(badge_run.c.id)).scalars().all()
    assert discarded == [1, 0]


def test_a_lease_is_renewed_and_never_shortened(ledger: Ledger, clock: Clock) -> None:
    run_id = plan(ledger, [1]).badge_run_id
    assert run_id is not None
    for lease, expected in ((timedelta(hours=9), 9), (timedelta(hours=1), 9)):
        with ledger.write() as tx:
            keep_alive(tx, OpenPlan(run_id), lease=lease)
            until = tx.conn.execute(select(badge_run.c.alive_until)).scalar_one()
        assert until == clock.now + timedelta(hours=expected)
