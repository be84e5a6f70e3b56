"""What needs a person now, as far as the ledger can tell: one matter for each thing, the most urgent first.

What a matter means and what to do about it is said in `capillary.engine.attention`. Nothing here names a customer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, case, exists, func, select

from capillary.ledger.auto_approval import standing_auto_approval
from capillary.ledger.canary import OpenCanary, Stand, open_canary_of
from capillary.ledger.conditions import has_undecided, is_open, is_seen, planned_by
from capillary.ledger.database import Transaction
from capillary.ledger.left_over import left_over, specs_unproven
from capillary.ledger.matters import FAR, Kind, Matter, by_urgency
from capillary.ledger.outstanding import Outstanding, outstanding
from capillary.ledger.reports import sum_of_failures
from capillary.ledger.scans import DISTRUST, last_reading
from capillary.ledger.schema import (
    badge_request,
    badge_run,
    badge_scan,
    badge_sighting,
    badge_spec,
    badge_unknown_key,
)
from capillary.ledger.status import RequestStatus
from capillary.ledger.stops import WHOLE_ACCOUNT, in_force

#: How long a request may be in doubt after its absence may be judged: without a control a reading must have begun an
#: hour after that, and readings are a quarter of an hour apart at most.
LONG_IN_DOUBT: Final = timedelta(minutes=90)
#: How long a decided request may stay unsettled, and the list unread: `badge_upkeep` comes every hour.
LONG_UNKEPT: Final = timedelta(hours=2)


def attention(tx: Transaction, of: Collection[str] | None = None) -> tuple[Matter, ...]:
    """Return what needs a person now, the most urgent first.

    Args:
        tx: the transaction.
        of: DAGs; the requests, customers, runs and connections of others are neither counted nor named. None: all.
    """
    dags = _dags(tx)
    found = [
        *_unknown_keys(tx, dags, of),
        *_auto_approved(tx, dags, of),
        *_stops(tx, dags),
        *_lists(tx, dags, of),
        *_open(tx, dags, of),
        *_failed(tx, dags, of),
        *_canaries(tx, dags, of),
    ]
    return by_urgency(found)


#: account, campaign → the DAGs that have planned for it; under `WHOLE_ACCOUNT` those of all its campaigns.
_Dags = Mapping[tuple[str, str], tuple[str, ...]]


def _dags(tx: Transaction) -> _Dags:
    found = defaultdict[tuple[str, str], set[str]](set)
    columns = badge_run.c
    for account, campaign, dag_id in tx.conn.execute(
        select(columns.account, columns.campaign, columns.dag_id).distinct()
    ):
        found[account, campaign].add(dag_id)
        found[account, WHOLE_ACCOUNT].add(dag_id)
    return {scope: tuple(sorted(names)) for scope, names in found.items()}


def _connection(tx: Transaction, account: str, of: Collection[str] | None) -> str | None:
    """Return the connection that a run of the account used last."""
    return tx.conn.execute(
        select(badge_run.c.capillary_conn_id)
        .where(badge_run.c.account == account, planned_by(of))
        .order_by(badge_run.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()


def _unknown_keys(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    columns = badge_unknown_key.c
    counted = select(columns.account, func.count(columns.key.distinct()), func.max(columns.seen_at))
    for account, requests, since in tx.conn.execute(counted.group_by(columns.account)).all():
        yield Matter(
            kind=Kind.UNKNOWN_KEY,
            account=account,
            dag_ids=dags.get((account, WHOLE_ACCOUNT), ()),
            connection=_connection(tx, account, of),
            requests=requests,
            since=since,
        )


def _auto_approved(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    seen = badge_sighting.c
    unattended = (
        select(badge_run.c.account, func.count(), func.max(seen.terminal_seen_at))
        .select_from(
            badge_sighting.join(badge_request, badge_request.c.id == seen.request_id).join(
                badge_run, badge_run.c.id == badge_request.c.badge_run_id
            )
        )
        .where(seen.auto_approved, seen.terminal_seen_at.is_not(None), planned_by(of))
        .group_by(badge_run.c.account)
    )
    for account, requests, since in tx.conn.execute(unattended).all():
        # A human's decision of what was sent after it shows that the flag is off again.
        if standing_auto_approval(tx, account) is not None:
            yield Matter(
                kind=Kind.AUTO_APPROVED,
                account=account,
                dag_ids=dags.get((account, WHOLE_ACCOUNT), ()),
                requests=requests,
                since=since,
            )


def _stops(tx: Transaction, dags: _Dags) -> Iterator[Matter]:
    for stop in in_force(tx):
        yield Matter(
            kind=Kind.STOPPED,
            account=stop.scope.account,
            campaign=stop.scope.campaign or None,
            dag_ids=dags.get((stop.scope.account, stop.scope.campaign), ()),
            since=stop.stopped_at,
            by=stop.stopped_by,
            reason=stop.reason,
        )


def _lists(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    """Yield the accounts whose list is not trusted, and those whose list nobody reads while it should be."""
    sent = (
        select(
            badge_run.c.account,
            func.min(badge_request.c.last_sent_at).label("since"),
            func.count().label("requests"),
            func.sum(badge_request.c.customers).label("customers"),
        )
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_request.c.status.in_((RequestStatus.SENDING, RequestStatus.WAITING)), planned_by(of))
        .group_by(badge_run.c.account)
        .subquery("sent")
    )
    rows = tx.conn.execute(
        select(
            badge_scan.c.account, badge_scan.c.read_at, badge_scan.c.whole_at, badge_scan.c.distrusted_at, sent
        ).outerjoin(sent, sent.c.account == badge_scan.c.account)
    ).all()
    for row in rows:
        of_account = {"account": row[0], "dag_ids": dags.get((row[0], WHOLE_ACCOUNT), ())}
        if row.distrusted_at is not None and row.distrusted_at > tx.now - DISTRUST:
            yield Matter(
                kind=Kind.DISTRUSTED, since=row.distrusted_at, until=row.distrusted_at + DISTRUST, **of_account
            )
        read_at = last_reading(row.read_at, row.whole_at)
        last = max((moment for moment in (read_at, row.since) if moment is not None), default=tx.now)
        if row.requests and last < tx.now - LONG_UNKEPT:
            yield Matter(
                kind=Kind.LIST_UNREAD, since=last, requests=row.requests, customers=int(row.customers), **of_account
            )


def _open(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    """Yield what is open for longer than it should be, and what waits for the checker, by campaign."""
    rows = tx.conn.execute(_open_by_run(tx, of)).all()
    by_campaign = groupby(rows, key=lambda row: (row.account, row.campaign))
    for scope, of_campaign in by_campaign:
        runs = list(of_campaign)
        for kind in (Kind.IN_DOUBT, Kind.UNSETTLED, Kind.WAITING):
            matter = _matter(kind, runs, dags.get(scope, ()))
            if matter is not None:
                yield matter


def _open_by_run(tx: Transaction, of: Collection[str] | None) -> Any:  # noqa: ANN401 - SQLAlchemy's type names every column
    status, request = badge_request.c.status, badge_request.c
    waiting = status == RequestStatus.WAITING
    # Looked up once for each open request: of those there are few.
    undecided = has_undecided()
    last_seen = (
        select(func.max(badge_sighting.c.terminal_seen_at))
        .where(badge_sighting.c.request_id == request.id)
        .scalar_subquery()
    )
    conditions: dict[Kind, tuple[ColumnElement[bool], ColumnElement[Any]]] = {
        Kind.IN_DOUBT: (
            (status == RequestStatus.SENDING) & (request.doubt_from < tx.now - LONG_IN_DOUBT),
            request.last_sent_at,
        ),
        Kind.UNSETTLED: (waiting & ~undecided & (last_seen < tx.now - LONG_UNKEPT), last_seen),
        Kind.WAITING: (waiting & undecided, request.first_sent_at),
    }
    failing = is_seen().where(badge_sighting.c.terminal_seen_at.is_(None), badge_sighting.c.failed_checks != "")
    columns = badge_run.c
    return (
        select(
            *(columns.account, columns.campaign, columns.dag_id, columns.run_id, columns.capillary_conn_id),
            *(
                each
                for kind, (condition, since) in conditions.items()
                for each in (
                    func.count(case((condition, 1))).label(f"{kind}_requests"),
                    func.coalesce(func.sum(case((condition, request.customers))), 0).label(f"{kind}_customers"),
                    func.min(case((condition, since))).label(f"{kind}_since"),
                )
            ),
            func.count(case((waiting & failing, 1))).label("failed_checks"),
        )
        .join(badge_request, request.badge_run_id == columns.id)
        .where(is_open(), planned_by(of))
        .group_by(columns.id)
        .order_by(columns.account, columns.campaign, columns.id)
    )


def _matter(kind: Kind, runs: list[Row[Any]], dag_ids: tuple[str, ...]) -> Matter | None:
    concerned = [row for row in runs if getattr(row, f"{kind}_requests")]
    if not concerned:
        return None
    first = min(concerned, key=lambda row: getattr(row, f"{kind}_since") or FAR)
    return Matter(
        kind=kind,
        account=first.account,
        campaign=first.campaign,
        dag_ids=dag_ids,
        dag_id=first.dag_id,
        run_id=first.run_id,
        connection=first.capillary_conn_id,
        requests=sum(getattr(row, f"{kind}_requests") for row in concerned),
        customers=sum(int(getattr(row, f"{kind}_customers")) for row in concerned),
        since=getattr(first, f"{kind}_since"),
        failed_checks=sum(row.failed_checks for row in concerned) if kind is Kind.WAITING else 0,
        asks_checker=kind is Kind.WAITING,
    )


def _failed(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    by_run = defaultdict[tuple[str, str, str, str, int], list[Outstanding]](list)
    for plan in outstanding(tx):
        if of is None or plan.dag_id in of:
            by_run[plan.account, plan.campaign, plan.dag_id, plan.run_id, plan.occasion_id].append(plan)
    shared = _on_shared_occasions(tx, [plan.badge_run_id for plans in by_run.values() for plan in plans])
    held = _Holding(tx)
    for (account, campaign, dag_id, run_id, occasion_id), plans in by_run.items():
        failures = sum_of_failures(plan.failures for plan in plans)
        canary = held.of({(account, campaign, plan.task_id) for plan in plans}, occasion_id)
        yield Matter(
            kind=Kind.FAILED,
            account=account,
            campaign=campaign,
            dag_ids=dags.get((account, campaign), ()),
            dag_id=dag_id,
            run_id=run_id,
            customers=sum(each.customers for each in failures),
            since=min(plan.planned_at for plan in plans),
            failures=failures,
            occasion_shared=any(plan.badge_run_id in shared for plan in plans),
            holding=canary.told_to(of) if canary else None,
            remedy=canary.to_do if canary else None,
        )


class _Holding:
    """What keeps a campaign's next run from planning anybody, asked only where a request under it is open."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        unproven = select(badge_request.c.spec_id).join(badge_spec, badge_spec.c.id == badge_request.c.spec_id)
        asked = unproven.where(is_open(), badge_spec.c.proven_at.is_(None)).distinct()
        self._open = frozenset(tx.conn.execute(asked).scalars())

    def of(self, tasks: Collection[tuple[str, str, str]], occasion_id: int) -> OpenCanary | None:
        """Return the open request that a run of these tasks would meet on an occasion; None where it would not."""
        specs = specs_unproven(self._tx, tasks) if self._open else ()
        met = (open_canary_of(self._tx, each, on=occasion_id) for each in specs if each in self._open)
        return next(filter(None, met), None)


