"""The storm: runs that overlap, kills, faults; then quiet, the last runs, and the judgement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Protocol

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from capillary.ledger.errors import LedgerUnavailable
from local_airflow.airflow_api import ApiSilentError, RequestRejectedError, TaskRow
from tests.fire.agenda import Agenda
from tests.fire.airflow import FireApi
from tests.fire.campaigns import Campaign
from tests.fire.judge import Judged, Judgement, judge, open_requests, unplanned
from tests.fire.weather import Weather

CAMPAIGNS = 5
#: The automatic checker decides so many seconds after a request arrived.
CHECKER_DELAY_S = 45.0
#: Seconds between two runs that are triggered.
TRIGGER_PAUSE_S = (6.0, 20.0)
#: Seconds for a campaign's last run to be triggered after nothing has moved: what is in doubt may need a later
#: request as its control, and would wait an hour for want of one.
STILL_S = 90.0
QUIET_LIMIT_S = 1_500.0
#: Requests of a last run, and rounds of last runs.
LAST_REQUESTS = 2
LAST_ROUNDS = 4
_LOOK_S = 3.0

_ENDED = "('success', 'failed')"


class Stormed(Judged, Protocol):
    """Over what it rages: `tests.fire.stack.Stack` and `tests.cluster.cluster.Cluster` have it."""

    @property
    def airflow(self) -> Engine:
        """Airflow's metadata."""

    @property
    def api(self) -> FireApi:
        """Airflow's REST API."""

    def answers(self) -> bool:
        """Whether that API answers."""


class Killing(Protocol):
    """Who kills: `tests.fire.kills.Killer` kills processes, `tests.cluster.kills` containers."""

    counts: Counter[str]

    @property
    def is_over(self) -> bool:
        """Whether nobody dies any more and everything was started anew."""

    def begin(self) -> None:
        """Let the first one die after a pause."""


