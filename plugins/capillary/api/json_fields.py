"""Read single JSON values of uncertain type: the platform mixes ints, floats and strings for one field."""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from datetime import UTC, datetime, tzinfo
from typing import Final

from capillary.api.json_pieces import PIECE, parse_in_pieces

#: Above this a float no longer holds every integer.
EXACT_FLOAT_LIMIT: Final = 2**53
#: Epochs from here on are milliseconds: in seconds it would be the year 5138.
MILLISECONDS_FROM: Final = 1e11
#: An integer of JSON is read from a string up to this many digits; 2**63 has 19.
MAX_DIGITS: Final = 20
_DECODER: Final = json.JSONDecoder()


class NotJson:
    """The value of a body that is no JSON; a class of its own since None is JSON's null."""


NOT_JSON: Final = NotJson()


def read_json(body: bytes | str) -> object:
    """Return the parsed body, or `NOT_JSON`.

    Nothing is raised and nothing chained: the decoder's error would carry the whole body along.
    """
    try:
        value: object = json.loads(body) if len(body) <= PIECE else parse_in_pieces(_text_of(body), _DECODER)
    except (ValueError, RecursionError):
        return NOT_JSON
    return value


def _text_of(body: bytes | str) -> str:
    """Return a body as text, piece by piece (`capillary.api.json_pieces`); its encoding is what `json.loads` takes."""
    if isinstance(body, str):
        return body
    decoder = getincrementaldecoder(json.detect_encoding(body))()
    pieces = [decoder.decode(body[at : at + PIECE]) for at in range(0, len(body), PIECE)]
    return "".join((*pieces, decoder.decode(b"", final=True)))


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
        seconds = epoch / 1000 if abs(epoch) >= MILLISECONDS_FROM else epoch
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return None if local is None else _utc(local)


def _utc(moment: datetime) -> datetime | None:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
