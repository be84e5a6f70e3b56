"""Why an order cannot be given now: of several reasons the one that holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from capillary.engine.next_run import canary_now
from capillary.ledger.canary import OpenCanary
from capillary.ui.orders import Action
from capillary.ui.run_view import RunShown

_NO_DRY_RUN: Final = "This is not a dry run that would plan somebody."
_NOT_OVER: Final = "This run is not over yet."


def not_now(action: Action, shown: RunShown, dag_ids: Collection[str]) -> str:
    """Return why this order about a run cannot be given now.

    Args:
        action: the order.
        shown: the run.
        dag_ids: the DAGs that the reader may read.
    """
    match action:
        case Action.RETRY:
            return _no_retry(shown, dag_ids)
        case Action.REST:
            return _no_rest(shown, dag_ids)
        case Action.CARRY_OUT:
            return " ".join((*shown.changed, _AGAIN)) if shown.changed else _NO_DRY_RUN
        case Action.DRY_RUN:
            return "What this dry run has counted still holds." if shown.is_dry else _NO_DRY_RUN
        case Action.LOOK_NOW:
            return _no_look(shown)


#: What to do about a dry run whose numbers do not hold any more.
_AGAIN: Final = "Its numbers do not hold any more: make a new dry run."


def _no_retry(shown: RunShown, dag_ids: Collection[str]) -> str:
    left = shown.left_now
    if shown.left and left is not None and (holding := left.holding(canary=_canary(shown))):
        return _held_by(holding, dag_ids)
    if shown.has_failures:
        return "Nobody of this run is left to be retried: everybody without the badge was asked for again since."
    return "Nobody of this run is left to be retried: nobody has ended without the badge."


def _no_rest(shown: RunShown, dag_ids: Collection[str]) -> str:
    left = shown.left_now
    if left is None or shown.is_dry or not left.by_run:
        return "This run has left nobody for a later one."
    if shown.facts is not None and not shown.facts.is_over:
        return _NOT_OVER
    if not left.customers:
        return "The last run of the campaign on this occasion has left nobody."
    if holding := left.holding(canary=_canary(shown)):
        return _held_by(holding, dag_ids)
    if not left.may_be_taken(canary=_canary(shown)):
        return f"{canary_now(None)}. It would not take the rest. Find out why nothing is proven, then trigger one."
    return "This run has not passed, or you may not read its report. Its page says what to do first."


def _canary(shown: RunShown) -> bool:
    """Return whether the order's run would have *Canary* on."""
    return shown.dag is None or shown.dag.canary


def _held_by(holding: OpenCanary, dag_ids: Collection[str]) -> str:
    return f"{canary_now(holding.told_to(dag_ids))}. {holding.to_do}"


def _no_look(shown: RunShown) -> str:
    if shown.facts is not None and shown.facts.is_over:
        return "This run is over: nothing of it looks at the platform any more."
    if shown.view is None:
        return "This run has planned nobody yet."
    if any(plan.wait.undecided for plan in shown.view.plans):
        return "A human has yet to decide, and its task wait looks by itself at this moment, or is about to."
    return "Nothing of this run waits for the checker."
