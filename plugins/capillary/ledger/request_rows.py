"""Every change a request can go through. Each is one conditional UPDATE: compare and set.

A function that finds the request elsewhere than expected changes nothing and says so by its return value:
somebody else was faster, and that is a result, not an error. Evidence (a sighting) is never refused.

Who locks several requests in one transaction does so in the order of their ids, before any other row: two who
lock the same ones in two orders would each wait for the other. Only the rows of the emergency stop come before them
(`capillary.ledger.stops`): a claim takes those first, and nobody who holds a request's row ever waits for one.

``tries`` counts claims and never goes back. It keeps a sender whose claim was answered, released or overtaken long
ago from touching the claim of somebody else. In a restored ledger it does go back, and numbers are given out
again: so a sender names its request's key, too, and the moment of its claim.

Who may do what, and what ends a request if nobody acts: docs/design.md, "Who may change what".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, update

from capillary.counted import counted
from capillary.ledger.auto_approval import newest_of_its_account, note_auto_approval
from capillary.ledger.bounds import checked, code_kept, cut
from capillary.ledger.conditions import is_seen
from capillary.ledger.counts import count_outcomes
from capillary.ledger.database import Transaction
from capillary.ledger.errors import LedgerBroken, RequestGone
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.schema import badge_enrolment, badge_request, badge_run, badge_sighting
from capillary.ledger.status import Outcome, RequestStatus
from capillary.ledger.stops import assert_may_claim
from capillary.ledger.upsert import insert_unless_there

#: How often a request may be sent again after its absence was confirmed: three sends in all.
MAX_RESENDS: Final = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one request once.

    Attributes:
        request_id: the ledger's id of the request.
        key: the request key.
        tries: the claim's number; every later change by this sender names it, with the key and the moment.
        claimed_at: the ledger's clock at the claim.
        is_again: after confirmed absence: an earlier send may be alive all the same.
    """

    request_id: int
    key: str
    tries: int
    claimed_at: datetime
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One request on the platform, as a reply showed it.

    Attributes:
        platform_request_id: the outer ``requestId``.
        state: the platform's word.
        decided: whether the state is one that a request does not leave.
        auto_approved: decided without a human's decision in the details.
        checker_message: what the checker wrote.
        maker_id: the platform's number of the user who made it.
        start_time, end_time: as the platform shows them, in the cluster's time zone.
        failed_checks: the platform's own checks that it says failed, empty for none; None where it shows none.
        created_at: when the platform made it, where its id tells.
        approved: whether the state says that the wrapped call was executed, and judged good.
        human_decided: the details show a human's decision, or it was rejected. Where neither this nor `auto_approved`
            is true of a decided one, the reply does not tell.
    """

    platform_request_id: str
    state: str
    decided: bool
    auto_approved: bool = False
    checker_message: str | None = None
    maker_id: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    failed_checks: str | None = None
    created_at: datetime | None = None
    approved: bool = False
    human_decided: bool = False


#: What helps a person to find a request: kept as it was shown last, whatever the state.
FACTS: Final = ("maker_id", "start_time", "end_time", "failed_checks")


@dataclass(frozen=True, slots=True)
class ConfirmedAbsence:
    """The evidence that a request in doubt is not on the platform (see ``capillary.engine.doubt``).

    Attributes:
        request_id: the ledger's id of the request.
        key: the request key.
        tries: the claim that was in doubt when the scan began.
        scan_begun_at: the ledger's clock when the scan of the list began.
    """

    request_id: int
    key: str
    tries: int
    scan_begun_at: datetime


def claim(
    tx: Transaction, request_id: int, *, badge_run_id: OpenPlan, sender: str, doubt_after: timedelta
) -> Claim | None:
    """Planned → sending, for a run that owns the request. The intent is written before the act.

    Args:
        tx: the transaction; commit it before the POST.
        request_id: the request to send.
        badge_run_id: the run on whose behalf it is sent; only the run that planned a request sends it.
        sender: fingerprint of the credential user.
        doubt_after: how long after the claim absence may be judged (`capillary.engine.absence`).

    Returns:
        The claim, or None when the request is no longer planned.

    Raises:
        Stopped: a person has stopped the request's campaign, or its whole account.
    """
    return _claimed(
        tx,
        request_id,
        [
            badge_request.c.status == RequestStatus.PLANNED,
            badge_request.c.badge_run_id == badge_run_id,
            badge_request.c.resends == 0,
        ],
        sender,
        doubt_after,
        resends=0,
    )


def resend(tx: Transaction, absence: ConfirmedAbsence, *, sender: str, doubt_after: timedelta) -> Claim | None:
    """Sending → sending after confirmed absence: the same key once more, doubtful from now on.

    Returns:
        The new claim; None when the request moved, its doubt is younger than the scan, or it was sent
        three times already (then :func:`give_up` is what is left).

    Raises:
        Stopped: as for a claim; the doubt stays.
    """
    return _claimed(
        tx,
        absence.request_id,
        [*_still_absent(absence), badge_request.c.resends < MAX_RESENDS],
        sender,
        doubt_after,
        resends=1,
    )


def release(tx: Transaction, held: Claim, *, reason: str) -> bool:
    """Sending → planned by the sender: the platform has certainly not taken this try.

    Refused (False) for a doubtful request: an earlier try may be alive whatever this one was answered.
    """
    return _moved(
        tx.conn,
        update(badge_request)
        .where(*_held(held), badge_request.c.resends == 0)
        .values(status=RequestStatus.PLANNED, doubt_from=None, error=cut(badge_request.c.error, reason)),
    )


def refuse(tx: Transaction, held: Claim, *, code: int | None, reason: str) -> bool:
    """Sending → settled by the sender: the platform refused the request for its own content.

    Every customer of it becomes ``not_accepted``. Refused (False) for a doubtful request.
    """
    code, reason = code_kept(code), cut(badge_request.c.error, reason)
    moved = _moved(
        tx.conn,
        update(badge_request)
        .where(*_held(held), badge_request.c.resends == 0)
        .values(status=RequestStatus.SETTLED, settled_at=tx.now, error_code=code, error=reason),
    )
    if moved:
        _settle_all(tx, held.request_id, Outcome.NOT_ACCEPTED, code)
    return moved


def note_doubt(tx: Transaction, held: Claim, *, reason: str) -> bool:
    """Write down why a send is in doubt. The status stays ``sending``."""
    return _moved(tx.conn, update(badge_request).where(*_held(held)).values(error=cut(badge_request.c.error, reason)))


def note_held_doubt(tx: Transaction, request_id: int, *, key: str, tries: int, reason: str) -> bool:
    """Write down what keeps a request in doubt whose absence would be confirmed without it."""
    return _moved(
        tx.conn,
        update(badge_request)
        .where(
            badge_request.c.id == request_id,
            badge_request.c.request_key == key,
            badge_request.c.tries == tries,
            badge_request.c.status == RequestStatus.SENDING,
        )
        .values(error=cut(badge_request.c.error, reason)),
    )


def note_answer(tx: Transaction, held: Claim, platform_request_id: str) -> bool:
    """Write down which request the platform named in reply to a claim's POST, whatever else the reply says."""
    named = cut(badge_request.c.answered_id, platform_request_id)
    return _moved(
        tx.conn,
        update(badge_request)
        .where(
            badge_request.c.id == held.request_id,
            badge_request.c.request_key == held.key,
            badge_request.c.tries == held.tries,
            badge_request.c.last_sent_at == held.claimed_at,
        )
        .values(answered_id=named),
    )


