# ruff: noqa: T201 - a command speaks by its output
"""Play seeds: ``python -m tests.simulation --seeds 2000``, or one again: ``--from 67 --seeds 1 --story``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.bugs import BUGS
from tests.simulation.bulk import BUG_SEEDS, cores, found, played
from tests.simulation.scenario import Verdict

#: Seconds between two lines of progress.
PROGRESS_S = 10.0


def main() -> int:
    """Play the seeds that the command line asks for; return 1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many; default 2000")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one; default 0")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes; default one for each core")
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this bug")
    parser.add_argument("--bugs", action="store_true", help="find every planted bug, and print the seeds it took")
    parser.add_argument("--story", action="store_true", help="print what happened in each seed")
    asked = parser.parse_args()
    if asked.bugs:
        return _find_bugs(asked.jobs)
    seeds = range(asked.first, asked.first + asked.seeds)
    jobs = min(asked.jobs, asked.seeds)
    broken: list[Verdict] = []
    modes = Counter[str]()
    requests = twins = count = 0
    hours = 0.0
    begun = told = time.monotonic()
    for verdict in played(seeds, jobs=jobs, bug=asked.bug):
        count += 1
        modes[verdict.mode] += 1
        requests, twins, hours = requests + verdict.requests, twins + verdict.twins, hours + verdict.hours
        if asked.story:
            print("\n".join(verdict.lines))
        if verdict.breach is not None:
            broken.append(verdict)
            print(_failure(verdict, asked.bug), flush=True)
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            print(f"{count} of {len(seeds)} seeds, {count / (told - begun):.1f} a second", flush=True)
    took = time.monotonic() - begun
    print(
        f"{count} seeds in {took:.0f} s, {count / took:.1f} a second on {jobs} processes "
        f"({', '.join(f'{each} {word}' for word, each in sorted(modes.items()))}): {hours / 24:.0f} days, "
        f"{requests} requests, {twins} twins, {len(broken)} seeds broke an invariant"
    )
    return 1 if broken else 0


def _failure(verdict: Verdict, bug: str | None) -> str:
    breach = verdict.breach
    assert breach is not None
    planted = f" --bug {bug}" if bug else ""
    return (
        f"seed {verdict.seed} ({verdict.mode}) breaks {breach.invariant} at second {breach.at:.0f}: {breach.words}\n"
        f"  play it again: python -m tests.simulation --from {verdict.seed} --seeds 1 --story{planted}"
    )


def _find_bugs(jobs: int) -> int:
    missed = 0
    for bug, verdict in found(BUGS, jobs=jobs):
        if verdict is None or verdict.breach is None:
            missed += 1
            print(f"{bug:26} NOT FOUND in {BUG_SEEDS} seeds: {BUGS[bug].rule}", flush=True)
        else:
            print(f"{bug:26} {verdict.seed + 1:5} seeds  {verdict.breach.invariant:13} {BUGS[bug].rule}", flush=True)
    print(f"{len(BUGS) - missed} of {len(BUGS)} planted bugs found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
