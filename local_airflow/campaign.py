"""One campaign in a local Airflow, from its file to its verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import PurePath

from rich.console import Console
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from capillary.errors import TransientError
from capillary.ledger.reports import RunProgress, run_progress
from capillary.ledger.runs import open_requests
from local_airflow.airflow_api import AirflowApi, RequestRejectedError, RunState
from local_airflow.errors import CampaignUnavailableError, LocalAirflowError
from local_airflow.follow import POLL_INTERVAL_S, Counting, FinishedRun, display_for, follow
from local_airflow.home import Home
from local_airflow.summary import Report, print_report
from local_airflow.unpaused import unpaused

POOL = "capillary"
POOL_SLOTS = 4
REPORT_TASK = "report"
#: The DAG that finishes what failed runs left.
UPKEEP = "badge_upkeep"

#: Seconds for all files of the folder to be loaded, and for the others once the first of them is there.
LOAD_LIMIT_S = 90.0
LOAD_REST_S = 45.0
LOG_LINES = 20
#: Lines by which the UI folds a log.
FOLD_MARKS = ("::group::", "::endgroup::")
_TICK_S = 0.3


class CampaignRun:
    """Runs a campaign and judges it.

    Args:
        api: the Airflow that runs it.
        dag_id: the campaign's name.
        console: for people.
        counting: looks up a run's requests.
        home: keeps what has to be paused again.
        left_open: how many requests of earlier runs are not settled.
        pause: waits so many seconds; raises when somebody interrupts or a process died.
    """

    def __init__(
        self,
        api: AirflowApi,
        dag_id: str,
        *,
        console: Console,
        counting: Counting,
        home: Home,
        left_open: Callable[[], int],
        pause: Callable[[float], None],
    ) -> None:
        self._api = api
        self._dag_id = dag_id
        self._console = console
        self._counting = counting
        self._home = home
        self._left_open = left_open
        self._pause = pause
        self._began = datetime.now(UTC)

    def await_loaded(self) -> None:
        """Wait until Airflow has loaded the campaign's file again.

        Raises:
            CampaignUnavailableError: it cannot be loaded, or is not there.
        """
        deadline = time.monotonic() + LOAD_LIMIT_S
        rest_by: float | None = None
        with self._console.status(f"waiting for the campaign {self._dag_id} to be loaded"):
            while True:
                dag = self._api.dag(self._dag_id)
                failures = self._api.import_failures()
                for failure in failures:
                    if PurePath(failure.file).stem == self._dag_id or (dag and _same(failure.file, dag.file)):
                        raise CampaignUnavailableError(
                            f"{self._dag_id} cannot be loaded: fix {failure.file}\n{failure.trace}"
                        )
                # A DAG of an earlier start may be on record while its file is gone or broken by now.
                if dag and not dag.stale and dag.parsed_at and dag.parsed_at >= self._began:
                    return
                now = time.monotonic()
                if rest_by is None and (failures or self._fresh_dags()):
                    rest_by = now + LOAD_REST_S
                if now > min(deadline, rest_by or deadline):
                    raise CampaignUnavailableError(self._not_found())
                self._pause(_TICK_S)

    def run(self, conf: Mapping[str, object]) -> Report | None:
        """Trigger it, follow it and print what came of it; after a canary that came through the rest too.

        Returns the last run's report; None where it did not succeed.

        Raises:
            CampaignUnavailableError: Airflow does not accept the parameters.
        """
        self._api.ensure_pool(POOL, slots=POOL_SLOTS, description="Tasks that call the loyalty platform")
        with unpaused(self._api, self._dag_id, self._home):
            return self._run(conf)

    def _run(self, conf: Mapping[str, object]) -> Report | None:
        for run_id in self._api.unfinished_manual_runs(self._dag_id):
            self._console.print(f"an earlier run has not ended: following {run_id} first")
            self._follow(run_id)
        self._keep_house()
        report = self._run_once(conf)
        if report and report.canary_passed and report.left_over:
            self._console.print(
                f"\nthe canary came through and left {report.left_over:,}: a second run follows",
                style="bold",
            )
            report = self._run_once(conf)
        return report

    def _keep_house(self) -> None:
        """Have what failed runs left settled: no schedule does it here, and an open canary keeps everybody back."""
        left = self._left_open()
        upkeep = self._api.dag(UPKEEP) if left else None
        if upkeep is None or upkeep.paused:
            return
        whose = "1 request of an earlier run is" if left == 1 else f"{left:,} requests of earlier runs are"
        self._console.print(f"{whose} open: {UPKEEP} looks first what became of it")
        self._follow(self._api.trigger(UPKEEP, {}), dag_id=UPKEEP)

    def _run_once(self, conf: Mapping[str, object]) -> Report | None:
        try:
            run_id = self._api.trigger(self._dag_id, conf)
        except RequestRejectedError as error:
            raise CampaignUnavailableError(
                f"{self._dag_id} does not start with PARAMS={dict(conf)}: {error.detail}"
            ) from error
        self._console.print(f"run {run_id}", style="bold")
        return self._conclude(self._follow(run_id))

    def _follow(self, run_id: str, *, dag_id: str | None = None) -> FinishedRun:
        return follow(
            self._api,
            dag_id or self._dag_id,
            run_id,
            display=display_for(self._console),
            counting=self._counting,
            between_looks=lambda: self._pause(POLL_INTERVAL_S),
        )

    def _conclude(self, run: FinishedRun) -> Report | None:
        """Print a run's report, or why there is none; None where it did not succeed."""
        returned = self._api.returned(self._dag_id, run.run_id, REPORT_TASK)
        report = Report.parse(returned) if returned is not None or run.state is RunState.SUCCESS else None
        if report:
            print_report(report, self._console)
        if run.duration_s is not None:
            self._console.print(
                f"{run.duration_s:.1f} s from the first task's start to the last one's end", highlight=False
            )
        if run.state is RunState.SUCCESS:
            return report
        failed = run.failed_task
        if failed is None:
            self._console.print(f"the run has {run.state}", style="bold red")
            return None
        self._console.print(f"the task {failed.task_id} failed. The end of its log:", style="bold red")
        lines = [
            line
            for line in self._api.log_lines(self._dag_id, run.run_id, failed)
            if not any(mark in line for mark in FOLD_MARKS)
        ]
        for line in lines[-LOG_LINES:]:
            self._console.print(line)
        return None

    def _fresh_dags(self) -> list[str]:
        return [
            dag.dag_id for dag in self._api.dags() if not dag.stale and dag.parsed_at and dag.parsed_at >= self._began
        ]

    def _not_found(self) -> str:
        there = ", ".join(sorted(self._fresh_dags())) or "none"
        broken = ", ".join(sorted(PurePath(failure.file).name for failure in self._api.import_failures()))
        unread = f" Files that cannot be loaded: {broken}." if broken else ""
        return f"there is no campaign {self._dag_id}. Set CAMPAIGN to one of: {there}.{unread}"


