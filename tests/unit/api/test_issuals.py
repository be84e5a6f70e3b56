"""Who has no enrolment is asked for again, so that it must be said: by the platform, of this customer and badge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from capillary.api.badges import Issual, parse_badge, parse_issuals
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.transport import Reply
from tests.unit.api.documented import BADGE, PLATFORM_ID
from tests.unit.api.scripted import errors, platform, reply

ISSUED = "b" * 24
CUSTOMER = 900001
ACTIVE = {"issueId": ISSUED, "issuedStatus": "ACTIVE", "ownerType": "Loyalty", "ownerReferenceId": "134"}


def parse(data: object) -> tuple[Issual, ...]:
    return parse_issuals(data, customer_id=CUSTOMER, badge_id=BADGE)


def details(**said: object) -> dict[str, Any]:
    return {"issualDetails": said}


def test_the_documented_enrolments() -> None:
    rows = [ACTIVE | {"issuedStatus": "REVOKED"}, ACTIVE, ACTIVE | {"issuedStatus": None}]
    ended, live, unknown = parse(details(issuedCount=3, issuals=rows))
    assert ended == Issual(ISSUED, "REVOKED", "Loyalty", "134")
    assert (ended.is_active, live.is_active, unknown.is_active) == (False, True, True)
    assert not Issual(None, "EXPIRED", None, None).is_active


@pytest.mark.parametrize(
    ("dated", "issued_at"),
    [
        ({"issuedOn": "2026-11-01T17:30:00+05:30"}, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ({"issuedOn": "2026-11-01T17:30:00"}, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ({"issuedOn": 1793534400000}, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ({"issuedOn": "01/11/2026", "issuedOnISO": "2026-11-01T12:00:00Z"}, datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ({"issuedOn": "01/11/2026"}, None),
        ({"issuedOn": None}, None),
        ({}, None),
    ],
    ids=["with offset", "the cluster's", "milliseconds", "its twin", "in words", "null", "missing"],
)
def test_when_an_enrolment_was_issued(dated: dict[str, Any], issued_at: datetime | None) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    (found,) = parse_issuals(
        details(issuals=[ACTIVE | dated]), customer_id=CUSTOMER, badge_id=BADGE, cluster_timezone=zone
    )
    assert found.issued_at == issued_at


@pytest.mark.parametrize(
    "data",
    [
        details(issuedCount=0, issuals=[]),
        details(issuals=[]),
        details(issuedCount=None, issuals=[]),
        details(issuedCount="0", issuals=[]),
        details(issuedCount=0.0, issuals=[]),
        details(issuedCount=0),
        details(issuedCount=0, issuals=None),
        details(issuedCount=0, issuals=[]) | {"customerId": CUSTOMER, "id": BADGE, "issuedStatus": None},
        details(issuedCount=0, issuals=[]) | {"customerId": str(CUSTOMER), "badgeMetaId": BADGE.upper()},
        details(issuedCount=0, issuals=[]) | {"issuedStatus": "NOT_ISSUED"},
    ],
)
def test_no_enrolment_where_a_list_or_a_count_says_so(data: object) -> None:
    assert parse(data) == ()


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        "none",
        {"issualDetails": None},
        {"issualDetails": []},
        {"issualDetails": {}},
        {"issualDetails": "0"},
        details(issuals=None),
        details(issuals={}),
        details(issuals={}, issuedCount=0),
        details(issuals="", issuedCount=0),
        details(issuals=0, issuedCount=0),
        details(issuals=False, issuedCount=0),
        details(issuals=[], issuedCount=1),
        details(issuals=[ACTIVE], issuedCount=2),
        details(issuals=[], issuedCount=-1),
        details(issuals=[], issuedCount=0.5),
        details(issuals=[], issuedCount="none"),
        details(issuals=[], issuedCount=False),
        details(issuals=[], issuedCount=[]),
        details(issuals=[], issuedCount=float("nan")),
        details(issuals=None, issuedCount=2.0),
        details(issuals=None, issuedCount=False),
        details(issuals=[], issuedCount=0) | {"issuedStatus": "active"},
        details(issuals=[], issuedCount=0) | {"customerId": CUSTOMER + 1},
        details(issuals=[], issuedCount=0) | {"customerId": "somebody"},
        details(issuals=[], issuedCount=0) | {"id": "c" * 24},
        details(issuals=[], issuedCount=0) | {"badgeMetaId": "c" * 24},
    ],
)
def test_no_absence_from_what_is_no_answer(data: object) -> None:
    with pytest.raises(ReplyUnreadable):
        parse(data)


@pytest.mark.parametrize("row", [None, "x", 7, [], {}, {"issueId": ISSUED}, {"issuedStatus": 7}, {"issuedStatus": "?"}])
def test_a_row_of_which_nothing_can_be_read_is_an_enrolment(row: object) -> None:
    (issual,) = parse(details(issuals=[row], issuedCount=1))
    assert issual.is_active


def test_ended_ones_that_the_count_leaves_out_are_no_contradiction() -> None:
    (issual,) = parse(details(issuals=[ACTIVE | {"issuedStatus": "REVOKED"}], issuedCount=0))
    assert not issual.is_active


def test_another_badge_than_was_asked_for_is_no_answer() -> None:
    assert parse_badge({"id": BADGE.upper()}, asked_for=BADGE).id == BADGE.upper()
    with pytest.raises(ReplyUnreadable, match="another badge"):
        parse_badge({"id": "c" * 24}, asked_for=BADGE)


# Codes ------------------------------------------------------------------------------------------------------


def listed(*codes: object, **more: object) -> dict[str, Any]:
    return {"data": None, "errors": [{"code": code, "message": "no"} for code in codes], "warnings": None} | more


@pytest.mark.parametrize(
    "answer",
    [
        reply(404, listed(404)),
        reply(200, listed(404)),
        reply(400, listed(1026)),
        reply(422, listed("1026")),
        reply(404, listed(404, 1026)),
        reply(404, listed(404, data={})),
        reply(404, {"errors": [{"code": 404}]}),
        reply(404, {"errors": {"code": 404}}),
    ],
)
async def test_a_code_inside_errors_says_so(answer: Reply) -> None:
    assert await platform(answer).client().read_issuals(CUSTOMER, BADGE) == ()


NO_ANSWERS = [
    reply(404, {"code": 404}),
    reply(200, {"code": 404}),
    reply(404, {"code": 404, "message": "no Route matched"}),
    reply(404, {"status": {"code": 404, "message": "not found"}}),
    reply(404, {"status": 404, "error": "Not Found"}),
    reply(404, {"error": {"code": 404}}),
    reply(200, {"error": {"code": 1026}}),
    reply(404, b"<html>404 Not Found</html>"),
    reply(404, b""),
    reply(404, {"errors": []}),
    reply(404, {"errors": ["404"]}),
    reply(404, {"errors": [404]}),
    reply(404, {"errors": None, "warnings": [{"code": 404}]}),
    reply(404, listed(404, 500)),
    reply(404, listed(404, 4001)),
    reply(404, listed(404, None)),
    reply(404, listed(404, data={"issualDetails": {"issuedCount": 1, "issuals": [ACTIVE]}})),
    reply(200, listed(404, data={"issualDetails": {"issuedCount": 1, "issuals": [ACTIVE]}})),
    reply(401, listed(404)),
    reply(403, listed(404)),
    reply(408, listed(404)),
    reply(429, listed(404)),
    reply(302, listed(404)),
    reply(502, listed(404)),
    reply(200, {"data": None, "errors": []}),
    reply(200, {"data": {}, "errors": []}),
    reply(204, b""),
]


@pytest.mark.parametrize("answer", NO_ANSWERS)
async def test_no_absence_from_a_code_that_stands_elsewhere(answer: Reply) -> None:
    wire = platform(*[answer] * 9)
    with pytest.raises((ReplyUnreadable, CallRefused, PlatformUnavailable)):
        await wire.client().read_issuals(CUSTOMER, BADGE)


@pytest.mark.parametrize("answer", [each for each in NO_ANSWERS if b"ACTIVE" not in each.body])
async def test_nor_of_a_badge_or_a_request(answer: Reply) -> None:
    for read in ("read_badge", "read_request"):
        with pytest.raises((ReplyUnreadable, CallRefused, PlatformUnavailable)):
            await getattr(platform(*[answer] * 9).client(), read)(PLATFORM_ID)


async def test_another_customers_answer_is_none_to_our_question() -> None:
    said = {"data": details(issuedCount=0, issuals=[]) | {"customerId": CUSTOMER + 1}, "errors": []}
    with pytest.raises(ReplyUnreadable, match="another customer"):
        await platform(*[reply(200, said)] * 5).client().read_issuals(CUSTOMER, BADGE)


async def test_an_unknown_badge_is_said_in_errors() -> None:
    assert await platform(reply(404, errors(1054))).client().read_badge(BADGE) is None
