"""What the forms are made of, without a cluster: `make cluster` is the test itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.cluster import long, pods, short
from tests.cluster.__main__ import main
from tests.cluster.cluster import SCALE
from tests.cluster.images import ENTRYPOINTS, ImageMissing, images
from tests.cluster.kills import WEIGHTS
from tests.cluster.pods import ENVIRONMENT, pod_of
from tests.cluster.services import Service, services
from tests.deployment.composition import DEMO, made_up, rendered


@pytest.fixture
def worker() -> Service:
    return next(each for each in services(rendered(made_up())) if each.name == "airflow-worker")


def test_a_pod_knows_the_api_server_and_the_ledger_and_no_key(worker: Service) -> None:
    pod = pod_of(worker, json.dumps({"type": "ExecuteTask"}))
    assert worker.environment.keys() >= ENVIRONMENT
    assert pod.environment.keys() == ENVIRONMENT | {"AIRFLOW__CORE__PLUGINS_FOLDER"}
    assert pod.command[:3] == ("python", "-m", "airflow.sdk.execution_time.execute_workload")
    assert (pod.read_only, pod.health, pod.restart, pod.waits_for) == (True, None, "no", {})
    secrets = {value for name, value in made_up().items() if name != "LEDGER_DB_PASSWORD"}
    assert not [value for value in pod.environment.values() if any(secret in value for secret in secrets)]


def test_the_campaigns_load_and_those_of_pods_go_to_their_queue(tmp_path: Path) -> None:
    for campaign in {*short.CAMPAIGNS, *long.campaigns()}:
        campaign.write(tmp_path)
    pods.write_campaign(tmp_path)
    long.write_streak(tmp_path)
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert {task.queue for task in bag.dags[pods.CAMPAIGN.name].tasks} == {pods.QUEUE}
    assert {task.queue for task in bag.dags[short.KILLED.name].tasks} == {"default"}
    numbers = [campaign.number for campaign in short.CAMPAIGNS]
    assert len(set(numbers)) == len(numbers)  # nobody is in two campaigns


def test_what_is_scaled_and_what_is_killed_is_in_the_file() -> None:
    there = {service.name: service for service in services(rendered(made_up()), [DEMO])}
    assert SCALE.keys() <= there.keys()
    assert all(there[name].restart == "unless-stopped" for name in WEIGHTS)
    # What stands for the world outside lives on; everything else that keeps running dies.
    outside = {"sandbox", "sample-warehouse"}
    assert {name for name, service in there.items() if not service.is_one_shot} == WEIGHTS.keys() | outside


def test_there_is_an_image_for_every_service(tmp_path: Path) -> None:
    try:
        made = images(tmp_path)
    except ImageMissing as error:
        pytest.skip(str(error))
    for service in services(rendered(made_up()), [DEMO]):
        assert service.image.partition(":")[0] in made, service.name
    assert all(path.stat().st_mode & 0o111 for path in ENTRYPOINTS.glob("*.sh"))


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.cluster.images.TOOLS", {tmp_path / "redis-check-rdb": "redis-tools"})
    with pytest.raises(
        ImageMissing, match=r"redis-check-rdb: bash \.ci/debian, or install Debian's package redis-tools"
    ):
        images(tmp_path)


def test_without_root_it_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([]) == 2
    assert "Linux and root are needed" in capsys.readouterr().err
