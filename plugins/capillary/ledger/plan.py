"""– → planned: staged customers become requests, in one transaction under the occasion's lock.

The order matters. Dead runs are tidied first, so that their customers are free; then the customers without
a row are found, the guards are judged, the requests are cut from exactly those customers, and the commit
comes last: a refused or crashed plan leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from secrets import token_hex
from typing import Final

from sqlalchemy import Row, delete, exists, func, insert, select, text

from capillary.ledger.database import Transaction
from capillary.ledger.errors import GuardRefused, LedgerBroken
from capillary.ledger.occasion import locked_occasion, locked_spec
from capillary.ledger.requests import dead_runs, discard_unsent, keep_alive
from capillary.ledger.schema import (
    HAS_BADGE,
    Outcome,
    RequestStatus,
    badge_invalid,
    badge_occasion,
    badge_request,
    badge_run,
)
from capillary.ledger.spec import Spec, request_key
from capillary.ledger.staging import Staging

#: Customers of a run under a spec that nobody has proven yet.
CANARY_CUSTOMERS: Final = 10
#: Attempts up to which a refused submission is planned again by itself.
NOT_ACCEPTED_ATTEMPTS: Final = 3
#: Other campaigns of an occasion that a plan names; the others are counted.
NAMED_CAMPAIGNS: Final = 5
_PARTITION_ROWS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Guards:
    """What makes a plan be refused. None switches a guard off.

    Attributes:
        min_customers: fewest distinct customers the query may find.
        max_jump: most distinct customers, as a multiple of the campaign's last run.
        max_drop: largest fall against the campaign's last run, a share from 0 to 1.
        max_invalid_share: largest share of rows that are no customer ids, 0 to 1.
        max_requests: most requests (approvals by a human) that one run may need.
        max_open_requests: most requests of the campaign that may be open at once, this run's included.
    """

    min_customers: int = 0
    max_jump: float | None = 10.0
    max_drop: float | None = None
    max_invalid_share: float | None = 0.05
    max_requests: int | None = 20
    max_open_requests: int | None = 100


@dataclass(frozen=True, slots=True)
class Order:
    """What a run wants planned.

    Attributes:
        dag_id, run_id, task_id: which Airflow task plans; together they name the plan.
        capillary_conn_id: the Airflow connection of the platform.
        campaign: the campaign's name.
        occasion: the occasion, resolved.
        shared_occasion: other campaigns may plan on this occasion; one of a badge (`badge:…`) is always shared.
        spec: what requests are built from.
        customers_per_request: largest request.
        cap: most customers of this run, in the query's order; None for all.
        canary: plan few customers while the spec is unproven.
        retry: outcomes after which a customer may be planned again.
        guards: the guards.
        override_guards: a person looked and lets the plan pass.
        lease: how long the run counts as alive without a sign of life.
        note: a person's words about this run.
    """

    dag_id: str
    run_id: str
    task_id: str
    capillary_conn_id: str
    campaign: str
    occasion: str
    spec: Spec
    shared_occasion: bool = False
    customers_per_request: int = 500
    cap: int | None = None
    canary: bool = True
    retry: frozenset[Outcome] = frozenset()
    guards: Guards = field(default_factory=Guards)
    override_guards: bool = False
    lease: timedelta = timedelta(hours=6)
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What was planned. ``eligible = invalid + duplicates + known_before + over_cap + planned``.

    Attributes:
        badge_run_id: the ledger's id of the plan; None after a dry run.
        kept: an earlier try of this task had planned, and something of it was sent: that plan holds.
        canary: the run was capped because the spec is unproven.
        waits_for_canary: nothing was planned since a request under the unproven spec is still open.
        known_elsewhere: the part of `known_before` whose latest attempt another campaign of the occasion made.
        known_through: names of those campaigns, the one with the most first; empty without any.
        requests: approvals needed.
    """

    badge_run_id: int | None
    kept: bool
    canary: bool
    waits_for_canary: bool
    eligible: int
    invalid: int
    duplicates: int
    known_before: int
    over_cap: int
    planned: int
    requests: int
    known_elsewhere: int = 0
    known_through: str = ""


