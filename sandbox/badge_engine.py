"""The wrapped call: what issueBulk and revokeIssue do to the books, and what they answer.

Rules and codes from ``reference/enrol-customers-for-badges``, ``reference/multiple-badge-issuances``,
``reference/issue-badge-to-multiple-customers`` and ``reference/revoke-issual-of-a-badge``. A call that is
wrong as a whole answers HTTP 400 with one code. A customer who cannot be enrolled stands in a reply of HTTP
200 with an error of his own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.badges import Badge, BadgeStatus, Catalogue, EarnType, iso
from sandbox.books import Books
from sandbox.books_schema import IssualRow
from sandbox.documents import child, text, whole
from sandbox.ids import enrolment_id, enrolment_stem
from sandbox.replies import CODES, PlatformError, Reply, dumps, ok
from sandbox.settings import SandboxSettings

OWNER_TYPES = (
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
REVOKE_LIMIT = 20
ACTIVE, EXPIRED, REVOKED = "ACTIVE", "EXPIRED", "REVOKED"


@dataclass(frozen=True, slots=True)
class BulkReply:
    """What a bulk call answered: the reply, and how many of its customers it enrolled and refused."""

    reply: Reply
    enrolled: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """A bulk call whose facts are all there and well-formed."""

    badge: Badge
    customers: list[int]
    request_key: str
    owner_type: str
    reference_id: str | None
    event_at: float


class BadgeEngine:
    """Enrols customers in badges and takes them out again."""

    def __init__(self, books: Books, catalogue: Catalogue, settings: Callable[[], SandboxSettings]) -> None:
        self._books = books
        self._catalogue = catalogue
        self._settings = settings

    def issue_bulk(self, document: dict[str, object], *, now: float) -> BulkReply:
        """Enrols the customers of one bulk call."""
        with self._books.transaction():
            try:
                call = self._read_call(document, now)
            except PlatformError as error:
                request_key = text(document, "requestId")
                if request_key and self._settings().refused_call_reserves_key:
                    self._books.use_key(request_key)
                return BulkReply(error.reply())
            return self._enrol(call, now)

    def _read_call(self, document: dict[str, object], now: float) -> _Call:
        triggered_by = child(document, "triggeredBy")
        if triggered_by is None:
            raise PlatformError(803, reference="triggeredBy")
        owner_type = triggered_by.get("ownerType")
        if owner_type is None or owner_type == "":
            raise PlatformError(716, reference="triggeredBy.ownerType")
        if owner_type not in OWNER_TYPES:
            wrong = f"{owner_type!r} is not a value of triggeredBy.ownerType; allowed: {', '.join(OWNER_TYPES)}."
            raise PlatformError(400, wrong, reference="triggeredBy.ownerType")
        request_key = text(document, "requestId")
        if request_key is None:
            raise PlatformError(804, reference="requestId")
        customers = customer_ids(document)
        if self._books.key_is_used(request_key):
            raise PlatformError(809, reference="requestId")
        badge = self._catalogue.get(text(document, "badgeMetaId") or "")
        if badge is None:
            raise PlatformError(1054, reference="badgeMetaId")
        if badge.earn_type is not EarnType.ISSUE_EARN:
            raise PlatformError(801, reference="badgeMetaId")
        if not badge.active or badge.status(now) is not BadgeStatus.LIVE:
            raise PlatformError(1039, reference="badgeMetaId")
        event_at = _event_time(document, now)
        if not badge.starts <= event_at < badge.expires:
            raise PlatformError(816, reference="issueEventDateISO")
        reference_id = text(triggered_by, "referenceId")
        return _Call(badge, customers, request_key, str(owner_type), reference_id, event_at)

    def _enrol(self, call: _Call, now: float) -> BulkReply:
        settings = self._settings()
        ends = call.badge.enrolment_ends(call.event_at)
        taken = self._books.overlapping(call.badge.number, call.customers, start=call.event_at, end=ends)
        stem = enrolment_stem(now)
        period = f'"expiresOn":{ends},"expiresOnISO":"{iso(ends, settings.zone)}"'
        good = f'"status":"{ACTIVE if ends > now else EXPIRED}",{period}}}'
        twice = f'"status":"{EXPIRED}",{period},"error":{_error(1040)}}}'
        unknown = f'"error":{_error(1026)}}}'
        items: list[str] = []
        enrolled: list[tuple[int, int]] = []
        for place, customer in enumerate(call.customers):
            if not settings.knows_customer(customer):
                items.append(f'{{"customerId":{customer},{unknown}')
                continue
            issued = f'{{"customerId":{customer},"issuedId":"{enrolment_id(stem, place)}",'
            if customer in taken:
                items.append(issued + twice)
                continue
            taken.add(customer)
            enrolled.append((customer, place))
            items.append(issued + good)
        self._books.use_key(call.request_key)
        self._books.enrol(
            call.badge.number,
            enrolled,
            stem=stem,
            request_key=call.request_key,
            owner_type=call.owner_type,
            reference_id=call.reference_id,
            issued_on=now,
            event_at=call.event_at,
            expires=ends,
        )
        body = (
            f'{{"data":{{"badgeMetaId":"{call.badge.badge_id}","issuedBadges":[{",".join(items)}]}},'
            '"errors":[],"warnings":[]}'
        )
        return BulkReply(Reply(200, body.encode()), len(enrolled), len(items) - len(enrolled))

    def revoke(self, document: dict[str, object], *, now: float) -> Reply:
        """Takes up to 20 customers out of a badge: by customer, or by customer and enrolment id."""
        asked = _revocations(document)
        badge = self._catalogue.get(text(document, "badgeMetaId") or "")
        if badge is None:
            raise PlatformError(1054, reference="badgeMetaId")
        results: list[dict[str, object]] = []
        with self._books.transaction():
            for customer, issue_id in asked:
                found = [
                    row
                    for row in self._books.issuals(badge.number, customer)
                    if issual_status(row, now) == ACTIVE and issue_id in (None, row_id(row))
                ]
                if not found:
                    results.append({"customerId": customer, "error": _error_object(404)})
                for row in found:
                    self._books.revoke(badge.number, customer, row.stem, at=now)
                    results.append({"customerId": customer, "issuedId": row_id(row), "status": REVOKED})
        data = {"badgeMetaId": badge.badge_id, "revokedIssuedBadges": results}
        return ok({"data": data, "errors": [], "warnings": []})


def customer_ids(document: dict[str, object]) -> list[int]:
    """The customers of a bulk call: an array of whole numbers, or one number alone."""
    given = document.get("customers")
    listed = given if isinstance(given, list) else [given]
    customers = [number for number in map(whole, listed) if number is not None]
    if not customers or len(customers) != len(listed):
        raise PlatformError(400, "customers must be an array of whole numbers.", reference="customers")
    return customers


def issual_status(row: IssualRow, now: float) -> str:
    """An enrolment's status at a moment: ACTIVE, EXPIRED or REVOKED."""
    if row.revoked_on is not None:
        return REVOKED
    return ACTIVE if row.expires > now else EXPIRED


