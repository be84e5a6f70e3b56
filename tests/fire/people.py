"""What people do to runs: clear, mark, pause, be late, delete. Each on a campaign of its own, all at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Final

from sqlalchemy import select, text, update

from capillary.ledger.schema import badge_request, badge_run
from capillary.ledger.status import RequestStatus
from local_airflow.airflow_api import ApiSilentError, RequestRejectedError
from tests.fire.campaigns import Campaign
from tests.fire.judge import judge, open_requests, unplanned
from tests.fire.stack import Stack

EXTRACT, SUBMIT, WAIT, REPORT = TASKS = ("extract_eligible_customers", "submit", "wait", "report")
#: Requests of a deed's run.
REQUESTS = 6
#: Seconds for something to happen: a task's state, a run's end.
LIMIT_S = 600.0
#: Seconds between two looks of the checker, and that a paused campaign stays so: several of its trigger's polls.
CHECKER_PAUSE_S = 5.0
PAUSED_S = 75.0
#: Seconds of the deadline that is missed.
SHORT_DEADLINE_S = 20
#: Rounds of later runs that take what an earlier one gave back.
LATER_RUNS = 3

_LOOK_S: Final = 0.1
_RUN: Final = "first"
_ENDED: Final = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that a person does.

    Attributes:
        name: in words.
        act: does it, from the moment at which the run is triggered.
        ends: the state in which the run must end; None where the person decided it.
        deadline_s: of its campaign.
    """

    name: str
    act: Callable[[Act], None]
    ends: str | None = "success"
    deadline_s: int = 86_400


@dataclass(frozen=True, slots=True)
class Done:
    """How a deed ended: the state of its run (None: deleted), and every broken promise."""

    deed: str
    run_state: str | None
    broken: tuple[str, ...]


class Act:
    """A run of one campaign, and what a person sees of it and does to it.

    Attributes:
        stack: where it runs.
        dag_id: the campaign's name.
        checker_is_there: whether somebody approves what stands on the platform, while this waits for something.
    """

    def __init__(self, stack: Stack, campaign: Campaign, stopping: Event) -> None:
        self.stack = stack
        self._stopping = stopping
        self.dag_id = campaign.name
        self.checker_is_there = False
        self._campaign = campaign
        self._checked = 0.0

    def trigger(self, run_id: str, requests: int) -> None:
        """Start a run on a warehouse that has grown."""
        if requests:
            self.stack.warehouse.grow(self._campaign, requests)
        self.do(lambda: self.stack.api.trigger_as(self.dag_id, run_id))

    def do(self, act: Callable[[], None]) -> None:
        """Do something through the REST API, again where the server is silent."""
        for _ in range(10):
            try:
                act()
            except ApiSilentError:
                time.sleep(1)
            else:
                return
        raise TimeoutError(f"{self.dag_id}: Airflow's API server stays silent")

    def task_state(self, task_id: str, run_id: str = _RUN) -> str | None:
        """The state of a task now."""
        with self.stack.airflow.connect() as conn:
            state: str | None = conn.execute(
                text("SELECT state FROM task_instance WHERE dag_id = :dag AND run_id = :run AND task_id = :task"),
                {"dag": self.dag_id, "run": run_id, "task": task_id},
            ).scalar_one_or_none()
            return state

    def run_state(self, run_id: str = _RUN) -> str | None:
        """The state of a run now; None once it is deleted."""
        with self.stack.airflow.connect() as conn:
            state: str | None = conn.execute(
                text("SELECT state FROM dag_run WHERE dag_id = :dag AND run_id = :run"),
                {"dag": self.dag_id, "run": run_id},
            ).scalar_one_or_none()
            return state

    def until(self, task_id: str, *states: str) -> None:
        """Wait until a task is in one of the states."""
        self._until(lambda: self.task_state(task_id) in states, f"{task_id} is {' or '.join(states)}")

    def until_ended(self, run_id: str = _RUN) -> None:
        """Wait until a run has ended, or is gone."""
        self._until(lambda: self.run_state(run_id) in {*_ENDED, None}, f"{run_id} has ended")

    def until_decided(self) -> None:
        """Have the checker decide whatever stands on the platform."""
        self.checker_is_there = True
        self._until(lambda: not self._parked(), "the checker has decided", look_s=1)

    def look_on(self, seconds: float) -> None:
        """Let time pass."""
        over = time.monotonic() + seconds
        self._until(lambda: time.monotonic() > over, "time passes")

    def until_settled(self) -> None:
        """Wait until nothing is open in the ledger but what no living run will send."""
        self._until(lambda: open_requests(self.stack, {self.dag_id}) == self._unsent(), "all is settled", look_s=2)

    def age_lease(self) -> None:
        """Let the lease of every ended run be over, as it is after six hours."""
        with self.stack.ledger.write() as tx:
            tx.conn.execute(update(badge_run).where(badge_run.c.dag_id == self.dag_id).values(alive_until=tx.now))

    def _unsent(self) -> int:
        with self.stack.ledger.read() as tx:
            return len(
                tx.conn.execute(
                    select(badge_request.c.id)
                    .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
                    .where(badge_run.c.dag_id == self.dag_id, badge_request.c.status == RequestStatus.PLANNED)
                ).all()
            )

    def _parked(self) -> list[str]:
        """The keys of the campaign's requests that wait for the checker."""
        mine = {customer for customer, of in self.stack.warehouse.customers().items() if of == self.dag_id}
        records = self.stack.sandbox.get("/_sandbox/requests").json()
        return [record["request_key"] for record in records if not record["ended"] and mine & {*record["customers"]}]

    def _check(self) -> None:
        if self.checker_is_there and time.monotonic() - self._checked > CHECKER_PAUSE_S:
            for key in self._parked():
                self.stack.sandbox.post("/_sandbox/approve", json={"request_key": key}).raise_for_status()
            self._checked = time.monotonic()

    def _until(self, holds: Callable[[], bool], what: str, *, look_s: float = _LOOK_S) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            self._check()
            if time.monotonic() > deadline or self._stopping.is_set():
                raise TimeoutError(f"{self.dag_id}: not within {LIMIT_S:g} s: {what}")
            time.sleep(look_s)


