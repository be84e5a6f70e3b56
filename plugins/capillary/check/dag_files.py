"""Load DAG files as Airflow does, and tell which of them it cannot load, or passes over in silence."""

from __future__ import annotations

import logging
import os
import sys
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.importers import get_importer_registry
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.file import get_unique_dag_module_name, might_contain_dag

from capillary.campaign import BadgeCampaign
from capillary.check.dag_discovery import PassedOver, campaigns_made, passed_over
from capillary.check.finding import Finding, Verdict
from capillary.errors import TerminalError

#: Tells Airflow whether a process may ask its database.
_CONTEXT: Final = "_AIRFLOW_PROCESS_CONTEXT"
#: How Airflow ends where no place that it may ask has a variable or connection.
_NOT_FOUND: Final = ("VARIABLE_NOT_FOUND", "isn't defined")


class NothingToCheck(TerminalError):
    """There is no such file or folder, or no DAG file in it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The DAGs of a file or folder.

    Attributes:
        files: the files that were loaded.
        dags: each with its file, in the files' order.
        findings: what is wrong with files.
    """

    files: tuple[Path, ...]
    dags: tuple[tuple[Path, DAG], ...]
    findings: tuple[Finding, ...]


def dags_folder() -> Path:
    """Return the folder where Airflow looks for DAGs."""
    return Path(conf.get_mandatory_value("core", "dags_folder"))


def load(path: Path, *, has_database: bool = False) -> Loaded:
    """Load a DAG file, or all of a folder that Airflow would look at. What they print goes to standard error.

    Args:
        path: the file or folder.
        has_database: Airflow's database answers: a file that asks for a variable is told what stands there.

    Raises:
        NothingToCheck: there is no such path, or no file in it that defines DAGs.
    """
    if not path.exists():
        raise NothingToCheck(f"there is no file or folder {path}: give a DAG file, or the folder of the DAGs")
    if path.is_file() and get_importer_registry().get_importer(path) is None:
        raise NothingToCheck(f"{path} is not a DAG file: give a Python file, a zip of DAGs, or their folder")
    path = path.resolve()
    safe_mode = conf.getboolean("core", "dag_discovery_safe_mode")
    bag = DagBag(dag_folder=str(path), collect_dags=False)
    files, dags, findings = list[Path](), list[tuple[Path, DAG]](), list[Finding]()
    with _as_a_dags_folder(_root_of(path)), _variables_at_hand(is_so=has_database):
        lost = _passed_over(path, safe_mode=safe_mode)
        for file in _files(path):
            is_archive = zipfile.is_zipfile(file)
            if is_archive:
                findings += _lost_in(file, safe_mode=safe_mode)
            elif file not in lost and not _is_looked_at(file, safe_mode=safe_mode):
                continue
            # What Airflow passes over is loaded, too: more may be wrong with it. Of an archive nothing tells apart.
            loaded = bag.process_file(str(file), safe_mode=safe_mode and is_archive)  # type: ignore[no-untyped-call] # Airflow's own
            files.append(file)
            errors = _errors_of(bag, file, has_database=has_database)
            found = list({dag.dag_id: dag for dag in loaded}.values())  # one that is kept by two names comes twice
            dags += [(file, dag) for dag in found]
            findings += [_lost(shown(file), each) for each in lost[file]]
            findings += errors or _of_loaded(file, found, lost[file])
    if not files:
        raise NothingToCheck(
            f"no file of {path} defines a DAG: give the folder of the DAGs, and see that its .airflowignore leaves them"
        )
    return Loaded(tuple(files), tuple(dags), tuple(findings))


def shown(file: Path) -> str:
    """Return a file's name as it is seen from the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def _root_of(path: Path) -> Path:
    """Return the folder from which files import: Airflow's of DAGs where they lie in it, or else their own."""
    folder = dags_folder().resolve()
    return folder if path.is_relative_to(folder) else path if path.is_dir() else path.parent


@contextmanager
def _variables_at_hand(*, is_so: bool) -> Iterator[None]:
    """Have files find variables and connections of Airflow's database, as its DAG processor has them."""
    if not is_so or _CONTEXT in os.environ:
        yield
        return
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        del os.environ[_CONTEXT]


@contextmanager
def _as_a_dags_folder(folder: Path) -> Iterator[None]:
    """Have files import from a folder, as Airflow has them, and keep their own words off standard output."""
    before = list(sys.path)
    if sys.path[0] == str(Path.cwd()) and sys.path[0] not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        del sys.path[0]  # Python puts the working directory there, and Airflow's processes have another
    sys.path.append(str(folder))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        sys.path[:] = before


