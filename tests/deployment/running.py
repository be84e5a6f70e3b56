"""Running a command of the deployment."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    command: Sequence[str | Path], environment: Mapping[str, str], *, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run it to its end with this environment alone, and return what it said.

    Args:
        command: program and arguments.
        environment: everything it finds in its environment.
        given: its standard input.
    """
    return subprocess.run(  # noqa: S603 - the commands are the repository's own
        [str(word) for word in command],
        env=dict(environment),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
