"""The emergency stop: a row for each account and for each campaign of it, which every claim looks at.

A stop is in force from its commit on, however many claims are open and however long one of them hangs (a worker
that dies in the middle of a claim leaves its transaction open for hours). :func:`await_claims` then waits for the
claims that began before: once it has returned, no process claims another request of what was stopped.

On PostgreSQL this takes three locks that are weaker than they look. A claim locks its two rows ``FOR KEY SHARE``:
claims do not wait for each other, and an update of the stop does not wait for them. It reads the rows after it has
them, in a statement of its own: the lock alone would return them as they were when that statement began. Waiting
locks a row ``FOR UPDATE``, which every open claim holds up. All of it stands on READ COMMITTED. On SQLite the write
lock of the claim's transaction does the same.

Who takes these locks takes them before any other, the account's row before the campaign's; a stop takes one row at a
time and nothing else.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Executable, Select, case, func, literal, select, union, update

from capillary.ledger.bounds import checked
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import PlanUnknown, Stopped
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.schema import badge_request, badge_run, badge_scan, badge_stop
from capillary.ledger.status import RequestStatus
from capillary.ledger.upsert import insert_unless_there

#: In place of a campaign's name: every campaign of the account.
WHOLE_ACCOUNT: Final = ""


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What one stop is about.

    Attributes:
        account: the account.
        campaign: the campaign's name, or `WHOLE_ACCOUNT`.
    """

    account: str
    campaign: str = WHOLE_ACCOUNT

    def __str__(self) -> str:
        return f"campaign {self.campaign!r} of {self.account}" if self.campaign else f"every campaign of {self.account}"

    @property
    def options(self) -> str:
        """The command's options that name it."""
        named = f" --campaign {shlex.quote(self.campaign)}" if self.campaign else ""
        return f"--account {shlex.quote(self.account)}{named}"


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that is in force, or was until now.

    Attributes:
        scope: what is stopped.
        stopped_at: since when, aware UTC.
        stopped_by: who stopped it.
        reason: why, and what others said who stopped it again.
    """

    scope: Scope
    stopped_at: datetime
    stopped_by: str
    reason: str

    def __str__(self) -> str:
        return f"{self.scope} by {self.stopped_by} at {_minute(self.stopped_at)} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Requests of what is stopped, by what may still become of them.

    Attributes:
        may_leave: claimed so short a time ago that the POST may still start.
        in_doubt: sent earlier and not answered; not sent again while the stop is in force.
        unsent: planned, and given back by their run's next look at the ledger.
        waiting: with the checker; read and settled as ever.
    """

    may_leave: int
    in_doubt: int
    unsent: int
    waiting: int


def stop(ledger: Ledger, scope: Scope, *, by: str, reason: str) -> Stop:
    """Stop all claims of `scope`: once this has returned, no process claims another request of it.

    What was claimed before may still be sent, for ``START_WITHIN_S`` seconds.
    """
    done = order_stop(ledger, scope, by=by, reason=reason)
    await_claims(ledger, scope)
    return done


def order_stop(ledger: Ledger, scope: Scope, *, by: str, reason: str) -> Stop:
    """Put a stop into force, without waiting for claims that are open: every later one is refused.

    Stopped again, it keeps its time and its author, and the new reason joins the old one: who resumes reads both.

    Args:
        ledger: the ledger.
        scope: what to stop; the ledger need not know it yet.
        by: who stops it, at most 200 characters.
        reason: why. It stands in the logs of stopped tasks.

    Raises:
        ValueUnfit: a name or the reason cannot be kept as it is; nothing is stopped.
    """
    checked(badge_stop.c.account, "account", scope.account)
    checked(badge_stop.c.campaign, "campaign", scope.campaign)
    checked(badge_stop.c.stopped_by, "by", by)
    checked(badge_stop.c.reason, "reason", reason)
    with ledger.write() as tx:
        insert_unless_there(tx, badge_stop, {"account": scope.account, "campaign": scope.campaign})
        # FOR NO KEY UPDATE: two who stop the same take turns, and neither waits for claims.
        row = tx.conn.execute(select(badge_stop).where(_is(scope)).with_for_update(key_share=True)).one()
        if row.stopped_at is not None:
            reason = f"{row.reason}; {by} at {_minute(tx.now)}: {reason}"
            tx.conn.execute(update(badge_stop).where(_is(scope)).values(reason=reason))
            return Stop(scope, row.stopped_at, row.stopped_by, reason)
        tx.conn.execute(update(badge_stop).where(_is(scope)).values(stopped_at=tx.now, stopped_by=by, reason=reason))
        return Stop(scope, tx.now, by, reason)


