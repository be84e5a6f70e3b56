"""`docker compose up` and what comes after it: order, health, restarts; one thread for each container."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.cluster.container import Container
from tests.cluster.images import Image
from tests.cluster.network import Networks, Place, hosts
from tests.cluster.services import HealthCheck, Service

_TICK_S: Final = 0.1
#: Docker restarts at once, then after twice as long each time; a container that held for so long begins anew.
_RESTART_S: Final = 0.1
_RESTART_LIMIT_S: Final = 60.0
_HELD_S: Final = 10.0
_TAIL: Final = 3_000


class Health(StrEnum):
    """Health of a container, in Docker's words."""

    NONE = "none"  #: nobody asks
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ClusterFailed(RuntimeError):
    """The cluster does not come up; the message says which container, and what it printed last."""


class Supervised:
    """A container with its thread: waits for whom it depends on, starts, asks for health, restarts."""

    def __init__(self, container: Container, ready: Callable[[Service], bool], log: Path) -> None:
        self.container = container
        self.health = Health.STARTING if container.service.health else Health.NONE
        self.healthy_at: float | None = None
        self.starts = 0
        self.ended_for_good = False
        self._ready = ready
        self._log = log
        self._wanted = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name=container.name, daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether it is as `docker compose up --wait` wants it: healthy, running, or ended well where it should end."""
        if self.container.service.is_one_shot:
            return self.ended_for_good and self.container.exit_code == 0
        return self.container.is_running and self.health in {Health.NONE, Health.HEALTHY}

    def begin(self) -> None:
        """Start its thread."""
        self._thread.start()

    def end(self) -> None:
        """Kill it and end its thread."""
        self._wanted = False
        self._over.set()
        self.container.kill()
        if self._thread.is_alive():
            self._thread.join(10)

    def stop(self) -> float:
        """`docker stop`: it stays down until `start`. Returns the seconds that it took."""
        self._wanted = False
        took = self.container.stop()
        self._thread.join()
        return took

    def expect(self) -> None:
        """From now on it counts as neither started, ended nor healthy: it is about to be started."""
        self.starts = 0
        self.ended_for_good = False
        self._reset_health()

    def start(self) -> None:
        """`docker start` after `stop`."""
        self._wanted = True
        self.expect()
        self._thread = threading.Thread(target=self._live, name=self.container.name, daemon=True)
        self._thread.start()

    def tail(self) -> str:
        """The last that it printed."""
        return self._log.read_text(errors="replace")[-_TAIL:] if self._log.exists() else ""

    def _reset_health(self) -> None:
        self.health = Health.STARTING if self.container.service.health else Health.NONE
        self.healthy_at = None

    def _live(self) -> None:
        while not self._ready(self.container.service):
            if self._over.wait(_TICK_S):
                return
        pause, failures = _RESTART_S, 0
        while self._wanted and not self._over.is_set():
            began = time.monotonic()
            self.starts += 1
            self.container.start()
            self._watch()
            if time.monotonic() - began > _HELD_S:
                pause = _RESTART_S
            failures += self.container.exit_code != 0
            if not self._restarts(failures):
                break
            self._over.wait(pause)
            pause = min(2 * pause, _RESTART_LIMIT_S)
            self._reset_health()
        self.ended_for_good = True

    def _restarts(self, failures: int) -> bool:
        policy, _, limit = self.container.service.restart.partition(":")
        if policy == "on-failure":
            return self.container.exit_code != 0 and failures <= int(limit)
        return policy == "unless-stopped"

    def _watch(self) -> None:
        """Until it has ended: ask for its health as often as its check says."""
        check = self.container.service.health
        asking = None if check is None else _Asking(self.container, check)
        while self.container.is_running:
            if asking is not None:
                self.health = asking.look(self.health)
                if self.health is Health.HEALTHY and self.healthy_at is None:
                    self.healthy_at = time.monotonic()
            if self._over.wait(_TICK_S):
                self.container.kill()
        if asking is not None:
            asking.give_up()


class _Asking:
    """A health check over one life of a container: failures in the start period do not count."""

    def __init__(self, container: Container, check: HealthCheck) -> None:
        self._container = container
        self._check = check
        self._began = time.monotonic()
        self._due = self._began + check.start_interval_s
        self._asked_at = 0.0
        self._question: subprocess.Popen[str] | None = None
        self._failures = 0

    def look(self, health: Health) -> Health:
        """Ask, or take the answer, if it is time; returns the health from now on."""
        now = time.monotonic()
        if self._question is None:
            if now >= self._due:
                self._question, self._asked_at = self._container.inside(self._check.command), now
            return health
        code = self._question.poll()
        if code is None:
            if now - self._asked_at < self._check.timeout_s:
                return health
            self.give_up()
            code = 1
        self._question = None
        if code == 0:
            self._failures, health = 0, Health.HEALTHY
        elif health is not Health.STARTING or now - self._began > self._check.start_period_s:
            self._failures += 1
            if self._failures >= self._check.retries:
                health = Health.UNHEALTHY
        is_early = health is Health.STARTING and now - self._began < self._check.start_period_s
        self._due = now + (self._check.start_interval_s if is_early else self._check.interval_s)
        return health

    def give_up(self) -> None:
        if self._question is not None:
            self._question.kill()
            self._question.wait()


class Engine:
    """All containers of a project.

    Args:
        document: the rendered file.
        chosen: the services to start.
        scale: replicas by service, 1 unless named.
        images: by name.
        memory: a folder in a file system of its own, for the containers' own files.
        disk: a folder for volumes and logs.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        chosen: Sequence[Service],
        scale: Mapping[str, int],
        images: Mapping[str, Image],
        *,
        memory: Path,
        disk: Path,
    ) -> None:
        self._networks = Networks(document["networks"])
        self.logs = disk / "logs"
        self.logs.mkdir()
        self.volumes = {name: disk / "volumes" / name for name in document["volumes"]}
        self._images = images
        self._memory = memory
        self._extras = 0
        self._places: dict[str, list[Place]] = {}
        self.members: dict[str, list[Supervised]] = {}
        for service in chosen:
            for number in range(1, scale.get(service.name, 1) + 1):
                container = self._container(service, number)
                self._places.setdefault(service.name, []).append(container.place)
                member = Supervised(container, self._is_ready, self._log_of(container.name))
                self.members.setdefault(service.name, []).append(member)

    def _log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _container(self, service: Service, number: int) -> Container:
        name = f"{service.name}-{number}"
        image = self._images[service.image.partition(":")[0]]
        place = self._networks.place(service.networks)
        return Container(service, number, image, place, self._memory / name, self._log_of(name), self.volumes)

    def run_beside(self, service: Service) -> Container:
        """Start a container beside the file's own, which nobody restarts."""
        self._extras += 1
        container = self._container(service, self._extras)
        container.create(self._networks.plug(container.place), hosts(container.place, self._places))
        container.start()
        return container

    def __iter__(self) -> Iterator[Supervised]:
        return (member for members in self.members.values() for member in members)

    def up(self) -> None:
        """Make networks and containers, and start everything in its order."""
        self._networks.lay()
        for member in self:
            place = member.container.place
            member.container.create(self._networks.plug(place), hosts(place, self._places))
        for member in self:
            member.begin()

    def wait_up(self, limit_s: float) -> None:
        """Wait until everything is up.

        Raises:
            ClusterFailed: a container ended that should not have, or not all are up by the limit.
        """
        deadline = time.monotonic() + limit_s
        while waiting := [member for member in self if not member.is_up]:
            for member in waiting:
                if member.ended_for_good or (member.starts > 3 and not member.container.service.is_one_shot):
                    code = member.container.exit_code
                    raise ClusterFailed(f"{member.container.name} ended with {code}:\n{member.tail()}")
            if time.monotonic() > deadline:
                names = ", ".join(f"{each.container.name} ({each.health})" for each in waiting)
                raise ClusterFailed(f"not up within {limit_s:g} s: {names}\n{waiting[0].tail()}")
            time.sleep(_TICK_S)

    def down(self) -> None:
        """Kill everything."""
        for member in self:
            member.end()

    def stop(self, services: Collection[str]) -> None:
        """`docker compose stop`: whoever depends on others ends first."""
        for level in sorted({self._depth(name) for name in services}, reverse=True):
            ending = [each for name in services if self._depth(name) == level for each in self.members[name]]
            with ThreadPoolExecutor(len(ending)) as together:
                list(together.map(Supervised.stop, ending))

    def start(self, services: Collection[str], limit_s: float) -> None:
        """`docker compose start`, until all are up.

        Raises:
            ClusterFailed: they do not come up.
        """
        members = [member for name in services for member in self.members[name]]
        for member in members:
            member.expect()
        for member in members:
            member.start()
        self.wait_up(limit_s)

    def renew(self, services: Sequence[Service]) -> None:
        """Make new containers of services that were stopped, on their old volumes: `docker compose down`, then `up`."""
        for service in services:
            for member in self.members[service.name]:
                member.container.renew(service, hosts(member.container.place, self._places))

    def _depth(self, service: str) -> int:
        waits_for = self.members[service][0].container.service.waits_for
        return 1 + max((self._depth(other) for other in waits_for), default=0)

    def one(self, service: str) -> Supervised:
        """The first container of a service."""
        return self.members[service][0]

    def by_hostname(self, hostname: str) -> Supervised:
        """The container of this host name."""
        return next(member for member in self if member.container.place.hostname == hostname)

    def _is_ready(self, service: Service) -> bool:
        for other, condition in service.waits_for.items():
            members = self.members[other]
            if condition == "service_healthy":
                fulfilled = all(member.health is Health.HEALTHY for member in members)
            elif condition == "service_completed_successfully":
                fulfilled = all(member.is_up for member in members)
            else:
                fulfilled = all(member.starts for member in members)
            if not fulfilled:
                return False
        return True
