from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from sandbox.app import sandbox_app
from sandbox.faults import Fault, FaultError, FaultKind, Route, When
from sandbox.gate import CONNECTION, route_of
from sandbox.server import RunningSandbox, running_sandbox
from tests.sandbox.calling import REQUESTS, WORKFLOW, MakeCaller, submission


@dataclass(frozen=True)
class Line:
    """A sandbox behind a real socket, and a client of it."""

    sandbox: RunningSandbox
    client: httpx.Client

    def submit(self, key: str = "key-1", *, timeout: float = 5.0) -> httpx.Response:
        return self.client.post(WORKFLOW, json=submission(key, list(range(1, 200))), timeout=timeout)

    @property
    def keys(self) -> list[str | None]:
        return [record.request_key for record in self.sandbox.platform.requests()]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def line(running: RunningSandbox, credentials: dict[str, str]) -> Iterator[Line]:
    running.platform.faults.clear()
    with httpx.Client(base_url=running.url, headers=credentials) as client:
        yield Line(running, client)


@pytest.mark.parametrize(
    ("kind", "when", "error", "committed"),
    [
        ("drop", "before", httpx.RemoteProtocolError, False),
        ("drop", "after", httpx.RemoteProtocolError, True),
        ("hang", "before", httpx.ReadTimeout, False),
        ("hang", "after", httpx.ReadTimeout, True),
        ("reset", "after", httpx.ReadError, True),
    ],
)
def test_a_reply_is_lost(line: Line, kind: str, when: str, error: type[Exception], committed: bool) -> None:
    key = f"{kind}-{when}"
    line.sandbox.fault("submit", kind, when=when, seconds=30)
    with pytest.raises(error):
        line.submit(key, timeout=0.3)
    assert (key in line.keys) is committed
    assert line.submit(key + "-next").status_code == 200


