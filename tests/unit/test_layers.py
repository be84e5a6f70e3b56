"""Imports run one way: engine → ledger, api → errors; none of them knows Airflow. SQL on the ledger is the ledger's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE = Path(__file__).parents[2] / "plugins" / "capillary"
#: room → rooms of the package it may import, and what lies beside the rooms, each with the reason.
ALLOWED: Final = {
    "api": {
        "api": "itself",
        "errors": "the roots of every error",
        "wrong_fields": "the error of a field that a person gave, in the words that all of them share",
        "visible_text": "a pure test of a text: what nobody sees in a credential is refused at the edge",
        "zone_names": "a pure test of a text: zones that differ from machine to machine are refused at the edge",
        "counted": "a pure function: a number and its noun",
        "missing_value": "a pure test of a text: what a template makes of nothing is refused at the edge",
    },
    "ledger": {
        "ledger": "itself",
        "errors": "the roots of every error",
        "wrong_fields": "the error of a guard that a person gave, in the words that all of them share",
        "counted": "a pure function: numbers in the sentence of what a run waits for",
    },
    "engine": {
        "engine": "itself",
        "ledger": "every query of a badge_* table",
        "api": "the platform",
        "errors": "the roots of every error",
        "wrong_fields": "as in the ledger",
        "counted": "as in the ledger",
    },
}

#: What everybody may take from SQLAlchemy: what is handed on, and what may go wrong. No query is made of these.
HANDED_ON: Final = frozenset({"URL", "Connection", "Dialect", "Engine"})
#: file → what else it takes: all of it is the warehouse's, whose SQL is a person's.
OF_THE_WAREHOUSE: Final = {
    "check/airflow_database.py": {
        "Session": "Airflow's own database: its pools and variables",
        "create_engine": "Airflow's own database",
        "make_url": "Airflow's own database",
        "select": "Airflow's own tables",
    },
    "engine/warehouse.py": {
        "CursorResult": "the rows of the campaign's query, streamed",
        "TextClause": "the campaign's query",
    },
    "engine/query_parameters.py": {
        "TextClause": "the campaign's query",
        "bindparam": "a parameter of the campaign's query",
        "text": "the campaign's query",
    },
    "ui/airflow_facts.py": {
        "Session": "Airflow's own database, which the API server may read",
        "func": "Airflow's own tables",
        "joinedload": "Airflow's own tables",
        "select": "Airflow's own tables",
        "tuple_": "Airflow's own tables",
    },
    "ui/failed_tasks.py": {"select": "Airflow's own tables", "tuple_": "Airflow's own tables"},
    "ui/import_errors.py": {"select": "Airflow's own tables"},
    "ui/queued_run.py": {"select": "Airflow's own tables"},
    "ui/reading.py": {"make_url": "the ledger's address, handed on with a shorter patience"},
    "connections/warehouse.py": {
        "create_engine": "the warehouse's connections",
        "make_url": "the warehouse's address",
    },
}
#: file → why it touches a transaction's connection; everybody else hands the transaction to a question of the ledger.
ON_THE_CONNECTION: Final = {"__main__.py": "`ledger check` says the revision, which no table of ours holds"}


#: Where PUT is Airflow's word for the right to edit something of its own; neither calls the platform.
AIRFLOWS_PUT: Final = frozenset({"ui/access.py", "ui/stop_routes.py"})


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a line comes from"
            if node.module == "capillary":
                yield from (f"capillary.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in files
        for name in imported(file)
        if name.split(".")[0] == "airflow"
        or (name.split(".")[0] == "capillary" and name.split(".")[1] not in ALLOWED[room])
    ]
    assert wrong == []
    used = {name.split(".")[1] for file in files for name in imported(file) if name.split(".")[0] == "capillary"}
    assert used == set(ALLOWED[room]), "what is allowed and not used any more"


def test_nothing_in_the_product_decides_a_request() -> None:
    """Four eyes: the platform's decision is a PUT, and there is none."""
    sources = [
        file.read_text() for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).as_posix() not in AIRFLOWS_PUT
    ]
    assert sources
    assert not any('"PUT"' in source or "'PUT'" in source or "actionDecision" in source for source in sources)


