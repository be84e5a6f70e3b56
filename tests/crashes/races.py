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
from tests.crashes.installation import LATER_S, TASK_S, Installation
from tests.crashes.installation_factory import InstallationFactory
from tests.crashes.job import Ending, Task, TaskEnd
from tests.crashes.judge import faults_of
from tests.crashes.points import Moment, Point

#: As many as a site's parallel runs of one campaign.
CROWD: Final = 8
CUSTOMERS: Final = range(9_001, 9_012)
OPTIONS: Final[Mapping[str, object]] = {"customers_per_request": 3, "in_flight": 2}
#: Longer than any request may be missing from the list in these rounds, seconds.
_HIDDEN_S: Final = 1e6

Race = Callable[[Installation], list[str]]


def play(factory: InstallationFactory, race: Race, ledger: URL | None) -> list[str]:
    """Run one round; return the broken promises.

    Args:
        factory: what rounds share.
        race: one of `RACES`.
        ledger: of PostgreSQL, new for this round; None for a SQLite file.
    """
    with factory.installation(
        CUSTOMERS, ledger=ledger, empty=race is migrations, virtual=False, options=OPTIONS
    ) as installation:
        return race(installation)


def plans_of_one_occasion(installation: Installation) -> list[str]:
    """Eight runs plan the same customers: one of them gets all, or some share them; nobody is planned twice."""
    return _plans_at_once(installation)


def copies_of_one_campaign(installation: Installation) -> list[str]:
    """The same of eight campaigns that name no occasion, as copies of one file under other names."""
    return _plans_at_once(installation, names="copy", occasion=None)


def _plans_at_once(installation: Installation, *, names: str | None = None, **options: Any) -> list[str]:  # noqa: ANN401 - an operator's
    runs = [f"run {number}" for number in range(1, CROWD + 1)]
    campaigns = {run_id: {"campaign": f"{names} {run_id}"} if names else {} for run_id in runs}
    starts = ({"task": Task.PLAN, "run_id": run_id, **options, **campaigns[run_id]} for run_id in runs)
    ends = installation.together(*starts)
    plans = {run_id: end.value for run_id, end in zip(runs, ends, strict=True) if end.how is TaskEnd.RETURNED}
    wrong = [f"a plan ended as {end.how}: {end.said}" for end in ends if end.how is not TaskEnd.RETURNED]
    planned = sum(plan["planned"] for plan in plans.values())
    if planned != len(CUSTOMERS):
        wrong.append(f"I1: {planned} customers were planned, {len(CUSTOMERS)} are eligible")
    busy = {run_id: plan for run_id, plan in plans.items() if plan["planned"]}
    return wrong + to_the_end(installation, busy, submit=busy) + faults_of(installation)


def submits_of_one_run(installation: Installation) -> list[str]:
    """Eight processes submit one run: a run was cleared again and again and its old tries live on."""
    plan = _planned(installation)
    ends = installation.together(*({"task": Task.SUBMIT, "plan": plan} for _ in range(CROWD)))
    return _unexpected(ends) + to_the_end(installation, {"run 1": plan}, submit=["run 1"]) + faults_of(installation)


def overlapping_runs(installation: Installation) -> list[str]:
    """One run is submitted, another waits and settles, a third plans, and the upkeep keeps house."""
    first = _planned(installation, customer_cap=4)
    at_rest(installation, Task.SUBMIT, plan=first)
    second = _planned(installation, run_id="run 2", customer_cap=4)
    installation.sandbox.approve_all()
    ends = installation.together(
        {"task": Task.WAIT, "plan": first},
        {"task": Task.SUBMIT, "plan": second, "run_id": "run 2"},
        {"task": Task.PLAN, "run_id": "run 3"},
        {"task": Task.WAIT, "plan": first},
        {"task": Task.UPKEEP},
    )
    plans = {"run 1": first, "run 2": second, "run 3": ends[2].value}
    return _unexpected(ends) + to_the_end(installation, plans, submit=["run 2", "run 3"]) + faults_of(installation)


def old_try_of_a_cleared_run(installation: Installation) -> list[str]:
    """A run is cleared from its plan on while the old submit lives: the plan is kept, or made again."""
    old = _planned(installation)
    replan, *submits = installation.together(
        {"task": Task.PLAN},
        {"task": Task.SUBMIT, "plan": old},
        {"task": Task.SUBMIT, "plan": old},
    )
    if replan.how is not TaskEnd.RETURNED:
        return [f"the second plan ended as {replan.how}: {replan.said}"]
    # An old try may learn that its plan is gone; that is no false failure.
    wrong = _unexpected(end for end in submits if end.how is not TaskEnd.TERMINAL)
    installation.begin()
    return wrong + to_the_end(installation, {"run 1": replan.value}, submit=["run 1"]) + faults_of(installation)