def row_id(row: IssualRow) -> str:
    """An enrolment's id."""
    return enrolment_id(row.stem, row.place)


def _event_time(document: dict[str, object], now: float) -> float:
    """When the customers were enrolled: the ISO date wins over the number of seconds; neither: now."""
    for name in ("issueEventDateISO", "issueEventDate"):
        value = document.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value.strip():
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError as error:
                raise PlatformError(400, f"{name} is not an ISO 8601 date.", reference=name) from error
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return now


def _revocations(document: dict[str, object]) -> list[tuple[int, str | None]]:
    issuals = document.get("revokeIssuals")
    if bool(issuals) == bool(document.get("customers")):
        raise PlatformError(1051)
    asked: list[tuple[int, str | None]]
    if isinstance(issuals, list):
        asked = []
        for each in issuals:
            customer = whole(each.get("customerId")) if isinstance(each, dict) else None
            if customer is None:
                raise PlatformError(400, "revokeIssuals needs customerId and issueId.", reference="revokeIssuals")
            asked.append((customer, text(each, "issueId")))
    else:
        asked = [(customer, None) for customer in customer_ids(document)]
    if len(asked) > REVOKE_LIMIT:
        raise PlatformError(1060, f"At most {REVOKE_LIMIT} per call.")
    return asked


def _error_object(code: int) -> dict[str, object]:
    return {"code": code, "message": CODES[code].message, "reference": None}


def _error(code: int) -> str:
    return dumps(_error_object(code)).decode()
