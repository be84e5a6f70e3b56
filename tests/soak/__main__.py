# ruff: noqa: T201 - a command speaks by its output
"""A month of many campaigns in one world: does anything grow? ``python -m tests.soak``.

Every campaign runs once a day for a growing crowd of customers. One call in a hundred fails, processes die, and now and
then the checker forgets a request for good. At the end of each day it is counted what that day took; the promises are
judged then, too, and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from statistics import fmean
from typing import Final

from sqlalchemy import event

from capillary.ledger.conditions import LATE_TWIN
from sandbox.faults import Route
from tests.simulation.actors import DagRun, keep_house
from tests.simulation.books import BooksCheck
from tests.simulation.scenario import Simulation, Verdict, settle_down
from tests.simulation.shape import HOUR, MINUTE, Addresses, Campaigns, Mode, RunShape, Shape, draw_shape
from tests.simulation.world import World

DAY: Final = 24 * HOUR
#: Seconds after which a run's `wait` fails; shorter than a campaign's default, so that dead runs gather earlier.
DEADLINE: Final = 3 * DAY
#: Customers that become eligible for a campaign each day.
NEW_CUSTOMERS: Final = 3
#: Far more than a month of 200 campaigns takes.
MAX_TURNS: Final = 200_000_000
#: The last third of the days may take so much of what the middle third took.
MOST: Final = 1.25
#: The last runs, which `settle_down` adds, have numbers far below.
_FIRST_NUMBER: Final = 10_000


@dataclass(frozen=True, slots=True)
class Day:
    """What one day took.

    Attributes:
        calls: to the platform.
        pages: of the platform's list, among them.
        statements: of the ledger.
        objects: of the product's classes that live when the day has ended.
        bytes: of the ledger for each customer that it holds.
    """

    calls: float
    pages: float
    statements: float
    objects: float
    bytes: float


class DailyBooks(BooksCheck):
    """The invariants, judged once a day: a judgement reads both sides' books from the beginning."""

    judged_at = 0.0

    def check(self) -> None:
        """Judge what must hold at every moment, if a day has passed since."""
        if self._world.now - self.judged_at >= DAY:
            self.judged_at = self._world.now
            super().check()

    def check_end(self, wanted: dict[int, set[int]]) -> None:
        """Judge the end, whenever that is."""
        self.judged_at = -DAY
        super().check_end(wanted)


class Soak:
    """One month. `days` has what each day took; `on_day` is told of each when it has ended."""

    def __init__(self, shape: Shape, *, days: int, on_day: Callable[[Day], None] = lambda _: None) -> None:
        self._count = days
        self._on_day = on_day
        self.shape = shape
        self.days: list[Day] = []

    def run(self) -> Verdict:
        """Play it."""
        with Simulation() as simulation:
            self._file = simulation.ledger_file
            return simulation.play(self.shape, self._story, max_turns=MAX_TURNS)

    async def _story(self, world: World) -> None:
        world.books = DailyBooks(world, self.shape, world.platform_side.platform.books)
        meter = Meter(world)
        house = asyncio.ensure_future(keep_house(world))
        runs: list[DagRun] = []
        living: list[asyncio.Future[None]] = []
        for day in range(self._count):
            for shape in self.shape.runs:
                runs.append(DagRun(world, _FIRST_NUMBER + len(runs), _run_of(shape, day, world)))
                living.append(asyncio.ensure_future(_live(runs[-1])))
            await asyncio.sleep(DAY)
            self.days.append(meter.day(self._file.stat().st_size))
            self._on_day(self.days[-1])
        await asyncio.gather(*living)
        house.cancel()
        world.calm()
        await settle_down(world, runs)


