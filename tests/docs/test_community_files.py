"""The door: licence, contributing, security, hooks and workflow say what the project does."""

from __future__ import annotations

import configparser
import re
import tomllib
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped] # no stubs among the project's requirements

from tests.docs.markdown import ROOT, code_of, sections

CONSTRAINTS: Final = dict(
    re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
)
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS: Final = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def read_yaml(name: str) -> Any:  # noqa: ANN401 - a document of any shape
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# pre-commit ---------------------------------------------------------------------------------------------------

HOOKS: Final = [hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_has_the_version_of_the_constraints(hook: dict[str, Any]) -> None:
    [pin] = hook["additional_dependencies"]
    name, version = pin.split("==")
    assert hook["entry"].split()[0] == name
    assert version == CONSTRAINTS[name]


def test_the_hooks_are_the_linters_of_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    linters = set(re.findall(r"echo '== ([^']+)'", makefile)) - {"pytest"}
    assert {name.removesuffix(" --check") for name in linters} == {hook["name"] for hook in HOOKS}


# The workflow -------------------------------------------------------------------------------------------------

WORKFLOW: Final = read_yaml(".github/workflows/ci.yml")
[JOB] = WORKFLOW["jobs"].values()


def test_the_workflow_runs_what_ci_runs() -> None:
    assert [step["run"] for step in JOB["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_workflow_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in JOB
    [checkout] = [step for step in JOB["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["persist-credentials"] is False
    assert "pull_request_target" not in WORKFLOW[True]  # YAML reads `on` as a truth value


def test_the_workflow_ends_after_forty_minutes() -> None:
    assert JOB["timeout-minutes"] == 40


def test_every_action_is_pinned_to_a_commit() -> None:
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_the_workflow_takes_the_lowest_python_that_the_project_takes() -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert JOB["container"]["image"].startswith(f"python:{lowest}-")


def test_the_workflows_container_may_make_namespaces() -> None:
    """Else `make cluster` refuses, and says so."""
    assert "make cluster" in (ROOT / ".ci" / "run").read_text()
    assert JOB["container"]["options"] == "--privileged"


# Issues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_is_one_that_github_takes(form: Any) -> None:  # noqa: ANN401 - a path
    found = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= found.keys()
    kinds = {"markdown", "textarea", "input", "checkboxes"}
    fields = [each for each in found["body"] if each["type"] != "markdown"]
    assert {each["type"] for each in found["body"]} <= kinds
    assert len({each["id"] for each in fields}) == len(fields) > 0
    assert all(each["attributes"]["label"] for each in fields)


def test_the_form_for_bugs_asks_for_the_facts_and_for_nothing_private() -> None:
    found = {each.get("id"): each for each in read_yaml(".github/ISSUE_TEMPLATE/bug.yml")["body"]}
    needed = {name for name, each in found.items() if each.get("validations", {}).get("required")}
    assert needed == {"seen", "expected", "versions"}
    assert found["request-key"]["attributes"]["placeholder"].startswith("cb1.")
    promises = " ".join(option["label"] for option in found["clean"]["attributes"]["options"] if option["required"])
    assert "customer ids" in promises
    assert "passwords" in promises


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_leads_to_pages_that_exist(form: Any) -> None:  # noqa: ANN401 - a path
    named = re.findall(r"\]\(\.\./blob/main/([^)#]+)", form.read_text(encoding="utf-8"))
    assert [page for page in named if not (ROOT / page).is_file()] == []


def test_an_issue_begins_with_a_form() -> None:
    assert [form.stem for form in FORMS] == ["bug", "feature"]
    assert read_yaml(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"] is False


# Pages --------------------------------------------------------------------------------------------------------


def test_the_contributors_commands_are_those_of_ci() -> None:
    ((_, commands), (_, smaller)) = next(
        each for each in sections(ROOT / "CONTRIBUTING.md") if each.title == "Set up"
    ).blocks
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert sorted(line.split("#")[0].strip() for line in commands.splitlines()) == sorted(
        re.findall(r"^make \w+$", script, re.MULTILINE)
    )
    for path in re.findall(r"tests/\w+", smaller):
        assert (ROOT / path).is_dir()


def test_the_contributor_is_led_to_places_that_exist() -> None:
    rows = next(each for each in sections(ROOT / "CONTRIBUTING.md") if each.title == "Where a change goes").rows()
    places = [place for row in rows for place in code_of(row[1])]
    assert places
    assert [place for place in places if not list(ROOT.glob(place.rstrip("/")))] == []


def test_the_licence_is_declared_once() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert not any("License ::" in each for each in PROJECT.get("classifiers", []))
    head = (ROOT / "LICENSE").read_text(encoding="utf-8").split("TERMS AND CONDITIONS")[0].split()
    assert head[:5] == ["Apache", "License", "Version", "2.0,", "January"]


def test_nobody_is_named_who_does_not_exist() -> None:
    for page in ("SECURITY.md", "CONTRIBUTING.md"):
        assert not re.search(r"[\w.]+@[\w.]+", (ROOT / page).read_text(encoding="utf-8")), page


def test_the_editors_settings_are_the_linters() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert parser["top"]["root"] == "true"
    assert int(parser["*"]["max_line_length"]) == ruff["line-length"]
    assert parser["Makefile"]["indent_style"] == "tab"
