"""Watching one run: its tasks, and how many requests wait for the checker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from capillary.counted import counted
from capillary.ledger.reports import RunProgress
from local_airflow.airflow_api import UNFINISHED, AirflowApi, ApiSilentError, RunState, TaskRow

#: Rows of a campaign's grid, in their order. Tasks of other DAGs come after them, by their start.
CAMPAIGN_TASKS = ("extract_eligible_customers", "submit", "wait", "report")

POLL_INTERVAL_S = 1.0
#: Looks in a row without an answer: a busy machine may delay one or two.
SILENT_LOOKS_LIMIT = 5

STYLES = {
    "success": "green",
    "skipped": "bright_black",
    "running": "cyan",
    "deferred": "magenta",
    "failed": "bold red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
}


def progress_sentence(progress: RunProgress) -> str:
    """Return one line for a person: where a run's requests are."""
    if not progress.requests:
        return "no requests yet"
    parts = [
        f"{progress.planned:,} to send" if progress.planned else "",
        f"{progress.sending:,} being sent" if progress.sending else "",
        f"{progress.waiting:,} waiting for the checker",
        f"{progress.decided:,} decided",
        f"{progress.settled:,} settled",
    ]
    return f"{counted(progress.requests, 'request')}: " + ", ".join(part for part in parts if part)


class Counting(Protocol):
    """Looks a run's requests up in the ledger; all zero where the ledger does not know the run."""

    def __call__(self, dag_id: str, run_id: str) -> RunProgress:
        """Count them now."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended."""

    dag_id: str
    run_id: str
    state: RunState
    tasks: Sequence[TaskRow]

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first task's start to the last task's end; None where no task has run."""
        starts = [task.started for task in self.tasks if task.started]
        ends = [task.ended for task in self.tasks if task.ended]
        return (max(ends) - min(starts)).total_seconds() if starts and ends else None

    @property
    def failed_task(self) -> TaskRow | None:
        """The task that failed first, if one did."""
        failed = [task for task in self.tasks if task.state == "failed"]
        return min(failed, key=lambda task: task.ended or datetime.max.replace(tzinfo=UTC), default=None)


class Display(Protocol):
    """Shows a run while it goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, tasks: Sequence[TaskRow], progress: RunProgress) -> None:
        """Take the present state."""


class PlainDisplay:
    """One line for each change: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str | None] = {}
        self._progress = RunProgress()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy."""

    def show(self, tasks: Sequence[TaskRow], progress: RunProgress) -> None:
        """Print what is new."""
        for task in tasks:
            if task.state and self._states.get(task.task_id) != task.state:
                self._states[task.task_id] = task.state
                self._console.print(f"{task.task_id}: {task.state}")
        if progress != self._progress:
            self._progress = progress
            self._console.print(progress_sentence(progress))


class LiveDisplay:
    """A table that is drawn again in place: for terminals."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)
        self._spinner = Spinner("dots")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, tasks: Sequence[TaskRow], progress: RunProgress) -> None:
        """Draw the state."""
        table = Table.grid(padding=(0, 2))
        for task in tasks:
            table.add_row(*self._row(task))
        self._live.update(Group(table, Text(f"  {progress_sentence(progress)}", style="bold")))

    def _row(self, task: TaskRow) -> tuple[RenderableType, ...]:
        state = task.state or "-"
        going_on = task.started is not None and task.ended is None and task.state in {"running", "deferred"}
        until = task.ended or datetime.now(UTC)
        seconds = f"{(until - task.started).total_seconds():.0f} s" if task.started else ""
        mark: RenderableType = self._spinner if going_on else Text(" ")
        return mark, Text(task.task_id), Text(state, style=STYLES.get(state, "")), Text(seconds)


def display_for(console: Console) -> Display:
    """A live table on a terminal, plain lines elsewhere."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def follow(
    api: AirflowApi,
    dag_id: str,
    run_id: str,
    *,
    display: Display,
    counting: Counting,
    between_looks: Callable[[], None],
) -> FinishedRun:
    """Show a run until it has ended.

    Args:
        api: the Airflow that has it.
        dag_id: its DAG.
        run_id: its id.
        display: shows it.
        counting: looks up its requests.
        between_looks: waits, and raises where there is nothing left to wait for.

    Raises:
        ApiSilentError: no answer five times in a row.
    """
    silent = 0
    with display:
        while True:
            try:
                # The state is read before the tasks: after the end these are the final ones.
                state = api.run_state(dag_id, run_id)
                tasks = in_order(api.tasks(dag_id, run_id))
            except ApiSilentError:
                silent += 1
                if silent == SILENT_LOOKS_LIMIT:
                    raise
                between_looks()
                continue
            silent = 0
            display.show(tasks, counting(dag_id, run_id))
            if state not in UNFINISHED:
                return FinishedRun(dag_id, run_id, state, tasks)
            between_looks()


def in_order(tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """A campaign's tasks in the order of its grid, then others by their start."""
    ranks = {name: rank for rank, name in enumerate(CAMPAIGN_TASKS)}
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(tasks, key=lambda task: (ranks.get(task.task_id, len(ranks)), task.started or never))
