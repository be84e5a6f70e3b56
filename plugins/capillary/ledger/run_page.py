"""One DAG run: where its customers went, each of its requests, and who failed with what code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, Subquery, exists, func, literal, select, tuple_

from capillary.ledger.answers import PlannedRun, joined, planned_run
from capillary.ledger.canary import OpenCanary, open_canary
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import FailureCount, Funnel, ended_of, sum_of, sum_of_failures
from capillary.ledger.run_wait import RunWait, run_wait
from capillary.ledger.schema import (
    badge_enrolment,
    badge_occasion,
    badge_request,
    badge_result,
    badge_run,
    badge_sighting,
)
from capillary.ledger.since_then import newest_after
from capillary.ledger.status import RETRYABLE, Outcome, RequestStatus

#: Requests of a page, and customers of a page.
REQUESTS_SHOWN: Final = 500
CUSTOMERS_SHOWN: Final = 100
#: Customers that a stream reads at once.
_PART: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A request as the platform shows it.

    Attributes:
        platform_request_id: what the checker sees.
        state: the platform's word.
        auto_approved: decided, and no human did it.
        checker_message: what the checker wrote; None where nothing.
        failed_checks: the platform's own checks that it says failed; empty: none.
        seen_at, decided_at: when it was first seen, and first seen decided; None while undecided.
        end_time: when it ended, as the platform shows it, in the cluster's time zone; None where it does not.
    """

    platform_request_id: str
    state: str
    auto_approved: bool
    checker_message: str | None
    failed_checks: str
    seen_at: datetime
    decided_at: datetime | None
    end_time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine:
    """One request of the run.

    Attributes:
        request_id: the ledger's number, and `after` of the next page.
        badge_run_id: of the plan that it belongs to.
        request_key: sent as the inner `requestId`.
        task_id: the task that planned it.
        connection: Airflow's connection of the platform, for the address of the checker's queue.
        ordinal: 0-based within its task's plan.
        attempt: 1 for customers who were never asked for before.
        customers: how many.
        status: where it stands in the ledger.
        tries, resends: POSTs so far, and how many of them went out after a doubt.
        age_s: seconds from the first send until it was seen decided, or to now; None while it was not sent.
        first_sent_at, doubt_from, settled_at: None while it is not.
        error_code, error: why it was refused, given back or is in doubt.
        sightings: the requests that the platform shows under its key; more than one are twins.
    """

    request_id: int
    badge_run_id: int
    request_key: str
    task_id: str
    connection: str
    ordinal: int
    attempt: int
    customers: int
    status: RequestStatus
    tries: int
    resends: int
    age_s: int | None
    first_sent_at: datetime | None
    doubt_from: datetime | None
    settled_at: datetime | None
    error_code: int | None
    error: str | None
    sightings: tuple[Sighting, ...]

    @property
    def decided_at(self) -> datetime | None:
        """When all that the platform shows of it was seen decided; None while something waits, or nothing was seen."""
        moments = [each.decided_at for each in self.sightings]
        return None if None in moments else max(filter(None, moments), default=None)

    @property
    def waits_for_checker(self) -> bool:
        """Whether a human has yet to decide it."""
        return self.status is RequestStatus.WAITING and any(each.decided_at is None for each in self.sightings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """What one task of the run planned.

    A run has more than one where a task is mapped, where several tasks plan, and where its id was used on several
    accounts: by two Airflows, or before and after the connection was changed.

    Attributes:
        badge_run_id: the ledger's number of the plan.
        planned: when, by what task, on what occasion, under what connection, with what note, and the funnel.
        wait: what it still waits for.
        failures: customers without the badge, by outcome and code, the most first.
        canary: what it waits for, if it planned nobody behind a request that is open still.
        alive_until: its unsent requests are given back after this.
    """

    badge_run_id: int
    planned: PlannedRun
    wait: RunWait
    failures: tuple[FailureCount, ...]
    canary: OpenCanary | None
    alive_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A DAG run that has planned.

    Attributes:
        dag_id, run_id: of Airflow.
        plans: one for each task that planned, in their order; never empty.
        funnel: the sum of theirs, whatever account and occasion they are of.
        failures: the sum of theirs, the most first.
        requests: a page of them.
        requests_before: how many stand on the pages before.
    """

    dag_id: str
    run_id: str
    plans: tuple[PlanView, ...]
    funnel: Funnel
    failures: tuple[FailureCount, ...]
    requests: tuple[RequestLine, ...]
    requests_before: int

    @property
    def has_more(self) -> bool:
        """Whether there are requests on pages after this one."""
        return self.requests_before + len(self.requests) < self.funnel.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCustomer:
    """A customer that ended without the badge in this run.

    Attributes:
        customer_id: the platform's id.
        badge_run_id: of the plan that asked for it.
        account, occasion, task_id: of that plan.
        outcome: how this attempt ended.
        code: the platform's word on the customer, or else on the whole request; None where it named none.
        checker_message: what the checker wrote; None where nothing.
        request_error: why the request was not accepted, or what is wrong with it.
        request_key, platform_request_ids: under which the platform knows the request.
        asked_again: whether a later attempt was planned.
        last_outcome, last_code: how the last of them ended; None while it has not, and without a code.
        place: where the next page begins, if this is the last of its page.
    """

    customer_id: int
    badge_run_id: int
    account: str
    occasion: str
    task_id: str
    outcome: Outcome
    code: int | None
    checker_message: str | None
    request_error: str | None
    request_key: str
    platform_request_ids: str
    asked_again: bool
    last_outcome: Outcome | None
    last_code: int | None
    place: Place


class Place(NamedTuple):
    """Where a page ends: the next one begins after it."""

    request_id: int
    customer_id: int


def run(tx: Transaction, dag_id: str, run_id: str, *, after: int = 0, requests: int = REQUESTS_SHOWN) -> RunView | None:
    """Return a DAG run, or None where the ledger knows no plan of it: a dry run, or one that has not planned yet.

    Args:
        tx: the transaction.
        dag_id: of Airflow.
        run_id: the same.
        after: `request_id` of the last request of the page before; 0: the first page.
        requests: most of a page.
    """
    rows = _plans(tx, dag_id, run_id)
    if not rows:
        return None
    ended = ended_of(tx, rows)
    plans = tuple(_plan_view(tx, row, *ended[row.id]) for row in rows)
    return RunView(
        dag_id=dag_id,
        run_id=run_id,
        plans=plans,
        funnel=sum_of([each.planned.funnel for each in plans]),
        failures=sum_of_failures([each.failures for each in plans]),
        requests=tuple(requests_of(tx, plans, after=after, limit=requests)),
        requests_before=_requests_up_to(tx, plans, after) if after else 0,
    )


def requests_of(
    tx: Transaction, plans: Sequence[PlanView], *, after: int = 0, limit: int = REQUESTS_SHOWN
) -> Iterator[RequestLine]:
    """Yield the requests of these plans in the order in which they were planned.

    Args:
        tx: the transaction.
        plans: of one run.
        after: `request_id` of the last one that was shown.
        limit: most of them.
    """
    by_id = {plan.badge_run_id: plan.planned for plan in plans}
    rows = tx.conn.execute(
        select(badge_request)
        .where(badge_request.c.badge_run_id.in_(by_id), badge_request.c.id > after)
        .order_by(badge_request.c.id)
        .limit(limit)
    ).all()
    seen = _sightings(tx, [row.id for row in rows])
    for row in rows:
        planned, sightings = by_id[row.badge_run_id], seen.get(row.id, ())
        yield RequestLine(
            request_id=row.id,
            badge_run_id=row.badge_run_id,
            request_key=row.request_key,
            task_id=planned.task_id,
            connection=planned.connection,
            ordinal=row.ordinal,
            attempt=row.attempt,
            customers=row.customers,
            status=RequestStatus(row.status),
            tries=row.tries,
            resends=row.resends,
            age_s=_age_s(tx, row, sightings),
            first_sent_at=row.first_sent_at,
            doubt_from=row.doubt_from,
            settled_at=row.settled_at,
            error_code=row.error_code,
            error=row.error,
            sightings=sightings,
        )


def _requests_up_to(tx: Transaction, plans: Sequence[PlanView], last: int) -> int:
    request = badge_request.c
    counted: int = tx.conn.execute(
        select(func.count()).where(request.badge_run_id.in_([plan.badge_run_id for plan in plans]), request.id <= last)
    ).scalar_one()
    return counted


def failed_customers_of(
    tx: Transaction, dag_id: str, run_id: str, *, after: Place | None = None, limit: int = CUSTOMERS_SHOWN
) -> tuple[FailedCustomer, ...]:
    """Return a page of the customers that ended without the badge in a DAG run, by request and id.

    Args:
        tx: the transaction.
        dag_id: of Airflow.
        run_id: the same.
        after: `place` of the last one of the page before; None: the first page.
        limit: most of them; fewer came, and there is no more.
    """
    rows = tx.conn.execute(_failed(dag_id, run_id, after, limit)).all()
    seen = _sightings(tx, sorted({row.request_id for row in rows}))
    return tuple(
        FailedCustomer(
            customer_id=row.customer_id,
            badge_run_id=row.badge_run_id,
            account=row.account,
            occasion=row.occasion,
            task_id=row.task_id,
            outcome=Outcome(row.outcome),
            code=row.request_code if row.error_code is None else row.error_code,
            checker_message=joined(each.checker_message for each in seen.get(row.request_id, ())) or None,
            request_error=row.error,
            request_key=row.request_key,
            platform_request_ids=joined(each.platform_request_id for each in seen.get(row.request_id, ())),
            asked_again=row.last_attempt is not None,
            last_outcome=Outcome(row.last_outcome) if row.last_outcome else None,
            last_code=row.last_request_code if row.last_code is None else row.last_code,
            place=Place(row.request_id, row.customer_id),
        )
        for row in rows
    )


def failed_customers_up_to(tx: Transaction, dag_id: str, run_id: str, place: Place) -> int:
    """Return how many of them stand before the end of a page: from the kept counts, but for the page's own request."""
    of_run = select(badge_run.c.id).where(badge_run.c.dag_id == dag_id, badge_run.c.run_id == run_id)
    before = select(func.coalesce(func.sum(badge_result.c.customers - badge_result.c.without_row), 0)).where(
        badge_result.c.request_id.in_(
            select(badge_request.c.id).where(
                badge_request.c.badge_run_id.in_(of_run), badge_request.c.id < place.request_id
            )
        ),
        badge_result.c.outcome.in_(RETRYABLE),
    )
    within = select(func.count()).where(
        badge_enrolment.c.request_id == place.request_id,
        badge_enrolment.c.customer_id <= place.customer_id,
        badge_enrolment.c.outcome.in_(RETRYABLE),
    )
    return int(tx.conn.execute(before).scalar_one()) + int(tx.conn.execute(within).scalar_one())


def every_failed_customer(tx: Transaction, dag_id: str, run_id: str) -> Iterator[FailedCustomer]:
    """Yield all of them, in the same order, a part at a time: of a million customers a few thousand are held."""
    after = None
    while part := failed_customers_of(tx, dag_id, run_id, after=after, limit=_PART):
        yield from part
        after = part[-1].place


def _plans(tx: Transaction, dag_id: str, run_id: str) -> Sequence[Row[Any]]:
    return tx.conn.execute(
        select(badge_run, badge_occasion.c.occasion)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_run.c.dag_id == dag_id, badge_run.c.run_id == run_id)
        .order_by(badge_run.c.id)
    ).all()


