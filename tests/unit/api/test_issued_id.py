from __future__ import annotations

import pytest

from capillary.api.issued_id import issued_id


@pytest.mark.parametrize(
    "value",
    [
        *(None, 0, 0.0, -0.0, -1, -1.0, 1.5, float("nan"), float("inf"), True, False, [], {}, ["b" * 24]),
        *("", " ", "\t\n", "\x00", "\u200b", "-", "--", "?", ".", "...", "()", "[]", "{}", '""', "''", "<>"),
        *("0", "00", "0.0", "0x0", "0X00", "0-0", "-0", "+0", "0" * 12, "0" * 24, "0" * 32, "-1", "-1.0", "- 7"),
        *("0E-10", "0e0", "1.7E9", "7.5", "+7", "1,000", "1 000", "1_000"),
        *("null", "NULL", "Null", " null ", "(null)", "<null>", "[null]", '"null"', "'null'"),
        *("none", "None", "NONE", "<None>", "nil", "<nil>", "undefined", "Undefined", "void", "NaN", "nan"),
        *("N/A", "n/a", "NA", "n.a.", "n/v", "#N/A", "not available", "Not Applicable", "NOT_FOUND", "unknown"),
        *("false", "False", "true", "no", "error", "FAILED", "string", "ObjectId(null)", "ObjectId()", "TBD"),
        *("PENDING", "QUEUED", "DUPLICATE", "REJECTED", "EXISTS", "SKIPPED", "NOT_ENROLLED", "DENIED", "IGNORED"),
        *("[object Object]", "Optional.empty", "NOT_ENROLLED_TWICE_1026", "customer-not-found-1026", "E1026"),
        *("1900-01-01", "1970-01-01T00:00:00Z", "2026-03-10 09:00:00", "1970-01-01T00:00:00.000+0000"),
        *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
        *("ffffffff-ffff-ffff-ffff-ffffffffffff", "F" * 24, "f" * 16),
        *("b" * 15, "abcdefghijklmnopqrst", "658de01c823d1b70 aabcfaae", "7\u0660"),
    ],
)
def test_what_has_not_the_form_of_an_id_is_none(value: object) -> None:
    assert issued_id(value) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("b" * 24, "b" * 24),
        ("658de01c823d1b70aabcfaae", "658de01c823d1b70aabcfaae"),
        (" 658de01c823d1b70aabcfaae ", "658de01c823d1b70aabcfaae"),
        ("658DE01C823D1B70AABCFAAE", "658DE01C823D1B70AABCFAAE"),
        ("000000000000000000000001", "000000000000000000000001"),
        ("0f0f0f0f0f0f0f0f0f0f0f0f", "0f0f0f0f0f0f0f0f0f0f0f0f"),
        ("23e06c3e-a5c3-11ee-9a63-9ab214749657", "23e06c3e-a5c3-11ee-9a63-9ab214749657"),
        ("{23e06c3e-a5c3-11ee-9a63-9ab214749657}", "{23e06c3e-a5c3-11ee-9a63-9ab214749657}"),
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),  # a ULID
        ("V1StGXR8_Z5jdHi6B-myT", "V1StGXR8_Z5jdHi6B-myT"),  # a nanoid
        ("isd_2f8K1mQ0Zx7Lr5", "isd_2f8K1mQ0Zx7Lr5"),
        ("b" * 65, "b" * 65),
        (77, "77"),
        (7.0, "7"),
        ("7", "7"),
        ("007", "007"),
    ],
)
def test_an_id_is_kept_as_it_is(value: object, read: str) -> None:
    assert issued_id(value) == read
