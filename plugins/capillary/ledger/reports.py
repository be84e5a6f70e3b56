"""What the ledger says of one run: how far it is, and where its customers went.

For SQL by hand there are the database's views ``badge_funnel``, ``badge_waiting`` and ``badge_customer_status``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import URL, Row, Select, bindparam, case, func, select, true

from capillary.ledger.conditions import is_decided, is_open, is_seen
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_request, badge_result, badge_run, badge_sighting, badge_spec
from capillary.ledger.status import HAS_BADGE, Outcome, RequestStatus


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Requests of a DAG run by where they stand, over all that its tasks planned.

    Attributes:
        requests: all of them, each in one of the others.
        planned: not sent.
        sending: being sent, or in doubt.
        waiting: with the checker.
        decided: the platform is through with them, and they are not settled yet.
        settled: every customer has an outcome.
    """

    requests: int = 0
    planned: int = 0
    sending: int = 0
    waiting: int = 0
    decided: int = 0
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Funnel:
    """Where the customers of one plan went.

    Attributes:
        eligible: rows of the query.
        invalid: rows that are not customer ids.
        duplicates: rows whose customer came before.
        known_before: customers that an earlier plan of the occasion holds.
        known_elsewhere: the part of them whose latest attempt another campaign of the occasion had made.
        over_cap: customers left for a later run.
        planned: customers in the plan's requests.
        discarded: planned ones taken back, because nothing of them was sent.
        canary: whether the plan was held small under an unproven spec.
        outcomes: customers by outcome, as counted when their requests were settled; every outcome is there.
        open: customers without an outcome: those of requests that are not settled, less those whose request was
            settled before and is open again.
        requests: the plan's requests.
        requests_open: those not settled.
        requests_auto_approved: those that the platform executed without a human's decision.
    """

    eligible: int
    invalid: int
    duplicates: int
    known_before: int
    over_cap: int
    planned: int
    discarded: int
    canary: bool
    outcomes: Mapping[Outcome, int]
    open: int
    requests: int
    requests_open: int
    requests_auto_approved: int
    known_elsewhere: int = 0

    @property
    def accounted(self) -> int:
        """Planned customers who ended, are open, or were given back: in a sound ledger, all of them."""
        return sum(self.outcomes.values()) + self.open + self.discarded

    def balances(self) -> bool:
        """Whether every row of the query and every planned customer is accounted for."""
        read = self.invalid + self.duplicates + self.known_before + self.over_cap + self.planned
        return self.eligible == read and self.planned == self.accounted


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Customers of one plan who ended without the badge, by outcome and the platform's error code."""

    outcome: Outcome
    error_code: int | None
    customers: int


def run_progress(ledger_url: str | URL, dag_id: str, run_id: str) -> RunProgress | None:
    """Return how far a DAG run is, or None where the ledger knows no plan of it.

    Raises:
        LedgerRefused: see :class:`capillary.ledger.database.Ledger`.
        LedgerUnavailable: same.
        SchemaBehind, SchemaDiffers: same.
    """
    with Ledger(ledger_url) as ledger, ledger.read() as tx:
        return _run_progress(tx, dag_id, run_id)


def _run_progress(tx: Transaction, dag_id: str, run_id: str) -> RunProgress | None:
    status = badge_request.c.status
    row = tx.conn.execute(
        select(
            func.count(badge_run.c.id.distinct()).label("plans"),
            func.count(badge_request.c.id).label("requests"),
            *(func.count(case((status == word, 1))).label(word) for word in RequestStatus),
            func.count(case((is_decided() & is_seen(), 1))).label("terminal"),
        )
        .select_from(badge_run.outerjoin(badge_request, badge_request.c.badge_run_id == badge_run.c.id))
        .where(badge_run.c.dag_id == dag_id, badge_run.c.run_id == run_id)
    ).one()
    if not row.plans:
        return None
    return RunProgress(
        requests=row.requests,
        planned=row.planned,
        sending=row.sending,
        waiting=row.waiting - row.terminal,
        decided=row.terminal,
        settled=row.settled,
    )


