"""The directory .airflow, its lock, and the ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from rich.console import Console

from local_airflow import startup as startup_module
from local_airflow.environment import Sources
from local_airflow.errors import AlreadyRunningError, LocalAirflowError, PortTakenError
from local_airflow.home import CHECKOUT, Home
from local_airflow.interruption import Interruption
from local_airflow.ports import asked_port, free_port, is_free, sandbox_port
from local_airflow.processes import Processes
from local_airflow.startup import SandboxOptions, Startup


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / ".airflow")
    home.create()
    return home


class Started(Processes):
    """Notes the command of every process; each is done at once."""

    def __init__(self, home: Home) -> None:
        super().__init__(home.processes, home.process_logs)
        self.commands: dict[str, list[str]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        serves: bool = False,
        stores: bool = False,
    ) -> None:
        assert isinstance(environment, dict)
        assert serves is (name == "sandbox")
        assert not stores
        self.commands[name] = list(command)
        self.log_of(name).write_text(f"{name}: done\n")

    def done(self, name: str) -> bool:
        return name in self.commands


def prepared(home: Home, *, sandbox_port: int | None = None, own_ledger: bool = False) -> Started:
    """Prepare a start."""
    started = Started(home)
    startup = Startup(
        home=home,
        environment={},
        sources=Sources(own_platform=sandbox_port is None, own_warehouse=True, own_ledger=own_ledger),
        processes=started,
        interruption=Interruption(),
        console=Console(quiet=True),
    )
    startup.prepare(sandbox_port=sandbox_port, sandbox=SandboxOptions(None), customers=1)
    return started


def ledger_command(home: Home) -> str:
    """Prepare a start, and return what it did with the ledger."""
    return prepared(home).commands["ledger"][-3]


def test_the_checkers_page_is_given_the_sample_ledger(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_module, "_answers", lambda _: True)
    command = prepared(home, sandbox_port=8090).commands["sandbox"]
    assert command[command.index("--ledger") + 1] == f"sqlite:///{home.ledger_db}"
    # The address of the user's own may hold a password, which everybody on the machine would see.
    assert "--ledger" not in prepared(home, sandbox_port=8090, own_ledger=True).commands["sandbox"]


def test_a_ledger_is_made_at_the_first_start_alone(home: Home) -> None:
    """Later it is missing because it was lost, and an empty one would submit everybody again."""
    assert ledger_command(home) == "create"
    home.airflow_db.touch()
    assert ledger_command(home) == "upgrade"


def test_a_first_start_that_was_interrupted_is_the_first_start_still(home: Home) -> None:
    home.airflow_db.touch()
    assert ledger_command(home) == "create"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_keys_are_made_once_for_their_owner_only(home: Home) -> None:
    made = home.secrets()
    assert home.secrets() == made
    file = home.directory / "secrets.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert home.directory.stat().st_mode & 0o777 == 0o700
    assert Fernet(made.fernet_key).decrypt(Fernet(made.fernet_key).encrypt(b"x")) == b"x"
    assert len({made.fernet_key, made.jwt_secret, made.api_secret_key}) == 3


def test_damaged_keys_name_the_remedy(home: Home) -> None:
    (home.directory / "secrets.json").write_text("{")
    with pytest.raises(LocalAirflowError, match=r"secrets\.json is damaged: run `make clean`"):
        home.secrets()


def test_a_second_run_in_the_same_checkout_is_refused(home: Home) -> None:
    second = (
        "import sys, pathlib\n"
        "from local_airflow.home import Home\n"
        "from local_airflow.errors import AlreadyRunningError\n"
        "try:\n"
        "    with Home(pathlib.Path(sys.argv[1])).lock(): print('entered')\n"
        "except AlreadyRunningError as error: print(error)\n"
    )

    def attempt() -> str:
        command = [sys.executable, "-c", second, str(home.directory)]
        return subprocess.run(  # noqa: S603 - this test's own code
            command, cwd=CHECKOUT, capture_output=True, text=True, check=True
        ).stdout

    with home.lock():
        said = attempt()
        assert f"is running (process {os.getpid()})" in said
        assert "end it with Ctrl-C" in said
        with pytest.raises(AlreadyRunningError), home.lock():
            pass
    assert attempt() == "entered\n"


def test_a_taken_port_is_named_with_what_to_set(taken: int) -> None:
    assert not is_free(taken)
    with pytest.raises(PortTakenError, match=rf"port {taken} is taken.*set PORT to another port"):
        asked_port(taken, variable="PORT")
    free = free_port()
    assert asked_port(free, variable="PORT") == free


def test_the_sandbox_keeps_its_port(home: Home) -> None:
    first = sandbox_port(home, None)
    home.remember_sandbox_port(first)
    assert home.sandbox_port() == sandbox_port(home, None) == sandbox_port(home, first) == first
    with pytest.raises(PortTakenError, match=rf"knows the sandbox by port {first}.*leave SANDBOX_PORT unset"):
        sandbox_port(home, first + 1)


def test_the_sandbox_does_not_move_away_from_a_taken_port(home: Home, taken: int) -> None:
    home.remember_sandbox_port(taken)
    with pytest.raises(PortTakenError, match=rf"port {taken} is taken.*make clean"):
        sandbox_port(home, None)


def test_a_new_sandbox_takes_the_port_that_is_asked_for(home: Home, taken: int) -> None:
    free = free_port()
    assert sandbox_port(home, free) == free
    with pytest.raises(PortTakenError, match="set SANDBOX_PORT to another port"):
        sandbox_port(home, taken)
