"""docker-compose.yml: what the Compose Specification, Airflow and this project ask of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs among the requirements

from tests.deployment.composition import (
    CHECKOUT,
    DEMO,
    Document,
    document,
    made_up,
    rendered,
    texts,
    variables,
    words,
)

HERE = Path(__file__).parent
SCHEMA = HERE / "compose-spec.json"
#: How a production Airflow 3.3 is cut into processes ("Architecture Overview", apache-airflow docs).
PROCESSES = {"api-server", "scheduler", "dag-processor", "triggerer", "celery worker"}
ONE_SHOT = {"airflow-init", "sample-customers", "demo-connections"}
#: Logins of the sandbox, printed in its README: no secret.
PUBLIC = {"sandbox-maker"}


@pytest.fixture(scope="module")
def compose() -> Document:
    return rendered(made_up())


def problems(candidate: Document) -> list[str]:
    schema = json.loads(SCHEMA.read_text())
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(candidate)]


def test_it_follows_the_compose_specification(compose: Document) -> None:
    assert problems(document()) == []
    assert problems(compose) == []
    assert "version" not in compose


@pytest.mark.parametrize("mistake", [{"helthcheck": {}}, {"restart": 3}, {"depends_on": {"redis": {"condition": 1}}}])
def test_the_schema_notices_a_mistake(mistake: Document) -> None:
    wrong = document()
    wrong["services"]["airflow-worker"] |= mistake
    assert problems(wrong)


def test_the_schema_is_the_one_that_its_source_names() -> None:
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() in (HERE / "compose-spec.SOURCE.md").read_text()


def test_every_process_of_airflow_runs(compose: Document) -> None:
    commands = {" ".join(words(service["command"])) for service in compose["services"].values() if "command" in service}
    assert commands >= PROCESSES


def test_every_process_of_airflow_reads_every_campaign_file(compose: Document) -> None:
    """The DAGs folder is the image's own: no file is passed over for want of the words airflow and dag."""
    ours = [
        service
        for service in compose["services"].values()
        if "AIRFLOW__CORE__EXECUTOR" in service.get("environment", {})
    ]
    assert len(ours) >= len(PROCESSES)
    assert {service["environment"]["AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE"] for service in ours} == {"false"}


def test_every_service_has_an_image_and_what_is_built_has_a_target() -> None:
    targets = re.findall(r"^FROM .* AS (\w+)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    for name, service in document()["services"].items():
        assert service.get("image"), name
        if "build" in service:
            assert service["build"]["target"] in targets, name
            assert (CHECKOUT / service["build"]["context"] / "Dockerfile").is_file(), name
        else:
            assert re.fullmatch(r"[a-z]+:\d[\w.-]+", service["image"]), f"{name}: pin the image"


def test_what_keeps_running_restarts_says_how_it_is_and_does_not_fill_the_disk(compose: Document) -> None:
    for name, service in compose["services"].items():
        if name in ONE_SHOT:
            assert service["restart"] != "unless-stopped", name
            continue
        assert service["restart"] == "unless-stopped", name
        check = service["healthcheck"]
        assert check["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert {"interval", "timeout", "retries", "start_period"} <= check.keys(), name
        assert service["logging"]["options"]["max-size"], name


def test_what_is_waited_for_is_there_and_can_be_waited_for(compose: Document) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
            else:
                assert how["condition"] == "service_completed_successfully", f"{name} waits for {other}"
                assert other in ONE_SHOT, f"{name} waits for {other}"
            in_demo = DEMO in services[other].get("profiles", [])
            assert not in_demo or DEMO in service["profiles"], f"{name} needs the profile of {other}"


def test_no_two_services_wait_for_each_other(compose: Document) -> None:
    waits = {name: set(service.get("depends_on", {})) for name, service in compose["services"].items()}
    while ready := {name for name, others in waits.items() if not others}:
        waits = {name: others - ready for name, others in waits.items() if name not in ready}
    assert waits == {}


@pytest.mark.parametrize("kind", ["volumes", "configs", "networks"])
def test_what_is_named_is_declared_and_what_is_declared_is_used(kind: str, compose: Document) -> None:
    def named() -> Iterator[str]:
        for service in compose["services"].values():
            for entry in service.get(kind, []):
                yield entry["source"] if isinstance(entry, dict) else entry.split(":")[0]

    assert set(named()) == set(compose[kind])


def test_the_databases_and_the_broker_are_out_of_reach(compose: Document) -> None:
    assert compose["networks"]["data"] == {"internal": True}
    for name in ("postgres", "redis", "sample-warehouse"):
        assert compose["services"][name]["networks"] == ["data"]
        assert "ports" not in compose["services"][name]
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8080:8080", "127.0.0.1:8090:8090"]


def test_commits_are_durable_as_the_ledger_asks(compose: Document) -> None:
    command = words(compose["services"]["postgres"]["command"])
    assert {"fsync=on", "synchronous_commit=on"} <= set(command)
    ledger = json.loads(compose["services"]["airflow-worker"]["environment"]["AIRFLOW_CONN_BADGE_LEDGER"])
    assert (ledger["conn_type"], ledger["host"], ledger["schema"]) == ("postgres", "postgres", "badge_ledger")


def test_airflow_runs_without_privileges(compose: Document) -> None:
    for name, service in compose["services"].items():
        if service["image"].startswith("capillary-badges"):
            assert service["user"] == "50000:0", name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_only_who_signs_and_who_checks_a_token_has_its_key(compose: Document) -> None:
    holders = {
        name
        for name, service in compose["services"].items()
        if "AIRFLOW__API_AUTH__JWT_SECRET" in service.get("environment", {})
    }
    assert holders == {"airflow-scheduler", "airflow-apiserver"}


def test_no_secret_stands_in_the_file() -> None:
    secret = re.compile(r"PASSWORD$|PASSWORDS$|SECRET|_KEY$|AUTH$")
    for name, service in document()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), f"{name}: {variable}"
    for text in texts(document()):
        for found in re.findall(r'://[^/\s:@"]*:([^@\s"]+)@|"password": "([^"]+)"|requirepass (\S+)', text):
            password = next(filter(None, found))
            assert password.startswith("${") or password in PUBLIC, text


@pytest.mark.parametrize("name", sorted(name for name, default in variables().items() if default is None))
def test_a_secret_that_is_missing_stops_the_start(name: str) -> None:
    given = made_up()
    del given[name]
    with pytest.raises(KeyError, match=name):
        rendered(given)


def test_a_secret_has_one_explanation_wherever_it_stands() -> None:
    explained = dict.fromkeys(re.findall(r"\$\{([A-Z_]+):\?([^}]*)\}", (CHECKOUT / "docker-compose.yml").read_text()))
    names = [name for name, _ in explained]
    assert len(names) == len(set(names))
