from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from capillary.api.calls import QUICK_S
from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.transport import ConnectFailed, Reply, TransportFailed
from capillary.errors import CapillaryError
from tests.unit.api.documented import BADGE, KEY, PLATFORM_ID, page, row
from tests.unit.api.scripted import errors, oauth_settings, platform, reply, settings, token_reply

DAY = date(2026, 11, 21)
GOOD = reply(200, {"data": row()})
HTML = b"<html>"
READ_ONE = f"GET /api_gateway/v2/request-workflow/requests/{PLATFORM_ID}"
TOKEN = "POST /v3/oauth/token/generate"


async def test_one_request() -> None:
    wire = platform(GOOD)
    read = await wire.client().read_request(PLATFORM_ID)
    assert read is not None
    assert read.request_key == KEY
    assert wire.events == ["slot", READ_ONE]
    assert wire.calls[0].headers["X-CAP-API-AUTH-ORG-ID"] == "100458"


async def test_an_id_cannot_lead_elsewhere() -> None:
    wire = platform(reply(400, errors(2007)))
    await wire.client().read_request("../../x?y")
    assert wire.calls[0].url.endswith("/requests/..%2F..%2Fx%3Fy")


@pytest.mark.parametrize("answer", [reply(400, errors(2007)), reply(404, errors(404)), reply(200, errors(2007))])
async def test_an_unknown_id_is_none(answer: Reply) -> None:
    assert await platform(answer).client().read_request(PLATFORM_ID) is None


@pytest.mark.parametrize("answer", [reply(404, HTML), reply(404, {"status": 404, "error": "Not Found"})])
async def test_a_wrong_address_is_not_an_unknown_id(answer: Reply) -> None:
    with pytest.raises(CallRefused, match="base_url"):
        await platform(answer).client().read_request(PLATFORM_ID)


@pytest.mark.parametrize("base", [0, 1])
async def test_the_list(base: int) -> None:
    wire = platform(reply(200, page(row(), number=3, pages=9, total=900)))
    client = wire.client(settings(page_base=base, page_size=50))
    read = await client.list_requests(page=3, start_date=DAY, request_type="ISSUE-BADGE")
    assert (read.number, read.total_pages, len(read.rows)) == (3, 9, 1)
    assert wire.calls[0].params == {
        "sortBy": "startDate",
        "sortOrder": "asc",
        "startDate": "2026-11-21",
        "limit": "50",
        "PageNo": str(3 + base),
        "requestType": "ISSUE-BADGE",
    }


async def test_the_list_of_all_types() -> None:
    wire = platform(reply(200, page()))
    await wire.client().list_requests(page=0, start_date=DAY, request_type=None)
    assert "requestType" not in wire.calls[0].params


async def test_a_badge() -> None:
    wire = platform(reply(200, {"data": {"id": BADGE, "status": "LIVE"}}), reply(404, errors(404)))
    client = wire.client()
    badge = await client.read_badge(BADGE)
    assert badge is not None
    assert badge.status == "LIVE"
    assert await client.read_badge(BADGE) is None


async def test_enrolments_of_a_customer() -> None:
    details = {"issuedCount": 1, "issuals": [{"issueId": "b" * 24, "issuedStatus": "ACTIVE"}]}
    wire = platform(
        reply(200, {"data": {"issualDetails": details}, "errors": None}),
        reply(404, errors(404)),
        reply(400, errors(1026)),
    )
    client = wire.client()
    (issual,) = await client.read_issuals(900001, BADGE)
    assert issual.is_active
    assert wire.calls[0].url.endswith(f"/api_gateway/v1/badges/management/900001/badge/{BADGE}")
    assert wire.calls[0].params == {"includeStatistics": "true"}
    assert await client.read_issuals(900001, BADGE) == ()
    assert await client.read_issuals(900001, BADGE) == ()


@pytest.mark.parametrize(
    "failure",
    [
        ConnectFailed("no connection"),
        TransportFailed("no whole answer"),
        *[reply(status, HTML) for status in (408, 429, 461, 500, 502, 503, 504, 520, 524)],
        reply(503, errors(4001)),
        reply(400, errors(521)),
        reply(200, HTML),
        reply(200, b'{"data": {'),
        reply(200, {"data": None}),
        reply(200, {"data": {"state": "AdminTask"}}),
    ],
)
async def test_a_passing_failure_is_repeated_with_a_slot_each(failure: Reply | BaseException) -> None:
    wire = platform(failure, failure, GOOD)
    assert await wire.client().read_request(PLATFORM_ID) is not None
    assert wire.events == ["slot", READ_ONE] * 3
    first, second = wire.sleeps
    assert 1.0 <= first <= 2.0
    assert 2.0 <= second <= 4.0


