"""The daily questions: who failed and why, what waits, what became of a customer, how did the runs end.

The commands `python -m capillary failed | waiting | customer | runs` print the answers. Each question looks rows up by
an index, or reads requests and runs, of which there are hundreds of times fewer than customers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Row, Select, exists, or_, select

from capillary.ledger.answers import Asked, CustomerAttempt, OpenRequest, PlannedRun, joined, planned_run
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import funnel
from capillary.ledger.schema import (
    badge_enrolment,
    badge_occasion,
    badge_request,
    badge_result,
    badge_run,
    badge_sighting,
)
from capillary.ledger.status import HAS_BADGE, Outcome, RequestStatus

#: Requests whose sightings and customers are read at once: with 500 customers in each, 50,000 rows.
_PART: Final = 100


def failed_customers(tx: Transaction, asked: Asked) -> Iterator[CustomerAttempt]:
    """Yield the customers whose latest attempt ended without the badge, the newest request first.

    `since` is when the request was settled. Whoever has a later attempt, open or ended, is left out.
    """
    wanted = asked.outcomes or frozenset(Outcome) - HAS_BADGE
    counted = exists().where(
        badge_result.c.request_id == badge_request.c.id,
        badge_result.c.outcome.in_(wanted),
        *_of_codes(badge_result.c.error_code, asked),
    )
    statement = _requests(asked, badge_request.c.settled_at).where(counted).order_by(badge_request.c.id.desc())
    later = badge_enrolment.alias("later")
    of_enrolment = (
        later.c.occasion_id == badge_enrolment.c.occasion_id,
        later.c.customer_id == badge_enrolment.c.customer_id,
        later.c.attempt > badge_enrolment.c.attempt,
    )
    latest = ~exists().where(*of_enrolment)
    left = asked.limit
    for part in _parts(tx, statement):
        ended = badge_enrolment.c.outcome.in_(wanted)
        of_codes = _of_codes(badge_enrolment.c.error_code, asked)
        for attempt in _attempts(tx, part, ended, latest, *of_codes, limit=left):
            left = None if left is None else left - 1
            yield attempt
        if left is not None and left <= 0:
            return


def customer_history(
    tx: Transaction, customer_id: int, *, account: str | None = None, campaign: str | None = None
) -> tuple[CustomerAttempt, ...]:
    """Return every attempt at a customer, by account, occasion and attempt."""
    # Occasions first, then the enrolment's key: no index begins with the customer.
    occasions = select(badge_occasion.c.id)
    if account is not None:
        occasions = occasions.where(badge_occasion.c.account == account)
    enrolled = select(badge_enrolment.c.request_id).where(
        badge_enrolment.c.occasion_id.in_(occasions), badge_enrolment.c.customer_id == customer_id
    )
    ids = tx.conn.execute(enrolled).scalars().all()
    found: list[CustomerAttempt] = []
    for first in range(0, len(ids), _PART):
        named = badge_request.c.id.in_(ids[first : first + _PART])
        rows = tx.conn.execute(_requests(Asked(campaign=campaign), None).where(named)).all()
        found += _attempts(tx, rows, badge_enrolment.c.customer_id == customer_id)
    return tuple(sorted(found, key=lambda each: (each.account, each.occasion, each.attempt)))


def open_requests(tx: Transaction, asked: Asked) -> Iterator[OpenRequest]:
    """Yield the requests that are not settled, the longest sent first and the unsent last; `since`: first sent."""
    sent = badge_request.c.first_sent_at
    statement = (
        _requests(asked, sent).where(is_open()).order_by(sent.is_(None), sent, badge_request.c.id).limit(asked.limit)
    )
    for part in _parts(tx, statement):
        seen = _sightings(tx, part)
        for row in part:
            sightings = seen[row.id]
            yield OpenRequest(
                campaign=row.campaign,
                occasion=row.occasion,
                age_s=None if row.first_sent_at is None else int((tx.now - row.first_sent_at).total_seconds()),
                approvals=sum(sighting.terminal_seen_at is None for sighting in sightings),
                status=RequestStatus(row.status),
                states=joined(sighting.state for sighting in sightings),
                customers=row.customers,
                connection=row.capillary_conn_id,
                account=row.account,
                dag_id=row.dag_id,
                run_id=row.run_id,
                request_key=row.request_key,
                platform_request_ids=joined(sighting.platform_request_id for sighting in sightings),
                tries=row.tries,
                resends=row.resends,
                first_sent_at=row.first_sent_at,
                doubt_from=row.doubt_from,
                failed_checks=joined(sighting.failed_checks for sighting in sightings),
                request_error=row.error,
            )


def planned_runs(tx: Transaction, asked: Asked) -> Iterator[PlannedRun]:
    """Yield the runs that planned, the newest first, each with its funnel; `since`: planned."""
    statement = (
        select(badge_run, badge_occasion.c.occasion)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(*_narrowed(asked, badge_run.c.planned_at))
        .order_by(badge_run.c.id.desc())
        .limit(asked.limit)
    )
    for part in _parts(tx, statement):
        for row in part:
            yield planned_run(row, funnel(tx, OpenPlan(row.id)))


def _requests(asked: Asked, time: ColumnElement[Any] | None) -> Select[Any]:
    """Return a statement for requests, each with the run that planned it and its occasion."""
    return (
        select(
            badge_request,
            badge_run.c.campaign,
            badge_run.c.account,
            badge_run.c.capillary_conn_id,
            badge_run.c.dag_id,
            badge_run.c.run_id,
            badge_occasion.c.occasion,
            badge_occasion.c.badge_id,
        )
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(*_narrowed(asked, time))
    )


def _narrowed(asked: Asked, time: ColumnElement[Any] | None) -> list[ColumnElement[bool]]:
    conditions = []
    if asked.account is not None:
        conditions.append(badge_run.c.account == asked.account)
    if asked.campaign is not None:
        conditions.append(badge_run.c.campaign == asked.campaign)
    if asked.since is not None and time is not None:
        conditions.append(time >= asked.since)
    return conditions


def _of_codes(code: Column[Any], asked: Asked) -> list[ColumnElement[bool]]:
    if asked.codes is None:
        return []
    named = code.in_([each for each in asked.codes if each is not None])
    return [or_(named, code.is_(None)) if None in asked.codes else named]


def _parts(tx: Transaction, statement: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows in parts as they stream in, so that an answer of millions stays small in memory."""
    with tx.conn.execute(statement, execution_options={"yield_per": _PART}) as result:
        yield from result.partitions(_PART)


