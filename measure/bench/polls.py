"""`polls`: many runs wait at once, and one of their triggers reads the platform's list for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

from measure.bench.figures import Figure, Part
from measure.bench.measured import BenchFailed, Cost, environment, run
from measure.bench.million import MEMORY_BOUND_MIB
from measure.bench.surroundings import Database, connections, make_warehouse, running_sandbox

#: Airflow's triggerer complains of a loop that is held up longer (`triggerer_job_runner`, 0.2 s).
BLOCK_BOUND_MS: Final = 200
CAMPAIGNS: Final = 5
RUNS_EACH: Final = 4
REQUESTS_PER_RUN: Final = 250
CUSTOMERS_PER_REQUEST: Final = 3
PAGE_ROWS: Final = 100
#: Shortened from 30 s and 60 s. A poll takes seconds, so they cannot be much shorter and mean the same.
QUIET_S: Final = 2.0
INTERVAL_S: Final = 8.0
WATCHED_S: Final = 28.0
#: A busy machine is watched longer, until so many polls came to their end.
READINGS_WANTED: Final = 3
WATCHED_AT_MOST_S: Final = 300.0
#: A reading counts for another trigger while it is younger than 0.8 of that one's pause, which jitter may have
#: shortened by a tenth: so many readings can begin in an interval.
READINGS_BOUND: Final = 1 / (0.8 * 0.9)

Say = Callable[[str], None]


def measure(database: Database, folder: Path, *, say: Say) -> Part:
    """Open the requests, let all triggers wait in one loop for half a minute, and count.

    Args:
        database: an empty ledger.
        folder: for files of this measurement.
        say: told what happens.
    """
    runs = CAMPAIGNS * RUNS_EACH
    requests = runs * REQUESTS_PER_RUN
    warehouse = folder / "warehouse.db"
    make_warehouse(warehouse, requests * CUSTOMERS_PER_REQUEST)
    with running_sandbox(folder) as sandbox:
        around = environment(folder, **connections(database, sandbox, warehouse=warehouse))
        say(f"{requests:,} requests of {runs} runs are submitted")
        opened = run(
            "measure.bench.open_requests",
            {
                "campaigns": CAMPAIGNS,
                "runs_each": RUNS_EACH,
                "requests_per_run": REQUESTS_PER_RUN,
                "customers_per_request": CUSTOMERS_PER_REQUEST,
            },
            environment=around,
            folder=folder,
            name="open",
        )
        if sandbox.undecided() != requests:
            raise BenchFailed(f"{requests} requests should be open, and {sandbox.undecided()} are")
        before = sandbox.calls()["list"]
        say(f"{runs} triggers wait")
        waited = run(
            "measure.bench.triggerer",
            {
                "triggers": opened.said["triggers"],
                "quiet_s": QUIET_S,
                "poll_interval_s": INTERVAL_S,
                "for_s": WATCHED_S,
                "readings": READINGS_WANTED,
                "at_most_s": WATCHED_AT_MOST_S,
            },
            environment=around,
            folder=folder,
            name="triggerer",
        )
        list_reads = sandbox.calls()["list"] - before
    if waited.said["events"]:
        raise BenchFailed(f"nothing was decided, yet triggers called for workers: {waited.said['events']}")
    title = f"polls, {database.name}: {requests:,} open requests of {runs} runs in one triggerer"
    return Part(title, _figures(waited, requests, list_reads))


def _figures(waited: Cost, requests: int, list_reads: int) -> Sequence[Figure]:
    readings = waited.said["readings"]
    if len(readings) < 2:
        raise BenchFailed(
            f"{len(readings)} polls came to their end within {WATCHED_AT_MOST_S:.0f} s: too few to say anything"
        )
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(readings)]
    seconds = sorted(end - begin for begin, end, _ in readings)
    most_pages = max(pages for *_, pages in readings)
    unfinished = list_reads - sum(pages for *_, pages in readings)
    return [
        Figure("list reads of a poll, most", most_pages, bound=ceil(requests / PAGE_ROWS) + 1),
        Figure(
            "list reads in all",
            list_reads,
            bound=(len(readings) + 1) * (ceil(requests / PAGE_ROWS) + 1),
            note=f"{len(readings)} polls, and {unfinished} reads of one cut off at the end",
        ),
        Figure("readers at once", waited.said["most_at_once"], bound=1),
        Figure(
            "polls an interval, most",
            round(INTERVAL_S / min(gaps), 2),
            bound=round(READINGS_BOUND, 2),
            note=f"{waited.said['polls']} looks of {CAMPAIGNS * RUNS_EACH} triggers",
        ),
        Figure("a poll, median", seconds[len(seconds) // 2], "s", note=f"longest {seconds[-1]:.1f} s"),
        Figure(
            "longest block of the loop",
            waited.said["longest_block_s"] * 1000,
            "ms",
            bound=BLOCK_BOUND_MS,
            note=f"{waited.said['blocks_over_200_ms']} above {BLOCK_BOUND_MS} ms",
        ),
        Figure("peak memory", waited.peak_mib, "MiB", bound=MEMORY_BOUND_MIB),
        Figure("CPU of the triggerer", waited.cpu_s / waited.process_s * 100, "%", note="of one core, start included"),
    ]
