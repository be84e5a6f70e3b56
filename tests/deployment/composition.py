"""docker-compose.yml as Compose reads it: anchors merged, variables put in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # no stubs among the project's requirements

CHECKOUT = Path(__file__).parents[2]
COMPOSE_FILE = CHECKOUT / "docker-compose.yml"
DEMO = "demo"

#: The forms of the Compose Specification, "Interpolation", that the file uses: $$, ${NAME:-default}, ${NAME:?why}.
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z_]+)(?P<form>:-|:\?)(?P<rest>[^}]*)\}|(?P<other>\$)")

Document = dict[str, Any]


def document() -> Document:
    """The file with its anchors merged, and its variables as they are written."""
    loaded: Document = yaml.safe_load(COMPOSE_FILE.read_text())
    return loaded


def rendered(variables: Mapping[str, str]) -> Document:
    """The file with its variables put in.

    Raises:
        KeyError: a variable without a default is missing.
        ValueError: a dollar that Compose would not understand.
    """

    def put_in(found: re.Match[str]) -> str:
        if found["other"]:
            raise ValueError(f"a dollar that is neither $$ nor a variable with :- or :?, in {found.string!r}")
        if not found["name"]:
            return "$"
        value = variables.get(found["name"], "")
        if value:
            return value
        if found["form"] == ":?":
            raise KeyError(found["name"])
        return found["rest"]

    def walk(node: object) -> object:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return _VARIABLE.sub(put_in, node) if isinstance(node, str) else node

    return {key: walk(value) for key, value in document().items()}


def variables() -> dict[str, str | None]:
    """Every variable of the file and its default; None where it must be given."""
    return {
        found["name"]: None if found["form"] == ":?" else found["rest"]
        for text in texts(document())
        for found in _VARIABLE.finditer(text)
        if found["name"]
    }


def made_up() -> dict[str, str]:
    """A value for each variable that must be given."""
    values = {name: f"made-up-{name.lower()}" for name, default in variables().items() if default is None}
    return values | {"AIRFLOW_UI_PASSWORDS": '{"admin": "made-up-for-a-test"}'}


def texts(node: object) -> Iterator[str]:
    """Every text of a document, keys aside."""
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def words(command: object) -> list[str]:
    """A command in either of its two forms, as words."""
    if isinstance(command, str):
        return command.split()
    assert isinstance(command, list), command
    return [str(word) for word in command]
