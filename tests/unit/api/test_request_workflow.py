from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capillary.api.errors import ReplyUnreadable
from capillary.api.json_body import read_json
from capillary.api.request_workflow import (
    CHECKS,
    DECIDED,
    KEY_LIMIT,
    OWNER_TYPES,
    STATE_LIMIT,
    USER_ID_LIMIT,
    Entity,
    RequestState,
    created_at_of,
    id_in,
    is_decided,
    normalise_owner_type,
    parse_page,
    parse_request,
    post_body,
)
from capillary.wrong_fields import FieldsInvalid
from tests.unit.api.documented import (
    BADGE,
    ECHOED,
    KEY,
    PLATFORM_ID,
    bulk,
    decided,
    inner,
    item,
    page,
    row,
)
from tests.unit.api.scripted import REQUEST


@pytest.mark.parametrize("state", list(RequestState))
def test_only_the_three_last_states_are_decided(state: RequestState) -> None:
    assert is_decided(state) == (state is not RequestState.ADMIN_TASK)
    assert is_decided(state.value) == (state in DECIDED)


@pytest.mark.parametrize("state", ["ManagerTask", "Approved", "APPROVED", "Success", "", "pending"])
def test_an_unknown_state_is_waiting(state: str) -> None:
    assert not is_decided(state)


@pytest.mark.parametrize("allowed", OWNER_TYPES)
def test_owner_type_in_any_case(allowed: str) -> None:
    for written in (
        allowed,
        allowed.upper(),
        allowed.lower(),
        allowed.replace("_", "-"),
        f" {allowed.replace('_', ' ')} ",
    ):
        assert normalise_owner_type(written) == allowed


def test_an_unknown_owner_type_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="Goodwill_Module, Milestones"):
        normalise_owner_type("Membership")


