"""How Airflow finds the pages: by the package's entry point, or by the file in its plugins folder, and once."""

from __future__ import annotations

import importlib.metadata
import logging
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from airflow._shared.plugins_manager import is_valid_plugin
from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
from airflow.plugins_manager import AirflowPlugin

from capillary.ui.plugin import CapillaryPlugin
from capillary.ui.rendering import PREFIX, STATIC

ROOT = Path(__file__).parents[2]
FILE = ROOT / "plugins" / "capillary_plugin.py"


def brought_by_the_file(monkeypatch: pytest.MonkeyPatch, *, installed: bool) -> list[object]:
    point = importlib.metadata.EntryPoint("capillary", "capillary.ui.plugin:CapillaryPlugin", "airflow.plugins")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: [point] if installed else [])
    return [each for each in runpy.run_path(str(FILE)).values() if is_valid_plugin(each)]


def test_the_file_brings_the_plugin_where_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert brought_by_the_file(monkeypatch, installed=False) == [CapillaryPlugin]


def test_the_file_brings_nothing_where_the_entry_point_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert brought_by_the_file(monkeypatch, installed=True) == []


def test_the_entry_point_is_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = importlib.metadata.EntryPoint(
        "x", project["entry-points"]["airflow.plugins"]["capillary"], "airflow.plugins"
    )
    assert named.load() is CapillaryPlugin
    assert issubclass(CapillaryPlugin, AirflowPlugin)


def test_a_worker_imports_the_plugin_and_not_the_pages() -> None:
    code = "import sys, capillary.ui.plugin; print([name for name in sys.modules if name.startswith('capillary.ui')])"
    done = subprocess.run(  # noqa: S603 - this test's own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "['capillary.ui', 'capillary.ui.plugin']"


def test_what_the_ui_is_told_is_what_airflow_takes_and_what_is_served() -> None:
    plugin = CapillaryPlugin()
    [app] = plugin.fastapi_apps
    assert app["url_prefix"] == PREFIX
    for react in plugin.react_apps:
        for address in (react["bundle_url"], react["icon"]):
            name = str(address).partition("?")[0].removeprefix(f"{PREFIX[1:]}/static/")
            assert (STATIC / name).is_file(), address
    bundles = [react["bundle_url"] for react in plugin.react_apps]
    assert len(set(bundles)) == len(bundles), "Airflow's UI takes one component from one address"
    shown: dict[str, object] = {name: [] for name, each in PluginResponse.model_fields.items() if each.is_required()}
    told = PluginResponse.model_validate({**shown, "name": "capillary", "source": "", "react_apps": plugin.react_apps})
    assert [(each.name, each.destination, each.url_route) for each in told.react_apps] == [
        ("Badges", "nav", "badges"),
        ("Badges", "dag_run", "badges_run"),
    ]


def test_pages_that_cannot_be_imported_keep_no_api_server_from_starting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "capillary.ui.app", None)
    with caplog.at_level(logging.ERROR):
        assert CapillaryPlugin().fastapi_apps == []
    assert "the badge pages cannot be served" in caplog.text