def await_claims(ledger: Ledger, scope: Scope) -> None:
    """Come back when no transaction is open that may have claimed before the stop was in force."""
    with ledger.write() as tx:
        tx.conn.execute(select(badge_stop.c.account).where(_is(scope)).with_for_update()).all()


def resume(ledger: Ledger, scope: Scope, *, by: str) -> Stop | None:
    """Release a stop; nothing is sent by this alone. Return what was in force, None when nothing was."""
    checked(badge_stop.c.resumed_by, "by", by)
    with ledger.write() as tx:
        row = tx.conn.execute(select(badge_stop).where(_is(scope)).with_for_update(key_share=True)).one_or_none()
        if row is None or row.stopped_at is None:
            return None
        tx.conn.execute(update(badge_stop).where(_is(scope)).values(stopped_at=None, resumed_at=tx.now, resumed_by=by))
        return Stop(scope, row.stopped_at, row.stopped_by, row.reason)


def end_of(tx: Transaction, stop: Stop) -> str | None:
    """Return who released this stop and when; None while it is in force as it was ordered.

    One that was released and ordered again is another stop: who ordered that one waits for its claims.
    """
    row = tx.conn.execute(select(badge_stop).where(_is(stop.scope))).one_or_none()
    if row is not None and row.stopped_at == stop.stopped_at:
        return None
    if row is None or row.resumed_at is None:
        return "released by a restore of the ledger"
    again = f", stopped again by {row.stopped_by}" if row.stopped_at else ""
    return f"released by {row.resumed_by} at {_minute(row.resumed_at)}{again}"


def in_force(tx: Transaction) -> tuple[Stop, ...]:
    """Return every stop that is in force, by account, the whole account first."""
    return _stops(tx, badge_stop.c.stopped_at.is_not(None))


def assert_not_stopped(tx: Transaction, account: str, campaign: str) -> None:
    """Refuse what would plan or send for a stopped campaign. Only a look: claims alone hold a stop off.

    Raises:
        Stopped: the campaign, or the whole account.
    """
    stops = _stops(tx, _concerns(account, campaign), badge_stop.c.stopped_at.is_not(None))
    if stops:
        raise Stopped(
            "; ".join(map(str, stops)),
            resume=" and ".join(f"python -m capillary resume {each.scope.options}" for each in stops),
        )


def assert_plan_not_stopped(tx: Transaction, plan: PlanId) -> None:
    """Do what `assert_not_stopped` does for a plan: only a look.

    Raises:
        PlanUnknown: the ledger has no such plan.
        Stopped: its campaign, or the whole account.
    """
    opened = open_plan(tx, plan)
    run = tx.conn.execute(select(badge_run.c.account, badge_run.c.campaign).where(badge_run.c.id == opened)).one()
    assert_not_stopped(tx, run.account, run.campaign)


def assert_run_not_stopped(tx: Transaction, badge_run_id: int) -> None:
    """Do what `assert_not_stopped` does for a run, and make the rows that its claims will look at.

    Raises:
        PlanUnknown: the ledger has no such run.
        Stopped: its campaign, or the whole account.
    """
    run = tx.conn.execute(
        select(badge_run.c.account, badge_run.c.campaign).where(badge_run.c.id == badge_run_id)
    ).one_or_none()
    if run is None:
        raise PlanUnknown(badge_run_id)
    assert_not_stopped(tx, run.account, run.campaign)
    _make(tx, run.account, run.campaign)


