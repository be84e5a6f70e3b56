"""Which plan a task acts for, and the one place where that is compared with what the ledger holds.

Row numbers come back: a restored ledger gives them out once more, to other plans. So whatever outlives a
transaction (an XCom, a trigger, a task's own variables) holds a `PlanId`, and what acts for a plan takes the
`OpenPlan` that `open_plan` returned in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import Final, NewType

from sqlalchemy import select

from capillary.ledger.database import Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.schema import badge_run

#: `badge_run.id` of a plan that was opened, or found, in the transaction at hand. It is not kept beyond it.
OpenPlan = NewType("OpenPlan", int)


_HALF: Final = 16


@dataclass(frozen=True, slots=True)
class PlanId:
    """A plan of the ledger, by what no other plan ever has.

    Attributes:
        badge_run_id: `badge_run.id`; a restored ledger gives it out again.
        token: `badge_run.token`, 32 hex digits: 16 random ones, and 16 of the Airflow run that planned.
    """

    badge_run_id: int
    token: str


def new_token(airflow_run: str) -> str:
    """Return a token that no other plan has.

    Args:
        airflow_run: what no other run has, in this Airflow or another; empty: not known, and no run is told by it.
    """
    return token_hex(_HALF // 2) + (_mark(airflow_run) if airflow_run else token_hex(_HALF // 2))


def is_of_run(token: str, airflow_run: str) -> bool:
    """Return whether the plan of this token was made in that Airflow run."""
    return bool(airflow_run) and token[_HALF:] == _mark(airflow_run)


def _mark(airflow_run: str) -> str:
    return sha256(airflow_run.encode()).hexdigest()[:_HALF]


def open_plan(tx: Transaction, plan: PlanId) -> OpenPlan:
    """Return the plan's row for the rest of this transaction.

    Raises:
        PlanUnknown: the ledger has no such row, or another plan has its number by now.
    """
    token = tx.conn.execute(select(badge_run.c.token).where(badge_run.c.id == plan.badge_run_id)).scalar_one_or_none()
    if token != plan.token:
        raise PlanUnknown(plan.badge_run_id)
    return OpenPlan(plan.badge_run_id)


def account_of(tx: Transaction, badge_run_id: OpenPlan) -> str:
    """Return the account for which a run was planned."""
    account: str = tx.conn.execute(select(badge_run.c.account).where(badge_run.c.id == badge_run_id)).scalar_one()
    return account
