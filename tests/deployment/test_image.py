"""Dockerfile, .dockerignore and what they install."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deployment.composition import CHECKOUT

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
#: A line that ends in a backslash goes on; comments are none of the instruction.
INSTRUCTIONS = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()


def pins(file: str) -> dict[str, str]:
    lines = [line.split("#")[0].split(";")[0].strip() for line in (CHECKOUT / file).read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("-e ")]
    return dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?==(\S+)", line).groups() for line in wanted)  # type: ignore[union-attr,misc] # a line that is not a pin fails the test


def taken_from_the_checkout() -> set[str]:
    taken = set()
    for line in INSTRUCTIONS:
        if line.startswith("COPY ") and "--from=" not in line:
            taken |= {word for word in line.split()[1:-1] if not word.startswith("--")}
        for mount in re.findall(r"--mount=(\S+)", line):
            options = dict(option.split("=") for option in mount.split(","))
            if "from" not in options:
                taken.add(options["source"])
    return taken


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    rules = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert rules[1] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    taken = taken_from_the_checkout()
    assert taken == let_in
    for name in taken:
        assert (CHECKOUT / name).exists(), name


def test_it_builds_on_the_airflow_that_the_project_is_tested_with() -> None:
    [image] = re.findall(r"^ARG AIRFLOW_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    python = project["requires-python"].removeprefix(">=")
    assert image == f"apache/airflow:slim-{pins('requirements.txt')['apache-airflow']}-python{python}"
    assert f'd("{project["name"]}").entry_points["provider_info"]' in DOCKERFILE
    assert "provider_info" in project["entry-points"]["apache_airflow_provider"]


def test_nothing_is_installed_unpinned() -> None:
    celery, constraints = pins("requirements-celery.txt"), pins("constraints.txt")
    assert {"apache-airflow-providers-celery", "apache-airflow-providers-redis"} <= celery.keys()
    assert {name: version for name, version in celery.items() if constraints.get(name, version) != version} == {}
    assert pins("requirements.txt").items() <= constraints.items()
    for line in INSTRUCTIONS:
        for install in re.findall(r"pip install [^&]*", line):
            assert "-c /tmp/constraints.txt" in install or "--no-deps" in install, install


@pytest.mark.parametrize("word", ["password", "secret", "token", "fernet"])
def test_no_secret_is_put_into_the_image(word: str) -> None:
    settings = [line.lower() for line in INSTRUCTIONS if line.startswith(("ENV ", "ARG "))]
    assert not [line for line in settings if word in line]


def test_nothing_runs_as_root_and_the_sandbox_is_in_the_demo_alone() -> None:
    users = [line.split()[1] for line in INSTRUCTIONS if line.startswith("USER ")]
    assert set(users) == {"airflow"}
    production, demo = DOCKERFILE.split("FROM production AS demo")
    assert not re.search(r"^COPY .*\bsandbox\b", production, re.MULTILINE)
    assert re.search(r"^COPY .*\bsandbox\b", demo, re.MULTILINE)
