"""What a dry run shows beside its counts: how near every guard is, the first customers masked, and the run before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, select

from capillary.ledger.database import Transaction
from capillary.ledger.guards import GuardReading
from capillary.ledger.occasion_mark import Mark
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run

#: Customers of the sample.
SAMPLE: Final = 5
#: Digits of an id that a masked one shows.
_SHOWN_DIGITS: Final = 3


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
        mark: how the occasion stood; None where nobody has looked.
    """

    customers: int
    guards: tuple[GuardReading, ...]
    last_run: LastRun | None
    sample: tuple[str, ...]
    mark: Mark | None = None


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
