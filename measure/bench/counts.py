"""`counts`: what became of a run's customers, asked of a ledger with ten million enrolments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from measure.bench.figures import Figure, Part
from measure.bench.measured import environment, run
from measure.bench.surroundings import Database

RUNS: Final = 50
CUSTOMERS_PER_RUN: Final = 200_000
#: Most milliseconds for the funnel of one run, and for those of all of them.
ONE_RUN_BOUND_MS: Final = 20
ALL_RUNS_BOUND_MS: Final = 200

Say = Callable[[str], None]


def measure(database: Database, folder: Path, *, say: Say) -> Part:
    """Fill an empty ledger and ask it.

    Args:
        database: an empty ledger.
        folder: for files of this measurement.
        say: told what happens.
    """
    say(f"fill, {RUNS * CUSTOMERS_PER_RUN:,} enrolments; then ask")
    order = {
        "url": database.url.render_as_string(hide_password=False),
        "runs": RUNS,
        "customers_per_run": CUSTOMERS_PER_RUN,
    }
    told = run(
        "measure.bench.questions",
        order,
        environment=environment(folder, **database.environment),
        folder=folder,
        name="counts",
    )
    return Part(f"counts, {database.name}: {RUNS} runs of {CUSTOMERS_PER_RUN:,} customers", _figures(told.said))


def _figures(said: Mapping[str, float]) -> list[Figure]:
    one, every = ONE_RUN_BOUND_MS, ALL_RUNS_BOUND_MS
    again = f"median of {said['repeats']:.0f}"
    return [
        Figure("badge_funnel, one run", said["view_one_ms"], "ms", one, note=again),
        Figure("badge_funnel, all runs", said["view_all_ms"], "ms", every, note=again),
        Figure("funnel(), one run", said["funnel_one_ms"], "ms", one, note=again),
        Figure("funnel(), every run", said["funnel_all_ms"], "ms", every, note=f"{again}; one transaction"),
        Figure("failures(), one run", said["failures_one_ms"], "ms", one, note=again),
        Figure("one run by its rows", said["rows_one_ms"], "ms", note="counting the enrolments, once"),
        Figure("all runs by their rows", said["rows_all_ms"], "ms", note="same"),
        Figure("check --deep", said["check_s"], "s", note="reads every row"),
        Figure("filling the ledger", said["fill_s"], "s"),
    ]
