from __future__ import annotations

import itertools
from typing import Any

import pytest

from capillary.api.codes import CALL_REFUSALS
from capillary.api.request_workflow import parse_request
from capillary.engine.outcomes import fold, read_outcomes
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from tests.unit.api.documented import bulk, decided, inner, item, row

ONE, TWO = CUSTOMERS = (900001, 900002)
ISSUED = "b" * 24

ENROLLED = Ending(Outcome.ENROLLED, issued_id=ISSUED)
REJECTED = Ending(Outcome.REJECTED)
UNCONFIRMED = Ending(Outcome.UNCONFIRMED)


def already() -> Ending:
    return Ending(Outcome.ALREADY_ENROLLED, error_code=1040)


def failed(code: int) -> Ending:
    return Ending(Outcome.FAILED, error_code=code)


def doubtful(code: int) -> Ending:
    return Ending(Outcome.UNCONFIRMED, error_code=code)


def answer(body: object, status: object = 200) -> dict[str, object]:
    return {"status": status, "headers": {}, "body": body}


def refusal(*codes: object, status: object = 400) -> dict[str, object]:
    return answer({"data": None, "errors": [{"code": c, "message": "no"} for c in codes], "warnings": None}, status)


def wrong(code: object, **more: object) -> dict[str, object]:
    """A line with an error."""
    return item(error={"code": code, "message": "no", "reference": None}, **more)


LINES = [
    ("enrolled", item(), ENROLLED),
    ("active", item(status="ACTIVE"), ENROLLED),
    ("active in lower case", item(status="active"), ENROLLED),
    ("null error", item(error=None), ENROLLED),
    ("customer as text", item("900001"), ENROLLED),
    ("customer as float", item(900001.0), ENROLLED),
    ("issued id as number", item(issued=77), Ending(Outcome.ENROLLED, issued_id="77")),
    ("issued id as long as the ledger's", item(issued="b" * 64), Ending(Outcome.ENROLLED, issued_id="b" * 64)),
    ("issued id longer than the ledger's", item(issued="b" * 65), Ending(Outcome.ENROLLED)),
    ("no issued id", item(issued=None), UNCONFIRMED),
    ("blank issued id", item(issued=" "), UNCONFIRMED),
    ("expired", item(status="EXPIRED"), UNCONFIRMED),
    ("revoked", item(status="REVOKED"), UNCONFIRMED),
    ("unknown status", item(status="PARKED"), UNCONFIRMED),
    ("1040 with an id", wrong(1040, status="ACTIVE"), already()),
    ("1040 without an id", wrong(1040, issued=None), already()),
    ("1040 as text", wrong("1040"), already()),
    ("1040 as float", wrong(1040.0), already()),
    ("810", wrong(810, issued=None), failed(810)),
    ("816", wrong(816, issued=None), failed(816)),
    ("1026", wrong(1026, issued=None), failed(1026)),
    ("a refusal beside an id", wrong(816), doubtful(816)),
    ("a refusal beside no id", wrong(816, issued="null"), failed(816)),
    ("a refusal beside a zero", wrong(816, issued=0), failed(816)),
    ("unknown code", wrong(7777, issued=None), doubtful(7777)),
    ("unknown code with an id", wrong(7777), doubtful(7777)),
    *((f"{code} with an id", wrong(code), doubtful(code)) for code in (0, 200, 404, 500, 503, 521, 811, 999999)),
    *((f"{code} without an id", wrong(code, issued=None), doubtful(code)) for code in (0, 200, 404, 500, 503, 744)),
    ("code below zero", wrong(-1, issued=None), doubtful(-1)),
    ("code true", wrong(True, issued=None), UNCONFIRMED),
    ("error in a list", item(issued=None, error=[{"code": 1039}]), failed(1039)),
    ("one code twice in a list", item(issued=None, error=[{"code": 816}, {"code": "816"}]), failed(816)),
    ("two codes in a list", item(issued=None, error=[{"code": 816}, {"code": 500}]), UNCONFIRMED),
    ("a code and none in a list", item(issued=None, error=[{"code": 816}, {"message": "no"}]), UNCONFIRMED),
    ("1040 and another code in a list", item(error=[{"code": 1040}, {"code": 816}]), UNCONFIRMED),
    ("errors and an id", item(errors=[{"code": 816}]), doubtful(816)),
    ("errors without an id", item(issued=None, errors=[{"code": 816}]), failed(816)),
    ("errors without a code", item(errors=["no"]), UNCONFIRMED),
    ("errors is an empty object", item(errors={}), UNCONFIRMED),
    ("no errors", item(errors=[]), ENROLLED),
    ("null errors", item(errors=None), ENROLLED),
    ("809 in a line", wrong(809, issued=None), doubtful(809)),
    ("error without code", item(error={"message": "no"}), UNCONFIRMED),
    ("empty error", item(error={}), UNCONFIRMED),
    ("error as text", item(error="no"), UNCONFIRMED),
    ("error as a number", item(error=816), UNCONFIRMED),
    ("error as zero", item(error=0), UNCONFIRMED),
    ("error as blank text", item(error=""), UNCONFIRMED),
    ("error is false", item(error=False), UNCONFIRMED),
    ("error as an empty list", item(error=[]), UNCONFIRMED),
    ("error with a null code", item(error={"code": None, "message": None}), UNCONFIRMED),
    ("error within an error", item(error={"error": {"code": 1040}}), UNCONFIRMED),
    ("error with a status", item(issued=None, error={"status": {"code": 816}}), UNCONFIRMED),
    ("code in words", item(issued=None, error={"code": "BADGE_NOT_LIVE"}), UNCONFIRMED),
    ("issued id of zeros", item(issued="0" * 24), UNCONFIRMED),
    ("issued id null as text", item(issued="null"), UNCONFIRMED),
    ("code as long as the ledger's", wrong(2**31 - 1), doubtful(2**31 - 1)),
    ("code longer than the ledger's", wrong(2**31), UNCONFIRMED),
    ("no customer", item(None), UNCONFIRMED),
    ("another customer only", item(900003), UNCONFIRMED),
    ("no object", "900001", UNCONFIRMED),
]


