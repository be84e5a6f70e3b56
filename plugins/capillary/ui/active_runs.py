"""Runs of a DAG that Airflow has not ended: an order page names them, and catches an order that was given already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from capillary.counted import counted
from capillary.ledger.dag_plans import have_planned, last_plan_of
from capillary.ledger.database import Transaction
from capillary.ui.airflow_facts import CampaignDag, RunFacts

#: So many of them are named; the others are counted.
_NAMED: Final = 5
#: Fields of the form that say nothing of what a run does.
_WORDS: Final = frozenset({"note"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRuns:
    """The queued and the running runs of a DAG that submit, and which of them have planned.

    Attributes:
        runs: the newest first; dry runs take nobody, and are left out.
        planned: ids of those that have planned: what they took is in the ledger's counts.
        as_of: changes with every run that is made of the DAG, and with every plan of it.
    """

    runs: tuple[RunFacts, ...] = ()
    planned: frozenset[str] = frozenset()
    as_of: str = ""

    def says(self, dag_id: str) -> Iterator[str]:
        """Yield what a person has to know of them before another run is made, a sentence each."""
        before = [each.run_id for each in self.runs if each.run_id not in self.planned]
        if before:
            yield (
                f"{counted(len(before), 'run')} of {dag_id} that Airflow has not ended {_has(before)} not planned yet, "
                f"and may take some of these customers first: {_named(before)}."
            )
        through = [each.run_id for each in self.runs if each.run_id in self.planned]
        if through:
            yield (
                f"{counted(len(through), 'run')} of {dag_id} that Airflow has not ended {_has(through)} planned "
                f"already, which is counted here: {_named(through)}."
            )

    def same(self, dag: CampaignDag, conf: Mapping[str, Any]) -> RunFacts | None:
        """Return the run that was given the same order and has not planned yet; None where there is none."""
        wanted = _told(dag, conf)
        waiting = (each for each in self.runs if each.run_id not in self.planned)
        return next((each for each in waiting if _told(dag, each.conf) == wanted), None)


#: Nobody has looked, or there are none.
NO_RUNS: Final = ActiveRuns()


def active_runs(tx: Transaction, dag: CampaignDag, runs: tuple[RunFacts, ...], newest: RunFacts | None) -> ActiveRuns:
    """Return the runs of a DAG that are not over, with what the ledger knows of them.

    Args:
        tx: the transaction.
        dag: the campaign's.
        runs: its queued and running ones, the newest first.
        newest: its newest run, over or not; None before the first.
    """
    submits = tuple(each for each in runs if not _told(dag, each.conf).get("dry_run"))
    state = (newest and (newest.run_id, str(newest.made_at)), last_plan_of(tx, dag.dag_id))
    return ActiveRuns(
        runs=submits,
        planned=have_planned(tx, dag.dag_id, [each.run_id for each in submits]),
        as_of=sha256(repr(state).encode()).hexdigest()[:16],
    )


def _told(dag: CampaignDag, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run goes by: the form's own values where nobody gave another; an empty one is as none."""
    told = {**dag.defaults, **conf}
    return {
        name: sorted(map(str, value)) if isinstance(value, list) else value
        for name, value in told.items()
        if name not in _WORDS and value not in (None, "", [])
    }


def _has(runs: list[str]) -> str:
    return "has" if len(runs) == 1 else "have"


def _named(runs: list[str]) -> str:
    more = len(runs) - _NAMED
    return ", ".join([*runs[:_NAMED], *([f"{more:,} more"] if more > 0 else [])])