def ledger_counting(url: URL | str) -> Counting:
    """Counts a run's requests in the ledger at that URL."""
    known = RunProgress()

    def count(dag_id: str, run_id: str) -> RunProgress:
        nonlocal known
        # A busy ledger is asked again at the next look: this only shows.
        with suppress(SQLAlchemyError, TransientError):
            known = run_progress(url, dag_id, run_id) or RunProgress()
        return known

    return count


def requests_left_open(url: URL | str) -> int:
    """How many requests of the ledger at that URL are not settled; 0 where it cannot be asked now."""
    try:
        return open_requests(url)
    except (SQLAlchemyError, TransientError):
        return 0


def own_ledger_url(environment: Mapping[str, str]) -> URL | str:
    """The SQLAlchemy URL behind the user's own connection `badge_ledger`."""
    # Airflow reads its settings when it is imported: they must be those of the processes.
    os.environ.update(environment)
    try:
        url: URL | str = import_module("capillary.hooks").ledger_url_of("badge_ledger")
    except Exception as error:
        raise LocalAirflowError(
            f"AIRFLOW_CONN_BADGE_LEDGER names no usable database ({type(error).__name__}): "
            "give a PostgreSQL or SQLite connection"
        ) from error
    return url


def _same(one: str, other: str) -> bool:
    return PurePath(one).name == PurePath(other).name
