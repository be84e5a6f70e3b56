"""The whole engine under rules drawn at random: plans, tasks that meet mishaps and die, a checker, and time.

The platform's books are judged after every rule. 300 games of 40 rules, the same ones every time; `STATES=all` in the
environment draws others.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from capillary.engine.plan import plan_rows
from capillary.engine.send import Sender
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from capillary.ledger.errors import GuardRefused
from capillary.ledger.guards import Guards
from capillary.ledger.plan import Order
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import badge_enrolment, badge_request
from capillary.ledger.spec import Spec
from capillary.ledger.status import Outcome
from sandbox.badges import GOLD_CIRCLE
from tests.states.one_process import Died, Mishap, OneProcess

LEASE = timedelta(hours=6)
CUSTOMERS = st.lists(st.integers(1, 9), min_size=1, max_size=6, unique=True)
DEATH = st.one_of(st.none(), st.integers(0, 45))
MISHAP = st.sampled_from(list(Mishap))
SPARED = st.integers(0, 5)
RETRIES = st.sets(st.sampled_from([Outcome.REJECTED, Outcome.FAILED, Outcome.UNCONFIRMED, Outcome.NOT_ACCEPTED]))
NO_GUARDS = Guards(max_jump=None, max_invalid_share=None, max_requests=None, max_open_requests=None)


async def keep_house(sender: Sender) -> None:
    """Run the upkeep once."""
    kept = await keep_account(sender, reader="upkeep")
    assert kept.broken == ()


class Game(RuleBasedStateMachine):
    """Runs of one campaign on one occasion, all of them alive at once."""

    template: ClassVar[Path]
    ends: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="game-"))
        shutil.copy(self.template, self.folder / "ledger.db")
        self.world = OneProcess(self.folder)
        self.runs: dict[str, PlanId] = {}

    @initialize(customers=CUSTOMERS)
    def first_plan(self, customers: list[int]) -> None:
        self._plan("run 0", customers, frozenset())

    @rule(customers=CUSTOMERS, retry=RETRIES, dies=DEATH)
    @precondition(lambda self: len(self.runs) < 6)
    def plan(self, customers: list[int], retry: set[Outcome], dies: int | None) -> None:
        """A new run of the DAG."""
        self.world.dies_after = dies
        self._plan(f"run {len(self.runs)}", customers, frozenset(retry))

    @rule(number=st.integers(0, 5), customers=CUSTOMERS)
    @precondition(lambda self: self.runs)
    def clear(self, number: int, customers: list[int]) -> None:
        """A person clears the task that plans; the warehouse has changed in the meantime."""
        self._plan(list(self.runs)[number % len(self.runs)], customers, frozenset())

    @rule(number=st.integers(0, 5), dies=DEATH, mishap=MISHAP, spared=SPARED)
    @precondition(lambda self: self.runs)
    def submit(self, number: int, dies: int | None, mishap: Mishap, spared: int) -> None:
        plan = self._prepare(number, dies, mishap, spared)
        self._note(self.world.run(lambda sender: submit_run(sender, plan, lease=LEASE)))

    @rule(number=st.integers(0, 5), dies=DEATH, mishap=MISHAP, spared=SPARED)
    @precondition(lambda self: self.runs)
    def wait(self, number: int, dies: int | None, mishap: Mishap, spared: int) -> None:
        plan = self._prepare(number, dies, mishap, spared)
        reader = f"run {plan.badge_run_id}"
        self._note(self.world.run(lambda sender: advance(sender, plan, reader=reader, lease=LEASE)))

    @rule(dies=DEATH, mishap=MISHAP, spared=SPARED)
    def upkeep(self, dies: int | None, mishap: Mishap, spared: int) -> None:
        self.world.dies_after, self.world.mishap, self.world.spared = dies, mishap, spared
        self._note(self.world.run(keep_house))

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.runs)
    def report(self, number: int) -> None:
        with self.world.ledger.write() as tx:
            discard_unsent(tx, badge_run_ids=[open_plan(tx, self._plan_id(number))])

    @rule(number=st.integers(0, 9), approve=st.booleans())
    def decide(self, number: int, approve: bool) -> None:
        waiting = [request for request in self.world.platform.requests() if request.ended is None]
        if waiting:
            key = waiting[number % len(waiting)].request_key or ""
            (self.world.platform.approve if approve else self.world.platform.reject)(key)

    @rule(unknown=st.sets(st.integers(1, 9), max_size=3), whole=st.booleans())
    def change_the_platform(self, unknown: set[int], whole: bool) -> None:
        """Some customers it will not know, so that requests succeed in part; and it may hold outputs back."""
        self.world.platform.switch(unknown_customers=frozenset(unknown), drop_output=not whole)

    @rule()
    def throw_the_switch(self) -> None:
        self.world.submitting = not self.world.submitting

    @rule(minutes=st.sampled_from([1, 16, 17, 70, 80, 420, 1_500]))
    def pass_time(self, minutes: int) -> None:
        self.world.pass_time(timedelta(minutes=minutes))

    # What must hold ------------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_twice_on_the_platform(self) -> None:
        live: Counter[int] = Counter()
        for request in self.world.platform.requests():
            enrolled = (
                {item.customer_id for item in request.execution.items if item.error_code is None}
                if (request.execution)
                else set()
            )
            live.update(request.customers if request.ended is None else enrolled)
        assert [customer for customer, count in live.items() if count > 1] == []

    @invariant()
    def no_key_is_sent_twice(self) -> None:
        keys = Counter(request.request_key for request in self.world.platform.requests())
        assert [key for key, count in keys.items() if count > 1] == []

    @invariant()
    def every_run_adds_up(self) -> None:
        with self.world.ledger.read() as tx:
            for plan in self.runs.values():
                counts = funnel(tx, open_plan(tx, plan))
                spread = counts.invalid + counts.duplicates + counts.known_before + counts.over_cap + counts.planned
                assert counts.eligible == spread
                assert counts.planned == sum(counts.outcomes.values()) + counts.open + counts.discarded

    @invariant()
    def enrolled_is_the_platforms_word(self) -> None:
        assert self._customers(Outcome.ENROLLED) <= self._enrolled_on_the_platform()

    @invariant()
    def nobody_is_open_twice(self) -> None:
        with self.world.ledger.read() as tx:
            twice = (
                select(badge_enrolment.c.customer_id)
                .where(badge_enrolment.c.outcome.is_(None))
                .group_by(badge_enrolment.c.customer_id)
                .having(func.count() > 1)
            )
            assert tx.conn.execute(twice).all() == []

    def teardown(self) -> None:
        """Once nothing goes wrong any more and the checker decides, everything comes to an end."""
        try:
            self._quiesce()
        finally:
            self.world.close()
            shutil.rmtree(self.folder)

    def _quiesce(self) -> None:
        self.world.submitting = True
        self.world.platform.switch(drop_output=False, unknown_customers=frozenset())
        for _ in range(8):
            self.world.pass_time(timedelta(hours=7))
            self.world.platform.approve_all()
            self._note(self.world.run(keep_house))
        self.nobody_is_twice_on_the_platform()
        self.no_key_is_sent_twice()
        self.every_run_adds_up()
        with self.world.ledger.read() as tx:
            still = tx.conn.execute(
                select(badge_request.c.status, func.count())
                .where(badge_request.c.status != "settled")
                .group_by(badge_request.c.status)
            ).all()
        assert still == [], "everything is decided"
        known = self._customers(Outcome.ENROLLED) | self._customers(Outcome.ALREADY_ENROLLED)
        unsure = self._customers(Outcome.UNCONFIRMED)
        assert self._enrolled_on_the_platform() <= known | unsure, "nobody is lost"

    # Helpers of the rules ------------------------------------------------------------------------------------

    def _plan(self, run: str, customers: list[int], retry: frozenset[Outcome]) -> None:
        settings_ = self.world.settings
        order = Order(
            dag_id="gold",
            run_id=run,
            task_id="extract",
            capillary_conn_id="capillary",
            campaign="gold",
            occasion="gold",
            spec=Spec(settings_.account, GOLD_CIRCLE.badge_id, "Loyalty", "42", "1", "2", "3", "4", settings_.base_url),
            customers_per_request=2,
            canary=False,
            retry=retry,
            guards=NO_GUARDS,
            lease=LEASE,
        )
        try:
            plan = plan_rows(self.world.ledger, [customers], order, without_badge=self._without_badge)
        except (GuardRefused, Died):
            return
        finally:
            self.world.dead, self.world.dies_after = False, None
        assert plan.plan_id is not None
        self.runs[run] = plan.plan_id

    def _without_badge(self, customers: Mapping[int, datetime | None]) -> list[int]:
        """What the badge read would answer."""
        holders = self.world.platform.enrolments(GOLD_CIRCLE.badge_id)
        return [customer for customer in customers if customer not in holders]

    def _prepare(self, number: int, dies: int | None, mishap: Mishap, spared: int) -> PlanId:
        self.world.dies_after, self.world.mishap, self.world.spared = dies, mishap, spared
        return self._plan_id(number)

    def _plan_id(self, number: int) -> PlanId:
        return list(self.runs.values())[number % len(self.runs)]

    def _note(self, end: str) -> None:
        self.ends[end] += 1

    def _customers(self, outcome: Outcome) -> set[int]:
        with self.world.ledger.read() as tx:
            found = select(badge_enrolment.c.customer_id).where(badge_enrolment.c.outcome == outcome)
            return set(tx.conn.execute(found).scalars())

    def _enrolled_on_the_platform(self) -> set[int]:
        return set(self.world.platform.enrolments(GOLD_CIRCLE.badge_id))


def test_whatever_happens(template: Path) -> None:
    Game.template = template
    Game.ends.clear()
    run_state_machine_as_test(
        Game,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            deadline=None,
            derandomize=os.environ.get("STATES") != "all",
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"\ntasks ended: {dict(Game.ends)}")  # noqa: T201 - how the games went is the result
    assert Game.ends["died"] > 5
    assert Game.ends["done"] > 50
