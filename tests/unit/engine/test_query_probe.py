"""What a database tells of a query without a row of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, event, text

from capillary.engine.errors import QueryInterrupted, QueryRefused
from capillary.engine.query_parameters import ParameterInvalid, ParameterMissing
from capillary.engine.query_probe import EXPLAINS, Depth, probe_query
from capillary.engine.warehouse import ColumnMissing, read_rows
from tests.postgresql import ServerMissing, running_server

Statements = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[URL]:
    try:
        with running_server() as server:
            yield server.url
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A warehouse with customers 1 to 3."""
    url = (
        URL.create("sqlite", database=str(tmp_path / "warehouse.db"))
        if request.param == "sqlite"
        else request.getfixturevalue("postgresql")
    )
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("DROP TABLE IF EXISTS vip"))
        conn.execute(text("CREATE TABLE vip (customer_id BIGINT, tier VARCHAR(10), since DATE)"))
        conn.execute(text("INSERT INTO vip VALUES (1, 'gold', NULL), (2, 'gold', NULL), (3, 'plus', NULL)"))
    yield engine
    engine.dispose()


def rows(engine: Engine) -> int:
    with engine.connect() as conn:
        return int(conn.execute(text("SELECT COUNT(*) FROM vip")).scalar_one())


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT customer_id FROM vip", {}),
        ("SELECT customer_id, tier FROM vip ORDER BY customer_id LIMIT 2", {}),
        ("SELECT customer_id FROM vip;", {}),
        ("SELECT customer_id FROM vip ; -- the gold ones;\n/* done */\n", {}),
        ("SELECT customer_id FROM vip -- the last line is a comment", {}),
        ("-- the first one, too\nSELECT customer_id FROM vip WHERE tier <> ';'", {}),
        ("WITH gold AS (SELECT * FROM vip WHERE tier = :tier) SELECT customer_id FROM gold", {"tier": "gold"}),
        ("SELECT customer_id FROM vip WHERE tier IN (:tiers)", {"tiers": ["gold", "plus"]}),
        ("SELECT customer_id FROM vip UNION SELECT 4 ORDER BY 1", {}),
        ("SELECT CUSTOMER_ID AS Customer_Id FROM vip", {}),
        ("SELECT 'a:b' AS x, customer_id FROM vip WHERE :tier = tier", {"tier": "gold", "other": 1}),
    ],
)
def test_what_can_be_run_is_looked_at_with_its_columns(engine: Engine, sql: str, parameters: dict[str, Any]) -> None:
    assert probe_query(engine, sql, parameters) is Depth.COLUMNS
    assert list(read_rows(engine, sql, parameters)), "the run agrees"


@pytest.mark.parametrize(
    ("sql", "parameters", "error"),
    [
        ("SELECT customer_id FROM wip", {}, QueryRefused),
        ("SELECT no_such_column AS customer_id, nothing FROM vip", {}, QueryRefused),
        ("SELEKT 1", {}, QueryRefused),
        ("SELECT tier FROM vip", {}, ColumnMissing),
        ("SELECT customer_id, customer_id FROM vip", {}, ColumnMissing),
        ("SELECT customer_id, tier AS Customer_ID FROM vip", {}, ColumnMissing),
        ("SELECT customer_id FROM vip WHERE tier = :tier", {}, ParameterMissing),
        ("SELECT customer_id FROM vip WHERE tier = ':tier'", {"tier": "gold"}, ParameterInvalid),
        ("SELECT customer_id FROM vip; SELECT 2", {}, QueryRefused),
        ("DELETE FROM vip", {}, QueryRefused),
        ("INSERT INTO vip VALUES (9, 'x', NULL) RETURNING customer_id", {}, QueryRefused),
        ("", {}, QueryRefused),
    ],
)
def test_what_a_run_would_refuse_is_refused(
    engine: Engine, sql: str, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        probe_query(engine, sql, parameters)
    with pytest.raises(error):
        list(read_rows(engine, sql, parameters))
    assert rows(engine) == 3


def test_no_row_is_read(engine: Engine) -> None:
    """A division by zero shows only in rows: whoever reads one on PostgreSQL hears of it."""
    sql = "SELECT 1 / (customer_id - customer_id) AS customer_id FROM vip"
    assert probe_query(engine, sql, {}) is Depth.COLUMNS
    if engine.dialect.name == "postgresql":
        with pytest.raises(QueryRefused):
            list(read_rows(engine, sql, {}))


def test_a_function_with_effects_is_not_run(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no sequences")
    with engine.begin() as conn:
        conn.execute(text("DROP SEQUENCE IF EXISTS calls"))
        conn.execute(text("CREATE SEQUENCE calls"))
    assert probe_query(engine, "SELECT nextval('calls') AS customer_id FROM vip", {}) is Depth.COLUMNS
    with engine.connect() as conn:
        assert conn.execute(text("SELECT is_called FROM calls")).scalar_one() is False


def test_a_database_that_is_away_may_pass() -> None:
    engine = create_engine("postgresql+psycopg://127.0.0.1:1/nowhere?connect_timeout=2")
    with pytest.raises(QueryInterrupted):
        probe_query(engine, "SELECT 1 AS customer_id", {})


@pytest.fixture
def other(engine: Engine) -> Iterator[tuple[Engine, Statements]]:
    """SQLite under another dialect's name, and what it was asked: it knows EXPLAIN, too."""
    if engine.dialect.name != "sqlite":
        pytest.skip("once is enough")
    asked: Statements = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    with engine.connect():  # the dialect looks at itself at the first connection
        pass
    event.listen(engine, "before_cursor_execute", note)
    yield engine, asked
    engine.dialect.name = "sqlite"


@pytest.mark.parametrize("dialect", sorted(EXPLAINS))
def test_where_explain_runs_nothing_it_is_asked_and_columns_stay_untold(
    other: tuple[Engine, Statements], dialect: str
) -> None:
    engine, asked = other
    engine.dialect.name = dialect
    assert probe_query(engine, "SELECT tier FROM vip WHERE tier = :tier", {"tier": "gold"}) is Depth.NAMES
    assert [statement.split()[0] for statement, _ in asked] == ["EXPLAIN"]
    with pytest.raises(QueryRefused, match="no such table"):
        probe_query(engine, "SELECT customer_id FROM wip", {})


@pytest.mark.parametrize("dialect", ["mysql", "oracle", "mssql", "bigquery", "trino", "unheard_of"])
def test_where_nothing_can_be_asked_without_running_it_nothing_is(
    other: tuple[Engine, Statements], dialect: str
) -> None:
    engine, asked = other
    engine.dialect.name = dialect
    assert probe_query(engine, "SELECT tier FROM wip", {}) is Depth.NOTHING
    assert asked == []
    with pytest.raises(ParameterMissing):
        probe_query(engine, "SELECT customer_id FROM vip WHERE tier = :tier", {})
