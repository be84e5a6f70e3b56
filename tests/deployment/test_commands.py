"""The commands and settings of the deployment are ones that Airflow and this project have."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped] # no stubs among the project's requirements

from capillary.__main__ import _parser as capillary_parser
from capillary.api.settings import PlatformSettings
from sandbox import warehouse
from sandbox.__main__ import _parser as sandbox_parser
from tests.deployment.composition import CHECKOUT, Document, made_up, rendered, words
from tests.deployment.running import run

MANUAL = CHECKOUT / "docs" / "deployment.md"
#: Airflow's core does not know them: provider `apache-airflow-providers-celery` 3.26.0, `get_provider_info.py` and
#: `cli/definition.py`.
CELERY_OPTIONS = {
    ("celery", "broker_url"),
    ("celery", "result_backend"),
    ("celery", "worker_concurrency"),
    ("celery_broker_transport_options", "visibility_timeout"),
}
CELERY_COMMANDS = {("celery", "worker")}

_PARSE = """
import json, sys
from airflow.cli.cli_parser import get_parser
parser = get_parser()
for command in json.loads(sys.stdin.read()):
    try:
        parser.parse_args(command)
    except SystemExit:
        print("AIRFLOW REFUSES", *command)
"""


@pytest.fixture(scope="module")
def compose() -> Document:
    return rendered(made_up())


def airflow_commands(compose: Document) -> set[tuple[str, ...]]:
    """What is given to `airflow`: by services, health checks, scripts and the manual."""
    scripts = [config["content"] for config in compose["configs"].values() if config["content"].startswith("set -")]
    manual = re.findall(r"`([^`\n]+)`", MANUAL.read_text())
    found = {
        tuple(shlex.split(command))
        for text in [*scripts, *manual]
        # Not airflow-worker, not a path; up to where the shell begins something else.
        for command in re.findall(r"(?<![\w/-])airflow ([^|;>&`\n\\]+)", text)
    }
    for service in compose["services"].values():
        command = words(service.get("command", []))
        if service["image"].startswith("capillary-badges:") and command[0] != "bash":
            found.add(tuple(command))
        check = service.get("healthcheck", {}).get("test", [])
        if check[1:2] == ["airflow"]:
            found.add(tuple(check[2:]))
    return found


def test_airflow_takes_every_command(compose: Document, tmp_path: Path) -> None:
    commands = airflow_commands(compose)
    assert {("db", "migrate"), ("api-server",), ("triggerer",), ("rotate-fernet-key",), *CELERY_COMMANDS} <= commands
    try:
        importlib.metadata.version("apache-airflow-providers-celery")
    except importlib.metadata.PackageNotFoundError:
        commands -= CELERY_COMMANDS
    done = run(
        [sys.executable, "-c", _PARSE],
        {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path)},
        given=json.dumps(sorted(commands)),
    )
    assert done.returncode == 0, done.stderr
    assert "AIRFLOW REFUSES" not in done.stdout


def test_airflow_has_every_option_that_is_set(compose: Document) -> None:
    package = importlib.util.find_spec("airflow")
    assert package is not None
    assert package.submodule_search_locations is not None
    [folder] = package.submodule_search_locations
    sections = yaml.safe_load((Path(folder) / "config_templates" / "config.yml").read_text())
    known = {(section, option) for section, entry in sections.items() for option in entry["options"]} | CELERY_OPTIONS
    named = {
        variable
        for service in compose["services"].values()
        for variable in service.get("environment", {})
        if variable.startswith("AIRFLOW__")
    }
    asked = {tuple(variable.removeprefix("AIRFLOW__").lower().split("__", 1)) for variable in named}
    assert len(asked) > 10
    assert asked - known == set()


def test_what_the_project_runs_itself_takes_its_arguments(compose: Document, tmp_path: Path) -> None:
    script = compose["configs"]["airflow-init"]["content"]
    ours = re.findall(r"\bpython -m capillary ([^;\n]*)", script)
    assert [capillary_parser().parse_args(each.split()).command for each in ours] == ["create", "upgrade"]

    sandbox = compose["services"]["sandbox"]
    assert sandbox["entrypoint"] == ["python", "-m", "sandbox"]
    options = sandbox_parser().parse_args(sandbox["command"])
    assert (options.host, options.port) == ("0.0.0.0", 8090)  # noqa: S104 - inside its container

    customers = compose["services"]["sample-customers"]
    assert customers["entrypoint"] == ["python", "-m", "sandbox.warehouse"]
    arguments = [f"sqlite:///{tmp_path / 'warehouse.db'}" if "://" in word else word for word in customers["command"]]
    arguments[arguments.index("--customers") + 1] = "20"
    assert warehouse.main(arguments) == 0


def test_the_demo_connects_to_the_sandbox_that_it_starts(compose: Document) -> None:
    [platform] = json.loads(compose["configs"]["demo-platform"]["content"]).values()
    settings = PlatformSettings(
        base_url=platform["host"],
        login=platform["login"],
        password=platform["password"],
        **json.loads(platform["extra"]),
    )
    options = sandbox_parser().parse_args(compose["services"]["sandbox"]["command"])
    assert settings.base_url == f"http://sandbox:{options.port}"
    assert settings.organisation_id == str(options.organisation)
    assert settings.checker_url == "http://localhost:8090/"

    [sample] = json.loads(compose["configs"]["demo-warehouse"]["content"]).values()
    server = compose["services"][sample["host"]]["environment"]
    assert (server["POSTGRES_USER"], server["POSTGRES_DB"]) == (sample["login"], sample["schema"])
