"""One seed from start to verdict: a disturbed part, then quiet ticks until everything is decided.

The numbers of the invariants (I0 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest

from capillary.engine.customer_id import InvalidId, customer_id_of
from capillary.ledger import server
from capillary.ledger.database import Ledger
from capillary.ledger.history import take_as_read
from capillary.ledger.migrate import create
from tests.simulation.actors import (
    DagRun,
    fail_over,
    keep_house,
    lose,
    operate,
    set_back,
    stand_idle,
    stop_and_resume,
    tidy,
)
from tests.simulation.processes import SimulatedLedger
from tests.simulation.shape import HOUR, Mode, RunShape, Shape, draw_shape
from tests.simulation.virtual_time import MAX_TURNS, VirtualLoop
from tests.simulation.world import BEGINNING, Breach, Breached, World, settings_of

#: Fault-free hours after which everything must be decided: a day of distrust, and three sends of a request.
TICKS: Final = 40


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a seed ended.

    Attributes:
        breach: the first invariant that did not hold, or None.
        lines: the last lines of the story.
        digest: hash of the whole story.
        hours: virtual hours that passed.
        requests: requests on the platform's books.
        twins: keys that stand more than once on the platform.
    """

    seed: int
    mode: Mode
    breach: Breach | None
    lines: Sequence[str]
    digest: str
    hours: float
    requests: int
    twins: int


