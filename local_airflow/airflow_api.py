"""Airflow's REST API, as far as a local run needs it. Its JSON ends here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from local_airflow.errors import LocalAirflowError

#: Seconds for one call. The API answers in milliseconds, and in seconds while two cores start four processes.
TIMEOUT_S = 15.0


class RunState(StrEnum):
    """State of a DAG run, as Airflow spells it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


UNFINISHED = frozenset({RunState.QUEUED, RunState.RUNNING})


@dataclass(frozen=True, slots=True)
class Component:
    """Health of one of Airflow's processes."""

    name: str
    healthy: bool
    heartbeat: datetime | None


@dataclass(frozen=True, slots=True)
class DagInfo:
    """What Airflow knows of a DAG."""

    dag_id: str
    file: str
    stale: bool
    paused: bool
    parsed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A file that could not be loaded."""

    file: str
    trace: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task in a run. `state` is None before the scheduler has looked at it."""

    task_id: str
    state: str | None
    started: datetime | None
    ended: datetime | None
    tries: int


class RequestRejectedError(LocalAirflowError):
    """Airflow's API said no. `status` is the HTTP status."""

    def __init__(self, *, what: str, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"Airflow refused to {what} (HTTP {status}): {detail}")


class ApiSilentError(LocalAirflowError):
    """Airflow's API server gave no answer, or none in time."""


