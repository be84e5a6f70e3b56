from __future__ import annotations

import pytest

from sandbox.badges import DIRECT, EXPIRED, GOLD_CIRCLE, INACTIVE, UPCOMING
from sandbox.payloads import TASK
from sandbox.settings import MAKER, Till
from tests.sandbox.calling import MakeCaller, basic, code_of, submission

ECHO = {TASK, "ValidateMakerAccess_Output", "ValidatePayload_Output"}
DECIDED = {"ValidateCheckerAccess_Output", "AdminTask-Payload", "AdminTask_Output"}
WRAPPED_HEADERS = {
    "Date",
    "Content-Type",
    "Transfer-Encoding",
    "Connection",
    "X-CAP-REQUEST-ID",
    "X-Frame-Options",
}


async def test_approved_reply_is_the_final_state_with_the_results(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [900001, 900002])
    call.clock.now += 90
    reply = await call.decide(request_id)
    data = reply.json()["data"]
    assert reply.status_code == 200
    assert (data["state"], data["requestId"]) == ("approved", request_id)
    assert (data["startTime"], data["endTime"]) == ("2026-09-21T19:43:20", "2026-09-21T19:44:50")
    details = data["details"]
    assert set(details) == ECHO | DECIDED | {"IntouchAPITask_Output"}
    assert details["AdminTask-Payload"] == {"actionDecision": "approved", "actionMessage": "Fine."}
    assert details["AdminTask_Output"] == "approved"
    output = details["IntouchAPITask_Output"]
    assert list(output) == ["status", "headers", "body"]
    assert type(output["status"]) is int
    assert output["status"] == 200
    assert set(output["headers"]) == WRAPPED_HEADERS
    assert all(isinstance(values, list) for values in output["headers"].values())
    body = output["body"]
    assert (body["errors"], body["warnings"]) == ([], [])
    assert body["data"]["badgeMetaId"] == GOLD_CIRCLE.badge_id
    assert [item["customerId"] for item in body["data"]["issuedBadges"]] == [900001, 900002]
    for item in body["data"]["issuedBadges"]:
        assert set(item) == {"customerId", "issuedId", "status", "expiresOn", "expiresOnISO"}
        assert len(item["issuedId"]) == 24
        assert item["status"] == "ACTIVE"
        assert isinstance(item["expiresOn"], float)
        assert item["expiresOnISO"].endswith("+05:30")
    assert (await call.read(request_id)).json()["data"] == data
    issued = call.platform.enrolments(GOLD_CIRCLE.badge_id)
    assert {customer: each[0].issue_id for customer, each in issued.items()} == {
        item["customerId"]: item["issuedId"] for item in body["data"]["issuedBadges"]
    }


async def test_rejected_reply_has_the_message_and_no_results(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [900001])
    data = (await call.decide(request_id, "rejected", "Budget is used up.")).json()["data"]
    assert data["state"] == "rejected"
    assert data["endTime"] is not None
    assert set(data["details"]) == ECHO | DECIDED
    assert data["details"]["AdminTask_Output"] == "rejected"
    assert data["details"]["AdminTask-Payload"]["actionMessage"] == "Budget is used up."
    assert call.platform.enrolments(GOLD_CIRCLE.badge_id) == {}


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ({"triggeredBy": ...}, 803),
        ({"triggeredBy": {"referenceId": "1"}}, 716),
        ({"triggeredBy": {"ownerType": "LOYALTY", "referenceId": "1"}}, 400),
        ({"requestId": ...}, 804),
        ({"badgeMetaId": "ffffffffffffffffffffffff"}, 1054),
        ({"badgeMetaId": ...}, 1054),
        ({"badgeMetaId": DIRECT.badge_id}, 801),
        ({"badgeMetaId": INACTIVE.badge_id}, 1039),
        ({"badgeMetaId": EXPIRED.badge_id}, 1039),
        ({"badgeMetaId": UPCOMING.badge_id}, 1039),
        ({"issueEventDateISO": "2025-12-31T23:59:59Z"}, 816),
        ({"issueEventDate": 1_790_000_000_000}, 816),
        ({"issueEventDateISO": "yesterday"}, 400),
        ({"customers": []}, 400),
        ({"customers": ["1"]}, 400),
        ({"customers": [1.5]}, 400),
    ],
    ids=str,
)
async def test_a_bulk_call_that_is_wrong_as_a_whole_ends_failed(
    sandbox: MakeCaller, inner: dict[str, object], code: int
) -> None:
    call = sandbox()
    given = {"customers": [900001], **inner}
    request_id = await call.submit("key-1", given.pop("customers"), **given)
    data = (await call.decide(request_id)).json()["data"]
    assert data["state"] == "failed"
    assert data["details"]["AdminTask_Output"] == "approved"
    output = data["details"]["IntouchAPITask_Output"]
    assert output["status"] == 400
    assert list(output["body"]) == ["data", "errors", "warnings"]
    assert output["body"]["data"] is None
    assert [error["code"] for error in output["body"]["errors"]] == [code]
    assert call.platform.enrolments(GOLD_CIRCLE.badge_id) == {}


