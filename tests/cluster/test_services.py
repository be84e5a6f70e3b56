"""What is read of docker-compose.yml, and that nothing which it says is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.manual import first_start, secrets
from tests.cluster.services import bytes_of, seconds, services, words
from tests.deployment.composition import DEMO, made_up, rendered, variables

Document = dict[str, Any]


@pytest.fixture
def compose() -> Document:
    return rendered(made_up())


def test_every_service_of_the_file_is_read(compose: Document) -> None:
    assert [service.name for service in services(compose, [DEMO])] == list(compose["services"])
    assert {service.name for service in services(compose)} == {
        name for name, given in compose["services"].items() if "profiles" not in given
    }


def test_anchors_are_merged_and_a_services_own_word_wins(compose: Document) -> None:
    read = {service.name: service for service in services(compose, [DEMO])}
    worker, scheduler, init = (read[f"airflow-{name}"] for name in ("worker", "scheduler", "init"))
    assert worker.environment["DUMB_INIT_SETSID"] == "0"
    assert "DUMB_INIT_SETSID" not in scheduler.environment
    assert worker.environment.items() >= {("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")}
    assert worker.command == ("celery", "worker")
    assert (worker.stop_grace_s, scheduler.stop_grace_s) == (600, 10)
    assert worker.waits_for == {**scheduler.waits_for, "airflow-apiserver": "service_healthy"}
    assert scheduler.waits_for["airflow-init"] == "service_completed_successfully"
    assert (init.is_one_shot, init.restart, worker.is_one_shot) == (True, "on-failure:3", False)
    assert (worker.user, worker.unprivileged) == ((50000, 0), True)
    assert (read["postgres"].user, read["postgres"].unprivileged) == (None, False)
    assert "python -m capillary ledger create" in init.configs["/opt/airflow/init/airflow-init.sh"]
    assert init.volumes["/opt/airflow/passwords"] == "airflow-passwords"
    assert read["postgres"].shm_bytes == 256 * 2**20
    assert read["postgres"].networks == ("data",)


def test_a_health_check_is_a_command_with_its_times(compose: Document) -> None:
    read = {service.name: service.health for service in services(compose, [DEMO])}
    redis, scheduler = read["redis"], read["airflow-scheduler"]
    assert redis is not None
    assert scheduler is not None
    assert redis.command == ("/bin/sh", "-c", "redis-cli ping | grep PONG")
    assert scheduler.command == ("airflow", "jobs", "check", "--job-type", "SchedulerJob", "--local")
    times = (scheduler.interval_s, scheduler.timeout_s, scheduler.retries, scheduler.start_period_s)
    assert times == (60, 45, 3, 120)
    assert (scheduler.start_interval_s, redis.start_interval_s) == (15, 5)
    assert read["airflow-init"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"env_file": ".env"}, "does not play env_file"),
        ({"tmpfs": "/tmp"}, "does not play tmpfs"),  # noqa: S108 - a key of the file
        ({"read_only": True, "deploy": {}}, "does not play deploy, read_only"),
        ({"cap_drop": ["NET_RAW"]}, "plays cap_drop"),
        ({"security_opt": []}, "plays cap_drop"),
        ({"user": "airflow"}, "'airflow' is no pair of ids"),
        ({"depends_on": {"redis": {"condition": "service_well"}}}, "unknown condition service_well"),
        ({"healthcheck": {"disable": True}}, "does not play healthcheck.disable"),
        ({"healthcheck": {"test": ["NONE"]}}, "'NONE'"),
        ({"stop_grace_period": "soon"}, "'soon' is no duration"),
        ({"shm_size": "much"}, "'much' is no size"),
    ],
)
def test_what_is_not_played_is_refused_with_its_place(change: Document, said: str, compose: Document) -> None:
    compose["services"]["airflow-worker"] |= change
    with pytest.raises(ValueError, match=said):
        services(compose)


@pytest.mark.parametrize(
    ("duration", "expected"), [("5s", 5), ("1m", 60), ("10m", 600), ("1m30s", 90), ("1h", 3600), ("500ms", 0.5)]
)
def test_a_duration_in_seconds(duration: str, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "5", "s", "5 s", "1d", "m5"])
def test_what_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(duration)


def test_a_size_in_bytes() -> None:
    assert [bytes_of(size) for size in ("10b", "1k", "256m", "1gb")] == [10, 1024, 2**28, 2**30]


def test_a_command_in_either_form() -> None:
    assert words("celery worker -q 'a b'") == ("celery", "worker", "-q", "a b")
    assert words(["bash", "-c", "a b"]) == ("bash", "-c", "a b")
    with pytest.raises(ValueError, match="no command"):
        words({"a": 1})


def test_the_manuals_commands_make_every_secret(tmp_path: Path) -> None:
    assert "openssl rand" in first_start()
    assert "docker" not in first_start()
    made = secrets(tmp_path)
    assert made.keys() == {name for name, default in variables().items() if default is None}
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert made["AIRFLOW_UI_PASSWORDS"].startswith('{"admin": "')
    assert rendered(made)["services"]["redis"]["environment"]["REDISCLI_AUTH"] == made["REDIS_PASSWORD"]
