"""The codes that a driver's error carries: SQLSTATE, and a driver's own name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
_SQLSTATE_IN_TEXT: Final = re.compile(r"\bSQLSTATE\b\W{0,3}([0-9A-Z]{5})\b")


def sqlstate_of(orig: object) -> str | None:
    """Return the SQLSTATE: of psycopg, of psycopg2, of a dictionary (redshift_connector), of ODBC, or of the text."""
    first, *more = getattr(orig, "args", ()) or (None,)
    candidates = (
        getattr(orig, "sqlstate", None),
        getattr(orig, "pgcode", None),
        first.get("C") if isinstance(first, Mapping) else first if more else None,
    )
    for each in candidates:
        if isinstance(each, str) and _SQLSTATE.fullmatch(each):
            return each
    found = _SQLSTATE_IN_TEXT.search(str(orig))
    return found[1] if found else None


def driver_of(error: object) -> str:
    """Return the package whose error it is, such as `psycopg`, or `google` for all of Google's."""
    return type(error).__module__.partition(".")[0]


def number_of(orig: object) -> object:
    """Return the number of an error: of its attribute, or its first argument, as MySQL's drivers give it."""
    return getattr(orig, "errno", None) or next(iter(getattr(orig, "args", ())), None)