def give_up(tx: Transaction, absence: ConfirmedAbsence) -> bool:
    """Sending → settled after confirmed absence of the last send: every customer ``unconfirmed``."""
    moved = _moved(
        tx.conn,
        update(badge_request)
        .where(
            *_still_absent(absence),
            badge_request.c.resends >= MAX_RESENDS,
        )
        .values(status=RequestStatus.SETTLED, settled_at=tx.now, error="sent three times and never found"),
    )
    if moved:
        _settle_all(tx, absence.request_id, Outcome.UNCONFIRMED, None)
    return moved


def record_sighting(tx: Transaction, request_id: int, seen: Seen) -> bool:
    """Any → waiting: a request of this key stands on the platform.

    A new sighting opens the request whatever its status, settled included: there is something on the
    platform that nobody has read yet. One that this ledger has not sent counts as sent when the platform made it; its
    `tries` and `sender` tell that it was found. A known one has its state brought up to date; a decided state is
    never taken back (two nodes of the platform may disagree for a while). One that was rejected or failed and is
    approved now was executed after all: it opens the request, too. So does one without which the request was settled.

    Args:
        tx: the transaction.
        request_id: found in this transaction by the key, or by the platform request id, that the reply shows.
        seen: what the reply shows.

    Returns:
        Whether the sighting is new.

    Raises:
        ValueUnfit: the platform's id is longer than the ledger keeps; cut, it could be another request's. The parser
            takes a row with such an id for unreadable before it comes here.
        RequestGone: the ledger holds no such request any more.
    """
    seen = _kept(seen)
    # The request's row is locked first, here and when settling: who settles has seen every sighting.
    locked = update(badge_request).where(badge_request.c.id == request_id).values(status=badge_request.c.status)
    if not _moved(tx.conn, locked):
        raise RequestGone(request_id)
    if seen.auto_approved:
        note_auto_approval(tx, request_id, seen.platform_request_id)
    facts = {fact: getattr(seen, fact) for fact in FACTS if getattr(seen, fact) is not None}
    values = {
        **facts,
        "platform_request_id": seen.platform_request_id,
        "request_id": request_id,
        "state": seen.state,
        "auto_approved": seen.auto_approved,
        "human_decided": seen.human_decided,
        "checker_message": seen.checker_message,
        "seen_at": tx.now,
        "terminal_seen_at": tx.now if seen.decided else None,
    }
    if insert_unless_there(tx, badge_sighting, values):
        # A ledger that was restored finds what it has not sent. A time ahead would have the list be read from there.
        made_at = min(seen.created_at or tx.now, tx.now)
        tx.conn.execute(
            update(badge_request)
            .where(badge_request.c.id == request_id)
            .values(
                status=RequestStatus.WAITING,
                settled_at=None,
                doubt_from=None,
                first_sent_at=func.coalesce(badge_request.c.first_sent_at, made_at),
                last_sent_at=func.coalesce(badge_request.c.last_sent_at, made_at),
            )
        )
        return True
    changed = update(badge_sighting).where(
        badge_sighting.c.platform_request_id == seen.platform_request_id,
        badge_sighting.c.request_id == request_id,
    )
    if facts:
        tx.conn.execute(changed.values(**facts))
    _open_what_ended_otherwise(tx, request_id, seen)
    if seen.decided:
        tx.conn.execute(
            changed.values(
                state=seen.state,
                # Once seen without a human's decision, it stays so: a poorer row must not prove a spec.
                auto_approved=badge_sighting.c.auto_approved | seen.auto_approved,
                human_decided=badge_sighting.c.human_decided | seen.human_decided,
                checker_message=func.coalesce(seen.checker_message, badge_sighting.c.checker_message),
                terminal_seen_at=func.coalesce(badge_sighting.c.terminal_seen_at, tx.now),
            )
        )
    else:
        tx.conn.execute(changed.where(badge_sighting.c.terminal_seen_at.is_(None)).values(state=seen.state))
    return False


