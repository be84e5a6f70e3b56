"""What a person may order about a run: each is one call of Airflow's own API, with the user's own rights.

Nothing is carried out here. A page of ours says what will be sent; the browser sends it to Airflow, which decides
whether this user may, and writes it into its audit log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Final

from capillary.campaign.occasion import Occasion, OccasionInvalid
from capillary.counted import counted
from capillary.engine.remedies import Advice, advice, code_word, retry_of
from capillary.ledger.reports import FailureCount
from capillary.ledger.status import RETRYABLE
from capillary.ui.airflow_facts import WAIT, CampaignDag, RunFacts


class Action(StrEnum):
    """What may be ordered, as it stands in a page's address."""

    RETRY = "retry"  #: plan those again who ended without the badge
    REST = "rest"  #: a run for those that this one left for a later one
    CARRY_OUT = "carry-out"  #: what a dry run has counted, in earnest
    LOOK_NOW = "look-now"  #: have `wait` look at the platform at once


@dataclass(frozen=True, slots=True)
class Order:
    """One call of Airflow's API, and what it comes to in words.

    Attributes:
        title: what it does, as the page's title.
        button: the same, on the button.
        says: what will happen, a sentence each.
        path: of the call, below Airflow's own.
        body: its JSON.
        makes_run: it makes a run, which takes a note and to which the page then leads.
    """

    title: str
    button: str
    says: tuple[str, ...]
    path: tuple[str, ...]
    body: Mapping[str, Any]
    makes_run: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """One kind of failure, and whether a retry takes it.

    Attributes:
        value: of its box in the form.
        advice: what is said of it.
        chosen: the person's word, or else what is worth a retry.
    """

    value: str
    advice: Advice
    chosen: bool


class OrderImpossible(Exception):
    """This cannot be ordered for this run; the message says why."""


def value_of(failure: FailureCount) -> str:
    """Return how a kind of failure stands in the form."""
    return f"{failure.outcome}:{code_word(failure.error_code)}"


def choices(failures: Iterable[FailureCount], taken: Collection[str] | None) -> tuple[Choice, ...]:
    """Return every kind of failure; chosen are those that a person named or, where nobody did, those worth a retry."""
    named = retry_of(failures := tuple(failures))
    left = {value_of(each.failure) for each in named.left_out}
    return tuple(
        Choice(value := value_of(each), advice(each), value not in left if taken is None else value in taken)
        for each in failures
    )


def retry(dag: CampaignDag, facts: RunFacts, occasion: str, kinds: Sequence[Choice]) -> Order:
    """Return the order to plan again those who ended so.

    Raises:
        OrderImpossible: nothing was chosen, or the run's occasion cannot be named.
    """
    chosen = [each.advice.failure for each in kinds if each.chosen]
    if not chosen:
        raise OrderImpossible("Choose at least one kind of failure.")
    outcomes = {each.outcome for each in chosen}
    concerned = [each for each in kinds if each.advice.failure.outcome in outcomes]
    conf: dict[str, Any] = {
        "dry_run": False,
        "retry_outcomes": [str(each) for each in RETRYABLE if each in outcomes],
        **_day(dag, facts, occasion),
    }
    taken = concerned
    if not all(each.chosen for each in concerned) and "retry_codes" in dag.fields:
        codes = {code_word(each.error_code) for each in chosen}
        conf["retry_codes"] = sorted(codes)
        taken = [each for each in concerned if code_word(each.advice.failure.error_code) in codes]
    beside = [each for each in taken if not each.chosen]
    customers = sum(each.advice.failure.customers for each in taken)
    says = [
        f"Plans up to {counted(customers, 'customer')} again, in a new run of {dag.dag_id}.",
        "It takes those whose last attempt ended so, as far as the query still returns them, and whoever is new.",
        "They get new requests, which the checker has to decide. Whoever holds the badge by now is left out.",
    ]
    if beside:
        says.append(
            "Outcomes and codes are filtered each on its own, so that this takes also: "
            + ", ".join(f"{each.advice.failure.outcome} {code_word(each.advice.failure.error_code)}" for each in beside)
            + "."
        )
    return _run_order(dag, conf, title="Retry the failed", button="Retry them now", says=says)


