"""Customers are planned again after the outcomes, and of these after the codes, that a person names; nobody else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.plan import Plan
from capillary.ledger.request_rows import refuse
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import ORDER, customers_of, plan, requests_of, run, send
from tests.unit.ledger.test_attention import end

F, R, N, U = Outcome.FAILED, Outcome.REJECTED, Outcome.NOT_ACCEPTED, Outcome.UNCONFIRMED
#: customer → how the first attempt ended
ENDINGS = {
    1: Ending(F, error_code=816),
    2: Ending(F, error_code=1026),
    3: Ending(F, error_code=1039),
    4: Ending(R),
    5: Ending(U, error_code=809),
    6: Ending(U),
    7: Ending(Outcome.ALREADY_ENROLLED, error_code=1040),
    8: Ending(Outcome.ENROLLED),
}
ALL = frozenset({F, R, N, U})


@pytest.fixture
def ended(ledger: Ledger) -> Ledger:
    (request,) = requests_of(ledger, plan(ledger, ENDINGS, replace(ORDER, customers_per_request=10)))
    end(ledger, request.id, ENDINGS)
    return ledger


def retried(ledger: Ledger, outcomes: frozenset[Outcome], codes: set[int | None]) -> list[int]:
    made: Plan = plan(
        ledger,
        ENDINGS,
        run("again", retry=outcomes, retry_codes=frozenset(codes), customers_per_request=10),
        cleared=list(ENDINGS),
    )
    return [customer for request in requests_of(ledger, made) for customer in customers_of(ledger, request.id)]


@pytest.mark.parametrize(
    ("outcomes", "codes", "expected"),
    [
        (frozenset({F}), set(), [1, 2, 3]),
        (frozenset({F}), {816}, [1]),
        (frozenset({F}), {816, 1039}, [1, 3]),
        (frozenset({F}), {None}, []),
        (frozenset({F}), {809}, []),
        (frozenset({F, R}), {1039, None}, [3, 4]),
        (frozenset({R}), {816}, []),
        (frozenset({U}), {809}, [5]),
        (frozenset({U}), {None}, [6]),
        (ALL, {816, 809, None, 1040}, [1, 4, 5, 6]),
        (ALL, set(), [1, 2, 3, 4, 5, 6]),
        (frozenset(), {816}, []),
    ],
)
def test_a_retry_takes_the_codes_that_were_asked_for(
    ended: Ledger, outcomes: frozenset[Outcome], codes: set[int | None], expected: list[int]
) -> None:
    assert retried(ended, outcomes, codes) == expected


def test_the_plan_of_a_retry_by_code_adds_up(ended: Ledger) -> None:
    made = plan(ended, [*ENDINGS, 9], run("again", retry=frozenset({F}), retry_codes=frozenset({816})))
    assert (made.eligible, made.known_before, made.planned) == (9, 7, 2)


def test_a_refused_submission_is_planned_again_by_itself_whatever_the_codes(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1]))
    held = send(ledger, request.id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=2008, reason="no")
    assert plan(ledger, [1], run("again", retry=frozenset({F}), retry_codes=frozenset({816}))).planned == 1


def test_who_may_be_planned_again_by_code_is_not_known_elsewhere(ended: Ledger) -> None:
    shared = {"campaign": "autumn", "dag_id": "autumn", "shared_occasion": True}
    made = plan(ended, ENDINGS, run("other", retry=frozenset({F}), retry_codes=frozenset({816}), **shared))
    assert (made.planned, made.known_before, made.known_elsewhere) == (1, 7, 7)
