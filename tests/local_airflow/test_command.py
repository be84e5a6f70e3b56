"""The command line: what it takes, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from local_airflow.__main__ import LocalAirflow, main, parse
from local_airflow.environment import Sources
from local_airflow.errors import RunInterruptedError
from local_airflow.home import DAGS, Home
from local_airflow.interruption import SIGNALS, Interruption
from local_airflow.startup import SandboxOptions
from tests.local_airflow.played_airflow import PlayedAirflow

VARIABLES = (
    "CAMPAIGN",
    "DAGS_FOLDER",
    "PARAMS",
    "CUSTOMERS",
    "CHECKER",
    "CHECKER_DELAY",
    "PORT",
    "SANDBOX_PORT",
)


@pytest.fixture(autouse=True)
def own_variables_and_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_defaults_are_those_of_the_newcomer() -> None:
    options = parse(["run"])
    assert options.campaign == "gold_tier"
    assert options.dags_folder == DAGS
    assert (options.customers, options.params) == (5_000, "{}")
    assert (options.checker, options.checker_delay) == ("automatic", 2.0)
    assert (options.port, options.sandbox_port) == (None, None)
    assert parse(["up"]).checker == "manual"


def test_variables_of_make_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "CAMPAIGN": "monthly_streak",
        "DAGS_FOLDER": str(tmp_path),
        "PARAMS": '{"canary": false}',
        "CUSTOMERS": "200",
        "CHECKER_DELAY": "0.5",
        "PORT": "8081",
        "SANDBOX_PORT": "",
    }.items():
        monkeypatch.setenv(name, value)
    options = parse(["run"])
    assert options.campaign == "monthly_streak"
    assert options.dags_folder == tmp_path
    assert options.params == '{"canary": false}'
    assert (options.customers, options.checker_delay, options.port) == (200, 0.5, 8081)
    assert options.sandbox_port is None
    assert parse(["run", "--campaign", "vip"]).campaign == "vip", "the command line comes first"


def test_a_wrong_checker_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CHECKER", "nobody")
    with pytest.raises(SystemExit):
        parse(["run"])
    assert "CHECKER is nobody: choose automatic or manual" in capsys.readouterr().err


@pytest.mark.parametrize("params", ["{", "[1]", "canary=false"])
def test_params_that_are_no_object_are_refused_at_once(
    params: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--params", params], home=Home(tmp_path / "home")) == 2
    assert "write PARAMS=" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_missing_dags_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dags-folder", str(tmp_path / "none")], home=Home(tmp_path / "home")) == 2
    assert f"DAGS_FOLDER is {tmp_path / 'none'}" in capsys.readouterr().err


def test_a_taken_port_ends_it_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["up", "--port", str(port)], home=home) == 3
    assert f"port {port} is taken" in capsys.readouterr().err
    assert not home.processes.exists()


def test_two_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home")
    home.create()
    with home.lock():
        assert main(["run"], home=home) == 3
    assert "another local Airflow of this checkout is running" in capsys.readouterr().err


def test_clean_removes_everything(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.secrets()
    assert main(["clean"], home=home) == 0
    assert not home.directory.exists()


def test_up_prints_the_address_of_the_badges_and_stays_until_it_is_interrupted(tmp_path: Path) -> None:
    console, interruption = Console(record=True, width=200), Interruption()
    up = LocalAirflow(parse(["up"]), home=Home(tmp_path), console=console, interruption=interruption)
    interruption.ask()
    with PlayedAirflow().client() as api:
        assert up._stay_up(api, {}, Sources(own_platform=False, own_warehouse=False, own_ledger=False)) == 0
    assert "http://airflow.example/plugin/badges" in console.export_text()


def test_a_manual_checker_gets_no_delay() -> None:
    assert SandboxOptions(None).arguments() == ["--checker", "manual", "--unknown-every", "97"]
    automatic = SandboxOptions(0.5, unknown_every=0).arguments()
    assert automatic == ["--checker", "automatic", "--delay", "0.5", "--unknown-every", "0"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noticed_by_the_next_wait(number: signal.Signals) -> None:
    interruption = Interruption()
    interruption.install()
    interruption.pause(0)
    os.kill(os.getpid(), number)
    began = time.monotonic()
    with pytest.raises(RunInterruptedError) as caught:
        interruption.pause(10)
    assert time.monotonic() - began < 1
    assert caught.value.exit_code == 130
    assert not interruption.hurry.is_set()
    os.kill(os.getpid(), number)
    assert interruption.hurry.wait(1), "the second one waits for nobody"