def _open_what_ended_otherwise(tx: Transaction, request_id: int, seen: Seen) -> None:
    """Settled → waiting where the sighting was not there then, or was seen decided in another state and is approved."""
    known = badge_sighting.c
    otherwise = (
        known.terminal_seen_at.is_(None)
        if not seen.approved
        else (known.terminal_seen_at.is_(None) | (known.state != seen.state))
    )
    ended_otherwise = exists().where(
        known.platform_request_id == seen.platform_request_id, known.request_id == request_id, otherwise
    )
    tx.conn.execute(
        update(badge_request)
        .where(badge_request.c.id == request_id, badge_request.c.status == RequestStatus.SETTLED, ended_otherwise)
        .values(status=RequestStatus.WAITING, settled_at=None)
    )


def discard_unsent(tx: Transaction, *, badge_run_ids: Iterable[OpenPlan]) -> int:
    """Planned → gone: delete requests that were never sent, with exactly their enrolments.

    A request with a sighting is never deleted, whatever its status says.

    Returns:
        How many customers are free to be planned again; the runs' ``discarded`` grows by it.
    """
    freed = 0
    for run_id in badge_run_ids:
        unsent = (
            select(badge_request.c.id, badge_request.c.customers)
            .where(
                badge_request.c.badge_run_id == run_id,
                badge_request.c.status == RequestStatus.PLANNED,
                ~is_seen(),
            )
            .order_by(badge_request.c.id)
            .with_for_update()
        )
        customers = 0
        for request_id, size in tx.conn.execute(unsent).all():
            # The request's own row decides: a claim between our look and this would leave it in place.
            rows = tx.conn.execute(delete(badge_enrolment).where(badge_enrolment.c.request_id == request_id)).rowcount
            gone = tx.conn.execute(
                delete(badge_request).where(
                    badge_request.c.id == request_id, badge_request.c.status == RequestStatus.PLANNED
                )
            ).rowcount
            if rows != size or gone != 1:
                raise LedgerBroken(
                    f"request {request_id} of run {run_id} holds {counted(rows, 'enrolment')}, {size} "
                    "planned; nothing was discarded"
                )
            customers += size
        if customers:
            tx.conn.execute(
                update(badge_run).where(badge_run.c.id == run_id).values(discarded=badge_run.c.discarded + customers)
            )
        freed += customers
    return freed