@pytest.mark.parametrize("state", ["approved", "failed"])
@pytest.mark.parametrize(("line", "ending"), [case[1:] for case in LINES], ids=[case[0] for case in LINES])
def test_a_line_says_what_became_of_its_customer(line: object, ending: Ending, state: str) -> None:
    request = parse_request(decided(state, bulk(line, item(TWO))))

    reading = read_outcomes(request, CUSTOMERS)

    assert reading.by_customer == {ONE: ending, TWO: ENROLLED}
    assert not reading.incomplete
    assert not reading.echo_differs


EMPTY = {"data": {"issuedBadges": []}, "errors": []}
WHOLE: list[tuple[str, str, object, Ending]] = [
    ("400 and 714", "failed", refusal(714), failed(714)),
    ("404 and 1054", "failed", refusal(1054, status=404), failed(1054)),
    ("400 as text", "failed", refusal(714, status="400"), failed(714)),
    ("400.0", "failed", refusal(714, status=400.0), failed(714)),
    ("code as text", "failed", refusal("714"), failed(714)),
    ("known behind unknown", "failed", refusal(7777, 714), doubtful(7777)),
    ("known before unknown", "failed", refusal(714, 7777), doubtful(714)),
    ("two that refuse", "failed", refusal(714, 1054), failed(714)),
    ("all that refuse", "failed", refusal(*CALL_REFUSALS), failed(next(iter(CALL_REFUSALS)))),
    ("the credential's", "failed", refusal(401, status=401), failed(401)),
    ("a gateway's bare 404", "failed", answer({"code": 404}, 404), doubtful(404)),
    ("a code of another call", "failed", refusal(725), doubtful(725)),
    *((f"{code} under 400", "failed", refusal(code), doubtful(code)) for code in (461, 503, 521, 999999)),
    # Whoever came before the customer, or the moment, of such a code may have been enrolled.
    *(
        (f"{code} in mid-call", "failed", refusal(code), doubtful(code))
        for code in (810, 812, 815, 816, 1026, 1028, 1039)
    ),
    ("a refusal beside one of mid-call", "failed", refusal(714, 816), doubtful(714)),
    ("a code that is good news", "failed", answer({"status": {"code": 200}}, 400), UNCONFIRMED),
    ("bare error object", "failed", answer({"error": {"code": 803}}, 400), failed(803)),
    ("body as JSON text", "failed", answer('{"errors": [{"code": 714}]}', 400), failed(714)),
    ("714 under 200", "failed", refusal(714, status=200), failed(714)),
    ("744 of another type of request", "failed", refusal(744, status=200), doubtful(744)),
    ("no status", "failed", refusal(714, status=None), failed(714)),
    ("approved with 400 and 714", "approved", refusal(714), failed(714)),
    ("approved with 200 and 714", "approved", refusal(714, status=200), doubtful(714)),
    ("approved, no status, 714", "approved", refusal(714, status=None), doubtful(714)),
    ("unknown code", "failed", refusal(7777), doubtful(7777)),
    ("code longer than the ledger's", "failed", refusal(2**31), UNCONFIRMED),
    ("5xx with a known code", "failed", refusal(714, status=500), doubtful(714)),
    ("500 in a 400", "failed", refusal(500), doubtful(500)),
    ("503 beside a known code", "failed", refusal(714, 503), doubtful(714)),
    ("809", "failed", refusal(809), doubtful(809)),
    ("809 beside a known code", "failed", refusal(714, 809), doubtful(809)),
    ("809 under 500", "failed", refusal(809, status=500), doubtful(809)),
    ("HTML", "failed", answer("<html>502</html>", 502), UNCONFIRMED),
    ("HTML under 400", "failed", answer("<html>714</html>", 400), UNCONFIRMED),
    ("no body", "failed", {"status": 400}, UNCONFIRMED),
    ("output is text", "failed", "timeout", UNCONFIRMED),
    ("null errors", "failed", answer({"data": None, "errors": None}, 400), UNCONFIRMED),
    ("only warnings", "failed", answer({"warnings": [{"code": 714}]}, 400), UNCONFIRMED),
    ("approved and nobody listed", "approved", answer(EMPTY), UNCONFIRMED),
    ("approved and null lines", "approved", answer({"data": {"issuedBadges": None}}), UNCONFIRMED),
    ("rejected", "rejected", None, REJECTED),
    ("rejected with an empty answer", "rejected", answer({}), REJECTED),
]