def _on_shared_occasions(tx: Transaction, plans: Collection[int]) -> frozenset[int]:
    """Return those of these plans on whose occasion another run holds customers."""
    other = badge_run.alias("other")
    found = select(badge_run.c.id).where(
        badge_run.c.id.in_(plans),
        exists().where(
            other.c.occasion_id == badge_run.c.occasion_id,
            other.c.planned > other.c.discarded,
            (other.c.dag_id != badge_run.c.dag_id) | (other.c.run_id != badge_run.c.run_id),
        ),
    )
    return frozenset(tx.conn.execute(found).scalars())


def _canaries(tx: Transaction, dags: _Dags, of: Collection[str] | None) -> Iterator[Matter]:
    for run in left_over(tx):
        if of is not None and run.dag_id not in of:
            continue
        # What keeps these customers back may be another's: then their own run is the one to look at.
        named = run.canary if run.canary and (of is None or run.canary.dag_id in of) else None
        yield Matter(
            kind=Kind.CANARY_WAITS if run.canary else Kind.CANARY_PASSED,
            account=run.account,
            campaign=run.campaign,
            dag_ids=dags.get((run.account, run.campaign), ()),
            dag_id=named.dag_id if named else run.dag_id,
            run_id=named.run_id if named else run.run_id,
            planned=run.planned,
            customers=run.customers,
            since=run.planned_at,
            reason=run.canary.told_to(of) if run.canary else None,
            remedy=run.canary.to_do if run.canary else None,
            asks_checker=run.canary is not None and run.canary.stand is Stand.WAITING,
        )