class _DryRun(Exception):
    """No error: it rolls the transaction back."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


def commit_plan(staging: Staging, order: Order, *, dry_run: bool = False) -> Plan:
    """Plan the staged customers; a dry run goes the same way and rolls back.

    Raises:
        GuardRefused: a guard refused; the message names all that did.
        OccasionTaken: the occasion belongs to another badge or campaign.
        OrganisationElsewhere: the ledger knows the organisation under another address.
    """
    staged = staging.count()
    try:
        with staging.write() as tx:
            plan = _plan(tx, order, staged.rows, staged.invalid, staged.distinct)
            if dry_run:
                raise _DryRun(plan)  # noqa: TRY301 - an exception makes the transaction roll back
            return plan
    except _DryRun as outcome:
        plan = outcome.plan
        return Plan(
            badge_run_id=None,
            **{name: getattr(plan, name) for name in Plan.__slots__ if name != "badge_run_id"},
        )


def customers_to_read(staging: Staging, order: Order) -> tuple[int, ...]:
    """Return the staged customers whose retry needs a look at the badge first: nobody knows what they have.

    Call it when everything is staged, read each customer's badge, and give those without an enrolment to
    :meth:`Staging.clear`; the others stay as they are.
    """
    with staging.write() as tx:
        occasion_id = tx.conn.execute(
            select(badge_occasion.c.id).where(
                badge_occasion.c.account == order.spec.account, badge_occasion.c.occasion == order.occasion
            )
        ).scalar_one_or_none()
        if occasion_id is None:
            return ()
        found = tx.conn.execute(
            text(f"SELECT s.customer_id {_RETRIES} AND {_UNCERTAIN} ORDER BY s.customer_id"),
            _retry_parameters(occasion_id, order),
        )
        return tuple(found.scalars())


def _plan(tx: Transaction, order: Order, rows: int, invalid: int, distinct: int) -> Plan:
    occasion_id = locked_occasion(
        tx,
        account=order.spec.account,
        campaign=order.campaign,
        occasion=order.occasion,
        badge_id=order.spec.badge_id,
        shared=order.shared_occasion,
    )
    spec = locked_spec(tx, order.spec)
    earlier = tx.conn.execute(
        select(badge_run).where(
            badge_run.c.account == order.spec.account,
            badge_run.c.dag_id == order.dag_id,
            badge_run.c.run_id == order.run_id,
            badge_run.c.task_id == order.task_id,
        )
    ).one_or_none()
    if earlier is not None:
        if _anything_sent(tx, earlier.id):
            keep_alive(tx, earlier.id, lease=order.lease)
            return _kept(tx, earlier)
        _forget(tx, earlier.id)
    discard_unsent(tx, badge_run_ids=dead_runs(tx, occasion_id))

    fresh = _find_fresh(tx, occasion_id, order)
    elsewhere = _known_elsewhere(tx, occasion_id, order.campaign)
    canary = order.canary and spec.proven_at is None
    waits = canary and _spec_is_open(tx, spec.id)
    caps = [cap for cap in (order.cap, CANARY_CUSTOMERS if canary else None, 0 if waits else None) if cap is not None]
    planned = min([fresh, *caps])
    if planned < fresh:
        _keep_first(tx, planned)
    requests = _requests_needed(tx, order.customers_per_request)
    if not order.override_guards:
        _judge(tx, order, rows, invalid, distinct, requests)

    run_id = tx.conn.execute(
        insert(badge_run)
        .values(
            account=order.spec.account,
            campaign=order.campaign,
            token=token_hex(16),
            dag_id=order.dag_id,
            run_id=order.run_id,
            task_id=order.task_id,
            capillary_conn_id=order.capillary_conn_id,
            occasion_id=occasion_id,
            spec_id=spec.id,
            eligible=rows,
            invalid=invalid,
            duplicates=rows - invalid - distinct,
            known_before=distinct - fresh,
            known_elsewhere=sum(elsewhere.values()),
            over_cap=fresh - planned,
            planned=planned,
            canary=canary,
            note=order.note,
            planned_at=tx.now,
            alive_until=tx.now + order.lease,
        )
        .returning(badge_run.c.id)
    ).scalar_one()
    tx.conn.execute(
        text(
            "INSERT INTO badge_invalid (badge_run_id, row_number, reason, shape) "
            "SELECT :run, row_number, reason, shape FROM staged_invalid"
        ),
        {"run": run_id},
    )
    _cut(tx, order, run_id=run_id, occasion_id=occasion_id, spec_id=spec.id, planned=planned)
    return Plan(
        badge_run_id=run_id,
        kept=False,
        canary=canary,
        waits_for_canary=waits and fresh > 0,
        eligible=rows,
        invalid=invalid,
        duplicates=rows - invalid - distinct,
        known_before=distinct - fresh,
        over_cap=fresh - planned,
        planned=planned,
        requests=requests,
        known_elsewhere=sum(elsewhere.values()),
        known_through=_named(elsewhere),
    )


def _anything_sent(tx: Transaction, badge_run_id: int) -> bool:
    rows = (
        select(badge_request.c.status, badge_request.c.tries)
        .where(badge_request.c.badge_run_id == badge_run_id)
        .order_by(badge_request.c.id)
    )
    # Locked, for an old try of the run may still live and claim one of them before the next step. What was sent
    # stays so: it needs no lock, and may be another one's, who settles it and waits for the spec that is locked here.
    return any(
        row.status != RequestStatus.PLANNED or row.tries > 0
        for statement in (rows, rows.with_for_update())
        for row in tx.conn.execute(statement).all()
    )


def _kept(tx: Transaction, run: Row[tuple[object, ...]]) -> Plan:
    requests = tx.conn.execute(
        select(func.count()).select_from(badge_request).where(badge_request.c.badge_run_id == run.id)
    ).scalar_one()
    return Plan(
        badge_run_id=run.id,
        kept=True,
        canary=run.canary,
        waits_for_canary=False,
        eligible=run.eligible,
        invalid=run.invalid,
        duplicates=run.duplicates,
        known_before=run.known_before,
        over_cap=run.over_cap,
        planned=run.planned,
        requests=requests,
        known_elsewhere=run.known_elsewhere,
        known_through=_named(_others(tx, run.occasion_id, run.campaign, before=run.id)) if run.known_elsewhere else "",
    )


def _forget(tx: Transaction, badge_run_id: int) -> None:
    discard_unsent(tx, badge_run_ids=[badge_run_id])
    tx.conn.execute(delete(badge_invalid).where(badge_invalid.c.badge_run_id == badge_run_id))
    tx.conn.execute(delete(badge_run).where(badge_run.c.id == badge_run_id))


# A customer may be planned again when every earlier attempt is settled without the badge and the latest one
# ended with an outcome that was asked for, or was refused by the platform few times enough.
_RETRIES: Final = f"""
    FROM staged s
    JOIN badge_enrolment e ON e.occasion_id = :occasion_id AND e.customer_id = s.customer_id
    JOIN badge_request r ON r.id = e.request_id
    WHERE NOT EXISTS (
        SELECT 1 FROM badge_enrolment o JOIN badge_request q ON q.id = o.request_id
        WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
          AND (o.attempt > e.attempt OR o.outcome IS NULL OR q.status <> 'settled'
               OR o.outcome IN ({", ".join(f"'{outcome}'" for outcome in sorted(HAS_BADGE))}))
    )
    AND (
        (e.outcome = 'not_accepted' AND e.attempt < {NOT_ACCEPTED_ATTEMPTS})
        OR (e.outcome = 'not_accepted' AND :retry_not_accepted = 1)
        OR (e.outcome = 'rejected' AND :retry_rejected = 1)
        OR (e.outcome = 'failed' AND :retry_failed = 1)
        OR (e.outcome = 'unconfirmed' AND :retry_unconfirmed = 1)
    )
