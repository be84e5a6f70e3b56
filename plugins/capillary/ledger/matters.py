"""One thing that needs a person, its colour, and the order of several: one rule for *Badges* and for the command."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from capillary.ledger.reports import FailureCount


class Urgency(StrEnum):
    """How urgent a matter is, the most urgent first; the page *Badges* shows each in its colour."""

    RED = "red"  #: nothing is sent, or customers are without the badge
    YELLOW = "yellow"  #: something is late or held back, or a run passed with failures
    BLUE = "blue"  #: a human has to decide
    GREEN = "green"  #: it went well, and may go on
    GREY = "grey"  #: nothing is wrong; it stands still because a person wants it


class Kind(StrEnum):
    """What a matter is about, the most urgent first."""

    UNKNOWN_KEY = "unknown_key"  #: the platform holds a key of ours that the ledger does not know
    AUTO_APPROVED = "auto_approved"  #: the last decided request of the account was executed without a human
    STOPPED = "stopped"  #: a stop is in force
    FILE_BROKEN = "file_broken"  #: a file of the DAGs folder does not load; Airflow knows
    RUN_FAILED = "run_failed"  #: a campaign's last run failed, and no other matter is about that run; Airflow knows
    FAILED = "failed"  #: a run has ended, and some of its customers ended without the badge
    IN_DOUBT = "in_doubt"  #: requests that are in doubt for longer than they should be
    DISTRUSTED = "distrusted"  #: the platform's list has missed a request; it is not trusted for a day
    KEEPING_LATE = "keeping_late"  #: housekeeping has not run for two hours; Airflow knows
    LIST_UNREAD = "list_unread"  #: requests are open, and nobody has read the list for two hours
    UNSETTLED = "unsettled"  #: decided requests that nobody has settled for two hours
    CANARY_WAITS = "canary_waits"  #: a run has left customers, and an open request keeps the next one from planning
    WAITING = "waiting"  #: requests that wait for the checker
    CANARY_PASSED = "canary_passed"  #: the configuration is proven, and the customers behind a canary are left
    PAUSED = "paused"  #: a live campaign's DAG is paused; Airflow knows


_URGENCY: Final[Mapping[Kind, Urgency]] = MappingProxyType(
    {
        Kind.UNKNOWN_KEY: Urgency.RED,
        Kind.AUTO_APPROVED: Urgency.RED,
        Kind.STOPPED: Urgency.RED,
        Kind.FILE_BROKEN: Urgency.RED,
        Kind.RUN_FAILED: Urgency.RED,
        Kind.FAILED: Urgency.RED,
        Kind.IN_DOUBT: Urgency.YELLOW,
        Kind.DISTRUSTED: Urgency.YELLOW,
        Kind.KEEPING_LATE: Urgency.YELLOW,
        Kind.LIST_UNREAD: Urgency.YELLOW,
        Kind.UNSETTLED: Urgency.YELLOW,
        Kind.CANARY_WAITS: Urgency.YELLOW,
        Kind.WAITING: Urgency.BLUE,
        Kind.CANARY_PASSED: Urgency.GREEN,
        Kind.PAUSED: Urgency.GREY,
    }
)
_PLACE_OF_URGENCY: Final = {urgency: place for place, urgency in enumerate(Urgency)}
_PLACE_OF_KIND: Final = {kind: place for place, kind in enumerate(Kind)}
#: After every moment that a ledger holds.
FAR: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One thing that needs a person.

    Attributes:
        kind: what it is about.
        account: whose; empty where it is about none.
        campaign: by name; None where it is about the whole account.
        dag_ids: every DAG that has planned for the campaign, or for the account where it is about all of it.
        dag_id, run_id: the run to look at first; None where there is none.
        connection: Airflow's connection of the platform, for the checker's address; None where it does not matter.
        requests, customers: how many; 0 where it is not about any.
        since: since when; None where nobody knows.
        until: when it ends by itself: the deadline of the earliest, or when the list is trusted again.
        planned: customers that the run planned, of one that has left some.
        by, reason: who stopped, and why; of customers that a canary holds, which one and since when; of a paused DAG,
            what starts once it is on.
        failures: customers without the badge, by outcome and code, the most first.
        holding: of failures, which open request keeps a run with *Canary* on from planning anybody; None: none does.
        asks_checker: what it waits for is with the checker.
        tolerated: of failures, the campaign's policy lets them pass; Airflow knows.
        occasion_shared: other runs have asked for customers on the same occasion: a retry takes what they left, too.
        failed_checks: of the requests, those that did not pass the platform's own checks.
        task: the task that failed; None where it is about none, or nobody knows.
        file: what does not load; None where it is about no file, or nobody knows.
        line: the last line of that file that Airflow's error names; None where it names none.
        remedy: what to do now, where more is known than its kind; None elsewhere.
    """

    kind: Kind
    account: str = ""
    campaign: str | None = None
    dag_ids: tuple[str, ...] = ()
    dag_id: str | None = None
    run_id: str | None = None
    connection: str | None = None
    requests: int = 0
    customers: int = 0
    planned: int = 0
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    reason: str | None = None
    failures: tuple[FailureCount, ...] = ()
    holding: str | None = None
    asks_checker: bool = False
    tolerated: bool = False
    occasion_shared: bool = False
    failed_checks: int = 0
    task: str | None = None
    file: str | None = None
    line: int | None = None
    remedy: str | None = None

    @property
    def urgency(self) -> Urgency:
        """How urgent it is: its colour, and its place."""
        return Urgency.YELLOW if self.tolerated else _URGENCY[self.kind]


def by_urgency(matters: Iterable[Matter]) -> tuple[Matter, ...]:
    """Return them in their order: by colour; within it what holds up a whole account or campaign, then by customers.

    Of as many customers the longest comes first. What waits for the checker stands by its deadline before that, where
    one is known.
    """
    return tuple(sorted(matters, key=_place))


def _place(matter: Matter) -> tuple[object, ...]:
    kind = _PLACE_OF_KIND[matter.kind]
    return (
        _PLACE_OF_URGENCY[matter.urgency],
        matter.customers > 0,
        0 if matter.customers else kind,
        (matter.until if matter.kind is Kind.WAITING else None) or FAR,
        -matter.customers,
        matter.since or FAR,
        kind,
        matter.account,
        matter.campaign or "",
    )


def with_deadlines(matters: Iterable[Matter], deadlines: Mapping[tuple[str, str], datetime]) -> tuple[Matter, ...]:
    """Return the matters in their order, with the deadline of what waits for the checker.

    Args:
        matters: of `capillary.ledger.attention.attention`.
        deadlines: of each DAG id and run id, as `wait` has kept it in Airflow; of runs that are not there nothing is
            known.
    """
    return by_urgency(
        replace(each, until=deadlines.get((each.dag_id or "", each.run_id or "")))
        if each.kind is Kind.WAITING
        else each
        for each in matters
    )


def with_tolerated(matters: Iterable[Matter], passed: Collection[tuple[str, str]]) -> tuple[Matter, ...]:
    """Return the matters in their order, the failures of runs that passed all the same marked as tolerated.

    Args:
        matters: of `capillary.ledger.attention.attention`.
        passed: DAG id and run id of the runs that Airflow calls successful.
    """
    return by_urgency(
        replace(each, tolerated=(each.dag_id or "", each.run_id or "") in passed) if each.kind is Kind.FAILED else each
        for each in matters
    )