def _funnel_statement() -> Select[Any]:
    """Return one statement for a funnel: the plan's row, once for each outcome that is counted, or once without."""
    of_run = badge_request.c.badge_run_id == bindparam("badge_run_id")
    unattended = is_seen().where(badge_sighting.c.auto_approved)
    requests = (
        select(
            func.count().label("requests"),
            func.count(case((is_open(), 1))).label("requests_open"),
            func.coalesce(func.sum(case((is_open(), badge_request.c.customers))), 0).label("customers_of_open"),
            func.count(case((unattended, 1))).label("requests_auto_approved"),
        )
        .where(of_run)
        .subquery("requests")
    )
    counted = (
        select(
            badge_result.c.outcome,
            func.sum(badge_result.c.customers).label("customers"),
            func.sum(case((is_open(), badge_result.c.customers), else_=0)).label("counted_of_open"),
        )
        .join(badge_request, badge_request.c.id == badge_result.c.request_id)
        .where(of_run)
        .group_by(badge_result.c.outcome)
        .subquery("counted")
    )
    return (
        select(badge_run, requests, counted)
        .select_from(badge_run.join(requests, true()).outerjoin(counted, true()))
        .where(badge_run.c.id == bindparam("badge_run_id"))
    )


_FUNNEL: Final = _funnel_statement()


def funnel(tx: Transaction, badge_run_id: OpenPlan) -> Funnel:
    """Return where the customers of a plan went, from the counts that are kept.

    Raises:
        PlanUnknown: the ledger has no such plan.
    """
    rows = tx.conn.execute(_FUNNEL, {"badge_run_id": badge_run_id}).all()
    if not rows:
        raise PlanUnknown(badge_run_id)
    return _funnel_of(rows[0], rows[0], [row for row in rows if row.outcome is not None])


def is_proven(tx: Transaction, badge_run_id: OpenPlan) -> bool:
    """Return whether the plan's configuration is proven by now: then the next run under it is not a canary."""
    return bool(
        tx.conn.execute(
            select(badge_spec.c.proven_at.is_not(None))
            .join(badge_run, badge_run.c.spec_id == badge_spec.c.id)
            .where(badge_run.c.id == badge_run_id)
        ).scalar_one()
    )


def ended_of(tx: Transaction, runs: Sequence[Row[Any]]) -> Mapping[int, tuple[Funnel, tuple[FailureCount, ...]]]:
    """Return the funnel and the failures of many plans, by `badge_run.id`, in two statements for all of them.

    Args:
        tx: the transaction.
        runs: rows of `badge_run`.
    """
    ids = [row.id for row in runs]
    requests = {row.badge_run_id: row for row in tx.conn.execute(_requests_of(ids))}
    counted = defaultdict[int, list[Row[Any]]](list)
    for row in tx.conn.execute(_counted_of(ids)):
        counted[row.badge_run_id].append(row)
    found = {}
    for run in runs:
        failing = (
            FailureCount(Outcome(row.outcome), row.error_code, int(row.customers))
            for row in counted[run.id]
            if row.outcome not in HAS_BADGE
        )
        found[run.id] = (_funnel_of(run, requests.get(run.id), counted[run.id]), most_first(failing))
    return found


def most_first(failures: Iterable[FailureCount]) -> tuple[FailureCount, ...]:
    """Return failures in the order in which they are shown."""
    return tuple(
        sorted(
            failures, key=lambda each: (-each.customers, each.outcome, each.error_code is None, each.error_code or 0)
        )
    )


def sum_of(funnels: Sequence[Funnel]) -> Funnel:
    """Return the sum of several funnels; it balances where each of them does."""
    counts = {
        name: sum(getattr(each, name) for each in funnels)
        for name in (
            *("eligible", "invalid", "duplicates", "known_before", "known_elsewhere", "over_cap", "planned"),
            *("discarded", "open", "requests", "requests_open", "requests_auto_approved"),
        )
    }
    outcomes = {outcome: sum(each.outcomes[outcome] for each in funnels) for outcome in Outcome}
    return Funnel(canary=any(each.canary for each in funnels), outcomes=outcomes, **counts)


