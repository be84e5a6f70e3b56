"""A comment without end: SQLite takes it without a word, and with it the conditions that follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from capillary.campaign.errors import SqlInvalid
from capillary.campaign.sql_file import parsed, query_of
from capillary.engine.query_parameters import CommentOpen, open_comment_of
from capillary.engine.query_probe import probe_query
from capillary.engine.sql_tokens import GRAMMARS
from capillary.engine.warehouse import read_rows

SELECT = "SELECT customer_id FROM vip"
WITHOUT_END = [
    (f"{SELECT} /* c", (1, 29)),
    (f"{SELECT} /*", (1, 29)),
    (f"{SELECT} /*/", (1, 29)),
    (f"{SELECT}\nWHERE 1 = 1\n  /* gold only\nAND tier = 'gold'", (3, 3)),
    ("/* SELECT customer_id FROM vip", (1, 1)),
    (f"/* one */ {SELECT} /* two * /", (1, 39)),
    (f"{SELECT} -- /* no\n/* yes", (2, 1)),
    (f"{SELECT} WHERE tier <> '*/' /* '*/", None),  # closed: quotes mean nothing in it
    (f"{SELECT} /* c */", None),
    (f"{SELECT} /**/", None),
    (f"{SELECT} /* -- */", None),
    (f"{SELECT} -- /* c", None),
    (f"{SELECT} -- the end", None),
    (f"{SELECT} --", None),
    (f"{SELECT} WHERE tier <> '/* c'", None),
    (f"{SELECT} WHERE \"tier\" <> 'it''s /*'", None),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/wh.db")
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE vip (customer_id BIGINT, tier VARCHAR(10))"))
        conn.execute(text("INSERT INTO vip VALUES (1, 'gold'), (2, 'plus')"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize(("sql", "place"), WITHOUT_END)
def test_a_comment_without_end_is_refused_with_its_place(
    engine: Engine, sql: str, place: tuple[int, int] | None
) -> None:
    if place is None:
        probe_query(engine, sql, {})
        assert list(read_rows(engine, sql, {}))
        assert parsed(sql, "it") == sql
        return
    for look in (lambda: list(read_rows(engine, sql, {})), lambda: probe_query(engine, sql, {})):
        with pytest.raises(CommentOpen) as caught:
            look()
        assert caught.value.place == place
        assert f"/* in line {place[0]}, column {place[1]}; all that follows would be left out. Close it" in str(
            caught.value
        )
    with pytest.raises(SqlInvalid, match=rf"it has a comment without end: /\* in line {place[0]}, column {place[1]};"):
        parsed(sql, "it")


def test_a_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "vip.sql").write_text(f"{SELECT}\n/* gold", encoding="utf-8")
    with pytest.raises(SqlInvalid, match=r"the file 'vip\.sql' has a comment without end: /\* in line 2, column 1;"):
        query_of("vip.sql", tmp_path, beside="here")


@pytest.mark.parametrize(
    ("sql", "dialects"),
    [
        ("SELECT 1 /* /* c */", {"postgresql", "mssql", "databricks"}),  # where comments nest, one is open
        (r"SELECT 'it\'s /* x'", {"postgresql", "mssql", "sqlite"}),  # where no backslash escapes, the text has ended
        ("SELECT 1 # /* x", {"postgresql", "mssql", "sqlite", "databricks"}),  # where # begins no comment
        ("SELECT 1 /* x", {"postgresql", "mssql", "sqlite", "databricks", "mysql", "bigquery"}),
        ("SELECT 1 /* /* c */ */", set()),
    ],
)
def test_it_is_read_as_its_database_reads_it(sql: str, dialects: set[str]) -> None:
    for dialect in ("postgresql", "mysql", "bigquery", "mssql", "databricks", "sqlite"):
        is_open = open_comment_of(sql, GRAMMARS[dialect]) is not None
        assert is_open == (dialect in dialects), dialect


def test_where_the_database_is_not_known_all_must_read_it_so() -> None:
    assert open_comment_of("SELECT 1 /* x") == (1, 10)
    assert open_comment_of("SELECT 1 /* /* c */") is None
    assert open_comment_of(r"SELECT 'it\'s /* x'") is None


def test_jinja_may_close_it() -> None:
    assert parsed("SELECT 1 /* {{ '*/' }}", "it") == "SELECT 1 /* {{ '*/' }}"
