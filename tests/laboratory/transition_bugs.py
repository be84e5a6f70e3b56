"""Transitions of the ledger with one thought left out each: what every laboratory must tell from the product."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update

from capillary.api.request_workflow import WorkflowRequest
from capillary.engine import settle
from capillary.engine.outcomes import Reading, fold, read_outcomes
from capillary.ledger import request_rows
from capillary.ledger import settle as ledger_settle
from capillary.ledger.counts import count_outcomes
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Claim, ConfirmedAbsence, Seen
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome, RequestStatus
from tests.laboratory.planting import Bug

_PRODUCT_RECORD: Final = request_rows.record_sighting
_PRODUCT_CLAIM: Final = request_rows.claim


def _claim_whatever_the_status(
    tx: Transaction, request_id: int, *, badge_run_id: OpenPlan, sender: str, doubt_after: timedelta
) -> Claim | None:
    """A claim that looks at the run alone."""
    mine = [badge_request.c.badge_run_id == badge_run_id]
    return request_rows._claimed(tx, request_id, mine, sender, doubt_after, resends=0)


def _doubt_from_the_claim_on(
    tx: Transaction, request_id: int, *, badge_run_id: OpenPlan, sender: str, doubt_after: timedelta
) -> Claim | None:
    """A claim that leaves the POST no time to arrive and to show."""
    return _PRODUCT_CLAIM(tx, request_id, badge_run_id=badge_run_id, sender=sender, doubt_after=timedelta(0))


def _absence_judged_at_once(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
    """A judgement that does not ask when the reading of the list began."""
    return (badge_request.c.status == RequestStatus.SENDING, badge_request.c.tries == absence.tries)


def _doubt_may_be_judged_at_its_very_end(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
    """`<=` in place of `<` between the end of the doubt and the beginning of the reading."""
    return (
        badge_request.c.status == RequestStatus.SENDING,
        badge_request.c.tries == absence.tries,
        badge_request.c.doubt_from <= absence.scan_begun_at,
    )


def _absence_outlives_a_sighting(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
    """A judgement that does not ask whether the request was found in the meantime."""
    return (badge_request.c.tries == absence.tries,)


def _a_lost_reply_releases(tx: Transaction, held: Claim, *, reason: str) -> bool:
    """Doubt taken for a refusal."""
    return request_rows.release(tx, held, reason=reason)


def _release_from_any_status(tx: Transaction, held: Claim, *, reason: str) -> bool:
    """A late refusal that takes back what was found in the meantime."""
    return request_rows._moved(
        tx.conn,
        update(badge_request)
        .where(badge_request.c.id == held.request_id)
        .values(status=RequestStatus.PLANNED, doubt_from=None, error=reason),
    )


def _release_although_doubtful(tx: Transaction, held: Claim, *, reason: str) -> bool:
    """The refusal of a second send taken as the end of the first."""
    return request_rows._moved(
        tx.conn,
        update(badge_request)
        .where(*request_rows._held(held))
        .values(status=RequestStatus.PLANNED, doubt_from=None, error=reason),
    )


def _refuse_although_doubtful(tx: Transaction, held: Claim, *, code: int | None, reason: str) -> bool:
    """The same, and every customer not accepted."""
    moved = request_rows._moved(
        tx.conn,
        update(badge_request)
        .where(*request_rows._held(held))
        .values(status=RequestStatus.SETTLED, settled_at=tx.now, error_code=code, error=reason),
    )
    if moved:
        request_rows._settle_all(tx, held.request_id, Outcome.NOT_ACCEPTED, code)
    return moved


def _a_sighting_opens_nothing_that_is_settled(tx: Transaction, request_id: int, seen: Seen) -> bool:
    """Evidence refused after the end."""
    before = tx.conn.execute(select(badge_request.c.status).where(badge_request.c.id == request_id)).scalar_one()
    new = _PRODUCT_RECORD(tx, request_id, seen)
    if before == RequestStatus.SETTLED:
        tx.conn.execute(update(badge_request).values(status=before))
    return new


def _a_sighting_leaves_it_sending(tx: Transaction, request_id: int, seen: Seen) -> bool:
    """Evidence written down, and the request still in doubt."""
    before = tx.conn.execute(
        select(badge_request.c.status, badge_request.c.doubt_from).where(badge_request.c.id == request_id)
    ).one()
    new = _PRODUCT_RECORD(tx, request_id, seen)
    if before.status == RequestStatus.SENDING:
        tx.conn.execute(update(badge_request).values(status=before.status, doubt_from=before.doubt_from))
    return new


def _a_decided_state_is_taken_back(tx: Transaction, request_id: int, seen: Seen) -> bool:
    """The last word wins, however old."""
    new = _PRODUCT_RECORD(tx, request_id, seen)
    tx.conn.execute(
        update(badge_sighting)
        .where(badge_sighting.c.platform_request_id == seen.platform_request_id)
        .values(state=seen.state, terminal_seen_at=tx.now if seen.decided else None)
    )
    return new


def _settle_with_an_unread_sighting(
    ledger: Ledger,
    request_id: int,
    read: Sequence[WorkflowRequest],
    listed: Sequence[WorkflowRequest] = (),
    **_more: object,
) -> bool:
    """An end that does not ask whether a twin was seen in the meantime."""
    rows = read or listed
    with ledger.write() as tx:
        customers = tuple(
            tx.conn.execute(
                select(badge_enrolment.c.customer_id).where(badge_enrolment.c.request_id == request_id)
            ).scalars()
        )
        first_seen = tx.conn.execute(
            select(func.min(badge_sighting.c.terminal_seen_at)).where(badge_sighting.c.request_id == request_id)
        ).scalar_one()
        give_up = first_seen is not None and tx.now - first_seen >= settle.OUTPUT_PATIENCE
        readings = [read_outcomes(row, customers, give_up=give_up) for row in rows]
        if any(reading.incomplete or reading.echo_differs for reading in readings):
            return False
        moved = request_rows._moved(
            tx.conn,
            update(badge_request)
            .where(badge_request.c.id == request_id, badge_request.c.status == RequestStatus.WAITING)
            .values(status=RequestStatus.SETTLED, settled_at=tx.now),
        )
        if moved:
            ledger_settle._write(tx, request_id, fold([reading.by_customer for reading in readings]))
            count_outcomes(tx, request_id)
        return moved


def _discard_whatever_the_status(tx: Transaction, *, badge_run_ids: Iterable[int]) -> int:
    """A report that gives back what is in doubt as well."""
    (run_id,) = badge_run_ids
    unseen = select(badge_sighting.c.request_id)
    gone = tx.conn.execute(delete(badge_enrolment).where(badge_enrolment.c.request_id.not_in(unseen))).rowcount
    tx.conn.execute(delete(badge_request).where(badge_request.c.id.not_in(unseen)))
    tx.conn.execute(update(badge_run).where(badge_run.c.id == run_id).values(discarded=badge_run.c.discarded + gone))
    return gone


def _approved_is_taken_for_enrolled(
    request: WorkflowRequest, customers: Iterable[int], *, give_up: bool = False
) -> Reading:
    """A decision taken for the word on every customer."""
    del request, give_up
    return Reading(dict.fromkeys(customers, Ending(Outcome.ENROLLED)))


def _send_without_end(
    tx: Transaction, absence: ConfirmedAbsence, *, sender: str, doubt_after: timedelta
) -> Claim | None:
    """A request sent again as often as it is not found."""
    absent = [badge_request.c.id == absence.request_id, *request_rows._still_absent(absence)]
    return request_rows._claimed(tx, absence.request_id, absent, sender, doubt_after, resends=1)


#: What the exploration of every state plants, each by its name; others plant some of them.
TRANSITION_BUGS: Final[Mapping[str, Bug]] = {
    "claim-whatever-the-status": Bug(
        "a claim is a compare-and-set", [(request_rows, "claim", _claim_whatever_the_status)]
    ),
    "doubt-from-the-claim-on": Bug(
        "absence is judged after doubt_from", [(request_rows, "claim", _doubt_from_the_claim_on)]
    ),
    "absence-judged-at-once": Bug(
        "absence is judged by a reading that began after the doubt",
        [(request_rows, "_still_absent", _absence_judged_at_once)],
    ),
    "doubt-may-be-judged-at-its-very-end": Bug(
        "the reading begins after the end of the doubt, not at it",
        [(request_rows, "_still_absent", _doubt_may_be_judged_at_its_very_end)],
    ),
    "absence-outlives-a-sighting": Bug(
        "what was found in the meantime is not absent", [(request_rows, "_still_absent", _absence_outlives_a_sighting)]
    ),
    "a-lost-reply-releases": Bug(
        "no trustworthy answer leaves a doubt", [(request_rows, "note_doubt", _a_lost_reply_releases)]
    ),
    "release-from-any-status": Bug(
        "a late refusal takes back nothing that was found", [(request_rows, "release", _release_from_any_status)]
    ),
    "release-although-doubtful": Bug(
        "the refusal of a second send says nothing of the first",
        [(request_rows, "release", _release_although_doubtful)],
    ),
    "refuse-although-doubtful": Bug(
        "no refusal counts for a doubtful request", [(request_rows, "refuse", _refuse_although_doubtful)]
    ),
    "a-sighting-opens-nothing-that-is-settled": Bug(
        "evidence counts after the end, too",
        [(request_rows, "record_sighting", _a_sighting_opens_nothing_that_is_settled)],
    ),
    "a-sighting-leaves-it-sending": Bug(
        "what was seen waits for the checker", [(request_rows, "record_sighting", _a_sighting_leaves_it_sending)]
    ),
    "a-decided-state-is-taken-back": Bug(
        "a decided state is the last", [(request_rows, "record_sighting", _a_decided_state_is_taken_back)]
    ),
    "settle-with-an-unread-sighting": Bug(
        "every sighting is read before settling", [(settle, "_settle", _settle_with_an_unread_sighting)]
    ),
    "discard-whatever-the-status": Bug(
        "what was sent is never given back", [(request_rows, "discard_unsent", _discard_whatever_the_status)]
    ),
    "approved-is-taken-for-enrolled": Bug(
        "a state proves nothing", [(settle, "read_outcomes", _approved_is_taken_for_enrolled)]
    ),
    "send-without-end": Bug(
        "a request is sent at most three times",
        [(request_rows, "resend", _send_without_end), (request_rows, "MAX_RESENDS", 3)],
    ),
}
