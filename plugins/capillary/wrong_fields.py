"""One line for each wrong field of a pydantic model: what is wrong with it, and what to give."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from capillary.errors import TerminalError

T = TypeVar("T")

#: Characters of a wrong value that an error repeats.
_SHOWN: Final = 60
#: Fields whose values may be customers' own, or hold a secret: an error tells their type alone.
UNSAID: Final = frozenset({"parameters", "customers", "executor_config", "user_defined_macros"})
_UNKNOWN: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
#: Where a text was given in place of what Python writes without quotes.
_NO_TEXT: Final = frozenset({"bool_type", "int_type", "float_type"})
_MISSING: Final = frozenset({"missing", "missing_argument"})


@dataclass(frozen=True, slots=True)
class WrongField:
    """A field, what is wrong with it, and what to give; the latter is empty where the former says it."""

    name: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.said}"

    @property
    def said(self) -> str:
        """The sentences without the field's name."""
        return f"{self.problem}. {self.remedy}." if self.remedy else f"{self.problem}."


class FieldsInvalid(TerminalError):
    """Fields that a person gave cannot be used. One line per wrong field: where, what is wrong, and what to give.

    Attributes:
        wrong: the fields.
    """

    def __init__(self, where: str, wrong: Sequence[WrongField]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("\n".join(f"{where}{each}" for each in wrong))


class FieldValueError(ValueError):
    """A field's value cannot be used, for a reason that has a remedy of its own."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}. {remedy}")


def wrong_fields(
    error: ValidationError, fields: Mapping[str, FieldInfo], elsewhere: Mapping[str, str] | None = None
) -> Iterator[WrongField]:
    """Yield what is wrong with each field.

    Args:
        error: what pydantic said.
        fields: the model's fields by name; each one's description says what to give.
        elsewhere: names of other models, with what to write here in their place.
    """
    told, names, elsewhere = set(), list(fields), elsewhere or {}
    for each in error.errors(include_url=False):
        first, *inside = each["loc"] or ("",)
        # A value given by its position is told by its field.
        name = names[first] if isinstance(first, int) and first < len(names) else str(first)
        if each["type"] in _UNKNOWN:
            near = f". Write {elsewhere[name]}" if name in elsewhere else meant(name, fields)
            near = near or f". The fields are {', '.join(fields)}"
            yield WrongField(name, f"there is no such field{near}")
        elif each["type"] == "unexpected_positional_argument":
            yield WrongField(name, f"there are more values than fields. The fields are {', '.join(fields)}")
        elif name not in told:  # a union says the same of each of its members
            told.add(name)
            problem, remedy = _said(each, name, list(map(str, inside)))
            yield WrongField(name, problem, remedy or f"Give {fields[name].description}")


def _said(each: Mapping[str, Any], name: str, inside: Sequence[str]) -> tuple[str, str | None]:
    """Return what is wrong, and the remedy where the cause has one of its own."""
    cause = each.get("ctx", {}).get("error")
    at = f" at {inside[-1]}" if inside and inside[-1].isdigit() else ""
    if each["type"] in _MISSING:
        return "it is missing", None
    if each["type"] == "string_unicode":
        return "it holds half of a pair of characters, which no database keeps", None
    if cause is not None:
        return f"{getattr(cause, 'problem', cause)}{at}", getattr(cause, "remedy", None)
    said = re.sub(r"^\w+ (?=should)", "it ", each["msg"])
    given = each["input"]
    if isinstance(given, str) and each["type"] in _NO_TEXT:
        if "{{" in given or "{%" in given:
            return f"it is a template, and {name} is read before any is rendered{at}", None
        return f"{said}{at}, not the text {shown(given)} in quotes", None
    return f"{said}{at}, not {type(given).__name__ if name in UNSAID else shown(given)}", None


def explained(where: str, fields: Mapping[str, FieldInfo], make: Callable[[], T]) -> T:
    """Return what `make` makes of fields.

    Raises:
        FieldsInvalid: pydantic refused some.
    """
    try:
        return make()
    except ValidationError as error:
        raise FieldsInvalid(f"{where}, ", list(wrong_fields(error, fields))) from None


def meant(name: str, names: Collection[str]) -> str:
    """Return the question whether the nearest of the names was meant, or nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def is_output(value: object) -> bool:
    """Return whether a value is another task's output (Airflow's XComArg), which is known when a task runs."""
    return hasattr(value, "resolve") and hasattr(value, "iter_references")


def is_task(value: object) -> bool:
    """Return whether a value is a task itself (an operator of Airflow, mapped or not), and not its output."""
    return hasattr(value, "task_id") and hasattr(value, "output") and not isinstance(value, type)


def _name_of(called: object) -> str:
    """Return what a function, a method, or a task that a function was made into is called."""
    made_of = getattr(called, "function", called)
    name = getattr(made_of, "__name__", type(called).__name__)
    kind = "method" if inspect.ismethod(called) else "task" if made_of is not called else "function"
    return f"the {kind} {name}"


def _task_of(output: object) -> str:
    return getattr(getattr(output, "operator", None), "task_id", "another")


def shown(value: object) -> str:
    """Return a value as an error repeats it: its start, or its type where it cannot be written.

    What Python writes of a class, a function, a task and its output tells nobody what was given: they have words.
    """
    if is_output(value):
        return f"the output of task {_task_of(value)!r}"
    if is_task(value):
        return f"the task {getattr(value, 'task_id', '')!r} itself"
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if callable(value):
        return f"{_name_of(value)}, which was not called"
    try:
        said = repr(value)
    except Exception:  # noqa: BLE001 - anybody's class
        said = f"a value of type {type(value).__name__}"
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"


def fields_of(checked: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a pydantic dataclass by name."""
    found: Mapping[str, FieldInfo] = checked.__pydantic_fields__  # type: ignore[attr-defined] # pydantic sets it
    return found
