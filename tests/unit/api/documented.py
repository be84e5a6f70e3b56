"""The documented replies (page names of the public docs), with made-up ids."""

from __future__ import annotations

from typing import Any

PLATFORM_ID = "4355e800-e71c-11f1-8f3e-325096b39f47"  # version 1, 2026-11-23 09:00 UTC
KEY = "cb1.vip.0f1e2d3c4b5a69788796a5b4c3d2e1f0"
ECHOED = "Basic Y2FuYXJ5OmVjaG9lZA=="
BADGE = "a" * 24


def inner(customers: object = (900001, 900002), key: object = KEY) -> dict[str, Any]:
    return {
        "hostname": "https://platform.example",
        "path": "/api_gateway/v1/badges/badgeMeta/customer/issueBulk",
        "method": "POST",
        "pathParams": {},
        "body": {
            "triggeredBy": {"ownerType": "Loyalty", "referenceId": "134"},
            "customers": list(customers) if isinstance(customers, tuple) else customers,
            "requestId": key,
            "badgeMetaId": BADGE,
        },
        "headers": {"Authorization": ECHOED, "content-type": "application/json"},
    }


def row(state: str = "AdminTask", **details: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON as it comes
    """One request as `reference/get-request-info` shows it."""
    return {
        "requestId": PLATFORM_ID,
        "userId": 7001,
        "userName": "maker@brand.example",
        "requestType": "issue-badge",
        "state": state,
        "startTime": "2026-11-23T14:30:00",
        "endTime": None,
        "details": {
            "IntouchAPITask-Payload": inner(),
            "ValidateMakerAccess_Output": True,
            "ValidatePayload_Output": True,
        }
        | details,
    }


def decided(state: str, output: object, decision: str = "approved", message: str = "fine") -> dict[str, Any]:
    """A request that a checker has decided (`reference/approve-or-reject-a-request`)."""
    return row(
        state,
        **{
            "ValidateCheckerAccess_Output": True,
            "AdminTask-Payload": {"actionDecision": decision, "actionMessage": message},
            "AdminTask_Output": decision,
            **({} if output is None else {"IntouchAPITask_Output": output}),
        },
    )


def bulk(*items: object, status: object = 200) -> dict[str, Any]:
    """The stored answer of the bulk call (`reference/issue-badge-to-multiple-customers`)."""
    return {
        "status": status,
        "headers": {"Content-Type": ["application/json"], "X-CAP-REQUEST-ID": ["trace-inner"]},
        "body": {"data": {"badgeMetaId": BADGE, "issuedBadges": list(items)}, "errors": [], "warnings": []},
    }


def item(customer: object = 900001, issued: object = "b" * 24, **more: object) -> dict[str, object]:
    return {"customerId": customer, "issuedId": issued, **more}


def page(*rows: object, number: object = 0, pages: object = 1, total: object | None = None) -> dict[str, Any]:
    """The list's reply (`reference/get-all-requests`)."""
    return {
        "data": list(rows),
        "pagination": {
            "totalElements": len(rows) if total is None else total,
            "totalPages": pages,
            "numberOfElements": len(rows),
            "number": number,
        },
    }
