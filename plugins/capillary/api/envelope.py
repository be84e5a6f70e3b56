"""The platform's error envelope, in every shape seen or to be expected.

Badge calls answer `{"data": null, "errors": [{"code": 809, "message": "…"}], "warnings": null}`; the
request workflow's own envelope is not documented, so `{"errors": {…}}`, `{"error": {…}}`, `{"status": {…}}`
and a bare `{"code": …, "message": …}` are understood as well. Warnings are never errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from capillary.api.json_body import NotJson
from capillary.api.json_fields import fields, integer, text
from capillary.api.outside_text import on_one_line

_E_MAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
_CREDENTIAL = re.compile(r"\b(basic|bearer)\s+[^\s,;\"']+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]+\.[\w.-]+")
_NUMBER = re.compile(r"\+?\d(?:[\s().-]?\d){3,}")
#: Characters of the platform's own words that an error may carry.
REASON_LIMIT = 200
#: Codes below this are good news (`{"status": {"code": 200}}` of the older calls).
_FIRST_ERROR = 300


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a body says about errors.

    Attributes:
        known_shape: False when the body is no envelope at all.
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
        if name not in body:
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
        known_shape=known, codes=tuple(codes), message=message, listed=tuple(error_code(each) for each in listed)
    )


def error_code(error: object) -> int | None:
    """Return the code of one error object (or of the first in a list), None when it has no readable one."""
    entries = error if isinstance(error, list) else [error]
    codes = (integer(fields(entry).get("code")) for entry in entries)
    return next((code for code in codes if code is not None), None)


def _message(error: object) -> str | None:
    return text(error) if isinstance(error, str) else text(fields(error).get("message"))


def presentable(message: str, secrets: Iterable[str]) -> str:
    """Return the platform's words without secrets, e-mail addresses and numbers of four digits or more, on one line.

    A message may quote what was sent; customer ids and telephone numbers must not reach an error or a log.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, "***")
    for pattern in (_CREDENTIAL, _JWT, _E_MAIL, _NUMBER):
        message = pattern.sub("***", message)
    return on_one_line(" ".join(message.split())[:REASON_LIMIT])
