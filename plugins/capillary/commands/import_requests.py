"""Import into a ledger that is behind the platform: what campaigns may have planned, held against the list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.definitions.mappedoperator import MappedOperator

from capillary.api.request_workflow import Entity
from capillary.api.settings import PlatformSettings
from capillary.base_operator import PlanningOperator
from capillary.campaign.dag import PlanCampaignOperator
from capillary.counted import counted
from capillary.engine.import_requests import Imported, import_forgotten
from capillary.errors import TerminalError
from capillary.hooks import CapillaryHook
from capillary.ledger.database import Ledger
from capillary.ledger.import_requests import Candidate
from capillary.wiring import platform_client, runtime_of

#: Occasions are tried from so long before the list's first day: a run may be for an earlier period.
LOOK_BACK: Final = timedelta(days=62)
#: Arguments of a planning task that say what its requests are.
_TOLD_BY: Final = ("occasion", "badge_id", "owner_type", "reference_id", "entity", "campaign")


class CampaignsUnreadable(TerminalError):
    """A file of the DAGs folder cannot be loaded, so that its campaigns' requests could not be told."""


def import_from_platform(
    ledger: Ledger, *, capillary_conn_id: str, since: date, nothing_is_older: bool, dags_folder: Path | None
) -> tuple[Imported, tuple[str, ...]]:
    """Write back what the platform holds of ours and the ledger has forgotten.

    Returns what was imported, and the tasks whose files do not say what they planned, each with the reason.

    Args:
        ledger: the ledger.
        capillary_conn_id: the platform's connection.
        since: first day of the list to read, in the cluster's time zone.
        nothing_is_older: a person says that no request of ours is older than `since`.
        dags_folder: where the campaigns are; None: only what the ledger itself still knows is tried.

    Raises:
        ConnectionMissing, SettingsInvalid: the connection cannot be used.
        CampaignsUnreadable: a file of the folder cannot be loaded.
        PlatformUnavailable, ReplyUnreadable, CallRefused: the list could not be read.
        OccasionTaken, OrganisationElsewhere: what is imported contradicts what the ledger holds.
    """
    settings = CapillaryHook(capillary_conn_id).get_settings()
    candidates, untold = _candidates(dags_folder, settings, since) if dags_folder else ([], ())
    logging.getLogger(__name__).info("%s from %s", counted(len(candidates), "candidate"), dags_folder)

    async def run() -> Imported:
        runtime = runtime_of(threads=False)
        async with platform_client(settings, ledger, runtime) as client:
            return await import_forgotten(
                ledger,
                client,
                runtime,
                since=since,
                nothing_is_older=nothing_is_older,
                candidates=candidates,
                run_id=f"import__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
                capillary_conn_id=capillary_conn_id,
            )

    return asyncio.run(run()), untold


def _candidates(folder: Path, settings: PlatformSettings, since: date) -> tuple[list[Candidate], tuple[str, ...]]:
    """Return what the folder's tasks may have planned, and the tasks that do not tell, each with the reason."""
    if not folder.exists():  # Airflow would find no campaigns in it, and every request would stay unknown
        raise CampaignsUnreadable(f"there is no folder {folder}: give --dags the folder of the campaigns that planned")
    bag = DagBag(dag_folder=str(folder), collect_dags=True)
    if bag.import_errors:
        broken = ", ".join(sorted(bag.import_errors))
        raise CampaignsUnreadable(
            f"these files cannot be loaded, so their requests cannot be recognised: {broken}. Fix them, or move "
            "them out of the folder"
        )
    candidates: list[Candidate] = []
    untold: list[str] = []
    for dag in bag.dags.values():
        for task in dag.tasks:
            named = f"task {task.task_id!r} of DAG {dag.dag_id!r}"
            if isinstance(task, MappedOperator):
                untold.extend([f"{named}: it is mapped, and its parts are known when it runs"] * _maps_plans(task))
            elif isinstance(task, PlanningOperator) and task.badge_id:  # else it was given another one's plan
                if later := [argument for argument in _TOLD_BY if _is_known_later(getattr(task, argument))]:
                    of_run = "is known when it runs (a template, or another task's output)"
                    untold.append(f"{named}: its {', '.join(later)} {of_run}")
                    continue
                try:
                    candidates.extend(_candidates_of(task, dag.dag_id, settings, since))
                except TerminalError as error:
                    untold.append(f"{named}: {error}")
    return candidates, tuple(untold)


def _maps_plans(task: MappedOperator) -> bool:
    """Return whether a mapped task plans customers for a badge of its own."""
    expanded = task.expand_input.value
    # What `expand_kwargs` goes over is known when it runs, and may hold the badge.
    arguments = {*task.partial_kwargs, *(expanded if isinstance(expanded, Mapping) else ("badge_id",))}
    return issubclass(task.operator_class, PlanningOperator) and "badge_id" in arguments


def _is_known_later(value: object) -> bool:
    if isinstance(value, str):
        return any(sign in value for sign in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return any(map(_is_known_later, value.values()))
    return not isinstance(value, Entity | int | None)  # another task's output


def _candidates_of(task: PlanningOperator, dag_id: str, settings: PlatformSettings, since: date) -> Iterator[Candidate]:
    spec = task.spec_of(settings)
    for occasion in _occasions(task, since):
        for hostname in settings.inner_hostnames:
            yield Candidate(task.campaign_name(dag_id), occasion, replace(spec, hostname=hostname))


def _occasions(task: PlanningOperator, since: date) -> set[str]:
    if not isinstance(task, PlanCampaignOperator):
        return {task.occasion_name()}
    first = since - LOOK_BACK
    days = (datetime.now(UTC).date() - first).days + 2
    return {task.badge_campaign.when.resolve_day(first + timedelta(days=day)).name for day in range(days)}