def _files(path: Path) -> Iterator[Path]:
    """Yield the files that Airflow would look at without its safe mode, in the order of their names."""
    if path.is_file():
        yield path
        return
    yield from map(Path, sorted(get_importer_registry().list_dag_files(str(path), safe_mode=False)))


def _is_looked_at(file: Path, *, safe_mode: bool) -> bool:
    try:
        return might_contain_dag(str(file), safe_mode)
    except OSError:  # loading tells why
        return True


def _passed_over(path: Path, *, safe_mode: bool) -> defaultdict[Path, list[PassedOver]]:
    found = defaultdict[Path, list[PassedOver]](list)
    if path.is_dir() or path.suffix == ".py":
        for each in passed_over(path, safe_mode=safe_mode):
            found[each.file].append(each)
    return found


def _lost(name: str, passed: PassedOver) -> Finding:
    return Finding(Verdict.FAILS, name, "", f"{passed.sentence}. {passed.remedy}")


def _lost_in(archive: Path, *, safe_mode: bool) -> Iterator[Finding]:
    """Yield what Airflow passes over at the root of an archive, where alone it looks."""
    with zipfile.ZipFile(archive) as archived, TemporaryDirectory() as folder:
        for name in archived.namelist():
            if "/" not in name and name.endswith(".py"):
                archived.extract(name, folder)
        for each in passed_over(Path(folder), safe_mode=safe_mode):
            yield _lost(shown(archive / each.file.name), each)


def _errors_of(bag: DagBag, file: Path, *, has_database: bool) -> list[Finding]:
    """Return and take away what is wrong with a file; a file of an archive is named with its path in there."""
    found = [name for name in bag.import_errors if Path(name) == file or file in Path(name).parents]
    return [_error_of(Path(name), bag.import_errors.pop(name).strip(), has_database=has_database) for name in found]


def _error_of(file: Path, trace: str, *, has_database: bool) -> Finding:
    words = "Airflow cannot load it, and makes no run of its DAGs. Correct what the error names:"
    last = trace.splitlines()[-1] if trace else ""
    if not has_database and any(sign in last for sign in _NOT_FOUND):
        words = "it asks for a variable or connection when it is read, and Airflow's database is not available here:"
        return Finding(Verdict.NOT_CHECKED, shown(file), "", words, trace)
    return Finding(Verdict.FAILS, shown(file), "", words, trace)


def _of_loaded(file: Path, dags: Sequence[DAG], lost: Sequence[PassedOver]) -> Iterator[Finding]:
    """Yield what shows once a file is loaded: campaigns without a DAG, and DAGs that Airflow cannot store."""
    told = {name for each in lost for name in each.campaigns} | {dag.dag_id for dag in dags}
    forgotten = sorted(campaign.name for campaign in _campaigns_of(file) if campaign.name not in told)
    if not (dags or lost or forgotten) and file.suffix == ".py" and (made := campaigns_made(file)):
        words = (
            f"no DAG is made from its campaign of {made[0]}: reading the file does not get there, as with a loop over "
            "nothing or a condition that is false here, or its .dag() is missing. Have the file call "
            "BadgeCampaign(…).dag()"
        )
        yield Finding(Verdict.FAILS, shown(file), "", words)
    for name in forgotten:
        words = "makes no DAG, so Airflow never runs it. Write dag = BadgeCampaign(…).dag()"
        yield Finding(Verdict.FAILS, shown(file), "", f"{name!r} {words}")
    for dag in dags:
        yield from _of_dag(file, dag)


def _of_dag(file: Path, dag: DAG) -> Iterator[Finding]:
    try:
        DagSerialization.serialize_dag(dag)
    except Exception as error:  # noqa: BLE001 - of Airflow's, or of any object in the DAG
        yield Finding(
            Verdict.FAILS,
            f"{shown(file)}, DAG {dag.dag_id!r}",
            "",
            "Airflow cannot store it, and makes no run of it. Take out what the error names:",
            f"{type(error).__name__}: {error}",
        )


def _campaigns_of(file: Path) -> Iterator[BadgeCampaign]:
    """Yield the campaigns that a file keeps in its own names, single or in a list or dict."""
    module = sys.modules.get(get_unique_dag_module_name(str(file)))
    for value in list(vars(module).values()) if module else ():
        if isinstance(value, BadgeCampaign):
            yield value
        elif isinstance(value, Collection) and not isinstance(value, str | bytes):
            kept = value.values() if isinstance(value, Mapping) else value
            yield from (each for each in kept if isinstance(each, BadgeCampaign))
