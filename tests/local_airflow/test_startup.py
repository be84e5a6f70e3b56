"""In which order a local Airflow starts."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from local_airflow import startup as startup_module
from local_airflow.airflow_api import AirflowApi
from local_airflow.environment import Sources
from local_airflow.errors import ComponentFailedError
from local_airflow.home import Home
from local_airflow.interruption import Interruption
from local_airflow.processes import Processes
from local_airflow.startup import Startup


class StartedInOrder(Processes):
    """Notes who is started; each is a Python that sleeps, or ends where its name is in `dying`."""

    def __init__(self, home: Home, dying: frozenset[str] = frozenset()) -> None:
        super().__init__(home.processes, home.process_logs)
        self.order: list[str] = []
        self._dying = dying

    def start(
        self,
        name: str,
        command: object,  # noqa: ARG002
        environment: object,  # noqa: ARG002
        *,
        serves: bool = False,
        stores: bool = False,
    ) -> None:
        self.order.append(name)
        code = "raise SystemExit(7)" if name in self._dying else "import time; time.sleep(60)"
        super().start(name, [sys.executable, "-c", code], {}, serves=serves, stores=stores)


def healthy(request: httpx.Request) -> httpx.Response:
    assert request.url.path == "/api/v2/monitor/health"
    names = ("scheduler", "dag_processor", "triggerer")
    beats = {name: {"status": "healthy", f"latest_{name}_heartbeat": datetime.now(UTC).isoformat()} for name in names}
    return httpx.Response(200, content=json.dumps({"metadatabase": {"status": "healthy"}, **beats}))


def started(
    home: Home,
    processes: Processes,
    answer: Callable[[httpx.Request], httpx.Response],
    before_scheduling: Callable[[], None],
) -> None:
    home.create()
    startup = Startup(
        home=home,
        environment={},
        sources=Sources(own_platform=False, own_warehouse=False, own_ledger=False),
        processes=processes,
        interruption=Interruption(),
        console=Console(file=io.StringIO()),
    )
    try:
        with AirflowApi("http://airflow.example", transport=httpx.MockTransport(answer)) as api:
            startup.start_airflow(api, before_scheduling=before_scheduling)
    finally:
        processes.stop(grace_s=0)


def test_the_scheduler_starts_once_the_api_server_answers(tmp_path: Path) -> None:
    """A task that it starts before fails, and its tries are used up with empty logs."""
    processes = StartedInOrder(Home(tmp_path))
    asked: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(list(processes.order))
        if len(asked) == 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(503) if len(asked) == 2 else healthy(request)

    between: list[list[str]] = []
    started(Home(tmp_path), processes, answer, lambda: between.append(list(processes.order)))
    assert processes.order == ["api-server", "dag-processor", "triggerer", "scheduler"]
    assert all("scheduler" not in order for order in asked[:3])
    assert between == [["api-server", "dag-processor", "triggerer"]]


def test_an_api_server_that_ends_is_told_and_no_scheduler_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup_module, "START_LIMIT_S", 20.0)
    processes = StartedInOrder(Home(tmp_path), frozenset({"api-server"}))

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ComponentFailedError, match="api-server: ended by itself with exit code 7"):
        started(Home(tmp_path), processes, refuse, lambda: None)
    assert "scheduler" not in processes.order
