"""What the account waits after HTTP 429 and after any `Retry-After` (RFC 9110, section 10.2.3)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime

import pytest

from capillary.api.classify import RETRY_AFTER_LIMIT_S
from capillary.api.errors import NotTaken, PlatformUnavailable, RateLimited
from capillary.api.retries import BACKOFF_FIRST_S
from capillary.api.transport import Reply
from capillary.errors import CapillaryError
from tests.unit.api.scripted import REQUEST, START, errors, oauth_settings, platform, reply

#: Without a usable word: the back-off's first pause, multiplied by 0.5 to 1.
BACK_OFF = (BACKOFF_FIRST_S / 2, BACKOFF_FIRST_S)


def http_date(seconds: float) -> str:
    return format_datetime(START + timedelta(seconds=seconds), usegmt=True)


CASES: list[tuple[str, dict[str, str], tuple[float, float]]] = [
    ("seconds", {"Retry_After": "30"}, (30, 30)),
    ("a fraction", {"Retry_After": "0.5"}, (0.5, 0.5)),
    ("an HTTP date", {"Retry_After": http_date(45)}, (45, 45)),
    ("a date by the platform's own clock", {"Retry_After": http_date(3_645), "Date": http_date(3_600)}, (45, 45)),
    ("a date in RFC 850's form", {"Retry_After": "Monday, 23-Nov-26 09:00:45 GMT"}, (45, 45)),
    ("a date in asctime's form", {"Retry_After": "Mon Nov 23 09:00:45 2026"}, (45, 45)),
    ("a date that is past", {"Retry_After": http_date(-60)}, BACK_OFF),
    ("zero", {"Retry_After": "0"}, BACK_OFF),
    ("negative", {"Retry_After": "-30"}, BACK_OFF),
    ("1e9", {"Retry_After": "1000000000"}, (RETRY_AFTER_LIMIT_S, RETRY_AFTER_LIMIT_S)),
    ("a date next year", {"Retry_After": http_date(365 * 86_400)}, (RETRY_AFTER_LIMIT_S, RETRY_AFTER_LIMIT_S)),
    ("not a number", {"Retry_After": "nan"}, BACK_OFF),
    ("infinite", {"Retry_After": "inf"}, BACK_OFF),
    ("garbage", {"Retry_After": "soon"}, BACK_OFF),
    ("two values", {"Retry_After": "5, 10"}, BACK_OFF),
    ("blank", {"Retry_After": "  "}, BACK_OFF),
    ("absent", {}, BACK_OFF),
]
cases = pytest.mark.parametrize(("headers", "bounds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


@cases
async def test_a_refused_post_lets_the_account_wait(headers: dict[str, str], bounds: tuple[float, float]) -> None:
    wire = platform(reply(429, errors(429), **headers))
    with pytest.raises(RateLimited):
        await wire.client().submit(REQUEST)
    (wait,) = wire.blocks
    assert bounds[0] <= wait <= bounds[1]


@cases
async def test_a_refused_read_waits_as_long(headers: dict[str, str], bounds: tuple[float, float]) -> None:
    """A read comes again by itself, unless its patience of 120 s would be over."""
    wire = platform(reply(429, errors(429), **headers), *[reply(500, errors(500))] * 4)
    with pytest.raises(PlatformUnavailable):
        await wire.client().read_badge("a" * 24)
    assert bounds[0] <= wire.blocks[0] <= bounds[1]
    if bounds[0] > 120:
        assert wire.sleeps == []
        assert len(wire.calls) == 1
    else:
        assert bounds[0] <= wire.sleeps[0] <= bounds[1]


async def test_sixty_seconds_of_429_are_one_call_per_pause() -> None:
    """The reader and everybody else wait out each pause: one call for each `Retry-After`, not one a second."""
    wire = platform(*[reply(429, errors(429), Retry_After="20")] * 3, reply(200, {"data": {"id": "a" * 24}}))
    assert await wire.client().read_badge("a" * 24) is not None
    assert wire.blocks == [20, 20, 20]
    assert [call.at - 1000 for call in wire.calls] == [0, 20, 40, 60]


async def test_the_back_off_grows_while_nothing_else_is_said() -> None:
    wire = platform(*[reply(429, errors(429))] * 4)
    client = wire.client()
    for _ in range(4):
        with pytest.raises(RateLimited):
            await client.submit(REQUEST)
        wire.clock += wire.blocks[-1]
    for n, wait in enumerate(wire.blocks):
        assert BACKOFF_FIRST_S * 2**n / 2 <= wait <= BACKOFF_FIRST_S * 2**n


CARRIES = {
    "503": reply(503, b"<html>", Retry_After="30"),
    "4001": reply(503, errors(4001), Retry_After="30"),
    "500": reply(500, errors(500), Retry_After="30"),
    "502, as a date": reply(502, b"", Retry_After=http_date(30)),
    "504": reply(504, b"<html>", Retry_After="30"),
    "520": reply(520, b"", Retry_After="30"),
    "401": reply(401, errors(401), Retry_After="30"),
    "2013": reply(400, errors(2013), Retry_After="30"),
    "403": reply(403, errors(2001), Retry_After="30"),
    "408": reply(408, b"", Retry_After="30"),
    "413": reply(413, b"", Retry_After="30"),
    "a refusal": reply(400, errors(2008), Retry_After="30"),
    "809": reply(400, errors(809), Retry_After="30"),
    "a redirect": reply(302, b"", Retry_After="30"),
    "a page of HTML": reply(200, b"<html>", Retry_After="30"),
    "no id": reply(200, {"data": {}}, Retry_After="30"),
    "accepted": reply(202, {"data": {"requestId": "x", "state": "AdminTask"}}, Retry_After="30"),
}
carries = pytest.mark.parametrize("answer", CARRIES.values(), ids=CARRIES)


@carries
async def test_whatever_carries_it_after_a_post_lets_the_account_wait(answer: Reply) -> None:
    wire = platform(answer)
    with suppress(CapillaryError):
        await wire.client().submit(REQUEST)
    assert wire.blocks == [30]


@carries
async def test_whatever_carries_it_after_a_read_lets_the_account_wait(answer: Reply) -> None:
    wire = platform(answer, *[reply(400, errors(2008))] * 4)
    with suppress(CapillaryError):
        await wire.client().read_badge("a" * 24)
    assert wire.blocks == [30]


@carries
async def test_and_after_the_call_for_a_token(answer: Reply) -> None:
    wire = platform(answer, *[reply(400, errors(2008))] * 4)
    with suppress(CapillaryError):
        await wire.client(oauth_settings()).clear_to_send()
    assert wire.blocks == [30]


@pytest.mark.parametrize("value", ["0", "-7", "soon", "nan", "", http_date(-60)])
async def test_without_a_word_only_a_429_lets_the_account_wait(value: str) -> None:
    wire = platform(reply(503, errors(4001), Retry_After=value), reply(429, errors(429), Retry_After=value))
    client = wire.client()
    for blocks in (0, 1):
        with pytest.raises(NotTaken):
            await client.submit(REQUEST)
        assert len(wire.blocks) == blocks


async def test_no_reply_keeps_the_account_for_more_than_15_minutes() -> None:
    wire = platform(reply(503, errors(4001), Retry_After="86400"))
    with pytest.raises(NotTaken):
        await wire.client().submit(REQUEST)
    assert wire.blocks == [RETRY_AFTER_LIMIT_S]


def test_there_are_twelve_or_more() -> None:
    assert len(CASES) >= 12
