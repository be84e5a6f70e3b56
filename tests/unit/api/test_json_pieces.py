"""A text in pieces is read as the same text at once, wherever it is cut."""

from __future__ import annotations

import json
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.api import json_pieces
from capillary.api.json_body import NOT_JSON, read_json
from capillary.api.json_pieces import PIECE, parse_in_pieces

DECODER = json.JSONDecoder()
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=40,
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Any:  # noqa: ANN401 - a generator of nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "PIECE", 16)
        yield


@given(VALUES, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_a_text_in_pieces_is_the_same_value(value: object, indent: int | None, signs: tuple[str, str]) -> None:
    text = json.dumps(value, indent=indent, separators=signs, ensure_ascii=False)
    assert parse_in_pieces(f" {text}\n", DECODER) == json.loads(text)


@given(VALUES, st.integers(0, 400), st.sampled_from([*'{}[],:"1e.-\\nulNI ', ""]))
def test_a_broken_text_is_broken_in_pieces_too(value: object, at: int, sign: str) -> None:
    text = json.dumps(value)
    broken = text[:at] + sign + text[at + 1 :]
    try:
        expected = json.loads(broken)
    except ValueError:
        with pytest.raises(ValueError, match=r"^$"):  # the decoder's own error would carry the text along
            parse_in_pieces(broken, DECODER)
    else:
        assert repr(parse_in_pieces(broken, DECODER)) == repr(expected)


def test_no_call_of_the_parser_is_given_more_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "PIECE", 1_000)
    given: list[int] = []

    class Counting(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            given.append(len(s) - idx)
            return super().raw_decode(s, idx)

    item = {"customerId": 900_001, "issuedId": "b" * 24, "status": "ACTIVE", "error": None}
    customers = list(range(900_000, 901_000))
    page = {"data": [{"customers": customers, "issuedBadges": [item] * 200}] * 20 + [{"a": [[1, [2]]]}] * 100}
    text = json.dumps(page)
    assert parse_in_pieces(text, Counting()) == page
    assert max(given) <= 1_002  # the brackets around a run
    assert sum(given) < 6 * len(text)


def test_a_large_body_is_read_like_a_small_one() -> None:
    page = {"data": [{"name": "Zoë \N{GRINNING FACE}"}] * PIECE}
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read_json(json.dumps(page, ensure_ascii=False).encode(encoding)) == page
    assert read_json(b"[" * 3_000_000) is NOT_JSON
    assert read_json(b"[" + b"1," * PIECE) is NOT_JSON
    assert read_json(b'["' + b"\xff" * PIECE + b'"]') == ["\ufffd" * PIECE]
    assert read_json(b"[" + b"1," * PIECE + b"9" * 5_000 + b"]") == [*[1] * PIECE, pytest.approx(nan, nan_ok=True)]
