"""What became of a run's customers since it ended, what is left now, and the one thing to do now.

A run's verdict is of the moment at which it ended. The numbers here are those of the page Badges: what nobody has
asked for again (`capillary.ledger.outstanding`), and what the last run on the occasion has left
(`capillary.ledger.left_over`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.attention import kind_of, retry_to_do
from capillary.engine.next_run import NOT_PROVEN, TAKES, canary_now
from capillary.ledger.canary import OpenCanary, speaks_of_canary
from capillary.ledger.left_over import LeftNow
from capillary.ledger.reports import FailureCount, Funnel
from capillary.ledger.status import Outcome
from capillary.ui.since_words import since_clauses


@dataclass(frozen=True, slots=True)
class After:
    """What became of a run, or of a part of it, since it ended.

    Attributes:
        sentence: what became, what is left, and the one thing to do; empty where the verdict says it all.
        aged: the verdict speaks of something that is not so any more.
        held_over: a canary held it, and does not any more.
        done: nothing is left to do for it.
    """

    sentence: str = ""
    aged: bool = False
    held_over: bool = False
    done: bool = False


#: Nothing became of it.
NOTHING: Final = After()


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What the ledger knows of a run, or of a part of it, now.

    Attributes:
        funnel: where its customers went, as of now.
        failures: those without the badge, as their requests ended.
        left: of these, what nobody has asked for again; None while a request of it is open: then nobody can tell.
        ended: how the last attempts ended that followed; None where they are too many to look at.
        left_now: what is left of the customers that it left for a later run.
        canary: what keeps its customers back now; None where nothing does.
    """

    funnel: Funnel
    failures: Sequence[FailureCount]
    left: Sequence[FailureCount] | None
    ended: Mapping[Outcome | None, int] | None
    left_now: LeftNow
    canary: OpenCanary | None = None

    @property
    def without_badge(self) -> int:
        """How many ended without the badge."""
        return sum(each.customers for each in self.failures)

    @property
    def is_held(self) -> bool:
        """Whether it planned nobody, as a canary was not decided."""
        return self.funnel.canary and not self.funnel.planned and self.funnel.over_cap > 0


def after(since: Since, report: Mapping[str, Any], dag_ids: frozenset[str]) -> After:
    """Return what became of a run since it ended.

    Args:
        since: what the ledger knows now.
        report: what its task `report` has returned; empty where nothing, or where it speaks of another part.
        dag_ids: the DAGs that the reader may read.
    """
    ended = ended_since(since.funnel, report)
    became = list(_became(since))
    rest = _rest(since, report, dag_ids)
    left = sum(each.customers for each in since.left or ())
    aged = bool(ended or became or rest.aged)
    over = since.left is not None and not left and not since.funnel.open and (rest.done or not rest.sentence)
    done = aged and over and (rest.done or not (since.left_now.by_run or since.funnel.discarded))
    said = [ended]
    if became:
        said.append(f"{'Nothing is left to do:' if done else 'Since then'} {', '.join(became)}.")
    if rest.sentence:
        said.append(rest.sentence)
    if aged and left and since.left:
        are = "is" if left == 1 else "are"
        kinds = ", ".join(map(kind_of, since.left))
        said.append(f"{counted(left, 'customer')} {are} left now: {kinds}. {retry_to_do(since.left)}")
    elif done and not became:
        said.append("Nothing is left to do.")
    return After(" ".join(filter(None, said)), aged=aged, held_over=since.is_held and rest.aged, done=done)


def ended_since(funnel: Funnel, report: Mapping[str, Any]) -> str:
    """Return how its customers have ended by now, where its report counted otherwise; empty where it did not."""
    told = report.get("funnel")
    if not isinstance(told, Mapping) or not funnel.planned or told.get("planned") != funnel.planned:
        return ""  # of a run with several plans it counts one
    if all(told.get(str(outcome), 0) == number for outcome, number in funnel.outcomes.items()):
        return ""
    return f"By now {ended_of(funnel)}."


def ended_of(funnel: Funnel) -> str:
    """Return how a run's customers have ended, in a clause without full stop."""
    many = sum(funnel.outcomes.values())
    how = ", ".join(f"{number:,} {outcome.replace('_', ' ')}" for outcome, number in funnel.outcomes.items() if number)
    of = "" if many == funnel.planned else f" of {funnel.planned:,}"
    return f"{many:,}{of} ended{': ' if how else ''}{how}"


def _became(since: Since) -> Iterator[str]:
    """Yield what became of those without the badge; nothing where nobody was asked for again."""
    if since.ended is not None:
        yield from since_clauses(since.without_badge, since.ended)
    elif since.left is not None and (gone := since.without_badge - sum(each.customers for each in since.left)):
        yield f"{gone:,} of these {since.without_badge:,} were asked for again, or erased"


def _rest(since: Since, report: Mapping[str, Any], dag_ids: frozenset[str]) -> After:
    """Return what became of those that it left for a later run: behind a canary, over the cap, or given back."""
    now, mine = since.left_now, since.left_now.by_run + since.funnel.discarded
    if not mine:
        return _configuration(since, report, dag_ids)
    if now.later and not now.customers:
        said = f"The last run since has left nobody; this one had left {mine:,}."
        return After(said, aged=True, done=True)
    if now.later:
        said = f"It left {mine:,}; the last run since has left {counted(now.customers, 'customer')}."
        return After(f"{said} {_take(now, dag_ids)}", aged=True)
    if since.is_held:
        return _held(since, mine, dag_ids)
    if now.canary_passed and report.get("canary_passed") is not True:
        said = f"The configuration is proven since: {counted(mine, 'customer')} left."
        return After(f"{said} {_take(now, dag_ids)}", aged=True)
    return _configuration(since, report, dag_ids)


def _configuration(since: Since, report: Mapping[str, Any], dag_ids: frozenset[str]) -> After:
    """Return how the configuration stands, where the report speaks of it and it does not stand so any more."""
    sentence = str(report.get("sentence", ""))
    if since.is_held or NOT_PROVEN not in sentence:
        return NOTHING
    if since.left_now.proven:
        return After("The configuration is proven since.", aged=True, done=True)
    holding = since.left_now.waits_for
    if since.funnel.requests_open or (holding is not None) == speaks_of_canary(sentence):
        return NOTHING
    return After(f"{canary_now(holding.told_to(dag_ids) if holding else None)}.", aged=True)


def _held(since: Since, left: int, dag_ids: frozenset[str]) -> After:
    """Return what became of the request that a run was held by, where no later run has planned."""
    if since.canary is not None:
        said = f"It is held still: {since.canary.told_to(dag_ids)}. {since.canary.to_do}"
        return After(f"{said} {counted(left, 'customer')} left: if the configuration is proven then, {TAKES}.")
    if since.left_now.proven:
        said = f"The configuration is proven since: {counted(left, 'customer')} left."
        return After(f"{said} {_take(since.left_now, dag_ids)}", aged=True)
    said = "What held it is not open any more, and has proven nothing."
    return After(f"{said} {_take(since.left_now, dag_ids)}", aged=True)


def _take(now: LeftNow, dag_ids: frozenset[str]) -> str:
    """Return what a run would take of those who are left, and what to do."""
    if now.proven:
        return f"Take the rest now, or leave it to the schedule if its next run has the same occasion: {TAKES}."
    holding = now.waits_for
    small = f"{canary_now(holding.told_to(dag_ids) if holding else None)}."
    if not now.canary:  # the last run had Canary off
        return f"{TAKES[0].upper()}{TAKES[1:]}. {small}"
    return f"{small} {holding.to_do if holding else 'Find out why nothing is proven, then start one.'}"