def _plan_view(tx: Transaction, row: Row[Any], counts: Funnel, failing: tuple[FailureCount, ...]) -> PlanView:
    plan = OpenPlan(row.id)
    behind = row.canary and not row.planned and row.over_cap
    return PlanView(
        badge_run_id=row.id,
        planned=planned_run(row, counts),
        wait=run_wait(tx, plan),
        failures=failing,
        canary=open_canary(tx, plan) if behind else None,
        alive_until=row.alive_until,
    )


def _failed(dag_id: str, run_id: str, after: Place | None, limit: int) -> Select[Any]:
    """Return the statement of a page, with the last attempt that followed each: looked for on this page alone."""
    page, last, again = _page(dag_id, run_id, after, limit), badge_enrolment.alias("last"), badge_request.alias("again")
    followed = (
        (last.c.occasion_id == page.c.occasion_id)
        & (last.c.customer_id == page.c.customer_id)
        & (last.c.attempt == newest_after(page))
    )
    return (
        select(
            page,
            last.c.attempt.label("last_attempt"),
            last.c.outcome.label("last_outcome"),
            last.c.error_code.label("last_code"),
            again.c.error_code.label("last_request_code"),
        )
        .select_from(page)
        .outerjoin(last, followed)
        .outerjoin(again, again.c.id == last.c.request_id)
        .order_by(page.c.request_id, page.c.customer_id)
    )