def rest(dag: CampaignDag, facts: RunFacts, occasion: str, left: int) -> Order:
    """Return the order for a run that takes the customers that this one left.

    Raises:
        OrderImpossible: the run's occasion cannot be named.
    """
    conf = {"dry_run": False, **_day(dag, facts, occasion)}
    says = [
        f"A new run of {dag.dag_id} takes the {counted(left, 'customer')} that this one left.",
        "The query is asked again, and the campaign's own cap holds.",
        "The checker has to decide its requests.",
    ]
    return _run_order(dag, conf, title="Take the rest now", button="Take them now", says=says)


def carry_out(dag: CampaignDag, facts: RunFacts, planned: int, requests: int) -> Order:
    """Return the order to do in earnest what a dry run has counted.

    Raises:
        OrderImpossible: the campaign is not live.
    """
    if not dag.live:
        raise OrderImpossible(
            f"{dag.dag_id} is not live, so that every run of it is a dry run. Set live=True in its file first."
        )
    conf = {**{name: value for name, value in facts.conf.items() if name in dag.fields}, "dry_run": False}
    conf.pop("note", None)
    says = [
        f"A new run of {dag.dag_id} submits {counted(planned, 'customer')} in {counted(requests, 'request')}.",
        "The query is asked again, so that the numbers may differ from the dry run's.",
        "The checker has to decide each request before anybody is enrolled.",
    ]
    return _run_order(dag, conf, title="Carry out", button="Submit them now", says=says)


def look_now(facts: RunFacts) -> Order:
    """Return the order to look at the platform at once."""
    return Order(
        title="Look now",
        button="Look now",
        says=(
            f"Clears the task {WAIT} of this run: it reads the platform's list at once, and settles what is decided.",
            "Nothing is sent, and the deadline begins again.",
        ),
        path=("api", "v2", "dags", facts.dag_id, "clearTaskInstances"),
        body={
            "dry_run": False,
            "dag_run_id": facts.run_id,
            "task_ids": [WAIT],
            "only_failed": False,
            "include_downstream": True,
        },
        makes_run=False,
    )


def _run_order(dag: CampaignDag, conf: Mapping[str, Any], *, title: str, button: str, says: Sequence[str]) -> Order:
    return Order(
        title=title,
        button=button,
        says=tuple(says),
        path=("api", "v2", "dags", dag.dag_id, "dagRuns"),
        body={"logical_date": None, "conf": dict(conf)},
    )


#: How far a run's own moment may be from the day that its campaign's time zone has.
_NEAR: Final = tuple(timedelta(days=days) for days in (0, -1, 1))


def _day(dag: CampaignDag, facts: RunFacts, occasion: str) -> dict[str, str]:
    """Return the form's day that names this run's occasion; nothing where the campaign has only one.

    On another day everybody would be planned for another occasion. Which zone the campaign counts its days in need not
    be known: the occasion's own name says whether the day is right.
    """
    if "occasion_day" not in dag.fields:
        return {}
    days = [facts.moment.date() + near for near in _NEAR]
    with suppress(TypeError, ValueError):
        days.insert(0, date.fromisoformat(str(facts.conf["occasion_day"]))) if "occasion_day" in facts.conf else None
    with suppress(OccasionInvalid):
        pattern = Occasion(dag.occasion)
        for day in days:
            if pattern.resolve_day(day).name == occasion:
                return {"occasion_day": day.isoformat()}
    raise OrderImpossible(
        f"No day near this run is of its occasion {occasion!r}: the campaign's occasion was changed since. Trigger "
        f"{dag.dag_id} by hand, and give Occasion of day."
    )
