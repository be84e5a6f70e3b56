"""What may be ordered about a run, by whoever looks at it, and what is said of an order beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from airflow.utils.state import TaskInstanceState

from capillary.ledger.left_over import LeftNow
from capillary.ledger.run_page import RunView
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import CampaignDag, RunFacts
from capillary.ui.order_day import OrderImpossible
from capillary.ui.orders import Action, assert_live, choices, only_occasion, retry
from capillary.ui.report_view import ReportShown
from capillary.ui.run_known import Known

#: Orders that make a run for the occasion of the one they are about.
FOR_ONE_OCCASION: Final = frozenset({Action.RETRY, Action.REST})

#: Said of a retry that would take nobody as things are.
_CHOOSE: Final = "Retry the failed: takes none of them by itself; choose the kinds on its page."
#: `wait` sleeps in these states; in any other one it looks already, and a clear would break that off.
_SLEEPS: Final = frozenset({TaskInstanceState.DEFERRED, TaskInstanceState.UP_FOR_RESCHEDULE})


def is_held_back(action: Action, dag: CampaignDag | None) -> bool:
    """Return whether what stands in the way of a run that submits stands in the way of this, too."""
    if action is Action.DRY_RUN:  # it goes on under a stop
        return dag is not None and dag.broken
    return action is not Action.LOOK_NOW


def actions_on(
    reader: Reader,
    dag: CampaignDag | None,
    facts: RunFacts | None,
    report: ReportShown | None,
    known: Known,
    *,
    dry: bool,
    changed: bool,
    wait: str | None,
) -> tuple[Action, ...]:
    """Return what this reader may order about a run, whatever stands in the way of it.

    Args:
        reader: who looks.
        dag: the campaign's DAG; None for a DAG of another kind.
        facts: what Airflow knows of the run; None where it was deleted there.
        report: what its task `report` has returned.
        known: what the ledger knows.
        dry: it has only counted; what the ledger knows is then of a deleted run with the same id.
        changed: what a dry run has counted does not hold any more.
        wait: the state of its task `wait`.
    """
    if dag is None or facts is None:
        return ()
    found = []
    if dry:
        known = replace(known, view=None, left=(), left_now=None)
    if _may_look(facts, known.view, wait) and reader.may_clear(dag.dag_id):
        found.append(Action.LOOK_NOW)
    if dag.live and reader.may_trigger(dag.dag_id):
        held = known.left_now is not None and known.left_now.holding(canary=dag.canary) is not None
        found += [Action.RETRY] if known.left and not held else []
        passed = facts.is_over and report is not None and report.passed
        rest = facts.is_over and _may_take_rest(known.left_now, dag, passed=passed)
        found += [Action.REST] if rest else []
        if passed and report and report.dry_run and report.planned:
            found.append(Action.DRY_RUN if changed else Action.CARRY_OUT)
    return tuple(found)


def orders_say(
    reader: Reader,
    dag: CampaignDag | None,
    facts: RunFacts | None,
    actions: tuple[Action, ...],
    occasions: tuple[str, ...],
    known: Known,
) -> Iterator[str]:
    """Yield what an order would come to, or why it cannot be given, a sentence each."""
    if dag is None or facts is None or not reader.may_trigger(dag.dag_id):
        return
    try:
        if known.left or (known.left_now and known.left_now.by_run):
            assert_live(dag)
        if Action.RETRY in actions:
            kinds = choices(known.left, None)
            if any(each.chosen for each in kinds):
                said = retry(dag, facts, only_occasion(occasions), kinds, known.on_occasion).says[0]
                yield f"Retry the failed: {said[0].lower()}{said[1:]}"
            else:
                yield _CHOOSE
        elif Action.REST in actions:
            only_occasion(occasions)
    except OrderImpossible as error:
        yield str(error)


def _may_look(facts: RunFacts, view: RunView | None, wait: str | None) -> bool:
    """Return whether a look at once would tell more: a human has yet to decide, or the try of `wait` was cut short."""
    if facts.is_over or view is None:
        return False
    undecided = any(plan.wait.undecided for plan in view.plans)
    return (undecided and wait in _SLEEPS) or wait == TaskInstanceState.UP_FOR_RETRY


def _may_take_rest(left: LeftNow | None, dag: CampaignDag, *, passed: bool) -> bool:
    """Return whether a run now would take what this one left: also behind a canary, once it is proven."""
    if left is None or not left.by_run or not left.may_be_taken(canary=dag.canary):
        return False
    return passed or left.canary_passed
