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

FOLDER = Path(next(iter(capillary.__path__)))
#: Of no room: every room may raise what stands there, and the roots are in `capillary.errors`.
PLAIN = ("counted", "errors", "missing_value", "visible_text", "wrong_fields", "zone_names")
#: The glue's modules beside its folders. Their errors stand in `airflow_errors`: the name `errors` is the roots'.
GLUE = "the glue"
#: Rooms that draw a tree → the module that it stands in.
TREES = {
    **{room: f"capillary.{room}.errors" for room in ("api", "campaign", "connections", "engine", "ledger", "ui")},
    GLUE: "capillary.airflow_errors",
}
#: Rooms in which each error is raised by one module alone, and stands there.
WITHOUT_TREE = ("check", "commands", "templating")

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def modules(room: str) -> list[ModuleType]:
    """Return the room's modules, that of the tree first."""
    if room == GLUE:
        packages = [
            f"capillary.{each.name}"
            for each in pkgutil.iter_modules([str(FOLDER)])
            if not each.ispkg and each.name not in {*PLAIN, "__main__"}
        ]
    else:
        packages = [f"capillary.{room}.{each.name}" for each in pkgutil.iter_modules([str(FOLDER / room)])]
    return [importlib.import_module(name) for name in sorted(packages, key=lambda each: each != TREES.get(room))]


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
        place = error.__module__.rpartition(".")[2]
        outside = error in found and error.__module__ != TREES[room]
        yield f"{'  ' * depth}{error.__name__}{f' ({place})' if outside else ''}"
        under = [each for each in kept if each is not CapillaryError and parent(each) is error]
        for each in sorted(under, key=lambda each: each.__name__):
            yield from lines(each, depth + 1)

    return "\n".join(lines(CapillaryError, 2))


@pytest.mark.parametrize("room", TREES)
def test_the_tree_at_the_top_is_that_of_the_classes(room: str) -> None:
    errors = importlib.import_module(TREES[room])
    assert drawn(room) in (errors.__doc__ or ""), drawn(room)


def called(tree: ast.AST) -> set[str]:
    """Return the names that a module calls."""
    return {each.func.id for each in ast.walk(tree) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)}


def test_every_room_is_looked_at() -> None:
    rooms = {each.name for each in pkgutil.iter_modules([str(FOLDER)]) if each.ispkg}
    assert rooms == {*TREES, *WITHOUT_TREE} - {GLUE}


@pytest.mark.parametrize("room", [*TREES, *WITHOUT_TREE])
def test_what_stands_elsewhere_is_raised_there_alone(room: str) -> None:
    others = modules(room)[1:] if room in TREES else modules(room)
    elsewhere = {error.__name__: module for module in others for error in own_errors(module)}
    raised = {
        (name, path.relative_to(FOLDER).as_posix())
        for path in FOLDER.rglob("*.py")
        for name in called(ast.parse(path.read_text())) & elsewhere.keys()
        if path != Path(str(elsewhere[name].__file__))
    }
    assert raised == set(), "they belong into errors.py"
