"""Which runs of a DAG have planned: what an order page has to know of those that Airflow has not ended."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from capillary.ledger.database import Transaction
from capillary.ledger.schema import badge_run


def have_planned(tx: Transaction, dag_id: str, run_ids: Collection[str]) -> frozenset[str]:
    """Return those of these runs that have planned, also where they found nobody to plan."""
    if not run_ids:
        return frozenset()
    columns = badge_run.c
    found = select(columns.run_id.distinct()).where(columns.dag_id == dag_id, columns.run_id.in_(sorted(run_ids)))
    return frozenset(tx.conn.execute(found).scalars())


def last_plan_of(tx: Transaction, dag_id: str) -> int:
    """Return the `badge_run.id` of a DAG's last plan; 0 before the first."""
    last: int = tx.conn.execute(
        select(func.coalesce(func.max(badge_run.c.id), 0)).where(badge_run.c.dag_id == dag_id)
    ).scalar_one()
    return last
