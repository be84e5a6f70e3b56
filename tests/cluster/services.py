"""What a Compose file says, as far as the engine here plays it; a key that it does not know is refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Keys that change nothing here: no image is built, logs go to files, ports are called at the container's address.
NOT_PLAYED: Final = frozenset({"build", "logging", "ports"})
PLAYED: Final = frozenset(
    {
        "cap_drop",
        "command",
        "configs",
        "depends_on",
        "entrypoint",
        "environment",
        "healthcheck",
        "image",
        "init",
        "networks",
        "profiles",
        "restart",
        "security_opt",
        "shm_size",
        "stop_grace_period",
        "user",
        "volumes",
    }
)
_CHECK_KEYS: Final = frozenset({"test", "interval", "timeout", "retries", "start_period", "start_interval"})
_CONDITIONS: Final = frozenset({"service_started", "service_healthy", "service_completed_successfully"})
#: Docker's own where the file says nothing: seconds, and bytes.
_GRACE_S: Final = 10.0
_START_INTERVAL_S: Final = 5.0
_SHM_BYTES: Final = 64 * 2**20
_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNITS_BYTES: Final = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a container's health is asked: a command, and seconds and tries as Docker Engine 25 counts them."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float
    start_interval_s: float


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        entrypoint: None: the image's own.
        command: after the entry point.
        user: ids of user and group; None: the image's own.
        unprivileged: no capability, and none to be gained.
        configs: contents by the file that they are mounted at.
        volumes: names of volumes by the folder that they are mounted at.
        waits_for: conditions by service.
        init: whether an init process stands before the command.
        read_only: whether its root file system takes no writes, save in /tmp and on volumes.
    """

    name: str
    image: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: tuple[int, int] | None
    unprivileged: bool
    networks: tuple[str, ...]
    configs: Mapping[str, str]
    volumes: Mapping[str, str]
    waits_for: Mapping[str, str]
    health: HealthCheck | None
    restart: str
    stop_grace_s: float
    shm_bytes: int
    init: bool
    read_only: bool = False

    @property
    def is_one_shot(self) -> bool:
        """Whether it is meant to end."""
        return self.restart in {"no", ""} or self.restart.startswith("on-failure")


def services(document: Mapping[str, Any], profiles: Collection[str] = ()) -> list[Service]:
    """Read the services of a rendered file that these profiles start, in the file's order.

    Raises:
        ValueError: the file says something that would be passed over here; with its place.
    """
    return [
        _service(name, given, document["configs"])
        for name, given in document["services"].items()
        if not given.get("profiles") or set(given["profiles"]) & set(profiles)
    ]


def _service(name: str, given: Mapping[str, Any], configs: Mapping[str, Any]) -> Service:
    if unknown := given.keys() - PLAYED - NOT_PLAYED:
        raise ValueError(f"service {name}: tests/cluster does not play {', '.join(sorted(unknown))}")
    drops, options = given.get("cap_drop", []), given.get("security_opt", [])
    if (drops, options) not in (([], []), (["ALL"], ["no-new-privileges:true"])):
        raise ValueError(f"service {name}: tests/cluster plays cap_drop [ALL] with no-new-privileges, or neither")
    user = given.get("user")
    return Service(
        name=name,
        image=given["image"],
        entrypoint=words(given["entrypoint"]) if "entrypoint" in given else None,
        command=words(given.get("command", [])),
        environment={key: str(value) for key, value in given.get("environment", {}).items()},
        user=None if user is None else _ids(name, user),
        unprivileged=bool(drops),
        networks=tuple(given["networks"]),
        configs={each["target"]: configs[each["source"]]["content"] for each in given.get("configs", [])},
        volumes={target: volume for volume, target in (each.split(":") for each in given.get("volumes", []))},
        waits_for=_conditions(name, given.get("depends_on", {})),
        health=_health(name, given["healthcheck"]) if "healthcheck" in given else None,
        restart=str(given.get("restart", "no")),
        stop_grace_s=seconds(given.get("stop_grace_period", f"{_GRACE_S:g}s")),
        shm_bytes=bytes_of(given["shm_size"]) if "shm_size" in given else _SHM_BYTES,
        init=bool(given.get("init", False)),
    )


def _ids(name: str, user: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+):(\d+)", user)
    if not found:
        raise ValueError(f"service {name}: user {user!r} is no pair of ids such as 50000:0")
    return int(found[1]), int(found[2])


def _conditions(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    conditions = {other: str(how["condition"]) for other, how in given.items()}
    if strange := set(conditions.values()) - _CONDITIONS:
        raise ValueError(f"service {name}: depends_on has the unknown condition {', '.join(sorted(strange))}")
    return conditions


def _health(name: str, given: Mapping[str, Any]) -> HealthCheck:
    if unknown := given.keys() - _CHECK_KEYS:
        raise ValueError(f"service {name}: tests/cluster does not play healthcheck.{', '.join(sorted(unknown))}")
    kind, *test = given["test"]
    if kind not in {"CMD", "CMD-SHELL"}:
        raise ValueError(f"service {name}: healthcheck.test begins with {kind!r}, which is not CMD or CMD-SHELL")
    return HealthCheck(
        command=("/bin/sh", "-c", *test) if kind == "CMD-SHELL" else tuple(test),
        interval_s=seconds(given["interval"]),
        timeout_s=seconds(given["timeout"]),
        retries=int(given["retries"]),
        start_period_s=seconds(given["start_period"]),
        start_interval_s=seconds(given.get("start_interval", f"{_START_INTERVAL_S:g}s")),
    )


def words(command: object) -> tuple[str, ...]:
    """A command in either of its forms, as words: a text is split as a shell splits it, and run by none."""
    if isinstance(command, str):
        return tuple(shlex.split(command))
    if isinstance(command, list):
        return tuple(str(word) for word in command)
    raise ValueError(f"{command!r} is no command: give a text or a list of words")


def seconds(duration: str) -> float:
    """A duration of the Compose Specification, such as 1m30s, in seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[hms])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is no duration such as 1m30s")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def bytes_of(size: str) -> int:
    """A size of the Compose Specification, such as 256m, in bytes."""
    found = re.fullmatch(r"(\d+)([bkmg])b?", size)
    if not found:
        raise ValueError(f"{size!r} is no size such as 256m")
    return int(found[1]) * _UNITS_BYTES[found[2]]