async def test_a_wrong_owner_type_names_the_field_and_what_is_allowed(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1], triggeredBy={"ownerType": "LOYALTY", "referenceId": "1"})
    body = (await call.decide(request_id)).json()["data"]["details"]["IntouchAPITask_Output"]["body"]
    message = body["errors"][0]["message"]
    assert "ownerType" in message
    assert "Loyalty_Promotion" in message


async def test_the_event_date_in_seconds_and_the_iso_date_that_wins(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit(
        "key-1", [1], issueEventDate=1_600_000_000, issueEventDateISO="2026-02-01T00:00:00+05:30"
    )
    assert (await call.decide(request_id)).json()["data"]["state"] == "approved"


async def test_809_when_the_inner_id_was_executed_before(sandbox: MakeCaller) -> None:
    call = sandbox()
    first, second = await call.submit("key-1", [1]), await call.submit("key-1", [1])
    assert (await call.decide(first)).json()["data"]["state"] == "approved"
    data = (await call.decide(second)).json()["data"]
    assert data["state"] == "failed"
    output = data["details"]["IntouchAPITask_Output"]
    assert (output["status"], output["body"]["errors"][0]["code"]) == (400, 809)
    assert len(call.platform.enrolments(GOLD_CIRCLE.badge_id)[1]) == 1


@pytest.mark.parametrize(("reserves", "state"), [(False, "approved"), (True, "failed")])
async def test_whether_a_failed_call_uses_its_key_up_is_a_switch(
    sandbox: MakeCaller, reserves: bool, state: str
) -> None:
    call = sandbox(refused_call_reserves_key=reserves)
    await call.decide(await call.submit("key-1", [1], badgeMetaId=DIRECT.badge_id))
    data = (await call.decide(await call.submit("key-1", [1]))).json()["data"]
    assert data["state"] == state


async def test_already_enrolled_customers_get_1040_with_an_id_that_is_on_no_book(sandbox: MakeCaller) -> None:
    call = sandbox()
    await call.decide(await call.submit("key-1", [1, 2]))
    data = (await call.decide(await call.submit("key-2", [2, 3, 3]))).json()["data"]
    assert data["state"] == "approved"
    body = data["details"]["IntouchAPITask_Output"]["body"]
    assert body["errors"] == []
    two, three, again = body["data"]["issuedBadges"]
    assert two["error"] == {
        "code": 1040,
        "message": "An active issue for the badge already exists.",
        "reference": None,
    }
    assert (two["status"], len(two["issuedId"])) == ("EXPIRED", 24)
    assert "error" not in three
    assert again["error"]["code"] == 1040
    books = call.platform.enrolments(GOLD_CIRCLE.badge_id)
    assert {customer: len(each) for customer, each in books.items()} == {1: 1, 2: 1, 3: 1}
    assert two["issuedId"] not in {issual.issue_id for each in books.values() for issual in each}


@pytest.mark.parametrize(("policy", "state"), [("approved", "approved"), ("failed", "failed")])
async def test_unknown_customers_are_refused_one_by_one(sandbox: MakeCaller, policy: str, state: str) -> None:
    call = sandbox(unknown_customers=frozenset({7}), unknown_every=5, partial_policy=policy)
    data = (await call.decide(await call.submit("key-1", [6, 7, 8, 10, -1]))).json()["data"]
    assert data["state"] == state
    items = data["details"]["IntouchAPITask_Output"]["body"]["data"]["issuedBadges"]
    assert [item.get("error", {}).get("code") for item in items] == [None, 1026, None, 1026, 1026]
    assert set(call.platform.enrolments(GOLD_CIRCLE.badge_id)) == {6, 8}


async def test_only_a_checker_may_decide(sandbox: MakeCaller) -> None:
    call = sandbox()
    call.checker = call.maker
    reply = await call.decide(await call.submit("key-1", [1]))
    assert (reply.status_code, code_of(reply)) == (403, 2001)
    assert call.platform.requests()[0].state == "AdminTask"


@pytest.mark.parametrize(("four_eyes", "state"), [(False, "approved"), (True, "AdminTask")])
async def test_four_eyes_is_a_switch(sandbox: MakeCaller, four_eyes: bool, state: str) -> None:
    both = Till(username="both", password="both", user_id=5, user_name="both", may_make=True, may_check=True)
    call = sandbox(tills=(both, MAKER), four_eyes=four_eyes)
    call.maker["Authorization"] = call.checker["Authorization"] = basic(both)
    reply = await call.decide(await call.submit("key-1", [1]))
    assert reply.status_code == (403 if four_eyes else 200)
    assert call.platform.requests()[0].state == state


async def test_a_second_decision_is_2002(sandbox: MakeCaller) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1])
    await call.decide(request_id, "rejected")
    reply = await call.decide(request_id)
    assert (reply.status_code, code_of(reply)) == (400, 2002)
    assert call.platform.requests()[0].state == "rejected"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"requestId": "23e06c3e-a5c3-11ee-9a63-9ab214749657"}, 2007),
        ({"requestId": ...}, 2008),
        ({"actionName": "adminTask"}, 2007),
        ({"actionName": ...}, 2008),
        ({"payload": ...}, 2008),
        ({"payload": {"AdminTask-Payload": {"actionDecision": "yes", "actionMessage": ""}}}, 2008),
        ({"payload": {"AdminTask-Payload": {"actionDecision": "approved"}}}, 2008),
    ],
    ids=str,
)
async def test_a_decision_that_is_wrong_is_refused(sandbox: MakeCaller, changes: dict[str, object], code: int) -> None:
    call = sandbox()
    request_id = await call.submit("key-1", [1])
    body = {
        "requestId": request_id,
        "actionName": "AdminTask",
        "payload": {"AdminTask-Payload": {"actionDecision": "approved", "actionMessage": ""}},
        **changes,
    }
    reply = await call.client.put(
        "/api_gateway/v2/request-workflow/ISSUE-BADGE",
        json={name: value for name, value in body.items() if value is not ...},
        headers=call.checker,
    )
    assert (reply.status_code, code_of(reply)) == (400, code)
    assert call.platform.requests()[0].state == "AdminTask"


