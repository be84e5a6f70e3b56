"""Every campaign and every account at a glance: the last run, what is open, and how fast the platform may be called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, Select, case, func, select, tuple_

from capillary.ledger.answers import PlannedRun, planned_run
from capillary.ledger.auto_approval import sent_by_run, standing_auto_approval
from capillary.ledger.canary import OpenCanary, open_canary
from capillary.ledger.conditions import has_undecided, is_open, planned_by
from capillary.ledger.database import Transaction
from capillary.ledger.given_back import GivenBack, given_back
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import FailureCount, Funnel, ended_of, is_proven, sum_of, sum_of_failures
from capillary.ledger.scans import DISTRUST, last_reading
from capillary.ledger.schema import badge_occasion, badge_pace, badge_request, badge_result, badge_run, badge_scan
from capillary.ledger.status import HAS_BADGE, RequestStatus
from capillary.ledger.stops import Stop, in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLine:
    """One campaign of an account, as one DAG plans it.

    Attributes:
        last: its last run that planned, with the funnel of all that its tasks planned on this account.
        took: the last one that planned anybody: `last`, an earlier one where that found nobody, or None.
        holders: customers who hold the badge by all runs of the campaign on the occasion of `took`, or else of `last`.
        failures: of `last`, by outcome and code.
        canary: what that run waits for, if it planned nobody behind a request that is open still; its green says
            nothing else.
        proven: whether the configuration of `last` is proven now.
        requests_unsent, requests_in_doubt, requests_undecided, requests_decided: of all its runs, those not settled.
        customers_undecided: of the undecided ones.
        undecided_since: when the first of them was sent; None while none is undecided.
        stops: what keeps it from sending: its own stop and its account's.
        given_back: what `last` has given back unsent; None where nothing.
    """

    last: PlannedRun
    took: PlannedRun | None
    holders: int
    failures: tuple[FailureCount, ...]
    canary: OpenCanary | None
    proven: bool
    requests_unsent: int
    requests_in_doubt: int
    requests_undecided: int
    requests_decided: int
    customers_undecided: int
    undecided_since: datetime | None
    stops: tuple[Stop, ...]
    given_back: GivenBack | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """One account: how it is read and called.

    Attributes:
        account: the organisation at an address.
        dag_ids: every DAG that has planned for it, of those that were asked for.
        connections: Airflow's connections that its runs have named, the last used first.
        read_at: when the platform's list was last read, or began to be (`last_reading`); None before the first time.
        whole_at: when the last reading began that came to its end; None before the first one.
        whole_pages: how many calls that took.
        trusted: whether the list may show that something is missing.
        distrusted_at: when it last missed a request; None if never.
        next_slot_at: when the next call may be made; far ahead means many callers.
        blocked_until: the platform answered 429, and nobody calls before; None while nothing is blocked.
        last_block_ended_at: when the last such time was over; None if there was none, or it is not over.
        counted_on: the day, UTC, of the two counts that follow; None before the first call.
        calls: call slots taken on that day.
        pauses: pauses that the platform asked for on that day.
        stop: of the whole account; None while it is not stopped.
        is_refused: an auto-approval keeps every run from sending that does not accept it.
        refused_by: dag_id and run_id of the run that has sent what was auto-approved; None where it is of another DAG
            than was asked for, or nothing is refused.
    """

    account: str
    dag_ids: tuple[str, ...]
    connections: tuple[str, ...]
    read_at: datetime | None
    whole_at: datetime | None
    whole_pages: int | None
    trusted: bool
    distrusted_at: datetime | None
    next_slot_at: datetime | None
    blocked_until: datetime | None
    last_block_ended_at: datetime | None
    counted_on: date | None
    calls: int
    pauses: int
    stop: Stop | None
    is_refused: bool
    refused_by: tuple[str, str] | None


def campaigns(tx: Transaction, of: Collection[str] | None = None) -> tuple[CampaignLine, ...]:
    """Return every campaign that has planned, by account, name and DAG.

    Args:
        tx: the transaction.
        of: DAGs; what others planned is neither counted nor named. None: all.
    """
    columns = badge_run.c
    took = case((columns.planned > 0, columns.id))
    newest = tx.conn.execute(
        select(func.max(columns.id).label("last"), func.max(took).label("took"))
        .where(planned_by(of))
        .group_by(columns.account, columns.campaign, columns.dag_id)
    ).all()
    latest = {each for row in newest for each in row if each is not None}
    names = (columns.account, columns.campaign, columns.dag_id, columns.run_id)
    rows = tx.conn.execute(
        select(badge_run, badge_occasion.c.occasion)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(tuple_(*names).in_(select(*names).where(columns.id.in_(latest))))
        .order_by(columns.account, columns.campaign, columns.dag_id, columns.id)
    ).all()
    still_open = {(row.account, row.campaign, row.dag_id): row for row in tx.conn.execute(_open_by_campaign())}
    stops = in_force(tx)
    ended = ended_of(tx, rows)
    holders = _holders(tx, {row.occasion_id for row in rows})
    by_scope = groupby(rows, key=lambda row: (row.account, row.campaign, row.dag_id))
    return tuple(_line(tx, list(plans), ended, still_open.get(scope), stops, holders) for scope, plans in by_scope)


def campaigns_of(tx: Transaction, dag_ids: Collection[str]) -> frozenset[str]:
    """Return the names of the campaigns that these DAGs have planned for."""
    return frozenset(tx.conn.execute(select(badge_run.c.campaign).where(planned_by(dag_ids)).distinct()).scalars())


def accounts(tx: Transaction, of: Collection[str] | None = None) -> tuple[AccountLine, ...]:
    """Return every account that has planned or was read, by name.

    Args:
        tx: the transaction.
        of: DAGs; no other's id or connection is named, and accounts of others are left out. None: all.
    """
    used = tx.conn.execute(
        select(badge_run.c.account, badge_run.c.dag_id, badge_run.c.capillary_conn_id)
        .where(planned_by(of))
        .group_by(badge_run.c.account, badge_run.c.dag_id, badge_run.c.capillary_conn_id)
        .order_by(func.max(badge_run.c.id).desc())
    ).all()
    read = {row.account: row for row in tx.conn.execute(select(badge_scan))}
    paced = {row.account: row for row in tx.conn.execute(select(badge_pace))}
    stops = {stop.scope.account: stop for stop in in_force(tx) if not stop.scope.campaign}
    names = sorted({*(row.account for row in used), *((*read, *paced) if of is None else ())})
    return tuple(
        _account(
            tx,
            name,
            [row for row in used if row.account == name],
            read=read.get(name),
            paced=paced.get(name),
            stop=stops.get(name),
        )
        for name in names
    )


def _holders(tx: Transaction, occasions: Collection[int]) -> dict[tuple[str, str, str, int], int]:
    """Return how many customers hold the badge, by account, campaign, DAG and occasion."""
    rows = tx.conn.execute(
        select(
            badge_run.c.account,
            badge_run.c.campaign,
            badge_run.c.dag_id,
            badge_run.c.occasion_id,
            func.sum(badge_result.c.customers),
        )
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .join(badge_result, badge_result.c.request_id == badge_request.c.id)
        .where(
            badge_run.c.occasion_id.in_(occasions),
            badge_result.c.outcome.in_(HAS_BADGE),
        )
        .group_by(badge_run.c.account, badge_run.c.campaign, badge_run.c.dag_id, badge_run.c.occasion_id)
    )
    return {(account, campaign, dag_id, occasion): int(held) for account, campaign, dag_id, occasion, held in rows}


def _open_by_campaign() -> Select[Any]:
    status = badge_request.c.status
    undecided = (status == RequestStatus.WAITING) & has_undecided()
    return (
        select(
            badge_run.c.account,
            badge_run.c.campaign,
            badge_run.c.dag_id,
            func.count(case((status == RequestStatus.PLANNED, 1))).label("unsent"),
            func.count(case((status == RequestStatus.SENDING, 1))).label("in_doubt"),
            func.count(case((undecided, 1))).label("undecided"),
            func.count(case((status == RequestStatus.WAITING, 1))).label("waiting"),
            func.coalesce(func.sum(case((undecided, badge_request.c.customers))), 0).label("customers"),
            func.min(case((undecided, badge_request.c.first_sent_at))).label("since"),
        )
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(is_open())
        .group_by(badge_run.c.account, badge_run.c.campaign, badge_run.c.dag_id)
    )


def _line(
    tx: Transaction,
    plans: Sequence[Row[Any]],
    ended: Mapping[int, tuple[Funnel, tuple[FailureCount, ...]]],
    still_open: Row[Any] | None,
    stops: tuple[Stop, ...],
    holders: Mapping[tuple[str, str, str, int], int],
) -> CampaignLine:
    """Return the line of a campaign's last run, and of the last that planned anybody: their plans, in their order."""
    run = plans[-1]
    of_last = [each for each in plans if each.run_id == run.run_id]
    taking = next((each for each in reversed(plans) if each.planned), None)
    of_took = [each for each in plans if taking is not None and each.run_id == taking.run_id]
    behind = next((each for each in of_last if each.canary and not each.planned and each.over_cap), None)
    return CampaignLine(
        last=planned_run(run, sum_of([ended[each.id][0] for each in of_last])),
        took=planned_run(of_took[-1], sum_of([ended[each.id][0] for each in of_took])) if of_took else None,
        holders=sum(
            holders.get((run.account, run.campaign, run.dag_id, occasion), 0)
            for occasion in {each.occasion_id for each in of_took or of_last}
        ),
        failures=sum_of_failures(ended[each.id][1] for each in of_last),
        canary=open_canary(tx, OpenPlan(behind.id)) if behind else None,
        proven=is_proven(tx, OpenPlan((behind or run).id)),
        requests_unsent=still_open.unsent if still_open else 0,
        requests_in_doubt=still_open.in_doubt if still_open else 0,
        requests_undecided=still_open.undecided if still_open else 0,
        requests_decided=still_open.waiting - still_open.undecided if still_open else 0,
        customers_undecided=int(still_open.customers) if still_open else 0,
        undecided_since=still_open.since if still_open else None,
        stops=tuple(
            stop for stop in stops if stop.scope.account == run.account and stop.scope.campaign in ("", run.campaign)
        ),
        given_back=given_back(tx, [each.id for each in of_last]),
    )


