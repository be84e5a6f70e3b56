from __future__ import annotations

import httpx
import pytest

from sandbox.badges import DIRECT, EXPIRED, GOLD_CIRCLE, INACTIVE, MONTHLY_STREAK, NEW_ARRIVAL, UPCOMING, VIP
from tests.sandbox.calling import Caller, MakeCaller, code_of

BADGES = "/api_gateway/v1/badges"


async def _get(call: Caller, path: str, **parameters: str | int) -> httpx.Response:
    return await call.client.get(BADGES + path, params=parameters, headers=call.maker)


async def _enrolled(call: Caller, customer: int, badge_id: str = GOLD_CIRCLE.badge_id) -> httpx.Response:
    path = f"/management/{customer}/badge/{badge_id}"
    return await _get(call, path, includeStatistics="true")


@pytest.mark.parametrize(
    ("badge", "status", "active", "earn_type"),
    [
        (GOLD_CIRCLE, "LIVE", True, "ISSUE_EARN"),
        (MONTHLY_STREAK, "LIVE", True, "ISSUE_EARN"),
        (NEW_ARRIVAL, "LIVE", True, "ISSUE_EARN"),
        (VIP, "LIVE", True, "ISSUE_EARN"),
        (DIRECT, "LIVE", True, "EARN"),
        (INACTIVE, "LIVE", False, "ISSUE_EARN"),
        (EXPIRED, "EXPIRED", True, "ISSUE_EARN"),
        (UPCOMING, "UPCOMING", True, "ISSUE_EARN"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
async def test_the_catalogue_has_one_badge_of_each_kind(
    sandbox: MakeCaller, badge: object, status: str, active: bool, earn_type: str
) -> None:
    data = (await _get(sandbox(), f"/badgeMeta/{badge.badge_id}")).json()["data"]  # type: ignore[attr-defined]
    assert (data["status"], data["active"], data["earnType"]) == (status, active, earn_type)


async def test_a_badge_has_the_documented_fields(sandbox: MakeCaller) -> None:
    data = (await _get(sandbox(), f"/badgeMeta/{NEW_ARRIVAL.badge_id}")).json()["data"]
    assert {"id", "badgeNumericId", "orgId", "name", "description", "startOn", "startOnISO"} <= set(data)
    assert {"ownership", "customerConstraints", "badgeConstraints", "benefits", "tags", "images"} <= set(data)
    assert data["startOnISO"] == "2026-01-01T05:30:00+05:30"
    assert data["issuedBadgeExpiry"] == {"expiryType": "RELATIVE", "relativeExpirytype": "DAYS", "value": 30}


async def test_an_unknown_badge_is_404(sandbox: MakeCaller) -> None:
    reply = await _get(sandbox(), "/badgeMeta/ffffffffffffffffffffffff")
    assert (reply.status_code, code_of(reply)) == (404, 404)


async def test_the_list_filters_and_pages_in_its_own_way(sandbox: MakeCaller) -> None:
    call = sandbox()
    data = (await _get(call, "/badgeMeta", limit=2, page=1)).json()["data"]
    assert [badge["name"] for badge in data["metaBasicDetails"]] == ["New Arrival", "VIP 2026"]
    assert data["pagination"] == {"page": 1, "size": 2, "total": 8, "totalPages": 4}
    for parameters, names in (
        ({"status": "EXPIRED,UPCOMING"}, ["Festive 2025", "Jubilee 2099"]),
        ({"earnType": "EARN"}, ["Birthday"]),
        ({"action": "DE_ACTIVATED"}, ["Summer Pause"]),
        ({"name": "gold"}, ["Gold Circle 2026"]),
    ):
        data = (await _get(call, "/badgeMeta", **parameters)).json()["data"]
        assert [badge["name"] for badge in data["metaBasicDetails"]] == names


async def test_an_enrolment_can_be_verified(sandbox: MakeCaller) -> None:
    call = sandbox()
    data = (await call.decide(await call.submit("key-1", [7]))).json()["data"]
    body = data["details"]["IntouchAPITask_Output"]["body"]
    reply = (await _enrolled(call, 7)).json()["data"]
    assert reply["issuedStatus"] == "ACTIVE"
    assert reply["issualDetails"]["issuedCount"] == 1
    (issual,) = reply["issualDetails"]["issuals"]
    assert issual["issueId"] == body["data"]["issuedBadges"][0]["issuedId"]
    assert set(issual) == {
        "issueId",
        "issuedOn",
        "issuedStatus",
        "issueExpiresOn",
        "ownerType",
        "ownerReferenceId",
        "issueEventDate",
        "revokedOn",
    }
    assert (issual["ownerType"], issual["ownerReferenceId"]) == ("Goodwill_Module", "134")
    nobody = (await _enrolled(call, 8)).json()["data"]
    assert (nobody["issuedStatus"], nobody["issualDetails"]["issuals"]) == (None, [])
    plain = await _get(call, f"/management/7/badge/{GOLD_CIRCLE.badge_id}")
    assert "issualDetails" not in plain.json()["data"]


async def test_definitions_for_a_customer_prove_nothing(sandbox: MakeCaller) -> None:
    call = sandbox(unknown_every=9)
    await call.decide(await call.submit("key-1", [7]))
    for path in ("/customer/7", "/management/7"):
        reply = (await _get(call, path, size=3)).json()
        assert [badge["issueStatus"] for badge in reply["data"]] == [None, None, None]
        assert reply["pagination"] == {"page": 0, "size": 3, "total": 8, "totalPages": 3}
    reply = await _get(call, "/customer/18")
    assert (reply.status_code, code_of(reply)) == (404, 1026)


async def test_an_enrolment_that_ran_out_leaves_room_for_another(sandbox: MakeCaller) -> None:
    call = sandbox()
    badge = MONTHLY_STREAK.badge_id
    for key, days, code in (("key-1", 0, None), ("key-2", 6, 1040), ("key-3", 1, None)):
        call.clock.now += days * 86_400
        data = (await call.decide(await call.submit(key, [7], badgeMetaId=badge))).json()["data"]
        (item,) = data["details"]["IntouchAPITask_Output"]["body"]["data"]["issuedBadges"]
        assert item.get("error", {}).get("code") == code
    issuals = (await _enrolled(call, 7, badge)).json()["data"]["issualDetails"]["issuals"]
    assert [issual["issuedStatus"] for issual in issuals] == ["EXPIRED", "ACTIVE"]


async def _revoke(call: Caller, **body: object) -> httpx.Response:
    body = {"badgeMetaId": GOLD_CIRCLE.badge_id, **body}
    return await call.client.post(BADGES + "/badgeMeta/customer/revokeIssue", json=body, headers=call.maker)


async def test_an_enrolment_can_be_revoked_and_made_again(sandbox: MakeCaller) -> None:
    call = sandbox()
    await call.decide(await call.submit("key-1", [7, 8]))
    issue_id = call.platform.enrolments(GOLD_CIRCLE.badge_id)[8][0].issue_id
    reply = (await _revoke(call, customers=[7, 9])).json()["data"]
    assert [each.get("status") for each in reply["revokedIssuedBadges"]] == ["REVOKED", None]
    assert reply["revokedIssuedBadges"][1]["error"]["code"] == 404
    await _revoke(call, revokeIssuals=[{"customerId": 8, "issueId": issue_id}])
    books = call.platform.enrolments(GOLD_CIRCLE.badge_id)
    assert {customer: issuals[0].status for customer, issuals in books.items()} == {
        7: "REVOKED",
        8: "REVOKED",
    }
    data = (await call.decide(await call.submit("key-2", [7]))).json()["data"]
    assert "error" not in data["details"]["IntouchAPITask_Output"]["body"]["data"]["issuedBadges"][0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 1051),
        ({"customers": [1], "revokeIssuals": [{"customerId": 1, "issueId": "a"}]}, 1051),
        ({"customers": list(range(1, 22))}, 1060),
        ({"customers": ["1"]}, 400),
        ({"customers": [1], "badgeMetaId": "x"}, 1054),
    ],
    ids=["neither", "both", "21", "text", "badge"],
)
async def test_wrong_revocations_are_refused(sandbox: MakeCaller, body: dict[str, object], code: int) -> None:
    reply = await _revoke(sandbox(), **body)
    assert (reply.status_code, code_of(reply)) == (400, code)


async def test_the_bulk_call_can_be_made_without_the_workflow(sandbox: MakeCaller) -> None:
    call = sandbox()
    body = {
        "badgeMetaId": GOLD_CIRCLE.badge_id,
        "customers": [7],
        "requestId": "direct-1",
        "triggeredBy": {"ownerType": "Loyalty", "referenceId": "1"},
    }
    path = BADGES + "/badgeMeta/customer/issueBulk"
    first = await call.client.post(path, json=body, headers=call.maker)
    second = await call.client.post(path, json=body, headers=call.maker)
    assert (first.status_code, second.status_code, code_of(second)) == (200, 400, 809)
    assert (await call.client.post(path, json=body)).status_code == 401


async def test_a_badge_can_be_switched_off(sandbox: MakeCaller) -> None:
    call = sandbox()
    path = f"{BADGES}/badgeMeta/{GOLD_CIRCLE.badge_id}"
    reply = await call.client.put(path + "/deactivate", headers=call.maker)
    assert reply.json()["data"]["active"] is False
    data = (await call.decide(await call.submit("key-1", [1]))).json()["data"]
    assert data["state"] == "failed"
    await call.client.put(path + "/activate", headers=call.maker)
    data = (await call.decide(await call.submit("key-2", [1]))).json()["data"]
    assert data["state"] == "approved"


@pytest.mark.parametrize(
    ("name", "value", "entity", "code"),
    [
        ("mobile", "919000000011", 919000000011, None),
        ("email", "customer12@shop.example", 12, None),
        ("externalId", "EXT-13", 13, None),
        ("email", "nobody@shop.example", None, 1026),
        ("externalId", "EXT-14", None, 1026),
        ("shoeSize", "42", None, 1028),
    ],
)
async def test_customers_are_looked_up(
    sandbox: MakeCaller, name: str, value: str, entity: int | None, code: int | None
) -> None:
    call = sandbox(unknown_customers=frozenset({14}))
    parameters = {"source": "INSTORE", "identifierName": name, "identifierValue": value}
    reply = await call.client.get("/v2/customers/lookup", params=parameters, headers=call.maker)
    if code is None:
        assert reply.json() == {"entity": entity, "warnings": []}
    else:
        assert code_of(reply) == code
