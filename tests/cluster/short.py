"""The short form: canary and rest, a worker killed, a worker rolled out, the API server restarted, in mid-submit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.cluster.cluster import EXAMPLE, Cluster
from tests.cluster.engine import Health
from tests.fire.campaigns import Campaign
from tests.fire.judge import Judgement, judge

REQUESTS: Final = 12
KILLED: Final = Campaign("cluster_killed", 1)
ROLLED: Final = Campaign("cluster_rolled", 2)
RESTARTED: Final = Campaign("cluster_restarted", 3)
CAMPAIGNS: Final = (KILLED, ROLLED, RESTARTED)
RUN: Final = "cluster"
#: Every call takes so many seconds more while something is to happen in mid-submit.
_SLOW_S: Final = 2.0
_CHECKER_DELAY_S: Final = 3.0
_LIMIT_S: Final = 420.0
_ENDED: Final = frozenset({"success", "failed"})


@dataclass(slots=True)
class Short:
    """What came of it.

    Attributes:
        seconds: of each step, in order.
        runs: states by DAG and run.
        tries: of `submit`, by campaign.
        exit_code: of the worker that was asked to end.
        judgement: by the books.
    """

    seconds: dict[str, float]
    runs: Mapping[tuple[str, str], str]
    tries: Mapping[str, int]
    exit_code: int | None
    judgement: Judgement

    @property
    def broken(self) -> list[str]:
        """What does not hold, in sentences; none is the only good answer."""
        said = list(self.judgement.broken)
        said += [f"{dag} {run} ended as {state}" for (dag, run), state in self.runs.items() if state != "success"]
        if self.exit_code != 0:
            said.append(f"the worker that was asked to end did so with {self.exit_code}")
        expected = {KILLED.name: 2, ROLLED.name: 1, RESTARTED.name: 1}
        for name, tries in expected.items():
            if self.tries[name] != tries:
                said.append(f"{name}: submit took {self.tries[name]} tries in place of {tries}")
        return said


def short(cluster: Cluster, tell: Callable[[str], None]) -> Short:
    """Do it over a cluster in which nothing has run yet, and judge.

    Args:
        cluster: with `CAMPAIGNS` in its image.
        tell: takes one line for each event.
    """
    clock = _Clock(tell)
    for campaign in CAMPAIGNS:
        cluster.warehouse.grow(campaign, REQUESTS)
    cluster.switch(checker="automatic", delay_s=_CHECKER_DELAY_S)
    cluster.await_campaigns([EXAMPLE, *(campaign.name for campaign in CAMPAIGNS)])
    clock.done("campaigns loaded and unpaused")

    cluster.switch(latency_s=_SLOW_S)
    cluster.trigger(KILLED.name, RUN)
    worker = cluster.await_mid_submit(KILLED, REQUESTS)
    worker.container.kill()
    killed_at = time.monotonic()
    clock.done(f"{worker.container.name} killed in mid-submit")

    cluster.switch(latency_s=0)
    cluster.trigger(EXAMPLE, "canary")
    _await_runs(cluster, [(EXAMPLE, "canary")])
    clock.done("canary run")
    cluster.trigger(EXAMPLE, "rest")

    cluster.switch(latency_s=_SLOW_S)
    cluster.trigger(ROLLED.name, RUN)
    worker = cluster.await_mid_submit(ROLLED, REQUESTS)
    took = worker.stop()
    exit_code = worker.container.exit_code
    clock.seconds["worker: from SIGTERM to its end"] = took
    worker.start()
    clock.done(f"{worker.container.name} rolled out in mid-submit, {took:.0f} s to its end")

    cluster.trigger(RESTARTED.name, RUN)
    cluster.await_mid_submit(RESTARTED, REQUESTS)
    server = cluster.containers.one("airflow-apiserver")
    began = time.monotonic()
    server.stop()
    server.start()
    cluster.until(cluster.answers, "the API server answers")
    clock.seconds["API server: from SIGTERM to its answer"] = time.monotonic() - began
    clock.done("API server restarted in mid-submit")

    cluster.switch(latency_s=0)
    cluster.until(lambda: cluster.task(KILLED.name, "submit")[1] > 1, "the lost task is tried again", _LIMIT_S)
    clock.seconds["lost worker: until its task is tried again"] = time.monotonic() - killed_at
    clock.done("the killed worker's task is tried again")
    _await_runs(cluster, [(EXAMPLE, "rest"), *((campaign.name, RUN) for campaign in CAMPAIGNS)])
    clock.done("all runs")
    cluster.until(lambda: all(member.is_up for member in cluster.containers), "all healthy again")
    clock.done("all healthy again")
    return Short(
        seconds=clock.seconds,
        runs=cluster.run_states(),
        tries={campaign.name: cluster.task(campaign.name, "submit")[1] for campaign in CAMPAIGNS},
        exit_code=exit_code,
        judgement=judge(cluster),
    )


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


__all__ = ["CAMPAIGNS", "Health", "Short", "short"]
