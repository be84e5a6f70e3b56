"""Badges, their enrolments, and what the wrapped bulk call said of every customer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from capillary.api.envelope import error_code, read_envelope
from capillary.api.errors import ReplyUnreadable
from capillary.api.issued_id import issued_id
from capillary.api.json_body import NotJson, read_json
from capillary.api.json_fields import boolean, fields, identifier, instant, integer, text
from capillary.api.line_trouble import LINE_FIELDS, is_without_trouble

#: Statuses of an enrolment that is over. Any other counts as enrolled: only REVOKED is exemplified
#: (`reference/get-individual-badge-details-of-a-customer`), the bulk call answers ACTIVE or EXPIRED.
ENDED: Final = frozenset({"REVOKED", "EXPIRED"})
_COMMON: Final = ENDED | {"ACTIVE"}


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One customer's line in the answer of the bulk call.

    `issued_id` is None where what stands there cannot be one (`capillary.api.issued_id`). `failed`: the line carries an
    error, whatever its shape, or a sign of one in a place that no page names (`capillary.api.line_trouble`);
    `error_code` is None unless the documented place names one readable code. `status` is the platform's word in upper
    case.
    """

    customer_id: int = field(repr=False)
    issued_id: str | None
    status: str | None
    error_code: int | None
    failed: bool


@dataclass(frozen=True, slots=True)
class Execution:
    """The answer of the wrapped call, as the workflow stored it in `IntouchAPITask_Output`.

    `items` is None when there is no `issuedBadges` list, as where the body is not a JSON object (HTML, plain text,
    nothing). `unreadable_items` counts lines without a usable customer id; those customers
    count as not listed.
    """

    http_status: int | None
    items: tuple[BulkItem, ...] | None = field(repr=False)
    error_codes: tuple[int, ...]
    unreadable_items: int = 0


def parse_execution(output: object) -> Execution:
    """Read `IntouchAPITask_Output`; whatever it holds, an `Execution` comes back and nothing is raised."""
    outer = fields(output)
    body = outer.get("body")
    if isinstance(body, str):
        body = read_json(body)
    http_status = integer(outer.get("status"))
    if isinstance(body, NotJson) or not isinstance(body, dict):
        return Execution(http_status=http_status, items=None, error_codes=())
    data = body.get("data")
    lines = data.get("issuedBadges") if isinstance(data, dict) else body.get("issuedBadges")
    items: tuple[BulkItem, ...] | None = None
    unreadable_items = 0
    if isinstance(lines, list):
        read = [_parse_item(line) for line in lines]
        items = tuple([item for item in read if item is not None])
        unreadable_items = len(read) - len(items)
    return Execution(
        http_status=http_status,
        items=items,
        error_codes=read_envelope(body).codes,
        unreadable_items=unreadable_items,
    )


def _parse_item(line: object) -> BulkItem | None:
    if not isinstance(line, dict):
        return None
    customer_id = line.get("customerId")
    if type(customer_id) is not int:
        customer_id = integer(customer_id)
        if customer_id is None:
            return None
    error = line.get("error")
    several = line.get("errors")  # undocumented in a line; of the whole answer it is empty where all is well
    if error is None and several is not None and several != []:
        error = several
    return BulkItem(
        customer_id,
        issued_id(line.get("issuedId")),
        _word(line.get("status")),
        None if error is None else _only_code(error),
        error is not None or not (line.keys() <= LINE_FIELDS or is_without_trouble(line)),
    )


def _only_code(error: object) -> int | None:
    """Return the code of a line's error; None where it has none, or several that differ.

    Only null is not an error: an empty object, list or text, or false, may be one that lost its words.
    """
    if not isinstance(error, list):
        return error_code(error)
    codes = set(map(error_code, error))
    return codes.pop() if len(codes) == 1 else None


@dataclass(frozen=True, slots=True)
class Badge:
    """The definition of a badge (`reference/get-badge-by-id`): what a pre-flight check asks.

    Words are upper-cased (`LIVE`, `ISSUE_EARN`), None where nothing readable came; times are UTC.
    """

    id: str
    name: str | None
    status: str | None
    active: bool | None
    earn_type: str | None
    starts_at: datetime | None
    expires_at: datetime | None


