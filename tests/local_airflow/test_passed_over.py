"""What a local Airflow says of campaign files that it would pass over."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from local_airflow.__main__ import main
from local_airflow.environment import SAFE_MODE
from local_airflow.errors import CampaignUnavailableError
from local_airflow.home import Home
from local_airflow.passed_over import tell_passed_over

CAMPAIGN = "from capillary.campaign import BadgeCampaign\ndag = BadgeCampaign(name='vip').dag()\n"
FORGOTTEN = f'"""An Airflow DAG."""\n{CAMPAIGN}'.replace(".dag()", "").replace("'vip'", "'gold'")
#: Airflow's own, while it reads an .airflowignore.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def campaigns(tmp_path: Path) -> Path:
    folder = tmp_path / "campaigns"
    folder.mkdir()
    (folder / "vips.py").write_text(CAMPAIGN)
    (folder / "gold.py").write_text(FORGOTTEN)
    return folder


def told(folder: Path, campaign: str = "", **environment: str) -> str:
    console = Console(file=io.StringIO(), width=200, record=True, soft_wrap=True)
    tell_passed_over(environment, folder=folder, campaign=campaign, console=console)
    return console.export_text()


def test_up_names_every_file_and_what_to_write(campaigns: Path) -> None:
    gold, vips = told(campaigns).splitlines()
    assert gold == "gold.py: 'gold' makes no DAG, so Airflow never runs it. Write dag = BadgeCampaign(…).dag()."
    assert vips.startswith("vips.py: Airflow ignores this file without a warning, because it does not contain both")
    assert vips.endswith('Write them into its docstring, as in """Gold tier: an Airflow DAG.""".')


def test_where_airflow_reads_all_files_the_words_are_not_asked_for(campaigns: Path) -> None:
    assert told(campaigns, **{SAFE_MODE: "False"}).splitlines()[0].startswith("gold.py: ")
    assert "vips.py" not in told(campaigns, **{SAFE_MODE: "False"})


def test_a_run_of_another_campaign_goes_on(campaigns: Path) -> None:
    assert "vips.py" in told(campaigns, "monthly_streak")


def test_a_run_of_such_a_campaign_ends_before_anything_starts(
    campaigns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in ("vip", "gold"):
        with pytest.raises(CampaignUnavailableError, match=f"^{each} cannot be run:\n"):
            told(campaigns, each)
    monkeypatch.delenv(SAFE_MODE, raising=False)
    home = Home(tmp_path / "home")
    assert main(["run", "--campaign", "vip", "--dags-folder", str(campaigns)], home=home) == 2
    assert "vip cannot be run:\nvips.py: Airflow ignores this file" in capsys.readouterr().err
    assert not home.processes.exists()