@pytest.mark.parametrize(("state", "output", "ending"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE])
def test_an_answer_without_lines_says_the_same_of_everybody(state: str, output: object, ending: Ending) -> None:
    reading = read_outcomes(parse_request(decided(state, output)), CUSTOMERS)

    assert reading.by_customer == {ONE: ending, TWO: ending}


def test_whoever_is_not_listed_is_unconfirmed_and_whoever_is_not_ours_is_left_out() -> None:
    request = parse_request(decided("approved", bulk(item(ONE), item(900003))))

    assert read_outcomes(request, CUSTOMERS).by_customer == {ONE: ENROLLED, TWO: UNCONFIRMED}


def test_the_same_line_twice_is_one_and_two_that_differ_are_none() -> None:
    lines = [item(ONE), item(ONE), item(TWO), item(TWO, error={"code": 815}), item(TWO)]

    reading = read_outcomes(parse_request(decided("approved", bulk(*lines))), CUSTOMERS)

    assert reading.by_customer == {ONE: ENROLLED, TWO: UNCONFIRMED}


def test_lines_count_even_where_the_request_is_rejected() -> None:
    request = parse_request(decided("rejected", bulk(item(ONE)), decision="rejected"))

    assert read_outcomes(request, CUSTOMERS).by_customer == {ONE: ENROLLED, TWO: UNCONFIRMED}


