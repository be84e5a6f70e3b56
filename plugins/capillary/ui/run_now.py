"""What is so now of a run that its report and its failed task cannot know: from the ledger, for the run's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from airflow.utils.state import TaskInstanceState

from capillary.api.settings import PlatformSettings
from capillary.engine.first_reading import first_reading_calls
from capillary.ledger.database import Transaction
from capillary.ledger.given_back import GivenBack, given_back
from capillary.ledger.left_over import left_now
from capillary.ledger.reports import FailureCount
from capillary.ledger.run_page import RunView
from capillary.ledger.scans import state
from capillary.ledger.status import Outcome
from capillary.ledger.stop_ends import StopEnd, stop_ends
from capillary.ledger.stops import Scope
from capillary.ui.aftermath import NOTHING
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.failed_runs import is_dry
from capillary.ui.headline import Beside
from capillary.ui.once_on import once_on
from capillary.ui.run_parts import Became, PartShown, after_of, by_part

#: Said of a run that waits for its checker while its task `wait` is in one of these states.
_LOOKS: Final[Mapping[str, str]] = {
    TaskInstanceState.SCHEDULED: "Its task wait is about to look at the platform.",
    TaskInstanceState.QUEUED: "Its task wait is about to look at the platform.",
    TaskInstanceState.RUNNING: "Its task wait looks at the platform at this moment.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNow:
    """What the ledger knows now.

    Attributes:
        became: what became of the run's customers.
        stops: what became of every stop.
        read_at: when the list of its account was last read; None where it is of several, or never was.
        given_back: what the run has given back unsent; None where nothing.
        first_reading: calls, at least, of the account's first reading, which the next run that sends does first; 0:
            it is done, or nobody here knows.
    """

    became: Became = field(default_factory=lambda: Became(left={}, since={}, left_now={}))
    stops: Mapping[Scope, StopEnd] = field(default_factory=dict)
    read_at: datetime | None = None
    given_back: GivenBack | None = None
    first_reading: int = 0

    def with_failures(
        self,
        left: Mapping[int, tuple[FailureCount, ...]],
        since: Mapping[int, Mapping[Outcome | None, int]] | None,
    ) -> RunNow:
        """Return it with what became of those without the badge (`Became`)."""
        return replace(self, became=replace(self.became, left=left, since=since))


def run_now(tx: Transaction, view: RunView | None, platform: PlatformSettings | None) -> RunNow:
    """Return what is so now, but for those without the badge.

    Args:
        tx: the transaction.
        view: of the run; None where it has planned nothing.
        platform: what the connection of its DAG says; None where the API server has it not.
    """
    now = RunNow(stops=stop_ends(tx), first_reading=first_reading_calls(tx, platform) if platform else 0)
    if view is None:
        return now
    accounts = {plan.planned.account for plan in view.plans}
    left = {name: left_now(tx, {plan.badge_run_id for plan in plans}) for name, plans in by_part(view).items()}
    return replace(
        now,
        given_back=given_back(tx, {plan.badge_run_id for plan in view.plans}),
        became=replace(now.became, left_now=left),
        read_at=state(tx, accounts.pop()).read_at if len(accounts) == 1 else None,
    )


def beside_of(
    facts: RunFacts | None,
    dag: CampaignDag | None,
    view: RunView | None,
    parts: Sequence[PartShown],
    *,
    wait: str | None,
    queued: str,
    is_of_dry: bool,
) -> Beside:
    """Return what stands beside a run's report and its plan.

    Args:
        facts: what Airflow knows; None where the run was deleted there.
        dag: of the campaign; None for a DAG of another kind.
        view: what the ledger knows; None where nothing was planned.
        parts: of the run.
        wait: Airflow's word for its task `wait`; None where it has none.
        queued: why Airflow has not started it; empty where it has.
        is_of_dry: what the ledger knows is of a deleted run, and this is a dry one of the same id.
    """
    undecided = view is not None and any(plan.wait.undecided for plan in view.plans)
    return Beside(
        dry=facts is not None and is_dry(facts, live=dag is None or dag.live),
        queued=queued,
        once_on=once_on(dag, datetime.now(UTC)) if queued and dag and dag.paused else "",
        looks=_LOOKS.get(wait or "", "") if undecided else "",
        after=after_of(parts) if parts and not is_of_dry else NOTHING,
    )
