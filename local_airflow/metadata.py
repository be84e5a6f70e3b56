"""Where a local Airflow keeps its metadata: in a PostgreSQL server of its own, or else in SQLite.

SQLite has one writer at a time: under load Airflow's API then answers 500 to whoever clicks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import psycopg

from local_airflow.errors import ComponentFailedError, LocalAirflowError
from local_airflow.home import CHECKOUT, Home
from local_airflow.postgresql import ServerImpossibleError, owner
from local_airflow.processes import Processes, tail

SERVER = "postgresql"
DATABASE = "airflow"
#: Seconds until the server answers. It takes one; after a crash of the machine it reads its log first.
START_LIMIT_S = 60.0
_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Metadata:
    """The database of Airflow's metadata.

    Attributes:
        url: SQLAlchemy's address of it; None for the SQLite file of the home.
        sentence: what a person should know of it; empty where there is nothing to say.
    """

    url: str | None
    sentence: str = ""


def start_metadata(
    home: Home, processes: Processes, user: Mapping[str, str], *, pause: Callable[[float], None]
) -> Metadata:
    """Start the server, or say why there is none. A home stays with what its first start has taken.

    Args:
        home: where the metadata is kept.
        processes: takes the server.
        user: the environment that the command was called in.
        pause: waits so many seconds, and raises where a person wants to stop.

    Raises:
        LocalAirflowError: the metadata of earlier starts is in a server that does not start.
    """
    if home.airflow_db.exists():
        return Metadata(
            None, "Airflow's metadata is in SQLite, as at the first start here: `make clean` tries PostgreSQL again"
        )
    try:
        return Metadata(_started(home, processes, user, pause))
    except (ServerImpossibleError, ComponentFailedError) as error:
        if home.postgresql.exists():
            raise LocalAirflowError(
                f"Airflow's metadata is in {home.postgresql}, whose server does not start. {error}\n"
                "Put that right, or run `make clean` to start afresh"
            ) from error
        why = tail(processes.log_of(SERVER), 1) if isinstance(error, ComponentFailedError) else str(error)
        return Metadata(None, f"Airflow's metadata is in SQLite, since PostgreSQL cannot serve it here: {why}")


def _started(home: Home, processes: Processes, user: Mapping[str, str], pause: Callable[[float], None]) -> str:
    role = owner()
    command = [sys.executable, "-m", "local_airflow.postgresql", str(home.postgresql)]
    # Variables of PostgreSQL's own (PGDATA, PGPORT) would reach the server.
    environment = {name: value for name, value in user.items() if not name.startswith("PG")}
    processes.start(SERVER, command, environment | {"PYTHONPATH": str(CHECKOUT)}, stores=True)
    deadline = time.monotonic() + START_LIMIT_S
    while not _answers(home, role):
        if processes.exit_code(SERVER) is not None:
            error = processes.failure(SERVER, "did not start")
            processes.forget(SERVER)
            raise error
        if time.monotonic() > deadline:
            raise LocalAirflowError(str(processes.failure(SERVER, f"was not ready within {START_LIMIT_S:g} s")))
        pause(_TICK_S)
    # A name may hold what ends a part of an address.
    return f"postgresql+psycopg://{quote(role, safe='')}@/{DATABASE}?host={quote(str(home.postgresql), safe='/')}"


def _answers(home: Home, role: str) -> bool:
    """Say whether the server answers; if it does, see that Airflow's database is there."""
    try:
        with psycopg.connect(
            host=str(home.postgresql), port=5432, user=role, dbname="postgres", connect_timeout=5, autocommit=True
        ) as conn:
            known = conn.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if known is None:
                conn.execute(f'CREATE DATABASE "{DATABASE}"')
    except psycopg.OperationalError:
        return False
    return True