@pytest.mark.parametrize("state", ["approved", "failed"])
def test_without_output_a_request_is_incomplete_until_we_give_up(state: str) -> None:
    request = parse_request(decided(state, None))

    waiting = read_outcomes(request, CUSTOMERS)
    given_up = read_outcomes(request, CUSTOMERS, give_up=True)

    assert waiting.incomplete
    assert waiting.by_customer == {}
    assert not given_up.incomplete
    assert given_up.by_customer == {ONE: UNCONFIRMED, TWO: UNCONFIRMED}


@pytest.mark.parametrize("state", ["AdminTask", "ValidatePayload", "Approved"])
def test_an_undecided_or_unknown_state_is_incomplete_even_with_lines(state: str) -> None:
    request = parse_request(row(state, IntouchAPITask_Output=bulk(item(ONE), item(TWO))))

    reading = read_outcomes(request, CUSTOMERS, give_up=True)

    assert reading.incomplete
    assert reading.by_customer == {}


def echo(customers: object) -> dict[str, Any]:
    request = decided("approved", bulk(item(ONE), item(TWO)))
    request["details"]["IntouchAPITask-Payload"] = inner(customers)
    return request


@pytest.mark.parametrize(
    ("customers", "differs"),
    [
        ((ONE, TWO), False),
        ((TWO, ONE), False),
        ((ONE, TWO, ONE), False),
        ((str(ONE), float(TWO)), False),
        ((ONE,), True),
        ((ONE, TWO, 900003), True),
        (ONE, True),
        ((), True),
        ((ONE, "x"), False),  # unreadable: no evidence of other customers
        (None, False),
    ],
)
def test_an_echo_of_other_customers_settles_nothing(customers: object, differs: bool) -> None:
    reading = read_outcomes(parse_request(echo(customers)), CUSTOMERS, give_up=True)

    assert reading.echo_differs is differs
    assert reading.by_customer == ({} if differs else {ONE: ENROLLED, TWO: ENROLLED})


def test_a_reading_shows_no_customers_in_its_repr() -> None:
    reading = read_outcomes(parse_request(decided("approved", bulk(item(ONE), item(TWO)))), CUSTOMERS)

    assert str(ONE) not in repr(reading)


STRONGEST_FIRST = [ENROLLED, already(), UNCONFIRMED, failed(815), REJECTED, doubtful(809)]


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(STRONGEST_FIRST, 2)))
def test_the_stronger_word_wins_in_either_order(stronger: Ending, weaker: Ending) -> None:
    assert fold([{ONE: stronger}, {ONE: weaker}]) == {ONE: stronger}
    assert fold([{ONE: weaker}, {ONE: stronger}]) == {ONE: stronger}


def test_each_customer_folds_alone_and_among_equals_the_first_stays() -> None:
    first = {ONE: failed(815), TWO: REJECTED}
    second = {ONE: failed(1026), TWO: ENROLLED}

    assert fold([first, second]) == {ONE: failed(815), TWO: ENROLLED}
    assert fold([]) == {}


def test_a_twin_that_was_refused_with_809_leaves_the_word_to_the_request_that_ran() -> None:
    lines = bulk(item(ONE), item(TWO, issued=None, error={"code": 816}))
    ran = read_outcomes(parse_request(decided("approved", lines)), CUSTOMERS)
    twin = read_outcomes(parse_request(decided("failed", refusal(809))), CUSTOMERS)

    assert fold([twin.by_customer, ran.by_customer]) == {ONE: ENROLLED, TWO: failed(816)}
    assert fold([twin.by_customer]) == {ONE: doubtful(809), TWO: doubtful(809)}
