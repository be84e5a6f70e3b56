"""Eighty values of a warehouse, each with the one reason by which it is named, all before any call."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from capillary.engine.customer_id import InvalidId, Reason, customer_id_of, shape_of
from capillary.engine.plan import plan_rows
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import badge_enrolment, badge_invalid
from tests.unit.ledger.orders import ORDER

R = Reason
_ZWSP, _NBSP, _BOM, _MINUS = "\u200b", "\u00a0", "\ufeff", "\u2212"

BAD: list[tuple[object, Reason]] = [
    # nothing there
    (None, R.NULL),
    ("", R.EMPTY),
    (" ", R.EMPTY),
    ("   \t", R.EMPTY),
    ("\n", R.EMPTY),
    (_NBSP, R.EMPTY),
    ("\u3000", R.EMPTY),
    (_ZWSP, R.NOT_DIGITS),
    ("\x00", R.NOT_DIGITS),
    # blanks around it
    (" 900001", R.BLANKS),
    ("900001 ", R.BLANKS),
    ("\t900001", R.BLANKS),
    ("900001\r\n", R.BLANKS),
    (f"{_NBSP}900001", R.BLANKS),
    (f"{_BOM}900001", R.NOT_DIGITS),
    (f"900001{_ZWSP}", R.NOT_DIGITS),
    ("900 001", R.NOT_DIGITS),
    # zeros and signs
    ("0900001", R.LEADING_ZEROS),
    ("000", R.LEADING_ZEROS),
    ("00000000000000000000900001", R.LEADING_ZEROS),
    ("0", R.TOO_SMALL),
    (0, R.TOO_SMALL),
    (-1, R.TOO_SMALL),
    (-900001, R.TOO_SMALL),
    (-(2**63), R.TOO_SMALL),
    (Decimal(0), R.TOO_SMALL),
    (Decimal("-0"), R.TOO_SMALL),
    (Decimal(-900001), R.TOO_SMALL),
    (Decimal("-0.5"), R.TOO_SMALL),
    ("-1", R.NOT_DIGITS),
    ("+900001", R.NOT_DIGITS),
    (f"{_MINUS}1", R.NOT_DIGITS),
    # too large
    (2**63, R.TOO_LARGE),
    (2**64, R.TOO_LARGE),
    (10**30, R.TOO_LARGE),
    (str(2**63), R.TOO_LARGE),
    ("9" * 19, R.TOO_LARGE),
    ("9" * 10_240, R.TOO_LARGE),
    (Decimal(2**63), R.TOO_LARGE),
    (Decimal("1E+19"), R.TOO_LARGE),
    (Decimal("1E+1000000"), R.TOO_LARGE),
    (Decimal("9223372036854775807.5"), R.FRACTION),
    # floating point
    (1e9, R.FLOAT),
    (900001.0, R.FLOAT),
    (1.5, R.FLOAT),
    (0.0, R.FLOAT),
    (-1.0, R.FLOAT),
    (2.0**63, R.FLOAT),
    (float("nan"), R.FLOAT),
    (float("inf"), R.FLOAT),
    (float("-inf"), R.FLOAT),
    ("1.0", R.NOT_DIGITS),
    ("900001.", R.NOT_DIGITS),
    ("1e9", R.NOT_DIGITS),
    ("NaN", R.NOT_DIGITS),
    ("Infinity", R.NOT_DIGITS),
    # decimals
    (Decimal("1.5"), R.FRACTION),
    (Decimal("900001.000000001"), R.FRACTION),
    (Decimal("NaN"), R.NOT_FINITE),
    (Decimal("sNaN"), R.NOT_FINITE),
    (Decimal("Infinity"), R.NOT_FINITE),
    (Decimal("-Infinity"), R.NOT_FINITE),
    # other types
    (True, R.BOOLEAN),
    (False, R.BOOLEAN),
    (b"900001", R.BYTES),
    (b"", R.BYTES),
    (bytearray(b"900001"), R.BYTES),
    (memoryview(b"900001"), R.BYTES),
    (dt.date(2026, 11, 23), R.OTHER_TYPE),
    (dt.timedelta(1), R.OTHER_TYPE),
    (uuid.UUID(int=900001), R.OTHER_TYPE),
    ([900001], R.OTHER_TYPE),
    ((900001,), R.OTHER_TYPE),
    # other digits
    ("\u0669\u0660\u0660\u0661", R.OTHER_DIGITS),
    ("\uff19\uff10\uff10", R.OTHER_DIGITS),
    ("9\u00b2", R.OTHER_DIGITS),
    ("\u0967\u0968", R.OTHER_DIGITS),
    # words
    ("\u00bd", R.NOT_DIGITS),
    ("\u2167", R.NOT_DIGITS),
    ("0x1F", R.NOT_DIGITS),
    ("1_000", R.NOT_DIGITS),
    ("1,000", R.NOT_DIGITS),
    ("null", R.NOT_DIGITS),
    ("+919876543210", R.NOT_DIGITS),
    ("jane.doe@brand.example", R.NOT_DIGITS),
    ("x" * 10_240, R.NOT_DIGITS),
]


@pytest.mark.parametrize(("value", "reason"), BAD, ids=map(str, range(1, len(BAD) + 1)))
def test_a_value_is_named_by_one_reason(value: object, reason: Reason) -> None:
    with pytest.raises(InvalidId) as caught:
        customer_id_of(value)
    assert caught.value.reason is reason


def test_all_are_named_before_any_call_and_stop_nobody(tmp_path: Path) -> None:
    """No platform is at hand: a call would be an error. The duplicates are of the one customer who is planned."""
    assert len(BAD) >= 80
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    values = [900001, *(value for value, _ in BAD), "900001", Decimal("900001.0")]
    with Ledger(url) as ledger:
        plan = plan_rows(ledger, [values[:7], values[7:50], values[50:]], ORDER)
        with ledger.read() as tx:
            invalid = tx.conn.execute(select(badge_invalid).order_by(badge_invalid.c.row_number)).all()
            planned = tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars().all()
    assert (plan.eligible, plan.invalid, plan.duplicates, plan.planned) == (len(values), len(BAD), 2, 1)
    assert list(planned) == [900001]
    assert [row.row_number for row in invalid] == list(range(2, len(BAD) + 2))
    assert Counter(row.reason for row in invalid) == Counter(str(reason) for _, reason in BAD)
    assert [row.shape for row in invalid] == [shape_of(value) for value, _ in BAD]


def test_no_row_keeps_what_stood_in_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    with Ledger(url) as ledger:
        plan_rows(ledger, [[value for value, _ in BAD]], ORDER)
    with sqlite3.connect(tmp_path / "ledger.db") as conn:
        kept = "\n".join(conn.iterdump())
    conn.close()
    for secret in ("919876543210", "jane.doe", "brand.example", "x" * 41, "0x1F"):
        assert secret not in kept
