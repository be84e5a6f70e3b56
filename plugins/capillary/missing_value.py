"""Texts that a template makes of a value that is missing."""

from __future__ import annotations

from typing import Final

#: What Python, JSON, JavaScript and pandas call a value that is missing.
_WORDS: Final = frozenset({"none", "null", "undefined", "nan", "nat", "<na>"})


def reads_like_none(text: str) -> bool:
    """Return whether a text is what becomes of a missing value, in any case and with blanks around it."""
    return text.strip().casefold() in _WORDS