def _account(
    tx: Transaction,
    account: str,
    used: list[Row[Any]],
    *,
    read: Row[Any] | None,
    paced: Row[Any] | None,
    stop: Stop | None,
) -> AccountLine:
    refusal = standing_auto_approval(tx, account)
    sent_by = sent_by_run(tx, refusal) if refusal is not None else None
    blocked = paced.blocked_until if paced else None
    distrusted = read.distrusted_at if read else None
    return AccountLine(
        account=account,
        dag_ids=tuple(sorted({row.dag_id for row in used})),
        connections=tuple(dict.fromkeys(row.capillary_conn_id for row in used)),
        read_at=last_reading(read.read_at, read.whole_at) if read else None,
        whole_at=read.whole_at if read else None,
        whole_pages=read.whole_pages if read else None,
        trusted=distrusted is None or distrusted <= tx.now - DISTRUST,
        distrusted_at=distrusted,
        next_slot_at=paced.next_slot_at if paced else None,
        blocked_until=blocked if blocked is not None and blocked > tx.now else None,
        last_block_ended_at=blocked if blocked is not None and blocked <= tx.now else None,
        counted_on=paced.counted_on if paced else None,
        calls=paced.calls if paced else 0,
        pauses=paced.pauses if paced else 0,
        stop=stop,
        is_refused=refusal is not None,
        refused_by=sent_by if sent_by is not None and sent_by[0] in {row.dag_id for row in used} else None,
    )