def plan_forgotten_under_a_sender(installation: Installation) -> list[str]:
    """A run is planned again, then given back by its report, each time while its sender is about to claim."""
    plan, wrong = _planned(installation), []
    for task, before_the_claim in (
        (Task.PLAN, Point("commit submit.next_requests", 1, Moment.AFTER)),
        (Task.REPORT, Point("commit pace._take_slot", 2, Moment.AFTER)),
    ):
        frozen = installation.start(Task.SUBMIT, plan=plan, at=before_the_claim, signal_number=signal.SIGSTOP)
        installation.stopped(frozen)
        ending = installation.run(task, plan=plan)
        installation.wake(frozen)
        ended = installation.end(frozen)
        if task is Task.PLAN and "the ledger has no plan" in ended.said:
            plan = ending.value  # its own plan is gone, and the new one is another's
        else:
            wrong += [f"the sender of a plan that is gone said: {ended.said}"] * (task is Task.PLAN)
            wrong += _unexpected([ended])
    if sent := len(installation.sandbox.platform.requests()):
        wrong.append(f"{sent} requests were sent of a plan that was gone")
    installation.begin()
    second = _planned(installation, run_id="run 2")
    return [*wrong, *to_the_end(installation, {"run 2": second}, submit=["run 2"]), *faults_of(installation)]


def frozen_sender(installation: Installation) -> list[str]:
    """A sender is frozen between claim and POST, past its doubt, and woken: the timing assumption is broken."""
    plan = _planned(installation)
    frozen = installation.start(
        Task.SUBMIT, plan=plan, at=Point("call submit", 1, Moment.BEFORE), signal_number=signal.SIGSTOP
    )
    installation.stopped(frozen)
    installation.clock.jump(LATER_S)
    again = at_rest(installation, Task.SUBMIT, plan=plan)
    installation.wake(frozen)
    ends = [again, installation.end(frozen)]
    return [
        *_twins(installation),
        *_unexpected(ends),
        *to_the_end(installation, {"run 1": plan}),
        *faults_of(installation, twins=True),
    ]


def settling_and_sightings(installation: Installation) -> list[str]:
    """Twins are decided; while some settle, others see the second twin for the first time."""
    plan = _planned(installation)
    # What was taken shows in no list for longer than the allowance, so it is sent again.
    installation.sandbox.switch(list_lag_s=_HIDDEN_S)
    frozen = installation.start(
        Task.SUBMIT, plan=plan, at=Point("call submit", 1, Moment.AFTER), signal_number=signal.SIGSTOP
    )
    installation.stopped(frozen)
    installation.clock.jump(LATER_S)
    at_rest(installation, Task.SUBMIT, plan=plan)
    installation.sandbox.switch(list_lag_s=0.0)
    installation.sandbox.approve_all()
    starts: list[Mapping[str, Any]] = [
        {"task": Task.WAIT, "plan": plan},
        {"task": Task.UPKEEP},
        {"task": Task.WAIT, "plan": plan},
    ]
    installation.wake(frozen)
    ends = [*installation.together(*starts, {"task": Task.UPKEEP}), installation.end(frozen)]
    return [
        *_twins(installation),
        *_unexpected(ends),
        *to_the_end(installation, {"run 1": plan}),
        *faults_of(installation, twins=True),
    ]


def plan_and_release(installation: Installation) -> list[str]:
    """Requests are given back to the plan by a refusing platform while the run plans again and others plan, too."""
    plan = _planned(installation)
    installation.sandbox.fault(Route.SUBMIT, FaultKind.STATUS, when=When.BEFORE, status=503, code=4001, times=4)
    submit, replan, second, report = installation.together(
        {"task": Task.SUBMIT, "plan": plan},
        {"task": Task.PLAN},
        {"task": Task.PLAN, "run_id": "run 2"},
        {"task": Task.REPORT, "plan": plan},
    )
    wrong = _unexpected(end for end in (submit, replan, second, report) if end.how is not TaskEnd.TERMINAL)
    if TaskEnd.RETURNED not in {replan.how} & {second.how}:
        return [*wrong, f"the plans ended as {replan.how} {replan.said} and {second.how} {second.said}"]
    installation.begin()
    third = _planned(installation, run_id="run 3")
    plans = {"run 1": replan.value, "run 2": second.value, "run 3": third}
    return [*wrong, *to_the_end(installation, plans, submit=list(plans)), *faults_of(installation)]


