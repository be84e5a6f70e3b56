"""What is wrong with an installation at its end, judged by the platform's books. Nothing is the only good answer.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import func, select

from capillary.ledger.check import faults
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.status import Outcome
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from sandbox.platform import RequestRecord
from tests.crashes.installation import Installation
from tests.crashes.job import TaskEnd

#: States of a request that enrols nobody.
_DEAD = frozenset({"rejected", "failed"})


def faults_of(installation: Installation, *, twins: bool = False) -> list[str]:
    """Return every broken promise, each in a sentence; customers are counted, not named.

    Args:
        installation: with everything decided and settled.
        twins: several requests of one key are allowed, since the test broke the timing assumption; each must
            be in the ledger.
    """
    books = installation.sandbox.platform.requests()
    return [
        *_never_twice(installation, books, twins=twins),
        *_never_lost(installation),
        *_never_guessed(installation),
        *_found(installation, books),
        *_four_eyes(installation),
        *_false_failures(installation),
    ]


def _never_twice(installation: Installation, books: list[RequestRecord], *, twins: bool) -> list[str]:
    live = [record for record in books if record.state not in _DEAD]
    keys = Counter(record.request_key for record in books)
    found = []
    if repeated := [key for key, times in keys.items() if times > 1]:
        if not twins:
            found.append(f"I1: {len(repeated)} keys stand on the platform more than once")
        live = list({record.request_key: record for record in live}.values())
    held = Counter(customer for record in live for customer in record.customers)
    eligible = set(installation.customers)
    if twice := [customer for customer, times in held.items() if times > 1]:
        found.append(f"I1: {len(twice)} customers are in several live requests")
    if strangers := held.keys() - eligible:
        found.append(f"I1: {len(strangers)} customers were sent whom nobody asked for")
    if missing := eligible - held.keys():
        found.append(f"I2: {len(missing)} customers are in no request")
    issued = installation.sandbox.platform.enrolments(GOLD_CIRCLE.badge_id)
    if doubled := [customer for customer, issuals in issued.items() if len(issuals) != 1]:
        found.append(f"I1: {len(doubled)} customers are enrolled more than once")
    return found


def _never_lost(installation: Installation) -> list[str]:
    found = []
    with installation.ledger.read() as tx:
        for run in tx.conn.execute(select(badge_run)):
            rows, still_open = tx.conn.execute(
                select(func.count(), func.count().filter(badge_enrolment.c.outcome.is_(None)))
                .select_from(badge_enrolment)
                .join(badge_request, badge_request.c.id == badge_enrolment.c.request_id)
                .where(badge_request.c.badge_run_id == run.id)
            ).one()
            told = run.invalid + run.duplicates + run.known_before + run.over_cap + run.planned
            if run.eligible != told or run.eligible != len(installation.customers):
                found.append(f"I2: run {run.run_id} had {run.eligible} eligible and tells of {told}")
            if rows != run.planned - run.discarded:
                found.append(f"I2: run {run.run_id} planned {run.planned}, gave back {run.discarded}, holds {rows}")
            if still_open:
                found.append(f"I8: {still_open} enrolments of run {run.run_id} are open")
        known = set(tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars())
        found += [f"I2: {fault}" for fault in faults(tx)]
    if lost := set(installation.customers) - known:
        found.append(f"I2: the ledger has lost {len(lost)} customers")
    return found


def _never_guessed(installation: Installation) -> list[str]:
    with installation.ledger.read() as tx:
        ledger = set(
            tx.conn.execute(
                select(badge_enrolment.c.customer_id).where(badge_enrolment.c.outcome == Outcome.ENROLLED)
            ).scalars()
        )
    books = set(installation.sandbox.platform.enrolments(GOLD_CIRCLE.badge_id))
    if ledger != books:
        return [f"I3: enrolled by the ledger alone {len(ledger - books)}, by the platform alone {len(books - ledger)}"]
    return []


def _found(installation: Installation, books: list[RequestRecord]) -> list[str]:
    with installation.ledger.read() as tx:
        seen = set(tx.conn.execute(select(badge_sighting.c.platform_request_id)).scalars())
    if unknown := {record.platform_request_id for record in books} - seen:
        return [f"{len(unknown)} requests on the platform are not in the ledger"]
    return []


def _four_eyes(installation: Installation) -> list[str]:
    decisions = installation.sandbox.platform.calls[Route.DECIDE]
    return [f"I6: the product called the approve endpoint {decisions} times"] if decisions else []


def _false_failures(installation: Installation) -> list[str]:
    with installation.ledger.read() as tx:
        gave_back = set(tx.conn.execute(select(badge_run.c.run_id).where(badge_run.c.discarded > 0)).scalars())
    return [
        f"{each.task} of {each.run_id} ended as {each.ending.how} though nothing is wrong: {each.ending.said}"
        for each in installation.ended
        if each.ending.how is TaskEnd.BROKEN
        # A run whose customers were given back to the next one says so, and fails.
        or (each.ending.how is TaskEnd.TERMINAL and each.run_id not in gave_back)
    ]
