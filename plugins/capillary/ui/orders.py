"""What a person may order about a run: each is one call of Airflow's own API, with the user's own rights.

Nothing is carried out here. A page of ours says what will be sent; the browser sends it to Airflow, which decides
whether this user may, and writes it into its audit log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from capillary.counted import counted
from capillary.engine.remedies import Advice, advice, code_word, may_be_named, retry_of
from capillary.ledger.bounds import MAX_INTEGER
from capillary.ledger.left_over import LeftNow
from capillary.ledger.reports import FailureCount, most_first
from capillary.ledger.retryable import Retryable
from capillary.ledger.status import RETRYABLE, Outcome
from capillary.ui.airflow_facts import WAIT, CampaignDag, RunFacts
from capillary.ui.order_day import OrderImpossible, day_of
from capillary.ui.order_requests import A_CANARY, approvals, most, new_requests, together

_NO_SUCH_CODE: Final = f"The trigger form takes no code below 1 or above {MAX_INTEGER:,}"


class Action(StrEnum):
    """What may be ordered, as it stands in a page's address."""

    RETRY = "retry"  #: plan those again who ended without the badge
    REST = "rest"  #: a run for those that this one left for a later one
    CARRY_OUT = "carry-out"  #: what a dry run has counted, in earnest
    DRY_RUN = "dry-run"  #: count once more what a dry run has counted
    LOOK_NOW = "look-now"  #: have `wait` look at the platform at once

    @property
    def words(self) -> str:
        """Return what it does, as a page's title."""
        return _TITLES[self]


_TITLES: Final = {
    Action.RETRY: "Retry the failed",
    Action.REST: "Take the rest now",
    Action.CARRY_OUT: "Carry out",
    Action.DRY_RUN: "New dry run",
    Action.LOOK_NOW: "Look now",
}


class NothingChosen(OrderImpossible):
    """No kind of failure is ticked, so that nobody would be retried: a question, and no refusal."""


