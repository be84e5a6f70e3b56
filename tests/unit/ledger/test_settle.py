"""A request is settled whole, on everything that was seen of it, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.schema import badge_enrolment, badge_spec
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, outcomes, plan, request, requests_of, run, see, send, settle_as, snapshot

FAILED = Ending(Outcome.FAILED, error_code=8001)


@pytest.fixture
def sent(ledger: Ledger) -> int:
    """A request of customers 1, 2, 3 that was sent."""
    request_id: int = requests_of(ledger, plan(ledger, [1, 2, 3]))[0].id
    send(ledger, request_id)
    return request_id


def _settle(ledger: Ledger, request_id: int, endings: dict[int, Ending], *names: str) -> bool:
    with ledger.write() as tx:
        return settle(tx, request_id, sightings_read=names or ("p-1",), endings=endings)


def _proven(ledger: Ledger) -> bool:
    with ledger.read() as tx:
        return tx.conn.execute(select(badge_spec.c.proven_at)).scalar_one() is not None


def test_every_customer_gets_its_own_ending(ledger: Ledger, clock: Clock, sent: int) -> None:
    see(ledger, sent)
    endings = {1: Ending(Outcome.ENROLLED, "i-1"), 2: FAILED, 3: Ending(Outcome.ALREADY_ENROLLED, None, 1040)}
    assert _settle(ledger, sent, endings)
    row = request(ledger, sent)
    assert (row.status, row.settled_at) == ("settled", clock.now)
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(
                badge_enrolment.c.customer_id,
                badge_enrolment.c.outcome,
                badge_enrolment.c.issued_id,
                badge_enrolment.c.error_code,
            ).order_by(badge_enrolment.c.customer_id)
        ).all()
    assert [tuple(row) for row in rows] == [
        (1, "enrolled", "i-1", None),
        (2, "failed", None, 8001),
        (3, "already_enrolled", None, 1040),
    ]


@pytest.mark.parametrize(
    ("issued_id", "code", "kept"),
    [("i" * 1_000, 8001, (None, 8001)), ("i-1", 10**30, ("i-1", None)), ("i-1", 8001, ("i-1", 8001))],
    ids=["id", "code", "neither"],
)
def test_of_an_ending_only_what_its_columns_cannot_hold_is_left_out(
    ledger: Ledger, sent: int, issued_id: str, code: int, kept: tuple[str | None, int | None]
) -> None:
    see(ledger, sent)
    assert _settle(ledger, sent, dict.fromkeys([1, 2, 3], Ending(Outcome.FAILED, issued_id, code)))
    with ledger.read() as tx:
        columns = badge_enrolment.c
        rows = tx.conn.execute(select(columns.outcome, columns.issued_id, columns.error_code)).all()
    assert {tuple(row) for row in rows} == {("failed", *kept)}


@pytest.mark.parametrize("status", ["planned", "sending", "settled"])
def test_only_a_waiting_request_is_settled(ledger: Ledger, status: str) -> None:
    request_id = requests_of(ledger, plan(ledger, [1]))[0].id
    if status == "sending":
        send(ledger, request_id)
    if status == "settled":
        settle_as(ledger, request_id, Outcome.FAILED)
    before = snapshot(ledger)
    assert not _settle(ledger, request_id, {1: Ending(Outcome.ENROLLED)}, f"p-{request_id}")
    assert snapshot(ledger) == before


def test_a_sighting_added_meanwhile_keeps_the_request_open(ledger: Ledger, sent: int) -> None:
    see(ledger, sent, "p-1")
    see(ledger, sent, "p-2")
    before = snapshot(ledger)
    endings = dict.fromkeys([1, 2, 3], FAILED)
    assert not _settle(ledger, sent, endings, "p-1")
    assert not _settle(ledger, sent, endings, "p-1", "p-2", "p-3")
    assert snapshot(ledger) == before
    assert _settle(ledger, sent, endings, "p-2", "p-1")


def test_an_undecided_sighting_keeps_the_request_open(ledger: Ledger, sent: int) -> None:
    see(ledger, sent, "p-1")
    see(ledger, sent, "p-2", decided=False)
    before = snapshot(ledger)
    assert not _settle(ledger, sent, dict.fromkeys([1, 2, 3], FAILED), "p-1", "p-2")
    assert snapshot(ledger) == before


@pytest.mark.parametrize("customers", [[], [1, 2], [1, 2, 3, 4], [1, 2, 4]], ids=["none", "few", "many", "other"])
def test_endings_for_other_customers_settle_nothing(ledger: Ledger, sent: int, customers: list[int]) -> None:
    see(ledger, sent)
    before = snapshot(ledger)
    with pytest.raises(LedgerBroken, match="nothing was settled"):
        _settle(ledger, sent, dict.fromkeys(customers, FAILED))
    assert snapshot(ledger) == before


def test_an_enrolled_customer_stays_enrolled(ledger: Ledger, sent: int) -> None:
    see(ledger, sent)
    _settle(ledger, sent, {1: Ending(Outcome.ENROLLED, "i-1"), 2: FAILED, 3: FAILED})
    see(ledger, sent, "p-2")
    endings = {1: FAILED, 2: Ending(Outcome.ENROLLED, "i-2"), 3: Ending(Outcome.UNCONFIRMED)}
    assert _settle(ledger, sent, endings, "p-1", "p-2")
    assert outcomes(ledger, sent) == {1: "enrolled", 2: "enrolled", 3: "unconfirmed"}
    with ledger.read() as tx:
        kept = tx.conn.execute(
            select(badge_enrolment.c.issued_id, badge_enrolment.c.error_code).where(badge_enrolment.c.customer_id == 1)
        ).one()
    assert tuple(kept) == ("i-1", None)


@pytest.mark.parametrize(
    ("endings", "auto", "proven"),
    [
        ([Outcome.ENROLLED, Outcome.FAILED, Outcome.FAILED], False, True),
        ([Outcome.ENROLLED, Outcome.ENROLLED, Outcome.ENROLLED], True, False),
        ([Outcome.FAILED, Outcome.FAILED, Outcome.REJECTED], False, False),
        ([Outcome.ALREADY_ENROLLED] * 3, False, False),
        ([Outcome.ENROLLED, Outcome.ENROLLED, Outcome.UNCONFIRMED], False, False),
    ],
    ids=["a human, one enrolled", "no human", "nobody", "nobody new", "one unconfirmed"],
)
def test_what_proves_a_spec(ledger: Ledger, sent: int, endings: list[Outcome], auto: bool, proven: bool) -> None:
    see(ledger, sent, auto=auto)
    assert _settle(ledger, sent, {n: Ending(outcome) for n, outcome in enumerate(endings, 1)})
    assert _proven(ledger) is proven


def test_settling_one_request_leaves_the_others_waiting(ledger: Ledger, sent: int) -> None:
    other = requests_of(ledger, plan(ledger, [4, 5], run("second")))[0].id
    send(ledger, other)
    see(ledger, other, "p-other")
    see(ledger, sent)
    assert _settle(ledger, sent, dict.fromkeys([1, 2, 3], FAILED))
    assert [request(ledger, request_id).status for request_id in (sent, other)] == ["settled", "waiting"]
    assert outcomes(ledger, other) == {4: None, 5: None}


def test_a_spec_is_proven_alone_and_once(ledger: Ledger, clock: Clock, sent: int) -> None:
    spec = replace(ORDER.spec, till_id="another till")
    other = requests_of(ledger, plan(ledger, [4], run("second", spec=spec, occasion="another")))[0].id
    proven_at = clock.now
    for request_id, customers in ((sent, [1, 2, 3]), (other, [4])):
        if request_id == other:
            send(ledger, request_id)
        see(ledger, request_id, f"p-{request_id}")
        endings = dict.fromkeys(customers, Ending(Outcome.ENROLLED, "i"))
        assert _settle(ledger, request_id, endings, f"p-{request_id}")
        with ledger.read() as tx:
            proven = tx.conn.execute(select(badge_spec.c.proven_at).order_by(badge_spec.c.id)).scalars().all()
        assert proven == [proven_at, None if request_id == sent else clock.now]
        clock.advance(days=1)
    third = requests_of(ledger, plan(ledger, [9], run("third")))[0].id
    settle_as(ledger, third, Outcome.ENROLLED)
    with ledger.read() as tx:
        assert tx.conn.execute(select(badge_spec.c.proven_at)).scalars().first() == proven_at