class Simulation:
    """Runs seeds, one after the other. Use as a context manager.

    It keeps two ledgers to copy from: one as `ledger create` makes it, and one that has seen the account long ago.

    Attributes:
        ledger_file: the ledger of the world that is played, and of the last one.
    """

    def __init__(self) -> None:
        shm = Path("/dev/shm")  # noqa: S108 - memory, where there is some
        self._folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self._new = self._folder / "new.db"
        self._template = self._folder / "template.db"
        self.ledger_file = self._folder / "ledger.db"
        self._ledger: SimulatedLedger

    def __enter__(self) -> Self:
        with Ledger(f"sqlite:///{self._new}", new=True) as ledger:
            create(ledger.engine)
        shutil.copyfile(self._new, self._template)
        # The schema is the code's, and the ledger asserts that it is durable; it has seen the account long ago.
        with Ledger(f"sqlite:///{self._template}") as ledger, ledger.write() as tx:
            settings = settings_of(draw_shape(0))
            take_as_read(tx, settings.account, settings.sender, since=BEGINNING.date())
        self._ledger = SimulatedLedger(f"sqlite:///{self.ledger_file}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._ledger.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, seed: int) -> Verdict:
        """Play one seed."""
        return self.play(draw_shape(seed), lambda world: _story(world, self.ledger_file, self._template, self._new))

    def play(
        self, shape: Shape, story: Callable[[World], Coroutine[Any, Any, None]], *, max_turns: int = MAX_TURNS
    ) -> Verdict:
        """Play one story in a world of this shape."""
        self._ledger.close()
        shutil.copyfile(self._template, self.ledger_file)
        loop = VirtualLoop(max_turns=max_turns)
        with _quiet_logs(), pytest.MonkeyPatch.context() as patch:
            world = World(shape, self._ledger, loop)
            patch.setattr(server, "told", lambda _: world.server)
            loop.set_exception_handler(lambda _, context: _surprise(world, context))
            try:
                loop.run_until_complete(_play(world, story(world)))
            finally:
                _cancel_all(loop)
                loop.close()
                world.close()
        breach = world.breached.result() if world.breached.done() else None
        keys = world.keys_on_platform
        return Verdict(
            seed=shape.seed,
            mode=shape.mode,
            breach=breach,
            lines=list(world.lines),
            digest=world.digest,
            hours=loop.time() / HOUR,
            requests=len(keys),
            twins=len(keys) - len(set(keys)),
        )


async def _play(world: World, story: Coroutine[Any, Any, None]) -> None:
    told = world.loop.create_task(story)
    both: set[asyncio.Future[Any]] = {told, world.breached}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if told.done() and not world.breached.done():
        error = told.exception()
        if error is not None and not isinstance(error, Breached):
            raise error
    world.keys_on_platform = [each.key for each in world.books.on_platform()]


async def _story(world: World, ledger_file: Path, empty: Path, new: Path) -> None:
    shape = world.shape
    runs = [DagRun(world, number, each) for number, each in enumerate(shape.runs)]
    acting = [asyncio.ensure_future(run.live()) for run in runs]
    acting += [asyncio.ensure_future(each) for each in (keep_house(world), operate(world), stop_and_resume(world))]
    if shape.lost_for:
        acting.append(asyncio.ensure_future(lose(world, ledger_file, new)))
    elif shape.mode is Mode.RESTORED:
        lost = fail_over(world, ledger_file) if shape.fails_over else set_back(world, ledger_file, empty)
        acting.append(asyncio.ensure_future(lost))
    elif shape.idle_for:
        acting.append(asyncio.ensure_future(stand_idle(world)))
    await asyncio.sleep(shape.horizon + shape.lost_for + shape.idle_for)
    for each in acting:
        each.cancel()
    await asyncio.gather(*acting, return_exceptions=True)
    world.note("from here on nothing goes wrong")
    world.calm()
    if world.rng.random() < 0.5:
        world.end_processes()
    if shape.mode is Mode.RESTORED:
        world.end_processes()
        world.books.check()
        return
    await settle_down(world, runs)


async def settle_down(world: World, runs: list[DagRun]) -> None:
    """Clear every task, let the checker decide and the upkeep tick, until nothing is open; then one more run."""
    if world.shape.mode is Mode.BROKEN:
        await asyncio.sleep(5 * HOUR)  # whatever is late has arrived by then
    for _ in range(TICKS):
        await asyncio.sleep(HOUR)
        world.platform_side.decide_all()
        for run in runs:
            if run.badge_run_id is None:
                await run.start("extract")
            if run.badge_run_id is not None and _is_unsent(world, run.badge_run_id):
                await run.start("submit")
                run.clears += 1
        world.platform_side.decide_all()
        await tidy(world)
        if world.books.is_quiet():
            break
    await _last_runs(world, runs)


async def _last_runs(world: World, runs: list[DagRun]) -> None:
    """A run without limits for each occasion: after it every customer has an outcome."""
    wanted: dict[int, set[int]] = {}
    for occasion in sorted({run.shape.occasion for run in runs}):
        rows = [value for run in runs if run.shape.occasion == occasion for part in run.shape.rows for value in part]
        wanted[occasion] = _customers(rows)
        shape = RunShape(occasion, 0.0, (tuple(rows),), 3, None, canary=False, retry=frozenset())
        last = DagRun(world, 100 + occasion, shape)
        await last.start("extract")
        for _ in range(TICKS):
            if world.books.is_quiet():
                break
            await last.start("submit")
            last.clears += 1
            world.platform_side.decide_all()
            await last.start("wait")
            await asyncio.sleep(600.0)
    world.books.check_end(wanted)


def _customers(rows: list[object]) -> set[int]:
    found = set[int]()
    for value in rows:
        with suppress(InvalidId):
            found.add(customer_id_of(value))
    return found


def _is_unsent(world: World, badge_run_id: int) -> bool:
    found = world.ledger.rows(
        f"SELECT count(*) FROM badge_request WHERE status = 'planned' AND badge_run_id = {badge_run_id}"  # noqa: S608 - a number
    )
    return bool(found[0][0])


def _surprise(world: World, context: dict[str, object]) -> None:
    error = context.get("exception")
    if isinstance(error, Breached) or world.breached.done():
        return
    with suppress(Breached):
        world.breach("I0", f"{context.get('message')}: {error!r}")


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.set_exception_handler(lambda *_: None)
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=0.0))


@contextmanager
def _quiet_logs() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
