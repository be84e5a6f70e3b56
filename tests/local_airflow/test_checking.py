"""`make run` says at once that a campaign is not there or cannot be loaded, before anything is started."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_airflow.__main__ import main
from local_airflow.checking import check_campaign
from local_airflow.environment import build_environment
from local_airflow.errors import CampaignUnavailableError, ComponentFailedError, RunInterruptedError
from local_airflow.home import DAGS, Home
from local_airflow.processes import Processes


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def processes(home: Home) -> Iterator[Processes]:
    processes = Processes(home.processes, home.process_logs)
    yield processes
    hurry = threading.Event()
    hurry.set()
    processes.stop(hurry)


def look(home: Home, processes: Processes, campaign: str, folder: Path = DAGS) -> None:
    user = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    environment = build_environment(
        user, home=home, secrets=home.secrets(), dags_folder=folder, api_port=1, sandbox_port=2
    )
    check_campaign(processes, environment, campaign=campaign, dags_folder=folder, pause=time.sleep)


def test_an_example_passes_and_nothing_is_left_running(home: Home, processes: Processes) -> None:
    look(home, processes, "gold_tier")
    assert processes.pids() == {}


def test_a_campaign_that_is_not_there_is_told_with_those_that_are(home: Home, processes: Processes) -> None:
    with pytest.raises(CampaignUnavailableError, match="Did you mean gold_tier") as caught:
        look(home, processes, "gold_teir")
    assert "monthly_streak" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_campaign_that_cannot_be_loaded_is_told_with_its_whole_error(
    home: Home, processes: Processes, tmp_path: Path
) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "mine.py").write_text("# An Airflow DAG\nfrom capillary.campaign import BadgeCampaign\nBadgeCampaign()\n")
    with pytest.raises(CampaignUnavailableError, match=r"mine\.py") as caught:
        look(home, processes, "mine", folder)
    assert "sql: it is missing" in str(caught.value)
    assert "badge_id: it is missing" in str(caught.value)


def test_a_check_that_fails_itself_is_no_fault_of_the_campaign(home: Home, processes: Processes) -> None:
    with pytest.raises(ComponentFailedError, match="check: failed with exit code 2"):
        look(home, processes, " ")


def test_a_wait_that_is_interrupted_ends(home: Home, processes: Processes) -> None:
    def interrupted(_: float) -> None:
        raise RunInterruptedError("stop")

    with pytest.raises(RunInterruptedError):
        check_campaign(processes, dict(os.environ), campaign="x", dags_folder=DAGS, pause=interrupted)


def test_make_run_ends_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())  # `make run` is a process of its own, and sets its variables
    home = Home(tmp_path / "home")
    assert main(["run", "--campaign", "nowhere"], home=home) == 2
    said = capsys.readouterr()
    assert "campaign 'nowhere': no file that can be loaded defines it" in said.err
    assert sorted(log.name for log in home.process_logs.iterdir()) == ["check.log"], "no sandbox, no Airflow"
    assert not home.ledger_db.exists()
    assert not home.processes.exists()
