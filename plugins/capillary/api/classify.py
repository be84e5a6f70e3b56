"""What an answer means that is not plainly good: body code first, HTTP status second.

A POST and a read are judged by different tables. A read may be repeated; of a POST only what is certainly not
taken may, so everything that is not a clear word is in doubt. The error that a verdict becomes, and the reason in its
message: `response`. The sentence around it, with what to do: `errors`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from capillary.api.codes import (
    BUSY_CODES,
    CREDENTIAL_CODES,
    DOUBTFUL_CODES,
    EVERYTHING_CODES,
    READ_AGAIN_CODES,
    REQUEST_CODES,
)

#: Seconds a `Retry-After` may ask for; more is cut, since nobody would notice a stopped account.
RETRY_AFTER_LIMIT_S: Final = 900.0

#: Most digits of an `Age` that is one, seconds: 31 years.
_AGE_DIGITS: Final = 9

#: Statuses after which a read is repeated; every other 5xx is too. 461: search is busy.
READ_AGAIN_STATUSES: Final = frozenset({408, 425, 429, 461})
#: Client errors that say nothing of whether a POST arrived: time-outs, conflicts, busy.
_UNCLEAR_STATUSES: Final = frozenset({408, 409, 425, 461, 499})


class PostVerdict(StrEnum):
    """What is known of a POST that got an answer other than a request id."""

    NOT_TAKEN = "not taken"  #: certainly not taken; send again later
    RATE_LIMITED = "rate limited"  #: not taken, and the account must pause
    UNAUTHORIZED = "unauthorized"  #: not taken; renew the credential
    REQUEST_REFUSED = "request refused"  #: this request's own content
    EVERYTHING_REFUSED = "everything refused"  #: any request would be refused
    IN_DOUBT = "in doubt"  #: no trustworthy word


def classify_post(status: int, codes: Collection[int], *, readable: bool) -> PostVerdict:
    """Return what an answer to a POST means; a 2xx with a request id never gets here.

    Args:
        status: HTTP status.
        codes: all error codes of the body; the most careful verdict among them wins.
        readable: the body is a JSON object in one of the known error shapes.
    """
    by_code = (
        (DOUBTFUL_CODES, PostVerdict.IN_DOUBT),
        (EVERYTHING_CODES, PostVerdict.EVERYTHING_REFUSED),
        (REQUEST_CODES, PostVerdict.REQUEST_REFUSED),
        (CREDENTIAL_CODES, PostVerdict.UNAUTHORIZED),
        (BUSY_CODES, PostVerdict.NOT_TAKEN),
    )
    for known, verdict in by_code:
        if not known.isdisjoint(codes):
            return verdict
    by_status = {
        401: PostVerdict.UNAUTHORIZED,
        413: PostVerdict.REQUEST_REFUSED,
        429: PostVerdict.RATE_LIMITED,
    }
    if status in by_status:
        return by_status[status]
    if 400 <= status < 500 and readable and status not in _UNCLEAR_STATUSES:
        return PostVerdict.EVERYTHING_REFUSED
    return PostVerdict.IN_DOUBT


class ReadVerdict(StrEnum):
    """What an answer to a read means."""

    GOOD = "good"  #: a 2xx without a word of an error
    AGAIN = "again"  #: repeat it after a pause
    RENEW = "renew"  #: renew the credential and repeat once
    REFUSED = "refused"  #: repeating cannot help
    UNREADABLE = "unreadable"  #: a 2xx that is not an answer


def classify_read(status: int, codes: Collection[int], *, readable: bool) -> ReadVerdict:
    """Return what an answer to a read means.

    Args:
        status: HTTP status.
        codes: the error codes of the body.
        readable: the body is JSON, and where the status is good, it holds what was asked for.
    """
    refusals = REQUEST_CODES | EVERYTHING_CODES
    if not refusals.isdisjoint(codes):
        return ReadVerdict.REFUSED
    if status == 401 or 401 in codes or not CREDENTIAL_CODES.isdisjoint(codes):
        return ReadVerdict.RENEW
    if status >= 500 or status in READ_AGAIN_STATUSES or not READ_AGAIN_CODES.isdisjoint(codes):
        return ReadVerdict.AGAIN
    if not 200 <= status < 300:
        return ReadVerdict.REFUSED
    return ReadVerdict.GOOD if readable and not codes else ReadVerdict.UNREADABLE


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` asks for, 0 to 900, or None when it is absent or garbage.

    Both forms of RFC 9110 section 10.2.3 are read. A date is measured against the reply's own `Date`, so that
    a clock that goes wrong on either side does not matter; against `now` where that is missing.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = _http_date(value)
        if until is None:
            return None
        seconds = (until - (_http_date(headers.get("date", "")) or now)).total_seconds()
    if math.isnan(seconds) or math.isinf(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_S)


def platform_time(headers: Mapping[str, str]) -> datetime | None:
    """Return the clock of whoever answered, whole seconds, or None when `Date` is absent or garbage.

    A cache keeps the `Date` of the answer that it repeats, and says in `Age` how many seconds ago that was
    (RFC 9110, section 6.6.1; RFC 9111, section 5.1).
    """
    said = _http_date(headers.get("date", ""))
    age = headers.get("age", "").strip()
    if said is None or not (age.isascii() and age.isdigit() and len(age) <= _AGE_DIGITS):
        return said
    try:
        return said + timedelta(seconds=int(age))
    except OverflowError:
        return None


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