@dataclass(frozen=True, slots=True)
class Order:
    """One call of Airflow's API, and what it comes to in words.

    Attributes:
        button: what it does, on the button.
        says: what will happen, a sentence each.
        path: of the call, below Airflow's own.
        body: its JSON.
        makes_run: it makes a run, which takes a note and to which the page then leads.
    """

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
        others: customers of other runs on the occasion who ended the same way; a retry takes them, too.
    """

    value: str
    advice: Advice
    chosen: bool
    others: int = 0

    @property
    def unnameable(self) -> str:
        """Return why the trigger form cannot name its code; empty where it can."""
        failure = self.advice.failure
        if may_be_named(failure.error_code):
            return ""
        return f"{_NO_SUCH_CODE}. A retry takes this one only along with every code of {_words(failure.outcome)}."


def value_of(failure: FailureCount) -> str:
    """Return how a kind of failure stands in the form."""
    return f"{failure.outcome}:{code_word(failure.error_code)}"


def choices(
    failures: Iterable[FailureCount], taken: Collection[str] | None, on_occasion: Iterable[Retryable] = ()
) -> tuple[Choice, ...]:
    """Return every kind of failure, once; chosen are those that a person named or, where nobody did, worth a retry."""
    others = {(each.outcome, each.error_code): each.customers - each.of_run for each in on_occasion}
    customers = Counter[tuple[Outcome, int | None]]()
    for each in failures:
        customers[each.outcome, each.error_code] += each.customers
    kinds = most_first(FailureCount(*ending, number) for ending, number in customers.items())
    left = {value_of(each.failure) for each in retry_of(kinds).left_out}
    return tuple(
        Choice(
            value := value_of(each),
            advice(each),
            value not in left if taken is None else value in taken,
            others.get((each.outcome, each.error_code), 0),
        )
        for each in kinds
    )


def assert_live(dag: CampaignDag) -> None:
    """Raise where every run of the campaign is a dry run, whatever it is told.

    Raises:
        OrderImpossible: the campaign is not live.
    """
    if not dag.live:
        raise OrderImpossible(
            f"{dag.dag_id} is not live, so every run of it is a dry run. Set live=True in its file first."
        )


def only_occasion(occasions: Collection[str]) -> str:
    """Return the one occasion of a run; empty where none is known.

    Raises:
        OrderImpossible: its tasks planned for several, and a new run plans for one.
    """
    if len(occasions) > 1:
        raise OrderImpossible(
            f"This run planned for several occasions ({', '.join(occasions)}), and a new run plans for one. Trigger "
            "one by hand for each of them."
        )
    return next(iter(occasions), "")


def retry(
    dag: CampaignDag,
    facts: RunFacts,
    occasion: str,
    kinds: Sequence[Choice],
    on_occasion: Sequence[Retryable],
    new: str = "",
    left: LeftNow | None = None,
) -> Order:
    """Return the order to plan again those who ended so.

    Args:
        dag: the campaign's.
        facts: of the run.
        occasion: of the run.
        kinds: the run's failures, and which of them are chosen.
        on_occasion: those that a retry may take, whichever run of the occasion asked for them.
        new: how many customers come along who were never asked for (`new_ones`).
        left: what is left now of the customers that the run left; None where that is not known.

    Raises:
        NothingChosen: nothing was chosen.
        OrderImpossible: the campaign is not live, a code cannot be named, or the run's occasion.
    """
    assert_live(dag)
    chosen = {(each.advice.failure.outcome, each.advice.failure.error_code) for each in kinds if each.chosen}
    if not chosen:
        raise NothingChosen("Choose at least one kind of failure.")
    outcomes = {outcome for outcome, _ in chosen}
    conf: dict[str, Any] = {
        "dry_run": False,
        "retry_outcomes": [str(each) for each in RETRYABLE if each in outcomes],
        **day_of(dag, facts, occasion),
    }
    taken = [each for each in on_occasion if each.outcome in outcomes]
    if any((each.outcome, each.error_code) not in chosen for each in taken) and "retry_codes" in dag.fields:
        codes = {code for _, code in chosen}
        conf["retry_codes"] = _named(codes)
        taken = [each for each in taken if each.error_code in codes]
    beside = [each for each in taken if (each.outcome, each.error_code) not in chosen]
    customers = counted(sum(each.customers for each in taken), "customer")
    is_canary = left is not None and left.is_small(canary=dag.canary)
    requests = new_requests(dag, together(taken, on_occasion, left), is_canary=is_canary)
    says = [
        f"Plans up to {customers} again, in a new run of {dag.dag_id}{_whose(taken)}.",
        *([A_CANARY] if is_canary else []),
        "It takes those whose last attempt ended so, as far as the query still returns them.",
        *([new] if new else []),
        f"{requests} Customers who already hold the badge are left out.",
    ]
    if refused := sum(each.by_itself for each in on_occasion if each not in taken):
        says.append(
            f"Beside them it takes, as every run does, up to {counted(refused, 'customer')} not accepted before."
        )
    if beside:
        says.append(
            "Outcomes and codes are filtered each on its own, so that this takes also: "
            + ", ".join(f"{each.outcome} {code_word(each.error_code)}" for each in beside)
            + "."
        )
    return _run_order(dag, conf, button="Retry them now", says=says)


def new_ones(left: LeftNow | None) -> str:
    """Say how many customers a run takes who were never asked for: of new rows of the query only a dry run knows."""
    if left is None or not left.customers:
        known = "The ledger knows of none now."
    else:
        known = f"The ledger knows of up to {left.customers:,}, left by the last run of the campaign."
    return (
        "A retry also takes customers of the query who were never asked for on this occasion, up to the run's cap. "
        f"{known} A dry run also counts those who are new in the query."
    )


def rest(dag: CampaignDag, facts: RunFacts, occasion: str, left: LeftNow) -> Order:
    """Return the order for a run that takes the customers that this one left.

    Raises:
        OrderImpossible: the campaign is not live, or the run's occasion cannot be named.
    """
    assert_live(dag)
    conf = {"dry_run": False, **day_of(dag, facts, occasion)}
    whose = "a later run of it on this occasion has left" if left.later else "this one left"
    retry_told = facts.conf.get("retry_outcomes")
    retried = bool(retry_told) and retry_told != dag.defaults.get("retry_outcomes")
    is_canary = left.is_small(canary=dag.canary)
    all_left = counted(left.customers, "customer")
    taken = most(dag, left.customers, is_canary=is_canary)
    them = f"the {all_left}" if taken == left.customers and not retried else f"up to {taken:,} of the {all_left}"
    of_them = " who were never asked for" if retried else ""
    says = [
        f"A new run of {dag.dag_id} takes {them} that {whose}{of_them}, as far as {_STILL}, and whoever is new.",
        *([A_CANARY] if is_canary else []),
        *([_NO_RETRY] if retried else []),
        "The query is asked again, and the campaign's own cap holds.",
        approvals(dag, left.customers, is_canary=is_canary),
    ]
    return _run_order(dag, conf, button="Take them now", says=says)


_STILL: Final = "nobody has taken them since and the query still returns them"
#: Said of the rest of a run that was told to retry: who is left of those was asked for before.
_NO_RETRY: Final = (
    "It retries nobody. Customers that this run was told to retry, and left, are taken by Retry the failed on the page "
    "of the run in which they failed."
)


def carry_out(
    dag: CampaignDag,
    facts: RunFacts,
    occasion: str,
    planned: int,
    requests: int | None,
    *,
    canary_of: int | None = None,
) -> Order:
    """Return the order to do in earnest what a dry run has counted, on the occasion that it counted for.

    Args:
        dag: the campaign's.
        facts: of the dry run.
        occasion: that it has counted for; empty where nobody knows.
        planned: customers.
        requests: of them; None where nobody knows.
        canary_of: of how many customers this is only a canary; None where it is none.

    Raises:
        OrderImpossible: the campaign is not live, or the occasion cannot be named.
    """
    assert_live(dag)
    conf = {**{name: value for name, value in facts.conf.items() if name in dag.fields}, "dry_run": False}
    conf.pop("note", None)
    conf |= day_of(dag, facts, occasion)
    of_requests = "" if requests is None else f" in {counted(requests, 'request')}"
    says = [
        f"A new run of {dag.dag_id} submits {counted(planned, 'customer')}{of_requests}.",
        _ASKED_AGAIN,
        "The checker has to decide each request before anybody is enrolled.",
    ]
    if canary_of is not None and canary_of > planned:
        says.insert(
            1,
            f"It is a canary: {planned:,} of {counted(canary_of, 'customer')}. The other {canary_of - planned:,} are "
            "left for later runs on the occasion, which are held small, too, until a request is approved by a human, "
            "with somebody enrolled and nobody unconfirmed.",
        )
    if "occasion_day" in conf:
        says.insert(1, f"It plans for the dry run's occasion, that of {conf['occasion_day']}.")
    return _run_order(dag, conf, button="Submit them now", says=says)


#: Of the numbers of a dry run: what the ledger can say of them, and what only the warehouse knows.
_ASKED_AGAIN: Final = (
    "Since the dry run nobody was planned on its occasion. The query is asked again: who has come into it or left it "
    "since, the ledger cannot know, so that the numbers may differ."
)


def dry_run_again(dag: CampaignDag, facts: RunFacts, occasion: str) -> Order:
    """Return the order to count once more what a dry run has counted, on its occasion.

    Raises:
        OrderImpossible: the occasion cannot be named.
    """
    conf = {**{name: value for name, value in facts.conf.items() if name in dag.fields}, "dry_run": True}
    conf.pop("note", None)
    conf |= day_of(dag, facts, occasion)
    says = (
        f"Counts, in a new run of {dag.dag_id}, what a run with this one's form would plan now.",
        "It writes nothing into the ledger, and sends nothing.",
    )
    return _run_order(dag, conf, button="Count now", says=says)


def look_now(facts: RunFacts) -> Order:
    """Return the order to look at the platform at once."""
    return Order(
        button="Look now",
        says=(
            f"Clears the task {WAIT} of this run: it reads the platform's list at once, and settles what is decided.",
            "Nothing is sent. The deadline stays as it is.",
        ),
        path=("api", "v2", "dags", facts.dag_id, "clearTaskInstances"),
        body={
            "dry_run": False,
            "dag_run_id": facts.run_id,
            "task_ids": [WAIT],
            "only_failed": False,
            "include_downstream": True,
            "prevent_running_task": True,  # it looks at this moment: broken off, it would wait for its next try
        },
        makes_run=False,
    )


def _run_order(dag: CampaignDag, conf: Mapping[str, Any], *, button: str, says: Sequence[str]) -> Order:
    return Order(
        button=button,
        says=tuple(says),
        path=("api", "v2", "dags", dag.dag_id, "dagRuns"),
        body={"logical_date": None, "conf": dict(conf)},
    )


def _named(codes: Iterable[int | None]) -> list[str]:
    """Return codes as the trigger form takes them."""
    codes = list(codes)
    if unnamed := sorted(code for code in codes if code is not None and not may_be_named(code)):
        raise OrderImpossible(
            f"{_NO_SUCH_CODE}, and {', '.join(map(str, unnamed))} is chosen. Leave it out, or "
            "choose every kind of its outcome; where other runs of the occasion have more kinds of it, trigger the run "
            "by hand."
        )
    return sorted(map(code_word, codes))


def _whose(taken: Sequence[Retryable]) -> str:
    own = sum(each.of_run for each in taken)
    others = sum(each.customers for each in taken) - own
    return (
        f": {own:,} of this run, and {others:,} of other runs on its occasion, whichever campaign's" if others else ""
    )


def _words(outcome: Outcome) -> str:
    return outcome.replace("_", " ")
