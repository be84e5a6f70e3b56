"""Values of a query's names, on a real SQLite and a real PostgreSQL with both of its drivers."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Dialect, Engine, create_engine, make_url

from capillary.engine.errors import QueryRefused
from capillary.engine.query_parameters import (
    MAX_LISTED,
    ParameterInvalid,
    ParameterMissing,
    names_of,
    prepare,
    problems_of,
)
from capillary.engine.warehouse import read_rows
from capillary.errors import TerminalError
from tests.postgresql import ServerMissing, running_server

DRIVERS = ["sqlite", "postgresql+psycopg", "postgresql+psycopg2"]
POSTGRESQL = DRIVERS[1:]
#: Customers 1 to 4, each with a tier and a day.
MEMBERS = """
WITH member(customer_id, tier, day) AS (
    SELECT 1, 'gold', '2026-11-01' UNION ALL SELECT 2, 'gold', '2026-11-02'
    UNION ALL SELECT 3, 'base', '2026-11-03' UNION ALL SELECT 4, 'none', '2026-11-04'
)
SELECT customer_id FROM member WHERE {} ORDER BY customer_id
"""


class Tier(enum.StrEnum):
    GOLD = "gold"


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    try:
        with running_server() as server:
            made = {driver: create_engine(server.url.set(drivername=driver)) for driver in POSTGRESQL}
            made["sqlite"] = create_engine("sqlite://")
            yield made
            for engine in made.values():
                engine.dispose()
    except ServerMissing as error:
        pytest.skip(str(error))


def found(engine: Engine, where: str, **parameters: object) -> list[Any]:
    """Return the customers that a condition finds."""
    return [value for rows in read_rows(engine, MEMBERS.format(where), parameters) for value in rows]


def value_of(engine: Engine, expression: str, **parameters: object) -> object:
    """Return what the database makes of an expression."""
    ((value,),) = read_rows(engine, f"SELECT {expression} AS customer_id", parameters)
    return value


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("where", "value", "customers"),
    [
        ("tier IN (:x)", ["gold", "base"], [1, 2, 3]),
        ("tier NOT IN (:x)", ["gold"], [3, 4]),
        ("tier not in(:x)", ("gold", "base"), [4]),
        ("tier NOT IN :x", ["gold"], [3, 4]),
        ("tier IN ( -- not :y\n /* nor :z */ :x )", ["gold"], [1, 2]),
        ("tier IN (:x)", {"gold"}, [1, 2]),
        ("tier IN (:x)", frozenset({"gold"}), [1, 2]),
        ("tier IN (:x)", {"gold": 1}.keys(), [1, 2]),
        ("customer_id IN (:x)", range(2, 4), [2, 3]),
        ("(customer_id, tier) IN (:x)", [(1, "gold"), (3, "gold")], [1]),
        ("tier IN (:x)", "gold", [1, 2]),
        ("tier IN (:x)", Tier.GOLD, [1, 2]),
        ("tier IN (:x)", [Tier.GOLD], [1, 2]),
        ("tier IN ('base', :x)", "gold", [1, 2, 3]),
        ("tier IN (:x) AND NOT tier IN (:x)", ["gold"], []),
        ("customer_id NOT IN (:x)", [*range(1, 4), *range(100, 9_000)], [4]),
        ("tier = :x OR :x IS NULL", "base", [3]),
        ("tier IN ('base', coalesce(:x, 'gold'))", None, [1, 2, 3]),
        ("tier IN ('base', coalesce(:x, 'gold'))", "none", [3, 4]),
        ("tier NOT IN (SELECT tier FROM member WHERE customer_id < :x)", 3, [3, 4]),
    ],
)
def test_a_list_in_in_means_its_values(
    engines: dict[str, Engine], driver: str, where: str, value: object, customers: list[int]
) -> None:
    assert found(engines[driver], where, x=value) == customers


@pytest.mark.parametrize("driver", POSTGRESQL)
@pytest.mark.parametrize(
    ("where", "value", "customers"),
    [
        ("tier = ANY(:x)", ["gold", "base"], [1, 2, 3]),
        ("tier = ANY(:x)", ("gold",), [1, 2]),
        ("tier <> ALL (:x)", {"gold"}, [3, 4]),
        ("customer_id = ANY(:x)", [1, 4], [1, 4]),
        ("tier = ANY(:x::text[])", ["gold"], [1, 2]),
        ("day::date = ANY(:x)", [date(2026, 11, 4)], [4]),
        ("day::date = ANY(:x::date[])", ["2026-11-04"], [4]),
        ("tier IN (SELECT unnest(:x))", ["gold"], [1, 2]),
        ("array_position(:x, tier) IS NOT NULL", ["none"], [4]),
        ("tier = ANY(:x) AND tier IN (:x)", ["gold"], [1, 2]),
        ("customer_id::numeric = ANY(:x)", [Decimal(3)], [3]),
    ],
)
def test_postgresql_takes_a_list_as_an_array(
    engines: dict[str, Engine], driver: str, where: str, value: object, customers: list[int]
) -> None:
    assert found(engines[driver], where, x=value) == customers


@pytest.mark.parametrize("driver", POSTGRESQL)
@pytest.mark.parametrize("where", ["tier <> :x", "tier = :x", "lower(tier) = :x", "tier LIKE :x", "tier = lower(:x)"])
def test_a_list_where_postgresql_wants_one_value_is_an_error_and_no_empty_answer(
    engines: dict[str, Engine], driver: str, where: str
) -> None:
    with pytest.raises(QueryRefused, match=r"does not exist"):
        found(engines[driver], where, x=["gold"])


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        ("tier IN (:x)", [], "its list is empty, which finds nobody, or everybody. Give a value, or leave"),
        ("tier NOT IN :x", (), "its list is empty"),
        ("tier <> ALL(:x)", set(), "its list is empty"),
        ("tier NOT IN (:x)", ["gold", None], "its list holds None, and NULL in NOT IN finds nobody. Leave None out"),
        ("(tier, day) NOT IN (:x)", [("gold", None)], "its list holds None"),
        ("tier NOT IN (:x)", None, "it is None, and NULL in NOT IN finds nobody"),
        ("tier NOT IN ('gold', :x)", None, "it is None, and NULL in NOT IN finds nobody"),
        ("tier IN ('base', :x)", ["gold"], "is in IN beside something else. Let it stand alone: IN (:x)"),
        ("tier IN (:x, 'base')", ["gold"], "is in IN beside something else"),
        ("tier IN ((:x))", ["gold"], "is in IN beside something else"),
        ("tier IN (lower(:x))", ["gold"], "is in IN beside something else"),
        ("customer_id IN (:x)", list(range(MAX_LISTED + 1)), "its list has 10001 values, more than 10000"),
        ("customer_id = :x", float("nan"), "its value is not a number (NaN)"),
        ("customer_id = :x", Decimal("sNaN"), "its value is not a number (NaN)"),
        ("customer_id = ANY(:x)", [1.5, float("nan")], "its value is not a number (NaN)"),
        ("(customer_id, day) IN (:x)", [(float("nan"), "a")], "its value is not a number (NaN)"),
        ("customer_id IN (:x)", [1, Decimal("NaN")], "its value is not a number (NaN)"),
        ("tier = :x", object(), "a value of type object cannot be bound by"),
        ("tier IN (:x)", [object()], "a value of type object cannot be bound by"),
        ("tier = :x", {"tier": "secret-value"}, "a value of type dict cannot be bound by"),
        ("tier = :x", (each for each in ["gold"]), "a value of type generator cannot be bound by"),
        ("tier = :x", "\ud83d", "its text holds a character that no database keeps"),
        ("tier = ':x'", "gold", "it stands in quotes, where it is text and no value is bound. Take it out"),
        ('tier = ":x"', "gold", "it stands in quotes"),
    ],
)
def test_what_would_find_nobody_or_everybody_in_silence_is_refused_by_name(
    engines: dict[str, Engine], driver: str, where: str, value: object, words: str
) -> None:
    with pytest.raises(ParameterInvalid) as caught:
        found(engines[driver], where, x=value)
    said = str(caught.value)
    assert said.startswith("Parameter :x: ")
    assert words in said
    assert "secret-value" not in said
    assert isinstance(caught.value, TerminalError)
    assert caught.value.name == "x"


class Plain(enum.Enum):
    GOLD = "gold"


class Buffered:
    """Like a number of numpy: SQLite would take its bytes, and nothing equals those."""

    def __init__(self, number: int) -> None:
        self._number = array("q", [number])

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._number)


class Table:
    """Like a data frame: as a collection it is the names of its columns."""

    ndim = 2

    def __iter__(self) -> Iterator[str]:
        return iter(["customer_id"])

    def __len__(self) -> int:
        return 1

    def __contains__(self, name: object) -> bool:
        return name == "customer_id"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([array("q", [900001])], "its list holds lists"),
        (Table(), "its value is a table. Give one column of it as a list"),
        ("gold,base", "its text looks like a list, and IN would take it for one value. Give a list"),
        ("['gold', 'base']", "its text looks like a list"),
        (" ('gold')", "its text looks like a list"),
        (["gold", ["base"]], "its list holds lists"),
        (["gold", []], "its list holds lists"),
        ([("gold", 1), ("base",)], "its list holds lists"),
        ([Plain.GOLD], "a driver binds an Enum's name and not its value"),
        ([Buffered(1)], "a value of type Buffered"),
    ],
)
@pytest.mark.parametrize("operator", ["IN", "NOT IN"])
@pytest.mark.parametrize("engine", DRIVERS)
def test_what_in_would_read_otherwise_than_it_was_meant_is_refused(
    engines: dict[str, Engine], engine: str, operator: str, value: object, words: str
) -> None:
    with pytest.raises(ParameterInvalid, match=r"Parameter :x: ") as caught:
        found(engines[engine], f"tier {operator} (:x)", x=value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Decimal("1.5"), "a value of type Decimal cannot be bound by pysqlite"),
        (UUID(int=1), "a value of type UUID"),
        (time(1), "a value of type time"),
        (timedelta(1), "a value of type timedelta"),
        (2**63, "its number is too large for sqlite. Give at most 9223372036854775807"),
        (["gold"], "its value is a list, and only IN takes one on sqlite. Write IN (:x)"),
        (bytearray(b"gold"), "a value of type bytearray cannot be bound by pysqlite"),
        (memoryview(b"gold"), "a value of type memoryview"),
        (array("q", [900001]), "its value is a list, and only IN takes one"),
        (Plain.GOLD, "a driver binds an Enum's name and not its value"),
        ("a\0b", "its text holds a character that no database keeps"),
    ],
)
def test_what_sqlite_cannot_bind(engines: dict[str, Engine], value: object, words: str) -> None:
    with pytest.raises(ParameterInvalid, match=r"Parameter :x: ") as caught:
        found(engines["sqlite"], "tier = :x", x=value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [("a\0b", "its text holds a character"), ([object()], "its list holds values that psycopg")],
)
@pytest.mark.parametrize("driver", POSTGRESQL)
def test_what_postgresql_cannot_bind(engines: dict[str, Engine], driver: str, value: object, words: str) -> None:
    with pytest.raises(ParameterInvalid, match=r"Parameter :x: ") as caught:
        found(engines[driver], "tier = ANY(:x)", x=value)
    assert words in str(caught.value)


@pytest.mark.parametrize("dialect", [make_url(f"{each}://").get_dialect()() for each in ("mysql", "oracle")])
def test_what_other_drivers_are_not_given(dialect: Dialect) -> None:
    for value in (object(), {"a": 1}, [["a"]], "\ud83d"):
        with pytest.raises(ParameterInvalid, match="Parameter :x: "):
            prepare("SELECT 1 WHERE a IN (:x)", {"x": [value]}, dialect)
    with pytest.raises(ParameterInvalid, match=f"only IN takes one on {dialect.name}"):
        prepare("SELECT 1 WHERE a = ANY(:x)", {"x": [1]}, dialect)
    statement, values = prepare("SELECT 1 WHERE a IN (:x) AND b = :y", {"x": [1, 2], "y": Decimal(1)}, dialect)
    compiled = str(statement.bindparams(**values).compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))
    assert compiled.count("%s" if dialect.name == "mysql" else ":") == 3


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("expression", "parameters", "value"),
    [
        ("CAST(:x AS text)", {"x": "12:30 %s 100% :y '--"}, "12:30 %s 100% :y '--"),
        ("'100%' || CAST(:x AS text)", {"x": 1}, "100%1"),
        (r"'\:x 12:30 a::b :)'", {}, ":x 12:30 a::b :)"),
        ("'--' || CAST(:x AS text) -- :y it's\n", {"x": "a"}, "--a"),
        ("/* :y ' */ CAST(:x AS text)", {"x": "a"}, "a"),
        ("'it''s ' || CAST(:x AS text)", {"x": "a"}, "it's a"),
        (r"'\' || CAST(:x AS text) || '\'", {"x": "a"}, "\\a\\"),
        ("CAST(:day AS text)", {"day": date(2026, 11, 1)}, "2026-11-01"),
    ],
)
def test_what_stands_around_a_name_reaches_the_database_as_it_is(
    engines: dict[str, Engine], driver: str, expression: str, parameters: dict[str, object], value: object
) -> None:
    assert value_of(engines[driver], expression, **parameters) == value


@pytest.mark.parametrize("driver", POSTGRESQL)
@pytest.mark.parametrize(
    ("expression", "parameters", "value"),
    [
        (":x::int", {"x": "5"}, 5),
        (":excluded::int + 1", {"excluded": 5}, 6),
        (r"E'it\'s \:x ' || :y::text", {"y": "a"}, "it's :x a"),
        (r"E'a\\' || :y::text", {"y": "b"}, "a\\b"),
        (r"$a$ \:x ' $b$ $a$ || :y::text", {"y": "b"}, " :x ' $b$ b"),
        ("/* /* :x */ ' :y */ :z::int", {"z": 1}, 1),
        ("(ARRAY[7,8,9])[2:3]", {}, [8, 9]),
        ("(DATE '2026-11-30' - :days * interval '1 day')::date", {"days": 29}, date(2026, 11, 1)),
        ("""'{"a": 1, "b":2}'::jsonb ->> :key""", {"key": "b"}, "2"),
        ("""'{"a": 1}'::jsonb ? 'a'""", {}, True),
        ("7 % :x", {"x": 4}, 3),
        (":x::timestamptz", {"x": datetime(2026, 11, 1, tzinfo=UTC)}, datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_what_only_postgresql_has_reaches_it_as_it_is(
    engines: dict[str, Engine], driver: str, expression: str, parameters: dict[str, object], value: object
) -> None:
    assert value_of(engines[driver], expression, **parameters) == value


@pytest.mark.parametrize("driver", POSTGRESQL)
@pytest.mark.parametrize(
    "sql", ["interval ':days days'", "$$ :days $$", r"E'\':days'", '":days"', "$q$:days$q$", "N':days'"]
)
def test_quotes_of_postgresql_bind_nothing(engines: dict[str, Engine], driver: str, sql: str) -> None:
    with pytest.raises(ParameterInvalid) as caught:
        value_of(engines[driver], sql, days=90)
    assert "in place of interval ':days days': :days * interval '1 day'" in str(caught.value)
    assert r"or write \:days where the text is meant" in str(caught.value)


def test_sqlite_has_dates_as_text_and_identifiers_in_brackets(engines: dict[str, Engine]) -> None:
    engine = engines["sqlite"]
    assert found(engine, "day >= :since", since=date(2026, 11, 3)) == [3, 4]
    assert found(engine, "day IN (:days)", days=[date(2026, 11, 3)]) == [3]
    assert found(engine, "(day, tier) IN (:days)", days=[(date(2026, 11, 3), "base")]) == [3]
    assert value_of(engine, ":at", at=datetime(2026, 11, 1, 6, 30)) == "2026-11-01 06:30:00"  # noqa: DTZ001 - text
    assert value_of(engine, "(SELECT [a:b] + `c:d` + :x FROM (SELECT 1 AS [a:b], 2 AS `c:d`))", x=1) == 4
    for quoted in ("[:x]", "`:x`"):
        with pytest.raises(ParameterInvalid, match="it stands in quotes"):
            value_of(engine, quoted, x=1)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_byte_order_mark_is_no_part_of_the_query(engines: dict[str, Engine], driver: str) -> None:
    rows = read_rows(engines[driver], "\ufeffSELECT 5 AS customer_id", {})
    assert list(rows) == [[5]]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_name_that_nobody_gives_is_named_before_the_database_is_asked(
    engines: dict[str, Engine], driver: str
) -> None:
    with pytest.raises(ParameterMissing, match=r"needs :x, :y; given: z\.") as caught:
        found(engines[driver], "tier = :x AND day = :y AND day = :x -- :w", z=1)
    assert caught.value.missing == ("x", "y")


def test_before_the_database_is_known_only_what_every_one_refuses_is_wrong() -> None:
    assert names_of(r"SELECT :a, '\' || :b || '\', [:c], ':d' -- :e") == ["a"]
    assert names_of("SELECT 'it''s' = :a AND b IN (:b)") == ["a", "b"]
    assert [each.name for each in problems_of("a IN (:x) AND b IN (:y) AND c = ':z'", {"x": [], "y": [1]})] == [
        "z",
        "x",
    ]
    # SQLite's identifier is PostgreSQL's array, and a list outside IN may be PostgreSQL's.
    assert problems_of("a[:x] = 1 AND b = ANY(:y)", {"x": 1, "y": [1]}) == []


def test_what_a_driver_refuses_only_when_it_is_asked_names_the_parameters(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capillary.engine.query_parameters.unbindable", lambda *_: None)
    with pytest.raises(QueryRefused, match=r"one of :x \(int\), :y \(str\): OverflowError") as caught:
        found(engines["sqlite"], "customer_id = :x OR tier = :y", x=2**70, y="secret-value")
    assert "secret-value" not in str(caught.value)