def assert_may_claim(tx: Transaction, request_id: int) -> None:
    """Refuse the claim of a stopped request; otherwise hold every stop of it off until this transaction ends.

    A request that is gone does not matter: nobody can claim it.

    Raises:
        Stopped: the request's campaign, or the whole account.
    """
    run = tx.conn.execute(
        select(badge_run.c.account, badge_run.c.campaign)
        .join(badge_request, badge_request.c.badge_run_id == badge_run.c.id)
        .where(badge_request.c.id == request_id)
    ).one_or_none()
    if run is None:
        return
    # Before the lock, too: claims that are refused and tried again must not keep `await_claims` waiting.
    assert_not_stopped(tx, run.account, run.campaign)
    _hold(tx, run.account, run.campaign)
    assert_not_stopped(tx, run.account, run.campaign)


def known(tx: Transaction) -> Mapping[str, tuple[str, ...]]:
    """Return the accounts that have planned or read a list, each with the campaigns that have planned.

    A stop makes nothing known: its name may be a typing error.
    """
    return _by_account(
        tx,
        union(select(badge_run.c.account, badge_run.c.campaign), select(badge_scan.c.account, literal(WHOLE_ACCOUNT))),
    )


def noted(tx: Transaction) -> Mapping[str, tuple[str, ...]]:
    """Return what the stop's own table names: all that has submitted, and all that was ever stopped."""
    return _by_account(tx, select(badge_stop.c.account, badge_stop.c.campaign))


def connections_of(tx: Transaction, account: str) -> frozenset[str]:
    """Return Airflow's connections by which an account's runs were planned."""
    named = select(badge_run.c.capillary_conn_id).where(badge_run.c.account == account).distinct()
    return frozenset(tx.conn.execute(named).scalars())


def unfinished(tx: Transaction, scope: Scope) -> Unfinished:
    """Count the requests of `scope` that are not settled."""
    status = badge_request.c.status
    sending = status == RequestStatus.SENDING
    young = badge_request.c.last_sent_at >= tx.now - timedelta(seconds=START_WITHIN_S)
    row = tx.conn.execute(
        select(
            *(
                func.count(case((condition, 1)))
                for condition in (
                    sending & young,
                    sending & ~young,
                    status == RequestStatus.PLANNED,
                    status == RequestStatus.WAITING,
                )
            )
        )
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(
            badge_run.c.account == scope.account,
            is_open(),
            *([badge_run.c.campaign == scope.campaign] if scope.campaign else []),
        )
    ).one()
    return Unfinished(*map(int, row))


def _by_account(tx: Transaction, names: Executable) -> Mapping[str, tuple[str, ...]]:
    found = defaultdict[str, set[str]](set)
    for account, campaign in tx.conn.execute(names):
        found[account].add(campaign)
    return {account: tuple(sorted(campaigns - {WHOLE_ACCOUNT})) for account, campaigns in sorted(found.items())}


def _hold(tx: Transaction, account: str, campaign: str) -> None:
    rows: Select[tuple[str]] = (
        select(badge_stop.c.campaign)
        .where(_concerns(account, campaign))
        .order_by(badge_stop.c.campaign)
        .with_for_update(read=True, key_share=True)
    )
    if len(tx.conn.execute(rows).all()) < len({WHOLE_ACCOUNT, campaign}):
        # Whoever makes the same row at this moment, a stop among them, is waited for.
        _make(tx, account, campaign)
        tx.conn.execute(rows).all()


def _make(tx: Transaction, account: str, campaign: str) -> None:
    for name in (WHOLE_ACCOUNT, campaign):
        insert_unless_there(tx, badge_stop, {"account": account, "campaign": name})


def _stops(tx: Transaction, *conditions: ColumnElement[bool]) -> tuple[Stop, ...]:
    rows = tx.conn.execute(select(badge_stop).where(*conditions).order_by(badge_stop.c.account, badge_stop.c.campaign))
    return tuple(Stop(Scope(row.account, row.campaign), row.stopped_at, row.stopped_by, row.reason) for row in rows)


def _is(scope: Scope) -> ColumnElement[bool]:
    return (badge_stop.c.account == scope.account) & (badge_stop.c.campaign == scope.campaign)


def _concerns(account: str, campaign: str) -> ColumnElement[bool]:
    return (badge_stop.c.account == account) & badge_stop.c.campaign.in_((WHOLE_ACCOUNT, campaign))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
