"""Who acts in a world: DAG runs with their tasks and triggers, the upkeep, the operator at the switch.

The scheduler's part (retries, clearing, giving up) is played here and cannot crash; what a task does is a process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from capillary.api.badges import parse_issuals
from capillary.api.errors import PlatformUnavailable, ReplyUnreadable
from capillary.engine.errors import AutoApproved
from capillary.engine.hold import Waits
from capillary.engine.plan import plan_rows
from capillary.engine.polling import FRESH, DecisionWait, Event, Reader, ReadInTurn, SubmitWait, poll
from capillary.engine.runtime import Runtime
from capillary.engine.second_attempt import has_badge
from capillary.engine.submit import Submitted, submit_run
from capillary.engine.upkeep import Kept, keep_account
from capillary.engine.wait import Advanced, advance
from capillary.errors import TerminalError
from capillary.ledger import migrate
from capillary.ledger.errors import Stopped
from capillary.ledger.guards import Guards
from capillary.ledger.locked_rows import occasion_of_badge
from capillary.ledger.plan import Order, Plan
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.run_wait import run_wait
from capillary.ledger.server import Server, note_first
from sandbox.badge_reads import BadgeReads
from sandbox.documents import parse
from tests.simulation.processes import CURRENT
from tests.simulation.shape import DAY, HOUR, Campaigns, RunShape, campaign_of, copy_of

if TYPE_CHECKING:
    from capillary.api.settings import PlatformSettings
    from tests.simulation.world import Ended, World

#: The sensor's `settle_every`.
SETTLE_EVERY_S: Final = 900.0
#: The sensor's `timeout`: nobody gives up in a world before it is over.
LONGEST_WAIT: Final = timedelta(days=3_650)
#: What a task works on whose run has planned nothing.
NO_PLAN: Final = PlanId(0, "")
#: Copies of the ledger that are kept while a failover may come.
_COPIES: Final = 8
#: Tries of a task before it counts as failed.
TRIES: Final = {"extract": 4, "submit": 6, "wait": 4, "report": 3}


@dataclass
class DagRun:
    """One run of a campaign, as Airflow drives it; a person clears it whenever its submit or wait has failed.

    Attributes:
        world: where it runs.
        number: its own.
        shape: what it is like.
        plan: what it has planned last.
        clears: how often it was cleared.
    """

    world: World
    number: int
    shape: RunShape
    plan: PlanId | None = None
    clears: int = 0

    @property
    def badge_run_id(self) -> int | None:
        """The number of its plan."""
        return None if self.plan is None else self.plan.badge_run_id

    @property
    def lease(self) -> timedelta:
        """How long the run counts as alive without a sign of life."""
        return timedelta(seconds=self.world.shape.lease)

    @property
    def settings(self) -> PlatformSettings:
        """What this run's connection says by now."""
        return self.world.connection(self.number)

    def order(self) -> Order:
        """Return what this run wants planned."""
        shape, campaigns = self.shape, self.world.shape.campaigns
        occasion = campaign_of(shape.occasion)
        name = occasion if campaigns is Campaigns.ONE or self.number % 2 == 0 else copy_of(shape.occasion)
        spec = self.world.spec(shape.occasion, self.settings)
        return Order(
            dag_id=name,
            run_id=f"run {self.number}",
            task_id="extract",
            capillary_conn_id="capillary",
            campaign=name,
            occasion=occasion_of_badge(spec.badge_id) if campaigns is Campaigns.COPIES else occasion,
            shared_occasion=campaigns is Campaigns.SHARED,
            spec=spec,
            customers_per_request=shape.size,
            cap=shape.cap,
            canary=shape.canary,
            retry=shape.retry,
            guards=Guards(max_jump=None, max_invalid_share=None),
            lease=self.lease,
        )

    # What the tasks do --------------------------------------------------------------------------------------

    async def extract(self) -> Plan:
        """Plan what the warehouse's query yields."""
        world = self.world
        plan = plan_rows(world.ledger, self.shape.rows, self.order(), without_badge=self._without_badge)
        if plan.badge_run_id is not None:
            world.eligible_rows[plan.badge_run_id] = tuple(chain.from_iterable(self.shape.rows))
            self.plan = plan.plan_id
        return plan

    def _without_badge(self, customers: Mapping[int, datetime | None]) -> list[int]:
        world = self.world
        platform = world.platform_side.platform
        badge_id = world.platform_side.badges[self.shape.occasion]
        if world.faults.on and world.rng.random() < world.shape.fault:
            raise PlatformUnavailable(what="enrolments", reason="it is away")
        reads = BadgeReads(platform)
        free = []
        for customer, sent_at in customers.items():
            if not platform.settings.knows_customer(customer):
                free.append(customer)
                continue
            reply = reads.enrolments(str(customer), badge_id, {}, {"includeStatistics": "true"})
            data = parse(reply.body, code=400)["data"]
            if world.faults.on and world.shape.no_answers and world.rng.random() < world.shape.no_answers:
                data = {"issualDetails": None}
            issuals = parse_issuals(data, customer_id=customer, badge_id=badge_id)
            if not has_badge(issuals, sent_at=sent_at):
                free.append(customer)
        return free

    async def submit(self, plan: PlanId, since: datetime | None = None, *, fresh: timedelta | None = None) -> Submitted:
        """Send what was planned; come back when waiting for more takes long."""
        world = self.world
        sender, clears = world.sender(self.settings), self.clears
        if (process := CURRENT.get()) is not None:
            process.clears = clears
        try:
            return await submit_run(
                sender,
                plan,
                lease=self.lease,
                clears=clears,
                in_flight=world.shape.in_flight,
                waiting_since=since,
                fresh=fresh,
            )
        except BaseException as error:
            if isinstance(error, AutoApproved):
                world.who_decides.refused(plan.badge_run_id, clears)
            if isinstance(error, Stopped) or world.wire.is_stopped(self.shape.occasion):
                # A stopped run gives back what it had not sent, though it is alive.
                world.reported.add(plan.badge_run_id)
            raise

    async def submit_trigger(self, plan: PlanId, waits: Waits) -> Event:
        """Poll until a submit can go on; return why."""
        world, runtime = self.world, self.world.runtime()
        in_flight = world.shape.in_flight
        wait = SubmitWait(runtime, plan, waits.until, waits.may_end_early, in_flight, now=world.ledger_now)
        return await poll(runtime, wait, self._read_in_turn(plan, runtime))

    async def look(self, plan: PlanId, *, fresh: timedelta | None = None) -> Advanced:
        """Bring the run forward, as the sensor does."""
        sender = self.world.sender(self.settings)
        reader, clears = f"run {plan.badge_run_id}, task {self.world.rng.random()}", self.clears
        if (process := CURRENT.get()) is not None:
            process.clears = clears
        try:
            looked = await advance(sender, plan, reader=reader, lease=self.lease, clears=clears, fresh=fresh)
        except (PlatformUnavailable, ReplyUnreadable) as error:
            self.world.note(f"the wait goes on: {error}")
        else:
            if looked.wait.in_doubt:
                # Where an auto-approval keeps that back, the task has said so, and to clear it.
                self.world.who_decides.refused(plan.badge_run_id, clears)
            return looked
        with self.world.ledger.read() as tx:
            return Advanced(run_wait(tx, open_plan(tx, plan)), held_up=True)

    async def trigger(self, plan: PlanId, looked: Advanced) -> Event:
        """Poll until a worker can bring the run forward; return why."""
        world, runtime = self.world, self.world.runtime()
        wait = DecisionWait(
            runtime,
            plan,
            world.ledger_now() + LONGEST_WAIT,
            poll_interval_s=world.shape.poll,
            settle_every_s=SETTLE_EVERY_S,
            ended=looked.ended,
            doubt_due=looked.wait.doubt_due,
            most_s=world.shape.max_poll,
            now=world.ledger_now,
        )
        return await poll(runtime, wait, self._read_in_turn(plan, runtime))

    def _read_in_turn(self, plan: PlanId, runtime: Runtime) -> ReadInTurn:
        """Return how a trigger reads: by the connection as it was when it began, under a name of its own."""
        client = self.world.sender(self.settings).client
        reader = Reader(runtime, plan, f"run {plan.badge_run_id}, trigger {self.world.rng.random()}", self.lease)
        return partial(reader.read_in_turn, self.world.ledger, client)

    async def report(self, plan: PlanId) -> str:
        """Give back what was never sent, and read the funnel."""
        self.world.reported.add(plan.badge_run_id)
        with self.world.ledger.write() as tx:
            badge_run_id = open_plan(tx, plan)
            discard_unsent(tx, badge_run_ids=[badge_run_id])
            counts = funnel(tx, badge_run_id)
        return f"{counts.open} open"

    # What the scheduler does --------------------------------------------------------------------------------

    async def live(self) -> None:
        """From extract to report, with retries, clearings and the odd old try that still lives."""
        world, rng = self.world, self.world.rng
        await asyncio.sleep(self.shape.starts)
        planned = await self.task("extract")
        while not planned:
            await asyncio.sleep(HOUR)
            planned = await self.task("extract")
        while True:
            if rng.random() < world.shape.zombie:
                # Cleared while its old try still lives.
                self.start("submit")
                await asyncio.sleep(rng.choice((0.0, 0.3, 20.0)))
                self.clears += 1
            if rng.random() < world.shape.replan:
                await self.task("extract")
            submitted = await self.task("submit")
            if submitted and await self._wait():
                await self.task("report")
                return
            if rng.random() < world.shape.abandon:
                # Nobody looks at the failed run; its report, run after all that, has given back what was not sent.
                if rng.random() < 0.5:
                    await self.task("report")
                return
            await asyncio.sleep(rng.choice((600.0, 2 * HOUR)))
            self.clears += 1

    def start(self, name: str) -> asyncio.Task[Ended[object]]:
        """Start one try of a task. It works on the plan that there is now."""
        planned = self.plan or NO_PLAN
        work: dict[str, Callable[[], Awaitable[object]]] = {
            "extract": self.extract,
            "submit": lambda: self.submit(planned),
            "wait": lambda: self.look(planned),
            "report": lambda: self.report(planned),
        }
        return self.world.start(f"{name} of run {self.number}", work[name], plan=self.plan)

    async def task(self, name: str) -> bool:
        """Run one task with its retries; return whether it succeeded."""
        for attempt in range(TRIES[name]):
            ended = await self._submitted() if name == "submit" else await asyncio.shield(self.start(name))
            if ended.value is not None:
                return True
            if isinstance(ended.error, TerminalError):
                return False
            await asyncio.sleep(self.world.shape.retry_delay * 2**attempt)
        return False

    async def _submitted(self) -> Ended[object]:
        """Run one try of submit: it leaves while it waits, and is called again."""
        ended, since = await asyncio.shield(self.start("submit")), None
        while isinstance(ended.value, Submitted) and ended.value.waits is not None:
            plan, waits = self.plan or NO_PLAN, ended.value.waits
            since = since or self.world.ledger_now()
            why = None
            while why is None:
                # A triggerer that died is replaced; its trigger begins again.
                trigger = partial(self.submit_trigger, plan, waits)
                why = (await self.world.run(f"trigger of submit {self.number}", trigger, plan=plan)).value
            again = partial(self.submit, plan, since, fresh=FRESH if why is Event.WORK else None)
            ended = await self.world.run(f"submit of run {self.number}, resumed", again, plan=plan)
        return ended

    async def _wait(self) -> bool:
        failures, fresh = 0, None
        while failures < TRIES["wait"]:
            plan = self.plan or NO_PLAN
            look = partial(self.look, plan, fresh=fresh)
            looked = (await self.world.run(f"wait of run {self.number}", look, plan=self.plan)).value
            fresh = None
            if not isinstance(looked, Advanced):
                failures += 1
                await asyncio.sleep(self.world.shape.retry_delay)
                continue
            if looked.wait.settled + looked.wait.unsent == looked.wait.requests:
                return True
            called = False
            while not called:
                # A triggerer that died is replaced; its trigger begins anew.
                why = (await self._defer(self.plan or NO_PLAN, looked)).value
                called, fresh = why is not None, FRESH if why is Event.WORK else None
        return False

    async def _defer(self, plan: PlanId, looked: Advanced) -> Ended[Event]:
        return await self.world.run(f"trigger of run {self.number}", lambda: self.trigger(plan, looked), plan=plan)


