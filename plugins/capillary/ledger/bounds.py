"""What a column holds, asked before a value meets it: PostgreSQL refuses the whole transaction, SQLite asks nobody.

Names that a person or Airflow gave are refused, for a shortened one could be another's. The platform's words are cut.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Column, String

from capillary.ledger.errors import ValueUnfit

#: Largest value of a column of type Integer.
MAX_INTEGER: Final = 2**31 - 1
#: NUL, which PostgreSQL's text cannot hold, and halves of surrogate pairs, which UTF-8 cannot.
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")


def unstorable(text: str) -> bool:
    """Return whether a text holds a character that no database keeps."""
    return bool(_UNSTORABLE.search(text))


def checked(column: Column[Any], name: str, value: str) -> str:
    """Return a name as it is.

    Args:
        column: where it is kept.
        name: what it is called where a person gave it.
        value: the name.

    Raises:
        ValueUnfit: it is too long for the column, or holds a character that no database keeps.
    """
    limit = _limit(column)
    if limit is not None and len(value) > limit:
        raise ValueUnfit(
            f"{name}: it is {len(value)} characters long, and the ledger keeps {limit}. Give a shorter one"
        )
    if unstorable(value):
        raise ValueUnfit(
            f"{name}: it holds a character that no database keeps (NUL, or half of a pair). Write it without"
        )
    return value


def cut(column: Column[Any], value: str) -> str:
    """Return words of the platform as the column keeps them: cut, and without what no database keeps."""
    return _UNSTORABLE.sub("", value)[: _limit(column)]


def code_kept(code: int | None) -> int | None:
    """Return one of the platform's codes, or None for a number that is none: they have up to six digits."""
    return code if code is not None and abs(code) <= MAX_INTEGER else None


def _limit(column: Column[Any]) -> int | None:
    return column.type.length if isinstance(column.type, String) else None
