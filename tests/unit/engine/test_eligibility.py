from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from capillary.engine.customer_id import InvalidId, Reason, customer_id_of, shape_of
from capillary.engine.errors import QueryInterrupted, QueryRefused
from capillary.engine.query_parameters import ParameterMissing
from capillary.engine.warehouse import ColumnMissing, read_rows
from capillary.errors import TerminalError, TransientError

COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{}) SELECT i AS customer_id FROM n"


@pytest.mark.parametrize(
    ("value", "customer"),
    [
        (1, 1),
        (900001, 900001),
        (2**63 - 1, 2**63 - 1),
        ("1", 1),
        ("9223372036854775807", 2**63 - 1),
        (Decimal(900001), 900001),
        (Decimal("900001.00"), 900001),
        (Decimal("1E+3"), 1000),
        (Decimal(9223372036854775807), 2**63 - 1),
        (9007199254740993, 9007199254740993),
        ("9007199254740993", 9007199254740993),
        (Decimal("9007199254740993.0"), 9007199254740993),
    ],
)
def test_an_id_is_read_exactly(value: object, customer: int) -> None:
    read = customer_id_of(value)
    assert (read, type(read)) == (customer, int)


BAD: list[tuple[object, Reason]] = [
    (None, Reason.NULL),
    (True, Reason.BOOLEAN),
    (False, Reason.BOOLEAN),
    (b"900001", Reason.BYTES),
    (bytearray(b"1"), Reason.BYTES),
    (memoryview(b"1"), Reason.BYTES),
    (900001.0, Reason.FLOAT),
    (0.5, Reason.FLOAT),
    (float("nan"), Reason.FLOAT),
    (float("inf"), Reason.FLOAT),
    (0, Reason.TOO_SMALL),
    (-1, Reason.TOO_SMALL),
    ("0", Reason.TOO_SMALL),
    (Decimal(0), Reason.TOO_SMALL),
    (Decimal(-1), Reason.TOO_SMALL),
    (Decimal("-1E+99"), Reason.TOO_SMALL),
    (2**63, Reason.TOO_LARGE),
    ("9223372036854775808", Reason.TOO_LARGE),
    ("1" * 20, Reason.TOO_LARGE),
    ("1" * 10_240, Reason.TOO_LARGE),
    (Decimal(2**63), Reason.TOO_LARGE),
    (Decimal("1E+999999"), Reason.TOO_LARGE),
    (Decimal("1.5"), Reason.FRACTION),
    (Decimal("1E-9999"), Reason.FRACTION),
    (Decimal("NaN"), Reason.NOT_FINITE),
    (Decimal("sNaN"), Reason.NOT_FINITE),
    (Decimal("-Infinity"), Reason.NOT_FINITE),
    ("", Reason.EMPTY),
    (" ", Reason.EMPTY),
    ("\t\n", Reason.EMPTY),
    ("\u00a0", Reason.EMPTY),
    (" 1", Reason.BLANKS),
    ("1 ", Reason.BLANKS),
    ("1\n", Reason.BLANKS),
    ("01", Reason.LEADING_ZEROS),
    ("00", Reason.LEADING_ZEROS),
    ("+1", Reason.NOT_DIGITS),
    ("-1", Reason.NOT_DIGITS),
    ("1.0", Reason.NOT_DIGITS),
    ("1e9", Reason.NOT_DIGITS),
    ("1_000", Reason.NOT_DIGITS),
    ("1,000", Reason.NOT_DIGITS),
    ("1 000", Reason.NOT_DIGITS),
    ("0x1f", Reason.NOT_DIGITS),
    ("NaN", Reason.NOT_DIGITS),
    ("null", Reason.NOT_DIGITS),
    ("1\x00", Reason.NOT_DIGITS),
    ("\ufeff1", Reason.NOT_DIGITS),
    ("jane@brand.example", Reason.NOT_DIGITS),
    ("x" * 10_240, Reason.NOT_DIGITS),
    ("\u0661\u0662", Reason.OTHER_DIGITS),
    ("\uff11", Reason.OTHER_DIGITS),
    ("\u00b2", Reason.OTHER_DIGITS),
    ([1], Reason.OTHER_TYPE),
    ({}, Reason.OTHER_TYPE),
    (1 + 0j, Reason.OTHER_TYPE),
]


