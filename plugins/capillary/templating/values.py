"""What an expression of a template came out as, where it becomes a part of a text: only what means the same as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType
from typing import Final

from jinja2 import TemplateError

from capillary.engine.bindable import is_nan, listed
from capillary.missing_value import reads_like_none

#: Of these Python's text compares with nothing: bytes, what gives values one by one, a function without its brackets.
_NO_TEXT: Final = (
    bytes,
    bytearray,
    memoryview,
    Iterator,
    FunctionType,
    BuiltinFunctionType,
    MethodDescriptorType,
    MethodType,
)


class NoText(TemplateError):
    """An expression came out as what is not text: None would become the text None, a list its text in Python."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}.")


def assert_one_value(value: object) -> object:
    """Return what an expression of a query came out as, if its text means the same.

    A proxy of Airflow's is what it prints.

    Raises:
        NoText: it is missing, or holds several values, or its text is Python's alone.
    """
    if isinstance(value, str):
        return value
    if value is None or is_nan(value) or reads_like_none(str(value)):
        raise NoText(
            "an expression of its template came out as None, and would become the text None",
            "Give it a value, or a default: {{ … or 'a value' }}",
        )
    if isinstance(value, Mapping) or listed(value) is not None:
        raise NoText(
            f"an expression of its template came out as a {type(value).__name__}, and would become one text",
            "Bind it: give parameters the list itself, the output of a task, or a template in a DAG with "
            "render_template_as_native_obj=True",
        )
    if isinstance(value, _NO_TEXT):
        raise NoText(
            f"an expression of its template came out as a {type(value).__name__}, and its text means something else",
            "Give text, a number or a date; a function needs its brackets",
        )
    return value


def assert_sql(value: object) -> object:
    """Return what an expression of a query's SQL came out as; a tuple's text may be SQL, as in IN {{ … }}.

    Raises:
        NoText: as `assert_one_value`; or the tuple is empty, which finds nobody, or everybody.
    """
    if isinstance(value, tuple):
        if not value:
            raise NoText("an expression of its template came out as an empty tuple", "Leave the condition out")
        return value
    return assert_one_value(value)


def assert_name(value: object) -> object:
    """Return what an expression came out as that becomes an id or a name; None is for its field to judge.

    Raises:
        NoText: it is not text, whole number or date: what pandas makes of an id with a gap beside it is 134.0.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | float) or is_nan(value) or reads_like_none(str(value)):
        raise NoText(
            f"an expression of its template came out as a {type(value).__name__}",
            "Give text or a whole number: {{ … | int }}",
        )
    if isinstance(value, (Mapping, *_NO_TEXT)) or listed(value) is not None:
        raise NoText(
            f"an expression of its template came out as a {type(value).__name__}, and would become one text",
            "Give one text: the output of a mapped task is a list",
        )
    return value
