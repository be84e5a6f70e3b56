"""Parse a large JSON text piece by piece, so that other threads go on in between.

One call of Python's C parser keeps every thread of the process waiting until it ends: 25 MB take some 200 ms, for which
the triggerer's event loop stands still, whichever thread parses. No call is given more than `PIECE` characters here
(but for a single string that is longer).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.decoder import WHITESPACE  # type: ignore[attr-defined] # as json's own parser in Python uses it
from typing import Any, Final

#: Most characters that one call of the C parser is given: some 3 ms.
PIECE: Final = 262_144
#: Characters in which shows whether a number goes on: `e+`, and a digit.
_OF_A_NUMBER: Final = 3


def parse_in_pieces(text: str, decoder: json.JSONDecoder) -> object:
    """Return what `decoder.decode(text)` returns.

    Raises:
        ValueError: it is not JSON. The error carries no text.
        RecursionError: it is nested too deep.
    """
    pieces = _Pieces(text, decoder)
    value, end = pieces.value(pieces.past_blanks(0))
    if pieces.past_blanks(end) != len(text):
        raise ValueError
    return value


class _Pieces:
    """A text and a window on it, at the beginning of which the C parser is called."""

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decoder = decoder
        self._from = 0
        self._window = ""

    def past_blanks(self, at: int) -> int:
        match = WHITESPACE.match(self._text, at)
        return match.end() if match else at

    def value(self, at: int) -> tuple[Any, int]:
        """Return the value that begins here, and where it ends."""
        if not self._from <= at < self._from + len(self._window):
            self._look(at)
        found = self._decoded(at)
        if found is None and self._from != at:
            self._look(at)
            found = self._decoded(at)
        if found is not None:
            return found
        # It is longer than a window, or broken somewhere.
        opening = self._text[at : at + 1]
        if opening == "[":
            return self._array(at)
        if opening == "{":
            return self._object(at)
        return self._whole(at)

    def _look(self, at: int) -> None:
        self._from, self._window = at, self._text[at : at + PIECE]

    def _decoded(self, at: int) -> tuple[Any, int] | None:
        """Return a value that ends within the window; a number close to its edge may go on behind it, as 1 in 1.5."""
        try:
            value, end = self._decoder.raw_decode(self._window, at - self._from)
        except ValueError:
            return None
        is_last = self._from + len(self._window) == len(self._text)
        is_closed = isinstance(value, str | list | dict) or end <= len(self._window) - _OF_A_NUMBER
        return (value, self._from + end) if is_last or is_closed else None

    def _whole(self, at: int) -> tuple[Any, int]:
        try:
            value, end = self._decoder.raw_decode(self._text, at)
        except ValueError:
            end = -1
        if end < 0:
            raise ValueError  # not chained: the decoder's error carries the text
        return value, end

    def _array(self, at: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        runs = True

        def elements(here: int) -> int:
            nonlocal runs
            runs = runs and (run := self._run(here)) is not None
            if runs and run is not None:
                values, end = run
                found.extend(values)
            else:
                value, end = self.value(here)
                found.append(value)
            return end

        return found, self._members(at, "]", elements)

    def _run(self, at: int) -> tuple[list[Any], int] | None:
        """Return as many elements as a window holds; None where it cannot be cut between two simple ones."""
        window = self._text[at : at + PIECE]
        end = window.rfind("},") + 1 if window.startswith("{") else window.rfind(",")
        if end <= 0:
            return None
        try:
            values: list[Any] = self._decoder.decode(f"[{window[:end]}]")
        except ValueError:
            return None
        return values, at + end

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}

        def pair(here: int) -> int:
            if self._text[here : here + 1] != '"':
                raise ValueError
            name, end = self.value(here)
            colon = self.past_blanks(end)
            if self._text[colon : colon + 1] != ":":
                raise ValueError
            found[name], end = self.value(self.past_blanks(colon + 1))
            return end

        return found, self._members(at, "}", pair)

    def _members(self, at: int, closing: str, member: Callable[[int], int]) -> int:
        """Read what stands between brackets and commas; return where the brackets end."""
        at = self.past_blanks(at + 1)
        if self._text[at : at + 1] == closing:
            return at + 1
        while True:
            at = self.past_blanks(member(at))
            sign = self._text[at : at + 1]
            if sign == closing:
                return at + 1
            if sign != ",":
                raise ValueError
            at = self.past_blanks(at + 1)
