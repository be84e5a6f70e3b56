"""deploy/helm holds to the chart's keys as they were read, and to docker-compose.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # no stubs among the project's requirements

from capillary.campaign import BadgeCampaign
from tests.deployment.composition import CHECKOUT, document, made_up, rendered

FOLDER = CHECKOUT / "deploy" / "helm"
FILES = ("values.yaml", "values-kubernetes.yaml")
CHART: dict[str, Any] = yaml.safe_load((CHECKOUT / "tests" / "deployment" / "helm-chart.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text())
#: Said again although the chart has it so: a task of ours counts on it, or the other file goes on from it.
SAID_AGAIN = {"executor", "workers.terminationGracePeriodSeconds"}


def leaves(given: dict[str, Any], chart: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Every value with its path and the chart's default; a key that the chart has not fails."""
    for key, value in given.items():
        where = f"{path}.{key}" if path else key
        assert isinstance(chart, dict), f"{where}: the chart's keys end before it"
        assert key in chart, f"{where}: not among the keys that were looked up in the chart"
        default = chart[key]
        if isinstance(value, dict) and isinstance(default, dict):
            yield from leaves(value, default, where)
        else:
            yield where, value, default


@pytest.mark.parametrize("file", FILES)
def test_every_key_was_looked_up_in_the_chart_and_differs_from_its_default(file: str) -> None:
    found = list(leaves(yaml.safe_load((FOLDER / file).read_text()), CHART))
    assert found
    assert {where for where, value, default in found if value == default} <= SAID_AGAIN
    for where, value, default in found:
        if default not in (None, "open") and where != "migrateDatabaseJob.args":
            assert isinstance(value, type(default)), where


#: JSON's words for types, and what YAML makes of them.
TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
SCHEMA: dict[str, Any] = yaml.safe_load((CHECKOUT / "tests" / "deployment" / "helm-schema.yaml").read_text())


def wrong_types(given: dict[str, Any], schema: dict[str, Any], path: str = "") -> list[str]:
    """The values that are not of the type which was read in the chart's schema."""
    found = []
    for key, value in given.items():
        where, kind = f"{path}.{key}" if path else key, schema.get(key)
        if isinstance(kind, dict):
            found += wrong_types(value, kind, where) if isinstance(value, dict) else [where]
        elif kind is not None and type(value) is not TYPES[kind]:
            found.append(where)
    return found


@pytest.mark.parametrize("file", FILES)
def test_values_have_the_types_of_the_charts_schema(file: str) -> None:
    assert wrong_types(yaml.safe_load((FOLDER / file).read_text()), SCHEMA) == []


def test_every_setting_is_a_value_that_the_charts_schema_takes() -> None:
    found = [
        (section, option, value) for section, options in VALUES["config"].items() for option, value in options.items()
    ]
    assert len(found) >= 7
    assert [each for each in found if type(each[2]) not in {bool, int, float, str}] == []


def test_a_value_of_another_type_is_noticed() -> None:
    """A version without quotes is a number, and Helm refuses it; true is no number."""
    given = {"airflowVersion": 3.3, "workers": {"replicas": True, "extraVolumes": {}}, "data": None, "scheduler": {}}
    given |= {"redis": {"enabled": "false"}, "secret": {}}
    assert wrong_types(given, SCHEMA) == [
        "airflowVersion",
        "workers.replicas",
        "workers.extraVolumes",
        "data",
        "redis.enabled",
        "secret",
    ]


def test_what_was_read_in_the_schema_is_set() -> None:
    """Else nobody would look it up again when it changes."""

    def keys(given: dict[str, Any], path: str = "") -> Iterator[str]:
        for key, value in given.items():
            yield f"{path}.{key}"
            if isinstance(value, dict):
                yield from keys(value, f"{path}.{key}")

    said = {key for file in FILES for key in keys(yaml.safe_load((FOLDER / file).read_text()))}
    assert {*keys(SCHEMA)} <= said


