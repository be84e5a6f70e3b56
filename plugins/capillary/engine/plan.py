"""From rows to a plan: validate, stage, judge, commit last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from capillary.engine.customer_id import InvalidId, customer_id_of, shape_of
from capillary.ledger.database import Ledger
from capillary.ledger.plan import Order, Plan, commit_plan, customers_to_read
from capillary.ledger.staging import InvalidRow, staging
from capillary.ledger.stops import assert_not_stopped

#: Says which of the given customers have had no enrolment for the order's badge since their first send, which comes
#: with them (None: it is not known). `capillary.engine.second_attempt.has_badge` decides it for one.
WithoutBadge = Callable[[Mapping[int, datetime | None]], Sequence[int]]


def plan_rows(
    ledger: Ledger,
    batches: Iterable[Sequence[object]],
    order: Order,
    *,
    dry_run: bool = False,
    without_badge: WithoutBadge | None = None,
) -> Plan:
    """Plan the customers that rows name; a dry run counts the same way and writes nothing.

    Memory stays flat whatever the number of batches, and a slow warehouse holds no connection of the ledger. A row
    that is not a customer id is counted and kept with its reason; it never stops the others (the guard
    ``max_invalid_share`` may).

    Args:
        ledger: the ledger.
        batches: the values of the customers' column, as ``capillary.engine.warehouse.read_rows`` yields them.
        order: what is wanted.
        dry_run: commit nothing.
        without_badge: asked of customers whose earlier attempts left it open whether they hold the badge;
            only those it returns are planned again. Without it none of them is.

    Raises:
        Stopped: a person has stopped the campaign or its account; no batch was asked for. A dry run goes on.
        QueryFailed: what the batches raise.
        StagingFailed: the worker's disk takes no rows; said before the query runs where it takes none at all.
        GuardRefused, OccasionTaken: nothing was written (``capillary.ledger.plan``).
    """
    if not dry_run:
        with ledger.read() as tx:
            assert_not_stopped(tx, order.spec.account, order.campaign)
    row_number = 0
    with staging() as staged:
        ledger.let_go()
        for values in batches:
            customers: list[tuple[int, int]] = []
            invalid: list[InvalidRow] = []
            for row_number, value in enumerate(values, start=row_number + 1):  # noqa: B020 - it counts on
                try:
                    customers.append((row_number, customer_id_of(value)))
                except InvalidId as error:
                    invalid.append(InvalidRow(row_number, str(error.reason), shape_of(value)))
            staged.add(customers, invalid)
        if without_badge is not None and (unclear := customers_to_read(ledger, staged, order)):
            sent = {customer: of.sent_at for customer, of in unclear.items()}
            staged.clear((customer, unclear[customer].attempt) for customer in without_badge(sent))
        return commit_plan(ledger, staged, order, dry_run=dry_run)
