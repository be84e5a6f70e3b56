"""Narrowing JSON that a caller sent: each function returns a value of one type, or says that it is none."""

from __future__ import annotations

import json

from sandbox.replies import PlatformError

MAX_ID = 2**63 - 1


def parse(body: bytes, *, code: int) -> dict[str, object]:
    """The JSON object in a request's body; ``PlatformError`` with ``code`` when it is none."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise PlatformError(code, "The body is not JSON.") from error
    if not isinstance(document, dict):
        raise PlatformError(code, "The body is not a JSON object.")
    return document


def child(document: dict[str, object], name: str) -> dict[str, object] | None:
    """The object under a name, or nothing."""
    value = document.get(name)
    return value if isinstance(value, dict) else None


def text(document: dict[str, object], name: str) -> str | None:
    """The text or whole number under a name, as text; nothing where it is absent, blank or neither."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value).strip() or None


def whole(value: object) -> int | None:
    """A whole number of 64 bits, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= MAX_ID else None