@pytest.mark.parametrize(
    "wrong", ["", "  ", "x" * 65, 501, None, True, b"503", " 503", "5\n03", "५०३", "None", "null", ["503"]]
)
def test_entity_ids_are_all_wanted(wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(FieldsInvalid, match=r"^Entity\(…\), zone_id: .*Give text of 1 to 64 characters"):
        Entity(till_id="1", store_id="2", zone_id=wrong, concept_id="4")
    assert Entity(till_id="1", store_id="2", zone_id="x" * 64, concept_id="4").zone_id == "x" * 64


def test_the_body_is_the_documented_one() -> None:
    assert post_body(REQUEST, authorization="Basic eDp5") == {
        "entityInfo": {"tillId": "501", "storeId": "502", "zoneId": "503", "conceptId": "504"},
        "payload": {
            "IntouchAPITask-Payload": {
                "hostname": "https://platform.example",
                "path": "/api_gateway/v1/badges/badgeMeta/customer/issueBulk",
                "method": "POST",
                "pathParams": {},
                "queryParams": {},
                "body": {
                    "triggeredBy": {"ownerType": "Loyalty", "referenceId": "134"},
                    "customers": [900001, 900002],
                    "requestId": KEY,
                    "badgeMetaId": BADGE,
                },
                "headers": {"Authorization": "Basic eDp5", "content-type": "application/json"},
            }
        },
    }


def test_the_documented_waiting_request() -> None:
    request = parse_request(row())
    assert request.platform_request_id == PLATFORM_ID
    assert request.request_type == "ISSUE-BADGE"
    assert request.state == RequestState.ADMIN_TASK
    assert request.request_key == KEY
    assert request.customers == (900001, 900002)
    assert request.badge_id == BADGE
    assert not request.human_decided
    assert request.checker_message is None
    assert request.created_at == datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert request.execution is None


def test_the_documented_approval() -> None:
    request = parse_request(decided("approved", bulk(item(), item(900002)), message=" seen "))
    assert request.human_decided
    assert request.checker_message == "seen"
    assert request.execution is not None
    assert [line.customer_id for line in request.execution.items or ()] == [900001, 900002]


def test_a_rejection_has_a_message_and_no_execution() -> None:
    request = parse_request(decided("rejected", None, decision="rejected", message="x" * 600))
    assert request.state == RequestState.REJECTED
    assert request.human_decided
    assert request.checker_message == "x" * 500
    assert request.execution is None


def test_an_automatic_approval_has_no_humans_output() -> None:
    request = parse_request(row("approved", IntouchAPITask_Output=bulk(item())))
    assert is_decided(request.state)
    assert not request.human_decided


def test_a_failure_without_output() -> None:
    request = parse_request(decided("failed", None))
    assert request.state == RequestState.FAILED
    assert request.execution is None


@pytest.mark.parametrize("reply_type", ["issue-badge", "ISSUE_BADGE", "Issue_badge", "ISSUE-BADGE"])
def test_the_type_in_any_spelling(reply_type: str) -> None:
    assert parse_request(row() | {"requestType": reply_type}).request_type == "ISSUE-BADGE"


@pytest.mark.parametrize(
    ("customers", "read"),
    [
        ((900001,), (900001,)),
        (900001, (900001,)),
        ([900001.0, "900002"], (900001, 900002)),
        ([2**63], (2**63,)),
        ([], ()),
        ([1e300], None),
        ([float(2**53)], None),
        ([900001, None], None),
        ([True], None),
        (["\uff19\uff10\uff10"], None),
        (["9e5"], None),
        ([[1]], None),
        (None, None),
        ("all", None),
        ({"id": 1}, None),
    ],
)
def test_echoed_customers(customers: object, read: tuple[int, ...] | None) -> None:
    request = parse_request(row() | {"details": {"IntouchAPITask-Payload": inner(customers)}})
    assert request.customers == read


@pytest.mark.parametrize(
    ("key", "read"),
    [("cb1.x", "cb1.x"), (42, "42"), (42.0, "42"), (None, None), ("  ", None), (True, None), ([], None)],
)
def test_the_inner_id_in_any_type(key: object, read: str | None) -> None:
    request = parse_request(row() | {"details": {"IntouchAPITask-Payload": inner(key=key)}})
    assert request.request_key == read


@pytest.mark.parametrize(
    "details",
    [None, [], "x", {}, {"IntouchAPITask-Payload": None}, {"IntouchAPITask-Payload": {"body": "x"}}],
)
def test_details_that_cannot_be_read_leave_the_request(details: object) -> None:
    request = parse_request(row() | {"details": details})
    assert (request.request_key, request.customers, request.badge_id) == (None, None, None)


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (None, "state"),
        ([], "state"),
        ("x", "state"),
        ({}, "state"),
        (row() | {"requestId": None}, "request id"),
        (row() | {"requestId": " "}, "request id"),
        (row() | {"requestId": "x" * 65}, "request id"),
        (row() | {"state": None}, "state"),
        (row() | {"state": {}}, "state"),
    ],
)
def test_without_id_or_state_nothing_can_be_said(data: object, missing: str) -> None:
    with pytest.raises(ReplyUnreadable) as caught:
        parse_request(data)
    assert (caught.value.what, caught.value.reason) == ("workflow request", f"it has no {missing}")


def test_the_longest_id_and_a_request_without_a_type() -> None:
    read = parse_request({"requestId": "x" * 64, "state": "AdminTask"})
    assert (read.platform_request_id, read.request_type, read.created_at) == ("x" * 64, "", None)


@pytest.mark.parametrize(
    "platform_id", ["4f2cb1f2-2f4e-4c19-9d3c-0a1b2c3d4e5f", "17", "ffffffff-ffff-1fff-bfff-ffffffffffff"]
)
def test_an_id_of_another_kind_tells_no_time(platform_id: str) -> None:
    assert parse_request(row() | {"requestId": platform_id}).created_at is None


@pytest.mark.parametrize(
    ("moment", "is_told"),
    [
        (datetime(1582, 10, 15, 1, tzinfo=UTC), False),
        (datetime(2014, 12, 31, tzinfo=UTC), False),
        (datetime(2015, 1, 1, tzinfo=UTC), True),
        (datetime(2099, 12, 31, tzinfo=UTC), True),
        (datetime(2100, 1, 1, tzinfo=UTC), False),
        (datetime(5236, 3, 31, tzinfo=UTC), False),
    ],
)
def test_a_time_that_cannot_be_is_no_time(moment: datetime, *, is_told: bool) -> None:
    """First sends of an import come from here; one in the year 5236 would have every reading begin after it."""
    ticks = int((moment - datetime(1582, 10, 15, tzinfo=UTC)).total_seconds()) * 10**7
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, 0x80, 0, 1)
    platform_id = str(uuid.UUID(fields=fields, version=1))
    assert parse_request(row() | {"requestId": platform_id}).created_at == (moment if is_told else None)


