"""Where a query's names stand, as each kind of database reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capillary.engine.sql_tokens import GRAMMARS, QUOTED_NAME, STANDARD, Kind, tokens


def names(sql: str, dialect: str = "") -> tuple[list[str], list[str]]:
    """Return the names in code, and those in quotes."""
    found = list(tokens(sql, GRAMMARS.get(dialect, STANDARD)))
    quoted = [name for each in found if each.kind is Kind.QUOTED for name in QUOTED_NAME.findall(each.text)]
    return [each.text[1:] for each in found if each.kind is Kind.NAME], quoted


@pytest.mark.parametrize(
    ("sql", "dialect", "in_code", "in_quotes"),
    [
        ("a = :x AND b=:y_2", "", ["x", "y_2"], []),
        ("a = :größe", "", ["größe"], []),
        (":x", "", ["x"], []),
        ("a = ':x' AND b = :y", "", ["y"], ["x"]),
        ('":x" = :y', "", ["y"], ["x"]),
        ("'it''s :x' || :y", "", ["y"], ["x"]),
        ("'' || :y || ''", "", ["y"], []),
        ("'12:30:45', 'a:b', ':)', ' :1', '::int'", "", [], []),
        (r"'\:x', a = \:y", "", [], []),
        ("-- :x it's\n:y", "", ["y"], []),
        ("'--' || :y -- :x", "", ["y"], []),
        ("/* :x ' */ :y", "", ["y"], []),
        ("'/*' || :y || '*/'", "", ["y"], []),
        ("/* /* :x */ :y */ :z", "", ["y", "z"], []),
        ("/* /* :x */ :y */ :z", "postgresql", ["z"], []),
        ("/* /* :x */ :y */ :z", "mssql", ["z"], []),
        ("/* /* :x */ :y", "sqlite", ["y"], []),
        ("a::int = :x::int", "postgresql", ["x"], []),
        ("a[1:2], a[b:c]", "postgresql", [], []),
        (r"'\' || :x || '\'", "postgresql", ["x"], []),
        (r"E'it\'s :x' || :y", "postgresql", ["y"], ["x"]),
        (r"e'\\' || :y", "postgresql", ["y"], []),
        (r"WHERE'\' || :y || '\'", "postgresql", ["y"], []),
        ("$$ :x ' $$ || :y", "postgresql", ["y"], ["x"]),
        ("$a$ :x $b$ $a$ || :y", "postgresql", ["y"], ["x"]),
        ("a$b$ = :y AND c$b$ = :z", "postgresql", ["y", "z"], []),
        ("$1 = :y AND $2", "postgresql", ["y"], []),
        ("`:x` = :y", "sqlite", ["y"], ["x"]),
        ("[:x] = :y", "sqlite", ["y"], ["x"]),
        ("a[:x] = :y", "postgresql", ["x", "y"], []),
        (r"'it\'s :x' = :y", "mysql", ["y"], ["x"]),
        (r'"it\"s :x" = :y', "bigquery", ["y"], ["x"]),
        ("# :x\n:y", "mysql", ["y"], []),
        ("a #> :x", "postgresql", ["x"], []),
        ("1--:x", "mysql", ["x"], []),
        ("1-- :x", "mysql", [], []),
        ("// :x\n:y", "snowflake", ["y"], []),
        ("$$:x$$ = :y", "snowflake", ["y"], ["x"]),
        ("src:field = :y", "snowflake", ["y"], []),
        ("'''it's :x''' = :y", "bigquery", ["y"], ["x"]),
        ("q'[it's :x]' = :y", "oracle", ["y"], ["x"]),
        ("nq'!it's :x!' = :y", "oracle", ["y"], ["x"]),
        ("'never closed :x", "", [], ["x"]),
        ("/* never closed :x", "postgresql", [], []),
        ("$$ never closed :x", "postgresql", [], ["x"]),
    ],
)
def test_a_name_is_found_where_its_database_finds_it(
    sql: str, dialect: str, in_code: list[str], in_quotes: list[str]
) -> None:
    assert names(sql, dialect) == (in_code, in_quotes)


@pytest.mark.parametrize("dialect", [*GRAMMARS, ""])
@given(sql=st.text(alphabet="ab:'\"`[]$\\/*-# \nEq!(", max_size=40))
def test_no_character_is_lost_or_twice(dialect: str, sql: str) -> None:
    assert "".join(each.text for each in tokens(sql, GRAMMARS.get(dialect, STANDARD))) == sql
