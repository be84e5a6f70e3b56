"""The fields of a campaign: what each takes, and what an error says about anything else."""

from __future__ import annotations

import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from capillary.campaign.occasion import OCCASION_LIMIT
from capillary.campaign.sql_file import environment_of, query_of
from capillary.wrong_fields import FieldValueError, is_output, shown

#: What every campaign's SQL may name; the period's days only where the occasion has a token.
BOUND: Final = ("badge_id", "occasion")
BOUND_PERIOD: Final = ("period_start", "period_end")


def calling_frame() -> FrameType:
    """Return the frame of the file that names the campaign: the nearest one outside this package and pydantic."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in {"capillary", "pydantic"}:
        frame = frame.f_back
    if frame is None:  # pragma: no cover - somebody called
        raise RuntimeError("a campaign is made by a DAG file")
    return frame


def query_beside(sql: str, folder: Path | None, dag_args: Mapping[str, Any]) -> str:
    """Return the campaign's query: what was given, or what stands in the file of that name.

    Args:
        sql: a query, or the name of a file.
        folder: of the file; None: that of the file which names the campaign.
        dag_args: what Airflow's DAG is given, filters and macros among it.

    Raises:
        SqlInvalid: it cannot be read, and why.
    """
    file = Path(calling_frame().f_code.co_filename)
    return query_of(
        sql,
        folder or file.parent,
        beside=f"in {folder}" if folder else f"beside {file.name}",
        environment=environment_of(dag_args),
    )


def _checked_sql(sql: str, fields: ValidationInfo) -> str:
    query_beside(sql, fields.data.get("folder"), fields.data.get("dag_args") or {})
    return sql


def _checked_folder(folder: object) -> Path:
    """Return a folder; a file stands for the one that it lies in, and an archive for itself."""
    if not isinstance(folder, str | Path):
        raise ValueError(f"it is {shown(folder)}")  # noqa: TRY004 - pydantic makes a sentence of a ValueError only
    path, said = Path(folder), shown(str(folder))
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            path = path.parent
        if not path.is_absolute():
            raise ValueError(f"{said} is not absolute, and Airflow's processes start in folders of their own")
        is_there = path.exists() or any(map(zipfile.is_zipfile, path.parents))
    except OSError:  # such as a name that no file system takes
        is_there = False
    if not is_there:
        raise ValueError(f"there is no folder {said}")
    return path


def _checked_parameters(parameters: Mapping[str, object]) -> Mapping[str, object]:
    for name, value in parameters.items():
        if is_output(value):
            raise FieldValueError(
                f"{name!r} is {shown(value)}, and a campaign's DAG has no tasks but its own",
                "Give a value, or use a PlanBadgesOperator in a DAG of your own",
            )
        if not name.isidentifier():
            raise ValueError(f"{name!r} cannot be named in SQL: use letters, digits and _")
        if name in BOUND + BOUND_PERIOD:
            raise ValueError(f"{name!r} is bound by the campaign itself: take another name")
    return parameters


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=OCCASION_LIMIT)]
Folder: TypeAlias = Annotated[Path | str, PlainValidator(_checked_folder)]
Sql: TypeAlias = Annotated[str, AfterValidator(_checked_sql)]
Parameters: TypeAlias = Annotated[Mapping[str, object], AfterValidator(_checked_parameters)]
