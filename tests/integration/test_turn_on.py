"""What a page says will start when a DAG is turned on, and what Airflow's own scheduler then starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
#: By campaign: what the pages say, and for which hours from now the scheduler makes runs.
_EXPECTED: Final[dict[str, tuple[str, list[int]]]] = {
    "new": ("it also runs by its schedule, next at +22 h", []),
    "new_with_a_first_day": ("it also runs by its schedule, next at +22 h", []),
    "new_half_way": ("it also runs by its schedule, next at +12 h", []),
    "ran_then_missed_three": ("a live run of its schedule starts at once: it was due at -2 h", [-2]),
    "ran_and_missed_none": ("it also runs by its schedule, next at +22 h", []),
    "every_day_from_now": ("a live run of its schedule starts at once: it was due at +0 h", [0]),
    "catches_up": (
        "live runs of its schedule start at once, one for every time that it has missed since -50 h",
        [-50, -26, -2],
    ),
}


def test_the_scheduler_starts_what_the_pages_say_and_nothing_else(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    done = subprocess.run(  # noqa: S603 - our own interpreter and file
        [sys.executable, str(Path(__file__).with_name("turn_on.py")), str(tmp_path)],
        env={**environment, "PYTHONPATH": f"{_ROOT / 'plugins'}{os.pathsep}{_ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {name: [f"Once it is on, {said}.", runs] for name, (said, runs) in _EXPECTED.items()}
