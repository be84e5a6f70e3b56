"""Facts of the machine that a figure means nothing without."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

_SYNCS: Final = 50
_PACKAGES: Final = ("apache-airflow", "SQLAlchemy", "psycopg", "aiohttp")


def facts(folder: Path) -> dict[str, str]:
    """Return what the figures depend on.

    Args:
        folder: where the databases are; the cost of a durable write is measured there.
    """
    return {
        "cores": f"{len(os.sched_getaffinity(0))} ({_processor()})",
        "system": f"{platform.system()} {platform.release()}, {_memory_gib():.0f} GiB",
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "SQLite": sqlite3.sqlite_version,
        "a durable write": f"{_sync_ms(folder):.2f} ms (median of {_SYNCS} writes of 4 KiB with fsync)",
    }


def load() -> float:
    """Return how many processes wanted a core, on average of the last minute: what else went on."""
    return os.getloadavg()[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_gib() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _sync_ms(folder: Path) -> float:
    taken = []
    path = folder / "sync"
    with path.open("wb") as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1000)
    path.unlink()
    return median(taken)
