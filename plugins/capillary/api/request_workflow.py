"""Workflow requests: the platform's words, the body we send, and the replies we read.

Replies are parsed here once into frozen values. The inner `Authorization` that the platform echoes in clear
is dropped on the way, so nothing further in can leak it.
"""

from __future__ import annotations

import json
import re
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, ModelWrapValidatorHandler, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from capillary.api.badges import Execution, parse_execution
from capillary.api.errors import ReplyUnreadable
from capillary.api.json_body import BrokenRow
from capillary.api.json_fields import boolean, fields, identifier, integer, text, word
from capillary.missing_value import reads_like_none
from capillary.wrong_fields import explained, fields_of, shown


class RequestState(StrEnum):
    """State of a workflow request, as the platform spells it."""

    ADMIN_TASK = "AdminTask"  #: parked on the checker
    APPROVED = "approved"  #: a checker said yes and the wrapped call was judged good
    REJECTED = "rejected"  #: a checker said no; the wrapped call never runs
    FAILED = "failed"  #: a checker said yes and the wrapped call was judged bad


#: States that a request does not leave. Custom workflows have more states; unknown ones are waiting.
DECIDED: Final = frozenset({RequestState.APPROVED, RequestState.REJECTED, RequestState.FAILED})

#: In place of a state that cannot be read, in a row of the list: waiting, as every state that is not known here.
UNREADABLE_STATE: Final = "unreadable"
#: What the name of a row begins with that shows neither an id nor whose it is.
UNREADABLE_ROW: Final = "unreadable:"
#: What every request key of ours begins with (`capillary.ledger.spec.KEY_PREFIX`).
OUR_KEYS: Final = "cb1."
REQUEST_TYPE: Final = "ISSUE-BADGE"
REQUEST_WORKFLOW_PATH: Final = "/api_gateway/v2/request-workflow"
#: The wrapped call (`reference/issue-badge-to-multiple-customers`).
ISSUE_BULK_PATH: Final = "/api_gateway/v1/badges/badgeMeta/customer/issueBulk"
#: Modules that may enrol, in the only spelling the bulk call takes (`reference/claim-badge`: not `LOYALTY`).
OWNER_TYPES: Final = (
    "Loyalty",
    "Loyalty_Promotion",
    "Referral_Campaigns",
    "Journeys",
    "Audience_Campaigns",
    "Rewards_Catalog",
    "Goodwill_Module",
    "Milestones",
    "Historical_Import",
)
#: Characters of the checker's message that are kept.
MESSAGE_LIMIT: Final = 500
#: Characters of a state that are kept; the known ones are shorter.
STATE_LIMIT: Final = 64
#: Characters of a time without zone, and of a user's number, that are kept.
TIME_LIMIT: Final = 32
USER_ID_LIMIT: Final = 20
#: The platform's own checks of a request: a flag each in its details, under this name and `_Output`.
CHECKS: Final = ("ValidateMakerAccess", "ValidatePayload", "ValidateCheckerAccess")
#: Most characters of a platform request id, which is a UUID.
PLATFORM_ID_LIMIT: Final = 64
#: Characters of a request key that are kept. Ours have 61 at most, so that a key that was cut is none of ours.
KEY_LIMIT: Final = 64
#: Characters of an entity id; the public docs give examples of eight digits and no bound.
ENTITY_ID_LIMIT: Final = 64

_PAYLOAD: Final = "IntouchAPITask-Payload"
_BULK_CALL: Final = ISSUE_BULK_PATH.rpartition("/")[2].casefold()
#: What `AdminTask_Output` holds where a human decided (`reference/approve-or-reject-a-request`).
_DECISIONS: Final = frozenset({"approved", "rejected"})
#: The platform's request workflow is younger than the first, and this code older than the second.
_CREATED_FROM: Final = datetime(2015, 1, 1, tzinfo=UTC)
_CREATED_BEFORE: Final = datetime(2100, 1, 1, tzinfo=UTC)
_SIGNS_OF_A_UUID: Final = str.maketrans("", "", "-{}")
_GREGORIAN_EPOCH: Final = datetime(1582, 10, 15, tzinfo=UTC)  # RFC 9562, UUID version 1


def is_decided(state: str) -> bool:
    """Return whether the platform will not move the request any more; an unknown state is waiting."""
    return state in DECIDED


def normalise_owner_type(owner_type: str) -> str:
    """Return the owner type as the bulk call wants it, whatever case it was written in.

    Raises:
        ValueError: it is none of `OWNER_TYPES`.
    """
    wanted = owner_type.strip().replace("-", "_").replace(" ", "_").casefold()
    for allowed in OWNER_TYPES:
        if allowed.casefold() == wanted:
            return allowed
    raise ValueError(f"owner type {shown(owner_type)} is not one of {', '.join(OWNER_TYPES)}")


