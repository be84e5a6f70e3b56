"""What is in the wheel: every file of the package, its licence, and the marker that its types may be used."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

import pytest

from tests.deployment.composition import CHECKOUT

PROJECT: Final = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PACKAGE: Final = CHECKOUT / "plugins" / "capillary"
UV: Final = Path(sys.executable).with_name("uv")


def package_files() -> set[str]:
    """Return every file of the package, as the wheel names it."""
    made = {"__pycache__", "airflow_provider_capillary.egg-info"}
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and made.isdisjoint(path.parts))
    return {path.relative_to(PACKAGE.parent).as_posix() for path in files}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that has only what the Dockerfile gives its build."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(CHECKOUT / "plugins", source / "plugins", ignore=ignored)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Its wheel."""
    built = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(  # noqa: S603 - our own
        [UV, "build", "--wheel", "--quiet", "--python", sys.executable, "--out-dir", built, source],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    [file] = built.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == package_files()


def test_a_build_leaves_no_second_package_on_airflows_path(source: Path, wheel: zipfile.ZipFile) -> None:
    """Airflow puts its plugins folder on the path, and takes the entry points of every package that it finds there."""
    assert list((source / "plugins").rglob("*.egg-info")), "the build leaves none at all any more"
    assert [found for found in distributions(path=[str(source / "plugins")]) if found.entry_points] == []


def test_the_wheel_says_that_it_has_types(wheel: zipfile.ZipFile) -> None:
    assert "capillary/py.typed" in wheel.namelist()
    assert wheel.read("capillary/py.typed") == b""  # anything else would mean partial types


def test_the_wheel_has_the_licence(wheel: zipfile.ZipFile) -> None:
    [info] = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert wheel.read(f"{info}/licenses/LICENSE") == (CHECKOUT / "LICENSE").read_bytes()
    told = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert told["License-Expression"] == "Apache-2.0"
    assert told.get_all("License-File") == ["LICENSE"]


def test_the_licence_is_the_one_of_airflows_providers() -> None:
    [providers] = Path(sys.prefix).glob(
        "lib/*/site-packages/apache_airflow_providers_http-*.dist-info/licenses/LICENSE"
    )
    assert (CHECKOUT / "LICENSE").read_bytes() == providers.read_bytes()


def test_every_glob_of_the_package_data_matches_something() -> None:
    [globs] = PROJECT["tool"]["setuptools"]["package-data"].values()
    assert [glob for glob in globs if not list(PACKAGE.rglob(glob))] == []
