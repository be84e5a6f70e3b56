"""A request as the checker's page shows it: in words, with zones and units."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sandbox.badges import Badge
from sandbox.books_schema import RequestRow
from sandbox.origins import Origin


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment for people, with its offset from UTC, and for programs (``<time datetime>``)."""

    shown: str
    machine: str


@dataclass(frozen=True, slots=True)
class Line:
    """One request. ``customers`` is counted and has its noun; ``origin`` is None where nobody can tell."""

    platform_request_id: str
    key: str
    badge: str
    customers: str
    age: str
    since: Moment
    state: str
    outcome: str
    message: str
    decided: Moment | None
    maker: str
    origin: Origin | None


def line_of(row: RequestRow, *, badge: Badge | None, origin: Origin | None, zone: ZoneInfo, now: float) -> Line:
    """The line of a row of the books."""
    return Line(
        platform_request_id=row.platform_request_id,
        key=row.request_key or "no key",
        badge=badge.name if badge else f"unknown badge {row.badge_id or ''}",
        customers=counted(row.customers, "customer"),
        age=age(now - row.started),
        since=moment(row.started, zone),
        state=row.state,
        outcome="nobody was enrolled"
        if row.enrolled is None
        else f"{row.enrolled:,} enrolled, {row.refused:,} refused",
        message=row.message or "",
        decided=None if row.ended is None else moment(row.ended, zone),
        maker=row.user_name,
        origin=origin,
    )


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 customer, 1,200 customers."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(at: float, zone: ZoneInfo) -> Moment:
    """Seconds since 1970 UTC as a moment; the zone's offset stands beside it, since letters like IST mean several."""
    local = datetime.fromtimestamp(at, zone)
    return Moment(
        shown=f"{local:%d %b %Y %H:%M:%S} {offset(local)}",
        machine=datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
    )


def offset(local: datetime) -> str:
    """The offset of a time with a zone: UTC, UTC+05:30."""
    letters = local.isoformat(timespec="seconds")[19:]
    return "UTC" if letters == "+00:00" else f"UTC{letters}"


def age(seconds: float) -> str:
    """A time span in its largest unit: 12 s, 3 min, 5 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
