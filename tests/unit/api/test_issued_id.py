from __future__ import annotations

import pytest

from capillary.api.issued_id import issued_id


@pytest.mark.parametrize(
    "value",
    [
        *(None, 0, 0.0, -0.0, -1, -1.0, 1.5, float("nan"), float("inf"), True, False, [], {}, ["b" * 24]),
        *("", " ", "\t\n", "\x00", "\u200b", "-", "--", "?", ".", "...", "()", "[]", "{}", '""', "''", "<>"),
        *("0", "00", "0.0", "0x0", "0X00", "0-0", "-0", "+0", "0" * 12, "0" * 24, "0" * 32, "-1", "-1.0", "- 7"),
        *("null", "NULL", "Null", " null ", "(null)", "<null>", "[null]", '"null"', "'null'"),
        *("none", "None", "NONE", "<None>", "nil", "<nil>", "undefined", "Undefined", "void", "NaN", "nan"),
        *("N/A", "n/a", "NA", "n.a.", "#N/A", "not available", "Not Applicable", "NOT_FOUND", "unknown", "missing"),
        *("false", "False", "true", "no", "error", "FAILED", "string", "ObjectId(null)", "TBD"),
        *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
        *("ffffffff-ffff-ffff-ffff-ffffffffffff", "F" * 24),
    ],
)
def test_what_a_program_writes_for_none_is_none(value: object) -> None:
    assert issued_id(value) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("b" * 24, "b" * 24),
        ("658de01c823d1b70aabcfaae", "658de01c823d1b70aabcfaae"),
        (" 658de01c823d1b70aabcfaae ", "658de01c823d1b70aabcfaae"),
        ("000000000000000000000001", "000000000000000000000001"),
        ("0f0f0f0f0f0f0f0f0f0f0f0f", "0f0f0f0f0f0f0f0f0f0f0f0f"),
        ("23e06c3e-a5c3-11ee-9a63-9ab214749657", "23e06c3e-a5c3-11ee-9a63-9ab214749657"),
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        (77, "77"),
        (7.0, "7"),
        ("7", "7"),
        ("nullable-7", "nullable-7"),
        ("-a7", "-a7"),
    ],
)
def test_an_id_is_kept_as_it_is(value: object, read: str) -> None:
    assert issued_id(value) == read
