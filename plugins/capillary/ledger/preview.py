"""What a dry run shows beside its counts: how near every guard is, the first customers masked, and the run before.

The guards are judged by the same readings: what is shown as past its limit is what refuses the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, func, select

from capillary.counted import counted
from capillary.ledger.conditions import is_open
from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run

if TYPE_CHECKING:
    from capillary.ledger.plan import Guards

#: Customers of the sample.
SAMPLE: Final = 5
#: Digits of an id that a masked one shows.
_SHOWN_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class GuardReading:
    """One guard and how near it is.

    Attributes:
        name: of the field of `Guards`.
        value: what this plan comes to, in the guard's own unit.
        limit: what the guard allows.
        refusal: why the plan is refused, in a clause; None: the guard is kept.
    """

    name: str
    value: float
    limit: float
    refusal: str | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of the campaign that found any customers.

    Attributes:
        dag_id, run_id: of Airflow.
        planned_at: when it planned.
        customers: different customers that its query found.
        planned: of these, in its requests.
    """

    dag_id: str
    run_id: str
    planned_at: datetime
    customers: int
    planned: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a dry run shows beside its counts.

    Attributes:
        customers: different customers that the query found.
        guards: those that are on, in the order of `Guards`.
        last_run: the campaign's; None before the first one.
        sample: the first customers that would be sent, masked.
    """

    customers: int
    guards: tuple[GuardReading, ...]
    last_run: LastRun | None
    sample: tuple[str, ...]


def guard_readings(
    tx: Transaction,
    guards: Guards,
    before: LastRun | None,
    *,
    account: str,
    campaign: str,
    rows: int,
    invalid: int,
    distinct: int,
    requests: int,
) -> tuple[GuardReading, ...]:
    """Return how near every guard is that is on and has something to judge.

    Args:
        tx: the transaction that plans.
        guards: the campaign's.
        before: its last run.
        account: whose campaign.
        campaign: its name.
        rows: of the query.
        invalid: rows that are not customer ids.
        distinct: different customers.
        requests: approvals that the plan needs.
    """
    still_open = _open_requests(tx, account, campaign) if guards.max_open_requests is not None and requests else 0
    readings = _readings(
        guards,
        rows=rows,
        invalid=invalid,
        distinct=distinct,
        last=before.customers if before else 0,
        requests=requests,
        still_open=still_open,
    )
    return tuple(readings)


def last_run(tx: Transaction, *, account: str, campaign: str) -> LastRun | None:
    """Return the campaign's last run that found any customers.

    A run over an empty warehouse is passed over: it would leave the next one without a measure.
    """
    found = badge_run.c.eligible - badge_run.c.invalid - badge_run.c.duplicates
    row: Row[Any] | None = tx.conn.execute(
        select(badge_run.c.dag_id, badge_run.c.run_id, badge_run.c.planned_at, found, badge_run.c.planned)
        .where(badge_run.c.account == account, badge_run.c.campaign == campaign, found > 0)
        .order_by(badge_run.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else LastRun(*row)


def sample_of(tx: Transaction, badge_run_id: int) -> tuple[str, ...]:
    """Return the first customers of a plan, masked: of its first request."""
    rows = tx.conn.execute(
        select(badge_enrolment.c.customer_id)
        .join(badge_request, badge_request.c.id == badge_enrolment.c.request_id)
        .where(badge_request.c.badge_run_id == badge_run_id, badge_request.c.ordinal == 0)
        .order_by(badge_enrolment.c.customer_id)
        .limit(SAMPLE)
    )
    return tuple(map(masked, rows.scalars()))


def masked(customer_id: int) -> str:
    """Return an id of which at most half is shown: `300000056` as `…056`, `42` as `…2`."""
    digits = str(customer_id)
    shown = min(_SHOWN_DIGITS, len(digits) // 2)
    return f"…{digits[len(digits) - shown :]}"


def _readings(
    guards: Guards, *, rows: int, invalid: int, distinct: int, last: int, requests: int, still_open: int
) -> Iterator[GuardReading]:
    least = guards.min_customers
    yield GuardReading(
        "min_customers",
        distinct,
        least,
        f"{counted(distinct, 'customer')}, fewer than min_customers={least}" if distinct < least else None,
    )
    if (share := guards.max_invalid_share) is not None and rows:
        words = f"{invalid:,} of {counted(rows, 'row')} without a customer id, more than max_invalid_share={share:g}"
        yield GuardReading("max_invalid_share", invalid / rows, share, words if invalid / rows > share else None)
    if last:
        if (jump := guards.max_jump) is not None:
            words = (
                f"{counted(distinct, 'customer')} after {last:,} in the campaign's last run, more than "
                f"max_jump={jump:g}×"
            )
            yield GuardReading("max_jump", distinct / last, jump, words if distinct > last * jump else None)
        if (drop := guards.max_drop) is not None:
            words = (
                f"{counted(distinct, 'customer')} after {last:,} in the campaign's last run, a fall of more than "
                f"max_drop={drop:g}"
            )
            fell = max(1 - distinct / last, 0.0)
            yield GuardReading("max_drop", fell, drop, words if distinct < last * (1 - drop) else None)
    if (most := guards.max_requests) is not None:
        words = f"{counted(requests, 'approval')} needed, more than max_requests={most}: raise it, or cap the customers"
        yield GuardReading("max_requests", requests, most, words if requests > most else None)
    if (most := guards.max_open_requests) is not None and requests:
        words = (
            f"{counted(still_open, 'request')} of the campaign {'is' if still_open == 1 else 'are'} open and "
            f"{requests:,} would be added, more than max_open_requests={most}: let the checker decide first"
        )
        after = still_open + requests
        yield GuardReading("max_open_requests", after, most, words if after > most else None)


def _open_requests(tx: Transaction, account: str, campaign: str) -> int:
    return tx.conn.execute(
        select(func.count())
        .select_from(badge_request)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(badge_run.c.account == account, badge_run.c.campaign == campaign, is_open())
    ).scalar_one()
