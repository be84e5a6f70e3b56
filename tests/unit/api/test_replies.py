from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from capillary.api import envelope
from capillary.api.classify import PostVerdict, ReadVerdict, classify_post, classify_read, retry_after_s
from capillary.api.envelope import presentable, read_envelope
from capillary.api.json_body import NOT_JSON, read_json

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
P = PostVerdict


@pytest.mark.parametrize(
    ("status", "codes", "readable", "verdict"),
    [
        # refused for its own content
        (400, [2008], True, P.REQUEST_REFUSED),
        (200, [2008], True, P.REQUEST_REFUSED),
        (500, [2008], True, P.REQUEST_REFUSED),
        (400, [2014], True, P.REQUEST_REFUSED),
        (400, [1060], True, P.REQUEST_REFUSED),
        (413, [], False, P.REQUEST_REFUSED),
        # would refuse everything
        *[
            (400, [code], True, P.EVERYTHING_REFUSED)
            for code in (1064, 2001, 2005, 2009, *range(2018, 2025), *range(2026, 2030), 4000)
        ],
        (200, [2001], True, P.EVERYTHING_REFUSED),
        (403, [4000], True, P.EVERYTHING_REFUSED),
        (403, [], True, P.EVERYTHING_REFUSED),
        (404, [], True, P.EVERYTHING_REFUSED),
        (405, [], True, P.EVERYTHING_REFUSED),
        (415, [], True, P.EVERYTHING_REFUSED),
        (400, [77777], True, P.EVERYTHING_REFUSED),
        (400, [1039], True, P.EVERYTHING_REFUSED),
        # certainly not taken
        (503, [4001], True, P.NOT_TAKEN),
        (429, [], True, P.RATE_LIMITED),
        (429, [], False, P.RATE_LIMITED),
        (429, [77777], True, P.RATE_LIMITED),
        (401, [], True, P.UNAUTHORIZED),
        (401, [], False, P.UNAUTHORIZED),
        (400, [2013], True, P.UNAUTHORIZED),
        (500, [2013], True, P.UNAUTHORIZED),
        # no trustworthy word
        (200, [], True, P.IN_DOUBT),
        (200, [], False, P.IN_DOUBT),
        (200, [77777], True, P.IN_DOUBT),
        (204, [], False, P.IN_DOUBT),
        (302, [], False, P.IN_DOUBT),
        (307, [], True, P.IN_DOUBT),
        (400, [], False, P.IN_DOUBT),
        (403, [], False, P.IN_DOUBT),
        (404, [], False, P.IN_DOUBT),
        (408, [], True, P.IN_DOUBT),
        (409, [77777], True, P.IN_DOUBT),
        (461, [], True, P.IN_DOUBT),
        (400, [809], True, P.IN_DOUBT),
        (200, [809], True, P.IN_DOUBT),
        (400, [2002], True, P.IN_DOUBT),
        (500, [], True, P.IN_DOUBT),
        (500, [77777], True, P.IN_DOUBT),
        (502, [], False, P.IN_DOUBT),
        (503, [], True, P.IN_DOUBT),
        (504, [], False, P.IN_DOUBT),
        (520, [], False, P.IN_DOUBT),
        (521, [521], True, P.IN_DOUBT),
        # several codes: the most careful wins
        (400, [2008, 809], True, P.IN_DOUBT),
        (400, [2008, 2001], True, P.EVERYTHING_REFUSED),
        (400, [2013, 2008], True, P.REQUEST_REFUSED),
    ],
)
def test_a_posts_answer(status: int, codes: list[int], readable: bool, verdict: PostVerdict) -> None:
    assert classify_post(status, codes, readable=readable) is verdict


R = ReadVerdict


