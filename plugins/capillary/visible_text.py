"""Characters that nobody sees: a pasted token or address holds them, and is another one than it looks."""

from __future__ import annotations

from typing import Final

#: Blank, though they count as letters, signs or marks: Hangul's fillers, Braille's blank, selectors, joiners.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(at) for at in range(0xFE00, 0xFE10)
}


def invisible(text: str) -> str | None:
    """Return the first character that nobody sees, such as `U+200B`; None where all are seen. A space is."""
    return next((f"U+{ord(sign):04X}" for sign in text if not sign.isprintable() or sign in _BLANK), None)