def sum_of_failures(parts: Iterable[tuple[FailureCount, ...]]) -> tuple[FailureCount, ...]:
    """Return the sum of several plans' failures, the most first."""
    found: dict[tuple[Outcome, int | None], int] = {}
    for each in (each for part in parts for each in part):
        ending = (each.outcome, each.error_code)
        found[ending] = found.get(ending, 0) + each.customers
    return most_first(FailureCount(*ending, customers) for ending, customers in found.items())


def _requests_of(ids: Sequence[int]) -> Select[Any]:
    unattended = is_seen().where(badge_sighting.c.auto_approved)
    return (
        select(
            badge_request.c.badge_run_id,
            func.count().label("requests"),
            func.count(case((is_open(), 1))).label("requests_open"),
            func.coalesce(func.sum(case((is_open(), badge_request.c.customers))), 0).label("customers_of_open"),
            func.count(case((unattended, 1))).label("requests_auto_approved"),
        )
        .where(badge_request.c.badge_run_id.in_(ids))
        .group_by(badge_request.c.badge_run_id)
    )


def _counted_of(ids: Sequence[int]) -> Select[Any]:
    return (
        select(
            badge_request.c.badge_run_id,
            badge_result.c.outcome,
            badge_result.c.error_code,
            func.sum(badge_result.c.customers).label("customers"),
            func.sum(case((is_open(), badge_result.c.customers), else_=0)).label("counted_of_open"),
        )
        .join(badge_request, badge_request.c.id == badge_result.c.request_id)
        .where(badge_request.c.badge_run_id.in_(ids))
        .group_by(badge_request.c.badge_run_id, badge_result.c.outcome, badge_result.c.error_code)
    )


def _funnel_of(run: Row[Any], requests: Row[Any] | None, counted: Iterable[Row[Any]]) -> Funnel:
    """Return a funnel from a plan's row, its requests' and what is counted of them; None: it has no request."""
    outcomes, counted_of_open = dict.fromkeys(Outcome, 0), 0
    for row in counted:
        outcomes[Outcome(row.outcome)] += int(row.customers)
        counted_of_open += int(row.counted_of_open)
    return Funnel(
        eligible=run.eligible,
        invalid=run.invalid,
        duplicates=run.duplicates,
        known_before=run.known_before,
        over_cap=run.over_cap,
        planned=run.planned,
        discarded=run.discarded,
        canary=run.canary,
        outcomes=MappingProxyType(outcomes),
        open=int(requests.customers_of_open) - counted_of_open if requests else 0,
        requests=requests.requests if requests else 0,
        requests_open=requests.requests_open if requests else 0,
        requests_auto_approved=requests.requests_auto_approved if requests else 0,
        known_elsewhere=run.known_elsewhere,
    )


def failures(tx: Transaction, badge_run_id: OpenPlan) -> tuple[FailureCount, ...]:
    """Return a plan's customers who ended without the badge, by outcome and error code, the most first."""
    customers = func.sum(badge_result.c.customers).label("customers")
    rows = tx.conn.execute(
        select(badge_result.c.outcome, badge_result.c.error_code, customers)
        .join(badge_request, badge_request.c.id == badge_result.c.request_id)
        .where(badge_request.c.badge_run_id == badge_run_id, badge_result.c.outcome.not_in(HAS_BADGE))
        .group_by(badge_result.c.outcome, badge_result.c.error_code)
        .order_by(
            customers.desc(),
            badge_result.c.outcome,
            badge_result.c.error_code.is_(None),  # the databases disagree on where NULL goes
            badge_result.c.error_code,
        )
    )
    return tuple(FailureCount(Outcome(row.outcome), row.error_code, row.customers) for row in rows)