async def test_five_attempts_and_no_more() -> None:
    wire = platform(*[reply(502, HTML, X_Cap_RequestID="trace-9") for _ in range(9)])
    with pytest.raises(PlatformUnavailable) as caught:
        await wire.client().read_request(PLATFORM_ID)
    assert len(wire.calls) == 5
    assert (caught.value.http_status, caught.value.trace_id) == (502, "trace-9")


async def test_an_unreadable_reply_says_where_it_came_from() -> None:
    wire = platform(*[reply(200, {"data": {}}, X_CAP_REQUEST_ID="trace-3") for _ in range(5)])
    with pytest.raises(ReplyUnreadable) as caught:
        await wire.client().read_request(PLATFORM_ID)
    assert (caught.value.what, caught.value.trace_id) == ("one request", "trace-3")


async def test_two_minutes_and_no_more() -> None:
    wire = platform(*[reply(503, errors(), Retry_After="50") for _ in range(9)])
    with pytest.raises(PlatformUnavailable) as caught:
        await wire.client().read_request(PLATFORM_ID)
    assert wire.sleeps == [50.0, 50.0]
    assert caught.value.retry_after_s == 50.0


async def test_a_long_retry_after_is_not_slept_away() -> None:
    wire = platform(reply(429, errors(), Retry_After="99999"))
    with pytest.raises(PlatformUnavailable) as caught:
        await wire.client().read_request(PLATFORM_ID)
    assert (wire.sleeps, wire.blocks) == ([], [900.0])
    assert caught.value.retry_after_s == 900.0
    assert "after 900 s" in str(caught.value)


@pytest.mark.parametrize(
    ("retry_after", "low", "high"),
    [("17", 17, 17), ("Mon, 23 Nov 2026 09:00:40 GMT", 40, 40), ("0", 1, 2), ("-5", 1, 2), ("soon", 1, 2)],
)
async def test_a_limited_read_pauses_everybody_and_comes_back(retry_after: str, low: float, high: float) -> None:
    wire = platform(reply(429, errors(), Retry_After=retry_after), GOOD)
    assert await wire.client().read_request(PLATFORM_ID) is not None
    assert [low <= pause <= high for pause in (*wire.blocks, *wire.sleeps)] == [True, True]


@pytest.mark.parametrize(
    "answer",
    [
        *[reply(status, HTML) for status in (301, 307, 400, 403, 404, 405, 415)],
        *[reply(400, errors(code)) for code in (2001, 2005, 2008, 2009, 2021, 2026, 1064)],
        reply(200, errors(2001)),
        reply(403, errors(4000)),
    ],
)
async def test_a_refusal_is_final(answer: Reply) -> None:
    wire = platform(answer)
    with pytest.raises(CallRefused):
        await wire.client().read_request(PLATFORM_ID)
    assert (len(wire.calls), wire.sleeps) == (1, [])


@pytest.mark.parametrize("refusal", [reply(401, b""), reply(400, errors(2013)), reply(200, errors(2013))])
async def test_a_credential_gets_one_second_chance(refusal: Reply) -> None:
    once = platform(refusal, GOOD)
    assert await once.client().read_request(PLATFORM_ID) is not None
    twice = platform(refusal, refusal, GOOD)
    with pytest.raises(CallRefused):
        await twice.client().read_request(PLATFORM_ID)
    assert len(twice.calls) == 2


async def test_401_renews_the_token_once() -> None:
    wire = platform(token_reply(), reply(401), token_reply("token-2"), GOOD)
    assert await wire.client(oauth_settings()).read_request(PLATFORM_ID) is not None
    assert wire.events == ["slot", TOKEN, "slot", READ_ONE, "slot", TOKEN, "slot", READ_ONE]
    assert wire.calls[-1].headers["X-CAP-API-OAUTH-TOKEN"] == "token-2"
    assert wire.new_secrets == ["token-1", "token-2"]


async def test_an_expired_token_is_renewed_before_the_read() -> None:
    wire = platform(token_reply(), GOOD, token_reply("token-2"), GOOD)
    client = wire.client(oauth_settings())
    await client.read_request(PLATFORM_ID)
    wire.clock += 300
    await client.read_request(PLATFORM_ID)
    assert [call.headers.get("X-CAP-API-OAUTH-TOKEN") for call in wire.calls] == [
        None,
        "token-1",
        None,
        "token-2",
    ]


