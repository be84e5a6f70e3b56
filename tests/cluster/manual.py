"""The secrets, made by the manual's own commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

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