class AirflowApi:
    """A client for one local Airflow, in which everybody is admin.

    Args:
        url: of the API server.
        transport: replaces the network in tests.
    """

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        # trust_env=False: a proxy of the user's cannot reach this machine's loopback interface.
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, transport=transport)
        self._token = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def components(self) -> list[Component]:
        """Health of the processes; empty while the API server does not answer."""
        try:
            reply = self._http.get("/api/v2/monitor/health")
        except httpx.TransportError:
            return []
        if reply.status_code != 200:
            return []
        return [
            Component(
                name=name.replace("_", "-"),
                healthy=facts.get("status") == "healthy",
                heartbeat=_time(facts.get(f"latest_{name}_heartbeat")),
            )
            for name, facts in reply.json().items()
        ]

    def dag(self, dag_id: str) -> DagInfo | None:
        """A DAG, if Airflow has loaded it."""
        try:
            return _dag(self._call("GET", f"/dags/{_part(dag_id)}", what=f"show the DAG {dag_id}"))
        except RequestRejectedError as error:
            if error.status == 404:
                return None
            raise

    def dags(self) -> list[DagInfo]:
        """All DAGs that are there now, at most 100."""
        return [_dag(entry) for entry in self._call("GET", "/dags?limit=100", what="list the DAGs")["dags"]]

    def import_failures(self) -> list[ImportFailure]:
        """Files of the DAGs folder that cannot be loaded, at most 100."""
        reply = self._call("GET", "/importErrors?limit=100", what="list the import errors")
        return [ImportFailure(file=entry["filename"], trace=entry["stack_trace"]) for entry in reply["import_errors"]]

    def ensure_pool(self, name: str, *, slots: int, description: str) -> None:
        """Make the pool unless it is there."""
        try:
            self._call("GET", f"/pools/{_part(name)}", what=f"show the pool {name}")
        except RequestRejectedError as error:
            if error.status != 404:
                raise
            body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
            self._call("POST", "/pools", body=body, what=f"make the pool {name}")

    def unpause(self, dag_id: str) -> None:
        """Let its runs go on, and its schedule make some."""
        self._set_paused(dag_id, paused=False)

    def pause(self, dag_id: str) -> None:
        """Let no run of it start or go on."""
        self._set_paused(dag_id, paused=True)

    def _set_paused(self, dag_id: str, *, paused: bool) -> None:
        what = f"{'pause' if paused else 'unpause'} {dag_id}"
        self._call("PATCH", f"/dags/{_part(dag_id)}", body={"is_paused": paused}, what=what)

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Start a run. Returns its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        reply = self._call("POST", f"/dags/{_part(dag_id)}/dagRuns", body=body, what=f"trigger {dag_id}")
        return str(reply["dag_run_id"])

    def unfinished_manual_runs(self, dag_id: str) -> list[str]:
        """Runs that somebody triggered and that have not ended, the oldest first."""
        states = "&".join(f"state={state}" for state in sorted(UNFINISHED))
        path = f"/dags/{_part(dag_id)}/dagRuns?{states}&run_type=manual&order_by=run_after&limit=100"
        return [str(run["dag_run_id"]) for run in self._call("GET", path, what="list the runs")["dag_runs"]]

    def run_state(self, dag_id: str, run_id: str) -> RunState:
        """State of a run."""
        reply = self._call("GET", f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}", what=f"show the run {run_id}")
        return RunState(reply["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskRow]:
        """The tasks of a run, at most 100."""
        path = f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances?limit=100"
        return [
            TaskRow(
                task_id=entry["task_id"],
                state=entry["state"],
                started=_time(entry["start_date"]),
                ended=_time(entry["end_date"]),
                tries=entry["try_number"],
            )
            for entry in self._call("GET", path, what="list the tasks")["task_instances"]
        ]

    def returned(self, dag_id: str, run_id: str, task_id: str) -> object:
        """What a task returned; None if it returned nothing."""
        path = (
            f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances/{_part(task_id)}"
            "/xcomEntries/return_value?deserialize=true"
        )
        try:
            value: object = self._call("GET", path, what=f"show what {task_id} returned")["value"]
        except RequestRejectedError as error:
            if error.status == 404:
                return None
            raise
        return value

    def log_lines(self, dag_id: str, run_id: str, task: TaskRow) -> list[str]:
        """What the last try of a task logged; empty where there is no log."""
        path = (
            f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}/taskInstances/{_part(task.task_id)}"
            f"/logs/{max(task.tries, 1)}?full_content=true"
        )
        try:
            content = self._call("GET", path, what=f"show the log of {task.task_id}")["content"]
        except RequestRejectedError:
            return []
        return [entry if isinstance(entry, str) else _log_line(entry) for entry in content]

    def _call(self, method: str, path: str, *, what: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        try:
            if not self._token:
                self._token = str(self._checked(self._http.get("/auth/token"), what="log in")["access_token"])
            headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
            reply = self._http.request(method, f"/api/v2{path}", headers=headers, json=body)
        except httpx.TransportError as error:
            raise ApiSilentError(
                f"Airflow's API server does not answer ({type(error).__name__}) when asked to {what}: "
                "see .airflow/logs/processes/api-server.log"
            ) from error
        return self._checked(reply, what=what)

    @staticmethod
    def _checked(reply: httpx.Response, *, what: str) -> dict[str, Any]:
        if reply.is_success:
            content: dict[str, Any] = reply.json()
            return content
        try:
            detail = reply.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = reply.reason_phrase
        raise RequestRejectedError(what=what, status=reply.status_code, detail=str(detail))


def _dag(entry: Mapping[str, Any]) -> DagInfo:
    return DagInfo(
        dag_id=entry["dag_id"],
        file=entry["relative_fileloc"] or entry["fileloc"],
        stale=entry["is_stale"],
        paused=entry["is_paused"],
        parsed_at=_time(entry["last_parsed_time"]),
    )


def _log_line(entry: Mapping[str, Any]) -> str:
    time = str(entry.get("timestamp") or "")[11:19]
    line = " ".join(part for part in (time, str(entry.get("level", "")).upper(), str(entry["event"])) if part)
    for problem in entry.get("error_detail") or []:
        line += f"\n  {problem.get('exc_type')}: {problem.get('exc_value')}"
    return line


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _part(value: str) -> str:
    """A value as one part of a path: run ids hold colons and plus signs."""
    return quote(value, safe="")
