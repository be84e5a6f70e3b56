"""When a container counts as healthy, and when it is started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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
        self.asked_when: list[Health] = []
        self.member: Supervised | None = None

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

    def stop(self) -> float:
        self.kill()
        while self.is_running:
            time.sleep(0.01)
        return 0.0

    def inside(self, command: Sequence[str]) -> Question:
        assert command == CHECK.command
        assert self.member is not None
        self.asked_when.append(self.member.health)
        return Question(next(self._answers, 0))


CHECK = HealthCheck(("true",), interval_s=0.1, timeout_s=1, retries=2, start_period_s=0.0, start_interval_s=0.05)


def service(restart: str, health: HealthCheck | None = None) -> Service:
    [any_one, *_] = services(rendered(made_up()))
    return replace(any_one, restart=restart, health=health, waits_for={})


def begun(played: Played) -> Supervised:
    member = Supervised(played, lambda _: True, Path("no-such-log"))  # type: ignore[arg-type] # what it uses of a container
    played.member = member
    member.begin()
    return member


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    member = begun(Played(service(policy), [0.02] * 9, codes, []))
    until(lambda: member.ended_for_good)
    assert (member.starts, member.is_up) == (starts, is_up)


def test_what_keeps_running_is_started_again_whatever_its_code_and_not_after_its_end() -> None:
    member = begun(Played(service("unless-stopped"), [0.02, 0.02, 60, 60], [0, 1, 0, 0], []))
    until(lambda: member.starts == 3 and member.is_up)
    assert not member.ended_for_good
    member.end()
    until(lambda: member.ended_for_good)
    assert (member.starts, member.is_up) == (3, False)


def test_failures_of_the_start_period_do_not_count_and_later_ones_do() -> None:
    played = Played(service("unless-stopped", replace(CHECK, start_period_s=60)), [60], [0], [1, 1, 1, 0, 0, 1, 1])
    member = begun(played)
    until(lambda: member.health is Health.UNHEALTHY)
    assert played.asked_when[:7] == [Health.STARTING] * 4 + [Health.HEALTHY] * 3
    assert member.healthy_at is not None
    until(lambda: member.is_up)  # the answers after these are good
    member.end()


def test_without_a_start_period_every_failure_counts() -> None:
    played = Played(service("unless-stopped", CHECK), [60], [0], [1] * 99)
    member = begun(played)
    until(lambda: member.health is Health.UNHEALTHY)
    assert played.asked_when[: CHECK.retries] == [Health.STARTING] * CHECK.retries
    member.end()


def chain(*names: str) -> tuple[engine.Engine, list[str]]:
    """An engine of services of which each waits until the one before is healthy, and what happened in it."""
    happened: list[str] = []

    class Told(Played):
        def start(self) -> None:
            happened.append(f"{self.name} starts")
            super().start()

        def stop(self) -> float:
            happened.append(f"{self.name} ends")
            return super().stop()

    made = object.__new__(engine.Engine)
    made.members = {}
    for before, name in zip([None, *names], names, strict=False):
        waits_for = {} if before is None else {before: "service_healthy"}
        one = replace(service("unless-stopped", CHECK), name=name, waits_for=waits_for)
        played = Told(one, [60] * 9, [0] * 9, [])
        member = Supervised(played, made._is_ready, Path("no-such-log"))  # type: ignore[arg-type] # as above
        played.member = member
        made.members[name] = [member]
    for member in made:
        member.begin()
    made.wait_up(20)
    happened.clear()
    return made, happened


def test_who_depends_on_others_ends_first_and_starts_last() -> None:
    made, happened = chain("database", "server", "worker")
    made.stop(["database", "worker", "server"])
    assert happened == ["worker ends", "server ends", "database ends"]
    assert not any(member.is_up for member in made)
    happened.clear()
    # Given in this order the worker's thread begins before the database is known to be down.
    made.start(["worker", "server", "database"], 20)
    assert happened == ["database starts", "server starts", "worker starts"]
    assert all(member.is_up for member in made)
    made.down()


def test_it_may_be_stopped_and_started_as_often_as_one_likes() -> None:
    """A container that starts again and again by itself is given up; one that is asked to is not."""
    made, _ = chain("database", "server")
    for _ in range(5):
        made.stop(["database", "server"])
        made.start(["database", "server"], 20)
    assert [member.starts for member in made] == [1, 1]
    made.down()


def test_a_part_is_stopped_and_started_beside_the_rest() -> None:
    made, happened = chain("database", "server", "worker")
    made.stop(["worker"])
    assert [member.is_up for member in made] == [True, True, False]
    made.start(["worker"], 20)
    assert happened == ["worker ends", "worker starts"]
    made.down()


def test_a_container_is_what_the_engine_takes() -> None:
    """What is played above is what a real one has."""
    assert {"start", "stop", "kill", "inside", "is_running", "exit_code"} <= vars(Container).keys()
