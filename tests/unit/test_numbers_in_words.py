"""Every number that is printed with a noun agrees with it: `1 request`, `2 requests`, by `capillary.counted`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [file for room in ("plugins", "local_airflow", "sandbox") for file in sorted((ROOT / room).rglob("*.py"))]
NOUNS = (
    "approval|badge|call|campaign|candidate|column|count|customer|ending|enrolment|event|file|key|line|occasion|page|"
    "parameter|part|plan|poll|reading|request|row|run|sighting|task|time|tries|trigger"
)
#: A number that is no constant, at most one word in between, and a noun in the plural, or in both numbers at once.
OFF = re.compile(rf"(?:\0|%d|%i|%s)(?: [\w'-]+| \0)? (?:(?:{NOUNS})s\b|(?:{NOUNS})\(s\)|tries\b)")
#: A word between number and noun after which the number is not the noun's.
OTHERS = re.compile(r"\S+ (?:a|and|are|by|for|from|has|have|holds|in|is|no|of|on|or|that|the|to|with|without) ")


def said(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every text with its line; what stands for a number in it is a zero byte."""
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    parts -= {part for part in parts if isinstance(part, ast.JoinedStr)}
    of_many = {node.orelse for node in ast.walk(tree) if isinstance(node, ast.IfExp) and _asks_for_one(node.test)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node not in of_many:
            yield node.lineno, "".join(map(_said, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.lineno, node.value


def _asks_for_one(test: ast.expr) -> bool:
    """Say whether it is `… == 1`: what follows its `else` is said of many."""
    return isinstance(test, ast.Compare) and ast.unparse(test).endswith(" == 1")


def _said(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    value = part.value if isinstance(part, ast.FormattedValue) else part
    # Limits of the field types are constants, and none of them is one.
    return "9" if isinstance(value, ast.Name) and value.id.isupper() else "\0"


def found_in(code: str) -> list[tuple[int, str]]:
    return [(line, text) for line, text in said(ast.parse(code)) if any(not OTHERS.match(hit) for hit in hits(text))]


def hits(text: str) -> list[str]:
    return [found[0] for found in OFF.finditer(text)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_number_and_its_noun_are_put_together_by_counted(file: Path) -> None:
    assert found_in(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        'f"{n} requests"',
        'f"{len(rows):,} rows are bad"',
        'f"{a.b} open requests of it"',
        'f"{n} {KIND} requests"',
        'f"still {n} " f"customers"',
        '"%d pages, and more"',
        'log("sent %d new requests", n)',
        'f"{n} request(s)"',
    ],
)
def test_the_rule_sees_one(code: str) -> None:
    assert len(found_in(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "f\"{counted(n, 'request')} of it\"",
        'f"at most {MOST} requests"',
        'f"{name} is in requests"',
        'f"plan {n} of the requests"',
        'said = "1 request" if n == 1 else f"{n} requests"',
        '"every run has requests"',
    ],
)
def test_the_rule_leaves_others_alone(code: str) -> None:
    assert found_in(code) == []
