"""What a person does about a failure by its code, and what a retry takes where nobody says otherwise."""

from __future__ import annotations

import pytest

from capillary.api.codes import CALL_REFUSALS, CODE_MEANINGS, LINE_REFUSALS, REQUEST_CODES
from capillary.engine.remedies import (
    NO_CODE,
    OFFERED_CODES,
    Remedy,
    advice,
    meaning_of,
    offered,
    remedy_of,
    retry_of,
)
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import HAS_BADGE, RETRYABLE, Outcome

F, R, N, U = Outcome.FAILED, Outcome.REJECTED, Outcome.NOT_ACCEPTED, Outcome.UNCONFIRMED


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (U, 1040, Remedy.NOTHING),
        (U, 809, Remedy.LOOK),
        (U, None, Remedy.LOOK),
        (U, 816, Remedy.LOOK),  # beside an issued id: nobody knows
        (F, 816, Remedy.DATE),
        (F, 1026, Remedy.DATA),
        (F, 1028, Remedy.DATA),
        (F, 1039, Remedy.BADGE),
        (F, 815, Remedy.BADGE),
        (F, 714, Remedy.CAMPAIGN),
        (F, 1054, Remedy.CAMPAIGN),
        (F, 403, Remedy.ACCESS),
        (N, 2008, Remedy.CAMPAIGN),
        (N, 2014, Remedy.CAMPAIGN),
        (N, 2001, Remedy.ACCESS),
        (N, None, Remedy.UNKNOWN),
        (F, 744, Remedy.UNKNOWN),
        (R, None, Remedy.CHECKER),
        (R, 816, Remedy.CHECKER),
    ],
)
def test_every_failure_has_its_remedy(outcome: Outcome, code: int | None, expected: Remedy) -> None:
    assert remedy_of(outcome, code) is expected


@pytest.mark.parametrize("code", OFFERED_CODES)
def test_a_code_after_which_a_customer_may_fail_is_not_left_to_the_reader(code: int) -> None:
    assert code in CODE_MEANINGS
    assert remedy_of(Outcome.FAILED, code) is not Remedy.UNKNOWN


def test_the_form_offers_every_code_that_may_end_an_enrolment_with_its_meaning() -> None:
    assert {NO_CODE, "809", *map(str, {*LINE_REFUSALS, *CALL_REFUSALS, *REQUEST_CODES})} == set(offered())
    assert offered()["1026"] == "1026: the customer was not found"
    assert offered()[NO_CODE] == "none: the platform gave no code"
    assert list(offered())[1:] == sorted(offered().keys() - {NO_CODE}, key=int)


@pytest.mark.parametrize("remedy", list(Remedy))
def test_every_remedy_is_a_clause_that_begins_small_and_ends_without_full_stop(remedy: Remedy) -> None:
    said = {advice(FailureCount(outcome, code, 1)).to_do for outcome in RETRYABLE for code in (None, *CODE_MEANINGS)
            if remedy_of(outcome, code) is remedy}  # fmt: skip
    assert len(said) == 1, remedy
    (clause,) = said
    assert clause[0].islower()
    assert not clause.endswith(".")


def test_a_meaning_is_there_for_every_code() -> None:
    assert meaning_of(1026) == "the customer was not found"
    assert meaning_of(None) == "the platform gave no code"
    assert meaning_of(123456) == "a code that the public docs do not name"


@pytest.mark.parametrize(
    ("failures", "outcomes", "codes", "customers"),
    [
        ((), (), (), 0),
        (((F, 1039, 7),), (F,), (), 7),
        # 816 wants another date and 1026 other data: both are left out unless a person says so
        (((F, 816, 5), (F, 1026, 2)), (), (), 0),
        (((F, 1039, 7), (F, 816, 5), (F, 1026, 2)), (F,), ("1039",), 7),
        (((F, 1039, 7), (F, 815, 1), (F, 816, 5), (N, 2008, 3)), (F, N), ("1039", "2008", "815"), 11),
        # what the checker refused, a person asks for again
        (((R, None, 9), (F, 1039, 1)), (F,), (), 1),
        (((R, None, 9),), (), (), 0),
        # 809 and whatever else nobody can tell: the badge is read first
        (((U, 809, 4), (U, None, 1)), (U,), (), 5),
        (((U, 1040, 4), (U, None, 1)), (U,), (NO_CODE,), 1),
        # one code of two outcomes: a product of outcomes and codes must not take in who is left out
        (((F, 816, 5), (F, 1039, 1), (U, 816, 2)), (F, U), ("1039",), 1),
    ],
)
def test_a_retry_takes_what_it_can_bring_forward(
    failures: tuple[tuple[Outcome, int | None, int], ...],
    outcomes: tuple[Outcome, ...],
    codes: tuple[str, ...],
    customers: int,
) -> None:
    given = [FailureCount(*each) for each in failures]
    found = retry_of(given)
    assert (set(found.outcomes), found.codes, found.customers) == (set(outcomes), codes, customers)
    assert found.customers + sum(each.failure.customers for each in found.left_out) == sum(
        each.customers for each in given
    )
    assert not set(found.outcomes) & HAS_BADGE