"""  # noqa: S608 - words of this module; values are bound
#: What the platform did with the earlier attempts is not known for certain.
_UNCERTAIN: Final = """
    EXISTS (
        SELECT 1 FROM badge_enrolment o JOIN badge_request q ON q.id = o.request_id
        WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id
          AND (o.outcome = 'unconfirmed' OR q.resends > 0)
    )
"""


def _retry_parameters(occasion_id: int, order: Order) -> dict[str, int]:
    outcomes = (Outcome.NOT_ACCEPTED, Outcome.REJECTED, Outcome.FAILED, Outcome.UNCONFIRMED)
    return {
        "occasion_id": occasion_id,
        **{f"retry_{outcome}": int(outcome in order.retry) for outcome in outcomes},
    }


def _find_fresh(tx: Transaction, occasion_id: int, order: Order) -> int:
    """Fill the table ``fresh`` with the customers that may be planned; return how many."""
    tx.conn.execute(text("DELETE FROM fresh"))
    tx.conn.execute(
        text(
            "INSERT INTO fresh (attempt, customer_id, row_number) "
            "SELECT 1, s.customer_id, s.row_number FROM staged s WHERE NOT EXISTS ("
            "SELECT 1 FROM badge_enrolment e "
            "WHERE e.occasion_id = :occasion_id AND e.customer_id = s.customer_id)"
        ),
        {"occasion_id": occasion_id},
    )
    tx.conn.execute(
        text(
            "INSERT INTO fresh (attempt, customer_id, row_number) "  # noqa: S608 - words of this module
            f"SELECT e.attempt + 1, s.customer_id, s.row_number {_RETRIES} "
            f"AND (NOT {_UNCERTAIN} OR s.customer_id IN (SELECT customer_id FROM cleared))"
        ),
        _retry_parameters(occasion_id, order),
    )
    fresh: int = tx.conn.execute(text("SELECT count(*) FROM fresh")).scalar_one()
    return fresh


def _known_elsewhere(tx: Transaction, occasion_id: int, campaign: str) -> dict[str, int]:
    """Return the staged customers that are not fresh, by the other campaign that made their latest attempt.

    It reads the tables ``staged`` and ``fresh``, and nothing where the campaign is alone on its occasion.
    """
    if not _others(tx, occasion_id, campaign):
        return {}
    found = tx.conn.execute(
        text(
            "SELECT r.campaign, count(*) AS customers FROM staged s "
            "JOIN badge_enrolment e ON e.occasion_id = :occasion_id AND e.customer_id = s.customer_id "
            "JOIN badge_request q ON q.id = e.request_id JOIN badge_run r ON r.id = q.badge_run_id "
            "WHERE r.campaign <> :campaign AND NOT EXISTS (SELECT 1 FROM badge_enrolment o "
            "WHERE o.occasion_id = e.occasion_id AND o.customer_id = e.customer_id AND o.attempt > e.attempt) "
            "AND s.customer_id NOT IN (SELECT customer_id FROM fresh WHERE attempt > 1) "
            "GROUP BY r.campaign ORDER BY count(*) DESC, r.campaign"
        ),
        {"occasion_id": occasion_id, "campaign": campaign},
    )
    return {row.campaign: row.customers for row in found}


def _others(tx: Transaction, occasion_id: int, campaign: str, *, before: int | None = None) -> dict[str, int]:
    """Return the occasion's other campaigns with what their runs still hold; `before`: the runs up to that one."""
    held = func.sum(badge_run.c.planned - badge_run.c.discarded)
    found = tx.conn.execute(
        select(badge_run.c.campaign, held.label("customers"))
        .where(
            badge_run.c.occasion_id == occasion_id,
            badge_run.c.campaign != campaign,
            badge_run.c.planned > badge_run.c.discarded,
            *([badge_run.c.id < before] if before is not None else []),
        )
        .group_by(badge_run.c.campaign)
        .order_by(held.desc(), badge_run.c.campaign)
    )
    return {row.campaign: row.customers for row in found}


