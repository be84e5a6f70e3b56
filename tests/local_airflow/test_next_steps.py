"""What the commands tell a person to do next: each line can be copied as it stands."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from local_airflow.__main__ import LocalAirflow, parse
from local_airflow.campaign import CampaignRun
from local_airflow.environment import Sources
from local_airflow.home import CHECKOUT, Home
from local_airflow.interruption import Interruption
from local_airflow.next_steps import decision, question, shown
from tests.local_airflow.played_airflow import PlayedAirflow

SAMPLE = Sources(own_platform=False, own_warehouse=False, own_ledger=False)
OWN_LEDGER = Sources(own_platform=False, own_warehouse=False, own_ledger=True)


def command_of(sentence: str) -> list[str]:
    lead, command = sentence.split(": ", 1)
    assert lead == "what happened to customer 4711"
    return shlex.split(command)


def test_the_sample_ledgers_question_is_answered_by_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "a home with 'blanks'")
    home.create()
    asked = command_of(question(home, SAMPLE))
    assert asked[0] == sys.executable or (CHECKOUT / asked[0]).samefile(sys.executable)
    url = asked[asked.index("--url") + 1]
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "capillary", "ledger", "create", "--url", url], cwd=CHECKOUT, check=True, timeout=60
    )
    assert home.ledger_db.is_file()
    answer = subprocess.run(  # noqa: S603 - what we told a person to type
        asked, cwd=CHECKOUT, check=False, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0
    assert "the ledger has no row of this customer" in answer.stderr


def test_an_own_ledger_is_asked_by_its_connection(tmp_path: Path) -> None:
    assert command_of(question(Home(tmp_path), OWN_LEDGER))[1:] == ["-m", "capillary", "customer", "4711"]


def test_what_lies_in_the_checkout_is_named_as_it_is_typed_there(tmp_path: Path) -> None:
    asked = command_of(question(Home(CHECKOUT / ".airflow"), SAMPLE))
    assert asked[-2:] == ["--url", "sqlite:///.airflow/ledger.db"]
    assert shown(CHECKOUT / ".venv" / "bin" / "python") == ".venv/bin/python"
    assert shown(tmp_path) == str(tmp_path)


def test_a_manual_checker_is_told_where_they_decide() -> None:
    assert "approve or reject each request at http://127.0.0.1:8091/." in decision(8091)


@pytest.mark.parametrize(
    ("checker", "sources", "decides"),
    [
        ("manual", SAMPLE, True),
        ("automatic", SAMPLE, False),
        ("manual", Sources(own_platform=True, own_warehouse=True, own_ledger=False), False),
    ],
    ids=["manual", "automatic", "own platform"],
)
def test_run_tells_who_decides_and_how_to_ask(
    checker: str, sources: Sources, *, decides: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CampaignRun, "await_loaded", lambda _: None)
    monkeypatch.setattr(CampaignRun, "run", lambda *_: None)
    home = Home(tmp_path / "home")
    home.create()
    home.remember_sandbox_port(8091)
    said = io.StringIO()
    console = Console(file=said, soft_wrap=True)
    command = LocalAirflow(
        parse(["run", "--checker", checker]), home=home, console=console, interruption=Interruption()
    )
    assert command._run(PlayedAirflow(runs=[]).client(), {}, sources) == 1, "there is no report"
    assert (decision(8091) in said.getvalue()) is decides
    assert question(home, sources) in said.getvalue()
