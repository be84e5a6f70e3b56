from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from capillary.api.badges import BulkItem, parse_badge, parse_execution
from capillary.api.codes import CODE_MEANINGS, DECISIVE_CODES
from capillary.api.errors import ReplyUnreadable
from tests.unit.api.documented import BADGE, bulk, item
from tests.unit.api.scripted import errors

ISSUED = "b" * 24


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (item(), BulkItem(900001, ISSUED, None, None, False)),
        (item(status="ACTIVE"), BulkItem(900001, ISSUED, "ACTIVE", None, False)),
        (item(status="active", error=None), BulkItem(900001, ISSUED, "ACTIVE", None, False)),
        (item(status=7), BulkItem(900001, ISSUED, "7", None, False)),
        (item(status=["ACTIVE"]), BulkItem(900001, ISSUED, None, None, False)),
        (item(issued=None), BulkItem(900001, None, None, None, False)),
        (item(issued=" "), BulkItem(900001, None, None, None, False)),
        (item(issued=77), BulkItem(900001, "77", None, None, False)),
        (
            item(status="EXPIRED", error={"code": 1040, "message": "x", "reference": None}),
            BulkItem(900001, ISSUED, "EXPIRED", 1040, True),
        ),
        (item(error={"code": "1040"}), BulkItem(900001, ISSUED, None, 1040, True)),
        (item(error={"code": 1040.0}), BulkItem(900001, ISSUED, None, 1040, True)),
        (item(error={"message": "x"}), BulkItem(900001, ISSUED, None, None, True)),
        (item(error={"code": "E-7"}), BulkItem(900001, ISSUED, None, None, True)),
        (item(error={}), BulkItem(900001, ISSUED, None, None, True)),
        (item(error=[{"code": 1026}]), BulkItem(900001, ISSUED, None, 1026, True)),
        (item(error="no"), BulkItem(900001, ISSUED, None, None, True)),
        (item(error=False), BulkItem(900001, ISSUED, None, None, True)),
        (item(900001.0), BulkItem(900001, ISSUED, None, None, False)),
        (item("900001"), BulkItem(900001, ISSUED, None, None, False)),
        (item(9007199254740993), BulkItem(9007199254740993, ISSUED, None, None, False)),
        (item("9007199254740993"), BulkItem(9007199254740993, ISSUED, None, None, False)),
        (item(9007199254740992.0), None),
        (item(900001.5), None),
        (item(None), None),
        (item(True), None),
        (item("x"), None),
        ("x", None),
        (None, None),
    ],
)
def test_a_line_of_the_bulk_call(line: object, read: BulkItem | None) -> None:
    execution = parse_execution(bulk(line))
    assert execution.items == (() if read is None else (read,))
    assert execution.unreadable_items == (read is None)


@pytest.mark.parametrize(("status", "read"), [(200, 200), (200.0, 200), ("201", 201), ("OK", None), (None, None)])
def test_the_inner_status_in_any_type(status: object, read: int | None) -> None:
    assert parse_execution(bulk(item(), status=status)).http_status == read


@pytest.mark.parametrize(
    ("output", "http_status", "codes"),
    [
        ({"status": 400, "body": errors(809)}, 400, (809,)),
        ({"status": 400.0, "body": errors(816, 1039)}, 400, (816, 1039)),
        ({"status": 409, "body": errors(811)}, 409, (811,)),
        ({"status": 400, "body": '{"data": null, "errors": [{"code": 801}]}'}, 400, (801,)),
        ({"status": 200, "body": {"data": None, "errors": None, "warnings": None}}, 200, ()),
        ({"status": 200, "body": {}}, 200, ()),
        ({"status": 200, "body": {"data": {"issuedBadges": None}, "errors": []}}, 200, ()),
        ({"status": 400, "body": {"errors": [{"message": "no code"}, None, 7]}}, 400, ()),
        ({"status": 200, "body": {"data": None, "warnings": [{"code": 900}]}}, 200, ()),
        ({"status": 504, "body": "<html>Gateway Time-out</html>"}, 504, ()),
        ({"status": 200, "body": '{"data": {"issuedBadg'}, 200, ()),
        ({"status": 500, "body": None}, 500, ()),
        ({"status": 500}, 500, ()),
        ({"status": 200, "body": [item()]}, 200, ()),
        ({}, None, ()),
        ("x", None, ()),
        ([], None, ()),
    ],
)
def test_an_execution_without_lines(output: object, http_status: int | None, codes: tuple[int, ...]) -> None:
    execution = parse_execution(output)
    assert execution.items is None
    assert (execution.http_status, execution.error_codes) == (http_status, codes)


def test_lines_and_top_level_errors_are_both_kept() -> None:
    output = {"status": 200, "body": {"data": {"issuedBadges": [item()]}, "errors": [{"code": 1060}]}}
    execution = parse_execution(output)
    assert execution.error_codes == (1060,)
    assert execution.items is not None
    assert len(execution.items) == 1


def test_lines_in_a_body_that_is_a_string_and_without_data() -> None:
    assert parse_execution({"status": 200, "body": '{"issuedBadges": []}'}).items == ()


def test_no_customer_in_a_repr() -> None:
    assert "900001" not in repr(parse_execution(bulk(item())))
    assert "900001" not in repr(BulkItem(900001, ISSUED, None, None, False))


def test_every_code_with_a_rule_has_a_meaning() -> None:
    assert set(CODE_MEANINGS) >= DECISIVE_CODES
    assert all(meaning and not meaning.endswith(".") for meaning in CODE_MEANINGS.values())


START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "starts_at"),
    [
        ({"startOnISO": "2026-01-01T05:30:00+05:30"}, START),
        ({"startOnISO": "2026-01-01T00:00:00Z", "startOn": 1}, START),
        ({"startOn": 1767225600}, START),
        ({"startOn": 1.7672256e9}, START),
        ({"startOn": 1767225600000}, START),
        ({"startOn": "2026-01-01T00:00:00Z"}, START),
        ({"startOnISO": "2026-01-01T05:30:00"}, START),
        ({"startOnISO": "2026-01-01T09:00:00", "startOn": 1767225600}, START),
        ({"startOnISO": "+57906-01-01T00:00:00Z"}, None),
        ({"startOn": 1e300}, None),
        ({"startOn": True}, None),
        ({"startOnISO": "soon"}, None),
        ({}, None),
    ],
)
def test_the_badges_times(times: dict[str, object], starts_at: datetime | None) -> None:
    badge = parse_badge({"id": BADGE} | times, cluster_timezone=ZoneInfo("Asia/Kolkata"))
    assert badge.starts_at == starts_at


def test_the_documented_badge() -> None:
    badge = parse_badge(
        {
            "id": BADGE,
            "name": "Gold",
            "status": "live",
            "active": True,
            "earnType": "ISSUE_EARN",
            "expiresOn": 4.2e9,
        }
    )
    assert (badge.id, badge.name, badge.status, badge.active) == (BADGE, "Gold", "LIVE", True)
    assert badge.earn_type == "ISSUE_EARN"
    assert badge.expires_at is not None
    assert badge.expires_at.tzinfo is UTC


@pytest.mark.parametrize(("given", "read"), [(True, True), ("false", False), (None, None), (1, None), ("x", None)])
def test_active_is_never_guessed(given: object, read: bool | None) -> None:
    assert parse_badge({"id": BADGE, "active": given}).active is read


@pytest.mark.parametrize("data", [None, {}, [], {"id": ""}])
def test_no_badge_without_an_id(data: object) -> None:
    with pytest.raises(ReplyUnreadable):
        parse_badge(data)