def _clear(task_id: str, state: str, act: Act) -> None:
    act.checker_is_there = task_id == REPORT
    act.until(task_id, state)
    act.do(lambda: act.stack.api.clear(act.dag_id, _RUN, task_id))


def _clear_after_success(task_id: str, act: Act) -> None:
    act.checker_is_there = True
    act.until_ended()
    act.do(lambda: act.stack.api.clear(act.dag_id, _RUN, task_id))


def _clear_all_after_success(act: Act) -> None:
    act.checker_is_there = True
    act.until_ended()
    act.do(lambda: act.stack.api.clear_with_downstream(act.dag_id, _RUN, EXTRACT))


def _clear_submit_while_wait_is_deferred(act: Act) -> None:
    act.until(WAIT, "deferred")
    act.do(lambda: act.stack.api.clear(act.dag_id, _RUN, SUBMIT))


def _mark(task_id: str, state: str, word: str, act: Act) -> None:
    act.until(task_id, state)
    act.do(lambda: act.stack.api.mark_task(act.dag_id, _RUN, task_id, word))


def _mark_run(task_id: str, state: str, word: str, act: Act) -> None:
    act.until(task_id, state)
    act.do(lambda: act.stack.api.mark_run(act.dag_id, _RUN, word))


def _pause_while_deferred(act: Act) -> None:
    act.until(WAIT, "deferred")
    act.do(lambda: act.stack.api.pause(act.dag_id))
    act.until_decided()
    act.look_on(PAUSED_S)
    if act.run_state() != "running":
        raise AssertionError(f"{act.dag_id}: the run went on while its DAG was paused")
    act.do(lambda: act.stack.api.unpause(act.dag_id))


def _miss_the_deadline(act: Act) -> None:
    act.until(WAIT, "failed")
    act.until_ended()
    act.until_decided()
    act.do(lambda: act.stack.api.clear_with_downstream(act.dag_id, _RUN, WAIT))