def _checked_entity_id(text: str) -> str:
    if not text.strip():
        raise ValueError("it is blank")
    if reads_like_none(text):
        raise ValueError(f"{shown(text)} is the text that a missing value turns into")
    if text != text.strip() or not text.isprintable():
        raise ValueError(f"{shown(text)} has blanks at an end, or signs that do not print")
    if any(sign.isdigit() and not sign.isascii() for sign in text):
        raise ValueError(f"{shown(text)} has digits other than 0 to 9")
    return text


_EntityId: TypeAlias = Annotated[
    str,
    Field(max_length=ENTITY_ID_LIMIT, description=f"text of 1 to {ENTITY_ID_LIMIT} characters, from the list of tills"),
    AfterValidator(_checked_entity_id),
]


@checked_dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Entity:
    """On whose behalf a request is made: the till and the units above it, as the platform numbers them.

    Raises:
        FieldsInvalid: an id is not text, or is blank or too long; every one is named.
    """

    till_id: _EntityId
    store_id: _EntityId
    zone_id: _EntityId
    concept_id: _EntityId

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - pydantic's
        return explained("Entity(…)", fields_of(cls), lambda: handler(given))


@dataclass(frozen=True, slots=True)
class IssueBadgeRequest:
    """One request to enrol customers for a badge; `key` is our id, sent as the inner `requestId`."""

    key: str
    badge_id: str
    owner_type: str
    reference_id: str
    entity: Entity
    hostname: str
    customers: Sequence[int] = field(repr=False)


def post_body(request: IssueBadgeRequest, *, authorization: str) -> dict[str, object]:
    """Return the whole JSON body of the POST; `authorization` is the inner Basic header value.

    `pathParams` and `queryParams` are always sent, since the page calls the second mandatory while its
    example leaves it out; `customers` is always an array and `requestId` a string.
    """
    entity = request.entity
    return {
        "entityInfo": {
            "tillId": entity.till_id,
            "storeId": entity.store_id,
            "zoneId": entity.zone_id,
            "conceptId": entity.concept_id,
        },
        "payload": {
            _PAYLOAD: {
                "hostname": request.hostname,
                "path": ISSUE_BULK_PATH,
                "method": "POST",
                "pathParams": {},
                "queryParams": {},
                "body": {
                    "triggeredBy": {"ownerType": request.owner_type, "referenceId": request.reference_id},
                    "customers": list(request.customers),
                    "requestId": request.key,
                    "badgeMetaId": request.badge_id,
                },
                "headers": {"Authorization": authorization, "content-type": "application/json"},
            }
        },
    }


@dataclass(frozen=True, slots=True)
class WorkflowRequest:
    """One workflow request as the platform shows it, without the echoed credential.

    `request_type` is upper-case with hyphens. `customers` is None when they cannot be read. `human_decided`:
    a checker's decision is in the details; without it a decided request was approved automatically.
    `created_at` is UTC, taken from the version 1 UUID, since `startTime` is cluster-local and zone-less.
    `maker_id` is `userId`; `userName`, a person's name or e-mail address, is dropped. `start_time` and `end_time` are
    as the platform's pages show them. `failed_checks` are those of `CHECKS` that the platform says failed; None where
    it shows none of them. `wraps_issue_bulk`: whether the wrapped call is ours; None where it is not shown.
    """

    platform_request_id: str
    request_type: str
    state: str
    request_key: str | None
    customers: tuple[int, ...] | None = field(repr=False)
    badge_id: str | None
    human_decided: bool
    checker_message: str | None = field(repr=False)
    created_at: datetime | None
    execution: Execution | None
    maker_id: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    failed_checks: tuple[str, ...] | None = None
    wraps_issue_bulk: bool | None = None

    @property
    def may_issue_badges(self) -> bool:
        """Whether it may be of our type. The wrapped call tells; the type may be another one's by mistake.

        The response tables of the public pages show `customer-status-change` on every page.
        """
        return self.wraps_issue_bulk is not False


def parse_request(data: object, *, asked_for: str | None = None) -> WorkflowRequest:
    """Read the object under `data` of a POST or a single read.

    Ids and states are read strictly: what is damaged counts as missing. A body whose key is damaged and may be one of
    ours counts as not shown.

    Raises:
        ReplyUnreadable: there is no request id or no state, or it is another request than was asked for.
    """
    request = fields(data)
    platform_request_id = _platform_request_id(request)
    # A name of a custom workflow's node may be of any length; none that is cut is a word we know.
    state = word(request.get("state"), limit=STATE_LIMIT)
    if platform_request_id is None or state is None:
        missing = "state" if state is None else "request id"
        raise ReplyUnreadable(what="workflow request", reason=f"it has no {missing}")
    if asked_for is not None and _bare(platform_request_id) != _bare(asked_for):
        raise ReplyUnreadable(what="workflow request", reason="it is another one than was asked for")
    return _request(request, asked_for or platform_request_id, state)