Read = Callable[[Client], Awaitable[Any]]
READS: dict[str, Read] = {
    "request": lambda client: client.read_request("900001"),
    "list": lambda client: client.list_requests(page=0, start_date=DAY, request_type=None),
    "badge": lambda client: client.read_badge("900001"),
    "enrolments": lambda client: client.read_issuals(900001, BADGE),
    "check": lambda client: client.check(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("status", [403, 502])
async def test_no_read_names_a_customer_in_errors_or_logs(
    read: Read, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wire = platform(*[reply(status, errors(message="customer 900001 unknown")) for _ in range(5)])
    with pytest.raises(CapillaryError) as caught:
        await read(wire.client())
    said = str(caught.value) + repr(vars(caught.value)) + caplog.text
    assert f"HTTP {status}" in said
    assert "900001" not in said
    assert not [secret for secret in settings().secrets() if secret in said]


async def test_the_connections_test_is_one_cheap_read() -> None:
    wire = platform(reply(200, page(row(), total=12)))
    said = await wire.client(settings(environment="staging", submitting=False)).check()
    assert said == (
        "platform.example/100458 answered the till; 12 ISSUE-BADGE requests since 2026-11-23; "
        "submitting is off; environment staging."
    )
    assert wire.calls[0].params["limit"] == "1"


async def test_the_connections_test_asks_for_the_clusters_day() -> None:
    wire = platform(reply(200, page()))
    wire.clock += 10 * 3600  # 19:00 UTC is half past midnight in Kolkata
    await wire.client(settings(cluster_timezone="Asia/Kolkata")).check()
    assert wire.calls[0].params["startDate"] == "2026-11-24"


async def test_the_connections_test_does_not_keep_a_person_waiting() -> None:
    wire = platform(reply(502), reply(502))
    with pytest.raises(PlatformUnavailable):
        await wire.client().check()
    assert len(wire.calls) == 2


async def test_the_clients_transport_is_closed() -> None:
    wire = platform()
    async with wire.client():
        assert not wire.closed
    assert wire.closed


# The platform's clock ---------------------------------------------------------------------------------------

SAID = "Mon, 23 Nov 2026 12:00:00 GMT"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

DATES = {
    # headers of an answer → the platform's clock, as it comes in
    "an HTTP date": ({"Date": SAID}, NOON),
    "another form": ({"Date": "Mon Nov 23 12:00:00 2026"}, NOON),
    "out of a cache": ({"Date": SAID, "Age": "300"}, NOON + timedelta(minutes=5)),
    "an age that is none": ({"Date": SAID, "Age": "old"}, NOON),
    "a negative age": ({"Date": SAID, "Age": "-5"}, NOON),
    "an age without a date": ({"Age": "300"}, None),
    "an age past all time": ({"Date": "Fri, 31 Dec 9999 23:00:00 GMT", "Age": "999999999"}, None),
    "garbage": ({"Date": "noon"}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize(("headers", "clock"), DATES.values(), ids=DATES.keys())
async def test_the_platforms_clock_is_its_last_answers(headers: dict[str, str], clock: datetime | None) -> None:
    wire = platform(reply(200, {"data": row()}, **headers))
    client = wire.client()
    await client.read_request(PLATFORM_ID)
    assert client.platform_now() == clock
    wire.clock += 90
    assert client.platform_now() == (None if clock is None else clock + timedelta(seconds=90))


@pytest.mark.parametrize(
    "answer", [reply(200, HTML, Date=SAID), reply(502, errors(500), Date=SAID), reply(429, errors(), Date=SAID)]
)
async def test_what_is_no_good_answer_may_be_a_gateways_and_tells_no_time(answer: Reply) -> None:
    wire = platform(answer)
    client = wire.client()
    with pytest.raises(CapillaryError):
        await client.read_request(PLATFORM_ID, attempts=1)
    assert client.platform_now() is None


@pytest.mark.parametrize(("took_s", "is_heard"), [(QUICK_S, True), (QUICK_S + 1, False)])
async def test_an_answer_that_took_long_tells_no_time(took_s: float, is_heard: bool) -> None:
    wire = platform()

    async def slow(*_: object, **__: object) -> Reply:
        wire.clock += took_s
        return reply(200, {"data": row()}, Date=SAID)

    wire.call = slow  # type: ignore[method-assign]
    client = wire.client()
    await client.read_request(PLATFORM_ID)
    assert (client.platform_now() is not None) == is_heard


async def test_a_read_may_be_made_once() -> None:
    wire = platform(reply(502, HTML))
    with pytest.raises(PlatformUnavailable):
        await wire.client().read_request(PLATFORM_ID, attempts=1)
    assert len(wire.calls) == 1