async def keep_house(world: World) -> None:
    """Run the upkeep every hour."""
    while True:
        await asyncio.sleep(HOUR)
        await tidy(world)


async def tidy(world: World) -> None:
    """Run the upkeep of every account once, and of a till that was changed: whose doubt it is, may judge it."""
    for settings in [*world.accounts, *world.former_tills()]:
        await world.run("upkeep", partial(_keep, world, settings))


async def _keep(world: World, settings: PlatformSettings) -> Kept:
    sender = world.sender(settings)
    kept = await keep_account(sender, reader=f"upkeep {world.rng.random()}")
    for each in kept.broken:
        raise each
    return kept


async def operate(world: World) -> None:
    """Turn the switch when the operator does."""
    for begins, ends in world.shape.switch_offs:
        await asyncio.sleep(begins - world.now)
        world.switch(on=False)
        await asyncio.sleep(ends - begins)
        world.switch(on=True)


async def stop_and_resume(world: World) -> None:
    """Stop a campaign or the whole account when a person does, and resume it."""
    for each in world.shape.stops:
        await asyncio.sleep(each.begins - world.now)
        world.stop(each.occasion)
        await asyncio.sleep(each.ends - each.begins)
        world.resume(each.occasion)


async def set_back(world: World, ledger_file: Path, empty: Path) -> None:
    """Put an early copy of the ledger back, or an empty one; then the campaigns run once more."""
    copy = ledger_file.with_suffix(".backup")
    shutil.copyfile(empty, copy)
    if world.rng.random() < 0.5:
        await asyncio.sleep(world.rng.choice((0.5, 5.0, 900.0)))
        world.ledger.engine.dispose()
        shutil.copyfile(ledger_file, copy)
    await _stand_still(world)
    world.note("the ledger is set back")
    _put_in_place(world, copy, ledger_file)
    await _run_once_more(world)


