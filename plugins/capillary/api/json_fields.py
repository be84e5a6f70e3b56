"""Read single JSON values of uncertain type: the platform mixes ints, floats and strings for one field."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

#: Above this a float no longer holds every integer.
EXACT_FLOAT_LIMIT: Final = 2**53
#: Epochs from here on are milliseconds: in seconds it would be the year 5138.
MILLISECONDS_FROM: Final = 1e11
#: An integer of JSON is read from a string up to this many digits; 2**63 has 19.
MAX_DIGITS: Final = 20
#: Stands where bytes could not be decoded.
REPLACEMENT: Final = "\ufffd"


def fields(value: object) -> dict[str, object]:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def integer(value: object) -> int | None:
    """Return a JSON number or a string of digits as int, exactly, or None.

    A float counts when it is integral and below 2**53, where every integer has its own float.
    """
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < EXACT_FLOAT_LIMIT else None
    if isinstance(value, str):
        digits = value.strip()
        if digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS:
            return int(digits)
    return None


def text(value: object, *, limit: int | None = None) -> str | None:
    """Return a non-blank string (a number as its digits), or None.

    NUL and lone surrogates are dropped, since databases and log files refuse them; cut to `limit` characters.
    """
    if isinstance(value, str):
        if value.isalnum() and value.isascii() and limit is None:
            return value  # ids and words, the bulk of a page
        clean = value if value.isascii() else value.encode("utf-8", "ignore").decode("utf-8")
        clean = clean.replace("\x00", "").strip()
        return clean[:limit] or None
    whole = integer(value)
    return None if whole is None else str(whole)


def word(value: object, *, limit: int | None = None) -> str | None:
    """Return a state, or another word that decides, as it was sent; None where a character of it is damaged.

    What `text` drops, and what could not be decoded, makes another word here, which may have a meaning of its own.
    """
    found = text(value, limit=limit)
    if found is None or not isinstance(value, str) or (value.isascii() and value.isalnum()):
        return found
    return found if value.strip().isprintable() and REPLACEMENT not in value else None


def identifier(value: object, *, limit: int | None = None) -> str | None:
    """Return an id as it was sent (a number as its digits), or None where it cannot be one: ids are ASCII and print."""
    found = word(value, limit=limit)
    return found if found is not None and found.isascii() else None


def boolean(value: object) -> bool | None:
    """Return true and false, also where they are spelled as strings; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def instant(iso: object, epoch: object, *, zone: tzinfo) -> datetime | None:
    """Return a time in UTC from the platform's twin fields, or None when neither can be read.

    An ISO time with an offset wins; then the epoch (seconds, or milliseconds from 1e11 on); then an ISO time
    without offset, which is the cluster's local time (`reference/timezone-management`).
    """
    local: datetime | None = None
    for candidate in (iso, epoch):
        if isinstance(candidate, str):
            try:
                parsed = datetime.fromisoformat(candidate.strip())
            except ValueError:
                continue
            if parsed.tzinfo is not None:
                return _utc(parsed)
            local = local or parsed.replace(tzinfo=zone)
    if isinstance(epoch, int | float) and not isinstance(epoch, bool):
        try:
            seconds = epoch / 1000 if abs(epoch) >= MILLISECONDS_FROM else epoch
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return None if local is None else _utc(local)


def _utc(moment: datetime) -> datetime | None:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