def test_a_time_is_told_to_the_microsecond_before() -> None:
    """Never after the request was made: an import takes it for the first send."""
    moment = datetime(2026, 11, 21, 8, 0, 0, 123_456, tzinfo=UTC)
    ticks = (moment - datetime(1582, 10, 15, tzinfo=UTC)) // timedelta(microseconds=1) * 10 + 9
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, 0x80, 0, 1)
    assert created_at_of(str(uuid.UUID(fields=fields, version=1))) == moment


@pytest.mark.parametrize("length", [61, 64, 65, 100, 100_000])
def test_a_key_of_any_length_is_read_and_a_cut_one_is_none_of_ours(length: int) -> None:
    key = "cb1." + "x" * (length - 4)
    shown = row() | {"details": {"IntouchAPITask-Payload": {"body": {"requestId": key}}}}
    read = parse_request(shown).request_key
    assert read == key[:KEY_LIMIT]


def test_an_id_that_is_too_long_makes_its_row_unreadable_and_is_counted() -> None:
    """Cut, it could be another request's; a list with such a row proves no absence."""
    read = parse_page(page(row(), row() | {"requestId": "x" * 65}))
    assert (len(read.rows), read.unreadable_rows) == (1, 1)


def test_an_id_of_the_longest_length_is_one() -> None:
    assert id_in(page(row() | {"requestId": "x" * 64})) == "x" * 64
    assert id_in(page(row() | {"requestId": "x" * 65})) is None


def test_a_state_is_cut_in_a_list_as_in_a_single_read() -> None:
    """None that is cut is a word we know; its column holds so many characters."""
    long = row() | {"state": "approved" + "x" * STATE_LIMIT}
    listed = parse_page(page(long)).rows[0].state
    assert listed == parse_request(long).state
    assert len(listed) == STATE_LIMIT


def test_the_checkers_words_may_be_stored_anywhere() -> None:
    raw = json.dumps(decided("rejected", None, message="bad\x00 \ud800 caf\u00e9"))
    request = parse_request(read_json(raw.encode()))
    assert request.checker_message == "bad  caf\u00e9"


def test_the_echoed_credential_and_the_customers_are_gone() -> None:
    shown = repr(parse_request(decided("approved", bulk(item(), item(900002)))))
    assert ECHOED not in shown
    assert "Y2FuYXJ5" not in shown
    assert "90000" not in shown
    assert "90000" not in repr(REQUEST)


def test_a_page() -> None:
    read = parse_page(page(row(), {"requestId": None}, row("approved"), "x", number=2.0, pages=7, total=650))
    assert [request.state for request in read.rows] == ["AdminTask", "approved"]
    assert (read.unreadable_rows, read.number, read.total_pages, read.total_elements) == (2, 2, 7, 650)


def test_an_empty_page() -> None:
    read = parse_page(page(pages=0))
    assert (read.rows, read.unreadable_rows, read.total_elements) == ((), 0, 0)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "it has no rows"),
        ([], "it has no rows"),
        ({}, "it has no rows"),
        ({"data": {}, "pagination": page()["pagination"]}, "it has no rows"),
        ({"data": []}, "its pagination is missing"),
        (page(row(), number=None), "its pagination is missing"),
        (page(pages="many"), "its pagination is missing"),
        (page(total=1.5), "its pagination is missing"),
    ],
)
def test_a_page_without_rows_or_totals_proves_nothing(payload: object, reason: str) -> None:
    with pytest.raises(ReplyUnreadable) as caught:
        parse_page(payload)
    assert (caught.value.what, caught.value.reason) == ("list of requests", reason)


def test_what_helps_a_person_to_find_a_request_is_kept_and_her_name_is_not() -> None:
    request = parse_request(decided("approved", bulk(item())) | {"endTime": "2026-11-23T14:31:00.123"})
    assert (request.maker_id, request.start_time, request.end_time) == (
        "7001",
        "2026-11-23T14:30:00",
        "2026-11-23T14:31:00.123",
    )
    assert "maker@brand.example" not in repr(request)