def retries_of_the_rejected(installation: Installation) -> list[str]:
    """Several runs retry the same rejected customers at once: one of them gets each."""
    plan = _planned(installation)
    at_rest(installation, Task.SUBMIT, plan=plan)
    for record in installation.sandbox.platform.requests():
        installation.sandbox.reject(record.request_key or "")
    installation.run(Task.WAIT, plan=plan)
    installation.begin()
    runs = [f"run {number}" for number in range(2, 2 + CROWD // 2)]
    ends = installation.together(
        *({"task": Task.PLAN, "run_id": run_id, "retry_outcomes": ["rejected"]} for run_id in runs)
    )
    if any(end.how is not TaskEnd.RETURNED for end in ends):
        return [f"a retry ended as {end.how}: {end.said}" for end in ends]
    plans = {run_id: end.value for run_id, end in zip(runs, ends, strict=True) if end.value["planned"]}
    with installation.ledger.read() as tx:
        retried = tx.conn.execute(select(func.count()).where(badge_enrolment.c.attempt == 2)).scalar_one()
    wrong = [] if retried == len(CUSTOMERS) else [f"I1: {retried} second attempts of {len(CUSTOMERS)} customers"]
    return [*wrong, *to_the_end(installation, plans, submit=plans), *faults_of(installation)]


def migrations(installation: Installation) -> list[str]:
    """Eight processes make and migrate a new ledger at once."""
    ends = installation.together(*({"task": Task.MIGRATE} for _ in range(CROWD)))
    wrong = [f"a migration ended as {end.how}: {end.said}" for end in ends if end.how is not TaskEnd.RETURNED]
    with installation.ledger.read() as tx:
        found = tx.conn.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalars().all()  # noqa: S608 - ours
    if found != [REVISIONS[-1]]:
        wrong.append(f"the ledger is at {found}, not at {REVISIONS[-1]}")
    plan = _planned(installation)
    return [*wrong, *to_the_end(installation, {"run 1": plan}, submit=["run 1"]), *faults_of(installation)]


def stop_against_claims(installation: Installation) -> list[str]:
    """Eight processes submit two runs of a campaign; a person stops it in the middle, and resumes it at the end."""
    plans = {
        "run 1": _planned(installation, customer_cap=6, customers_per_request=1),
        "run 2": _planned(installation, run_id="run 2", customers_per_request=1),
    }
    gun = installation.folder / "gun"
    submits = [
        installation.start(Task.SUBMIT, plan=plan, run_id=run_id, gun=gun)
        for run_id, plan in plans.items()
        for _ in range(CROWD // 2)
    ]
    gun.touch()
    with installation.ledger.read() as tx:
        account, campaign = tx.conn.execute(select(badge_run.c.account, badge_run.c.campaign)).first() or ("", "")
    _until_claimed(installation, 2)
    stop(installation.ledger, Scope(account, campaign), by="the race", reason="to see who claims")
    before = _tries(installation)
    ends = [installation.end(process) for process in submits]
    claims = sum(tries > before[request_id] for request_id, tries in _tries(installation).items())
    wrong = [f"{claims} requests were claimed after the stop"] if claims else []
    wrong += _unexpected(end for end in ends if "sending is stopped" not in end.said)
    resume(installation.ledger, Scope(account, campaign), by="the race")
    installation.begin()
    plans["run 3"] = _planned(installation, run_id="run 3")
    return [*wrong, *to_the_end(installation, plans, submit=["run 3"]), *faults_of(installation)]


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


def _planned(installation: Installation, **options: Any) -> Mapping[str, Any]:  # noqa: ANN401 - the arguments of `Installation.start`
    ending = at_rest(installation, Task.PLAN, **options)
    if ending.how is not TaskEnd.RETURNED:
        raise RuntimeError(f"the plan ended as {ending.how}: {ending.said}")
    plan: Mapping[str, Any] = ending.value
    return plan


def _tries(installation: Installation) -> dict[int, int]:
    with installation.ledger.read() as tx:
        return {row.id: row.tries for row in tx.conn.execute(select(badge_request.c.id, badge_request.c.tries))}


def _until_claimed(installation: Installation, requests: int) -> None:
    """Come back when so many requests have been claimed."""
    until = time.monotonic() + TASK_S
    while sum(map(bool, _tries(installation).values())) < requests:
        if time.monotonic() > until:
            raise TimeoutError("nobody claims")
        time.sleep(0.001)


def _unexpected(ends: Iterable[Ending]) -> list[str]:
    """Return the failures whose words tell no reason that such a race may have."""
    return [
        f"a task ended as {end.how}: {end.said}"
        for end in ends
        if end.how in {TaskEnd.TERMINAL, TaskEnd.BROKEN} or "lost the connection" in end.said
    ]


def _twins(installation: Installation) -> list[str]:
    """Return what is wrong with the twins that the race was to make."""
    books = installation.sandbox.platform.requests()
    keys = {record.request_key for record in books}
    with installation.ledger.read() as tx:
        seen = tx.conn.execute(select(func.count()).select_from(badge_sighting)).scalar_one()
    if len(books) != len(keys) + 1:
        return [f"the race made {len(books) - len(keys)} twins, one was meant"]
    return [] if seen else ["the ledger has seen nothing of the platform"]
