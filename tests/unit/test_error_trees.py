"""Each room draws the tree of its errors at the top of its `errors.py`, and keeps there what two modules raise."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import capillary
from capillary.errors import CapillaryError

ROOMS = ("api", "campaign", "connections", "engine", "ledger", "ui")
FOLDER = Path(next(iter(capillary.__path__)))

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def modules(room: str) -> list[ModuleType]:
    """Return the room's modules, `errors` first."""
    names = [each.name for each in pkgutil.iter_modules([str(FOLDER / room)])]
    return [
        importlib.import_module(f"capillary.{room}.{name}") for name in sorted(names, key=lambda each: each != "errors")
    ]


def own_errors(module: ModuleType) -> list[type[CapillaryError]]:
    """Return the errors that a module defines, in its order; private ones, which nobody catches, are left out."""
    return [
        each
        for name, each in vars(module).items()
        if inspect.isclass(each)
        and issubclass(each, CapillaryError)
        and each.__module__ == module.__name__
        and not name.startswith("_")
    ]


def parent(error: type[CapillaryError]) -> type[CapillaryError]:
    """Return what an error stands under: the last of its bases, which says whether it may be tried again."""
    return [each for each in error.__bases__ if issubclass(each, CapillaryError) and each.__name__[0] != "_"][-1]


def drawn(room: str) -> str:
    """Return the tree of a room: two blanks a step, and the module of what stands outside `errors.py` in brackets."""
    found = [error for module in modules(room) for error in own_errors(module)]
    above = [base for error in found for base in error.__mro__ if issubclass(base, CapillaryError)]
    kept = {base for base in above if base.__name__[0] != "_"}

    def lines(error: type[CapillaryError], depth: int) -> Iterator[str]:
        place = error.__module__.removeprefix(f"capillary.{room}.")
        outside = error in found and place != "errors"
        yield f"{'  ' * depth}{error.__name__}{f' ({place})' if outside else ''}"
        under = [each for each in kept if each is not CapillaryError and parent(each) is error]
        for each in sorted(under, key=lambda each: each.__name__):
            yield from lines(each, depth + 1)

    return "\n".join(lines(CapillaryError, 2))


@pytest.mark.parametrize("room", ROOMS)
def test_the_tree_at_the_top_is_that_of_the_classes(room: str) -> None:
    errors = importlib.import_module(f"capillary.{room}.errors")
    assert drawn(room) in (errors.__doc__ or ""), drawn(room)


def called(tree: ast.AST) -> set[str]:
    """Return the names that a module calls."""
    return {each.func.id for each in ast.walk(tree) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)}


@pytest.mark.parametrize("room", ROOMS)
def test_what_stands_elsewhere_is_raised_there_alone(room: str) -> None:
    elsewhere = {error.__name__: module for module in modules(room)[1:] for error in own_errors(module)}
    raised = {
        (name, path.relative_to(FOLDER).as_posix())
        for path in FOLDER.rglob("*.py")
        for name in called(ast.parse(path.read_text())) & elsewhere.keys()
        if path != Path(str(elsewhere[name].__file__))
    }
    assert raised == set(), "they belong into errors.py"
