from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest

from sandbox.payloads import TASK
from tests.sandbox.calling import MakeCaller, code_of, submission

SEED_KEYS = [
    "requestId",
    "userId",
    "userName",
    "requestType",
    "state",
    "startTime",
    "endTime",
    "details",
]


async def test_reply_has_the_documented_shape_key_by_key(sandbox: MakeCaller) -> None:
    call = sandbox()
    reply = await call.post(submission("key-1", [900001, 900002]))
    assert reply.status_code == 200
    assert list(reply.json()) == ["data"]
    data = reply.json()["data"]
    assert list(data) == SEED_KEYS
    assert (data["requestType"], data["state"], data["endTime"]) == ("issue-badge", "AdminTask", None)
    assert data["details"] == {
        TASK: submission("key-1", [900001, 900002])["payload"][TASK],
        "ValidateMakerAccess_Output": True,
        "ValidatePayload_Output": True,
    }
    assert "entityInfo" not in reply.text
    assert reply.headers["X-CAP-REQUEST-ID"]


async def test_the_inner_credential_is_echoed_in_clear(sandbox: MakeCaller) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    data = (await call.post(body)).json()["data"]
    sent = body["payload"][TASK]["headers"]["Authorization"]
    assert data["details"][TASK]["headers"]["Authorization"] == sent


async def test_request_id_is_a_version_1_uuid_of_the_arrival_and_times_are_cluster_local(
    sandbox: MakeCaller,
) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1])
    minted = UUID(request_id)
    assert minted.version == 1
    assert (minted.time - 0x01B21DD213814000) / 1e7 == pytest.approx(call.clock.now, abs=1e-3)
    data = (await call.read(request_id)).json()["data"]
    utc = datetime.fromtimestamp(call.clock.now, UTC)
    local = datetime.fromisoformat(data["startTime"])
    assert local.tzinfo is None
    assert (local - utc.replace(tzinfo=None)).total_seconds() == 5.5 * 3600


async def test_ids_stay_unique_within_one_moment(sandbox: MakeCaller) -> None:
    call = sandbox()
    assert len({await call.submit("same", [1]) for _ in range(20)}) == 20


async def test_a_customer_alone_is_accepted_and_echoed_as_an_array(sandbox: MakeCaller) -> None:
    call = sandbox()
    data = (await call.post(submission("key-1", 113460811))).json()["data"]
    assert data["details"][TASK]["body"]["customers"] == [113460811]


@pytest.mark.parametrize("given", [{}, {"source": "INSTORE"}, ...], ids=["empty", "full", "absent"])
async def test_query_params_are_echoed_only_if_sent(sandbox: MakeCaller, given: object) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    if given is not ...:
        body["payload"][TASK]["queryParams"] = given
    task = (await call.post(body)).json()["data"]["details"][TASK]
    assert task.get("queryParams", ...) == given


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("entityInfo",), ..., 2008),
        (("entityInfo", "tillId"), ..., 2008),
        (("entityInfo", "conceptId"), "", 2008),
        (("payload",), ..., 2008),
        (("payload", TASK), "text", 2008),
        (("payload", TASK, "hostname"), ..., 2027),
        (("payload", TASK, "path"), "", 2028),
        (("payload", TASK, "method"), ..., 2029),
        (("payload", TASK, "body"), [], 2008),
        (("payload", TASK, "headers"), ..., 2008),
    ],
    ids=str,
)
async def test_payload_that_is_not_whole_is_refused(
    sandbox: MakeCaller, path: tuple[str, ...], value: object, code: int
) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    parent = body
    for name in path[:-1]:
        parent = parent[name]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    reply = await call.post(body)
    assert reply.status_code == 400
    assert list(reply.json()) == ["data", "errors", "warnings"]
    assert reply.json()["data"] is None
    assert list(reply.json()["errors"][0]) == ["code", "message", "reference"]
    assert code_of(reply) == code
    assert call.platform.requests() == []


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"\xff"], ids=repr)
async def test_a_body_that_is_no_json_object_is_2008(sandbox: MakeCaller, sent: bytes) -> None:
    call = sandbox()
    reply = await call.client.post("/api_gateway/v2/request-workflow/ISSUE-BADGE", content=sent, headers=call.maker)
    assert (reply.status_code, code_of(reply)) == (400, 2008)