def _attempts(
    tx: Transaction, requests: Sequence[Row[Any]], *conditions: ColumnElement[bool], limit: int | None = None
) -> Iterator[CustomerAttempt]:
    """Yield the enrolments of these requests that meet the conditions, those of the newest request first."""
    by_id = {row.id: row for row in requests}
    seen = _sightings(tx, requests)
    enrolments = tx.conn.execute(
        select(badge_enrolment)
        .where(badge_enrolment.c.request_id.in_(by_id), *conditions)
        .order_by(badge_enrolment.c.request_id.desc(), badge_enrolment.c.customer_id)
        .limit(limit)
    )
    for each in enrolments:
        row = by_id[each.request_id]
        yield CustomerAttempt(
            campaign=row.campaign,
            occasion=row.occasion,
            customer_id=each.customer_id,
            attempt=each.attempt,
            status=RequestStatus(row.status),
            outcome=None if each.outcome is None else Outcome(each.outcome),
            code=row.error_code if each.error_code is None else each.error_code,
            checker_message=joined(sighting.checker_message for sighting in seen[row.id]) or None,
            request_error=row.error,
            issued_id=each.issued_id,
            badge_id=row.badge_id,
            account=row.account,
            dag_id=row.dag_id,
            run_id=row.run_id,
            request_key=row.request_key,
            platform_request_ids=joined(sighting.platform_request_id for sighting in seen[row.id]),
            first_sent_at=row.first_sent_at,
            settled_at=row.settled_at,
        )


def _sightings(tx: Transaction, requests: Sequence[Row[Any]]) -> defaultdict[int, list[Row[Any]]]:
    """Return the sightings of each request: those that wait for a human first, then the latest."""
    found = defaultdict[int, list[Row[Any]]](list)
    rows = tx.conn.execute(
        select(badge_sighting)
        .where(badge_sighting.c.request_id.in_([row.id for row in requests]))
        .order_by(
            badge_sighting.c.terminal_seen_at.is_not(None),
            badge_sighting.c.seen_at.desc(),
            badge_sighting.c.platform_request_id,
        )
    )
    for row in rows:
        found[row.request_id].append(row)
    return found
