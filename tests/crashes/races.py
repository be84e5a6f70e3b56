"""Races of real processes over one ledger, each round from an empty one, judged by the platform's books.

Here time is the machine's: nobody's sleep moves the clock. Only the driver moves it on, while no call is under
way, and where a race breaks the timing assumption on purpose.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import URL, func, select

from capillary.ledger.revision import REVISIONS, VERSION_TABLE
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.stops import Scope, resume, stop
from sandbox.faults import FaultKind, Route, When
from tests.crashes.drive import at_rest, to_the_end
from tests.crashes.job import Ending, Task, Word
from tests.crashes.judge import faults_of
from tests.crashes.points import Moment, Point
from tests.crashes.world import LATER_S, TASK_S, World
from tests.crashes.yard import Yard

#: As many as a site's parallel runs of one campaign.
CROWD: Final = 8
CUSTOMERS: Final = range(9_001, 9_012)
OPTIONS: Final[Mapping[str, object]] = {"customers_per_request": 3, "in_flight": 2}
#: Longer than any request may be missing from the list in these rounds, seconds.
_HIDDEN_S: Final = 1e6

Race = Callable[[World], list[str]]


def play(yard: Yard, race: Race, ledger: URL | None) -> list[str]:
    """Run one round; return the broken promises.

    Args:
        yard: what rounds share.
        race: one of `RACES`.
        ledger: of PostgreSQL, new for this round; None for a SQLite file.
    """
    with yard.world(CUSTOMERS, ledger=ledger, empty=race is migrations, virtual=False, options=OPTIONS) as world:
        return race(world)


def plans_of_one_occasion(world: World) -> list[str]:
    """Eight runs plan the same customers: one of them gets all, or some share them; nobody is planned twice."""
    return _plans_at_once(world)


def copies_of_one_campaign(world: World) -> list[str]:
    """The same of eight campaigns that name no occasion, as copies of one file under other names."""
    return _plans_at_once(world, names="copy", occasion=None)


def _plans_at_once(world: World, *, names: str | None = None, **options: Any) -> list[str]:  # noqa: ANN401 - an operator's
    runs = [f"run {number}" for number in range(1, CROWD + 1)]
    campaigns = {run_id: {"campaign": f"{names} {run_id}"} if names else {} for run_id in runs}
    starts = ({"task": Task.PLAN, "run_id": run_id, **options, **campaigns[run_id]} for run_id in runs)
    ends = world.together(*starts)
    plans = {run_id: end.value for run_id, end in zip(runs, ends, strict=True) if end.word is Word.RETURNED}
    wrong = [f"a plan ended as {end.word}: {end.said}" for end in ends if end.word is not Word.RETURNED]
    planned = sum(plan["planned"] for plan in plans.values())
    if planned != len(CUSTOMERS):
        wrong.append(f"I1: {planned} customers were planned, {len(CUSTOMERS)} are eligible")
    busy = {run_id: plan for run_id, plan in plans.items() if plan["planned"]}
    return wrong + to_the_end(world, busy, submit=busy) + faults_of(world)


def submits_of_one_run(world: World) -> list[str]:
    """Eight processes submit one run: a run was cleared again and again and its old tries live on."""
    plan = _planned(world)
    ends = world.together(*({"task": Task.SUBMIT, "plan": plan} for _ in range(CROWD)))
    return _unexpected(ends) + to_the_end(world, {"run 1": plan}, submit=["run 1"]) + faults_of(world)


def overlapping_runs(world: World) -> list[str]:
    """One run is submitted, another waits and settles, a third plans, and the upkeep keeps house."""
    first = _planned(world, customer_cap=4)
    at_rest(world, Task.SUBMIT, plan=first)
    second = _planned(world, run_id="run 2", customer_cap=4)
    world.sandbox.approve_all()
    ends = world.together(
        {"task": Task.WAIT, "plan": first},
        {"task": Task.SUBMIT, "plan": second, "run_id": "run 2"},
        {"task": Task.PLAN, "run_id": "run 3"},
        {"task": Task.WAIT, "plan": first},
        {"task": Task.UPKEEP},
    )
    plans = {"run 1": first, "run 2": second, "run 3": ends[2].value}
    return _unexpected(ends) + to_the_end(world, plans, submit=["run 2", "run 3"]) + faults_of(world)


def old_try_of_a_cleared_run(world: World) -> list[str]:
    """A run is cleared from its plan on while the old submit lives: the plan is kept, or made again."""
    old = _planned(world)
    replan, *submits = world.together(
        {"task": Task.PLAN},
        {"task": Task.SUBMIT, "plan": old},
        {"task": Task.SUBMIT, "plan": old},
    )
    if replan.word is not Word.RETURNED:
        return [f"the second plan ended as {replan.word}: {replan.said}"]
    # An old try may learn that its plan is gone; that is no false failure.
    wrong = _unexpected(end for end in submits if end.word is not Word.TERMINAL)
    world.begin()
    return wrong + to_the_end(world, {"run 1": replan.value}, submit=["run 1"]) + faults_of(world)


def plan_forgotten_under_a_sender(world: World) -> list[str]:
    """A run is planned again, then given back by its report, each time while its sender is about to claim."""
    plan, wrong = _planned(world), []
    for task, before_the_claim in (
        (Task.PLAN, Point("commit submit.next_requests", 1, Moment.AFTER)),
        (Task.REPORT, Point("commit pace._take_slot", 2, Moment.AFTER)),
    ):
        frozen = world.start(Task.SUBMIT, plan=plan, at=before_the_claim, signal_number=signal.SIGSTOP)
        world.stopped(frozen)
        ending = world.run(task, plan=plan)
        world.wake(frozen)
        ended = world.end(frozen)
        if task is Task.PLAN and "the ledger has no plan" in ended.said:
            plan = ending.value  # its own plan is gone, and the new one is another's
        else:
            wrong += [f"the sender of a plan that is gone said: {ended.said}"] * (task is Task.PLAN)
            wrong += _unexpected([ended])
    if sent := len(world.sandbox.platform.requests()):
        wrong.append(f"{sent} requests were sent of a plan that was gone")
    world.begin()
    second = _planned(world, run_id="run 2")
    return [*wrong, *to_the_end(world, {"run 2": second}, submit=["run 2"]), *faults_of(world)]


def frozen_sender(world: World) -> list[str]:
    """A sender is frozen between claim and POST, past its doubt, and woken: the timing assumption is broken."""
    plan = _planned(world)
    frozen = world.start(
        Task.SUBMIT, plan=plan, at=Point("call submit", 1, Moment.BEFORE), signal_number=signal.SIGSTOP
    )
    world.stopped(frozen)
    world.clock.jump(LATER_S)
    again = at_rest(world, Task.SUBMIT, plan=plan)
    world.wake(frozen)
    ends = [again, world.end(frozen)]
    return [*_twins(world), *_unexpected(ends), *to_the_end(world, {"run 1": plan}), *faults_of(world, twins=True)]


def settling_and_sightings(world: World) -> list[str]:
    """Twins are decided; while some settle, others see the second twin for the first time."""
    plan = _planned(world)
    # What was taken shows in no list for longer than the allowance, so it is sent again.
    world.sandbox.switch(list_lag_s=_HIDDEN_S)
    frozen = world.start(Task.SUBMIT, plan=plan, at=Point("call submit", 1, Moment.AFTER), signal_number=signal.SIGSTOP)
    world.stopped(frozen)
    world.clock.jump(LATER_S)
    at_rest(world, Task.SUBMIT, plan=plan)
    world.sandbox.switch(list_lag_s=0.0)
    world.sandbox.approve_all()
    starts: list[Mapping[str, Any]] = [
        {"task": Task.WAIT, "plan": plan},
        {"task": Task.UPKEEP},
        {"task": Task.WAIT, "plan": plan},
    ]
    world.wake(frozen)
    ends = [*world.together(*starts, {"task": Task.UPKEEP}), world.end(frozen)]
    return [*_twins(world), *_unexpected(ends), *to_the_end(world, {"run 1": plan}), *faults_of(world, twins=True)]


def plan_and_release(world: World) -> list[str]:
    """Requests are given back to the plan by a refusing platform while the run plans again and others plan, too."""
    plan = _planned(world)
    world.sandbox.fault(Route.SUBMIT, FaultKind.STATUS, when=When.BEFORE, status=503, code=4001, times=4)
    submit, replan, second, report = world.together(
        {"task": Task.SUBMIT, "plan": plan},
        {"task": Task.PLAN},
        {"task": Task.PLAN, "run_id": "run 2"},
        {"task": Task.REPORT, "plan": plan},
    )
    wrong = _unexpected(end for end in (submit, replan, second, report) if end.word is not Word.TERMINAL)
    if Word.RETURNED not in {replan.word} & {second.word}:
        return [*wrong, f"the plans ended as {replan.word} {replan.said} and {second.word} {second.said}"]
    world.begin()
    third = _planned(world, run_id="run 3")
    plans = {"run 1": replan.value, "run 2": second.value, "run 3": third}
    return [*wrong, *to_the_end(world, plans, submit=list(plans)), *faults_of(world)]


def retries_of_the_rejected(world: World) -> list[str]:
    """Several runs retry the same rejected customers at once: one of them gets each."""
    plan = _planned(world)
    at_rest(world, Task.SUBMIT, plan=plan)
    for record in world.sandbox.platform.requests():
        world.sandbox.reject(record.request_key or "")
    world.run(Task.WAIT, plan=plan)
    world.begin()
    runs = [f"run {number}" for number in range(2, 2 + CROWD // 2)]
    ends = world.together(*({"task": Task.PLAN, "run_id": run_id, "retry_outcomes": ["rejected"]} for run_id in runs))
    if any(end.word is not Word.RETURNED for end in ends):
        return [f"a retry ended as {end.word}: {end.said}" for end in ends]
    plans = {run_id: end.value for run_id, end in zip(runs, ends, strict=True) if end.value["planned"]}
    with world.ledger.read() as tx:
        retried = tx.conn.execute(select(func.count()).where(badge_enrolment.c.attempt == 2)).scalar_one()
    wrong = [] if retried == len(CUSTOMERS) else [f"I1: {retried} second attempts of {len(CUSTOMERS)} customers"]
    return [*wrong, *to_the_end(world, plans, submit=plans), *faults_of(world)]


def migrations(world: World) -> list[str]:
    """Eight processes make and migrate a new ledger at once."""
    ends = world.together(*({"task": Task.MIGRATE} for _ in range(CROWD)))
    wrong = [f"a migration ended as {end.word}: {end.said}" for end in ends if end.word is not Word.RETURNED]
    with world.ledger.read() as tx:
        found = tx.conn.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalars().all()  # noqa: S608 - ours
    if found != [REVISIONS[-1]]:
        wrong.append(f"the ledger is at {found}, not at {REVISIONS[-1]}")
    plan = _planned(world)
    return [*wrong, *to_the_end(world, {"run 1": plan}, submit=["run 1"]), *faults_of(world)]


def stop_against_claims(world: World) -> list[str]:
    """Eight processes submit two runs of a campaign; a person stops it in the middle, and resumes it at the end."""
    plans = {
        "run 1": _planned(world, customer_cap=6, customers_per_request=1),
        "run 2": _planned(world, run_id="run 2", customers_per_request=1),
    }
    gun = world.folder / "gun"
    submits = [
        world.start(Task.SUBMIT, plan=plan, run_id=run_id, gun=gun)
        for run_id, plan in plans.items()
        for _ in range(CROWD // 2)
    ]
    gun.touch()
    with world.ledger.read() as tx:
        account, campaign = tx.conn.execute(select(badge_run.c.account, badge_run.c.campaign)).first() or ("", "")
    _until_claimed(world, 2)
    stop(world.ledger, Scope(account, campaign), by="the race", reason="to see who claims")
    before = _tries(world)
    ends = [world.end(process) for process in submits]
    claims = sum(tries > before[request_id] for request_id, tries in _tries(world).items())
    wrong = [f"{claims} requests were claimed after the stop"] if claims else []
    wrong += _unexpected(end for end in ends if "sending is stopped" not in end.said)
    resume(world.ledger, Scope(account, campaign), by="the race")
    world.begin()
    plans["run 3"] = _planned(world, run_id="run 3")
    return [*wrong, *to_the_end(world, plans, submit=["run 3"]), *faults_of(world)]


RACES: Final[tuple[Race, ...]] = (
    plans_of_one_occasion,
    copies_of_one_campaign,
    submits_of_one_run,
    overlapping_runs,
    old_try_of_a_cleared_run,
    plan_forgotten_under_a_sender,
    frozen_sender,
    settling_and_sightings,
    plan_and_release,
    retries_of_the_rejected,
    stop_against_claims,
    migrations,
)


def _planned(world: World, **options: Any) -> Mapping[str, Any]:  # noqa: ANN401 - the arguments of `World.start`
    ending = at_rest(world, Task.PLAN, **options)
    if ending.word is not Word.RETURNED:
        raise RuntimeError(f"the plan ended as {ending.word}: {ending.said}")
    plan: Mapping[str, Any] = ending.value
    return plan


def _tries(world: World) -> dict[int, int]:
    with world.ledger.read() as tx:
        return {row.id: row.tries for row in tx.conn.execute(select(badge_request.c.id, badge_request.c.tries))}


def _until_claimed(world: World, requests: int) -> None:
    """Come back when so many requests have been claimed."""
    until = time.monotonic() + TASK_S
    while sum(map(bool, _tries(world).values())) < requests:
        if time.monotonic() > until:
            raise TimeoutError("nobody claims")
        time.sleep(0.001)


def _unexpected(ends: Iterable[Ending]) -> list[str]:
    """Return the failures whose words tell no reason that such a race may have."""
    return [
        f"a task ended as {end.word}: {end.said}"
        for end in ends
        if end.word in {Word.TERMINAL, Word.BROKEN} or "lost the connection" in end.said
    ]


def _twins(world: World) -> list[str]:
    """Return what is wrong with the twins that the race was to make."""
    books = world.sandbox.platform.requests()
    keys = {record.request_key for record in books}
    with world.ledger.read() as tx:
        seen = tx.conn.execute(select(func.count()).select_from(badge_sighting)).scalar_one()
    if len(books) != len(keys) + 1:
        return [f"the race made {len(books) - len(keys)} twins, one was meant"]
    return [] if seen else ["the ledger has seen nothing of the platform"]
