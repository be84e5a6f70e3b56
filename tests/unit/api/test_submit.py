from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Final

import pytest

from capillary.api.errors import (
    CallRefused,
    EverythingRefused,
    InDoubt,
    NotTaken,
    PlatformUnavailable,
    RateLimited,
    RequestRefused,
    Unauthorized,
)
from capillary.api.transport import ConnectFailed, Reply, TransportFailed
from capillary.errors import CapillaryError, TerminalError, TransientError
from tests.unit.api.documented import ECHOED, KEY, PLATFORM_ID, bulk, inner, item, row
from tests.unit.api.scripted import (
    CUSTOMERS,
    OAUTH_SECRET,
    PASSWORD,
    REQUEST,
    errors,
    oauth_settings,
    platform,
    reply,
    settings,
    token_reply,
)

SUBMIT = "POST /api_gateway/v2/request-workflow/ISSUE-BADGE"
TOKEN = "POST /v3/oauth/token/generate"
HTML = b"<html><body>Bad gateway</body></html>"


async def test_one_post_with_the_documented_headers_and_body() -> None:
    wire = platform(reply(200, {"data": row()}))
    taken = await wire.client(settings(ui_token="ui.canary.token")).submit(REQUEST)
    assert taken.platform_request_id == PLATFORM_ID
    (call,) = wire.calls
    assert call.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-CAP-API-AUTH-ORG-ID": "100458",
        "Authorization": settings().basic_authorization,
        "X-CAP-UI-AUTH-TOKEN": "ui.canary.token",
    }
    assert call.timeout_s == 60
    assert wire.events == [SUBMIT]  # no slot: the sender takes it before the claim


async def test_the_inner_till_goes_into_the_body_alone() -> None:
    both = settings(inner_login="low", inner_password="inner")
    wire = platform(reply(200, {"data": row()}))
    await wire.client(both).submit(REQUEST)
    (call,) = wire.calls
    assert call.headers["Authorization"] == both.basic_authorization
    assert both.inner_authorization in str(call.json_body)
    assert both.basic_authorization not in str(call.json_body)


@pytest.mark.parametrize(
    "body",
    [
        {"data": row()},
        {"data": row(), "errors": [], "warnings": None},
        {"data": row("ManagerTask")},
        {"data": row("approved", IntouchAPITask_Output=bulk(item()))},
        {"data": row() | {"details": None}},
        {"data": row(), "errors": [{"code": 77777}]},
    ],
)
async def test_a_request_id_means_taken(body: object) -> None:
    wire = platform(reply(201, body))
    assert (await wire.client().submit(REQUEST)).platform_request_id == PLATFORM_ID


