"""Transitions of the ledger with one thought left out each. What the exploration must tell from the product."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from sqlalchemy import ColumnElement, delete, select, update

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
from tests.states.one_request import CUSTOMERS

_PRODUCT_RECORD = request_rows.record_sighting
_PRODUCT_CLAIM = request_rows.claim


def claim_whatever_the_status(patch: pytest.MonkeyPatch) -> None:
    """A claim that looks at the run alone."""

    def claim(
        tx: Transaction, request_id: int, *, badge_run_id: OpenPlan, sender: str, doubt_after: timedelta
    ) -> Claim | None:
        mine = [badge_request.c.badge_run_id == badge_run_id]
        return request_rows._claimed(tx, request_id, mine, sender, doubt_after, resends=0)

    patch.setattr(request_rows, "claim", claim)


def doubt_from_the_claim_on(patch: pytest.MonkeyPatch) -> None:
    """A claim that leaves the POST no time to arrive and to show."""

    def claim(
        tx: Transaction, request_id: int, *, badge_run_id: OpenPlan, sender: str, doubt_after: timedelta
    ) -> Claim | None:
        return _PRODUCT_CLAIM(tx, request_id, badge_run_id=badge_run_id, sender=sender, doubt_after=timedelta(0))

    patch.setattr(request_rows, "claim", claim)


def absence_judged_at_once(patch: pytest.MonkeyPatch) -> None:
    """A judgement that does not ask when the reading of the list began."""

    def still_absent(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
        return (badge_request.c.status == RequestStatus.SENDING, badge_request.c.tries == absence.tries)

    patch.setattr(request_rows, "_still_absent", still_absent)


def doubt_may_be_judged_at_its_very_end(patch: pytest.MonkeyPatch) -> None:
    """`<=` in place of `<` between the end of the doubt and the beginning of the reading."""

    def still_absent(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
        return (
            badge_request.c.status == RequestStatus.SENDING,
            badge_request.c.tries == absence.tries,
            badge_request.c.doubt_from <= absence.scan_begun_at,
        )

    patch.setattr(request_rows, "_still_absent", still_absent)


def absence_outlives_a_sighting(patch: pytest.MonkeyPatch) -> None:
    """A judgement that does not ask whether the request was found in the meantime."""

    def still_absent(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
        return (badge_request.c.tries == absence.tries,)

    patch.setattr(request_rows, "_still_absent", still_absent)


def a_lost_reply_releases(patch: pytest.MonkeyPatch) -> None:
    """Doubt taken for a refusal."""

    def note_doubt(tx: Transaction, held: Claim, *, reason: str) -> bool:
        return request_rows.release(tx, held, reason=reason)

    patch.setattr(request_rows, "note_doubt", note_doubt)


def release_from_any_status(patch: pytest.MonkeyPatch) -> None:
    """A late refusal that takes back what was found in the meantime."""

    def release(tx: Transaction, held: Claim, *, reason: str) -> bool:
        return request_rows._moved(
            tx.conn,
            update(badge_request)
            .where(badge_request.c.id == held.request_id)
            .values(status=RequestStatus.PLANNED, doubt_from=None, error=reason),
        )

    patch.setattr(request_rows, "release", release)


def release_although_doubtful(patch: pytest.MonkeyPatch) -> None:
    """The refusal of a second send taken as the end of the first."""

    def release(tx: Transaction, held: Claim, *, reason: str) -> bool:
        return request_rows._moved(
            tx.conn,
            update(badge_request)
            .where(*request_rows._held(held))
            .values(status=RequestStatus.PLANNED, doubt_from=None, error=reason),
        )

    patch.setattr(request_rows, "release", release)


def refuse_although_doubtful(patch: pytest.MonkeyPatch) -> None:
    """The same, and every customer not accepted."""

    def refuse(tx: Transaction, held: Claim, *, code: int | None, reason: str) -> bool:
        moved = request_rows._moved(
            tx.conn,
            update(badge_request)
            .where(*request_rows._held(held))
            .values(status=RequestStatus.SETTLED, settled_at=tx.now, error_code=code, error=reason),
        )
        if moved:
            request_rows._settle_all(tx, held.request_id, Outcome.NOT_ACCEPTED, code)
        return moved

    patch.setattr(request_rows, "refuse", refuse)


def a_sighting_opens_nothing_that_is_settled(patch: pytest.MonkeyPatch) -> None:
    """Evidence refused after the end."""

    def record_sighting(tx: Transaction, request_id: int, seen: Seen) -> bool:
        before = tx.conn.execute(select(badge_request.c.status).where(badge_request.c.id == request_id)).scalar_one()
        new = _PRODUCT_RECORD(tx, request_id, seen)
        if before == RequestStatus.SETTLED:
            tx.conn.execute(update(badge_request).values(status=before))
        return new

    patch.setattr(request_rows, "record_sighting", record_sighting)


def a_sighting_leaves_it_sending(patch: pytest.MonkeyPatch) -> None:
    """Evidence written down, and the request still in doubt."""

    def record_sighting(tx: Transaction, request_id: int, seen: Seen) -> bool:
        before = tx.conn.execute(
            select(badge_request.c.status, badge_request.c.doubt_from).where(badge_request.c.id == request_id)
        ).one()
        new = _PRODUCT_RECORD(tx, request_id, seen)
        if before.status == RequestStatus.SENDING:
            tx.conn.execute(update(badge_request).values(status=before.status, doubt_from=before.doubt_from))
        return new

    patch.setattr(request_rows, "record_sighting", record_sighting)


def a_decided_state_is_taken_back(patch: pytest.MonkeyPatch) -> None:
    """The last word wins, however old."""

    def record_sighting(tx: Transaction, request_id: int, seen: Seen) -> bool:
        new = _PRODUCT_RECORD(tx, request_id, seen)
        tx.conn.execute(
            update(badge_sighting)
            .where(badge_sighting.c.platform_request_id == seen.platform_request_id)
            .values(state=seen.state, terminal_seen_at=tx.now if seen.decided else None)
        )
        return new

    patch.setattr(request_rows, "record_sighting", record_sighting)


def settle_with_an_unread_sighting(patch: pytest.MonkeyPatch) -> None:
    """An end that does not ask whether a twin was seen in the meantime."""

    def settled(ledger: Ledger, request_id: int, rows: list[WorkflowRequest]) -> bool:
        with ledger.write() as tx:
            moved = request_rows._moved(
                tx.conn,
                update(badge_request)
                .where(badge_request.c.id == request_id, badge_request.c.status == RequestStatus.WAITING)
                .values(status=RequestStatus.SETTLED, settled_at=tx.now),
            )
            endings = fold([read_outcomes(row, CUSTOMERS).by_customer for row in rows])
            written = moved and ledger_settle._write(tx, request_id, endings) == len(endings)
            count_outcomes(tx, request_id)
            return written

    patch.setattr(settle, "_settle", settled)


def discard_whatever_the_status(patch: pytest.MonkeyPatch) -> None:
    """A report that gives back what is in doubt as well."""

    def discard_unsent(tx: Transaction, *, badge_run_ids: Iterable[int]) -> int:
        (run_id,) = badge_run_ids
        unseen = select(badge_sighting.c.request_id)
        gone = tx.conn.execute(delete(badge_enrolment).where(badge_enrolment.c.request_id.not_in(unseen))).rowcount
        tx.conn.execute(delete(badge_request).where(badge_request.c.id.not_in(unseen)))
        tx.conn.execute(
            update(badge_run).where(badge_run.c.id == run_id).values(discarded=badge_run.c.discarded + gone)
        )
        return gone

    patch.setattr(request_rows, "discard_unsent", discard_unsent)


def approved_is_taken_for_enrolled(patch: pytest.MonkeyPatch) -> None:
    """A decision taken for the word on every customer."""

    def enrolled(request: WorkflowRequest, customers: Iterable[int], *, give_up: bool = False) -> Reading:
        del request, give_up
        return Reading(dict.fromkeys(customers, Ending(Outcome.ENROLLED)))

    patch.setattr(settle, "read_outcomes", enrolled)


def send_without_end(patch: pytest.MonkeyPatch) -> None:
    """A request sent again as often as it is not found."""

    def resend(tx: Transaction, absence: ConfirmedAbsence, *, sender: str, doubt_after: timedelta) -> Claim | None:
        absent = [badge_request.c.id == absence.request_id, *request_rows._still_absent(absence)]
        return request_rows._claimed(tx, absence.request_id, absent, sender, doubt_after, resends=1)

    patch.setattr(request_rows, "resend", resend)
    patch.setattr(request_rows, "MAX_RESENDS", 3)