@pytest.mark.parametrize(
    ("status", "codes", "readable", "verdict"),
    [
        (200, [], True, R.GOOD),
        (201, [], True, R.GOOD),
        (200, [], False, R.UNREADABLE),
        (204, [], False, R.UNREADABLE),
        (200, [77777], True, R.UNREADABLE),
        *[(status, [], False, R.AGAIN) for status in (408, 425, 429, 461, 500, 502, 503, 504, 520, 524, 599)],
        (503, [4001], True, R.AGAIN),
        (200, [4001], True, R.AGAIN),
        (400, [521], True, R.AGAIN),
        (401, [], False, R.RENEW),
        (400, [2013], True, R.RENEW),
        (200, [2013], False, R.RENEW),
        (400, [401], True, R.RENEW),
        (400, [402], True, R.REFUSED),
        (500, [2013], True, R.RENEW),
        *[(400, [code], True, R.REFUSED) for code in (2001, 2005, 2008, 2009, 2024, 2029, 1064)],
        (500, [2001], True, R.REFUSED),
        (200, [2005], False, R.REFUSED),
        *[(status, [], False, R.REFUSED) for status in (300, 301, 302, 307, 400, 403, 404, 405, 415)],
        (403, [4000], True, R.REFUSED),
    ],
)
def test_a_reads_answer(status: int, codes: list[int], readable: bool, verdict: ReadVerdict) -> None:
    assert classify_read(status, codes, readable=readable) is verdict


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("-30", 0.0),
        ("1000000000", 900.0),
        ("1e9", 900.0),
        ("Mon, 23 Nov 2026 09:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 08:59:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 900.0),
        ("Mon, 23 Nov 2026 14:31:00 +0530", 60.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 99 Nov 2026 99:99:99 GMT", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, now=NOW) == seconds


def test_retry_after_absent() -> None:
    assert retry_after_s({}, now=NOW) is None


def test_a_date_is_measured_against_the_replys_own_clock() -> None:
    headers = {"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}
    assert retry_after_s(headers, now=NOW) == 30.0


@pytest.mark.parametrize(
    ("body", "known_shape", "codes", "message"),
    [
        ({"data": None, "errors": [{"code": 809, "message": "dup"}], "warnings": None}, True, (809,), "dup"),
        ({"errors": [{"code": 1, "message": "x"}, {"code": "720"}, {"code": 723.0}]}, True, (720, 723), "x"),
        ({"errors": {"code": 2008, "message": "bad"}}, True, (2008,), "bad"),
        ({"errors": None}, True, (), None),
        ({"errors": []}, True, (), None),
        ({"error": {"code": 4001}}, True, (4001,), None),
        ({"status": {"code": 2005, "message": "org"}}, True, (2005,), "org"),
        ({"status": {"code": 200, "message": "ok"}, "data": {}}, True, (), "ok"),
        ({"status": 404, "error": "Not Found", "path": "/x"}, True, (), "Not Found"),
        ({"code": 2001, "message": "no access"}, True, (2001,), "no access"),
        ({"errors": ["plain words"]}, True, (), "plain words"),
        ({"warnings": [{"code": 900}]}, False, (), None),
        ({}, False, (), None),
        ([], False, (), None),
        (None, False, (), None),
        (NOT_JSON, False, (), None),
    ],
)
def test_the_envelope(body: object, known_shape: bool, codes: tuple[int, ...], message: str | None) -> None:
    envelope = read_envelope(body)
    assert (envelope.known_shape, envelope.codes, envelope.message) == (known_shape, codes, message)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("field ownerType is wrong", "field ownerType is wrong"),
        ("customer 113460811 is not known", "customer *** is not known"),
        ("customer 4711", "customer ***"),
        ("call +91 98765-43210 now", "call *** now"),
        ("mail a.b@brand.example now", "mail *** now"),
        ("header Basic YWI6Y2Q= is wrong", "header *** is wrong"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln is dead", "token *** is dead"),
        ("token=x.eyJhbGciOi.eyJzdWIi.c2ln, dead", "token=x.***, dead"),
        ("x-eyJhbGciOi.eyJzdWIi", "x-***"),
        ("the word eyJ alone", "the word eyJ alone"),
        ("password s3cret! given", "password *** given"),
        ("a\n\tb", "a b"),
        *[
            (f"customer {number} is not known", "customer *** is not known")
            for number in (
                "4,711,234",
                "4_711_234",
                "4'711'234",
                "4\u2019711\u2019234",
                "4\u00a0711\u00a0234",
                "4\u202f711\u202f234",
                "4.711.234",
                "47 11 23 4",
                "98765\u201343210",
                "\u0664\u0667\u0661\u0661\u0662\u0663\u0664",
                "\uff14\uff17\uff11\uff11",
            )
        ],
        *[(words, words) for words in ("code 809", "HTTP 400, 17 of 20", "2 of 3", "limit 500", "node 12: 30 s")],
        *[
            (words, words)
            for words in (
                'field "ownerType" is wrong',
                "give 'GOODWILL_MODULE' or 'Goodwill_Module'",
                "'customers' must be an array",
                "`body.requestId` and 'page-size'",
                "state 'AdminTask' isn't known, and doesn't count",
                "'LOYALTY' is not 'loyalty'",
            )
        ],
        ("customer 'Jane Doe' is not known", "customer '***' is not known"),
        ('"Jane" has it', '"***" has it'),
        ("no \u201cJ\u00fcrgen M\u00fcller\u201d here", "no \u201c***\u201d here"),
        ("\u00abO'Brien\u00bb, `Ann Lee`", "\u00ab***\u00bb, `***`"),
        ("name 'jane doe' given", "name '***' given"),
        ("word " * 100, ("word " * 100)[:200]),
    ],
)
def test_the_platforms_words_without_what_they_quote(words: str, shown: str) -> None:
    assert presentable(words, ["s3cret!"]) == shown


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"type": "about:blank", "title": "Not allowed", "detail": "quota used up"}, "Not allowed: quota used up"),
        ({"title": "Not allowed", "detail": " "}, "Not allowed"),
        ({"detail": "quota used up", "title": 7}, "quota used up"),
        ({"detail": [{"loc": "body"}], "title": None}, None),
        ({"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "no route"}, "Forbidden: no route"),
        ({"title": "Forbidden", "status": "403", "instance": "/x"}, "Forbidden"),
        ({"status": 403}, None),
        ({"message": "ours", "title": "theirs"}, "ours"),
    ],
)
def test_the_words_of_problem_details_are_read_and_prove_nothing(body: object, message: str | None) -> None:
    assert read_envelope(body).message == message
    if message != "ours":
        assert not read_envelope(body).known_shape


