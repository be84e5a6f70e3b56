"""One line for each wrong field of a pydantic model: what is wrong with it, and what to give."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from typing import Final

from pydantic import BaseModel, ValidationError

from capillary.occasions import OccasionInvalid
from capillary.sql_file import SqlInvalid

#: Characters of a wrong value that an error repeats.
_SHOWN: Final = 60


def sentences(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield one line per wrong field: what is wrong with it, and what to give."""
    for each in error.errors(include_url=False):
        field, *inside = map(str, each["loc"])
        if each["type"] == "extra_forbidden":
            near = meant(field, model.model_fields) or f". The fields are {', '.join(model.model_fields)}"
            yield f"{field}: there is no such field{near}."
            continue
        remedy = f"Give {model.model_fields[field].description}"
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, OccasionInvalid | SqlInvalid):
            problem, remedy = cause.problem, cause.remedy
        elif each["type"] == "missing":
            problem = "it is missing"
        elif cause is not None:
            problem = str(cause)
        else:
            said = re.sub(r"^\w+ (?=should)", "it ", each["msg"])
            # Values of parameters may be customers' own.
            given = type(each["input"]).__name__ if field == "parameters" else shown(each["input"])
            problem = f"{said}{f' at {inside[-1]}' if inside else ''}, not {given}"
        yield f"{field}: {problem}. {remedy}."


def meant(name: str, names: Collection[str]) -> str:
    """Return the question whether the nearest of the names was meant, or nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(value: object) -> str:
    """Return a value as an error repeats it."""
    said = repr(value)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
