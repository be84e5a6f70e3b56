"""Load DAG files as Airflow does, and tell which of them it cannot load, or passes over in silence."""

from __future__ import annotations

import ast
import logging
import sys
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.importers import get_importer_registry
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.file import get_unique_dag_module_name, might_contain_dag

from capillary.campaign import BadgeCampaign
from capillary.check.finding import Finding, Verdict
from capillary.errors import TerminalError

_SAFE_MODE_REMEDY: Final = (
    "Write both words into the file, as in the docstring 'An Airflow DAG that …', or set [core] "
    "dag_discovery_safe_mode=False"
)


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


def load(path: Path) -> Loaded:
    """Load a DAG file, or all of a folder that Airflow would look at. What they print goes to standard error.

    Raises:
        NothingToCheck: there is no such path, or no file in it that defines DAGs.
    """
    if not path.exists():
        raise NothingToCheck(f"there is no file or folder {path}: give a DAG file, or the folder of the DAGs")
    path = path.resolve()
    bag = DagBag(dag_folder=str(path), collect_dags=False)
    files, dags, findings = list[Path](), list[tuple[Path, DAG]](), list[Finding]()
    with _as_a_dags_folder(path if path.is_dir() else path.parent):
        for file in _files(path):
            if zipfile.is_zipfile(file):
                findings += [_passed_over(name) for name in _passed_over_in(file)]
            source = _source_of(file)
            is_passed_over = not might_contain_dag(str(file), safe_mode=True)
            if is_passed_over and not _speaks_of_campaigns(source):
                continue
            # Of an archive, all modules at its root would be loaded without the safe mode.
            loaded = bag.process_file(str(file), safe_mode=zipfile.is_zipfile(file))  # type: ignore[no-untyped-call] # Airflow's own
            files.append(file)
            errors = _errors_of(bag, file)
            found = list({dag.dag_id: dag for dag in loaded}.values())  # one that is kept by two names comes twice
            dags += [(file, dag) for dag in found]
            findings += errors or _of_loaded(file, found, source, is_passed_over=is_passed_over)
    if not files:
        raise NothingToCheck(
            f"no file of {path} defines a DAG: give the folder of the DAGs, and see that its .airflowignore leaves them"
        )
    return Loaded(tuple(files), tuple(dags), tuple(findings))


def shown(file: Path) -> str:
    """Return a file's name as it is seen from the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


@contextmanager
def _as_a_dags_folder(folder: Path) -> Iterator[None]:
    """Have files import what lies beside them, as Airflow has them, and keep their own words off standard output."""
    sys.path.append(str(folder))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        sys.path.remove(str(folder))


def _files(path: Path) -> Iterator[Path]:
    """Yield the files that Airflow would look at without its safe mode, in the order of their names."""
    if path.is_file():
        yield path
        return
    yield from map(Path, sorted(get_importer_registry().list_dag_files(str(path), safe_mode=False)))


def _source_of(file: Path) -> ast.Module | None:
    return _parsed(file.read_bytes()) if file.suffix == ".py" else None


def _parsed(source: bytes) -> ast.Module | None:
    """Return what a Python file says; None where it cannot be parsed: loading tells why."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _speaks_of_campaigns(source: ast.Module | None) -> bool:
    """Whether a file that Airflow passes over uses this package, or makes a campaign's DAG by another module."""
    for node in ast.walk(source) if source else ():
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "capillary":
            return True
        if isinstance(node, ast.Import) and any(each.name.partition(".")[0] == "capillary" for each in node.names):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dag":
            return True
    return False


def _errors_of(bag: DagBag, file: Path) -> list[Finding]:
    """Return and take away what is wrong with a file; a file of an archive is named with its path in there."""
    found = [name for name in bag.import_errors if Path(name) == file or file in Path(name).parents]
    return [
        Finding(
            Verdict.FAILS,
            shown(Path(name)),
            "",
            "Airflow cannot load it, and makes no run of its DAGs. Correct what the error names:",
            bag.import_errors.pop(name).strip(),
        )
        for name in found
    ]


def _of_loaded(
    file: Path, dags: Sequence[DAG], source: ast.Module | None, *, is_passed_over: bool
) -> Iterator[Finding]:
    campaigns = _campaigns_of(file)
    made = {dag.dag_id for dag in dags}
    for name in sorted(campaigns.keys() - made):
        yield Finding(
            Verdict.FAILS,
            shown(file),
            f"campaign {name!r}",
            "it makes no DAG, so Airflow never runs it. Write dag = BadgeCampaign(…).dag()",
        )
    if not made and not campaigns and _makes_a_campaign(source):
        yield Finding(
            Verdict.FAILS,
            shown(file),
            "",
            "it makes a BadgeCampaign and no DAG, so Airflow never runs it. Write dag = BadgeCampaign(…).dag()",
        )
    if is_passed_over and (made or campaigns):
        yield _passed_over(shown(file))
    for dag in dags:
        yield from _of_dag(file, dag)


def _passed_over(name: str) -> Finding:
    if conf.getboolean("core", "dag_discovery_safe_mode"):
        verdict, said = Verdict.FAILS, "Airflow passes over this file without a word"
    else:
        verdict, said = Verdict.BEWARE, "an Airflow with [core] dag_discovery_safe_mode=True passes over this file"
    return Finding(verdict, name, "", f"{said}, since it does not hold the words airflow and dag. {_SAFE_MODE_REMEDY}")


def _passed_over_in(archive: Path) -> Iterator[str]:
    """Yield the files at the root of an archive that use this package, and that Airflow passes over."""
    with zipfile.ZipFile(archive) as archived:
        for name in sorted(archived.namelist()):
            if "/" in name or not name.endswith(".py") or might_contain_dag(name, True, archived):
                continue
            if _speaks_of_campaigns(_parsed(archived.read(name))):
                yield shown(archive / name)


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


def _campaigns_of(file: Path) -> Mapping[str, BadgeCampaign]:
    """Return the campaigns that a file keeps in its own names, single or in a list or dict."""
    module = sys.modules.get(get_unique_dag_module_name(str(file)))
    return {campaign.name: campaign for campaign in _campaigns_in(module)} if module else {}


def _campaigns_in(module: ModuleType) -> Iterator[BadgeCampaign]:
    for value in list(vars(module).values()):
        if isinstance(value, BadgeCampaign):
            yield value
        elif isinstance(value, Collection) and not isinstance(value, str | bytes):
            kept = value.values() if isinstance(value, Mapping) else value
            yield from (each for each in kept if isinstance(each, BadgeCampaign))


def _makes_a_campaign(source: ast.Module | None) -> bool:
    """Whether a file calls BadgeCampaign as it is loaded, and not within a function for other files."""
    waiting: list[ast.AST] = [source] if source else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name == BadgeCampaign.__name__:
                return True
        waiting.extend(ast.iter_child_nodes(node))
    return False
