"""Which request held a run that planned nobody, and whether it is decided: where its page leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capillary.ledger.canary import Stand, named_canary
from capillary.ledger.run_page import RunView
from capillary.ui.run_parts import PartShown


@dataclass(frozen=True, slots=True)
class CanaryShown:
    """The canary that held a run.

    Attributes:
        run: dag_id and run_id of it; None where nobody has named it, or the reader may not see it.
        checker_url: the checker's page while it waits there; empty elsewhere, and where its connection names none.
    """

    run: tuple[str, str] | None
    checker_url: str


def shown_canary(
    view: RunView | None, report: Mapping[str, Any] | None, dag_ids: frozenset[str], parts: Sequence[PartShown]
) -> CanaryShown | None:
    """Return the canary that held a run; None where none did.

    Args:
        view: what the ledger knows of the run.
        report: what its task `report` has returned, without names that its reader may not see.
        dag_ids: the DAGs that the reader may read.
        parts: of the run.
    """
    if view is None or view.funnel.planned or not (view.funnel.canary and view.funnel.over_cap):
        return None
    waiting = next((plan.canary for plan in view.plans if plan.canary), None)
    sentence = (report or {}).get("sentence")
    named = named_canary(sentence) if isinstance(sentence, str) else None
    run = (waiting.dag_id, waiting.run_id) if waiting else named
    asks = waiting is not None and waiting.stand is Stand.WAITING
    url = next((part.checker_url for part in parts if part.checker_url), "") if asks else ""
    return CanaryShown(run if run and run[0] in dag_ids else None, url)
