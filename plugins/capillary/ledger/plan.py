"""– → planned: staged customers become requests, in one transaction under the occasion's lock.

The order matters. Dead runs are tidied first, so that their customers are free; then the customers that may be planned
are found, the guards are judged, the requests are cut from exactly those customers, and the commit comes last: a
refused or crashed plan leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import Row, delete, exists, func, insert, or_, select

from capillary.counted import counted
from capillary.ledger.bounds import checked
from capillary.ledger.candidates import Retry, is_new, known_elsewhere, may_be_planned, planning, unclear
from capillary.ledger.conditions import is_open
from capillary.ledger.cut import Cut, cut
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import GuardRefused, LedgerBroken
from capillary.ledger.guards import GuardReading, Guards, guard_readings
from capillary.ledger.locked_rows import locked_occasion, locked_spec
from capillary.ledger.occasion_mark import mark
from capillary.ledger.plan_id import OpenPlan, PlanId, is_of_run, new_token
from capillary.ledger.preview import Preview, last_run, sample_of
from capillary.ledger.request_rows import dead_runs, discard_unsent, keep_alive
from capillary.ledger.schema import badge_invalid, badge_occasion, badge_request, badge_run
from capillary.ledger.spec import Spec
from capillary.ledger.staging import Staging, Unclear
from capillary.ledger.status import Outcome, RequestStatus

#: Customers of a run under a spec that nobody has proven yet.
CANARY_CUSTOMERS: Final = 10
#: Other campaigns of an occasion that a plan names; the others are counted.
NAMED_CAMPAIGNS: Final = 5


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
        retry_codes: with which of the platform's codes, None for an ending without one; empty: with any, or none.
        guards: the guards.
        override_guards: a person looked and lets the plan pass.
        lease: how long the run counts as alive without a sign of life.
        note: a person's words about this run.
        airflow_run: what tells the run from one of its name in another Airflow, or from before it was deleted there;
            empty: nothing does, and its plan is found by its token alone.
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
    retry_codes: frozenset[int | None] = frozenset()
    guards: Guards = field(default_factory=Guards)
    override_guards: bool = False
    lease: timedelta = timedelta(hours=6)
    note: str | None = None
    airflow_run: str = ""

    def __post_init__(self) -> None:
        """Refuse what the ledger's columns cannot hold, before a row of the warehouse is read.

        Raises:
            ValueUnfit: naming the first.
        """
        checked(badge_occasion.c.account, "account", self.spec.account)
        checked(badge_occasion.c.badge_id, "badge_id", self.spec.badge_id)
        checked(badge_occasion.c.occasion, "occasion", self.occasion)
        for name in ("dag_id", "run_id", "task_id", "capillary_conn_id", "campaign", "note"):
            if (value := getattr(self, name)) is not None:
                checked(badge_run.c[name], name, value)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was planned. ``eligible = invalid + duplicates + known_before + over_cap + planned``.

    Attributes:
        badge_run_id, token: the ledger's id of the plan, and what no other plan has; None after a dry run.
        kept: an earlier try of this task had planned, and something of it was sent: that plan holds.
        canary: the run was capped because the spec is unproven.
        waits_for_canary: nothing was planned since a request under the unproven spec is still open.
        known_elsewhere: the part of `known_before` whose latest attempt another campaign of the occasion made.
        known_through: names of those campaigns, the one with the most first; empty without any.
        requests: approvals needed.
        preview: the guards, the run before and a masked sample; None of a plan that was kept.
    """

    badge_run_id: int | None
    token: str | None = field(repr=False)  # says nothing in a log
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
    preview: Preview | None = field(default=None, compare=False, repr=False)

    @property
    def plan_id(self) -> PlanId | None:
        """What is handed on; None after a dry run."""
        return None if self.badge_run_id is None or self.token is None else PlanId(self.badge_run_id, self.token)


class _CopyNeeded(Exception):
    """No error: the occasion was new a moment ago, and is not any more."""