class Meter:
    """Counts what a world's processes do."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._statements = self._calls = self._pages = 0
        starts = world.wire.call_starts

        def call_starts(route: Route) -> None:
            self._calls += 1
            self._pages += route is Route.LIST
            starts(route)

        world.wire.call_starts = call_starts  # type: ignore[method-assign]
        event.listen(world.ledger.engine, "before_cursor_execute", self._statement)

    def _statement(self, *_: object) -> None:
        self._statements += 1

    def day(self, ledger_bytes: int) -> Day:
        """Return what was done since the last time."""
        gc.collect()
        objects = sum(str(type(each).__module__).startswith("capillary.") for each in gc.get_objects())
        customers = self._world.ledger.rows("SELECT count(*) FROM badge_enrolment")[0][0]
        day = Day(self._calls, self._pages, self._statements, objects, ledger_bytes / customers)
        self._calls = self._pages = self._statements = 0
        return day


def growth(days: Sequence[Day]) -> dict[str, float]:
    """Return how much more the last third of the days took than the middle third, by attribute of `Day`."""
    third = len(days) // 3
    return {
        field.name: fmean(getattr(day, field.name) for day in days[-third:])
        / fmean(getattr(day, field.name) for day in days[-2 * third : -third])
        for field in fields(Day)
    }


async def _live(run: DagRun) -> None:
    """A run until it has ended, or its deadline has passed and only the upkeep looks after it."""
    living = asyncio.ensure_future(run.live())
    await asyncio.wait({living}, timeout=DEADLINE)
    if living.done():
        living.result()
        return
    living.cancel()
    with suppress(asyncio.CancelledError):
        await living
    for process in list(run.world.processes):
        if process.badge_run_id == run.badge_run_id is not None:
            run.world.mishaps.kill(process, "when its deadline has passed")
    if run.badge_run_id is not None:
        await run.task("report")


def _run_of(shape: RunShape, day: int, world: World) -> RunShape:
    customers = tuple(range(100_001, 100_001 + NEW_CUSTOMERS * (day + 1)))
    return replace(shape, rows=(customers,), starts=world.rng.uniform(0.0, HOUR))


def month(campaigns: int, *, seed: int = 0, forgets: float = 0.0) -> Shape:
    """Return a world in which little goes wrong, for long. `forgets`: share of requests that nobody ever decides."""
    campaign = RunShape(0, 0.0, (), 1_000, None, canary=False, retry=frozenset())
    return replace(
        draw_shape(seed),
        mode=Mode.STRICT,
        runs=tuple(replace(campaign, occasion=number) for number in range(campaigns)),
        crash=0.0005,
        outage=0.0005,
        slow_commit=0.0,
        freeze=0.0005,
        zombie=0.01,
        replan=0.01,
        abandon=0.01,
        retry_delay=5 * MINUTE,
        lease=6 * HOUR,
        in_flight=8,
        fault=0.01,
        storms=(),
        late_posts=0.0,
        post_timeout=60.0,
        visibility_lag=60.0,
        node_lags=(0.0, 30.0),
        stale_for=0.0,
        page_size=100,
        page_base=0,
        shifting_pages=False,
        hidden_rows=False,
        skew=0.0,
        calls_per_minute=100,
        real_pace=True,
        oauth=True,
        wall_jumps=False,
        decision_mean=6 * HOUR,
        stops=(),
        lost_for=0.0,
        new_till_at=0.0,
        fails_over=False,
        reject=0.02,
        ignore=forgets,
        extra_node=False,
        auto_approve=False,
        odd_outputs=0.01,
        unknown_customers=frozenset(),
        holders=frozenset(),
        short_badge=False,
        switch_offs=(),
        addresses=Addresses.ONE,
        campaigns=Campaigns.ONE,
    )


def _tell(day: Day) -> None:
    print("".join(f"{value:12.0f}" for value in astuple(day)), flush=True)


def main() -> int:
    """Play the month that the command line asks for; return 1 where a promise broke or something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="default %(default)s")
    parser.add_argument("--campaigns", type=int, default=200, help="default %(default)s")
    parser.add_argument("--forgets", type=float, default=0.0005, help="share of requests that nobody ever decides")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.days < 3 * LATE_TWIN.days:
        parser.error(f"--days must be at least {3 * LATE_TWIN.days}: in the first third nothing is forgotten yet")
    begun = time.monotonic()
    shape = month(asked.campaigns, seed=asked.seed, forgets=asked.forgets)
    print("".join(f"{field.name:>12}" for field in fields(Day)), flush=True)
    soak = Soak(shape, days=asked.days, on_day=_tell)
    verdict = soak.run()
    if verdict.breach is not None:
        print("\n".join(verdict.lines[-50:]))
        print(f"{verdict.breach.invariant} broke at second {verdict.breach.at:.0f}: {verdict.breach.words}")
        return 1
    grown = growth(soak.days)
    took = time.monotonic() - begun
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in grown.items())
    print(f"{asked.days} days, {asked.campaigns} campaigns, {verdict.requests} requests in {took:.0f} s: ", end="")
    print(f"no invariant broke; the last third of the days to the middle one: {ratios}")
    return 1 if max(grown.values()) > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
