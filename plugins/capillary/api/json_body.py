"""Read a body as JSON, where one damaged row of a list must not cost the others.

Text is decoded leniently, since it is for people; ids, states and keys are read strictly afterwards
(`capillary.api.json_fields.identifier`).
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from typing import Final

from capillary.api.json_pieces import PIECE, parse_in_pieces

#: Names that Python gives to charsets in which a body may come; its other codecs are none, or turn ids into others.
_CHARSET: Final = re.compile(
    r"utf-(8|16|32)(-[bl]e)?|ascii|iso8859-\d+|cp125\d|koi8-[ru]|gb(k|18030)|big5|shift_jis|euc_(jp|kr)"
)
_DECLARED: Final = re.compile(r";\s*charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_ROWS: Final = '"data"'


class NotJson:
    """The value of a body that is not JSON; a class of its own since None is JSON's null."""


NOT_JSON: Final = NotJson()
_ID: Final = "requestId"


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that is not JSON by itself.

    Attributes:
        words: its text, with whatever it echoes.
        request_id: what stands under `requestId` in it, if that is plain to see.
    """

    words: str = field(repr=False)
    request_id: str | None


def read_json(body: bytes | str, *, content_type: str = "") -> object:
    """Return the parsed body, or `NOT_JSON`; a row of the array `data` that cannot be parsed alone is a `BrokenRow`.

    Control characters inside strings are taken as they are, an integer of more digits than Python reads is NaN, and of
    a name that comes twice in one object the last value counts, as with most parsers.

    Nothing is raised and nothing chained: the decoder's error would carry the whole body along.

    Args:
        body: the body; bytes that cannot be decoded become replacement characters.
        content_type: the reply's header, whose charset is tried where the body is not UTF-8.
    """
    words = body if isinstance(body, str) else _decoded(body, content_type)
    value = _parsed(words.removeprefix("\ufeff"))
    return _parsed_row_by_row(words) if value is NOT_JSON else value


def _decoded(body: bytes, content_type: str) -> str:
    """Return the text: in UTF-8, 16 or 32 if it is that, else in the declared charset, else what is UTF-8 of it.

    RFC 8259 has JSON in UTF-8, and many servers declare another charset all the same.
    """
    found = json.detect_encoding(body)
    try:
        return body.decode(found)
    except UnicodeDecodeError:
        pass
    declared = _declared(content_type)
    try:
        return body.decode(declared or found)
    except UnicodeDecodeError:
        return body.decode(found, errors="replace")


def _declared(content_type: str) -> str | None:
    named = _DECLARED.search(content_type)
    if named is None:
        return None
    try:
        name = codecs.lookup(named[1]).name
    except LookupError:
        return None
    return name if _CHARSET.fullmatch(name) else None


def _parsed(words: str) -> object:
    try:
        return _loaded(words, _LENIENT)
    except (json.JSONDecodeError, RecursionError):
        return NOT_JSON
    except ValueError:
        pass  # an integer that is too long for Python
    try:
        return _loaded(words, _OF_LONG_INTEGERS)
    except (ValueError, RecursionError):
        return NOT_JSON


def _loaded(words: str, decoder: json.JSONDecoder) -> object:
    value: object = decoder.decode(words) if len(words) <= PIECE else parse_in_pieces(words, decoder)
    return value


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float("nan")


#: Control characters inside strings are taken as they are.
_LENIENT: Final = json.JSONDecoder(strict=False)
_OF_LONG_INTEGERS: Final = json.JSONDecoder(strict=False, parse_int=_whole)


def _parsed_row_by_row(words: str) -> object:
    """Parse the rows of `data` each by itself; `NOT_JSON` unless all is sound but for them.

    A row is found by its brackets. Text that was cut anywhere has too few of them.
    """
    rows = _rows(words)
    if not rows:
        return NOT_JSON
    parts, begun = [], 0
    for start, end in rows:
        parts += [words[begun:start], "{}"]
        begun = end
    whole = _parsed("".join([*parts, words[begun:]]))
    data = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(data, list) or data.count({}) != len(rows):
        return NOT_JSON
    parsed = (_row(words[start:end]) for start, end in rows)
    return whole | {"data": [next(parsed) if value == {} else value for value in data]}


def _row(words: str) -> object:
    value = _parsed(words)
    return BrokenRow(words, _request_id(words)) if value is NOT_JSON else value


def _request_id(words: str) -> str | None:
    """Return the one `requestId` of a broken row's own; its body holds another one, deeper down."""
    found: list[object] = []
    depth, last, named = 0, (0, 0), False
    for token in _TOKEN.finditer(words):
        sign = words[token.start()]
        if sign == '"' and depth == 1:
            if named and words[last[1] : token.start()].strip() == ":":
                found.append(_parsed(token[0]))
            named, last = token[0] == f'"{_ID}"', token.span()
        elif sign != '"':
            depth += 1 if sign in "[{" else -1
            named = False
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _rows(words: str) -> list[tuple[int, int]]:
    """Return where the objects and arrays of the array `data` of the outermost object begin and end."""
    rows: list[tuple[int, int]] = []
    depth, start, last = 0, 0, (0, 0)
    inside = False
    for token in _TOKEN.finditer(words):
        sign = words[token.start()]
        if sign == '"':
            if depth == 1:
                last = token.span()
        elif sign in "[{":
            if depth == 1:
                named = words[last[0] : last[1]] == _ROWS
                inside = sign == "[" and named and words[last[1] : token.start()].strip() == ":"
            if depth == 2:
                start = token.start()
            depth += 1
        else:
            depth -= 1
            if depth == 2 and inside:
                rows.append((start, token.end()))
            elif depth == 1:
                inside = False
    return rows if depth == 0 else []