def _bare(platform_request_id: str) -> str:
    """Return an id as it is the same in any case, and with or without a UUID's dashes and braces."""
    return platform_request_id.casefold().translate(_SIGNS_OF_A_UUID)


def _platform_request_id(request: dict[str, object]) -> str | None:
    found = identifier(request.get("requestId"))
    return found if found is not None and len(found) <= PLATFORM_ID_LIMIT else None


def _request_type(request: dict[str, object]) -> str:
    return (word(request.get("requestType")) or "").upper().replace("_", "-")


def _body(request: dict[str, object]) -> dict[str, object]:
    body = fields(fields(fields(request.get("details")).get(_PAYLOAD)).get("body"))
    key = body.get("requestId")
    if not isinstance(key, str) or identifier(key) is not None:
        return body
    # With the damage, and as `text` would have it without.
    return {} if key.strip() and (_may_be_ours(key.strip()) or _may_be_ours(text(key) or "")) else body


def _may_be_ours(damaged_key: str) -> bool:
    """Whether a key begins as ours do, but for damaged characters."""
    return all(
        shown == ours or not shown.isascii() or not shown.isprintable()
        for shown, ours in zip(damaged_key, OUR_KEYS, strict=False)
    )


def _request(request: dict[str, object], platform_request_id: str, state: str) -> WorkflowRequest:
    details = fields(request.get("details"))
    body = _body(request)
    output = details.get("IntouchAPITask_Output")
    return WorkflowRequest(
        platform_request_id=platform_request_id,
        request_type=_request_type(request),
        state=state,
        request_key=text(body.get("requestId"), limit=KEY_LIMIT),
        customers=_parse_customers(body.get("customers")),
        badge_id=identifier(body.get("badgeMetaId")),
        human_decided=_is_decision(details.get("AdminTask_Output")),
        wraps_issue_bulk=_wraps_issue_bulk(fields(details.get(_PAYLOAD)).get("path")),
        checker_message=text(fields(details.get("AdminTask-Payload")).get("actionMessage"), limit=MESSAGE_LIMIT),
        created_at=created_at_of(platform_request_id),
        execution=None if output is None else parse_execution(output),
        maker_id=_user_number(request.get("userId")),
        start_time=_time_as_shown(request.get("startTime")),
        end_time=_time_as_shown(request.get("endTime")),
        failed_checks=_failed_checks(details),
    )


def id_in(payload: object) -> str | None:
    """Return the platform request id that a reply names, whatever else it lacks; None where it names none."""
    data = fields(payload).get("data", payload)
    first = data[0] if isinstance(data, list) and data else data
    found = text(fields(first).get("requestId"))
    return found if found is not None and len(found) <= PLATFORM_ID_LIMIT else None


def _is_decision(output: object) -> bool:
    """Return whether it is a human's word: an automatic approval may leave something else there, or something empty."""
    said = text(output) if isinstance(output, str) else None
    return said is not None and said.casefold() in _DECISIONS


def _wraps_issue_bulk(path: object) -> bool | None:
    shown = text(path) if isinstance(path, str) else None
    return None if shown is None else shown.rstrip("/").casefold().endswith(_BULK_CALL)


def _failed_checks(details: Mapping[str, object]) -> tuple[str, ...] | None:
    shown = {check: boolean(details.get(f"{check}_Output")) for check in CHECKS}
    if set(shown.values()) == {None}:
        return None
    return tuple(check for check, passed in shown.items() if passed is False)


def _user_number(value: object) -> str | None:
    """Return a user's number; a login or an e-mail address in its place is a person's and is dropped."""
    number = integer(value)
    return None if number is None or len(str(number)) > USER_ID_LIMIT else str(number)


def _time_as_shown(value: object) -> str | None:
    """Return a time as it is written, without zone or with it; None for anything else."""
    if not isinstance(value, str) or len(value) > TIME_LIMIT:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value


def _parse_customers(value: object) -> tuple[int, ...] | None:
    """Read an array of ids, or the bare number of the documented example; None when one cannot be read."""
    if not isinstance(value, list):
        single = integer(value)
        return None if single is None else (single,)
    if set(map(type, value)) <= {int}:
        return tuple(value)
    customers = [integer(customer) for customer in value]
    readable = [customer for customer in customers if customer is not None]
    return tuple(readable) if len(readable) == len(customers) else None


