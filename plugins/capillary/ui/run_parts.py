"""A run part by part: what its tasks have planned for one account and one occasion.

One DAG id and run id may hold several: of mapped tasks, of two Airflows that share a ledger, of a connection that was
changed and a run that was cleared. Numbers of different parts are never added. A DAG run that was deleted and made
again under the same id finds the plan of the deleted one, and this says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from capillary.counted import counted
from capillary.engine.remedies import Advice, advice
from capillary.ledger.reports import Funnel, sum_of, sum_of_failures
from capillary.ledger.run_page import PlanView, RunView
from capillary.ledger.status import Outcome
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.funnel_picture import FunnelPicture, counts_of, picture
from capillary.ui.since_words import since_sentence

#: The clocks of the two databases may differ by so much.
_SLACK: Final = timedelta(minutes=1)
#: Tasks of one part that are named; the others are counted.
_TASKS_NAMED: Final = 10


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
        since: what became of them since, in a sentence; empty where nobody was asked for again.
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
    since: str
    waits: bool
    checker_url: str


def parts_of(
    view: RunView,
    facts: RunFacts | None,
    checker_url: Callable[[str], str],
    since: Mapping[int, Mapping[Outcome | None, int]],
) -> tuple[PartShown, ...]:
    """Return the parts of a run in the order in which they were planned.

    Args:
        view: what the ledger knows.
        facts: what Airflow knows; None where the run was deleted there.
        checker_url: returns the checker's page of a connection.
        since: plan → how the last attempts ended that followed those without the badge.
    """
    return tuple(_part(name, plans, facts, checker_url, since) for name, plans in by_part(view).items())


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
    since: Mapping[int, Mapping[Outcome | None, int]],
) -> PartShown:
    first, last = plans[0].planned, plans[-1].planned
    several = len(plans) > 1
    funnel = sum_of([each.planned.funnel for each in plans])
    failures = sum_of_failures(each.failures for each in plans)
    became = Counter[Outcome | None]()
    for each in plans:
        became.update(since.get(each.badge_run_id, {}))
    return PartShown(
        account=first.account,
        occasion=first.occasion,
        name=name,
        plans={each.badge_run_id: each.planned.task_id if several else "" for each in plans},
        tasks=", ".join(_named([each.planned.task_id for each in plans])) if several else "",
        planned_at=first.planned_at,
        notes=tuple(dict.fromkeys(each.planned.note for each in plans if each.planned.note)),
        of_deleted=any(is_of_deleted(each, facts) for each in plans),
        funnel=funnel,
        picture=picture(counts_of(funnel)),
        failures=tuple(map(advice, failures)),
        since=since_sentence(sum(each.customers for each in failures), became),
        waits=any(each.wait.undecided for each in plans),
        checker_url=checker_url(last.connection),
    )


def _named(tasks: Sequence[str]) -> Iterator[str]:
    yield from tasks[:_TASKS_NAMED]
    if len(tasks) > _TASKS_NAMED:
        yield f"and {counted(len(tasks) - _TASKS_NAMED, 'other')}"
