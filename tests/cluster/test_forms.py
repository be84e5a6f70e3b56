"""What the forms are made of, without a cluster: `make cluster` is the test itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from airflow.dag_processing.dagbag import DagBag

from local_airflow.home import DAGS
from tests.cluster import long, manual, pods, short, upkeep
from tests.cluster.__main__ import main
from tests.cluster.cluster import EXAMPLE, SCALE
from tests.cluster.engine import Engine
from tests.cluster.images import ENTRYPOINTS, ImageMissing, images
from tests.cluster.kills import WEIGHTS
from tests.cluster.pods import ENVIRONMENT, pod_of
from tests.cluster.services import Service, services
from tests.deployment.composition import CHECKOUT, DEMO, made_up, rendered


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
    for file in DAGS.glob(f"{EXAMPLE}.*"):
        shutil.copy(file, tmp_path)
    short.write_example(tmp_path)
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    by_the_clock = {dag_id for dag_id, dag in bag.dags.items() if dag.schedule is not None}
    assert by_the_clock == {"cluster_streak"}, "a run that nobody triggered would come at its hour"
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


def test_a_program_that_is_missing_is_named_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tests.cluster.needed.TOOLS", {tmp_path / "ip": "iproute2"})
    monkeypatch.setattr("tests.cluster.__main__._prepare", lambda *_: pytest.fail("nothing may be built"))
    assert main([]) == 2
    assert capsys.readouterr().err.endswith("/ip: bash .ci/debian, or install Debian's package iproute2\n")


@pytest.mark.parametrize("options", [(), ("-j4",)], ids=["one by one", "in parallel"])
def test_make_without_root_says_what_is_needed_before_it_installs(options: tuple[str, ...], tmp_path: Path) -> None:
    """In a checkout without a .venv. The Python that would install it tells that it was asked to, and does nothing."""
    (tmp_path / "tests/cluster").mkdir(parents=True)
    names = ("Makefile", "constraints.txt", "pyproject.toml", "tests/cluster/__init__.py", "tests/cluster/needed.py")
    for name in (*names, *(each.name for each in CHECKOUT.glob("requirements*.txt"))):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    asked = "import os, sys; os.geteuid = lambda: 1000; from tests.cluster.needed import main; sys.exit(main())"
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\n[ \"$2\" = tests.cluster.needed ] && exec {sys.executable} -c '{asked}'\necho installs\nexit 1\n"
    )
    python.chmod(0o755)
    done = subprocess.run(  # noqa: S603 - our own words
        ["/usr/bin/make", *options, "cluster", f"PYTHON={python}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "make cluster: Linux and root are needed, for the containers' namespaces: sudo make cluster" in done.stderr
    assert "installs" not in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_without_root_it_says_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main([]) == 2
    assert "Linux and root are needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n", "Operation not permitted"),
        ("#!/bin/sh\nexit 32\n", "code 32"),
    ],
    ids=["refused", "without a word"],
)
def test_root_that_may_make_no_namespaces_is_told_before_anything_is_built(
    program: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "unshare").write_text(program)
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tests.cluster.needed.TOOLS", {})
    monkeypatch.setattr("tests.cluster.__main__._prepare", lambda *_: pytest.fail("nothing may be built"))
    assert main([]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.endswith("run it on a machine of its own, or in a container with --privileged\n")


def test_a_machine_without_unshare_is_told_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("tests.cluster.needed.TOOLS", {})
    assert main([]) == 2
    assert "there is no program unshare: bash .ci/debian, or install Debian's package util-linux" in (
        capsys.readouterr().err
    )


def test_the_campaigns_of_the_upkeep_load_and_are_nobody_elses(tmp_path: Path) -> None:
    for campaign in upkeep.CAMPAIGNS:
        campaign.write(tmp_path)
    assert DagBag(str(tmp_path)).import_errors == {}
    numbers = [campaign.number for campaign in (*upkeep.CAMPAIGNS, *long.campaigns(), long._STREAK)]
    assert len(set(numbers)) == len(numbers)


def test_the_killed_workers_task_is_tried_again_soon(tmp_path: Path) -> None:
    short.write_killed(tmp_path)
    (dag,) = DagBag(str(tmp_path)).dags.values()
    assert {task.retry_delay for task in dag.tasks} == {timedelta(seconds=5)}


@pytest.mark.parametrize(
    "begin",
    [
        "docker compose exec airflow-scheduler airflow db clean",
        "docker compose exec -T airflow-scheduler python - <<'PYTHON'",
        "docker compose exec airflow-scheduler env",
        "docker compose exec -T postgres pg_dump",
    ],
)
def test_the_manual_has_the_commands_of_the_upkeep_once(begin: str) -> None:
    assert manual.block(begin).startswith(begin)


@pytest.mark.parametrize(
    "begin", ["docker compose exec -T postgres pg_restore", "python -m capillary ledger import --dags"]
)
def test_the_manual_has_the_commands_within_its_sentences_once(begin: str) -> None:
    assert manual.words(begin).startswith(begin)


class OneContainer:
    """An engine with one container, whose inside is this machine."""

    def __init__(self) -> None:
        entry = ["env", "-i", "PATH=/usr/bin:/bin", "WORD=two  words"]
        place = SimpleNamespace(container=SimpleNamespace(entry=lambda: entry))
        self.members = {"service": [place]}


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ('docker compose exec service sh -c \'echo "$WORD"\' "it\'s"', "two  words\n"),
        ("docker compose exec -T service cat <<'END'\nas $it stands\nEND\n", "as $it stands\n"),
        ("docker compose exec -T service echo kept > file\ndocker compose exec -T service cat < file", "kept\n"),
        ("docker compose exec service echo new", "newer\n"),
    ],
    ids=["words", "a document", "files", "what a reader puts in"],
)
def test_commands_of_the_manual_run_as_they_stand(tmp_path: Path, commands: str, said: str) -> None:
    put_in = {"new": "newer"} if "new" in commands else {}
    assert manual.told(commands, cast("Engine", OneContainer()), tmp_path, put_in) == said


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("docker compose exec service false; echo on", "ended with 1"),
        ("docker compose pull", "not played: docker compose pull"),
        ("docker compose exec nobody true", "nobody"),
    ],
)
def test_a_command_of_the_manual_that_fails_is_heard(tmp_path: Path, commands: str, said: str) -> None:
    with pytest.raises(manual.CommandFailed, match=said):
        manual.told(commands, cast("Engine", OneContainer()), tmp_path)


def test_a_word_that_the_manual_does_not_have_is_not_put_in(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'old' is not in the manual's"):
        manual.told("docker compose exec service true", cast("Engine", OneContainer()), tmp_path, {"old": "new"})
