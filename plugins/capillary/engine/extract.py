"""From the warehouse's rows to a plan: stream, validate, stage, judge, commit last."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine

from capillary.engine.eligibility import InvalidId, customer_id_of, read_rows, shape_of
from capillary.ledger.database import Ledger
from capillary.ledger.plan import Order, Plan, commit_plan
from capillary.ledger.staging import InvalidRow, staging


def extract(
    ledger: Ledger,
    warehouse: Engine,
    *,
    sql: str,
    parameters: Mapping[str, object],
    order: Order,
    dry_run: bool = False,
) -> Plan:
    """Plan the customers that a query finds; a dry run counts the same way and writes nothing.

    Memory stays flat whatever the query returns. A row that is no customer id is counted and kept with its
    reason; it never stops the others (the guard ``max_invalid_share`` may).

    Raises:
        QueryFailed: the warehouse or the query (``capillary.engine.eligibility``).
        GuardRefused, OccasionTaken: nothing was written (``capillary.ledger.plan``).
    """
    row_number = 0
    with staging(ledger) as stage:
        for values in read_rows(warehouse, sql, parameters):
            customers: list[tuple[int, int]] = []
            invalid: list[InvalidRow] = []
            for row_number, value in enumerate(values, start=row_number + 1):  # noqa: B020 - it counts on
                try:
                    customers.append((row_number, customer_id_of(value)))
                except InvalidId as error:
                    invalid.append(InvalidRow(row_number, str(error.reason), shape_of(value)))
            stage.add(customers, invalid)
        return commit_plan(stage, order, dry_run=dry_run)