#: Answers that refuse one request, all of them, or for the moment.
REFUSALS: Final = (
    (400, errors(2008)),
    (413, errors()),
    (403, errors(4000)),
    (429, errors()),
    (401, errors()),
    (503, errors(4001)),
)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ConnectFailed("no connection"), NotTaken),
        (reply(503, errors(4001)), NotTaken),
        (reply(429, errors()), RateLimited),
        (reply(429, HTML), RateLimited),
        (reply(401, b""), Unauthorized),
        (reply(400, errors(2013)), Unauthorized),
        (reply(400, errors(2008)), RequestRefused),
        (reply(413, HTML), RequestRefused),
        (reply(403, errors(4000)), EverythingRefused),
        (reply(400, errors(2001)), EverythingRefused),
        (reply(400, errors(77777)), EverythingRefused),
        (TransportFailed("no whole answer"), InDoubt),
        (reply(200, HTML), InDoubt),
        (reply(200, b""), InDoubt),
        (reply(200, b'{"data": {"requestId": "5f0c'), InDoubt),
        (reply(200, {"data": None, "errors": []}), InDoubt),
        (reply(200, {"data": row() | {"requestId": None}}), InDoubt),
        (reply(200, {"data": row() | {"state": None}}), InDoubt),
        (reply(200, [row()]), InDoubt),
        (reply(302, HTML, Location="https://login.example"), InDoubt),
        (reply(400, errors(809)), InDoubt),
        *((reply(status, said | {"data": row()}), InDoubt) for status, said in REFUSALS),
        *((reply(status, said | {"data": {"requestId": PLATFORM_ID}}), InDoubt) for status, said in REFUSALS),
        (reply(400, errors(2008) | {"data": [row()]}), InDoubt),
        (reply(400, errors(2008) | {"data": {"requestId": KEY}}), RequestRefused),  # what was sent comes back
        (reply(400, errors(2008) | {"requestId": "a-gateways-trace"}), RequestRefused),
        (reply(400, errors(2008) | {"data": {}}), RequestRefused),
        (reply(400, errors(2008) | {"data": {"state": "AdminTask"}}), RequestRefused),
        (reply(400, HTML), InDoubt),
        (reply(500, errors()), InDoubt),
        (reply(500, {"data": row()}), InDoubt),
        (reply(502, HTML), InDoubt),
        (reply(504, HTML), InDoubt),
        (reply(521, HTML), InDoubt),
    ],
)
async def test_every_other_answer_is_one_error_after_one_post(
    answer: Reply | BaseException, error: type[CapillaryError]
) -> None:
    wire = platform(answer)
    with pytest.raises(error) as caught:
        await wire.client().submit(REQUEST)
    assert type(caught.value) is error
    assert len(wire.posts) == 1
    assert KEY in str(caught.value)
    assert isinstance(caught.value, TerminalError) == (error in {RequestRefused, EverythingRefused})
    assert isinstance(caught.value, TerminalError) != isinstance(caught.value, TransientError)


async def test_an_answer_about_another_request_is_no_answer() -> None:
    other = row() | {"details": {"IntouchAPITask-Payload": inner(key="cb1.other")}}
    wire = platform(reply(200, {"data": other}))
    with pytest.raises(InDoubt, match="another request"):
        await wire.client().submit(REQUEST)


async def test_an_answer_about_another_request_keeps_what_it_spoke_of() -> None:
    other = row() | {"details": {"IntouchAPITask-Payload": inner(key="CB1.OTHER")}}
    with pytest.raises(InDoubt) as caught:
        await platform(reply(200, {"data": other})).client().submit(REQUEST)
    assert caught.value.platform_request_id == PLATFORM_ID
    assert caught.value.answered is not None
    assert caught.value.answered.request_key == "CB1.OTHER"
    assert PLATFORM_ID not in str(caught.value)
    assert str(CUSTOMERS[0]) not in repr(caught.value)


NO_STATE = row() | {"state": None}


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (reply(200, {"data": NO_STATE}), PLATFORM_ID),
        (reply(200, {"data": [NO_STATE]}), PLATFORM_ID),
        (reply(200, NO_STATE), PLATFORM_ID),
        (reply(200, {"requestId": 4711}), "4711"),
        (reply(500, {"data": row()}), PLATFORM_ID),
        (reply(400, errors(809) | {"data": {"requestId": PLATFORM_ID}}), PLATFORM_ID),
        (reply(200, {"data": {"requestId": "x" * 65}}), None),
        (reply(200, {"data": {"requestId": " "}}), None),
        (reply(200, {"data": {"requestId": {}}}), None),
        (reply(200, {"data": []}), None),
        (reply(200, [NO_STATE]), PLATFORM_ID),
        (reply(200, HTML), None),
        (reply(504, b""), None),
        (TransportFailed("no whole answer"), None),
    ],
)
async def test_the_id_in_an_answer_that_cannot_be_used_is_kept(
    answer: Reply | BaseException, named: str | None
) -> None:
    with pytest.raises(InDoubt) as caught:
        await platform(answer).client().submit(REQUEST)
    assert (caught.value.platform_request_id, caught.value.answered) == (named, None)


