"""docs/deployment.md names what docker-compose.yml has, and nothing that it has not."""

from __future__ import annotations

import re
from datetime import timedelta

from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag

from capillary.campaign import BadgeCampaign
from tests.deployment.composition import CHECKOUT, document, variables

MANUAL = (CHECKOUT / "docs" / "deployment.md").read_text()
RUNBOOK = (CHECKOUT / "docs" / "runbook.md").read_text()
#: A row of the table: | `NAME` | default or **needed** | what it is |
_ROWS = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$", MANUAL, re.MULTILINE)


def test_every_variable_is_explained_with_its_default() -> None:
    written = {name: None if default == "**needed**" else default.strip("`") for name, default, _ in _ROWS}
    assert written == {name: "none" if default == "" else default for name, default in variables().items()}


def test_the_env_file_of_the_manual_holds_what_is_needed() -> None:
    [block] = re.findall(r"^cat > \.env <<EOF\n(.*?)^EOF$", MANUAL, re.MULTILINE | re.DOTALL)
    written = set(re.findall(r"^([A-Z_]+)=", block, re.MULTILINE))
    assert written == {name for name, default in variables().items() if default is None}


def test_services_and_volumes_of_the_manual_exist() -> None:
    known = {*document()["services"], *document()["volumes"], "airflow-provider-capillary"}
    assert set(re.findall(r"(?<![\w./-])airflow-[a-z-]+", MANUAL)) <= known
    for command in re.findall(r"docker compose (?:exec|logs|stop|restart)((?: [\w-]+)+)", MANUAL):
        service = next(word for word in command.split() if not word.startswith("-"))
        assert service in known, command


def test_the_age_of_airflows_cleaning_is_above_the_longest_wait() -> None:
    default = BadgeCampaign.model_fields["deadline"].default
    assert f"({default.days} days unless set)" in MANUAL
    [age] = re.findall(r"(\d+) days is a good one", MANUAL)
    assert int(age) >= 2 * default.days


def test_it_says_what_of_it_was_not_run() -> None:
    """No container engine was at hand."""
    not_run = MANUAL.partition("**What is not.** ")[2].partition("\n\n")[0]
    assert "The image has not been built" in not_run
    entrypoints = {path.stem for path in (CHECKOUT / "tests" / "cluster" / "entrypoints").glob("*.sh")}
    assert {name.rpartition("/")[2] for name in re.findall(r"`((?:apache/)?[a-z]+)`", not_run)} == entrypoints


def test_what_a_lost_worker_costs_is_what_the_settings_say() -> None:
    worker = document()["services"]["airflow-worker"]
    rows = re.findall(r"^\| `\[(\w+)\] (\w+)` \| (\d+) \| (\d+) \|", MANUAL, re.MULTILINE)
    said = {f"AIRFLOW__{section}__{option}".upper(): value for section, option, value, _ in rows}
    assert len(said) == 3
    assert {name: worker["environment"][name] for name in said} == said
    defaults = {
        (section, option): float(default)
        for section, option, _, default in rows
        if section != "celery_broker_transport_options"
    }
    assert {
        (section, option): float(conf.get_default_value(section, option)) for section, option in defaults
    } == defaults
    timeout = int(said["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    assert f"taken for lost {timeout} seconds after" in MANUAL
    assert f"missing heartbeat after {timeout} seconds with `docker-compose.yml`" in RUNBOOK
    assert f"`stop_grace_period` of `airflow-worker` | {worker['stop_grace_period']} |" in MANUAL


def test_every_process_has_the_same_times() -> None:
    """The scheduler judges by them what a worker's supervisor keeps to."""
    for name, service in document()["services"].items():
        if "AIRFLOW__CORE__EXECUTOR" in service.get("environment", {}):
            assert "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT" in service["environment"], name


def test_a_tasks_retry_delay_is_the_minute_that_the_manual_counts() -> None:
    bag = DagBag(str(CHECKOUT / "dags" / "gold_tier.py"))
    assert bag.dags["gold_tier"].get_task("submit").retry_delay == timedelta(minutes=1)
