"""What an answer says of itself, and the error it becomes: every fact, and the words for a person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capillary.api.errors import (
    CallRefused,
    EverythingRefused,
    InDoubt,
    NotTaken,
    PlatformUnavailable,
    RateLimited,
    ReplyUnreadable,
    RequestRefused,
    Unauthorized,
)
from capillary.api.response import Answer, explain, post_error, read_answer, read_error, refused
from capillary.api.transport import Reply
from tests.unit.api.scripted import START, errors, reply

TRACE = "abc-1:2.x_Y"


def answer(status: int, body: object = None, **headers: str) -> Answer:
    return read_answer(reply(status, body, **headers), now=START)


def words(given: Answer, *secrets: str, expired_at: datetime | None = None) -> str:
    return explain(given, secrets=secrets, ui_token_expired_at=expired_at)


# Reading it -------------------------------------------------------------------------------------------------


def test_an_answer_keeps_status_payload_size_and_the_platforms_word_on_waiting() -> None:
    found = read_answer(Reply(503, {"retry-after": "7"}, b'{"data": {"a": 1}}'), now=START)
    assert (found.status, found.payload, found.data, found.size) == (503, {"data": {"a": 1}}, {"a": 1}, 18)
    assert (found.retry_after_s, found.trace_id, found.code) == (7.0, None, None)


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [
        ({"x-cap-request-id": TRACE}, TRACE),
        ({"x-cap-requestid": TRACE}, TRACE),
        ({"x-cap-request-id": "first", "x-cap-requestid": "second"}, "first"),
        ({"x-cap-request-id": "", "x-cap-requestid": "second"}, "second"),
        ({"x-cap-request-id": "a" * 128}, "a" * 128),
        ({"x-cap-request-id": "a" * 129}, None),
        ({"x-cap-request-id": "two words"}, None),
        ({"x-cap-request-id": "trace\n"}, None),
        ({}, None),
    ],
)
def test_a_trace_id_is_taken_in_both_spellings_and_only_where_it_is_one(
    headers: dict[str, str], trace_id: str | None
) -> None:
    assert read_answer(Reply(200, headers, b"{}"), now=START).trace_id == trace_id


@pytest.mark.parametrize(
    ("codes", "decides"), [((), None), ((7001,), 7001), ((7001, 7002), 7001), ((7001, 2008), 2008), ((809, 2008), 809)]
)
def test_the_first_code_with_a_rule_of_its_own_decides(codes: tuple[int, ...], decides: int | None) -> None:
    assert answer(400, errors(*codes)).code == decides


# Its words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (answer(200, b"<html>"), "the answer is not JSON"),
        (answer(500, b"<html>"), "the platform answered HTTP 500 without saying why"),
        (answer(200, {}), "the platform answered HTTP 200 without saying why"),
        (answer(302, b""), "the platform redirects to another address"),
        (answer(300, b""), "the platform redirects to another address"),
        (answer(399, b""), "the platform redirects to another address"),
        (answer(400, b""), "the platform answered HTTP 400 without saying why"),
        (answer(299, {}), "the platform answered HTTP 299 without saying why"),
        (answer(502, {"errors": []}), "the platform answered HTTP 502"),
        (answer(400, errors(9999, message="")), "the platform's code 9999 is not known here"),
        (answer(200, errors(404, message="")), "not found, or the customer has no such enrolment"),
    ],
)
def test_why(given: Answer, reason: str) -> None:
    assert words(given) == reason


def test_the_platforms_own_words_are_added_without_what_must_not_be_seen() -> None:
    given = answer(400, errors(9999, message="no hunter2 for 900001"))
    assert words(given, "hunter2") == ('the platform\'s code 9999 is not known here; its words: "no *** for ***"')


@pytest.mark.parametrize(("status", "told"), [(401, True), (403, True), (400, False), (402, False)])
def test_a_dead_ui_token_is_named_where_it_may_be_the_reason(status: int, told: bool) -> None:
    reason = words(answer(status, b""), expired_at=datetime(2026, 11, 22, 9, 5, tzinfo=UTC))
    assert reason == f"the platform answered HTTP {status} without saying why" + (
        "; the UI token expired at 2026-11-22 09:05 UTC" if told else ""
    )


# The error of a POST ----------------------------------------------------------------------------------------

FACTS = {"reason": "why", "request_key": "cb1.key", "trace_id": TRACE}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 2008, RequestRefused),
        (403, 2001, EverythingRefused),
        (409, 809, InDoubt),
        (401, 2013, Unauthorized),
        (429, 9999, RateLimited),
        (503, 4001, NotTaken),
    ],
)
def test_the_error_of_a_post_carries_every_fact(status: int, code: int, kind: type[Exception]) -> None:
    error = post_error(
        answer(status, errors(code), X_Cap_Request_Id=TRACE, Retry_After="7"), reason="why", request_key="cb1.key"
    )
    assert type(error) is kind
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    assert (error.http_status, error.code) == (status, code)
    if isinstance(error, NotTaken):
        assert error.retry_after_s == 7.0


# The error of a read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(200, None, ReplyUnreadable), (403, 2001, CallRefused), (503, 4001, PlatformUnavailable)],
)
def test_the_error_of_a_read_carries_every_fact(status: int, code: int | None, kind: type[Exception]) -> None:
    body = {"data": None} if code is None else errors(code)
    error = read_error(answer(status, body, X_Cap_Request_Id=TRACE, Retry_After="7"), what="badge", reason="why")
    assert type(error) is kind
    assert (error.what, error.reason, error.http_status, error.trace_id) == ("badge", "why", status, TRACE)
    if not isinstance(error, ReplyUnreadable):
        assert error.code == code
    if isinstance(error, PlatformUnavailable):
        assert error.retry_after_s == 7.0


def test_a_refused_read_carries_every_fact() -> None:
    error = refused(answer(404, errors(2007), X_Cap_Request_Id=TRACE), what="badge", reason="why")
    assert (error.what, error.reason, error.http_status, error.code, error.trace_id) == (
        "badge",
        "why",
        404,
        2007,
        TRACE,
    )