class _DryRun(Exception):
    """No error: it rolls the transaction back."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan


def commit_plan(ledger: Ledger, staged: Staging, order: Order, *, dry_run: bool = False) -> Plan:
    """Plan the staged customers; a dry run goes the same way and rolls back.

    Raises:
        GuardRefused: a guard refused; the message names all that did.
        OccasionTaken: the occasion belongs to another badge or campaign.
        OrganisationElsewhere: the ledger knows the organisation under another address.
        StagingFailed: the worker's disk failed.
        LedgerUnavailable: the ledger's database stopped the copying; nothing was planned.
        LedgerBroken: a count that must hold does not.
    """
    staged.count()
    # On a new occasion everybody staged is new: neither a copy nor an anti-join tells more.
    with_copy = not _occasion_is_new(ledger, order)
    try:
        return _commit(ledger, staged, order, with_copy=with_copy, dry_run=dry_run)
    except _CopyNeeded:  # another run planned the occasion's first customers in the meantime
        return _commit(ledger, staged, order, with_copy=True, dry_run=dry_run)


def _commit(ledger: Ledger, staged: Staging, order: Order, *, with_copy: bool, dry_run: bool) -> Plan:
    try:
        with planning(ledger, staged, with_copy=with_copy) as tx:
            plan = _plan(tx, order, staged, with_copy=with_copy)
            if dry_run:
                raise _DryRun(plan)  # noqa: TRY301 - an exception makes the transaction roll back
            return plan
    except _DryRun as outcome:
        plan = outcome.plan
        return Plan(
            badge_run_id=None,
            token=None,
            **{name: getattr(plan, name) for name in Plan.__slots__ if name not in ("badge_run_id", "token")},
        )


def customers_to_read(ledger: Ledger, staged: Staging, order: Order) -> dict[int, Unclear]:
    """Return the staged customers whose retry needs a look at the badge first, with their latest attempt.

    Nobody knows what they have. Call it when everything is staged, read each customer's badge while no transaction of
    the ledger is open, and give those without an enrolment since their first send, with that attempt, to
    :meth:`Staging.clear`; the others stay as they are.
    """
    with ledger.read() as tx:
        occasion_id = _occasion_id(tx, order)
        return {} if occasion_id is None else staged.those_staged(unclear(tx, occasion_id, _retry(order)))


def plan_of_run(
    tx: Transaction, *, dag_id: str, run_id: str, task_id: str, airflow_run: str, account: str | None = None
) -> Plan | None:
    """Return the plan of an Airflow task that has lost the plan's token; None where it cannot be told for certain.

    It is the only one that the task has made in that very run, and something of it was sent: from then on the task
    makes no other one. What a restore has brought back may have been planned again since, and was not sent here.

    Args:
        tx: the transaction.
        dag_id: of the task that planned.
        run_id: the same.
        task_id: the same.
        airflow_run: as in `Order`.
        account: the account that it planned for; None: any, where it is one only.
    """
    columns = badge_run.c
    found = tx.conn.execute(
        select(badge_run).where(
            columns.dag_id == dag_id,
            columns.run_id == run_id,
            columns.task_id == task_id,
            *([columns.account == account] if account is not None else []),
        )
    ).all()
    of_run = [run for run in found if is_of_run(run.token, airflow_run)]
    if len(of_run) != 1:
        return None
    sent = select(badge_request.c.id).where(
        badge_request.c.badge_run_id == of_run[0].id,
        or_(badge_request.c.status != RequestStatus.PLANNED, badge_request.c.tries > 0),
    )
    return _kept(tx, of_run[0]) if tx.conn.execute(sent.limit(1)).first() else None


def _occasion_is_new(ledger: Ledger, order: Order) -> bool:
    with ledger.read() as tx:
        occasion_id = _occasion_id(tx, order)
        return occasion_id is None or is_new(tx, occasion_id)


def _occasion_id(tx: Transaction, order: Order) -> int | None:
    return tx.conn.execute(
        select(badge_occasion.c.id).where(
            badge_occasion.c.account == order.spec.account, badge_occasion.c.occasion == order.occasion
        )
    ).scalar_one_or_none()


def _plan(tx: Transaction, order: Order, staged: Staging, *, with_copy: bool) -> Plan:
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
    told: dict[str, int | None] = {}
    if earlier is not None:
        if _anything_sent(tx, earlier.id):
            keep_alive(tx, earlier.id, lease=order.lease)
            return _kept(tx, earlier)
        # Who clears the planning task has been told, as who clears submit.
        told = {"auto_approval_told": earlier.auto_approval_told, "clears_when_told": earlier.clears_when_told}
        _forget(tx, earlier.id)
    discard_unsent(tx, badge_run_ids=dead_runs(tx, occasion_id))

    counts = staged.staged
    fresh = _take(tx, occasion_id, order, staged, with_copy=with_copy)
    elsewhere = known_elsewhere(tx, occasion_id, order.campaign, _retry(order)) if with_copy else {}
    canary = order.canary and spec.proven_at is None
    waits = canary and _spec_is_open(tx, spec.id)
    caps = [cap for cap in (order.cap, CANARY_CUSTOMERS if canary else None, 0 if waits else None) if cap is not None]
    planned = min([fresh, *caps])
    if planned < fresh:
        staged.keep_first(planned)
    requests = sum(-(-customers // order.customers_per_request) for customers in staged.taken().values())
    before = last_run(tx, account=order.spec.account, campaign=order.campaign)
    readings = guard_readings(
        tx,
        order.guards,
        account=order.spec.account,
        campaign=order.campaign,
        rows=counts.rows,
        invalid=counts.invalid,
        distinct=counts.distinct,
        last=before.customers if before else 0,
        requests=requests,
    )
    if not order.override_guards:
        _judge(order, readings)
    known_before, over_cap = counts.distinct - fresh, fresh - planned
    if min(counts.duplicates, known_before, over_cap, planned) < 0:
        raise LedgerBroken(
            f"the plan does not add up: {counted(counts.rows, 'row')}, {counts.invalid} invalid, "
            f"{counted(counts.distinct, 'customer')}, "
            f"{fresh} of them new, {planned} to be planned; nothing was planned"
        )

    stood = mark(tx, occasion_id, spec=order.spec.fingerprint(), canary=canary, retry=order.retry)
    token = new_token(order.airflow_run)
    run_id = tx.conn.execute(
        insert(badge_run)
        .values(
            account=order.spec.account,
            campaign=order.campaign,
            token=token,
            dag_id=order.dag_id,
            run_id=order.run_id,
            task_id=order.task_id,
            capillary_conn_id=order.capillary_conn_id,
            occasion_id=occasion_id,
            spec_id=spec.id,
            eligible=counts.rows,
            invalid=counts.invalid,
            duplicates=counts.duplicates,
            known_before=known_before,
            known_elsewhere=sum(elsewhere.values()),
            over_cap=over_cap,
            planned=planned,
            canary=canary,
            note=order.note,
            planned_at=tx.now,
            alive_until=tx.now + order.lease,
            **told,
        )
        .returning(badge_run.c.id)
    ).scalar_one()
    for part in staged.invalid_rows():
        tx.conn.execute(insert(badge_invalid), [_invalid(run_id, *row) for row in part])
    whose = Cut(run_id, occasion_id, spec.id, order.spec.fingerprint(), order.campaign, order.occasion)
    cut(tx, whose, staged.slices(order.customers_per_request), requests=requests, planned=planned)
    return Plan(
        badge_run_id=run_id,
        token=token,
        kept=False,
        canary=canary,
        waits_for_canary=waits and fresh > 0,
        eligible=counts.rows,
        invalid=counts.invalid,
        duplicates=counts.duplicates,
        known_before=known_before,
        over_cap=over_cap,
        planned=planned,
        requests=requests,
        known_elsewhere=sum(elsewhere.values()),
        known_through=_named(elsewhere),
        preview=Preview(counts.distinct, readings, before, sample_of(tx, run_id), stood),
    )


def _take(tx: Transaction, occasion_id: int, order: Order, staged: Staging, *, with_copy: bool) -> int:
    """Take the customers that may be planned; return how many."""
    if not with_copy:
        if not is_new(tx, occasion_id):
            raise _CopyNeeded
        staged.take_everybody()
    else:
        staged.take(may_be_planned(tx, occasion_id, _retry(order)))
    return sum(staged.taken().values())


def _retry(order: Order) -> Retry:
    return Retry(order.retry, order.retry_codes)


def _invalid(badge_run_id: int, row_number: int, reason: str, shape: str) -> dict[str, object]:
    return {"badge_run_id": badge_run_id, "row_number": row_number, "reason": reason, "shape": shape}


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
        token=run.token,
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


def _forget(tx: Transaction, badge_run_id: OpenPlan) -> None:
    discard_unsent(tx, badge_run_ids=[badge_run_id])
    tx.conn.execute(delete(badge_invalid).where(badge_invalid.c.badge_run_id == badge_run_id))
    tx.conn.execute(delete(badge_run).where(badge_run.c.id == badge_run_id))


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
    return bool(tx.conn.execute(select(exists().where(badge_request.c.spec_id == spec_id, is_open()))).scalar_one())


def _judge(order: Order, readings: Sequence[GuardReading]) -> None:
    refusals = [each.refusal for each in readings if each.refusal is not None]
    if refusals:
        raise GuardRefused(
            f"nothing was planned for occasion {order.occasion!r}: {'; '.join(refusals)}. "
            "If this is right, trigger the run with override_guards"
        )
