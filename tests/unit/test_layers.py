"""Imports run one way: engine → ledger, api → errors; none of them knows Airflow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "plugins" / "capillary"
#: room → rooms of the package it may import
ALLOWED = {
    "api": {"api", "errors", "wrong_fields", "missing_value", "counted"},
    "ledger": {"ledger", "errors", "wrong_fields", "counted"},
    "engine": {"engine", "ledger", "api", "errors", "wrong_fields", "counted"},
}


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


def test_nothing_in_the_product_decides_a_request() -> None:
    """Four eyes: the platform's decision is a PUT, and there is none."""
    sources = [file.read_text() for file in PACKAGE.rglob("*.py")]
    assert sources
    assert not any('"PUT"' in source or "'PUT'" in source or "actionDecision" in source for source in sources)
