"""One process of its own, and what it cost: seconds, CPU, peak memory.

Every measured piece of work runs in a process that does nothing else, as a task of Airflow does. The parent
stays small: on Linux the peak that a process reports begins with that of the process which started it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: Where `measure`, `sandbox` and `plugins` are.
CHECKOUT: Final = Path(__file__).resolve().parents[2]
_TAIL_LINES: Final = 20


class BenchFailed(Exception):
    """A measured process ended badly; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost.

    Attributes:
        process_s: from its start to its end, imports included.
        work_s: of that, the work itself.
        cpu_s: user and system time of the whole process.
        peak_mib: the most memory it held (`ru_maxrss`).
        said: what the work returned.
    """

    process_s: float
    work_s: float
    cpu_s: float
    peak_mib: float
    said: Mapping[str, Any]


def run(module: str, order: Mapping[str, object], *, environment: Mapping[str, str], folder: Path, name: str) -> Cost:
    """Run `python -m module` in a process of its own and return its cost.

    Args:
        module: its `main` is `answer(work)`.
        order: JSON for the work.
        environment: the whole of it.
        folder: gets NAME.json with the answer and NAME.log with everything the process said.
        name: of the files, and in errors.

    Raises:
        BenchFailed: it ended with another code than 0.
    """
    answer, log = folder / f"{name}.json", folder / f"{name}.log"
    begun = time.perf_counter()
    with log.open("wb") as said:
        code = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module, json.dumps(order), str(answer)],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    process_s = time.perf_counter() - begun
    if code != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        raise BenchFailed("\n".join([f"{name}: {module} ended with exit code {code}. Its last words:", *tail]))
    return Cost(process_s=process_s, **json.loads(answer.read_text(encoding="utf-8")))


def answer(work: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """Do the work that the command line orders, and write down what it cost."""
    order, path = json.loads(sys.argv[1]), Path(sys.argv[2])
    begun = time.perf_counter()
    said = work(order)
    work_s = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "work_s": work_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB, macOS in bytes (getrusage(2)).
        "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
        "said": dict(said),
    }
    path.write_text(json.dumps(cost), encoding="utf-8")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a measured process: Airflow at home in `folder`, and what is given."""
    return {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # As in a task: connections come from the environment, never from a database of Airflow's.
        "_AIRFLOW_PROCESS_CONTEXT": "client",
        "PYTHONPATH": os.pathsep.join((str(CHECKOUT / "plugins"), str(CHECKOUT))),
        **more,
    }