def _delete(task_id: str, state: str, act: Act) -> None:
    act.until(task_id, state)
    act.do(lambda: act.stack.api.mark_run(act.dag_id, _RUN, "failed"))
    act.do(lambda: act.stack.api.delete_run(act.dag_id, _RUN))


def _delete_after_success(act: Act) -> None:
    act.checker_is_there = True
    act.until_ended()
    act.do(lambda: act.stack.api.delete_run(act.dag_id, _RUN))


def deeds() -> tuple[Deed, ...]:
    """All of them."""
    return (
        *(Deed(f"clear {task} while it runs", partial(_clear, task, "running")) for task in TASKS),
        Deed("clear wait while it is deferred", partial(_clear, WAIT, "deferred")),
        Deed("clear submit while wait is deferred", _clear_submit_while_wait_is_deferred),
        *(Deed(f"clear {task} after success", partial(_clear_after_success, task)) for task in TASKS),
        Deed("clear everything after success", _clear_all_after_success),
        *(
            Deed(f"mark {task} {word} while it is {state}", partial(_mark, task, state, word), ends=None)
            for word in ("success", "failed")
            for task, state in ((EXTRACT, "running"), (SUBMIT, "running"), (WAIT, "deferred"))
        ),
        *(
            Deed(f"mark the run {word} while {task} is {state}", partial(_mark_run, task, state, word), ends=None)
            for word in ("success", "failed")
            for task, state in ((SUBMIT, "running"), (WAIT, "deferred"))
        ),
        Deed("pause and unpause while wait is deferred", _pause_while_deferred),
        Deed("miss the deadline, then clear wait", _miss_the_deadline, deadline_s=SHORT_DEADLINE_S),
        Deed("delete the run while submit runs", partial(_delete, SUBMIT, "running"), ends=None),
        Deed("delete the run while wait is deferred", partial(_delete, WAIT, "deferred"), ends=None),
        Deed("delete the run after success", _delete_after_success, ends=None),
    )


def campaigns_of(wanted: Sequence[Deed], first_number: int) -> list[Campaign]:
    """A campaign for each deed."""
    return [
        Campaign(f"people_{number}", number, deadline_s=deed.deadline_s)
        for number, deed in enumerate(wanted, start=first_number)
    ]


def play(
    stack: Stack, wanted: Sequence[Deed], campaigns: Sequence[Campaign], tell: Callable[[str], None]
) -> list[Done]:
    """Do every deed, each followed by later runs, and judge each campaign by the books."""
    # Every call takes longer, so that a task is met while it runs.
    stack.sandbox.patch("/_sandbox/switches", json={"latency_s": 0.3}).raise_for_status()

    stopping = Event()

    def one(deed: Deed, campaign: Campaign) -> Done:
        done = _do(Act(stack, campaign, stopping), deed)
        tell(f"{deed.name}: {'; '.join(done.broken) or 'all holds'}")
        return done

    with ThreadPoolExecutor(len(wanted)) as threads:
        try:
            return list(threads.map(one, wanted, campaigns))
        finally:
            stopping.set()


def _do(act: Act, deed: Deed) -> Done:
    try:
        act.trigger(_RUN, REQUESTS)
        deed.act(act)
        act.checker_is_there = True
        act.until_ended()
        run_state = act.run_state()
        # Nobody touches anything from here on: later runs come as scheduled ones would.
        act.until_settled()
        _run_later(act)
    except (TimeoutError, AssertionError, RequestRejectedError) as error:
        return Done(deed.name, act.run_state(), (str(error), *judge(act.stack, {act.dag_id}).broken))
    broken = list(judge(act.stack, {act.dag_id}).broken)
    if deed.ends is not None and run_state != deed.ends:
        broken.append(f"the run ended as {run_state}, not as {deed.ends}")
    return Done(deed.name, run_state, tuple(broken))


def _run_later(act: Act) -> None:
    """Let later runs take what the first one gave back, or what lies there under a lease that is over."""
    for number in range(LATER_RUNS):
        act.age_lease()
        if act.dag_id not in unplanned(act.stack) and not open_requests(act.stack, {act.dag_id}):
            return
        act.trigger(f"later-{number}", 0)
        act.until_ended(f"later-{number}")
        act.until_settled()
