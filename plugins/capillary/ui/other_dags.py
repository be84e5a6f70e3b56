"""A run's own report, for a reader who may not read every DAG that it names: told without those names.

The report is written for whoever may read the run. What keeps it back may be another team's canary, and its customers
may be known through another team's campaign.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.verdict import KNOWN_THROUGH
from capillary.ledger.canary import without_foreign_name
from capillary.ledger.locked_rows import without_foreign_owner
from capillary.ui.failed_tasks import FailedTask

#: How `capillary.ledger.plan` counts the campaigns that it does not name.
_MORE: Final = re.compile(r"(\d+) more")


def for_reader(
    report: Mapping[str, Any] | None, *, dag_ids: Collection[str], campaigns: Collection[str]
) -> Mapping[str, Any] | None:
    """Return a report as its reader may have it.

    Args:
        report: what the task `report` has returned; None where it has not.
        dag_ids: the DAGs that the reader may read.
        campaigns: those that these DAGs have planned for.
    """
    if report is None:
        return None
    changed: dict[str, Any] = {}
    if isinstance(sentence := report.get("sentence"), str):
        said, known, names = without_foreign_name(sentence, dag_ids).partition(KNOWN_THROUGH)
        changed["sentence"] = f"{said}{known}{_names(names.removesuffix('.'), campaigns)}." if known else said
    if isinstance(through := report.get("known_through"), str):
        changed["known_through"] = _names(through, campaigns)
    return {**report, **changed}


def told_to(failed: FailedTask, dag_id: str, *, dag_ids: Collection[str], campaigns: Collection[str]) -> FailedTask:
    """Return why a task failed as its reader may have it.

    Args:
        failed: the task.
        dag_id: of its run.
        dag_ids: the DAGs that the reader may read.
        campaigns: those that these DAGs have planned for.
    """
    said = without_foreign_owner(without_foreign_name(failed.said, dag_ids), [*campaigns, dag_id])
    return replace(failed, said=said)


def _names(names: str, campaigns: Collection[str]) -> str:
    """Return the names of campaigns, those counted that the reader may not see."""
    named = names.split(", ") if names else []
    more = sum(int(found[1]) for each in named if (found := _MORE.fullmatch(each)))
    seen = [each for each in named if each in campaigns]
    hidden = len([each for each in named if not _MORE.fullmatch(each)]) - len(seen)
    return names if not hidden else ", ".join([*seen, counted(hidden + more, "other campaign")])