def _outside_the_ledger() -> list[Path]:
    return sorted(set(PACKAGE.rglob("*.py")) - {*(PACKAGE / "ledger").rglob("*.py"), *(PACKAGE / "api").rglob("*.py")})


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def _taken_from(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names that a module takes from a package, and the package's own where it is taken whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if f"{alias.name}.".startswith(f"{package}."))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if f"{node.module}.".startswith(f"{package}."):
                yield from (alias.name for alias in node.names)
            else:
                yield from (package for alias in node.names if f"{node.module}.{alias.name}" == package)


def _of_sqlalchemy(tree: ast.AST) -> set[str]:
    return {*_taken_from(tree, "sqlalchemy")} - {*_taken_from(tree, "sqlalchemy.exc")}


def test_no_table_of_the_ledger_is_known_outside_it() -> None:
    files = _outside_the_ledger()
    assert len(files) > 50
    taken = {_name(file): {*_taken_from(ast.parse(file.read_text()), "capillary.ledger.schema")} for file in files}
    assert {name: tables for name, tables in taken.items() if tables} == {}


def test_no_query_is_made_outside_the_ledger_but_the_warehouses() -> None:
    taken = {
        _name(file): found
        for file in _outside_the_ledger()
        if (found := _of_sqlalchemy(ast.parse(file.read_text())) - HANDED_ON)
    }
    assert taken == {name: set(reasons) for name, reasons in OF_THE_WAREHOUSE.items()}


def test_no_transaction_is_queried_outside_the_ledger() -> None:
    touching = {
        _name(file)
        for file in _outside_the_ledger()
        if any(
            isinstance(node, ast.Attribute) and node.attr == "conn" for node in ast.walk(ast.parse(file.read_text()))
        )
    }
    assert touching == set(ON_THE_CONNECTION)


def test_errors_alone_are_nobodys_query() -> None:
    assert _of_sqlalchemy(ast.parse("from sqlalchemy.exc import DBAPIError")) == set()
    assert _of_sqlalchemy(ast.parse("import sqlalchemy as sa\nfrom sqlalchemy.exc import DBAPIError")) == {"sqlalchemy"}


@pytest.mark.parametrize(
    ("source", "package", "taken"),
    [
        ("from sqlalchemy import select, URL", "sqlalchemy", {"select", "URL"}),
        ("from sqlalchemy.sql import text", "sqlalchemy", {"text"}),
        ("import sqlalchemy as sa", "sqlalchemy", {"sqlalchemy"}),
        ("import sqlalchemy.orm", "sqlalchemy", {"sqlalchemy.orm"}),
        ("def f():\n    from sqlalchemy import func", "sqlalchemy", {"func"}),
        ("from capillary.ledger import schema, spec", "capillary.ledger.schema", {"capillary.ledger.schema"}),
        ("from capillary.ledger.schema import badge_run as r", "capillary.ledger.schema", {"badge_run"}),
        ("import capillary.ledger.schema", "capillary.ledger.schema", {"capillary.ledger.schema"}),
        ("from capillary.ledger.status import Outcome", "capillary.ledger.schema", set()),
        ("from sqlalchemyish import select", "sqlalchemy", set()),
    ],
)
def test_whatever_form_an_import_has_it_is_seen(source: str, package: str, taken: set[str]) -> None:
    assert {*_taken_from(ast.parse(source), package)} == taken


@pytest.mark.parametrize("room", [".", *sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))])
def test_a_rooms_docstring_names_each_module_once(room: str) -> None:
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    named = re.findall(r"^- ``(\w+)``: .+$", said, re.MULTILINE)
    assert sorted(named) == sorted(
        file.stem for file in (PACKAGE / room).glob("*.py") if file.stem.strip("_") == file.stem
    )