def parse_badge(data: object, *, asked_for: str | None = None, cluster_timezone: tzinfo = UTC) -> Badge:
    """Read the object under `data`; zone-less times are in `cluster_timezone`.

    Raises:
        ReplyUnreadable: there is no badge id, or another one than was asked for.
    """
    badge = fields(data)
    badge_id = identifier(badge.get("id"))
    if badge_id is None:
        raise ReplyUnreadable(what="badge", reason="it has no id")
    if asked_for is not None:
        _assert_badge(badge, asked_for, what="badge")
    return Badge(
        id=badge_id,
        name=text(badge.get("name")),
        status=_word(badge.get("status")),
        active=boolean(badge.get("active")),
        earn_type=_word(badge.get("earnType")),
        starts_at=instant(badge.get("startOnISO"), badge.get("startOn"), zone=cluster_timezone),
        expires_at=instant(badge.get("expiresOnISO"), badge.get("expiresOn"), zone=cluster_timezone),
    )


def _word(value: object) -> str | None:
    if isinstance(value, str) and value in _COMMON:
        return value  # a page holds tens of thousands
    word = text(value)
    return None if word is None else word.upper()


@dataclass(frozen=True, slots=True)
class Issual:
    """One enrolment of a customer for a badge.

    `issued_at` is UTC; None where no date can be read.
    """

    issue_id: str | None
    status: str | None
    owner_type: str | None
    reference_id: str | None
    issued_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether it counts as enrolled: anything the platform does not call revoked or expired."""
        return self.status not in ENDED


def parse_issuals(
    data: object, *, customer_id: int, badge_id: str, cluster_timezone: tzinfo = UTC
) -> tuple[Issual, ...]:
    """Read the enrolments under `data.issualDetails` of the management call.

    No enrolment is evidence, so it must be said and not merely missing: by a list that is empty and that its count does
    not contradict, or by a count of 0. A row of which nothing can be read counts as an enrolment that has not ended.

    Args:
        data: what stands under `data`.
        customer_id: who was asked for.
        badge_id: which badge was asked for.
        cluster_timezone: of times without a zone.

    Raises:
        ReplyUnreadable: neither a list nor a count of 0, both contradict each other, or it is about another customer
            or badge.
    """
    outer = fields(data)
    _assert_about(outer, customer_id=customer_id, badge_id=badge_id)
    details = outer.get("issualDetails")
    if not isinstance(details, dict):
        raise ReplyUnreadable(what="enrolments", reason="it has no issualDetails")
    listed, counted = details.get("issuals"), details.get("issuedCount")
    count = integer(counted)
    if (count is None and counted is not None) or (count or 0) < 0:
        raise ReplyUnreadable(what="enrolments", reason="its issuedCount is not a count")
    if listed is None and count == 0:
        listed = []
    if not isinstance(listed, list):
        raise ReplyUnreadable(what="enrolments", reason="it has no list of issuals")
    if (count or 0) > len(listed):
        raise ReplyUnreadable(what="enrolments", reason=f"{count} are counted and {len(listed)} listed")
    if not listed and _word(outer.get("issuedStatus")) == "ACTIVE":
        raise ReplyUnreadable(what="enrolments", reason="it lists none, yet it is active")
    return tuple(
        Issual(
            issue_id=identifier(row.get("issueId")),
            status=_word(row.get("issuedStatus")),
            owner_type=text(row.get("ownerType")),
            reference_id=text(row.get("ownerReferenceId")),
            issued_at=instant(row.get("issuedOnISO"), row.get("issuedOn"), zone=cluster_timezone),
        )
        for row in map(fields, listed)
    )


def _assert_about(data: dict[str, object], *, customer_id: int, badge_id: str) -> None:
    """Refuse a reply that names another customer or badge than was asked for; many replies name neither."""
    named = data.get("customerId")
    if named is not None and integer(named) != customer_id:
        raise ReplyUnreadable(what="enrolments", reason="it is about another customer")
    _assert_badge(data, badge_id, what="enrolments")


def _assert_badge(data: dict[str, object], badge_id: str, *, what: str) -> None:
    for name in ("id", "badgeMetaId"):
        if (named := data.get(name)) is not None and (text(named) or "").casefold() != badge_id.casefold():
            raise ReplyUnreadable(what=what, reason="it is about another badge")
