"""Many seeds on all cores: what the command and the tests run."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from itertools import islice
from multiprocessing.util import Finalize
from typing import Final

from tests.laboratory.planting import planted
from tests.simulation.bugs import BUGS
from tests.simulation.scenario import Simulation, Verdict
from tests.simulation.shape import draw_shape

#: Within so many seeds a planted bug must show.
BUG_SEEDS: Final = 1_000

_open: Final = ExitStack()
# Also in the processes of a pool, which `atexit` does not reach.
Finalize(None, _open.close, exitpriority=0)
_here: list[Simulation] = []


def cores() -> int:
    """Return how many processes are worth it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def play(seed: int, bug: str | None = None) -> Verdict:
    """Play one seed in this process, with a bug planted if one is named."""
    if not _here:
        gc.freeze()
        _here.append(_open.enter_context(Simulation()))
    with planted(BUGS[bug]) if bug else nullcontext():
        return _here[0].run(seed)


def show(bug: str) -> tuple[str, Verdict | None]:
    """Play the seed that is known to show a planted bug; should it not, look for another one."""
    verdict = play(BUGS[bug].shown_by, bug)
    return (bug, verdict) if verdict.breach is not None else find(bug)


def find(bug: str, *, limit: int = BUG_SEEDS) -> tuple[str, Verdict | None]:
    """Play seeds from 0 until a planted bug shows; return its name and that seed's verdict."""
    for seed in range(limit):
        if not BUGS[bug].needs(draw_shape(seed)):
            continue
        verdict = play(seed, bug)
        if verdict.breach is not None:
            return bug, verdict
    return bug, None


def played(seeds: Iterable[int], *, jobs: int, bug: str | None = None) -> Iterator[Verdict]:
    """Yield the verdicts of seeds as they come, in no order, with little work ahead of the reader."""
    if jobs == 1:
        yield from (play(seed, bug) for seed in seeds)
        return
    waiting = iter(seeds)
    with _pool(jobs) as pool:
        running: set[Future[Verdict]] = {pool.submit(play, seed, bug) for seed in islice(waiting, 4 * jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(play, seed, bug) for seed in islice(waiting, len(done))}
            for future in done:
                yield future.result()


def found(
    bugs: Iterable[str], *, jobs: int, by: Callable[[str], tuple[str, Verdict | None]] = find
) -> Iterator[tuple[str, Verdict | None]]:
    """Yield each bug with the verdict of a seed that shows it, as they come."""
    if jobs == 1:
        yield from map(by, bugs)
        return
    with _pool(jobs) as pool:
        running = {pool.submit(by, bug) for bug in bugs}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned: a forked child would share the parent's simulation and its files.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
