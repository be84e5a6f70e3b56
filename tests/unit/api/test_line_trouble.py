"""A line that says in some undocumented place that something went wrong proves no enrolment, and refuses none."""

from __future__ import annotations

import pytest

from capillary.api.badges import parse_execution

GOOD = {"customerId": 900001, "issuedId": "b" * 24, "status": "ACTIVE", "error": None}

WRONG: list[dict[str, object]] = [
    {"success": False},
    {"success": "false"},
    {"isSuccess": "False"},
    {"is_successful": 0},
    {"succeeded": False},
    {"ok": False},
    {"issued": False},
    {"enrolled": "no"},
    {"isActive": False},
    {"valid": False},
    {"errorCode": 1026},
    {"errorCode": "1026"},
    {"error_code": 1026},
    {"code": 1026, "message": "no"},
    {"code": -1},
    {"code": 1},
    {"code": 199},
    {"code": 300},
    {"errorCode": 5},
    {"code": "CUSTOMER_NOT_FOUND"},
    {"statusCode": 400},
    {"httpStatus": 404.0},
    {"errorMessage": "not found"},
    {"Error": {"code": 1026}},
    {"ERRORS": [{"code": 1026}]},
    {"failed": True},
    {"failureReason": "not found"},
    {"fault": {"code": "x"}},
    {"rejected": True},
    {"exception": "java.lang.NullPointerException"},
    {"revokedOn": "2026-03-01"},
    {"cancelledAt": 1},
    {"skipped": True},
    {"warnings": [{"code": 1026}]},
    {"warnings": {"code": "1039"}},
    {"warning": 816},
]

HARMLESS: list[dict[str, object]] = [
    {"expiresOn": 1.7e9, "expiresOnISO": "2026-03-01T00:00:00Z"},
    {"success": True},
    {"isActive": "true"},
    {"success": None},
    {"issued": 1},
    {"errorCode": None},
    {"errorCode": 0},
    {"errorCode": ""},
    {"code": 200},
    {"code": 299},
    {"code": "200", "message": "SUCCESS"},
    {"code": "OK"},
    {"statusCode": 201.0},
    {"errorMessage": ""},
    {"Error": None},
    {"ERRORS": []},
    {"failed": False},
    {"failureReason": None},
    {"revokedOn": None},
    {"skipped": "false"},
    {"warnings": []},
    {"warnings": None},
    {"warnings": [{"code": 900, "message": "claimed already"}]},
    {"badgeCode": "GOLD", "currencyCode": "INR", "tillCode": 75001},
    {"isDefault": True, "cancellable": True, "revocable": True, "validTill": "2027-01-01"},
    {"message": "enrolled", "badgeMetaId": "a" * 24, "requestId": "cb1.x", "ownerType": "Loyalty"},
]


def line(**more: object) -> object:
    execution = parse_execution({"status": 200, "body": {"data": {"issuedBadges": [{**GOOD, **more}]}}})
    assert execution.items is not None
    return execution.items[0]


@pytest.mark.parametrize("more", WRONG, ids=str)
def test_a_sign_of_an_error_in_another_place_makes_the_line_one_that_failed_without_a_code(
    more: dict[str, object],
) -> None:
    item = line(**more)
    assert (item.failed, item.error_code) == (True, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("more", HARMLESS, ids=str)
def test_what_says_that_all_is_well_or_nothing_leaves_the_line_as_it_is(more: dict[str, object]) -> None:
    assert line(**more) == line()
