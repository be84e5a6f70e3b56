"""Can this badge be enrolled for now? Asked of the platform before anything is planned."""

from __future__ import annotations

from datetime import datetime

from capillary.api.badges import Badge
from capillary.api.outside_text import on_one_line
from capillary.errors import TerminalError

#: The only kind of badge that customers are enrolled for (error 801), and the status it must have (error 815).
_EARN_TYPE = "ISSUE_EARN"
_LIVE = "LIVE"


class BadgeUnfit(TerminalError):
    """The platform would refuse every customer of this badge. Nothing was planned."""


def assert_fit(badge: Badge | None, *, badge_id: str, account: str, now: datetime) -> None:
    """Refuse a badge that cannot be enrolled for; a badge is not refused for what the platform leaves unsaid.

    Args:
        badge: as the platform describes it; None when the organisation has no such badge.
        badge_id: as the campaign names it.
        account: where it was looked for.
        now: the ledger's clock.

    Raises:
        BadgeUnfit: naming everything that stands against it.
    """
    if badge is None:
        raise BadgeUnfit(
            f"badge {badge_id} does not exist in {account}: correct badge_id, or the organisation id of the connection"
        )
    against = []
    if badge.earn_type not in (None, _EARN_TYPE):
        against.append(f"it is of type {on_one_line(badge.earn_type)}, and only {_EARN_TYPE} can be enrolled for")
    if badge.active is False:
        against.append("it is not active")
    if badge.status not in (None, _LIVE):
        against.append(f"its status is {on_one_line(badge.status)}, not {_LIVE}")
    if badge.starts_at is not None and now < badge.starts_at:
        against.append(f"it starts at {badge.starts_at:%Y-%m-%d %H:%M} UTC")
    if badge.expires_at is not None and now >= badge.expires_at:
        against.append(f"it expired at {badge.expires_at:%Y-%m-%d %H:%M} UTC")
    if against:
        name = on_one_line(badge.name or "without a name")
        raise BadgeUnfit(
            f"badge {badge_id} ({name}) cannot be enrolled for: {'; '.join(against)}. "
            "Fix the badge on the platform, or name another one"
        )
