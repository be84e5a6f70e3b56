"""Requests that the platform holds and the ledger has forgotten: written back from what the platform echoes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

from sqlalchemy import func, insert, select, update

from capillary.ledger.bounds import checked
from capillary.ledger.counts import count_without_rows
from capillary.ledger.database import Transaction
from capillary.ledger.locked_rows import locked_occasion, locked_spec
from capillary.ledger.request_rows import Seen, discard_unsent, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_occasion, badge_request, badge_run, badge_spec
from capillary.ledger.spec import Spec
from capillary.ledger.status import Outcome, RequestStatus

#: `badge_run.task_id` of what was imported.
IMPORT_TASK = "ledger_import"
_CHUNK = 500
#: The platform's word for a request that was never executed (`capillary.api.request_workflow.RequestState`).
_REJECTED = "rejected"
_TWIN = "imported as rejected: its customers stand in another request of the occasion"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a forgotten request may have been planned as."""

    campaign: str
    occasion: str
    spec: Spec


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A request on the platform whose key proves what it is.

    Attributes:
        key: the request key, as the platform shows it; its last part is the hash of occasion, spec, attempt and
            customers.
        campaign, occasion, spec, attempt, customers: what it was planned as.
        seen: how the platform shows it.
        sent_at: when the platform took it.
    """

    key: str
    campaign: str
    occasion: str
    spec: Spec
    attempt: int
    customers: Sequence[int]
    seen: Seen
    sent_at: datetime

    def __post_init__(self) -> None:
        """Refuse what the ledger's columns cannot hold.

        Raises:
            ValueUnfit: naming it.
        """
        checked(badge_request.c.request_key, "key", self.key)
        checked(badge_run.c.campaign, "campaign", self.campaign)
        checked(badge_occasion.c.occasion, "occasion", self.occasion)


def known_candidates(tx: Transaction, account: str) -> list[Candidate]:
    """Return every occasion that runs of the ledger have used, by campaign, with every spec of its badge."""
    configs = tx.conn.execute(select(badge_spec.c.config).where(badge_spec.c.account == account)).scalars()
    specs = [Spec.from_config(config) for config in configs]
    used = tx.conn.execute(
        select(badge_run.c.campaign, badge_occasion.c.occasion, badge_occasion.c.badge_id)
        .join(badge_occasion, badge_occasion.c.id == badge_run.c.occasion_id)
        .where(badge_run.c.account == account)
        .distinct()
        .order_by(badge_run.c.campaign, badge_occasion.c.occasion)
    )
    return [
        Candidate(each.campaign, each.occasion, spec)
        for each in used
        for spec in specs
        if spec.badge_id == each.badge_id
    ]


def adopt(tx: Transaction, forgotten: Forgotten, *, run_id: str, capillary_conn_id: str) -> int:
    """Write a forgotten request back, waiting; badge_upkeep or the next `wait` settles it.

    What the occasion's runs have planned and not sent is given back first: it may be the same customers.

    Args:
        tx: the transaction.
        forgotten: the request.
        run_id: `badge_run.run_id` of this import; one run takes all that is imported for an occasion.
        capillary_conn_id: the connection with which it is watched.

    Returns:
        How many of its customers stand in another request of the occasion, under the same attempt or open. Above
        0 nothing was written: a human must decide which of the two requests is rejected. One that is rejected
        already touches nobody; it is written back settled and counted as rejected, without rows of its customers.

    Raises:
        OccasionTaken: the occasion belongs to another badge.
        OrganisationElsewhere: the ledger knows the organisation under another address.
        ValueUnfit: `capillary_conn_id` is longer than the ledger keeps.
    """
    checked(badge_run.c.capillary_conn_id, "capillary_conn_id", capillary_conn_id)
    occasion_id = locked_occasion(
        tx,
        account=forgotten.spec.account,
        campaign=None,  # the platform holds the request, whoever may plan on its occasion
        occasion=forgotten.occasion,
        badge_id=forgotten.spec.badge_id,
    )
    unsent = select(badge_request.c.badge_run_id).where(
        badge_request.c.occasion_id == occasion_id, badge_request.c.status == RequestStatus.PLANNED
    )
    discard_unsent(tx, badge_run_ids=sorted(set(tx.conn.execute(unsent).scalars())))
    clashing = _clashing(tx, occasion_id, forgotten)
    touches_nobody = forgotten.seen.state == _REJECTED
    if clashing and not touches_nobody:
        return clashing
    spec_id = locked_spec(tx, forgotten.spec).id
    size = len(forgotten.customers)
    badge_run_id = _run(tx, forgotten, run_id, capillary_conn_id, occasion_id, spec_id)
    ordinal = tx.conn.execute(
        select(func.count()).select_from(badge_request).where(badge_request.c.badge_run_id == badge_run_id)
    ).scalar_one()
    request_id = tx.conn.execute(
        insert(badge_request)
        .values(
            request_key=forgotten.key,
            badge_run_id=badge_run_id,
            occasion_id=occasion_id,
            spec_id=spec_id,
            ordinal=ordinal,
            attempt=forgotten.attempt,
            customers=size,
            status=RequestStatus.WAITING,
            tries=1,
            first_sent_at=forgotten.sent_at,
            last_sent_at=forgotten.sent_at,
        )
        .returning(badge_request.c.id)
    ).scalar_one()
    record_sighting(tx, request_id, forgotten.seen)
    if clashing:
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.id == request_id)
            .values(status=RequestStatus.SETTLED, settled_at=tx.now, error=_TWIN)
        )
        count_without_rows(tx, request_id, Outcome.REJECTED, size)
    else:
        tx.conn.execute(
            insert(badge_enrolment),
            [
                {
                    "occasion_id": occasion_id,
                    "customer_id": customer,
                    "attempt": forgotten.attempt,
                    "request_id": request_id,
                }
                for customer in forgotten.customers
            ],
        )
    tx.conn.execute(
        update(badge_run)
        .where(badge_run.c.id == badge_run_id)
        .values(eligible=badge_run.c.eligible + size, planned=badge_run.c.planned + size)
    )
    return 0


def _clashing(tx: Transaction, occasion_id: int, forgotten: Forgotten) -> int:
    clashing = 0
    for start in range(0, len(forgotten.customers), _CHUNK):
        clashing += tx.conn.execute(
            select(func.count(badge_enrolment.c.customer_id.distinct())).where(
                badge_enrolment.c.occasion_id == occasion_id,
                badge_enrolment.c.customer_id.in_(forgotten.customers[start : start + _CHUNK]),
                (badge_enrolment.c.attempt == forgotten.attempt) | badge_enrolment.c.outcome.is_(None),
            )
        ).scalar_one()
    return clashing


def _run(
    tx: Transaction, forgotten: Forgotten, run_id: str, capillary_conn_id: str, occasion_id: int, spec_id: int
) -> int:
    of_spec = f"{run_id}__{occasion_id}_{spec_id}"
    found: int | None = tx.conn.execute(
        select(badge_run.c.id).where(
            badge_run.c.account == forgotten.spec.account,
            badge_run.c.dag_id == forgotten.campaign,
            badge_run.c.run_id == of_spec,
            badge_run.c.task_id == IMPORT_TASK,
        )
    ).scalar_one_or_none()
    if found is not None:
        return found
    made: int = tx.conn.execute(
        insert(badge_run)
        .values(
            account=forgotten.spec.account,
            campaign=forgotten.campaign,
            token=token_hex(16),
            dag_id=forgotten.campaign,
            run_id=of_spec,
            task_id=IMPORT_TASK,
            capillary_conn_id=capillary_conn_id,
            occasion_id=occasion_id,
            spec_id=spec_id,
            eligible=0,
            invalid=0,
            duplicates=0,
            known_before=0,
            over_cap=0,
            planned=0,
            canary=False,
            note="imported from the platform's list",
            planned_at=tx.now,
            alive_until=tx.now,
        )
        .returning(badge_run.c.id)
    ).scalar_one()
    return made