async def lose(world: World, ledger_file: Path, new: Path) -> None:
    """Lose the ledger, weeks after what it knew; a person makes a new one, and the campaigns run once more."""
    await _stand_still(world)
    world.loop.pass_time(world.shape.lost_for)
    world.note(f"after {world.shape.lost_for / DAY:.0f} days the ledger is lost")
    world.ledger.engine.dispose()
    shutil.copyfile(os.devnull, ledger_file)
    try:
        with suppress(sqlite3.OperationalError):  # the books are looked at after every process, and have no tables now
            await world.run("the migration of the upkeep", lambda: _migrate(world))
        if world.ledger.rows("SELECT name FROM sqlite_master WHERE name = 'badge_request'"):
            world.breach("lost", "the upkeep made an empty ledger in place of the one that was lost")
    finally:  # the disturbed part may end in between
        _put_in_place(world, new, ledger_file)
    await _run_once_more(world)


async def stand_idle(world: World) -> None:
    """Let nothing run for weeks; then the campaigns run once more, beside what was left open."""
    await _stand_still(world)
    world.loop.pass_time(world.shape.idle_for)
    world.note(f"after {world.shape.idle_for / DAY:.0f} days everything runs again")
    await _run_once_more(world)


async def _migrate(world: World) -> None:
    migrate.upgrade(world.ledger.engine)


