"""Reading badges and customers.

``reference/get-badge-by-id``, ``reference/get-all-badges``, ``reference/get-badges-for-customer``,
``reference/get-individual-badge-details-of-a-customer`` and ``reference/make-your-first-api-call``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from sandbox.badge_engine import issual_status, row_id
from sandbox.badges import Badge, iso
from sandbox.books_schema import IssualRow
from sandbox.platform import Platform
from sandbox.replies import PlatformError, Reply, ok

IDENTIFIER_HEADER = "x-cap-customer-identifier"
IDENTIFIERS = frozenset({"id", "mobile", "email", "externalid", "cardnumber"})
DEFAULT_SIZE = 10
MAX_SIZE = 100


class BadgeReads:
    """The read side of the badge service, and the customer lookup."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def one(self, badge_id: str) -> Reply:
        """One badge."""
        return ok({"data": self._shown(self.badge(badge_id)), "errors": [], "warnings": []})

    def read_list(self, parameters: Mapping[str, str]) -> Reply:
        """Badges, filtered by status, earn type, activation and name."""
        statuses = {each for each in parameters.get("status", "").split(",") if each}
        earn_type = parameters.get("earnType", "")
        action = parameters.get("action", "")
        name = parameters.get("name", "").lower()
        now = self._platform.clock()
        found = [
            badge
            for badge in self._platform.catalogue.all()
            if (not statuses or badge.status(now) in statuses)
            and earn_type in ("", badge.earn_type)
            and action in ("", "ACTIVATED" if badge.active else "DE_ACTIVATED")
            and name in badge.name.lower()
        ]
        page, pagination = _page(found, parameters, "limit")
        data = {"metaBasicDetails": [self._shown(badge) for badge in page], "pagination": pagination}
        return ok({"data": data, "errors": [], "warnings": []})

    def of_customer(self, customer: str, headers: Mapping[str, str], parameters: Mapping[str, str]) -> Reply:
        """The badges that there are for a customer: definitions, no proof of an enrolment."""
        self._customer(customer, headers)
        page, pagination = _page(self._platform.catalogue.all(), parameters, "size")
        shown = [{**self._shown(badge), "earnedCount": None, "issueStatus": None} for badge in page]
        return ok({"data": shown, "pagination": pagination, "errors": [], "warnings": []})

    def enrolments(
        self, customer: str, badge_id: str, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> Reply:
        """A customer's enrolments in one badge; their details with ``includeStatistics=true``."""
        customer_id = self._customer(customer, headers)
        badge = self.badge(badge_id)
        now = self._platform.clock()
        rows = self._platform.books.issuals(badge.number, customer_id)
        data = self._shown(badge)
        data["customerId"] = customer_id
        data["issuedStatus"] = issual_status(rows[-1], now) if rows else None
        if parameters.get("includeStatistics", "").lower() == "true":
            data["issualDetails"] = {
                "issuedCount": len(rows),
                "issuals": [self._issual(row, now) for row in rows],
            }
        return ok({"data": data, "errors": [], "warnings": []})

    def lookup(self, parameters: Mapping[str, str]) -> Reply:
        """The id of the customer that an identifier names."""
        name, value = parameters.get("identifierName", ""), parameters.get("identifierValue", "")
        return ok({"entity": self._identified(name, value), "warnings": []})

    def activate(self, badge_id: str, *, active: bool) -> Reply:
        """Switches a badge on or off."""
        badge = self._platform.catalogue.activate(self.badge(badge_id), active=active)
        return ok({"data": self._shown(badge), "errors": [], "warnings": []})

    def badge(self, badge_id: str) -> Badge:
        """The badge of an id; error 404 when there is none."""
        badge = self._platform.catalogue.get(badge_id)
        if badge is None:
            raise PlatformError(404, "There is no such badge.")
        return badge

    def _customer(self, customer: str, headers: Mapping[str, str]) -> int:
        return self._identified(headers.get(IDENTIFIER_HEADER, "id"), customer)

    def _identified(self, name: str, value: str) -> int:
        """An identifier's customer: the number that its digits make, the sandbox's own rule."""
        if name.lower() not in IDENTIFIERS:
            raise PlatformError(1028)
        digits = re.sub(r"[^0-9]", "", value)[:18]
        if not digits or not self._platform.settings.knows_customer(int(digits)):
            raise PlatformError(1026)
        return int(digits)

    def _shown(self, badge: Badge) -> dict[str, object]:
        settings = self._platform.settings
        return badge.document(now=self._platform.clock(), zone=settings.zone, organisation=settings.organisation)

    def _issual(self, row: IssualRow, now: float) -> dict[str, object]:
        zone = self._platform.settings.zone
        return {
            "issueId": row_id(row),
            "issuedOn": iso(row.issued_on, zone),
            "issuedStatus": issual_status(row, now),
            "issueExpiresOn": iso(row.expires, zone),
            "ownerType": row.owner_type,
            "ownerReferenceId": row.reference_id,
            "issueEventDate": iso(row.event_at, zone),
            "revokedOn": None if row.revoked_on is None else iso(row.revoked_on, zone),
        }


def _page(badges: list[Badge], parameters: Mapping[str, str], size_name: str) -> tuple[list[Badge], dict[str, int]]:
    """One page, zero-based, with the pagination that badge lists show."""
    number = _number(parameters, "page", 0)
    size = min(max(1, _number(parameters, size_name, DEFAULT_SIZE)), MAX_SIZE)
    total = len(badges)
    pagination = {"page": number, "size": size, "total": total, "totalPages": math.ceil(total / size)}
    return badges[number * size : (number + 1) * size], pagination


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    value = parameters.get(name, "")
    if value and not (value.isascii() and value.isdigit() and len(value) < 10):
        raise PlatformError(400, f"{name} must be a whole number of 0 or more.", reference=name)
    return int(value) if value else default
