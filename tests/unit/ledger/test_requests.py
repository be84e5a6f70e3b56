"""Who may change a request: each row of the table, and everybody else refused without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.requests import (
    Claim,
    ConfirmedAbsence,
    Seen,
    claim,
    discard_unsent,
    give_up,
    keep_alive,
    note_doubt,
    record_sighting,
    refuse,
    release,
    resend,
)
from capillary.ledger.schema import Outcome, badge_run, badge_sighting
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import (
    DOUBT,
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
    """A planned request of customers 1, 2, 3."""
    request_id: int = requests_of(ledger, plan(ledger, [1, 2, 3]))[0].id
    return request_id


def _claim(ledger: Ledger, request_id: int, badge_run_id: int) -> Claim | None:
    with ledger.write() as tx:
        return claim(tx, request_id, badge_run_id=badge_run_id, sender="sender", doubt_after=DOUBT)


def _resend(ledger: Ledger, clock: Clock, request_id: int) -> Claim | None:
    """Send once more what was not found once its doubt could be judged."""
    clock.advance(minutes=2)
    absence = ConfirmedAbsence(request_id, request(ledger, request_id).tries, clock.now)
    with ledger.write() as tx:
        return resend(tx, absence, sender="sender", doubt_after=DOUBT)


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
    assert held == Claim(planned, row.key, 1, doubtful=False, claimed_at=clock.now)


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
    assert (row.status, row.settled_at, row.error_code) == ("settled", clock.now, 2014)
    assert outcomes(ledger, planned) == dict.fromkeys([1, 2, 3], "not_accepted")


Act = Callable[[Transaction, Claim], bool]
BY_SENDER: dict[str, Act] = {
    "release": lambda tx, held: release(tx, held, reason="late"),
    "refuse": lambda tx, held: refuse(tx, held, code=2008, reason="late"),
    "note_doubt": lambda tx, held: note_doubt(tx, held, reason="late"),
}
sender_acts = pytest.mark.parametrize("act", BY_SENDER.values(), ids=BY_SENDER)


def _nothing(ledger: Ledger, act: Act, held: Claim) -> None:
    before = snapshot(ledger)
    with ledger.write() as tx:
        assert act(tx, held) is False
    assert snapshot(ledger) == before


@sender_acts
@pytest.mark.parametrize("status", ["planned", "waiting", "settled"])
def test_a_sender_changes_nothing_that_is_not_sending(
    ledger: Ledger, clock: Clock, planned: int, act: Act, status: str
) -> None:
    _bring_to(ledger, planned, status)
    row = request(ledger, planned)
    _nothing(ledger, act, Claim(planned, row.key, row.tries, doubtful=False, claimed_at=clock.now))


@sender_acts
def test_an_old_try_changes_nothing_after_a_new_claim(ledger: Ledger, planned: int, act: Act) -> None:
    old = send(ledger, planned)
    with ledger.write() as tx:
        assert release(tx, old, reason="429")
    send(ledger, planned)
    _nothing(ledger, act, old)


@pytest.mark.parametrize("name", ["release", "refuse"])
def test_a_doubtful_request_is_neither_released_nor_refused(
    ledger: Ledger, clock: Clock, planned: int, name: str
) -> None:
    send(ledger, planned)
    held = _resend(ledger, clock, planned)
    assert held is not None
    assert held.doubtful
    _nothing(ledger, BY_SENDER[name], held)


def test_a_doubt_is_noted(ledger: Ledger, planned: int) -> None:
    held = send(ledger, planned)
    with ledger.write() as tx:
        assert note_doubt(tx, held, reason="timeout")
    row = request(ledger, planned)
    assert (row.status, row.error) == ("sending", "timeout")


def test_a_request_is_sent_three_times_and_then_given_up(ledger: Ledger, clock: Clock, planned: int) -> None:
    key = send(ledger, planned).key
    for tries in (2, 3):
        held = _resend(ledger, clock, planned)
        assert held == Claim(planned, key, tries, doubtful=True, claimed_at=clock.now)
    before = snapshot(ledger)
    assert _resend(ledger, clock, planned) is None
    assert snapshot(ledger) == before
    with ledger.write() as tx:
        assert give_up(tx, ConfirmedAbsence(planned, 3, clock.now))
    assert (request(ledger, planned).status, request(ledger, planned).settled_at) == ("settled", clock.now)
    assert outcomes(ledger, planned) == dict.fromkeys([1, 2, 3], "unconfirmed")


def _try_both(ledger: Ledger, absence: ConfirmedAbsence) -> tuple[Claim | None, bool]:
    with ledger.write() as tx:
        return resend(tx, absence, sender="s", doubt_after=DOUBT), give_up(tx, absence)


def test_a_request_that_may_be_sent_again_is_not_given_up(ledger: Ledger, clock: Clock, planned: int) -> None:
    send(ledger, planned)
    clock.advance(minutes=2)
    before = snapshot(ledger)
    with ledger.write() as tx:
        assert not give_up(tx, ConfirmedAbsence(planned, 1, clock.now))
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
        assert _try_both(ledger, ConfirmedAbsence(planned, row.tries, begun)) == (None, False)
    late = ConfirmedAbsence(planned, row.tries, clock.now)
    for tries in (row.tries - 1, row.tries + 1):
        assert _try_both(ledger, replace(late, tries=tries)) == (None, False)
    assert snapshot(ledger) == before
    assert _try_both(ledger, late) != (None, False)


@pytest.mark.parametrize("status", ["planned", "waiting", "settled"])
def test_absence_matters_only_while_sending(ledger: Ledger, clock: Clock, planned: int, status: str) -> None:
    _bring_to(ledger, planned, status)
    clock.advance(hours=1)
    before = snapshot(ledger)
    absence = ConfirmedAbsence(planned, request(ledger, planned).tries, clock.now)
    assert _try_both(ledger, absence) == (None, False)
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


def test_unsent_requests_go_with_exactly_their_customers(ledger: Ledger) -> None:
    made = plan(ledger, range(1, 8))
    other = plan(ledger, [50], run("second"))
    sent, seen, unsent = (row.id for row in requests_of(ledger, made))
    send(ledger, sent)
    see(ledger, seen, decided=False)
    assert made.badge_run_id is not None
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[made.badge_run_id]) == 1
        assert discard_unsent(tx, badge_run_ids=[made.badge_run_id]) == 0
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
            keep_alive(tx, run_id, lease=lease)
            until = tx.conn.execute(select(badge_run.c.alive_until)).scalar_one()
        assert until == clock.now + timedelta(hours=expected)