async def test_the_facts_of_a_refusal() -> None:
    answer = reply(400, errors(2008, message="field customers"), X_CAP_REQUEST_ID="trace-7")
    with pytest.raises(RequestRefused) as caught:
        await platform(answer).client().submit(REQUEST)
    facts = caught.value
    assert (facts.http_status, facts.code, facts.trace_id) == (400, 2008, "trace-7")
    assert facts.reason == 'the payload is not valid; its words: "field customers"'


async def test_an_unknown_code_is_called_so() -> None:
    with pytest.raises(EverythingRefused, match="code 77777 is not known here"):
        await platform(reply(400, errors(77777))).client().submit(REQUEST)


async def test_a_limited_post_pauses_the_account() -> None:
    wire = platform(reply(429, errors(), Retry_After="30"))
    with pytest.raises(RateLimited) as caught:
        await wire.client().submit(REQUEST)
    assert caught.value.retry_after_s == 30.0
    assert wire.blocks == [30.0]


async def test_without_a_word_the_pause_grows_and_calls_refused_together_count_once() -> None:
    wire = platform(*[reply(429, errors()) for _ in range(6)])
    client = wire.client()
    for wait in (0, 0, 10, 10, 20, 40):
        wire.clock += wait
        with pytest.raises(RateLimited) as caught:
            await client.submit(REQUEST)
        assert caught.value.retry_after_s is None
    bounds = [(1, 2), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
    assert all(low <= block <= high for block, (low, high) in zip(wire.blocks, bounds, strict=True))


async def test_a_cancelled_post_is_the_callers() -> None:
    wire = platform(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await wire.client().submit(REQUEST)
    assert len(wire.posts) == 1


async def test_clearance_sees_to_a_token_and_takes_the_slot_last() -> None:
    wire = platform(token_reply(), reply(200, {"data": row()}))
    client = wire.client(oauth_settings())
    await client.clear_to_send()
    await client.submit(REQUEST)
    assert wire.events == ["slot", TOKEN, "slot", SUBMIT]
    token_call, post = wire.calls
    assert token_call.json_body == {"key": "key-one", "secret": OAUTH_SECRET}
    assert set(token_call.headers) == {"Accept", "Content-Type"}
    assert post.headers["X-CAP-API-OAUTH-TOKEN"] == "token-1"
    assert "Authorization" not in post.headers
    assert wire.new_secrets == ["token-1"]


async def test_a_till_needs_a_slot_alone() -> None:
    wire = platform()
    await wire.client().clear_to_send()
    assert wire.events == ["slot"]


@pytest.mark.parametrize(("ttl_s", "later_s", "tokens"), [(300, 239, 1), (300, 240, 2), (30, 14, 1), (30, 15, 2)])
async def test_a_token_is_renewed_before_it_expires(ttl_s: int, later_s: float, tokens: int) -> None:
    wire = platform(token_reply(ttl_seconds=ttl_s), token_reply("token-2"))
    client = wire.client(oauth_settings())
    await client.clear_to_send()
    wire.clock += later_s
    await client.clear_to_send()
    assert wire.events.count(TOKEN) == tokens


async def test_clearances_at_once_fetch_one_token() -> None:
    wire = platform(token_reply())
    client = wire.client(oauth_settings())
    await asyncio.gather(*(client.clear_to_send() for _ in range(10)))
    assert wire.events.count(TOKEN) == 1


@pytest.mark.parametrize("later_s", [None, 300, 900])
async def test_without_a_living_token_nothing_is_sent(later_s: float | None) -> None:
    wire = platform(token_reply())
    client = wire.client(oauth_settings())
    if later_s is not None:
        await client.clear_to_send()
        wire.clock += later_s
    with pytest.raises(Unauthorized, match="no valid OAuth token"):
        await client.submit(REQUEST)
    assert wire.posts == []


async def test_a_401_drops_the_token_and_the_next_clearance_renews_it() -> None:
    wire = platform(token_reply(), reply(401), token_reply("token-2"), reply(200, {"data": row()}))
    client = wire.client(oauth_settings())
    await client.clear_to_send()
    with pytest.raises(Unauthorized):
        await client.submit(REQUEST)
    await client.clear_to_send()
    await client.submit(REQUEST)
    assert [post.headers["X-CAP-API-OAUTH-TOKEN"] for post in wire.posts] == ["token-1", "token-2"]


async def test_a_late_401_does_not_drop_a_newer_token() -> None:
    wire = platform(token_reply(), reply(401), token_reply("token-2"), reply(401))
    client = wire.client(oauth_settings())
    await client.clear_to_send()
    old = client._calls.credential.headers()
    assert old is not None
    with pytest.raises(Unauthorized):
        await client.submit(REQUEST)
    await client.clear_to_send()
    client._calls.credential.drop(old)
    assert client._calls.credential.token == "token-2"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(401, errors(401)), CallRefused),
        (reply(400, errors(2013)), CallRefused),
        (reply(404), CallRefused),
    ],
)
async def test_a_refused_key_stops_at_once(answer: Reply, error: type[CapillaryError]) -> None:
    wire = platform(answer)
    with pytest.raises(error):
        await wire.client(oauth_settings()).clear_to_send()
    assert wire.events.count(TOKEN) == 1


