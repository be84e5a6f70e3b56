"""The campaign that `make run` unpauses: only for its own runs, or a later `make up` would run it by its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from local_airflow.airflow_api import AirflowApi, RequestRejectedError
from local_airflow.errors import LocalAirflowError
from local_airflow.home import Home


@contextmanager
def unpaused(api: AirflowApi, dag_id: str, home: Home) -> Iterator[None]:
    """Let a DAG's runs go on in the meantime. What was not paused before stays as it was: somebody wanted it.

    Args:
        api: the Airflow that has the DAG.
        dag_id: its name.
        home: keeps the name, so that the next start pauses it where this process is killed.
    """
    dag = api.dag(dag_id)
    if dag is not None and dag.paused:
        home.to_pause.write_text(dag_id)
    api.unpause(dag_id)
    try:
        yield
    finally:
        # Where Airflow's API server is gone, the next start does it.
        with suppress(LocalAirflowError):
            pause_again(api, home)


def pause_again(api: AirflowApi, home: Home) -> None:
    """Pause what a run has unpaused, if one did and has not paused it since."""
    try:
        dag_id = home.to_pause.read_text()
    except FileNotFoundError:
        return
    try:
        api.pause(dag_id)
    except RequestRejectedError as error:
        if error.status != 404:  # the file is gone, and so is its DAG
            raise
    home.to_pause.unlink(missing_ok=True)
