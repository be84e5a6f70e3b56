"""A run part by part: what its tasks have planned for one account and one occasion.

One DAG id and run id may hold several: of mapped tasks, of two Airflows that share a ledger, of a connection that was
changed and a run that was cleared. Numbers of different parts are never added. A DAG run that was deleted and made
again under the same id finds the plan of the deleted one, and this says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.remedies import Advice, advice
from capillary.ledger.left_over import LeftNow
from capillary.ledger.reports import FailureCount, Funnel, sum_of, sum_of_failures
from capillary.ledger.run_page import PlanView, RunView
from capillary.ledger.status import Outcome
from capillary.ui.aftermath import NOTHING, After, Since, after
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.funnel_picture import FunnelPicture, counts_of, picture
from capillary.ui.since_words import held_since, since_clauses

#: The clocks of the two databases may differ by so much.
_SLACK: Final = timedelta(minutes=1)
#: Tasks of one part that are named; the others are counted.
_TASKS_NAMED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Became:
    """What the ledger knows of what became of a run's customers.

    Attributes:
        left: plan → its failures that nobody has asked for again.
        since: plan → how the last attempts ended that followed those without the badge; None: too many to look at.
        left_now: name of the part → what is left of the customers that it left for a later run.
    """

    left: Mapping[int, tuple[FailureCount, ...]]
    since: Mapping[int, Mapping[Outcome | None, int]] | None
    left_now: Mapping[str, LeftNow]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartShown:
    """What a run's tasks have planned for one account and one occasion.

    Attributes:
        account, occasion: whose, and of what.
        name: of the part, in words; empty where the run has no other.
        plans: `badge_run.id` of the plans → the task of each, where there are several.
        tasks: the tasks that planned, in words; empty of one.
        planned_at: when the first of them planned.
        notes: that they were given.
        of_deleted: an earlier run of the same id has planned it, which was deleted in Airflow.
        funnel: the sum of its tasks'.
        picture: the funnel as a picture.
        failures: what became of those without the badge, each with its meaning and remedy.
        left: of these, how many nobody has asked for again, in the same order; None while a request of it is open.
        since: what became of them since, in a sentence; empty where nobody was asked for again.
        without_badge_now: how many of them are without it now; None where they are too many to look at.
        after: what became of the part since the run ended.
        waits: a human has yet to decide something of it.
        checker_url: the checker's page; empty where its connection names none.
    """

    account: str
    occasion: str
    name: str
    plans: Mapping[int, str]
    tasks: str
    planned_at: datetime
    notes: tuple[str, ...]
    of_deleted: bool
    funnel: Funnel
    picture: FunnelPicture
    failures: tuple[Advice, ...]
    left: tuple[int, ...] | None
    since: str
    without_badge_now: int | None
    after: After
    waits: bool
    checker_url: str


def parts_of(
    view: RunView,
    facts: RunFacts | None,
    checker_url: Callable[[str], str],
    became: Became,
    report: Mapping[str, Any] | None,
    dag_ids: frozenset[str],
) -> tuple[PartShown, ...]:
    """Return the parts of a run in the order in which they were planned.

    Args:
        view: what the ledger knows.
        facts: what Airflow knows; None where the run was deleted there.
        checker_url: returns the checker's page of a connection.
        became: what became of its customers since.
        report: what its task `report` has returned; None where nothing.
        dag_ids: the DAGs that the reader may read.
    """
    told = report or {} if len(view.plans) == 1 else {}  # of several it speaks of one, and does not say of which
    return tuple(_part(name, plans, facts, checker_url, became, told, dag_ids) for name, plans in by_part(view).items())


def after_of(parts: Sequence[PartShown]) -> After:
    """Return what became of a run since it ended; of several parts, whether each below says something of it."""
    if len(parts) == 1:
        return parts[0].after
    aged = any(each.after.aged for each in parts)
    return After("What became of them since stands below, part by part.", aged=True) if aged else NOTHING


def by_part(view: RunView) -> dict[str, list[PlanView]]:
    """Return the plans of a run by the name of their part; of a single part, which needs none, it is empty."""
    found: dict[tuple[str, str], list[PlanView]] = {}
    for plan in view.plans:
        found.setdefault((plan.planned.account, plan.planned.occasion), []).append(plan)
    alone = len(found) == 1
    return {"" if alone else f"{occasion} on {account}": plans for (account, occasion), plans in found.items()}


def is_of_deleted(plan: PlanView, facts: RunFacts | None) -> bool:
    """Return whether an earlier run of the same id has planned it: before Airflow made the one that it knows."""
    made_at = facts.made_at if facts else None
    return made_at is not None and plan.planned.planned_at < made_at - _SLACK


def _part(
    name: str,
    plans: Sequence[PlanView],
    facts: RunFacts | None,
    checker_url: Callable[[str], str],
    became: Became,
    report: Mapping[str, Any],
    dag_ids: frozenset[str],
) -> PartShown:
    first, last = plans[0].planned, plans[-1].planned
    several = len(plans) > 1
    since = _since(name, plans, became)
    of_deleted = any(is_of_deleted(each, facts) for each in plans)
    clauses = ", ".join(since_clauses(since.without_badge, since.ended or {}))
    return PartShown(
        account=first.account,
        occasion=first.occasion,
        name=name,
        plans={each.badge_run_id: each.planned.task_id if several else "" for each in plans},
        tasks=", ".join(_named([each.planned.task_id for each in plans])) if several else "",
        planned_at=first.planned_at,
        notes=tuple(dict.fromkeys(each.planned.note for each in plans if each.planned.note)),
        of_deleted=of_deleted,
        funnel=since.funnel,
        picture=picture(counts_of(since.funnel)),
        failures=tuple(map(advice, since.failures)),
        left=_left(since),
        since=f"Since then {clauses}." if clauses else "",
        without_badge_now=_without_badge_now(since),
        after=NOTHING if of_deleted or facts is None or not facts.is_over else after(since, report, dag_ids),
        waits=any(each.wait.undecided for each in plans),
        checker_url=checker_url(last.connection),
    )


def _since(name: str, plans: Sequence[PlanView], became: Became) -> Since:
    funnel = sum_of([each.planned.funnel for each in plans])
    ended = Counter[Outcome | None]()
    for each in plans:
        ended.update((became.since or {}).get(each.badge_run_id, {}))
    return Since(
        funnel=funnel,
        failures=sum_of_failures(each.failures for each in plans),
        left=None if funnel.requests_open else _sum_of_left(plans, became),
        ended=None if became.since is None else ended,
        left_now=became.left_now[name],
        canary=next((each.canary for each in plans if each.canary), None),
    )


def _sum_of_left(plans: Iterable[PlanView], became: Became) -> tuple[FailureCount, ...]:
    return sum_of_failures(became.left.get(each.badge_run_id, ()) for each in plans)


def _left(since: Since) -> tuple[int, ...] | None:
    """Return what is left of each kind of failure."""
    if since.left is None:
        return None
    left = {(each.outcome, each.error_code): each.customers for each in since.left}
    return tuple(left.get((each.outcome, each.error_code), 0) for each in since.failures)


def _without_badge_now(since: Since) -> int | None:
    """Return how many are without the badge now: who was erased is not counted, where that is known."""
    if since.ended is None:
        return None
    if since.left is None:
        return since.without_badge - held_since(since.ended)
    return sum(each.customers for each in since.left) + sum(since.ended.values()) - held_since(since.ended)


def _named(tasks: Sequence[str]) -> Iterator[str]:
    yield from tasks[:_TASKS_NAMED]
    if len(tasks) > _TASKS_NAMED:
        yield f"and {counted(len(tasks) - _TASKS_NAMED, 'other')}"