def test_a_dropped_connection_sends_not_one_byte(line: Line) -> None:
    line.sandbox.fault("submit", "drop")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        line.submit("not-a-byte")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_dropped_call_is_read_to_its_end_before_the_connection_closes(line: Line, when: str) -> None:
    """The kernel resets a connection that closes over bytes which nobody has read: of a slow caller's body, say."""
    platform = line.sandbox.platform
    body = json.dumps(submission(f"late-{when}", [1])).encode()
    left: list[dict[str, object]] = [
        {"type": "http.request", "body": body[:20], "more_body": True},
        {"type": "http.request", "body": body[20:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    unread_at_close: list[int] = []

    class Transport:
        def abort(self) -> None:
            unread_at_close.append(len(left) - 1)

    async def receive() -> dict[str, object]:
        return left.pop(0)

    async def send(_message: object) -> None:
        raise AssertionError("a dropped call has no reply")

    headers = [(name.lower().encode(), value.encode()) for name, value in line.client.headers.items()]
    scope = {"type": "http", "method": "POST", "path": WORKFLOW, "query_string": b"", "headers": headers}
    line.sandbox.fault("submit", "drop", when=when)
    await sandbox_app(platform)(scope | {"extensions": {CONNECTION: {"transport": Transport()}}}, receive, send)
    assert unread_at_close == [0]


def test_a_reset_comes_in_the_middle_of_the_body(line: Line) -> None:
    line.sandbox.fault("submit", "reset")
    got: list[bytes] = []
    sent = submission("reset-body", list(range(1, 200)))
    with line.client.stream("POST", WORKFLOW, json=sent) as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.ReadError):
            got.extend(reply.iter_raw())
    assert 0 < sum(map(len, got)) < int(reply.headers["content-length"])


def test_a_hang_ends_with_a_closed_connection(line: Line) -> None:
    line.sandbox.fault("list", "hang", seconds=0.2)
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        line.client.get(REQUESTS)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_status_replaces_the_reply(line: Line, status: int, when: str) -> None:
    key = f"status-{status}-{when}"
    line.sandbox.fault("submit", "status", when=when, status=status)
    reply = line.submit(key)
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/html")
    assert (key in line.keys) is (when == "after")


def test_503_with_4001_and_429_with_the_retry_after_given(line: Line) -> None:
    line.sandbox.fault("submit", "status", when="before", status=503, code=4001)
    reply = line.submit("4001")
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (503, 4001)
    line.sandbox.fault("submit", "status", when="before", status=429, code=429, retry_after="Wed, 1 Jan 2020")
    reply = line.submit("429")
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "Wed, 1 Jan 2020")
    line.sandbox.fault("submit", "status", when="before", status=429)
    assert "Retry-After" not in line.submit("429").headers
    assert not {"4001", "429"} & set(line.keys)


def test_html_and_half_a_document_come_as_200(line: Line) -> None:
    line.sandbox.fault("submit", "html")
    reply = line.submit("html")
    assert (reply.status_code, reply.text[:6]) == (200, "<html>")
    line.sandbox.fault("submit", "truncated")
    reply = line.submit("truncated")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        reply.json()
    assert {"html", "truncated"} <= set(line.keys)


def test_a_delay_only_takes_time(line: Line) -> None:
    line.sandbox.fault("get", "delay", seconds=0.3)
    request_id = line.submit("delayed").json()["data"]["requestId"]
    began = time.monotonic()
    assert line.client.get(f"{REQUESTS}/{request_id}").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_faults_wait_for_their_route_and_happen_as_often_as_they_say(line: Line) -> None:
    line.sandbox.fault("list", "status", status=500, times=2)
    line.sandbox.fault("list", "status", status=502)
    assert line.submit("elsewhere").status_code == 200
    assert [line.client.get(REQUESTS).status_code for _ in range(4)] == [500, 500, 502, 200]


def test_every_call_is_counted_whatever_became_of_it(line: Line) -> None:
    platform = line.sandbox.platform
    before = platform.calls
    line.sandbox.fault("token", "status", status=500)
    line.client.post("/v3/oauth/token/generate", json={})
    line.client.get(REQUESTS, headers={"Authorization": "Basic x"})
    line.client.get("/nowhere")
    line.client.get("/_sandbox/calls")
    assert platform.calls - before == {Route.TOKEN: 1, Route.LIST: 1, Route.OTHER: 1}
    assert [arrival.route for arrival in platform.arrivals[-3:]] == [Route.TOKEN, Route.LIST, Route.OTHER]


def test_faults_and_switches_over_the_admin_routes(line: Line) -> None:
    fault = {"route": "list", "kind": "status", "status": 504, "when": "before"}
    assert line.client.post("/_sandbox/faults", json=fault).json()["times"] == 1
    assert [each["status"] for each in line.client.get("/_sandbox/faults").json()] == [504]
    assert line.client.delete("/_sandbox/faults").json() == []
    assert line.client.get(REQUESTS).status_code == 200
    reply = line.client.patch("/_sandbox/switches", json={"page_limit": 1, "unknown_customers": [3]})
    assert (reply.json()["page_limit"], reply.json()["unknown_customers"]) == (1, [3])
    assert len(line.client.get(REQUESTS).json()["data"]) == 1
    line.client.patch("/_sandbox/switches", json={"page_limit": 20, "unknown_customers": []})
    for path, body, words in (
        ("/_sandbox/faults", {"route": "list", "kind": "explode"}, "kind: give one of drop"),
        ("/_sandbox/faults", {"route": "list"}, "kind"),
        ("/_sandbox/badges", {"badge_id": "x", "name": "X", "starts": 0, "expires": 1}, "badge_id: give 24"),
        ("/_sandbox/reject", {}, "request_key is missing"),
    ):
        reply = line.client.post(path, json=body)
        assert reply.status_code == 400
        assert words in reply.json()["errors"][0]["message"]
    reply = line.client.patch("/_sandbox/switches", json={"organisation": 1})
    assert "no switch" in reply.json()["errors"][0]["message"]


async def test_without_a_connection_a_drop_is_an_error_in_process(sandbox: MakeCaller) -> None:
    call = sandbox()
    call.platform.faults.add(Fault(route=Route.SUBMIT, kind=FaultKind.DROP, when=When.AFTER))
    with pytest.raises(ConnectionAbortedError):
        await call.post(submission("key-1", [1]))
    assert len(call.platform.requests()) == 1


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "reset", "when": "before"}, "when"),
        ({"kind": "truncated", "when": "before"}, "when"),
        ({"kind": "hang", "seconds": -1}, "seconds"),
        ({"kind": "status", "status": 200}, "status"),
        ({"kind": "drop", "times": 0}, "times"),
        ({"kind": "status", "retry_after": "a\r\nb"}, "retry_after"),
    ],
    ids=str,
)
def test_faults_that_cannot_be_are_refused(fields: dict[str, object], word: str) -> None:
    with pytest.raises(FaultError, match=f"^{word}:"):
        Fault(route=Route.LIST, **fields)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", WORKFLOW, "submit"),
        ("PUT", WORKFLOW, "decide"),
        ("GET", WORKFLOW, "other"),
        ("GET", REQUESTS, "list"),
        ("GET", REQUESTS + "/abc", "get"),
        ("POST", "/v3/oauth/token/generate", "token"),
        ("GET", "/api_gateway/v1/badges/badgeMeta", "badges"),
        ("GET", "/v2/customers/lookup", "other"),
    ],
)
def test_routes_have_names(method: str, path: str, route: str) -> None:
    assert route_of(method, path) == route
