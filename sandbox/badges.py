"""Badges: the catalogue a sandbox starts with, and a badge as ``GET badgeMeta`` shows it.

Field names as in ``reference/get-badge-by-id`` and ``reference/get-all-badges``; epochs are float seconds and
ISO times stand in the cluster's zone, as in the documented replies.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from sandbox.books import Books

BADGE_ID = re.compile(r"[0-9a-f]{24}")
DAY_S = 86_400


class EarnType(StrEnum):
    """Whether customers are enrolled first (``docs/type-of-badges``)."""

    EARN = "EARN"
    ISSUE_EARN = "ISSUE_EARN"


class BadgeStatus(StrEnum):
    """Where now lies in the badge's duration."""

    UPCOMING = "UPCOMING"
    LIVE = "LIVE"
    EXPIRED = "EXPIRED"


class BadgeError(ValueError):
    """A badge cannot be added as described. The message names the field and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A badge. Times in seconds since 1970 UTC.

    ``enrolled_for_days`` is how long an enrolment lasts; none: until the badge itself expires.
    """

    badge_id: str
    name: str
    starts: float
    expires: float
    active: bool = True
    earn_type: EarnType = EarnType.ISSUE_EARN
    enrolled_for_days: int | None = None
    number: int = 0

    def __post_init__(self) -> None:
        if not BADGE_ID.fullmatch(self.badge_id):
            raise BadgeError("badge_id: give 24 lower-case hexadecimal digits")
        if not self.name.strip():
            raise BadgeError("name: give one")
        if self.expires <= self.starts:
            raise BadgeError("expires: give a time after the start")
        if self.enrolled_for_days is not None and self.enrolled_for_days < 1:
            raise BadgeError("enrolled_for_days: give 1 or more, or nothing")
        object.__setattr__(self, "earn_type", EarnType(self.earn_type))

    def status(self, now: float) -> BadgeStatus:
        """The badge's status at a moment."""
        if now < self.starts:
            return BadgeStatus.UPCOMING
        return BadgeStatus.LIVE if now < self.expires else BadgeStatus.EXPIRED

    def enrolment_ends(self, start: float) -> float:
        """When an enrolment that starts at a moment ends."""
        if self.enrolled_for_days is None:
            return self.expires
        return min(self.expires, start + self.enrolled_for_days * DAY_S)

    def document(self, *, now: float, zone: ZoneInfo, organisation: int) -> dict[str, object]:
        """The badge as the platform shows it."""
        relative = self.enrolled_for_days is not None
        issued_expiry: dict[str, object] = (
            {"expiryType": "RELATIVE", "relativeExpirytype": "DAYS", "value": self.enrolled_for_days}
            if relative
            else {"expiryType": "ABSOLUTE", "type": "WITH_BADGE_META", "expireWithBadgeMeta": True}
        )
        return {
            "id": self.badge_id,
            "badgeNumericId": self.number,
            "orgId": organisation,
            "name": self.name,
            "description": self.name,
            "startOn": self.starts,
            "startOnISO": iso(self.starts, zone),
            "expiresOn": self.expires,
            "expiresOnISO": iso(self.expires, zone),
            "status": self.status(now),
            "active": self.active,
            "earnType": self.earn_type,
            "earnedBadgeExpiry": {"expiryType": "NEVER"},
            "issuedBadgeExpiry": issued_expiry,
            "ownership": {"restrictedToOwners": [], "claims": []},
            "customerConstraints": [{"type": "CUSTOMER_BADGE_NO_LIMIT"}],
            "badgeConstraints": [{"type": "BADGE_NO_LIMIT"}],
            "benefits": [],
            "tags": [],
            "customFields": {},
            "images": [],
        }


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


GOLD_CIRCLE = Badge(
    badge_id="a1b2c3d4e5f60718293a4b5c",
    name="Gold Circle 2026",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
)
#: A month's enrolment is over before the next month's begins.
MONTHLY_STREAK = Badge(
    badge_id="b1b2c3d4e5f60718293a4b5c",
    name="Monthly Streak",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
    enrolled_for_days=7,
)
NEW_ARRIVAL = Badge(
    badge_id="c1b2c3d4e5f60718293a4b5c",
    name="New Arrival",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
    enrolled_for_days=30,
)
#: Of the README's campaign `vips`, so that no other campaign's customers hold it.
VIP = Badge(
    badge_id="91b2c3d4e5f60718293a4b5c",
    name="VIP 2026",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
)
DIRECT = Badge(
    badge_id="d1b2c3d4e5f60718293a4b5c",
    name="Birthday",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
    earn_type=EarnType.EARN,
)
INACTIVE = Badge(
    badge_id="e1b2c3d4e5f60718293a4b5c",
    name="Summer Pause",
    starts=_at("2026-01-01"),
    expires=_at("2037-01-01"),
    active=False,
)
EXPIRED = Badge(
    badge_id="f1b2c3d4e5f60718293a4b5c",
    name="Festive 2025",
    starts=_at("2025-10-01"),
    expires=_at("2026-01-01"),
)
UPCOMING = Badge(
    badge_id="01b2c3d4e5f60718293a4b5c",
    name="Jubilee 2099",
    starts=_at("2099-01-01"),
    expires=_at("2100-01-01"),
)
DEFAULT_BADGES = (GOLD_CIRCLE, MONTHLY_STREAK, NEW_ARRIVAL, VIP, DIRECT, INACTIVE, EXPIRED, UPCOMING)


class Catalogue:
    """The badges of the organisation, kept in the books."""

    def __init__(self, books: Books) -> None:
        self._books = books
        for badge in DEFAULT_BADGES:
            self._save(badge, keep=True)
        self._badges = self._read()

    def get(self, badge_id: str) -> Badge | None:
        """The badge of an id, or nothing."""
        return self._badges.get(badge_id)

    def all(self) -> list[Badge]:
        """Every badge, in the order in which they were added."""
        return list(self._badges.values())

    def save(self, badge: Badge) -> Badge:
        """Adds a badge, or replaces the one of that id; returns it with its number."""
        self._save(badge)
        self._badges = self._read()
        return self._badges[badge.badge_id]

    def activate(self, badge: Badge, *, active: bool) -> Badge:
        """Switches a badge on or off."""
        return self.save(replace(badge, active=active))

    def _save(self, badge: Badge, *, keep: bool = False) -> None:
        document = asdict(badge)
        del document["number"]
        self._books.save_badge(badge.badge_id, document, keep=keep)

    def _read(self) -> dict[str, Badge]:
        return {
            badge_id: Badge(number=number, **document)  # type: ignore[arg-type]  # as _save wrote it
            for number, badge_id, document in self._books.badges()
        }


def iso(at: float, zone: ZoneInfo) -> str:
    """A moment as the badge endpoints write it: ISO 8601 in a zone, with its offset."""
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
