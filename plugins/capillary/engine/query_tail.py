"""The end of a query: a semicolon there, and comments around it, are no part of what may stand in brackets."""

from __future__ import annotations

from sqlparse import tokens
from sqlparse.lexer import tokenize


def without_tail(sql: str) -> str:
    """Return a query without the semicolons at its end and what follows them, where that is but space and comments."""
    pieces = list(tokenize(sql))  # type: ignore[no-untyped-call] # sqlparse has no types
    end = len(pieces)
    for index in range(len(pieces) - 1, -1, -1):
        kind, piece = pieces[index]
        if kind is tokens.Punctuation and piece == ";":
            end = index
        elif not (kind in tokens.Whitespace or kind in tokens.Comment):
            break
    return "".join(piece for _, piece in pieces[:end])
