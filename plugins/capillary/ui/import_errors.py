"""Files of the DAGs folder that do not load, and what Airflow noted of each, by its own rule of who may read it.

A new campaign whose file has never loaded has no DAG: its import error is all that there is of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow.models.dag import DagModel
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from sqlalchemy import select

from capillary.ledger.matters import Kind, Matter
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import CampaignDag

#: Whatever a file calls it, this is what makes a campaign; a DAG of a person's own imports the package.
_OURS: Final = re.compile(rb"BadgeCampaign|\bcapillary\b")
#: The last of a traceback's frames, with the lines that show the code.
_FRAMES: Final = re.compile(r"(?s:.*)^ +File \".*\n(?: .*\n)*", re.MULTILINE)
#: One frame; where Python cannot read a file it names the place without a function.
_FRAME: Final = re.compile(r"^ +File \"(.*)\", line ([0-9]{1,9})(, in .*)?$", re.MULTILINE)
_MODULE: Final = re.compile(r"^(?:\w+\.)+(?=\w+(?::|$))")
_LONGEST: Final = 600


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A file that does not load.

    Attributes:
        name: below its DAGs folder.
        dag_ids: the DAGs that it made before; none where it never loaded.
        said: what went wrong, without the frames; empty where the reader may not read that.
        line: the last line of the file that the error names; None where it names none, or likewise.
    """

    name: str
    dag_ids: frozenset[str]
    said: str
    line: int | None = None


def broken_files(reader: Reader) -> tuple[BrokenFile, ...]:
    """Return the files that do not load, as far as this reader may know of them.

    Of a file whose DAGs they may not read they are told nothing; of one with DAGs of others beside their own, not why.
    A file that has never made a DAG is told where it may be a campaign's.
    """
    may_see = reader.may_see_import_errors()
    with create_session() as session:
        errors = session.scalars(select(ParseImportError).order_by(ParseImportError.id)).all()
        made = defaultdict[tuple[str | None, str | None], set[str]](set)
        for bundle, file, dag_id in session.execute(
            select(DagModel.bundle_name, DagModel.relative_fileloc, DagModel.dag_id).where(
                DagModel.relative_fileloc.in_([each.filename for each in errors])
            )
        ):
            made[bundle, file].add(dag_id)
        session.expunge_all()
    found = []
    for each in errors:
        dag_ids = made[each.bundle_name, each.filename]
        if not (dag_ids & reader.dag_ids if dag_ids else may_see and _may_be_ours(each)):
            continue
        name = each.filename or "a file"
        told = each.stacktrace or "" if may_see and dag_ids <= reader.dag_ids else ""
        found.append(BrokenFile(name, frozenset(dag_ids & reader.dag_ids), reason_of(told, name), line_of(told, name)))
    return tuple(found)


def matters_of(files: Collection[BrokenFile], dags: Mapping[str, CampaignDag]) -> Iterator[Matter]:
    """Yield a matter for each campaign whose file does not load, and for each file that never made a DAG.

    Args:
        files: of `broken_files`.
        dags: the campaigns.
    """
    by_dag = {dag_id: each for each in files for dag_id in each.dag_ids}
    for dag in dags.values():
        if dag.broken:
            file = by_dag.get(dag.dag_id)
            noted: dict[str, Any] = {"file": file.name, "reason": file.said, "line": file.line} if file else {}
            yield Matter(kind=Kind.FILE_BROKEN, campaign=dag.dag_id, dag_ids=(dag.dag_id,), **noted)
    for each in files:
        if not each.dag_ids:
            yield Matter(kind=Kind.FILE_BROKEN, file=each.name, reason=each.said, line=each.line)


def reason_of(stacktrace: str, name: str) -> str:
    """Return what a traceback ends with, on one line and without the error's module.

    Where Python cannot read another file than the one that does not load, its name and line stand behind that.
    """
    ended = _FRAMES.sub("", stacktrace, count=1)
    said = _MODULE.sub("", " ".join(ended.split()))
    *_, last = ("", "", "in"), *_FRAME.findall(stacktrace)
    path, line, function = last
    if not function and not _is_file(path, name):
        said += f" ({path.rpartition('/')[2]}, line {line})"
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def line_of(stacktrace: str, name: str) -> int | None:
    """Return the last line of a file that a traceback names; None where it names none.

    Airflow keeps the last two frames, as a rule: of an error far below the file they name other files only.
    """
    lines = [int(line) for path, line, _ in _FRAME.findall(stacktrace) if _is_file(path, name)]
    return lines[-1] if lines else None


def _is_file(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")


def _may_be_ours(error: ParseImportError) -> bool:
    """Return whether a file may be a campaign's: it names us, or it cannot be read here."""
    if _OURS.search((error.stacktrace or "").encode()):
        return True
    try:
        return _OURS.search(Path(error.full_file_path()).read_bytes()) is not None
    except Exception:  # noqa: BLE001 - a bundle, which may be anybody's class; a zip, a file that is not on this host
        return True