async def test_auto_approval_executes_at_once_and_leaves_no_human_traces(sandbox: MakeCaller) -> None:
    call = sandbox(auto_approve=True)
    data = (await call.post(submission("key-1", [1]))).json()["data"]
    assert data["state"] == "approved"
    assert data["endTime"] is not None
    assert set(data["details"]) == ECHO | {"IntouchAPITask_Output"}
    assert set(call.platform.enrolments(GOLD_CIRCLE.badge_id)) == {1}


@pytest.mark.parametrize("mended", ["hostname", "path", "method", "header"])
async def test_a_call_that_cannot_be_made_ends_failed_without_output(sandbox: MakeCaller, mended: str) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    task = body["payload"][TASK]
    if mended == "header":
        task["headers"]["X-CAP-API-AUTH-ORG-ID"] = 100458
    else:
        task[mended] = "nowhere"
    request_id = (await call.post(body)).json()["data"]["requestId"]
    data = (await call.decide(request_id)).json()["data"]
    assert data["state"] == "failed"
    assert set(data["details"]) == ECHO | DECIDED
    assert call.platform.requests()[0].execution is None


@pytest.mark.parametrize("credential", ["Basic c2FuZGJveC1tYWtlcjpzYW5kYm94LW1ha2Vy", ""])
async def test_the_inner_credential_is_used_when_the_call_is_executed(sandbox: MakeCaller, credential: str) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    body["payload"][TASK]["headers"]["Authorization"] = credential
    request_id = (await call.post(body)).json()["data"]["requestId"]
    data = (await call.decide(request_id)).json()["data"]
    assert data["state"] == "failed"
    assert data["details"]["IntouchAPITask_Output"]["status"] == 401
    assert call.platform.enrolments(GOLD_CIRCLE.badge_id) == {}


