"""Which code of a Python file never runs when the file is read, as far as its text alone tells.

Wherever the text does not tell, the code counts as run: a function that is mentioned anywhere, or decorated, or a
condition that is not a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_ENDS: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue)
#: What is False whenever another program reads the file.
_TYPE_CHECKING: Final = "TYPE_CHECKING"
_OUTSIDE: Final = "Move it out of there, to where the file is read"


@dataclass(frozen=True, slots=True)
class Unreached:
    """Why code never runs.

    Attributes:
        reason: what it stands in, as the end of a sentence.
        remedy: what to write.
    """

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: in which function, in which classes around it, and in a branch that is never taken."""

    function: _Function | None = None
    classes: tuple[str, ...] = ()
    never: Unreached | None = None


class Reach:
    """What runs of a file when it is read.

    Args:
        source: the file.
        mentioned: whether another file mentions a function of this one, by its name.
    """

    def __init__(self, source: ast.Module, mentioned: Callable[[str], bool]) -> None:
        self._places: dict[ast.AST, _Place] = {}
        self._block(source.body, _Place())
        self._functions = [node for node in self._places if isinstance(node, _Function)]
        self._here = self._called({None})
        outside = {each for each in self._functions if each not in self._here and mentioned(each.name)}
        self._anywhere = self._called({None, *outside})

    def runs_here(self, node: ast.AST) -> bool:
        """Return whether it runs when this file is read."""
        return self._runs(node, self._here)

    def never(self, node: ast.AST) -> Unreached | None:
        """Return why it never runs, whichever file is read; None if it may run."""
        place = self._places[node]
        if place.never is not None:
            return place.never
        function = place.function
        if function is None:
            return None
        if function not in self._anywhere:
            name = function.name
            return self._places[function].never or Unreached(
                f"is in the function {name!r} of line {function.lineno}, which nobody calls",
                f"Call it at the file's top level, as in dag = {name}(…)",
            )
        return None

    def _runs(self, node: ast.AST, live: set[_Function | None]) -> bool:
        place = self._places[node]
        return place.never is None and place.function in live

    def _called(self, live: set[_Function | None]) -> set[_Function | None]:
        """Return the functions that run once these do, these included; None stands for the file itself."""
        while True:
            names = {name for node in self._places if self._runs(node, live) for name in _mentions(node)}
            more = {
                each
                for each in self._functions
                if each not in live and self._runs(each, live) and self._is_called(each, names)
            }
            if not more:
                return live
            live = live | more

    def _is_called(self, function: _Function, names: set[str]) -> bool:
        return (
            function.name in names
            or bool(function.decorator_list)
            or function.name.startswith("test_")  # pytest calls it
            or any(each in names for each in self._places[function].classes)
        )

    def _block(self, statements: list[ast.stmt], place: _Place) -> None:
        for statement in statements:
            self._walk(statement, place)
            if isinstance(statement, _ENDS) and place.never is None:
                word = type(statement).__name__.lower()
                reason = f"is after the {word} of line {statement.lineno}"
                place = _Place(place.function, place.classes, Unreached(reason, _OUTSIDE))

    def _walk(self, node: ast.AST, place: _Place) -> None:
        self._places[node] = place
        for name, value in ast.iter_fields(node):
            inner = self._inner(node, name, place)
            if isinstance(value, list) and all(isinstance(each, ast.stmt) for each in value):
                self._block(value, inner)
            elif isinstance(value, list):
                for each in value:
                    if isinstance(each, ast.AST):
                        self._walk(each, inner)
            elif isinstance(value, ast.AST):
                self._walk(value, inner)

    def _inner(self, node: ast.AST, field: str, place: _Place) -> _Place:
        """Return where a field of a node stands."""
        if isinstance(node, _Function) and field == "body":
            return _Place(node, (), place.never)
        if isinstance(node, ast.ClassDef) and field == "body":
            return _Place(place.function, (*place.classes, node.name), place.never)
        if place.never is None and (word := _never_taken(node, field)):
            line = getattr(node, "lineno", 0)
            return _Place(place.function, place.classes, Unreached(f"is under {word!r} of line {line}", _OUTSIDE))
        return place


def _never_taken(node: ast.AST, field: str) -> str:
    """Return the words of a statement whose field never runs; nothing where it may."""
    if isinstance(node, ast.If | ast.IfExp | ast.While) and field in {"body", "orelse"}:
        is_true = _truth(node.test)
        if (is_true, field) == (False, "body"):
            return f"{'while' if isinstance(node, ast.While) else 'if'} {ast.unparse(node.test)}"
        if (is_true, field) == (True, "orelse") and not isinstance(node, ast.While):
            return f"else of if {ast.unparse(node.test)}"
    if isinstance(node, ast.For | ast.AsyncFor) and field == "body":
        values = node.iter
        if isinstance(values, ast.List | ast.Tuple | ast.Set) and not values.elts:
            return f"for … in {ast.unparse(values)}"
    return ""


def _truth(test: ast.expr) -> bool | None:
    """Return what a condition is when another program reads the file; None where the text does not tell."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _truth(test.operand)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        told = {_truth(each) for each in test.values}
        decides = isinstance(test.op, ast.Or)
        return decides if decides in told else None if None in told else not decides
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.NotEq):
        sides = {ast.unparse(test.left), ast.unparse(test.comparators[0])}
        if sides == {"__name__", "'__main__'"}:
            return isinstance(test.ops[0], ast.NotEq)
    name = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
    return False if name == _TYPE_CHECKING else None


def _mentions(node: ast.AST) -> Iterator[str]:
    """Yield the names by which a node may call a function, a text that is one included."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