async def _stand_still(world: World) -> None:
    """Half of the world's time is over; whoever works is killed, and what was on its way has arrived."""
    await asyncio.sleep(world.shape.horizon / 2)
    world.end_processes()
    await asyncio.sleep(world.shape.post_timeout)
    world.end_processes()
    await asyncio.sleep(0)


def _put_in_place(world: World, ledger: Path, ledger_file: Path) -> None:
    world.wire.set_back()
    world.ledger.engine.dispose()
    shutil.copyfile(ledger, ledger_file)
    world.eligible_rows.clear()
    world.stops_as_in_the_ledger()


async def _run_once_more(world: World) -> None:
    await asyncio.gather(*(DagRun(world, 50 + n, each).live() for n, each in enumerate(world.shape.runs)))


async def fail_over(world: World, ledger_file: Path) -> None:
    """Let the ledger's server fail over while requests go out: its last commits are lost, and everybody lives on."""
    with world.ledger.write() as tx:
        note_first(tx)
    chance = Random(world.shape.seed * 1_299_709 + 3)  # noqa: S311 - chance that can be repeated
    lost_s, posts, later_s = (
        chance.choice((0.5, 5.0, 60.0)),
        chance.choice((1, 1, 2, 4)),
        chance.choice((0.0, 0.2, 20.0)),
    )
    copies: deque[tuple[float, Path]] = deque()
    number = copied = 0
    while len(world.wire.posts) < posts or world.now < world.wire.posts[-1].started + later_s:
        if (commits := world.ledger.commits) != copied:
            copy = ledger_file.with_suffix(f".{number % _COPIES}")
            shutil.copyfile(ledger_file, copy)
            copies.append((world.now, copy))
            number, copied = number + 1, commits
        while len(copies) > 1 and copies[1][0] < world.now - lost_s:
            copies.popleft()
        await asyncio.sleep(lost_s / 4)
    _lose(world, ledger_file, copies[0][1], chance)
    world.eligible_rows.clear()
    others = [DagRun(world, 50 + n, replace(each, starts=0.0)) for n, each in enumerate(reversed(world.shape.runs))]
    await asyncio.gather(*(each.live() for each in others))


def _lose(world: World, ledger_file: Path, copy: Path, chance: Random) -> None:
    world.note("the ledger's server fails over")
    world.wire.set_back()
    world.ledger.engine.dispose()
    shutil.copyfile(copy, ledger_file)
    world.server = Server("7", "00000002", "1")
    world.failed_over_at, world.faults.failed_over = world.now, True
    world.stops_as_in_the_ledger()
    senders = {post.process for post in world.wire.posts if post.started > world.now - world.shape.post_timeout}
    for process in world.processes:
        # Who sent of late may handle his answer long after: when others have his numbers.
        if process in senders and chance.random() < 0.7:
            wait = world.shape.post_timeout + world.shape.visibility_lag + chance.choice((1.0, 60.0, 600.0, HOUR))
            process.frozen_until = max(process.frozen_until, world.now + wait)
