"""What is wrong with an installation at its end, judged by the platform's books. Nothing is the only good answer.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

from sqlalchemy import func, select

from capillary.ledger.schema import badge_enrolment, badge_request, badge_run
from sandbox.badges import GOLD_CIRCLE
from sandbox.faults import Route
from sandbox.platform import RequestRecord
from tests.crashes.installation import Installation
from tests.crashes.job import TaskEnd
from tests.laboratory.both_books import OnPlatform, PlatformBooks, compare, ledger_books
from tests.laboratory.rules import broken

#: States of a request that enrols nobody.
_DEAD = frozenset({"rejected", "failed"})


def faults_of(installation: Installation, *, twins: bool = False) -> list[str]:
    """Return every broken promise, each in a sentence; customers are counted, not named.

    Args:
        installation: with everything decided and settled.
        twins: several requests of one key are allowed, since the test broke the timing assumption; each must
            be in the ledger.
    """
    platform = installation.sandbox.platform
    books = [(record.state, _on_platform(record)) for record in platform.requests()]
    live = {each.request_key: each for state, each in books if state not in _DEAD}  # twins of one key count once
    held = {customer for each in live.values() for customer in each.customers}
    with installation.ledger.read() as tx:
        ledger = ledger_books(tx)
    compared = compare(
        set(installation.customers),
        PlatformBooks(
            requests=[each for _, each in books],
            holding=list(live.values()),
            enrolled={customer: len(of) for customer, of in platform.enrolments(GOLD_CIRCLE.badge_id).items()},
            approve_calls=platform.calls[Route.DECIDE],
        ),
        ledger,
        twins=twins,
    )
    missing = set(installation.customers) - held
    return [
        *compared.broken,
        *([broken("I2", f"{len(missing)} customers are in no request")] if missing else []),
        *_miscounted_runs(installation),
        *_false_failures(installation),
    ]


def _on_platform(record: RequestRecord) -> OnPlatform:
    return OnPlatform(record.platform_request_id, record.request_key, record.customers)


def _miscounted_runs(installation: Installation) -> list[str]:
    """Return the runs that do not tell of every customer, or do not hold who they say they hold."""
    found = []
    with installation.ledger.read() as tx:
        for run in tx.conn.execute(select(badge_run)):
            rows = tx.conn.execute(
                select(func.count())
                .select_from(badge_enrolment)
                .join(badge_request, badge_request.c.id == badge_enrolment.c.request_id)
                .where(badge_request.c.badge_run_id == run.id)
            ).scalar_one()
            if run.eligible != len(installation.customers):
                found.append(broken("I2", f"run {run.run_id} had {run.eligible} eligible"))
            if rows != run.planned - run.discarded:
                said = f"run {run.run_id} planned {run.planned}, gave back {run.discarded}, holds {rows}"
                found.append(broken("I2", said))
    return found


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