@dataclass(frozen=True, slots=True)
class Order:
    """How large a storm is: kills, requests before the last runs, and the seed of every draw."""

    kills: int
    requests: int
    seed: int

    @property
    def runs_per_campaign(self) -> int:
        """Runs of one campaign that overlap."""
        return 4 if self.requests >= 100 else 2

    @property
    def requests_per_run(self) -> int:
        """Requests of one run."""
        return -(-self.requests // (CAMPAIGNS * self.runs_per_campaign))


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that ended as failed for good; `said` is the last error of its log."""

    dag_id: str
    run_id: str
    task_id: str
    tries: int
    said: str


@dataclass(frozen=True, slots=True)
class Storm:
    """What came of it.

    Attributes:
        kills: by victim.
        faults: of the platform, by route.
        runs: of the campaigns, by their last state.
        most_open: the most requests that were open at one moment.
        failed: tasks that failed for good, the housekeeping's apart.
        failed_upkeep: those of the housekeeping, whose next run does the work.
        judgement: by the books.
        minutes: with fire, and until it was quiet.
        reached_quiet: whether everything had ended by the limit.
    """

    kills: Mapping[str, int]
    faults: Mapping[str, int]
    runs: Mapping[str, int]
    most_open: int
    failed: Sequence[FailedTask]
    failed_upkeep: Sequence[FailedTask]
    judgement: Judgement
    minutes: tuple[float, float]
    reached_quiet: bool


def storm(
    stack: Stormed,
    campaigns: Sequence[Campaign],
    order: Order,
    killing: Callable[[Agenda, Random], Killing],
    tell: Callable[[str], None],
) -> Storm:
    """Let it rage over a stack whose campaigns have not run yet, and judge them.

    Args:
        stack: with the campaigns loaded.
        campaigns: all of them are run.
        order: how large.
        killing: makes the one who kills, on this agenda and by these draws.
        tell: takes one line for each event.
    """
    random = Random(order.seed)  # noqa: S311 - a seed replays the draws
    agenda = Agenda()
    killer = killing(agenda, random)
    weather = Weather(stack, agenda, random)
    wanted = [(campaign, number) for number in range(order.runs_per_campaign) for campaign in campaigns]
    triggers = _Triggers(stack, agenda, random, wanted, order.requests_per_run, tell)
    began = time.monotonic()
    watched = _Watched(stack, agenda, tell)
    triggers.begin()
    weather.begin()
    killer.begin()
    watched.begin()
    agenda.run(lambda: killer.is_over and triggers.is_over)
    weather.clear()
    fire_s = time.monotonic() - began
    tell(f"quiet after {fire_s / 60:.1f} min")
    reached = _quiet(stack, campaigns, tell)
    failed = _failed_tasks(stack)
    names = {campaign.name for campaign in campaigns}
    return Storm(
        kills=killer.counts,
        faults=weather.counts,
        runs=_runs(stack, names),
        most_open=watched.most_open,
        failed=[task for task in failed if task.dag_id in names],
        failed_upkeep=[task for task in failed if task.dag_id not in names],
        judgement=judge(stack, names),
        minutes=(fire_s / 60, (time.monotonic() - began - fire_s) / 60),
        reached_quiet=reached,
    )


class _Triggers:
    """Triggers one run after the other, each after its campaign's warehouse has grown."""

    def __init__(
        self,
        stack: Stormed,
        agenda: Agenda,
        random: Random,
        wanted: Sequence[tuple[Campaign, int]],
        requests: int,
        tell: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._agenda = agenda
        self._random = random
        self._wanted = list(reversed(wanted))
        self._requests = requests
        self._tell = tell

    @property
    def is_over(self) -> bool:
        return not self._wanted

    def begin(self) -> None:
        self._agenda.later(0, self._grow)

    def _grow(self) -> None:
        self._stack.warehouse.grow(self._wanted[-1][0], self._requests)
        self._trigger()

    def _trigger(self) -> None:
        campaign, number = self._wanted[-1]
        try:
            self._stack.api.trigger_as(campaign.name, f"storm-{number}")
        except (ApiSilentError, RequestRejectedError):
            self._agenda.later(1, self._trigger)
            return
        self._wanted.pop()
        self._tell(f"triggered {campaign.name} storm-{number}")
        if self._wanted:
            self._agenda.later(self._random.uniform(*TRIGGER_PAUSE_S), self._grow)


class _Watched:
    """Looks at the ledger now and then."""

    def __init__(self, stack: Stormed, agenda: Agenda, tell: Callable[[str], None]) -> None:
        self._stack = stack
        self._agenda = agenda
        self._tell = tell
        self._looks = 0
        self.most_open = 0

    def begin(self) -> None:
        with suppress(OperationalError, LedgerUnavailable):  # the database may be among the dead
            self._look()
        self._agenda.later(_LOOK_S, self.begin)

    def _look(self) -> None:
        still_open = open_requests(self._stack)
        self.most_open = max(self.most_open, still_open)
        self._looks += 1
        if self._looks % 10 == 0:
            self._tell(f"{still_open} requests open; {_standing(self._stack)}")


def _quiet(stack: Stormed, campaigns: Sequence[Campaign], tell: Callable[[str], None]) -> bool:
    """Wait until every run has ended and nothing is open; trigger the last runs. Whether it came to that."""
    deadline = time.monotonic() + QUIET_LIMIT_S
    rounds = 0
    before: object = None
    moved = time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        now = (unfinished := _unfinished(stack, campaigns), still_open := open_requests(stack), _standing(stack))
        if now != before:
            before, moved = now, time.monotonic()
            tell(f"{unfinished} runs not ended, {still_open} requests open; {now[2]}")
        is_over = not unfinished and not still_open
        left = unplanned(stack).intersection(campaign.name for campaign in campaigns)
        if is_over and rounds and not left:
            return True
        if rounds < LAST_ROUNDS and (is_over or (not rounds and time.monotonic() - moved > STILL_S)):
            # The first round grows every warehouse; later ones take what a failed run gave back.
            _trigger_last(stack, campaigns if not rounds else _named(campaigns, left), rounds)
            rounds += 1
            moved = time.monotonic()
    return False


def _trigger_last(stack: Stormed, campaigns: Sequence[Campaign], number: int) -> None:
    for campaign in campaigns:
        if not number:
            stack.warehouse.grow(campaign, LAST_REQUESTS)
        for _ in range(60):
            try:
                stack.api.trigger_as(campaign.name, f"last-{number}")
                break
            except ApiSilentError:
                time.sleep(1)


def _named(campaigns: Sequence[Campaign], names: set[str]) -> list[Campaign]:
    return [campaign for campaign in campaigns if campaign.name in names]


def _unfinished(stack: Stormed, campaigns: Sequence[Campaign]) -> int:
    with stack.airflow.connect() as conn:
        return int(
            conn.execute(
                text(f"SELECT count(*) FROM dag_run WHERE dag_id = ANY(:names) AND state NOT IN {_ENDED}"),  # noqa: S608 - words of this module
                {"names": [campaign.name for campaign in campaigns]},
            ).scalar_one()
        )


def _runs(stack: Stormed, names: set[str]) -> Mapping[str, int]:
    with stack.airflow.connect() as conn:
        states = conn.execute(text("SELECT state FROM dag_run WHERE dag_id = ANY(:names)"), {"names": sorted(names)})
        return Counter(states.scalars())


def _standing(stack: Stormed) -> str:
    """How many tasks stand where, those of ended runs left out."""
    with stack.airflow.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT t.task_id || ' ' || coalesce(t.state, 'none') AS standing, count(*) AS tasks "  # noqa: S608 - words of this module
                "FROM task_instance t JOIN dag_run d ON d.dag_id = t.dag_id AND d.run_id = t.run_id "
                f"WHERE d.state NOT IN {_ENDED} AND t.state IS NOT NULL AND t.state <> 'success' "
                "AND d.dag_id <> 'badge_upkeep' GROUP BY 1 ORDER BY 1"
            )
        )
        return ", ".join(f"{row.tasks} {row.standing}" for row in rows)


def _failed_tasks(stack: Stormed) -> list[FailedTask]:
    with stack.airflow.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT dag_id, run_id, task_id, try_number FROM task_instance WHERE state = 'failed' "
                "ORDER BY start_date"
            )
        ).all()
    return [FailedTask(row.dag_id, row.run_id, row.task_id, row.try_number, _last_error(stack, *row)) for row in rows]


def _last_error(stack: Stormed, dag_id: str, run_id: str, task_id: str, tries: int) -> str:
    """The last error in a task's log; what killed it may have left none."""
    task = TaskRow(task_id=task_id, state="failed", started=None, ended=None, tries=tries)
    try:
        lines = stack.api.log_lines(dag_id, run_id, task)
    except ApiSilentError:
        return "its log cannot be read"
    errors = [line for line in lines if " ERROR " in f" {line} "]
    return errors[-1].replace("\n", " ") if errors else "no error in its log"
