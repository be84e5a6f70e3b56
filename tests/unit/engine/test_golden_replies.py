"""One reply, one word: what the project makes of each reply that the docs show or that they leave open.

Three tables: answers to a POST, rows of the list or of a single read, and stored answers of the wrapped call.
Where the docs print an example, the id names its page or section.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from sqlalchemy import String

from capillary.api.errors import (
    EverythingRefused,
    InDoubt,
    NotTaken,
    RateLimited,
    ReplyUnreadable,
    RequestRefused,
    Unauthorized,
)
from capillary.api.request_workflow import parse_page, parse_request
from capillary.api.transport import ConnectFailed, Reply, TransportFailed
from capillary.engine.outcomes import read_outcomes
from capillary.engine.sightings import seen_in
from capillary.ledger.schema import badge_sighting
from tests.unit.api.documented import KEY, PLATFORM_ID, bulk, decided, inner, item, page, row
from tests.unit.api.scripted import REQUEST, errors, platform, reply

ONE, TWO = CUSTOMERS = (900001, 900002)


class PostResult(StrEnum):
    """What a POST became."""

    ACCEPTED = "accepted"
    EXECUTED = "executed without a human"
    NOT_TAKEN = "not taken"
    LIMITED = "rate limited"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    EVERYTHING = "everything refused"
    IN_DOUBT = "in doubt"


_OF_ERROR: dict[type[Exception], PostResult] = {
    NotTaken: PostResult.NOT_TAKEN,
    RateLimited: PostResult.LIMITED,
    Unauthorized: PostResult.UNAUTHORIZED,
    RequestRefused: PostResult.REFUSED,
    EverythingRefused: PostResult.EVERYTHING,
    InDoubt: PostResult.IN_DOUBT,
}

HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
OTHERS = row() | {"details": {"IntouchAPITask-Payload": inner(key="cb1.vip.another")}}
AUTO = row("approved", IntouchAPITask_Output=bulk(item(ONE), item(TWO)))

POSTS: list[tuple[str, Reply | BaseException, PostResult]] = [
    ("parked on the checker", reply(200, {"data": row()}), PostResult.ACCEPTED),
    ("201", reply(201, {"data": row()}), PostResult.ACCEPTED),
    ("errors null, warnings null", reply(200, {"data": row(), "errors": None, "warnings": None}), PostResult.ACCEPTED),
    ("errors []", reply(200, {"data": row(), "errors": []}), PostResult.ACCEPTED),
    ("a warning 900", reply(200, {"data": row(), "warnings": [{"code": 900}]}), PostResult.ACCEPTED),
    ("a node of a custom workflow", reply(200, {"data": row("ManagerApproval")}), PostResult.ACCEPTED),
    ("the id as it is, no UUID", reply(200, {"data": row() | {"requestId": 4711}}), PostResult.ACCEPTED),
    ("no details at all", reply(200, {"data": row() | {"details": None}}), PostResult.ACCEPTED),
    ("queryParams not echoed, customers a bare number", reply(200, {"data": row()}), PostResult.ACCEPTED),
    ("executed by Connect+ or an auto-approval flag", reply(200, {"data": AUTO}), PostResult.EXECUTED),
    ("failed at once", reply(200, {"data": row("failed")}), PostResult.EXECUTED),
    ("another request's key", reply(200, {"data": OTHERS}), PostResult.IN_DOUBT),
    ("4001, authorisation unavailable", reply(503, errors(4001)), PostResult.NOT_TAKEN),
    ("no connection", ConnectFailed("no connection"), PostResult.NOT_TAKEN),
    ("429", reply(429, errors(429)), PostResult.LIMITED),
    ("429 with HTML", reply(429, HTML), PostResult.LIMITED),
    ("401", reply(401, errors(401)), PostResult.UNAUTHORIZED),
    ("2013, bad credential or identity service", reply(400, errors(2013)), PostResult.UNAUTHORIZED),
    ("2008, invalid payload", reply(400, errors(2008)), PostResult.REFUSED),
    ("2014 under 200", reply(200, errors(2014)), PostResult.REFUSED),
    ("1060, too many", reply(400, errors(1060)), PostResult.REFUSED),
    ("413 without a body", reply(413, b""), PostResult.REFUSED),
    ("2001, no permission", reply(403, errors(2001)), PostResult.EVERYTHING),
    ("2005, organisation", reply(400, {"errors": {"code": "2005", "message": "org"}}), PostResult.EVERYTHING),
    ("2021 in a status object", reply(200, {"status": {"code": 2021.0, "success": "false"}}), PostResult.EVERYTHING),
    ("4000, access denied", reply(403, errors(4000)), PostResult.EVERYTHING),
    ("404 in an envelope", reply(404, errors(404)), PostResult.EVERYTHING),
    ("809, the key is known", reply(400, errors(809)), PostResult.IN_DOUBT),
    ("2002, completed already", reply(400, errors(2002)), PostResult.IN_DOUBT),
    ("2008 beside 809", reply(400, errors(2008, 809)), PostResult.IN_DOUBT),
    ("200 and HTML", reply(200, HTML), PostResult.IN_DOUBT),
    ("200 and half a JSON", reply(200, b'{"data": {"requestId": "4355e800-e71c'), PostResult.IN_DOUBT),
    ("200 and null", reply(200, b"null"), PostResult.IN_DOUBT),
    ("200 without an id", reply(200, {"data": row() | {"requestId": " "}}), PostResult.IN_DOUBT),
    ("204", reply(204, b""), PostResult.IN_DOUBT),
    ("a redirect to a login page", reply(302, b"", Location="https://login.example"), PostResult.IN_DOUBT),
    ("500 that names the request", reply(500, {"data": row()}), PostResult.IN_DOUBT),
    ("503 without a code", reply(503, HTML), PostResult.IN_DOUBT),
    ("520 of the edge", reply(520, HTML), PostResult.IN_DOUBT),
    ("a body that ends early", TransportFailed("no whole answer"), PostResult.IN_DOUBT),
]


@pytest.mark.parametrize(("answer", "result"), [each[1:] for each in POSTS], ids=[each[0] for each in POSTS])
async def test_a_post(answer: Reply | BaseException, result: PostResult) -> None:
    wire = platform(answer)
    try:
        taken = await wire.client().submit(REQUEST)
    except tuple(_OF_ERROR) as error:
        said = _OF_ERROR[type(error)]
    else:
        said = PostResult.EXECUTED if seen_in(taken).auto_approved else PostResult.ACCEPTED
    assert said is result
    assert len(wire.posts) == 1


ROWS: list[tuple[str, object, str]] = [
    ("reference/get-all-requests, parked", row(), "AdminTask, waiting"),
    ("approved by a checker", decided("approved", bulk(item())), "approved, decided"),
    ("rejected, no output", decided("rejected", None, "rejected"), "rejected, decided"),
    ("failed though the decision is approved", decided("failed", None), "failed, decided"),
    ("auto-approved retro", AUTO, "approved, without a human"),
    ("Success, prose only", row("Success"), "Success, waiting"),
    ("Pending, prose only", row("Pending"), "Pending, waiting"),
    ("APPROVED of the older API", row("APPROVED"), "APPROVED, waiting"),
    ("a state never seen", row("ValidateCheckerAccess"), "ValidateCheckerAccess, waiting"),
    ("no state", row() | {"state": None}, "unreadable, waiting"),
    ("no id", row() | {"requestId": None}, "unreadable"),
    ("no object", "AdminTask", "unreadable"),
]


def word_of_row(listed: object) -> str:
    read = parse_page(page(listed))
    if read.unreadable_rows:
        return "unreadable"
    seen = seen_in(read.rows[0])
    return f"{seen.state}, {'without a human' if seen.auto_approved else 'decided' if seen.decided else 'waiting'}"


@pytest.mark.parametrize(("listed", "word"), [each[1:] for each in ROWS], ids=[each[0] for each in ROWS])
def test_a_row_of_the_list(listed: object, word: str) -> None:
    assert word_of_row(listed) == word


def said(state: str, output: object) -> str:
    """Return the outcome and code of the first of two customers."""
    reading = read_outcomes(parse_request(decided(state, output)), CUSTOMERS)
    if reading.incomplete:
        return "incomplete"
    ending = reading.by_customer[ONE]
    return f"{ending.outcome}{'' if ending.error_code is None else f' {ending.error_code}'}"


def answer(status: object, body: object) -> dict[str, Any]:
    return {"status": status, "headers": {"Content-Type": ["application/json"]}, "body": body}


def line(code: object, **more: object) -> dict[str, object]:
    return item(ONE, error={"code": code, "message": "no", "reference": None}, **more)


OLDER = {
    "response": {"status": {"success": "false", "code": 500, "message": "no"}},
    "status": {"success": "false", "code": 744},
}
EXECUTIONS: list[tuple[str, str, object, str]] = [
    ("issue-badge-to-multiple-customers", "approved", bulk(item(ONE), item(TWO)), "enrolled"),
    ("status 200.0", "approved", bulk(item(ONE, status="ACTIVE"), item(TWO), status=200.0), "enrolled"),
    ("error null", "approved", bulk(item(ONE, error=None), item(TWO)), "enrolled"),
    ("extra customers", "approved", bulk(item(ONE), item(TWO), item(900003)), "enrolled"),
    ("failed with enrolments inside", "failed", bulk(item(ONE), item(TWO)), "enrolled"),
    ("Badge Overlapping: 1040 with an id", "approved", bulk(line(1040, status="EXPIRED")), "already_enrolled 1040"),
    ("approved with an error inside", "approved", bulk(line(1026, issued=None), item(TWO)), "failed 1026"),
    ("810 in a line", "approved", bulk(line(810, issued=None)), "failed 810"),
    ("816 in a line", "failed", bulk(line("816", issued=None)), "failed 816"),
    ("the customer is missing", "approved", bulk(item(TWO)), "unconfirmed"),
    ("an id and EXPIRED", "approved", bulk(item(ONE, status="EXPIRED")), "unconfirmed"),
    ("a code is missing", "approved", bulk(item(ONE, error={"message": "no"})), "unconfirmed"),
    ("809, the twin ran", "failed", answer(400, errors(809)), "unconfirmed 809"),
    ("716 for the whole call", "failed", answer(400.0, errors(716)), "failed 716"),
    ("816 for the whole call, perhaps in its middle", "failed", answer(400.0, errors(816)), "unconfirmed 816"),
    ("1054, no such badge", "failed", answer(404, errors(1054)), "failed 1054"),
    ("744 under 200, points redemption", "failed", answer(200.0, OLDER), "unconfirmed 744"),
    ("200 and an unknown code", "failed", answer(200, errors(98_765)), "unconfirmed 98765"),
    ("500 of the wrapped call", "failed", answer(500, errors(500)), "unconfirmed 500"),
    ("HTML of the wrapped call", "failed", answer(502, HTML.decode()), "unconfirmed"),
    ("2022 and 2023: no output", "failed", None, "incomplete"),
    ("approved and silent", "approved", answer(200, {"data": None, "errors": []}), "unconfirmed"),
]


@pytest.mark.parametrize(
    ("state", "output", "word"), [each[1:] for each in EXECUTIONS], ids=[each[0] for each in EXECUTIONS]
)
def test_an_execution(state: str, output: object, word: str) -> None:
    assert said(state, output) == word


def test_there_are_sixty_of_them() -> None:
    assert len(POSTS) + len(ROWS) + len(EXECUTIONS) >= 60


@pytest.mark.parametrize("name", ["state", "requestId"])
def test_no_word_is_longer_than_the_ledgers_column(name: str) -> None:
    column = badge_sighting.c.state if name == "state" else badge_sighting.c.platform_request_id
    assert isinstance(column.type, String)
    assert column.type.length is not None
    try:
        seen = seen_in(parse_request(row() | {name: "x" * 65}))
    except ReplyUnreadable:
        return
    assert len(seen.state if name == "state" else seen.platform_request_id) <= column.type.length


def test_a_reply_is_named_by_its_ids_alone() -> None:
    seen = seen_in(parse_request(row()))
    assert (seen.platform_request_id, parse_request(row()).request_key) == (PLATFORM_ID, KEY)
