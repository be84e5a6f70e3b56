"""The platform's id of an enrolment, told apart from whatever else a program writes in its place.

An id is known by its form and not by a list of words for *none*: there is no end to those (`PENDING`, `n/v`,
`[object Object]`, a date). What has another form proves no enrolment.
"""

from __future__ import annotations

import re
from typing import Final

from capillary.api.json_fields import identifier

#: A UUID, plain or in braces; the documented examples have 24 hexadecimal digits.
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{16,}|\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]+")
#: Any other id: long, with digits in it.
_TOKEN: Final = re.compile(r"(?=(?:[^0-9]*[0-9]){2})[0-9A-Za-z][0-9A-Za-z_-]{15,}")
#: A word of a language, between the signs of such an id.
_WORD: Final = re.compile(r"(?:^|[_-])(?:[a-z]{5,}|[A-Z]{5,}|[A-Z][a-z]{4,})(?=[_-]|$)")


def issued_id(value: object) -> str | None:
    """Return an id that has the form of one, or None.

    That is a whole number above 0; at least 16 hexadecimal digits, or a UUID, that are not all 0 or all f (the UUIDs
    of RFC 9562 that stand for nothing); or at least 16 letters, digits, `_` and `-`, with two digits and no word of
    five letters between the signs.
    """
    found = identifier(value)
    if found is None:
        return None
    if _HEXADECIMAL.fullmatch(found) or _NUMBER.fullmatch(found):
        return found if found.strip("0-{}") and found.lower().strip("f-{}") else None
    return found if _TOKEN.fullmatch(found) and not _WORD.search(found) else None
