"""Campaign files that this Airflow would pass over without a word: named before anything is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from rich.console import Console

from local_airflow.environment import SAFE_MODE
from local_airflow.errors import CampaignUnavailableError

#: What Airflow takes for true in a setting.
_TRUE = frozenset({"t", "true", "1"})


def tell_passed_over(environment: Mapping[str, str], *, folder: Path, campaign: str, console: Console) -> None:
    """Name the files with what to write.

    Args:
        environment: of Airflow's processes.
        folder: the campaigns.
        campaign: what is to be run; empty for all of them.
        console: for people.

    Raises:
        CampaignUnavailableError: the campaign that is to be run is passed over itself.
    """
    # Airflow, asked for what an .airflowignore leaves out, reads its settings when it is imported.
    os.environ.update(environment)
    safe_mode = environment.get(SAFE_MODE, "True").lower() in _TRUE
    found = import_module("capillary.check.dag_discovery").passed_over(folder, safe_mode=safe_mode)
    if mine := [str(each) for each in found if campaign in each.campaigns]:
        raise CampaignUnavailableError("\n".join([f"{campaign} cannot be run:", *mine]))
    for each in found:
        console.print(str(each), style="yellow")