@pytest.mark.parametrize(
    ("request_type", "code"),
    [("ISSUE_BADGE", 2009), ("issue-badge", 2009), ("EARN-BADGE", 2021), ("GOODWILL-POINTS", 2021)],
)
async def test_other_types_are_refused(sandbox: MakeCaller, request_type: str, code: int) -> None:
    call = sandbox()
    reply = await call.client.post(
        f"/api_gateway/v2/request-workflow/{request_type}",
        json=submission("key-1", [1]),
        headers=call.maker,
    )
    assert code_of(reply) == code


async def test_only_a_maker_may_create(sandbox: MakeCaller) -> None:
    call = sandbox()
    reply = await call.post(submission("key-1", [1]), **call.checker)
    assert (reply.status_code, code_of(reply)) == (403, 2001)
    assert call.platform.requests() == []


@pytest.mark.parametrize(("organisation", "code"), [("", 2026), ("7", 2005), ("abc", 2005)])
async def test_the_organisation_header_is_checked(sandbox: MakeCaller, organisation: str, code: int) -> None:
    call = sandbox()
    reply = await call.post(submission("key-1", [1]), **{"X-CAP-API-AUTH-ORG-ID": organisation})
    assert code_of(reply) == code


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer abc",
        "Basic " + base64.b64encode(b"sandbox-maker:sandbox-maker").decode(),
        "Basic " + base64.b64encode(b"sandbox-maker:0123456789abcdef0123456789abcdef").decode(),
        "Basic " + base64.b64encode(b"nobody:3f8549c752fbe70f3b7b965c06b5fb63").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    ],
    ids=["none", "empty", "no base64", "bearer", "raw password", "wrong hash", "wrong till", "no text"],
)
async def test_wrong_credentials_are_401(sandbox: MakeCaller, header: str) -> None:
    call = sandbox()
    reply = await call.post(submission("key-1", [1]), Authorization=header)
    assert (reply.status_code, code_of(reply)) == (401, 401)
    assert call.platform.requests() == []


async def test_the_same_inner_id_may_wait_twice(sandbox: MakeCaller) -> None:
    call = sandbox()
    first, second = await call.submit("key-1", [1]), await call.submit("key-1", [1])
    assert first != second
    assert [record.state for record in call.platform.requests()] == ["AdminTask", "AdminTask"]


KEY = "cb1.gold.0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("as_sent", KEY),
        ("upper", KEY.upper()),
        ("prefixed", f"req-{KEY}"),
        ("dashes", KEY.replace(".", "-")),
        ("cut", "cb1.gold.0f1e2d3c4b5a69788796"),
        ("headless", "69788796a5b4c3d2e1f0"),
        ("hashed", hashlib.md5(KEY.encode(), usedforsecurity=False).hexdigest()),
    ],
)
async def test_a_key_may_be_echoed_altered(sandbox: MakeCaller, kind: str, shown: str) -> None:
    call = sandbox(echoed_key=kind)
    created = (await call.post(submission(KEY, [900001]))).json()["data"]
    listed = (await call.page()).json()["data"][0]
    single = (await call.read(created["requestId"])).json()["data"]
    for row in (created, listed, single):
        echoed = row["details"][TASK]["body"]
        assert echoed["customers"] == [900001]
        assert echoed["requestId"] == shown
    assert call.platform.requests()[0].request_key == KEY


async def test_a_request_may_be_approved_by_itself_some_time_after_its_reply(sandbox: MakeCaller) -> None:
    call = sandbox(auto_approve_after_s=5)
    created = (await call.post(submission(KEY, [900001]))).json()["data"]
    request_id = created["requestId"]
    assert created["state"] == (await call.read(request_id)).json()["data"]["state"] == "AdminTask"
    call.clock.now += 5
    found = (await call.read(request_id)).json()["data"]
    assert (found["state"], "AdminTask_Output" in found["details"]) == ("approved", False)
    assert (await call.page()).json()["data"][0]["state"] == "approved"
