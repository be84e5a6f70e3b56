"""An Airflow that is played: it answers as the REST API does, and keeps what it was told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx

from local_airflow.airflow_api import AirflowApi

FUNNEL = (
    "eligible",
    "invalid",
    "duplicates",
    "known_before",
    "over_cap",
    "planned",
    "enrolled",
    "already_enrolled",
    "rejected",
    "failed",
    "not_accepted",
    "unconfirmed",
    "open",
    "discarded",
)
TASKS = ("extract_eligible_customers", "submit", "wait", "report")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(hours=1)


def report(
    *,
    verdict: str = "pass",
    canary: bool = False,
    canary_passed: bool = False,
    waits_for_canary: bool = False,
    left_over: int = 0,
) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "sentence": f"the sentence of a {verdict}",
        "dry_run": False,
        "canary": canary,
        "canary_passed": canary_passed,
        "waits_for_canary": waits_for_canary,
        "left_over": left_over,
        "requests": 1,
        "funnel": dict.fromkeys(FUNNEL, 0) | {"eligible": 10, "planned": 10, "enrolled": 10},
        "failures": [],
    }


@dataclass
class PlayedRun:
    """States of the tasks at each look; the run is over at the last one."""

    looks: list[dict[str, str | None]]
    returned: dict[str, Any] | None
    state: str = "success"
    run_id: str = "manual__2026-11-23T09:00:00+00:00"
    look: int = 0


@dataclass
class PlayedAirflow:
    """What is there, and what was asked of it."""

    runs: list[PlayedRun] = field(default_factory=list)
    unfinished: list[PlayedRun] = field(default_factory=list)
    dags: dict[str, datetime] = field(default_factory=lambda: {"gold_tier": LATER})
    import_errors: list[tuple[str, str]] = field(default_factory=list)
    pools: set[str] = field(default_factory=set)
    refuse_trigger: str | None = None
    paused: set[str] = field(default_factory=lambda: {"gold_tier"})
    switched: list[tuple[str, str]] = field(default_factory=list)
    triggered: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    started: int = 0

    def client(self) -> AirflowApi:
        return AirflowApi("http://airflow.example", transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        path = unquote(request.url.path)
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        assert request.headers["Authorization"] == "Bearer token"
        for prefix, route in self._routes().items():
            if path.startswith(f"/api/v2{prefix}"):
                return route(request, path.removeprefix(f"/api/v2{prefix}").strip("/"))
        return httpx.Response(404, json={"detail": f"no route {path}"})

    def _routes(self) -> dict[str, Callable[[httpx.Request, str], httpx.Response]]:
        return {
            "/dags/gold_tier/dagRuns": self._runs,
            "/dags/badge_upkeep/dagRuns": self._upkeep_runs,
            "/dags": self._dags,
            "/pools": self._pools,
            "/importErrors": self._import_errors,
        }

    def _dags(self, request: httpx.Request, dag_id: str) -> httpx.Response:
        if request.method == "PATCH":
            pauses = json.loads(request.content)["is_paused"]
            (self.paused.add if pauses else self.paused.discard)(dag_id)
            self.switched.append((dag_id, "paused" if pauses else "unpaused"))
        if not dag_id:
            return httpx.Response(200, json={"dags": [self._dag(name) for name in self.dags]})
        if dag_id not in self.dags:
            return httpx.Response(404, json={"detail": "not found"})
        return httpx.Response(200, json=self._dag(dag_id))

    def _dag(self, dag_id: str) -> dict[str, Any]:
        return {
            "dag_id": dag_id,
            "relative_fileloc": f"{dag_id}.py",
            "fileloc": f"/dags/{dag_id}.py",
            "is_stale": False,
            "is_paused": dag_id in self.paused,
            "last_parsed_time": self.dags[dag_id].isoformat(),
        }

    def _pools(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "POST":
            self.pools.add(json.loads(request.content)["name"])
            return httpx.Response(201, json={})
        return httpx.Response(200 if name in self.pools else 404, json={"detail": "not found"})

    def _import_errors(self, *_: object) -> httpx.Response:
        errors = [{"filename": file, "stack_trace": trace} for file, trace in self.import_errors]
        return httpx.Response(200, json={"import_errors": errors})

    def _runs(self, request: httpx.Request, rest: str) -> httpx.Response:
        if request.method == "POST":
            if self.refuse_trigger:
                return httpx.Response(400, json={"detail": self.refuse_trigger})
            body = json.loads(request.content)
            assert body["logical_date"] is None
            self.triggered.append(body["conf"])
            self.started += 1
            return httpx.Response(200, json={"dag_run_id": self.runs[self.started - 1].run_id})
        if not rest:
            rows = [{"dag_run_id": run.run_id} for run in self.unfinished]
            return httpx.Response(200, json={"dag_runs": rows})
        run_id, _, what = rest.partition("/")
        run = next(run for run in (*self.runs, *self.unfinished) if run.run_id == run_id)
        return self._run(run, what)

    def _upkeep_runs(self, request: httpx.Request, rest: str) -> httpx.Response:
        if request.method == "POST":
            self.triggered.append({"upkeep": True})
            return httpx.Response(200, json={"dag_run_id": "upkeep"})
        return self._run(PlayedRun([{"keep_house": "success"}], None), rest.partition("/")[2])

    def _run(self, run: PlayedRun, what: str) -> httpx.Response:
        if not what:
            over = run.look >= len(run.looks) - 1
            return httpx.Response(200, json={"state": run.state if over else "running"})
        if what == "taskInstances":
            states = run.looks[min(run.look, len(run.looks) - 1)]
            run.look += 1
            rows = [self._task(place, name, state) for place, (name, state) in enumerate(states.items())]
            return httpx.Response(200, json={"task_instances": rows})
        if "/xcomEntries/" in what:
            if run.returned is None:
                return httpx.Response(404, json={"detail": "not found"})
            return httpx.Response(200, json={"value": run.returned})
        if "/logs/" in what:
            events = [
                {"event": "::group::Pre Execute", "timestamp": None},
                {"event": "counting", "timestamp": "2026-11-23T09:00:01Z", "level": "info"},
                {
                    "event": "Task failed with exception",
                    "timestamp": "2026-11-23T09:00:02Z",
                    "level": "error",
                    "error_detail": [{"exc_type": "OccasionTaken", "exc_value": "another badge"}],
                },
            ]
            return httpx.Response(200, json={"content": events})
        return httpx.Response(404, json={"detail": what})

    @staticmethod
    def _task(place: int, name: str, state: str | None) -> dict[str, Any]:
        started = NOW + timedelta(seconds=10 * place)
        ended = started + timedelta(seconds=4) if state in {"success", "failed"} else None
        return {
            "task_id": name,
            "state": state,
            "start_date": started.isoformat() if state else None,
            "end_date": ended.isoformat() if ended else None,
            "try_number": 1,
        }


def stages(*states: str | None) -> dict[str, str | None]:
    """One look at a campaign's four tasks."""
    return dict(zip(TASKS, states, strict=True))


def quick(
    returned: dict[str, Any] | None,
    *,
    state: str = "success",
    run_id: str = "manual__2026-11-23T09:00:00+00:00",
) -> PlayedRun:
    """A run that is over at the first look."""
    return PlayedRun([stages("success", "success", "success", "success")], returned, state, run_id)