def _named(campaigns: Mapping[str, int]) -> str:
    more = len(campaigns) - NAMED_CAMPAIGNS
    names = list(campaigns)[:NAMED_CAMPAIGNS]
    return ", ".join([*names, f"{more} more"] if more > 0 else names)


def _spec_is_open(tx: Transaction, spec_id: int) -> bool:
    return bool(
        tx.conn.execute(
            select(exists().where(badge_request.c.spec_id == spec_id, badge_request.c.status != RequestStatus.SETTLED))
        ).scalar_one()
    )


def _keep_first(tx: Transaction, customers: int) -> None:
    """Keep the first customers in the query's order; the rest is over the cap."""
    tx.conn.execute(
        text(
            "DELETE FROM fresh WHERE row_number > coalesce("
            "(SELECT max(row_number) FROM (SELECT row_number FROM fresh ORDER BY row_number LIMIT :n) first), 0)"
        ),
        {"n": customers},
    )


def _requests_needed(tx: Transaction, customers_per_request: int) -> int:
    per_attempt = tx.conn.execute(text("SELECT count(*) FROM fresh GROUP BY attempt")).scalars()
    return sum(-(-count // customers_per_request) for count in per_attempt)


def _judge(tx: Transaction, order: Order, rows: int, invalid: int, distinct: int, requests: int) -> None:
    guards, refusals = order.guards, []
    if distinct < guards.min_customers:
        refusals.append(f"{distinct} customers, fewer than min_customers={guards.min_customers}")
    if guards.max_invalid_share is not None and rows and invalid / rows > guards.max_invalid_share:
        refusals.append(
            f"{invalid} of {rows} rows are no customer ids, more than max_invalid_share={guards.max_invalid_share:g}"
        )
    last = _customers_of_last_run(tx, order)
    if last:
        if guards.max_jump is not None and distinct > last * guards.max_jump:
            refusals.append(
                f"{distinct} customers after {last} in the campaign's last run, more than max_jump={guards.max_jump:g}×"
            )
        if guards.max_drop is not None and distinct < last * (1 - guards.max_drop):
            refusals.append(
                f"{distinct} customers after {last} in the campaign's last run, a fall of more than "
                f"max_drop={guards.max_drop:g}"
            )
    if guards.max_requests is not None and requests > guards.max_requests:
        refusals.append(
            f"{requests} approvals needed, more than max_requests={guards.max_requests}: raise it, or cap the customers"
        )
    if guards.max_open_requests is not None and requests:
        still_open = _open_requests(tx, order)
        if still_open + requests > guards.max_open_requests:
            refusals.append(
                f"{still_open} requests of the campaign are open and {requests} would be added, more than "
                f"max_open_requests={guards.max_open_requests}: let the checker decide first"
            )
    if refusals:
        raise GuardRefused(
            f"nothing was planned for occasion {order.occasion!r}: {'; '.join(refusals)}. "
            "If this is right, trigger the run with override_guards"
        )


def _customers_of_last_run(tx: Transaction, order: Order) -> int:
    """Return the distinct customers of the last run that found any; 0 without one.

    A run over an empty warehouse is passed over: it would leave the next one without a measure.
    """
    found = badge_run.c.eligible - badge_run.c.invalid - badge_run.c.duplicates
    last = tx.conn.execute(
        select(found)
        .where(
            badge_run.c.account == order.spec.account,
            badge_run.c.campaign == order.campaign,
            found > 0,
        )
        .order_by(badge_run.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return last or 0


def _open_requests(tx: Transaction, order: Order) -> int:
    return tx.conn.execute(
        select(func.count())
        .select_from(badge_request)
        .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
        .where(
            badge_run.c.account == order.spec.account,
            badge_run.c.campaign == order.campaign,
            badge_request.c.status != RequestStatus.SETTLED,
        )
    ).scalar_one()


def _cut(tx: Transaction, order: Order, *, run_id: int, occasion_id: int, spec_id: int, planned: int) -> None:
    """Cut requests from the fresh customers, in the order of their ids, and enrol exactly those."""
    fingerprint = order.spec.fingerprint()
    requests = [
        {
            "key": request_key(fingerprint, order.campaign, order.occasion, attempt, customers),
            "badge_run_id": run_id,
            "occasion_id": occasion_id,
            "spec_id": spec_id,
            "ordinal": ordinal,
            "attempt": attempt,
            "customers": len(customers),
            "status": RequestStatus.PLANNED,
        }
        for ordinal, (attempt, customers) in enumerate(_slices(tx, order.customers_per_request))
    ]
    if not requests:
        return
    tx.conn.execute(insert(badge_request), requests)
    tx.conn.execute(
        text(
            "INSERT INTO cut (attempt, slice, request_id) "
            "SELECT attempt, ordinal - min(ordinal) OVER (PARTITION BY attempt), id "
            "FROM badge_request WHERE badge_run_id = :run_id"
        ),
        {"run_id": run_id},
    )
    # CROSS JOIN keeps SQLite from going through all customers once for every request.
    enrolled = tx.conn.execute(
        text(
            "INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id) "
            "SELECT :occasion_id, f.customer_id, f.attempt, c.request_id FROM ("
            "SELECT attempt, customer_id, "
            "(row_number() OVER (PARTITION BY attempt ORDER BY customer_id) - 1) / :size AS slice FROM fresh) f "
            "CROSS JOIN cut c WHERE c.attempt = f.attempt AND c.slice = f.slice"
        ),
        {"occasion_id": occasion_id, "size": order.customers_per_request},
    ).rowcount
    if enrolled != planned:
        raise LedgerBroken(f"{planned} customers were to be planned, {enrolled} were; nothing was planned")


def _slices(tx: Transaction, size: int) -> Iterator[tuple[int, list[int]]]:
    result = tx.conn.execute(
        text("SELECT attempt, customer_id FROM fresh ORDER BY attempt, customer_id"),
        # On the statement: as an option of the connection it would turn every INSERT into a cursor.
        execution_options={"yield_per": _PARTITION_ROWS},
    )
    rows = (row for part in result.partitions(_PARTITION_ROWS) for row in part)
    for attempt, group in groupby(rows, key=lambda row: row[0]):
        batch: list[int] = []
        for _, customer in group:
            batch.append(customer)
            if len(batch) == size:
                yield attempt, batch
                batch = []
        if batch:
            yield attempt, batch