async def test_a_host_in_angle_brackets_is_reached(sandbox: MakeCaller) -> None:
    call = sandbox()
    body = submission("key-1", [1])
    body["payload"][TASK]["hostname"] = "<https://platform.example>"
    request_id = (await call.post(body)).json()["data"]["requestId"]
    assert (await call.decide(request_id)).json()["data"]["state"] == "approved"


async def test_output_can_be_left_out_and_its_status_be_a_float(sandbox: MakeCaller) -> None:
    call = sandbox(drop_output=True)
    request_id = await call.submit("key-1", [1])
    data = (await call.decide(request_id)).json()["data"]
    assert data["state"] == "approved"
    assert "IntouchAPITask_Output" not in data["details"]
    call.platform.switch(drop_output=False, float_status=True)
    reply = await call.read(request_id)
    assert '"status":200.0' in reply.text


async def test_the_list_alone_can_leave_the_output_out(sandbox: MakeCaller) -> None:
    call = sandbox(list_drops_output=True)
    request_id = await call.submit("key-1", [1])
    await call.decide(request_id)
    assert "IntouchAPITask_Output" not in (await call.page()).json()["data"][0]["details"]
    assert "IntouchAPITask_Output" in (await call.read(request_id)).json()["data"]["details"]


async def test_a_check_can_fail_and_the_request_waits_all_the_same(sandbox: MakeCaller) -> None:
    call = sandbox(fail_checks=True)
    request_id = await call.submit("key-1", [1])
    data = (await call.read(request_id)).json()["data"]
    assert (data["state"], data["details"]["ValidatePayload_Output"]) == ("AdminTask", False)


async def test_another_approval_node_comes_before_admin_task(sandbox: MakeCaller) -> None:
    call = sandbox(unknown_state="RegionTask")
    request_id = await call.submit("key-1", [1])
    assert (await call.read(request_id)).json()["data"]["state"] == "RegionTask"
    assert (await call.decide(request_id)).json()["errors"][0]["code"] == 2007
    data = (await call.decide(request_id, action="RegionTask")).json()["data"]
    assert (data["state"], data["details"]["RegionTask_Output"]) == ("AdminTask", "approved")
    assert "AdminTask_Output" not in data["details"]
    data = (await call.decide(request_id)).json()["data"]
    assert data["state"] == "approved"
    assert set(data["details"]) >= {"RegionTask_Output", "AdminTask_Output", "IntouchAPITask_Output"}


async def test_the_books_decide_by_key(sandbox: MakeCaller) -> None:
    call = sandbox()
    for key in ("key-1", "key-2", "key-2", "key-3"):
        await call.submit(key, [1])
    assert call.platform.reject("key-2", "No.") == 2
    assert call.platform.approve("key-1") == 1
    assert call.platform.approve_all() == 1
    assert [(each.request_key, each.state) for each in call.platform.requests()] == [
        ("key-1", "approved"),
        ("key-2", "rejected"),
        ("key-2", "rejected"),
        ("key-3", "approved"),
    ]
    first, _, _, last = call.platform.requests()
    assert first.execution is not None
    assert last.execution is not None
    assert [item.error_code for item in first.execution.items] == [None]
    assert [item.error_code for item in last.execution.items] == [1040]