#: A piece each that patterns may take ever longer with, as it is repeated without a blank.
_ADVERSARIAL = (
    "x",
    "@",
    "x@",
    "eyJ-",
    "eyJ.",
    "-eyJ",
    "basic",
    "bearer",
    "1-",
    "(1.",
    "+1x",
    "a.b",
    "\u00e9",
    "\t ",
    "1 a",
)


@pytest.mark.parametrize("piece", _ADVERSARIAL)
def test_masking_takes_twice_the_time_for_twice_the_words(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the cut, so that the patterns themselves are linear: 30 kB froze the event loop for 2.3 s."""
    monkeypatch.setattr(envelope, "WORDS_LIMIT", 10_000_000)

    def taken_s(size: int) -> float:
        words = (piece * size)[:size]
        taken = []
        for _ in range(5):
            begun = time.process_time()
            presentable(words, ["s3cret!"])
            taken.append(time.process_time() - begun)
        return min(taken)

    assert taken_s(60_000) < 3 * taken_s(30_000) + 0.005


@pytest.mark.parametrize(
    "entity", ["s3cret!", "john.doe@brand.example", "4711471147114711", "eyJhbGciOi.eyJzdWIi.c2ln"]
)
def test_a_cut_shows_no_half_of_what_is_masked(entity: str) -> None:
    for shift in range(len(entity)):
        words = " " * (envelope.WORDS_LIMIT - shift) + entity + " and more" * 5_000
        assert presentable(words, ["s3cret!"]) == ""
        words = "1" * (envelope.WORDS_LIMIT - shift - 1) + " " + entity
        assert presentable(words, ["s3cret!"]) in {"***", "*** ***"}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"a":', b"\xff\xfe\x00", b"[" * 100_000, b"\x80abc", b'"\\u12"'],
)
def test_what_is_no_json_raises_nothing(body: bytes) -> None:
    assert read_json(body) is NOT_JSON


@pytest.mark.parametrize(("body", "value"), [(b"null", None), (b"\xef\xbb\xbf{}", {}), (b" 7 ", 7)])
def test_json(body: bytes, value: Any) -> None:  # noqa: ANN401 - JSON as it comes
    assert read_json(body) == value
