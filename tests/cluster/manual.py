"""The manual's own commands, as they stand: those that make the secrets, and those of years of upkeep."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from tests.cluster.engine import Engine
from tests.deployment.composition import CHECKOUT

MANUAL: Final = CHECKOUT / "docs" / "deployment.md"
_UP: Final = "docker compose up --build --detach"


def first_start() -> str:
    """The commands of the section "Start", up to the one that needs a container engine."""
    section = MANUAL.read_text().partition("\n## Start\n")[2].partition("\n## ")[0]
    commands = str(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)[0])
    if not commands.endswith(f"{_UP}\n"):
        raise ValueError(f"{MANUAL}, Start: its first block does not end with {_UP!r}")
    return commands.removesuffix(f"{_UP}\n")


def secrets(folder: Path) -> dict[str, str]:
    """Run those commands in a folder, and read the .env that they write as Compose does.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", first_start()], cwd=folder, check=True)  # noqa: S603 - the manual's
    return {name: value or "" for name, value in dotenv_values(folder / ".env").items()}


#: `docker compose exec` enters a container; nothing else of Docker is played.
_DOCKER: Final = r"""
docker() {
  if [ "$1 $2" != "compose exec" ]; then echo "not played: docker $*" >&2; return 64; fi
  shift 2
  if [ "$1" = -T ]; then shift; fi
  local service=$1
  shift
  bash "$ENTRIES/$service" "$@"
}
"""


def block(begin: str) -> str:
    """The manual's block of commands that begins so.

    Raises:
        ValueError: it has none, or more than one.
    """
    found = [each for each in re.findall(r"```sh\n(.*?)```", MANUAL.read_text(), re.DOTALL) if each.startswith(begin)]
    if len(found) != 1:
        raise ValueError(f"{MANUAL} has {len(found)} blocks that begin with {begin!r}, not one")
    return str(found[0])


def words(begin: str) -> str:
    """The manual's command within a sentence that begins so."""
    found = re.findall(rf"`({re.escape(begin)}[^`]*)`", MANUAL.read_text())
    if len(found) != 1:
        raise ValueError(f"{MANUAL} has {len(found)} commands that begin with {begin!r}, not one")
    return str(found[0])


def told(commands: str, containers: Engine, folder: Path, put_in: Mapping[str, str] | None = None) -> str:
    """Run commands of the manual over the containers, and return what they printed.

    Args:
        commands: as they stand there.
        containers: which `docker compose exec` enters.
        folder: where they run; files that they write stay there.
        put_in: what a reader puts in: word of the manual, and its value.

    Raises:
        CommandFailed: one of them ended with another code than 0.
    """
    entries = folder / "entries"
    entries.mkdir(mode=0o700, exist_ok=True)
    for name, members in containers.members.items():
        if (entry := members[0].container.entry()) is not None:
            (entries / name).write_text(f'exec {shlex.join(entry)} "$@"\n')
    for word, value in (put_in or {}).items():
        if word not in commands:
            raise ValueError(f"{word!r} is not in the manual's {commands!r}")
        commands = commands.replace(word, value)
    script = f"set -euo pipefail\nENTRIES={shlex.quote(str(entries))}\n{_DOCKER}\n{commands}"
    done = subprocess.run(  # noqa: S603 - the manual's
        ["/bin/bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise CommandFailed(f"{commands!r} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


class CommandFailed(RuntimeError):
    """A command of the manual failed; the message has its last words."""
