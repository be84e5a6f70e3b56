"""The package in Airflow's plugins folder: left alone in both syntaxes of an ignore file, harmless without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from airflow._shared.module_loading.file_discovery import find_path_from_directory
from airflow.utils.file import find_dag_file_paths

PACKAGE = Path(__file__).parents[2] / "plugins" / "capillary"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
#: Airflow's own, while it reads plugins/capillary/.airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

#: What a scheduler does with files of its plugins folder, and a look at what each of them did.
SCHEDULER = """
import importlib, io, json, logging, os, pkgutil, signal, sys, threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

sys.argv = ["airflow", "scheduler"]
folder = Path(os.environ["FOLDER_OF_TEST"])
import capillary
assert Path(capillary.__file__).parent == folder / "capillary", capillary.__file__
for each in pkgutil.walk_packages(capillary.__path__, "capillary."):
    if not each.name.endswith(("__main__", ".env")):
        importlib.import_module(each.name)
from airflow._shared.plugins_manager import plugins_manager
from airflow._shared import module_loading

did, watching = [], False
WATCHED = "socket.connect socket.bind subprocess.Popen os.system os.fork os.mkdir os.remove os.putenv".split()

def watch(event, arguments):
    if watching and event in WATCHED:
        did.append(event)
    if watching and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]):
            did.append(f"open {arguments[0]}")

def state():
    return {
        "argv": list(sys.argv), "environ": dict(os.environ), "cwd": os.getcwd(), "path": list(sys.path),
        "threads": threading.active_count(), "handlers": len(logging.root.handlers), "level": logging.root.level,
        "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)],
    }

sys.addaudithook(watch)
found = {}
for path in sorted((folder / "capillary").rglob("*.py")):
    module_loading.find_path_from_directory = lambda *_, **__: iter([str(path)])
    did, before, said = [], state(), io.StringIO()
    main = sys.modules["__main__"]
    watching = True
    try:
        with redirect_stdout(said), redirect_stderr(said):
            plugins, errors = plugins_manager._load_plugins_from_plugin_directory(str(folder))
        ended = ""
    except SystemExit as error:
        plugins, errors, ended = [], {}, f"exit {error.code}"
    finally:
        watching = False
        sys.modules["__main__"] = main
    wrong = [*did, *errors.values(), *([ended] if ended else []), *([said.getvalue()] if said.getvalue() else [])]
    wrong += [name for name, value in state().items() if value != before[name]]
    wrong += [] if path.stem in sys.modules else ["not imported"]
    found[path.relative_to(folder / "capillary").as_posix()] = wrong
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each module did when a scheduler imported it by its bare name."""
    home = tmp_path_factory.mktemp("scheduler")
    shutil.copytree(PACKAGE, home / "plugins" / "capillary", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    done = subprocess.run(  # noqa: S603 - this test's own code
        [sys.executable, "-c", SCHEDULER],
        env=environment
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            "FOLDER_OF_TEST": str(home / "plugins"),
            "PYTHONPATH": str(home / "plugins"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")] or [done.stdout + done.stderr]
    found: dict[str, list[str]] = json.loads(line.removeprefix("FOUND"))
    return found


@pytest.mark.parametrize("module", [path.as_posix() for path in MODULES])
def test_a_module_imported_by_its_bare_name_only_defines_things(imported: dict[str, list[str]], module: str) -> None:
    assert imported[module] == []


def test_no_bare_name_hides_a_module_of_python_or_of_another_package() -> None:
    stems = {path.stem for path in MODULES} - {"__init__", "__main__"}
    assert stems & sys.stdlib_module_names == set()
    assert stems & set(packages_distributions()) == set()


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
@pytest.mark.parametrize("place", ["capillary", "vendor/capillary", "0/capillary"])
def test_the_ignore_file_leaves_airflow_nothing_in_either_syntax(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, syntax: str, place: str
) -> None:
    shutil.copytree(PACKAGE, tmp_path / place, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "capillary_plugin.py").write_text("")
    found = find_path_from_directory(str(tmp_path), ".airflowignore", syntax)
    assert [Path(path).name for path in found] == ["capillary_plugin.py"]
    assert "invalid" not in caplog.text


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_without_the_ignore_file_airflow_reads_every_module(tmp_path: Path, syntax: str) -> None:
    """The matcher that the test above asks does find them."""
    shutil.copytree(PACKAGE, tmp_path / "capillary", ignore=shutil.ignore_patterns("__pycache__", ".airflowignore"))
    found = {Path(path).name for path in find_path_from_directory(str(tmp_path), ".airflowignore", syntax)}
    assert {path.name for path in MODULES} <= found


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_in_the_dags_folder_the_package_holds_no_dag_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX", syntax)
    shutil.copytree(PACKAGE, tmp_path / "capillary", ignore=shutil.ignore_patterns("__pycache__"))
    assert find_dag_file_paths(tmp_path, safe_mode=False) == []


def test_the_command_is_one_still() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "capillary"],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "usage: python -m capillary" in done.stderr