def dead_runs(tx: Transaction, occasion_id: int) -> tuple[OpenPlan, ...]:
    """Return the occasion's runs whose lease is over; nobody sends on their behalf any more."""
    rows = tx.conn.execute(
        select(badge_run.c.id)
        .where(badge_run.c.occasion_id == occasion_id, badge_run.c.alive_until < tx.now)
        .order_by(badge_run.c.id)
    )
    return tuple(map(OpenPlan, rows.scalars()))


def keep_alive(tx: Transaction, badge_run_id: OpenPlan, *, lease: timedelta) -> None:
    """Renew a run's lease; it is never shortened."""
    until = tx.now + lease
    tx.conn.execute(
        update(badge_run)
        .where(badge_run.c.id == badge_run_id, badge_run.c.alive_until < until)
        .values(alive_until=until)
    )


def _kept(seen: Seen) -> Seen:
    message = seen.checker_message
    told: dict[str, Any] = {fact: getattr(seen, fact) for fact in FACTS}
    facts: dict[str, Any] = {
        fact: word if word is None else cut(badge_sighting.c[fact], word) for fact, word in told.items()
    }
    return replace(
        seen,
        **facts,
        platform_request_id=checked(
            badge_sighting.c.platform_request_id, "platform request id", seen.platform_request_id
        ),
        state=cut(badge_sighting.c.state, seen.state),
        checker_message=None if message is None else cut(badge_sighting.c.checker_message, message),
    )


def _claimed(
    tx: Transaction,
    request_id: int,
    conditions: list[ColumnElement[bool]],
    sender: str,
    doubt_after: timedelta,
    *,
    resends: int,
) -> Claim | None:
    assert_may_claim(tx, request_id)
    checked(badge_request.c.sender, "sender", sender)
    statement = (
        update(badge_request)
        .where(badge_request.c.id == request_id, *conditions)
        .values(
            status=RequestStatus.SENDING,
            tries=badge_request.c.tries + 1,
            resends=badge_request.c.resends + resends,
            sender=sender,
            first_sent_at=func.coalesce(badge_request.c.first_sent_at, tx.now),
            last_sent_at=tx.now,
            doubt_from=tx.now + doubt_after,
            answered_id=None,
            error=None,
            # Of one that is sent again it stays that of its first send, which may be the one that a human decides.
            after_auto_approval=badge_request.c.after_auto_approval if resends else newest_of_its_account(),
        )
        .returning(badge_request.c.request_key, badge_request.c.tries)
    )
    row = tx.conn.execute(statement).one_or_none()
    if row is None:
        return None
    return Claim(request_id, row.request_key, row.tries, claimed_at=tx.now, is_again=resends > 0)


def _held(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        badge_request.c.id == held.request_id,
        badge_request.c.request_key == held.key,
        badge_request.c.status == RequestStatus.SENDING,
        badge_request.c.tries == held.tries,
        # A restored ledger may hold the same request under the same number, claimed by another sender.
        badge_request.c.last_sent_at == held.claimed_at,
    )


def _still_absent(absence: ConfirmedAbsence) -> tuple[ColumnElement[bool], ...]:
    return (
        badge_request.c.id == absence.request_id,
        badge_request.c.request_key == absence.key,
        badge_request.c.status == RequestStatus.SENDING,
        badge_request.c.tries == absence.tries,
        badge_request.c.doubt_from < absence.scan_begun_at,
    )


def _settle_all(tx: Transaction, request_id: int, outcome: Outcome, code: int | None) -> None:
    size = tx.conn.execute(select(badge_request.c.customers).where(badge_request.c.id == request_id)).scalar_one()
    touched = tx.conn.execute(
        update(badge_enrolment)
        .where(badge_enrolment.c.request_id == request_id, badge_enrolment.c.outcome.is_(None))
        .values(outcome=outcome, error_code=code)
    ).rowcount
    if touched != size:
        raise LedgerBroken(f"request {request_id} has {counted(size, 'customer')}, {touched} open; nothing was settled")
    count_outcomes(tx, request_id)


def _moved(conn: Connection, statement: object) -> bool:
    return conn.execute(statement).rowcount == 1  # type: ignore[call-overload, no-any-return]