def created_at_of(platform_request_id: str) -> datetime | None:
    """Return when the platform made a request, as its version 1 UUID says; None where its id tells no time."""
    try:
        parsed = uuid.UUID(platform_request_id)
        if parsed.version != 1:
            return None
        created_at = _GREGORIAN_EPOCH + timedelta(microseconds=parsed.time // 10)
    except (ValueError, OverflowError):
        return None
    # Sixty bits hold the years 1582 to 5236: an id that only looks like version 1 says nothing of the time.
    return created_at if _CREATED_FROM <= created_at < _CREATED_BEFORE else None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list.

    Attributes:
        rows: the rows that show their platform request id; where the state cannot be read it is `UNREADABLE_STATE`.
        unreadable_rows: rows without an id that may be of ours for all that they show.
        number: the platform's own count of pages, whatever its base.
        total_pages: pages of the list.
        total_elements: rows of the list.
        unreadable: a name for each content of the unreadable rows.
        foreign_rows: rows without an id that are of another type, or show a key that is none of ours.
    """

    rows: tuple[WorkflowRequest, ...]
    unreadable_rows: int
    number: int
    total_pages: int
    total_elements: int
    unreadable: frozenset[str] = frozenset()
    foreign_rows: int = 0


def parse_page(payload: object) -> Page:
    """Read a whole reply of the list (`reference/get-all-requests`).

    Rows that are null or missing are not rows where the pagination says so: with a total of 0, or with 0 elements on a
    page after the last one.

    Raises:
        ReplyUnreadable: there is no list of rows, or its pagination is missing or contradicts it.
    """
    reply = fields(payload)
    pagination = fields(reply.get("pagination"))
    data = reply.get("data")
    if data is None and _says_empty(pagination):
        data = []
    if not isinstance(data, list):
        raise ReplyUnreadable(what="list of requests", reason="it has no rows")
    total_elements = integer(pagination.get("totalElements"))
    is_empty = not data and total_elements == 0
    number, total_pages = (
        0 if is_empty and pagination.get(name) is None else integer(pagination.get(name))
        for name in ("number", "totalPages")
    )
    if number is None or total_pages is None or total_elements is None or min(number, total_pages, total_elements) < 0:
        raise ReplyUnreadable(what="list of requests", reason="its pagination is missing")
    rows: list[WorkflowRequest] = []
    unreadable: list[str] = []
    foreign_rows = 0
    for row in data:
        request = fields(row)
        platform_request_id = _row_id(row)
        if platform_request_id is not None:
            state = word(request.get("state"), limit=STATE_LIMIT)
            rows.append(_request(request, platform_request_id, state or UNREADABLE_STATE))
        elif _is_foreign(request):
            foreign_rows += 1
        else:
            unreadable.append(_name(row))
    return Page(
        rows=tuple(rows),
        unreadable_rows=len(unreadable),
        number=number,
        total_pages=total_pages,
        total_elements=total_elements,
        unreadable=frozenset(unreadable),
        foreign_rows=foreign_rows,
    )


def _says_empty(pagination: dict[str, object]) -> bool:
    total, pages, on_page, number = (
        integer(pagination.get(name)) for name in ("totalElements", "totalPages", "numberOfElements", "number")
    )
    if total == 0:
        return (pages or 0) <= 1 and not on_page
    # One-based, it may be the last page itself: then its rows are missing from the total, and nothing is proven.
    return on_page == 0 and number is not None and pages is not None and 0 < pages <= number


def _row_id(row: object) -> str | None:
    if isinstance(row, BrokenRow):
        return _platform_request_id({"requestId": row.request_id})
    return _platform_request_id(fields(row))


def _is_foreign(request: dict[str, object]) -> bool:
    """Whether a row without an id is none of ours all the same: by its key, or by its type where it shows no key.

    The type says nothing beside our wrapped call: the public pages show another type on our requests.
    """
    key = text(_body(request).get("requestId"))
    if key is not None:
        return not key.startswith(OUR_KEYS)
    wraps = _wraps_issue_bulk(fields(fields(request.get("details")).get(_PAYLOAD)).get("path"))
    return not wraps and _request_type(request) not in ("", REQUEST_TYPE)


#: Values that are left out of an unreadable row's name: what the echo holds in clear.
_ECHOED: Final = re.compile(r'"authorization"\s*:\s*"[^"]*"?', re.IGNORECASE)


def _name(row: object) -> str:
    """Return a name for an unreadable row, the same for the same content; a person may call it somebody else's."""
    if isinstance(row, BrokenRow):
        words = row.words
    else:
        try:
            words = json.dumps(row, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            words = "nothing"
    return f"{UNREADABLE_ROW}{zlib.crc32(_ECHOED.sub('', words).encode('utf-8', 'replace')):08x}"
