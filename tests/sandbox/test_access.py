from __future__ import annotations

import base64
import json
from dataclasses import replace

import httpx
import pytest

from sandbox.faults import Route
from sandbox.settings import CHECKER, MAKER
from tests.sandbox.calling import REQUESTS, Caller, MakeCaller, basic, code_of, submission

TOKEN = "/v3/oauth/token/generate"


async def _oauth(call: Caller, **changes: str) -> httpx.Response:
    return await call.client.post(TOKEN, json={"key": "sandbox-key", "secret": "sandbox-secret", **changes})


async def test_a_token_has_the_documented_shape_and_opens_the_workflow(sandbox: MakeCaller) -> None:
    call = sandbox()
    reply = await _oauth(call)
    assert list(reply.json()) == ["data", "errors"]
    assert list(reply.json()["data"]) == ["accessToken", "ttlSeconds"]
    assert reply.json()["data"]["ttlSeconds"] == 300
    token = reply.json()["data"]["accessToken"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 300
    assert {"iss", "client_id", "org_id", "token_use"} <= set(claims)
    del call.maker["Authorization"]
    call.maker["X-CAP-API-OAUTH-TOKEN"] = token
    data = (await call.post(submission("key-1", [1]))).json()["data"]
    assert (data["state"], data["userId"]) == ("AdminTask", MAKER.user_id)


async def test_each_call_yields_a_new_token_and_old_ones_live_on(sandbox: MakeCaller) -> None:
    call = sandbox()
    tokens = [(await _oauth(call)).json()["data"]["accessToken"] for _ in range(2)]
    assert tokens[0] != tokens[1]
    for token in tokens:
        reply = await call.client.get(REQUESTS, headers={"X-CAP-API-OAUTH-TOKEN": token})
        assert reply.status_code == 200


async def test_a_token_expires(sandbox: MakeCaller) -> None:
    call = sandbox(token_ttl_s=60)
    headers = {"X-CAP-API-OAUTH-TOKEN": (await _oauth(call)).json()["data"]["accessToken"]}
    call.clock.now += 59
    assert (await call.client.get(REQUESTS, headers=headers)).status_code == 200
    call.clock.now += 1
    reply = await call.client.get(REQUESTS, headers=headers)
    assert (reply.status_code, code_of(reply)) == (401, 401)


@pytest.mark.parametrize("changes", [{"key": "nobody"}, {"secret": "guess"}, {"secret": ""}], ids=str)
async def test_a_wrong_key_or_secret_is_401(sandbox: MakeCaller, changes: dict[str, str]) -> None:
    reply = await _oauth(sandbox(), **changes)
    assert reply.status_code == 401
    assert reply.json()["data"] is None


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", "{}.{}.{}"])
async def test_a_forged_token_is_401(sandbox: MakeCaller, token: str) -> None:
    reply = await sandbox().client.get(REQUESTS, headers={"X-CAP-API-OAUTH-TOKEN": token})
    assert reply.status_code == 401


async def test_a_ui_token_is_no_api_token(sandbox: MakeCaller) -> None:
    call = sandbox()
    token = call.platform.access.ui_token(MAKER.username)
    assert (await call.client.get(REQUESTS, headers={"X-CAP-API-OAUTH-TOKEN": token})).status_code == 401


async def test_the_user_of_a_ui_token_is_the_maker(sandbox: MakeCaller) -> None:
    call = sandbox()
    call.checker["X-CAP-UI-AUTH-TOKEN"] = call.platform.access.ui_token(MAKER.username)
    reply = await call.client.post(
        "/api_gateway/v2/request-workflow/ISSUE-BADGE", json=submission("key-1", [1]), headers=call.checker
    )
    assert reply.json()["data"]["userId"] == MAKER.user_id


async def test_a_wrong_ui_token_is_2013_and_an_empty_one_is_none(sandbox: MakeCaller) -> None:
    call = sandbox()
    reply = await call.post(submission("key-1", [1]), **{"X-CAP-UI-AUTH-TOKEN": "x.y.z"})
    assert (reply.status_code, code_of(reply)) == (401, 2013)
    reply = await call.post(submission("key-1", [1]), **{"X-CAP-UI-AUTH-TOKEN": ""})
    assert reply.status_code == 200


async def test_a_ui_token_can_be_demanded_and_lasts_a_day(sandbox: MakeCaller) -> None:
    call = sandbox(require_ui_token=True)
    assert code_of(await call.post(submission("key-1", [1]))) == 2013
    token = {"X-CAP-UI-AUTH-TOKEN": call.platform.access.ui_token(MAKER.username)}
    assert (await call.post(submission("key-1", [1]), **token)).status_code == 200
    call.clock.now += 24 * 3600
    assert code_of(await call.post(submission("key-1", [1]), **token)) == 2013


async def test_an_external_service_is_not_checked_where_the_switch_says_so(sandbox: MakeCaller) -> None:
    call = sandbox(external_service_bypass=True)
    assert (await call.post(submission("key-1", [1]))).json()["data"]["state"] == "AdminTask"
    token = (await _oauth(call)).json()["data"]["accessToken"]
    headers = {"X-CAP-API-OAUTH-TOKEN": token, "X-CAP-API-AUTH-ORG-ID": "100458"}
    data = (await call.post(submission("key-2", [1]), **headers)).json()["data"]
    assert data["state"] == "approved"
    assert "AdminTask_Output" not in data["details"]
    with_user = {**headers, "X-CAP-UI-AUTH-TOKEN": call.platform.access.ui_token(MAKER.username)}
    data = (await call.post(submission("key-3", [1]), **with_user)).json()["data"]
    assert data["state"] == "AdminTask"


async def test_calls_over_the_limit_get_429_in_any_60_seconds(sandbox: MakeCaller) -> None:
    call = sandbox(calls_per_minute=3)
    for _ in range(3):
        assert (await call.page()).status_code == 200
        call.clock.now += 10
    reply = await call.page()
    assert (reply.status_code, code_of(reply)) == (429, 429)
    assert reply.headers["Retry-After"] == "30"
    assert (await call.client.get(REQUESTS, headers=call.checker)).status_code == 200
    call.clock.now += 30
    assert (await call.page()).status_code == 200
    assert (await call.page()).status_code == 429
    assert call.platform.calls[Route.LIST] == 7


async def test_a_429_without_retry_after(sandbox: MakeCaller) -> None:
    call = sandbox(calls_per_minute=1, retry_after=False)
    await call.page()
    reply = await call.page()
    assert reply.status_code == 429
    assert "Retry-After" not in reply.headers


async def test_a_changed_password_closes_the_door(sandbox: MakeCaller) -> None:
    call = sandbox(tills=(replace(MAKER, password="other"), CHECKER))
    assert (await call.client.get(REQUESTS, headers={"Authorization": basic(MAKER)})).status_code == 401
