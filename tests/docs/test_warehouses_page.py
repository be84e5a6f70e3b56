"""docs/warehouses.md names the extras that there are, the versions that are pinned, and the classes that are judged."""

from __future__ import annotations

import re
import tomllib

import pytest

from capillary.connections import warehouse
from capillary.engine import query_errors
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs/warehouses.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def test_every_extra_stands_in_the_table() -> None:
    named = {found[1] for row in ROWS if len(row) == 5 and (found := re.fullmatch(r"`(\w+)`", row[2]))}
    assert named == set(EXTRAS)


@pytest.mark.parametrize(
    ("database", "package"),
    [("PostgreSQL", "postgres"), ("SQLite", "sqlite"), ("Trino", "trino")],
)
def test_the_versions_of_what_the_tests_use_are_the_pinned_ones(database: str, package: str) -> None:
    pins = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-dev.txt"))
    pinned = re.search(rf"^apache-airflow-providers-{package}==(\S+)", pins, re.MULTILINE)
    (row,) = (row for row in ROWS if row[0] == database and len(row) == 5)
    assert pinned
    assert f"provider {pinned[1]}" in row[3]


def test_the_classes_of_sqlstate_are_the_judged_ones() -> None:
    (row,) = (row for row in ROWS if row[0] == "any with SQLSTATE")
    assert set(re.findall(r"\b[0-9A-Z]{2}\b", row[2])) == query_errors._TERMINAL_CLASSES
    assert query_errors._READ_ONLY_TRANSACTION in row[2]


def test_the_extras_that_do_not_reach_the_engine_are_named() -> None:
    (paragraph,) = (part for part in PAGE.split("\n\n") if "do not reach the engine" in part)
    assert set(re.findall(r"`(\w+)`", paragraph)) - {"sqlalchemy_query"} == warehouse.NOT_FOR_THE_ENGINE
