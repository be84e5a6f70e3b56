"""The short form: canary and rest, a worker killed, a worker rolled out, the API server restarted, in mid-submit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from capillary.ledger.schema import badge_request
from capillary.ledger.status import RequestStatus
from sandbox.faults import FaultKind, Route, When
from tests.cluster import pods
from tests.cluster.cluster import EXAMPLE, Cluster
from tests.cluster.engine import Supervised
from tests.fire.campaigns import Campaign
from tests.fire.judge import Judgement, judge

REQUESTS: Final = 12
#: Beside the secrets. Two workers with eight processes each would take more memory than CI is to take.
SETTINGS: Final = {"AIRFLOW_WORKER_CONCURRENCY": "4"}
KILLED: Final = Campaign("cluster_killed", 1)
ROLLED: Final = Campaign("cluster_rolled", 2)
RESTARTED: Final = Campaign("cluster_restarted", 3)
CAMPAIGNS: Final = (KILLED, ROLLED, RESTARTED, pods.CAMPAIGN)
RUN: Final = "cluster"
CANARY: Final = "canary"
REST: Final = "rest"
#: Each POST of these campaigns but the first, which goes alone, is answered so many seconds after it was taken: time
#: for something in mid-submit. The kill must find requests on their way, on a busy machine as well.
_ANSWER_S: Final = 6.0
_KILL_ANSWER_S: Final = 15.0
_FIRST_ANSWER_S: Final = 0.1
#: Longer than it takes a task to begin: `wait` looks once, and is deferred. Shorter for the last run, to save its time.
_CHECKER_DELAY_S: Final = 25.0
_LAST_DELAY_S: Final = 1.0
#: In place of a minute, for the killed worker's task.
_RETRY_S: Final = 5
_LIMIT_S: Final = 420.0
_ENDED: Final = frozenset({"success", "failed"})


@dataclass(slots=True)
class Short:
    """What came of it.

    Attributes:
        seconds: of each step, in order.
        runs: states by DAG and run.
        tries: of `submit`, by campaign.
        deferred: jobs of triggerers by run, for those that must have been deferred.
        in_doubt: requests that the killed worker had on their way.
        pods: exit codes of the tasks that ran in pods.
        pods_write: folders that a pod could write to.
        exit_code: of the worker that was asked to end.
        judgement: by the books.
    """

    seconds: dict[str, float]
    runs: Mapping[tuple[str, str], str]
    tries: Mapping[str, int]
    deferred: Mapping[str, Collection[str]]
    in_doubt: int
    pods: Mapping[str, int]
    pods_write: Sequence[str]
    exit_code: int | None
    judgement: Judgement

    @property
    def broken(self) -> list[str]:
        """What does not hold, in sentences; none is the only good answer."""
        said = list(self.judgement.broken)
        said += [f"{dag} {run} ended as {state}" for (dag, run), state in self.runs.items() if state != "success"]
        if self.exit_code != 0:
            said.append(f"the worker that was asked to end did so with {self.exit_code}")
        if not self.in_doubt:
            said.append("the killed worker had no request on its way: it was killed too late")
        said += [f"{run} was never deferred" for run, triggerers in self.deferred.items() if not triggerers]
        if self.pods_write != ["/tmp", "/opt/airflow/logs"]:  # noqa: S108 - in the pod
            said.append(f"a pod could write to {', '.join(self.pods_write)}")
        # Plan, submit, wait until it is deferred and after that, report.
        if len(self.pods) != 5 or any(self.pods.values()):
            said.append(f"the pods ended otherwise than five times with 0: {dict(self.pods)}")
        # The API server's restart may cost a try on a slow machine: a supervisor gives up after three heartbeats.
        if self.tries[KILLED.name] < 2 or self.tries[ROLLED.name] != 1:
            said.append(f"submit was not tried again after the kill, or in the roll-out: {dict(self.tries)}")
        return said


def write_killed(folder: Path) -> None:
    """Write the campaign whose worker is killed, with a short retry delay: it is Airflow's own, and costs a minute.

    What is looked at is when the task is found lost, and what its next try does.
    """
    KILLED.write(folder)
    file = folder / f"{KILLED.name}.py"
    file.write_text(f"{file.read_text()}for task in dag.tasks:\n    task.retry_delay = timedelta(seconds={_RETRY_S})\n")


def write_example(folder: Path) -> None:
    """Take the example campaign off its schedule: at 06:00 UTC a run of its own would come before the canary."""
    file = folder / f"{EXAMPLE}.py"
    text = file.read_text()
    unscheduled = re.sub(r"schedule=\".*\"", "schedule=None", text)
    if unscheduled == text:
        raise ValueError(f"{file.name} has no schedule any more: change what is replaced here")
    file.write_text(unscheduled)


def short(cluster: Cluster, tell: Callable[[str], None]) -> Short:
    """Do it over a cluster in which nothing has run yet, and judge.

    Args:
        cluster: with `CAMPAIGNS` in its image.
        tell: takes one line for each event.
    """
    with pods.Pods(cluster, tell) as running:
        return _incidents(cluster, running, _Clock(tell))


def _incidents(cluster: Cluster, running: pods.Pods, clock: _Clock) -> Short:
    pods_write = pods.writable(cluster)
    for campaign in CAMPAIGNS:
        cluster.warehouse.grow(campaign, REQUESTS)
    cluster.switch(checker="automatic", delay_s=_CHECKER_DELAY_S)
    cluster.await_campaigns([EXAMPLE, *(campaign.name for campaign in CAMPAIGNS)])
    clock.done("campaigns loaded and unpaused")

    worker = _mid_submit(cluster, KILLED, _KILL_ANSWER_S)
    # Whoever reads the list just then sees those that have arrived; the next ones are sent after their answers.
    cluster.until(lambda: _in_doubt(cluster) > 0, f"requests of {KILLED.name} are on their way")
    in_doubt = _in_doubt(cluster)
    worker.container.kill()
    killed_at = datetime.now(UTC)
    clock.done(f"{worker.container.name} killed in mid-submit")

    # Long before the lost task is tried again, and before any pod: what begins while the server is away ends at once.
    _mid_submit(cluster, RESTARTED)
    server = cluster.containers.one("airflow-apiserver")
    began = time.monotonic()
    server.stop()
    server.start()
    cluster.until(cluster.answers, "the API server answers")
    clock.seconds["API server: from SIGTERM to its answer"] = time.monotonic() - began
    clock.done("API server restarted in mid-submit")

    cluster.trigger(pods.CAMPAIGN.name, RUN)
    cluster.trigger(EXAMPLE, CANARY)
    worker = _mid_submit(cluster, ROLLED)
    took = worker.stop()
    exit_code = worker.container.exit_code
    clock.seconds["worker: from SIGTERM to its end"] = took
    worker.start()
    clock.done(f"{worker.container.name} rolled out in mid-submit")

    _await_runs(cluster, [(EXAMPLE, CANARY)])
    cluster.trigger(EXAMPLE, REST)
    clock.done("canary run ended, the rest triggered")
    cluster.until(
        lambda: (cluster.queued_at(KILLED.name, "submit") or killed_at) > killed_at,
        "the lost task is queued again",
        _LIMIT_S,
    )
    queued_at = cluster.queued_at(KILLED.name, "submit") or killed_at
    clock.seconds["lost worker: until its task is queued again"] = (queued_at - killed_at).total_seconds()
    cluster.switch(delay_s=_LAST_DELAY_S)
    clock.done("the killed worker's task is queued again")
    _await_runs(cluster, [(EXAMPLE, REST), *((campaign.name, RUN) for campaign in CAMPAIGNS)])
    clock.done("all runs ended")
    cluster.until(lambda: all(member.is_up for member in cluster.containers), "all healthy again")
    clock.done("all healthy again")
    deferred = [(EXAMPLE, CANARY), (ROLLED.name, RUN), (pods.CAMPAIGN.name, RUN)]
    return Short(
        seconds=clock.seconds,
        runs=cluster.run_states(),
        tries={campaign.name: cluster.task(campaign.name, "submit")[1] for campaign in CAMPAIGNS},
        deferred={f"{dag} {run}": cluster.triggerers(dag, run) for dag, run in deferred},
        in_doubt=in_doubt,
        pods=running.ended,
        pods_write=pods_write,
        exit_code=exit_code,
        judgement=judge(cluster),
    )


def _mid_submit(cluster: Cluster, campaign: Campaign, answer_s: float = _ANSWER_S) -> Supervised:
    """Trigger a run and wait until it has sent some of its requests; returns the worker that sends."""
    cluster.sandbox.delete("/_sandbox/faults").raise_for_status()
    for seconds in [_FIRST_ANSWER_S, *[answer_s] * (REQUESTS - 1)]:
        slow = {"route": Route.SUBMIT, "kind": FaultKind.DELAY, "when": When.AFTER, "seconds": seconds}
        cluster.sandbox.post("/_sandbox/faults", json=slow).raise_for_status()
    cluster.trigger(campaign.name, RUN)
    return cluster.await_mid_submit(campaign)


def _in_doubt(cluster: Cluster) -> int:
    """How many requests were begun and have no answer."""
    with cluster.ledger.read() as tx:
        begun = select(func.count()).where(badge_request.c.status == RequestStatus.SENDING)
        return int(tx.conn.execute(begun).scalar_one())


def _await_runs(cluster: Cluster, wanted: list[tuple[str, str]]) -> None:
    def ended() -> bool:
        states = cluster.run_states()
        return all(states.get(each) in _ENDED for each in wanted)

    cluster.until(ended, f"ended: {wanted}", _LIMIT_S)


class _Clock:
    """Notes how long each step took."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def done(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = now - self._last
        self._tell(f"{step} ({now - self._last:.0f} s)")
        self._last = now