def test_a_key_that_the_chart_has_not_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"workers\.replica: not among"):
        list(leaves({"workers": {"replica": 2}}, CHART))


@pytest.mark.parametrize("file", FILES)
def test_every_value_has_its_reason_above_it(file: str) -> None:
    """A comment above the key, or above the block that it stands in."""
    lines = (FOLDER / file).read_text().splitlines()
    blocks = "\n".join(lines).split("\n\n")
    for block in blocks[1:]:
        first = block.splitlines()[0]
        assert "#" in block or first.startswith("executor:"), block


def test_settings_are_those_of_docker_compose() -> None:
    environment = rendered(made_up())["services"]["airflow-worker"]["environment"]
    for section, options in VALUES["config"].items():
        for option, value in options.items():
            variable = f"AIRFLOW__{section}__{option}".upper()
            if variable in environment:
                assert str(value).lower() == environment[variable].lower(), variable
    said = {section: set(options) for section, options in VALUES["config"].items()}
    assert {"task_instance_heartbeat_timeout"} <= said["scheduler"]
    grace = document()["services"]["airflow-worker"]["stop_grace_period"]
    assert f"{VALUES['workers']['terminationGracePeriodSeconds'] // 60}m" == grace


def test_the_ledger_is_made_and_upgraded_by_the_lines_of_docker_compose() -> None:
    init = rendered(made_up())["configs"]["airflow-init"]["content"]
    lines = [line for line in init.partition("\npython /opt/airflow/init")[0].splitlines() if not line.startswith("#")]
    lines = lines[: next(number for number, line in enumerate(lines) if line.startswith("given="))]
    lines.remove("umask 077")
    bash, option, script = VALUES["migrateDatabaseJob"]["args"]
    assert (bash, option) == ("bash", "-c")
    assert script.splitlines() == lines


def test_every_container_gets_the_ledger_from_a_secret_and_no_secret_stands_in_the_file() -> None:
    [ledger] = VALUES["secret"]
    assert ledger == {"envName": "AIRFLOW_CONN_BADGE_LEDGER", "secretName": "badges-ledger", "secretKey": "connection"}
    for file in FILES:
        text = "\n".join(line for line in (FOLDER / file).read_text().splitlines() if not line.strip().startswith("#"))
        assert not re.search(r"password:|://[^\s:]*:[^@\s]+@", text, re.IGNORECASE)
    manual = (CHECKOUT / "docs" / "deployment.md").read_text()
    names = {ledger["secretName"], *(value for name, value in leaves_of(VALUES) if name.endswith("SecretName"))}
    assert len(names) >= 6
    assert {name for name in names if f"`{name}`" not in manual} == set()


def leaves_of(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        if isinstance(value, dict):
            yield from leaves_of(value)
        elif isinstance(value, str):
            yield key, value


def test_rows_have_a_place_to_wait_and_old_rows_go_later_than_the_longest_wait() -> None:
    workers = VALUES["workers"]
    [volume], [mount] = workers["extraVolumes"], workers["extraVolumeMounts"]
    assert volume == {"name": mount["name"], "emptyDir": {}}
    assert mount["mountPath"] == "/tmp"  # noqa: S108 - in the pod
    age = VALUES["databaseCleanup"]["retentionDays"]
    assert age >= 2 * BadgeCampaign.model_fields["deadline"].default.days
    assert f"{age} days is a good one" in (CHECKOUT / "docs" / "deployment.md").read_text()


def test_the_image_is_the_projects_and_airflow_the_pinned_one() -> None:
    [pin] = re.findall(r"^apache-airflow==(\S+)", (CHECKOUT / "requirements.txt").read_text(), re.MULTILINE)
    assert VALUES["airflowVersion"] == pin
    image = document()["services"]["airflow-worker"]["image"]
    assert f"{VALUES['defaultAirflowRepository'].rpartition('/')[2]}:{VALUES['defaultAirflowTag']}" in image
