"""What is asked in the daily questions (`capillary.ledger.questions`), and the rows of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from capillary.ledger.reports import Funnel
from capillary.ledger.status import Outcome, RequestStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which part of the ledger a question is about; None asks for all.

    Attributes:
        account, campaign: by name.
        since: the earliest time, aware: of settling, of the first send, or of planning, as the question says.
        outcomes: of `failed_customers`.
        codes: the same; None among them stands for an ending without a code.
        limit: most rows of the answer.
    """

    account: str | None = None
    campaign: str | None = None
    since: datetime | None = None
    outcomes: frozenset[Outcome] | None = None
    codes: frozenset[int | None] | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerAttempt:
    """One attempt at enrolling a customer on an occasion.

    Attributes:
        attempt: numbered upwards within the occasion; the highest one counts.
        status: of the request.
        outcome: None while it is open.
        code: the platform's word on the customer, or else on the whole request; None where it named none.
        checker_message: what the checker wrote; of several sightings one after the other.
        request_error: why the request was not accepted, or what is wrong with it.
        request_key, platform_request_ids: under which the platform knows the request.
        first_sent_at, settled_at: None while it is not.
    """

    campaign: str
    occasion: str
    customer_id: int
    attempt: int
    status: RequestStatus
    outcome: Outcome | None
    code: int | None
    checker_message: str | None
    request_error: str | None
    issued_id: str | None
    badge_id: str
    account: str
    dag_id: str
    run_id: str
    request_key: str
    platform_request_ids: str
    first_sent_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request that is not settled.

    Attributes:
        age_s: seconds since it was first sent; None while it was not.
        approvals: decisions that a human still owes: one for each copy that the platform holds undecided.
        status: `planned`, `sending` (without an answer, or in doubt), `waiting`.
        states: the platform's words, one for each sighting.
        tries, resends: POSTs so far, and how many of them went out after a doubt.
        doubt_from: in doubt, and its absence may be judged by a reading of the list begun after this.
        failed_checks: the platform's own checks that it says failed.
    """

    campaign: str
    occasion: str
    age_s: int | None
    approvals: int
    status: RequestStatus
    states: str
    customers: int
    connection: str
    account: str
    dag_id: str
    run_id: str
    request_key: str
    platform_request_ids: str
    tries: int
    resends: int
    first_sent_at: datetime | None
    doubt_from: datetime | None
    failed_checks: str
    request_error: str | None


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that planned, and where its customers went."""

    planned_at: datetime
    campaign: str
    occasion: str
    account: str
    connection: str
    dag_id: str
    run_id: str
    task_id: str
    note: str | None
    funnel: Funnel


def planned_run(row: Row[Any], counts: Funnel) -> PlannedRun:
    """Return a run as it is shown, from its row with its occasion's name, and its funnel."""
    return PlannedRun(
        planned_at=row.planned_at,
        campaign=row.campaign,
        occasion=row.occasion,
        account=row.account,
        connection=row.capillary_conn_id,
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        note=row.note,
        funnel=counts,
    )


def joined(words: Iterable[str | None]) -> str:
    """Return the different words in their order: those of several sightings of one request."""
    return "; ".join(dict.fromkeys(word for word in words if word))