@pytest.mark.parametrize(("value", "reason"), BAD, ids=itertools.count())
def test_anything_else_is_named_by_a_fixed_reason(value: object, reason: Reason) -> None:
    with pytest.raises(InvalidId) as caught:
        customer_id_of(value)
    assert caught.value.reason is reason
    assert str(caught.value) == f"no customer id: {reason}"
    assert len(reason) <= 100
    assert len(shape_of(value)) <= 40


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("900001", "999999"),
        ("Jane.Doe-7@brand.example", "aaaa.aaa-9@aaaaa.aaaaaaa"),
        ("", ""),
        ("\u00e9\u0661\u00bd", "a99"),
        ("1\x00\n\U0001f600", "9???"),
        ("x" * 41, "a" * 40),
        (None, "NoneType"),
        (1.5, "float"),
        (b"jane", "bytes"),
    ],
)
def test_a_shape_says_nothing_of_the_value(value: object, shape: str) -> None:
    assert shape_of(value) == shape


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE member (customer_id BIGINT, tier TEXT)"))
        conn.execute(text("INSERT INTO member VALUES (1, 'gold'), (2, 'gold'), (NULL, 'gold'), (4, 'base')"))
    yield engine
    engine.dispose()


def test_rows_come_in_partitions_and_only_named_parameters_are_bound(warehouse: Engine) -> None:
    sql = "SELECT tier, customer_id AS Customer_ID FROM member WHERE tier = :tier ORDER BY rowid"
    rows = read_rows(warehouse, sql, {"tier": "gold", "unused": object()}, partition_rows=2)
    assert list(rows) == [[1, 2], [None]]


def test_no_rows_are_no_partitions(warehouse: Engine) -> None:
    assert list(read_rows(warehouse, "SELECT customer_id FROM member WHERE 1 = 0", {})) == []


def test_a_query_without_end_yields_its_first_rows(warehouse: Engine) -> None:
    rows = read_rows(warehouse, COUNT.format(""), {}, partition_rows=3)
    assert list(itertools.islice(rows, 2)) == [[1, 2, 3], [4, 5, 6]]


def test_memory_is_flat_over_200_000_rows(warehouse: Engine) -> None:
    tracemalloc.start()
    try:
        rows = read_rows(warehouse, COUNT.format(" WHERE i < 200000"), {}, partition_rows=1000)
        assert sum(map(len, rows)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sql", ["DELETE FROM member RETURNING customer_id", "INSERT INTO member VALUES (9, 'x')"])
def test_the_look_cannot_write_and_the_connection_can_afterwards(warehouse: Engine, sql: str) -> None:
    with pytest.raises(QueryRefused, match="readonly"):
        list(read_rows(warehouse, sql, {}))
    with warehouse.begin() as conn:
        assert conn.execute(text("SELECT count(*) FROM member")).scalar_one() == 4
        conn.execute(text("INSERT INTO member VALUES (5, 'base')"))


def test_a_consumer_that_stops_early_leaves_the_connection_writable(warehouse: Engine) -> None:
    rows = read_rows(warehouse, "SELECT customer_id FROM member", {}, partition_rows=1)
    next(rows)
    rows.close()  # type: ignore[attr-defined]  # a generator
    with warehouse.begin() as conn:
        conn.execute(text("DELETE FROM member"))
        assert conn.execute(text("SELECT count(*) FROM member")).scalar_one() == 0


def test_the_missing_parameter_is_named(warehouse: Engine) -> None:
    with pytest.raises(ParameterMissing, match=r"needs :tier; given: level\."):
        next(read_rows(warehouse, "SELECT customer_id FROM member WHERE tier = :tier", {"level": 1}))


def test_a_missing_column_names_those_there_are(warehouse: Engine) -> None:
    with pytest.raises(ColumnMissing, match=r"no column customer_id \(its columns: id, tier\)"):
        next(read_rows(warehouse, "SELECT customer_id AS id, tier FROM member", {}))
    with pytest.raises(ColumnMissing, match="several columns"):
        next(read_rows(warehouse, "SELECT customer_id, 1 AS CUSTOMER_ID FROM member", {}))


def test_wrong_sql_is_terminal_and_says_no_parameter(warehouse: Engine) -> None:
    with pytest.raises(QueryRefused, match="no such table: nowhere") as caught:
        next(read_rows(warehouse, "SELECT customer_id FROM nowhere WHERE x = :x", {"x": "canary-value"}))
    assert isinstance(caught.value, TerminalError)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_locked_warehouse_is_transient(tmp_path: Path, warehouse: Engine) -> None:
    impatient = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}", connect_args={"timeout": 0})
    with warehouse.connect() as conn:
        conn.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(QueryInterrupted, match="locked") as caught:
            next(read_rows(impatient, "SELECT customer_id FROM member", {}))
        conn.rollback()
    impatient.dispose()
    assert isinstance(caught.value, TransientError)
