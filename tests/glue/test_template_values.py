"""What an expression may come out as where it becomes a part of a text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from capillary.templating.values import NoText, assert_name, assert_one_value, assert_sql


class Missing:
    """Like a missing value of pandas."""

    def __init__(self, prints: str) -> None:
        self._prints = prints

    def __str__(self) -> str:
        return self._prints


def kind(value: object) -> str:
    return type(value).__name__


OF_NO_VALUE = [float("nan"), Decimal("nan"), Missing("NaT"), Missing("<NA>"), Missing("None")]
OF_SEVERAL = [["134", "135"], ("134",), {"134"}, {"a": "134"}, [], (n for n in "ab"), iter([1])]
NO_TEXT = [b"134", bytearray(b"134"), memoryview(b"134"), str.upper, len, "a".upper]


@pytest.mark.parametrize("value", [*OF_NO_VALUE, *OF_SEVERAL, *NO_TEXT, True, False, 134.0, float("inf")], ids=kind)
def test_what_is_no_name_is_refused(value: object) -> None:
    with pytest.raises(NoText):
        assert_name(value)


@pytest.mark.parametrize("value", ["134", "", "nan", 134, 0, date(2026, 11, 1), None])
def test_texts_numbers_and_dates_are_names(value: object) -> None:
    assert assert_name(value) is value


@pytest.mark.parametrize("check", [assert_one_value, assert_sql])
@pytest.mark.parametrize("value", [*OF_NO_VALUE, None, {"a": 1}, [1], {1}, (n for n in "ab"), *NO_TEXT], ids=kind)
def test_what_no_query_compares_with_is_refused(check: Callable[[object], object], value: object) -> None:
    with pytest.raises(NoText):
        check(value)


@pytest.mark.parametrize(
    "value", ["gold", "", 5, 1.5, True, Decimal("1.5"), datetime(2026, 11, 1, tzinfo=UTC), SimpleNamespace()], ids=kind
)
def test_values_are_parts_of_a_query(value: object) -> None:
    assert assert_one_value(value) is value


def test_a_tuple_is_sql_where_it_holds_something() -> None:
    assert assert_sql((1, 2)) == (1, 2)
    with pytest.raises(NoText, match="an empty tuple"):
        assert_sql(())