def _page(dag_id: str, run_id: str, after: Place | None, limit: int) -> Subquery:
    enrolment = badge_enrolment.c
    of_run = select(badge_run.c.id).where(badge_run.c.dag_id == dag_id, badge_run.c.run_id == run_id)
    # Requests whose counts say that nobody failed are not opened.
    counted = exists().where(badge_result.c.request_id == badge_request.c.id, badge_result.c.outcome.in_(RETRYABLE))
    statement = (
        select(
            badge_enrolment,
            badge_run.c.account,
            badge_run.c.task_id,
            badge_occasion.c.occasion,
            badge_request.c.badge_run_id,
            badge_request.c.request_key,
            badge_request.c.error,
            badge_request.c.error_code.label("request_code"),
        )
        .join(badge_request, badge_request.c.id == enrolment.request_id)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_request.c.badge_run_id.in_(of_run), counted, enrolment.outcome.in_(RETRYABLE))
        .order_by(enrolment.request_id, enrolment.customer_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(enrolment.request_id, enrolment.customer_id) > tuple_(*map(literal, after)))
    return statement.subquery("page")


def _sightings(tx: Transaction, request_ids: Sequence[int]) -> dict[int, tuple[Sighting, ...]]:
    """Return the sightings of each request: those that wait for a human first, then the latest."""
    found: dict[int, tuple[Sighting, ...]] = {}
    rows = tx.conn.execute(
        select(badge_sighting)
        .where(badge_sighting.c.request_id.in_(request_ids))
        .order_by(
            badge_sighting.c.terminal_seen_at.is_not(None),
            badge_sighting.c.seen_at.desc(),
            badge_sighting.c.platform_request_id,
        )
    )
    for row in rows:
        sighting = Sighting(
            platform_request_id=row.platform_request_id,
            state=row.state,
            auto_approved=row.auto_approved,
            checker_message=row.checker_message,
            failed_checks=row.failed_checks or "",
            seen_at=row.seen_at,
            decided_at=row.terminal_seen_at,
            end_time=row.end_time,
        )
        found[row.request_id] = (*found.get(row.request_id, ()), sighting)
    return found


def _age_s(tx: Transaction, row: Row[Any], sightings: Sequence[Sighting]) -> int | None:
    if row.first_sent_at is None:
        return None
    moments = [each.decided_at for each in sightings]
    ended = row.settled_at if not moments or None in moments else max(filter(None, moments))
    return int(((ended or tx.now) - row.first_sent_at).total_seconds())
