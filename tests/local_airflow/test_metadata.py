"""Where Airflow's metadata is kept: a real PostgreSQL server that ends with who started it, or else SQLite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package that nothing else here needs
import pytest
from sqlalchemy import create_engine, text

from local_airflow import postgresql
from local_airflow.errors import LocalAirflowError, RunInterruptedError
from local_airflow.home import CHECKOUT, Home
from local_airflow.interruption import Interruption
from local_airflow.metadata import SERVER, Metadata, start_metadata
from local_airflow.processes import Processes, end_left_behind


@pytest.fixture
def home() -> Iterator[Home]:
    """Yield a home that other users may reach: pytest shuts its own folders, and root's server runs as another."""
    memory = Path("/dev/shm")  # noqa: S108 - a server that does not wait for a disk
    with tempfile.TemporaryDirectory(prefix="home-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        home = Home(Path(folder) / ".airflow")
        home.create()
        yield home


@pytest.fixture
def processes(home: Home) -> Iterator[Processes]:
    processes = Processes(home.processes, home.process_logs)
    yield processes
    hurry = threading.Event()
    hurry.set()
    processes.stop(hurry)


def started(home: Home, processes: Processes, user: dict[str, str] | None = None) -> Metadata:
    return start_metadata(home, processes, user or dict(os.environ), pause=time.sleep)


def serving(home: Home, processes: Processes) -> str:
    """Start the server and return its address; where it cannot serve on this machine, nothing is tested."""
    metadata = started(home, processes)
    if metadata.url is None:
        pytest.skip(metadata.sentence)
    return metadata.url


def asked(url: str, *statements: str) -> list[object]:
    engine = create_engine(url)
    try:
        with engine.begin() as conn:
            results = [conn.execute(text(statement)) for statement in statements]
            return [row[0] for row in results[-1]]
    finally:
        engine.dispose()


def of_server(home: Home) -> list[psutil.Process]:
    """Everything that has to do with this home's server."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home.postgresql) in " ".join(process.cmdline()):
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


def eventually(condition: Callable[[], bool], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_keeps_what_it_was_given_from_start_to_start(home: Home, processes: Processes) -> None:
    url = serving(home, processes)
    assert url.startswith("postgresql+psycopg://")
    asked(url, "CREATE TABLE kept AS SELECT 7 AS number", "SELECT 1")
    assert of_server(home)
    processes.stop()
    assert not of_server(home)
    assert "database system is shut down" in processes.log_of(SERVER).read_text()
    assert asked(serving(home, processes), "SELECT number FROM kept") == [7]


def test_the_server_ends_in_order_though_somebody_is_connected(home: Home, processes: Processes) -> None:
    engine = create_engine(serving(home, processes))
    with engine.connect() as conn:
        conn.execute(text("SELECT 1"))
        processes.stop(grace_s=10)
        assert "database system is shut down" in processes.log_of(SERVER).read_text()
        conn.invalidate()
    engine.dispose()


def test_nobody_else_is_let_in(home: Home, processes: Processes) -> None:
    """No port, a socket that belongs to the server's user, and a name that the system vouches for."""
    url = serving(home, processes)
    assert asked(url, "SHOW listen_addresses") == [""]
    assert (home.postgresql / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0
    assert home.postgresql.stat().st_mode & 0o077 == 0
    lines = (home.postgresql / "pg_hba.conf").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert {(rule[0], rule[-1]) for rule in rules} == {("local", "peer"), ("host", "reject")}
    if os.geteuid() == 0:
        assert home.directory.stat().st_mode & 0o777 == 0o710, "the server's group may walk through, and no more"


def test_what_a_killed_run_left_behind_is_ended_and_its_metadata_kept(home: Home) -> None:
    run = (
        "import os, pathlib, sys, time\n"
        "from local_airflow.home import Home\n"
        "from local_airflow.metadata import start_metadata\n"
        "from local_airflow.processes import Processes\n"
        "home = Home(pathlib.Path(sys.argv[1]))\n"
        "processes = Processes(home.processes, home.process_logs)\n"
        "metadata = start_metadata(home, processes, os.environ, pause=time.sleep)\n"
        "print(metadata.url or f'none: {metadata.sentence}', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(  # noqa: S603 - this test's own code
        [sys.executable, "-c", run, str(home.directory)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        url = killed.stdout.readline().strip()
        if url.startswith("none"):
            killed.kill()
            pytest.skip(url)
        asked(url, "CREATE TABLE kept AS SELECT 7 AS number", "SELECT 1")
        killed.send_signal(signal.SIGKILL)
    assert of_server(home), "nobody has ended it yet"
    assert end_left_behind(home.processes) == [SERVER]
    eventually(lambda: not of_server(home))
    processes = Processes(home.processes, home.process_logs)
    try:
        assert asked(serving(home, processes), "SELECT number FROM kept") == [7]
    finally:
        processes.stop()


@pytest.mark.parametrize("noted", ["a stranger", "nobody", "damaged"])
def test_the_notes_of_a_server_that_was_killed_hold_up_nobody(home: Home, processes: Processes, noted: str) -> None:
    """Its number may be a stranger's by now, as after the restart of a container."""
    serving(home, processes)
    processes.stop()
    pid = {"a stranger": str(os.getpid()), "nobody": "4194300", "damaged": "x"}[noted]
    (home.postgresql / "postmaster.pid").write_text(f"{pid}\n{home.postgresql}\n1\n5432\n\n\n\nready\n")
    (home.postgresql / ".s.PGSQL.5432.lock").write_text(f"{pid}\n{home.postgresql}\n1\n5432\n\n")
    assert asked(serving(home, processes), "SELECT 1") == [1]


def test_beside_a_server_that_runs_no_other_is_started(home: Home, processes: Processes) -> None:
    url = serving(home, processes)
    others = Processes(home.directory / "others.json", home.directory)
    others.start(SERVER, [sys.executable, "-m", "local_airflow.postgresql", str(home.postgresql)], os.environ)
    eventually(lambda: others.exit_code(SERVER) is not None)
    assert 'lock file "postmaster.pid" already exists' in others.log_of(SERVER).read_text()
    assert asked(url, "SELECT 1") == [1]


def test_a_first_start_that_was_killed_half_way_is_made_anew(home: Home, processes: Processes) -> None:
    beside = home.postgresql.with_suffix(".new")
    beside.mkdir()
    (beside / "PG_VERSION").write_text("18\n")
    assert asked(serving(home, processes), "SELECT 1") == [1]
    assert not beside.exists()


def test_variables_of_another_postgresql_do_not_reach_it(home: Home, processes: Processes) -> None:
    others = {"PGDATA": "/somewhere/else", "PGPORT": "5433", "PGHOST": "db.example", "PGDATABASE": "production"}
    metadata = started(home, processes, {**os.environ, **others})
    if metadata.url is None:
        pytest.skip(metadata.sentence)
    assert asked(metadata.url, "SELECT current_database()") == ["airflow"]
    assert asked(metadata.url, "SHOW port") == ["5432"]


def test_a_home_that_began_with_sqlite_stays_with_it(home: Home, processes: Processes) -> None:
    home.airflow_db.touch()
    metadata = started(home, processes)
    assert metadata.url is None
    assert "as at the first start here: `make clean` tries PostgreSQL again" in metadata.sentence
    assert processes.pids() == {}
    assert not home.postgresql.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('noise', file=sys.stderr); sys.exit('no build for this system')", "no build for this"),
        ("raise SystemExit(1)", "cannot serve it here"),
    ],
)
def test_where_it_cannot_serve_one_line_says_why(
    home: Home, processes: Processes, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(sys, "executable", _python_that_runs(home, code))
    metadata = started(home, processes)
    assert metadata.url is None
    assert "Airflow's metadata is in SQLite, since PostgreSQL cannot serve it here: " in metadata.sentence
    assert said in metadata.sentence
    assert "\n" not in metadata.sentence
    assert processes.pids() == {}, "what has ended is not watched"


def test_a_server_that_has_the_metadata_and_does_not_start_is_no_reason_to_begin_anew(
    home: Home, processes: Processes
) -> None:
    serving(home, processes)
    processes.stop()
    (home.postgresql / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(LocalAirflowError, match=r"(?s)whose server does not start.*incompatible.*`make clean`"):
        started(home, processes)
    assert not home.airflow_db.exists()


def test_an_interruption_is_heard_while_the_server_starts(home: Home, processes: Processes) -> None:
    interruption = Interruption()
    interruption.ask()
    with pytest.raises(RunInterruptedError):
        start_metadata(home, processes, dict(os.environ), pause=interruption.pause)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_a_folder_that_roots_server_cannot_reach_is_said_and_stays_shut(home: Home, processes: Processes) -> None:
    """Nobody's home is opened to others for the sake of a sample."""
    parent = home.directory.parent
    parent.chmod(0o700)
    metadata = started(home, processes)
    assert metadata.url is None
    assert "Permission denied" in metadata.sentence
    assert parent.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_too_long_for_a_socket_is_said(home: Home, processes: Processes) -> None:
    deep = Home(home.directory / ("d" * 60) / ("e" * 40))
    deep.create()
    metadata = started(deep, processes)
    assert metadata.url is None
    assert f"is longer than {postgresql.SOCKET_LIMIT} bytes" in metadata.sentence


def test_a_user_without_a_name_is_said(home: Home, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that runs as any number it was given."""
    monkeypatch.setattr(os, "geteuid", lambda: 2_000_000_000)
    metadata = started(home, processes)
    assert metadata.url is None
    assert "no name for the user 2000000000" in metadata.sentence
    assert processes.pids() == {}


def _python_that_runs(home: Home, code: str) -> str:
    """Return a program that runs this code whatever it is asked for."""
    program = home.directory / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}"\n')
    program.chmod(0o755)
    return str(program)
