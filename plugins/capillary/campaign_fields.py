"""The fields of a campaign: what each takes, and what is said of what it does not take."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, TypeAlias

from airflow.sdk import Context
from pydantic import AfterValidator, Field, InstanceOf, PlainValidator, ValidationInfo

from capillary.api.request_workflow import Entity, normalise_owner_type
from capillary.ledger.plan import Guards
from capillary.missing_value import reads_like_none
from capillary.occasions import OCCASION_LIMIT, Occasion, own_name, zone_of
from capillary.sql_file import query_of
from capillary.wrong_fields import meant, shown

#: What every campaign's SQL may name; the period's days only where the occasion has a token.
BOUND: Final = ("badge_id", "occasion")
BOUND_PERIOD: Final = ("period_start", "period_end")
#: Lowest and highest value of each guard.
GUARD_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "min_customers": (0, float("inf")),
    "max_jump": (0, float("inf")),
    "max_drop": (0, 1),
    "max_invalid_share": (0, 1),
    "max_requests": (1, float("inf")),
    "max_open_requests": (1, float("inf")),
}

Callback: TypeAlias = Callable[[Context], None]


def calling_frame() -> FrameType:
    """Return the frame of the file that names the campaign: the nearest one outside this package and pydantic."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in {"capillary", "pydantic"}:
        frame = frame.f_back
    if frame is None:  # pragma: no cover - somebody called
        raise RuntimeError("a campaign is made by a DAG file")
    return frame


def query_beside(sql: str, folder: Path | None) -> str:
    """Return the campaign's query: what was given, or what stands in the file of that name.

    Raises:
        SqlInvalid: it cannot be read, and why.
    """
    file = Path(calling_frame().f_code.co_filename)
    return query_of(sql, folder or file.parent, beside=f"in {folder}" if folder else f"beside {file.name}")


def _checked_sql(sql: str, fields: ValidationInfo) -> str:
    query_beside(sql, fields.data.get("folder"))
    return sql


def _checked_folder(folder: object) -> Path:
    """Return a folder; a file stands for the one that it lies in, and an archive for itself."""
    if not isinstance(folder, str | Path):
        raise ValueError(f"it is {shown(folder)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    path = Path(folder)
    if path.is_file() and not zipfile.is_zipfile(path):
        path = path.parent
    if not path.is_absolute():
        raise ValueError(f"{shown(str(folder))} is not absolute, and Airflow's processes start in folders of their own")
    if not path.exists() and not any(map(zipfile.is_zipfile, path.parents)):
        raise ValueError(f"there is no folder {shown(str(folder))}")
    return path


def _checked_zone(name: str) -> str:
    zone_of(name)
    return name


def _checked_pattern(pattern: str) -> str:
    name = own_name(pattern)
    Occasion(name)
    return name


def _checked_reference(reference: str) -> str:
    if reads_like_none(reference):
        raise ValueError(f"{reference!r} is what becomes of a value that is missing")
    return reference


def entity_of(value: object) -> Entity:
    """Return the entity that was given, as itself or as a mapping."""
    if isinstance(value, Entity):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"it is {shown(value)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    names = [each.name for each in fields(Entity)]
    for name in value:
        if name not in names:
            raise ValueError(f"it has no {name!r}{meant(str(name), names)}")
    if missing := [name for name in names if name not in value]:
        raise ValueError(f"{', '.join(missing)} missing")
    if nothing := [name for name in names if reads_like_none(str(value[name]))]:
        raise ValueError(f"{nothing[0]} is {value[nothing[0]]!r}, which is what becomes of a value that is missing")
    return Entity(**value)


def _checked_parameters(parameters: Mapping[str, object]) -> Mapping[str, object]:
    for name in parameters:
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot be named in SQL: use letters, digits and _")
        if name in BOUND + BOUND_PERIOD:
            raise ValueError(f"{name!r} is bound by the campaign itself: take another name")
    return parameters


def _checked_guards(guards: Guards) -> Guards:
    for name, (lowest, highest) in GUARD_BOUNDS.items():
        value = getattr(guards, name)
        if value is None and name != "min_customers":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            upto = "" if highest == float("inf") else f" to {highest:g}"
            raise ValueError(f"{name} should be a number from {lowest:g}{upto}{' upwards' * (not upto)}, not {value!r}")
    return guards


def _checked_tags(tags: Sequence[str]) -> Sequence[str]:
    if long := [tag for tag in tags if not 1 <= len(tag) <= 100]:
        raise ValueError(f"{shown(long[0])} is empty or longer than 100 characters")
    return tags


def _checked_callbacks(given: object) -> object:
    if all(callable(each) for each in (given if isinstance(given, list | tuple) else [given] if given else [])):
        return given
    raise ValueError(f"{shown(given)} cannot be called")


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=OCCASION_LIMIT)]
Folder: TypeAlias = Annotated[Path | str, PlainValidator(_checked_folder)]
Sql: TypeAlias = Annotated[str, AfterValidator(_checked_sql)]
BadgeId: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{24}$")]
OwnerType: TypeAlias = Annotated[str, AfterValidator(normalise_owner_type)]
Reference: TypeAlias = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=255), AfterValidator(_checked_reference)]
EntityOrMapping: TypeAlias = Annotated[Entity | Mapping[str, str], PlainValidator(entity_of)]
Pattern: TypeAlias = Annotated[str, AfterValidator(_checked_pattern)]
Zone: TypeAlias = Annotated[str, AfterValidator(_checked_zone)]
Parameters: TypeAlias = Annotated[Mapping[str, object], AfterValidator(_checked_parameters)]
SoundGuards: TypeAlias = Annotated[InstanceOf[Guards], AfterValidator(_checked_guards)]
Span: TypeAlias = Annotated[timedelta, Field(gt=timedelta(0))]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Words: TypeAlias = Annotated[str, Field(min_length=1, max_length=250)]
Tags: TypeAlias = Annotated[Sequence[str], AfterValidator(_checked_tags)]
Callbacks: TypeAlias = Annotated[Callback | Sequence[Callback] | None, PlainValidator(_checked_callbacks)]
