"""When a container counts as healthy, and when it is started again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import engine
from tests.cluster.container import Container
from tests.cluster.engine import Health, Supervised
from tests.cluster.services import HealthCheck, Service, services
from tests.deployment.composition import made_up, rendered


class Question:
    """A health check that ended at once with a code, or does not end."""

    def __init__(self, code: int | None) -> None:
        self._code = code

    def poll(self) -> int | None:
        return self._code

    def kill(self) -> None:
        self._code = -9

    def wait(self) -> int | None:
        return self._code


class Played:
    """A container that lives for so many seconds each time, ends with these codes, and answers these checks."""

    def __init__(
        self, service: Service, lives_s: Sequence[float], codes: Sequence[int], answers: Sequence[int]
    ) -> None:
        self.service = service
        self.name = service.name
        self.exit_code: int | None = None
        self._lives = iter(lives_s)
        self._codes = iter(codes)
        self._answers: Iterator[int] = iter(answers)
        self._until = 0.0
        self._killed = False
        self._next_code = 0

    def start(self) -> None:
        self.exit_code, self._killed = None, False
        self._next_code = next(self._codes)
        self._until = time.monotonic() + next(self._lives)

    @property
    def is_running(self) -> bool:
        if self.exit_code is None and (self._killed or time.monotonic() > self._until):
            self.exit_code = -9 if self._killed else self._next_code
        return self.exit_code is None

    def kill(self) -> None:
        self._killed = True

    def inside(self, command: Sequence[str]) -> Question:
        assert command == CHECK.command
        return Question(next(self._answers, 0))


CHECK = HealthCheck(("true",), interval_s=0.1, timeout_s=1, retries=2, start_period_s=0.0, start_interval_s=0.05)


def service(restart: str, health: HealthCheck | None = None) -> Service:
    [any_one, *_] = services(rendered(made_up()))
    return replace(any_one, restart=restart, health=health, waits_for={})


def lived(played: Played, until: float) -> Supervised:
    member = Supervised(played, lambda _: True, Path("no-such-log"))  # type: ignore[arg-type] # what it uses of a container
    member.begin()
    time.sleep(until)
    return member


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_TICK_S", 0.01)
    monkeypatch.setattr(engine, "_RESTART_S", 0.01)


@pytest.mark.parametrize(
    ("policy", "codes", "starts", "is_up"),
    [
        ("no", [0], 1, True),
        ("no", [1], 1, False),
        ("on-failure:3", [0], 1, True),
        ("on-failure:3", [1, 0], 2, True),
        ("on-failure:3", [1, 1, 1, 1, 0], 4, False),
    ],
)
def test_a_command_that_is_meant_to_end(policy: str, codes: list[int], starts: int, *, is_up: bool) -> None:
    member = lived(Played(service(policy), [0.02] * 9, codes, []), until=0.8)
    assert (member.ended_for_good, member.starts, member.is_up) == (True, starts, is_up)


def test_what_keeps_running_is_started_again_whatever_its_code_and_not_after_a_stop() -> None:
    played = Played(service("unless-stopped"), [0.02, 0.02, 60, 60], [0, 1, 0, 0], [])
    member = lived(played, until=0.6)
    assert (member.starts, member.is_up, member.ended_for_good) == (3, True, False)
    member.end()
    time.sleep(0.2)
    assert (member.starts, member.is_up) == (3, False)


def test_health_is_starting_then_healthy_then_unhealthy_after_its_retries() -> None:
    check = replace(CHECK, start_period_s=60)
    member = lived(Played(service("unless-stopped", check), [60], [0], [1, 1, 1, 0, 0, 1, 1]), until=0.15)
    assert member.health is Health.STARTING  # failures of the start period do not count
    assert not member.is_up
    time.sleep(0.2)
    assert (member.health, member.is_up) == (Health.HEALTHY, True)
    member.end()


def test_failures_count_once_the_start_period_is_over() -> None:
    member = lived(Played(service("unless-stopped", CHECK), [60], [0], [1] * 99), until=0.5)
    assert (member.health, member.is_up) == (Health.UNHEALTHY, False)
    member.end()


def test_a_container_is_what_the_engine_takes() -> None:
    """What is played above is what a real one has."""
    assert {"start", "kill", "inside", "is_running", "exit_code"} <= vars(Container).keys()
