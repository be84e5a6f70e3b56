"""A real Airflow for the stock DAG: API server, scheduler with the LocalExecutor, DAG processor, triggerer.

A killed task is a killed process of the executor, and Airflow's own scheduler gives it its retry.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from local_airflow.airflow_api import UNFINISHED, AirflowApi, ApiSilentError, RunState
from local_airflow.environment import Sources, build_environment
from local_airflow.errors import LocalAirflowError
from local_airflow.home import Home
from local_airflow.interruption import Interruption
from local_airflow.ports import LOOPBACK, free_port
from local_airflow.processes import Processes
from local_airflow.startup import PREPARE_LIMIT_S, Startup
from measure.faults.scene import MeasuringFailed, Scene, facts, make_warehouse

DAG_ID: Final = "stock_badges"
#: Seconds for Airflow to load the DAG, or to run it: 20 tasks of a second each, with slack for busy machines.
_PATIENCE_S: Final = 600.0
_TICK_S: Final = 0.5

Found = TypeVar("Found")


@contextmanager
def ready(place: Path, port: int) -> Iterator[Callable[[Scene], bool]]:
    """Start Airflow with the DAG, and yield how the DAG is run; end Airflow with the block.

    Args:
        place: folder for everything.
        port: of the platform, which Airflow's connection names once for all scenes.

    Raises:
        MeasuringFailed: Airflow does not start, or does not load the DAG.
    """
    home, api_port = Home(place / "airflow"), free_port()
    home.create()
    dags, plugins = place / "dags", place / "plugins"
    for folder in (dags, plugins):
        folder.mkdir()
    shutil.copy(Path(__file__).with_name("stock_dag.py"), dags)
    processes = Processes(home.processes, home.process_logs)
    surroundings = _environment(home, dags, plugins, make_warehouse(place / "warehouse.db"), port, api_port)
    try:
        _migrate(processes, surroundings)
        startup = Startup(
            home=home,
            environment=surroundings,
            sources=Sources.of(surroundings),
            processes=processes,
            interruption=Interruption(),
            console=Console(quiet=True),
        )
        with AirflowApi(f"http://{LOOPBACK}:{api_port}") as api:
            startup.start_airflow(api)
            _await_loaded(api)
            yield lambda scene: _run(api, processes.pids()["scheduler"], scene)
    except LocalAirflowError as error:
        raise MeasuringFailed(str(error)) from error
    finally:
        processes.stop()


def _run(api: AirflowApi, scheduler: int, scene: Scene) -> bool:
    """Run the DAG once; a retry after a kill is the scheduler's, whose tasks are processes below it."""
    run_id = api.trigger(DAG_ID, {})
    scene.strike(scheduler)

    def ended() -> RunState | None:
        state = api.run_state(DAG_ID, run_id)
        return None if state in UNFINISHED else state

    return _await(f"end of the run of {DAG_ID}", ended) is RunState.SUCCESS


def _environment(home: Home, dags: Path, plugins: Path, warehouse: Path, port: int, api_port: int) -> dict[str, str]:
    url = f"http://{LOOPBACK}:{port}"
    local = build_environment(
        os.environ, home=home, secrets=home.secrets(), dags_folder=dags, api_port=api_port, sandbox_port=port
    )
    return {
        **local,
        **facts(url, warehouse),
        # None of this project's plugins.
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        # A task whose start takes longer on a busy machine would be killed by no fault of the platform's.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW_CONN_PLATFORM": f'{{"conn_type": "http", "host": "{url}"}}',
    }


def _migrate(processes: Processes, surroundings: dict[str, str]) -> None:
    processes.start("airflow-db", [sys.executable, "-m", "airflow", "db", "migrate"], surroundings)
    until = time.monotonic() + PREPARE_LIMIT_S
    while not processes.done("airflow-db"):
        if time.monotonic() > until:
            raise processes.failure("airflow-db", f"was not done within {PREPARE_LIMIT_S:g} s")
        time.sleep(_TICK_S)


def _await_loaded(api: AirflowApi) -> None:
    def loaded() -> bool:
        if failures := api.import_failures():
            raise MeasuringFailed(f"Airflow cannot load the DAG: {failures[0].trace}")
        return api.dag(DAG_ID) is not None

    _await(f"DAG {DAG_ID}", loaded)
    api.unpause(DAG_ID)


def _await(what: str, look: Callable[[], Found]) -> Found:
    """Return what a look finds; a busy API server may be silent meanwhile."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with suppress(ApiSilentError):
            if found := look():
                return found
        time.sleep(_TICK_S)
    raise MeasuringFailed(f"Airflow showed no {what} within {_PATIENCE_S:.0f} s")
