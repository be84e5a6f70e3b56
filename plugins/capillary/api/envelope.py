"""The platform's error envelope, in every shape seen or to be expected.

Badge calls answer `{"data": null, "errors": [{"code": 809, "message": "…"}], "warnings": null}`; the
request workflow's own envelope is not documented, so `{"errors": {…}}`, `{"error": {…}}`, `{"status": {…}}`
and a bare `{"code": …, "message": …}` are understood as well; of a gateway's `application/problem+json` the words are.
Warnings are never errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from capillary.api.json_body import NotJson
from capillary.api.json_fields import fields, integer, text
from capillary.api.outside_text import on_one_line

# Each looks at a character once or twice: words without a blank would else take quadratic time.
_E_MAIL = re.compile(r"(?<![^\s@<>\"'])[^\s@<>\"']++@[^\s@<>\"']++")
_CREDENTIAL = re.compile(r"\b(basic|bearer)\s++[^\s,;\"']++", re.IGNORECASE)
_DOTTED_WORD = re.compile(r"[\w.-]++")
#: Four digits or more, of any script, with at most one sign between two of them: a blank of any width, a point, comma,
#: underscore, apostrophe, dash.
_NUMBER = re.compile(r"\+?\d(?:[\s().,_'\u2019\u066b\u066c\u00b7\u2010-\u2015\u200b\u2060\u2212-]?\d){3,}")
#: What stands in quotes; apostrophes inside words are none.
_QUOTED = re.compile(
    r"\"([^\"]{1,200})\"|(?<!\w)'([^']{1,200})'(?!\w)|`([^`]{1,200})`"
    r"|\u201c([^\u201d]{1,200})\u201d|\u2018([^\u2019]{1,200})\u2019|\u00ab([^\u00bb]{1,200})\u00bb"
)
#: A field or a constant, and no name of a person: camelCase, snake_case, dots, dashes, one word in one case.
_FIELD = re.compile(
    r"[a-z]+[A-Za-z0-9]*|[A-Z][A-Z0-9]*|[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)+|[A-Z][a-z]+Task|\d{1,3}|\*\*\*"
)
#: Characters of the platform's own words that an error may carry.
REASON_LIMIT = 200
#: Characters of the platform's own words that are looked at.
WORDS_LIMIT = 4_000
#: Characters before a cut that are dropped: half an e-mail address, which has 254 at most, is no longer known as one.
_AT_THE_CUT = 300
#: Codes below this are good news (`{"status": {"code": 200}}` of the older calls).
_FIRST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a body says about errors.

    Attributes:
        known_shape: False when the body is not an envelope at all.
        codes: every code from 300 on, wherever it stands.
        message: the first message.
        listed: the code of each entry of `errors` alone, None for one without: what the platform says and no gateway.
    """

    known_shape: bool
    codes: tuple[int, ...]
    message: str | None
    listed: tuple[int | None, ...] = ()


NO_ENVELOPE = Envelope(known_shape=False, codes=(), message=None)


def read_envelope(body: object) -> Envelope:
    """Read the error envelope of a parsed body (`NOT_JSON` and non-objects have none)."""
    if isinstance(body, NotJson) or not isinstance(body, dict):
        return NO_ENVELOPE
    known = False
    entries: list[object] = []
    for name in ("errors", "error", "status"):
        # A bare number is the HTTP status once more, as in a gateway's problem details.
        if name not in body or (name == "status" and not isinstance(body[name], dict | list)):
            continue
        known = True
        value = body[name]
        entries.extend(value if isinstance(value, list) else [value])
    if "code" in body or "message" in body:
        known = True
        entries.append(body)
    codes: list[int] = []
    message: str | None = None
    for entry in entries:
        code = error_code(entry)
        if code is not None and code >= _FIRST_ERROR:
            codes.append(code)
        message = message or _message(entry)
    errors = body.get("errors")
    listed = errors if isinstance(errors, list) else [errors] if isinstance(errors, dict) else []
    return Envelope(
        known_shape=known,
        codes=tuple(codes),
        message=message or _problem(body),
        listed=tuple(error_code(each) for each in listed),
    )


def _problem(body: dict[str, object]) -> str | None:
    """Return the words of a gateway's problem details (RFC 9457), which say nothing of whether a call was taken."""
    told = [said for name in ("title", "detail") if isinstance(body.get(name), str) and (said := text(body[name]))]
    return ": ".join(told) or None


def error_code(error: object) -> int | None:
    """Return the code of one error object (or of the first in a list), None when it has no readable one."""
    entries = error if isinstance(error, list) else [error]
    codes = (integer(fields(entry).get("code")) for entry in entries)
    return next((code for code in codes if code is not None), None)


def _message(error: object) -> str | None:
    return text(error) if isinstance(error, str) else text(fields(error).get("message"))


def _without_name(quoted: re.Match[str]) -> str:
    inside = next(group for group in quoted.groups() if group is not None)
    whole = quoted[0]
    return whole if _FIELD.fullmatch(inside.strip()) else f"{whole[0]}***{whole[-1]}"


def presentable(message: str, secrets: Iterable[str]) -> str:
    """Return the platform's words without secrets, e-mail addresses, long numbers and quoted names, on one line.

    A message may quote what was sent; customer ids, telephone numbers and names must not reach an error or a log. A
    number is long from four digits on, whatever separates them; what is quoted stays where it looks like a field.
    """
    masked = sorted(secrets, key=len, reverse=True)
    if is_long := len(message) > WORDS_LIMIT:
        message = message[: WORDS_LIMIT + sum(map(len, masked[:1]))]
    for secret in masked:
        message = message.replace(secret, "***")
    if is_long:
        message = message[: WORDS_LIMIT - _AT_THE_CUT]
    message = _DOTTED_WORD.sub(_without_jwt, _CREDENTIAL.sub("***", message))
    for pattern in (_E_MAIL, _NUMBER):
        message = pattern.sub("***", message)
    message = _QUOTED.sub(_without_name, message)
    return on_one_line(" ".join(message.split())[:REASON_LIMIT])


def _without_jwt(word: re.Match[str]) -> str:
    """Return a word without the JSON web token in it: from `eyJ` on, where a dot follows."""
    before, begin, rest = word[0].partition("eyJ")
    return f"{before}***" if begin and "." in rest else word[0]
