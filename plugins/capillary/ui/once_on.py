"""What starts by itself once a paused DAG is turned on, as Airflow has worked it out when it last read the file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from capillary.ui.airflow_facts import CampaignDag


def in_utc(moment: datetime) -> str:
    """Return a moment for a text that no page shows in the reader's zone."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def once_on(dag: CampaignDag, now: datetime, shown: Callable[[datetime], str] = in_utc) -> str:
    """Return it in a sentence; empty if nothing but a person starts a run.

    Args:
        dag: paused.
        now: what was due before starts at once.
        shown: how a moment is written.
    """
    if dag.due_at is None:
        return "Once it is on, it also runs when its assets are updated." if dag.by_assets else ""
    said = _by_schedule(dag, dag.due_at, now, shown)
    return f"{said} It also runs when its assets are updated." if dag.by_assets else said


def _by_schedule(dag: CampaignDag, due_at: datetime, now: datetime, shown: Callable[[datetime], str]) -> str:
    if due_at > now:
        return f"Once it is on, it also runs by its schedule, next at {shown(due_at)}."
    one, many = ("a live run", "live runs") if dag.live else ("a dry run", "dry runs")
    if dag.catchup:
        return (
            f"Once it is on, {many} of its schedule start at once, one for every time that it has missed since "
            f"{shown(due_at)}."
        )
    return f"Once it is on, {one} of its schedule starts at once: it was due at {shown(due_at)}."
