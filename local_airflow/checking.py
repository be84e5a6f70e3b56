"""Whether the campaign's file loads, asked before anything is started: Airflow needs half a minute to say so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from local_airflow.errors import CampaignUnavailableError
from local_airflow.processes import Processes

_CHECK = "check"
#: Exit code of a check that found what would fail; any other one is a failure of its own.
_FOUND = 1
_TICK_S = 0.1


def check_campaign(
    processes: Processes,
    environment: Mapping[str, str],
    *,
    campaign: str,
    dags_folder: Path,
    pause: Callable[[float], None],
) -> None:
    """Run `python -m capillary check` on the campaign's file alone: the sandbox and the samples are not there yet.

    Raises:
        CampaignUnavailableError: there is no such campaign, or it cannot be loaded; with what the check says.
        ComponentFailedError: the check itself failed.
    """
    arguments = ["check", str(dags_folder), "--campaign", campaign, "--files-only", "--quiet"]
    processes.start(_CHECK, [sys.executable, "-m", "capillary", *arguments], environment)
    while (code := processes.exit_code(_CHECK)) is None:
        pause(_TICK_S)
    if code == _FOUND:
        raise CampaignUnavailableError(processes.log_of(_CHECK).read_text(errors="replace").rstrip())
    processes.done(_CHECK)