@pytest.mark.parametrize(
    ("user", "kept"),
    [
        *((7001, "7001"), ("7001", "7001"), (7001.0, "7001"), (None, None), (True, None), ({}, None), (10**30, None)),
        *(("maker@brand.example", None), ("Tom Sawyer", None), ("", None)),
        *((10**USER_ID_LIMIT - 1, "9" * USER_ID_LIMIT), (10**USER_ID_LIMIT, None)),
    ],
)
def test_a_user_is_kept_as_a_number_or_not_at_all(user: object, kept: str | None) -> None:
    assert parse_request(row() | {"userId": user}).maker_id == kept


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        *((text, text) for text in ("2026-11-23T14:30:00", "2026-11-23T14:30:00Z", "2026-11-23 14:30:00+05:30")),
        ("2026-11-23T14:30:00.000000+05:30", "2026-11-23T14:30:00.000000+05:30"),
        ("2026-11-23T14:30:00.0000000+05:30", None),
        *((other, None) for other in (None, 1764000000, "soon", "", "by tom@brand.example", "2026-11-23T14:30:00" * 9)),
    ],
)
def test_a_time_is_kept_as_it_is_shown(time: object, kept: str | None) -> None:
    request = parse_request(row() | {"startTime": time, "endTime": time})
    assert (request.start_time, request.end_time) == (kept, kept)


ACCESS, PAYLOAD, CHECKER = CHECKS


@pytest.mark.parametrize(
    ("shown", "failed"),
    [
        ({}, ()),
        ({ACCESS: False}, (ACCESS,)),
        ({PAYLOAD: False}, (PAYLOAD,)),
        ({ACCESS: "false", PAYLOAD: "FALSE"}, (ACCESS, PAYLOAD)),
        ({CHECKER: False}, (CHECKER,)),
        ({ACCESS: None, PAYLOAD: "no"}, None),
        ({ACCESS: None, PAYLOAD: True}, ()),
        ({ACCESS: 0, PAYLOAD: {"passed": False}}, None),
    ],
)
@pytest.mark.parametrize("state", ["AdminTask", "approved", "failed", "rejected", "Invalid"])
def test_a_check_that_failed_is_named(shown: dict[str, object], failed: tuple[str, ...] | None, state: str) -> None:
    request = parse_request(row(state, **{f"{check}_Output": said for check, said in shown.items()}))
    assert request.failed_checks == failed
    assert request.state == state, "it is found all the same"


@pytest.mark.parametrize(
    ("output", "human"),
    [
        ("approved", True),
        ("Rejected", True),
        ("auto", False),
        ("", False),
        ("null", False),
        (False, False),
        (0, False),
        ([], False),
        (None, False),
    ],
)
def test_only_a_decision_shows_a_human(output: object, human: bool) -> None:
    request = {"requestId": "r", "state": "approved", "details": {"AdminTask_Output": output}}
    assert parse_request(request).human_decided is human


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/api_gateway/v1/badges/badgeMeta/customer/issueBulk", True),
        ("/api_gateway/v1/badges/badgeMeta/customer/ISSUEBULK/", True),
        ("/api_gateway/v1/badges/customer/earn", False),
        ("/api_gateway/v1/badges/badgeMeta/customer/issueBulkX", False),
        (None, True),
        ("", True),
        (7, True),
    ],
)
def test_the_wrapped_call_tells_whether_a_request_may_be_ours_and_the_type_does_not(path: object, may: bool) -> None:
    details = {"IntouchAPITask-Payload": {"path": path}}
    request = {"requestId": "r", "state": "AdminTask", "requestType": "customer-status-change", "details": details}
    assert parse_request(request).may_issue_badges is may


@pytest.mark.parametrize(
    "asked_for",
    [PLATFORM_ID, PLATFORM_ID.upper(), PLATFORM_ID.replace("-", ""), f"{{{PLATFORM_ID}}}"],
    ids=["as shown", "upper case", "without dashes", "in braces"],
)
def test_an_id_is_the_same_in_any_writing_of_a_uuid_and_stays_as_it_was_asked_for(asked_for: str) -> None:
    """A reply to a POST may write the id in another way than the list."""
    assert parse_request(row(), asked_for=asked_for).platform_request_id == asked_for


@pytest.mark.parametrize("asked_for", [f"100458_{PLATFORM_ID}", PLATFORM_ID[:-1], ""])
def test_another_id_than_was_asked_for_is_no_answer(asked_for: str) -> None:
    with pytest.raises(ReplyUnreadable, match="another one than was asked for"):
        parse_request(row(), asked_for=asked_for)