async def test_the_token_call_is_repeated_with_a_slot_each() -> None:
    wire = platform(
        reply(503), ConnectFailed("no"), reply(200, {"data": {}}), reply(429, Retry_After="7"), token_reply()
    )
    await wire.client(oauth_settings()).clear_to_send()
    assert wire.events == [*["slot", TOKEN] * 5, "slot"]
    assert wire.blocks == [7.0]
    assert wire.sleeps[-1] == 7.0


async def test_no_token_to_be_had() -> None:
    wire = platform(*[reply(500) for _ in range(5)])
    with pytest.raises(PlatformUnavailable, match="OAuth token"):
        await wire.client(oauth_settings()).clear_to_send()


CANARY_ANSWERS = [
    reply(401, errors(401, message=f"{PASSWORD} of {settings().basic_authorization} is wrong")),
    reply(400, errors(2008, message=f"customers [900001, 900002], {ECHOED}")),
    reply(400, errors(2013, message="token-canary-1 is dead")),
    reply(200, {"data": row() | {"state": None}}),
    reply(500, {"data": row(), "errors": [{"code": 7, "message": f"mail x@y.example {OAUTH_SECRET}"}]}),
    reply(429, errors(message="customer 900001"), Retry_After="1"),
    TransportFailed("no whole answer (ServerDisconnectedError)"),
    reply(200, {"data": row()}),
]


@pytest.mark.parametrize("answer", CANARY_ANSWERS)
async def test_no_secret_and_no_customer_in_errors_and_logs(
    answer: Reply | BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    of = oauth_settings(ui_token="ui-canary-token")
    wire = platform(token_reply("token-canary-1"), answer)
    client = wire.client(of)
    await client.clear_to_send()
    said = ""
    try:
        await client.submit(REQUEST)
    except CapillaryError as error:
        said = "".join(traceback.format_exception(error)) + repr(vars(error))
    said += caplog.text
    assert "submit" in said
    for canary in (*of.secrets(), "token-canary-1", ECHOED.removeprefix("Basic "), "90000", "x@y.example"):
        assert canary not in said


async def test_a_dead_ui_token_is_mentioned() -> None:
    dead = settings(ui_token="eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3OTU0MjA4MDB9.c2ln")
    for status in (401, 403):
        with pytest.raises(CapillaryError, match="UI token expired at 2026-11-23 08:00 UTC"):
            await platform(reply(status, errors(message="no"))).client(dead).submit(REQUEST)
