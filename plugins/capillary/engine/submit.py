"""Send what one run planned.

The platform's list is read first: what an earlier try left in doubt may stand there, and so may requests that
a restored ledger has forgotten. The first request goes alone and is read once, seconds after its reply: auto-approval
shows there, before a second is out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from capillary.api.errors import NotTaken, Unauthorized
from capillary.api.outside_text import on_one_line, shell_word
from capillary.api.settings import PlatformSettings
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import (
    AutoApproved,
    HistoryOpen,
    HistoryUnread,
    LedgerBehind,
    ListCutShort,
    ServerChanged,
    TooMuchDoubt,
)
from capillary.engine.history import read_history
from capillary.engine.second_look import LOOKS, look_again
from capillary.engine.send import SEND_WITHIN_S, Sender, Sending, Sent, assert_account, doubt_after
from capillary.engine.unreadable_rows import is_through, way_out
from capillary.engine.watch import watch
from capillary.ledger import requests
from capillary.ledger.auto_approval import auto_approval, note_told, told_at
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import Stopped
from capillary.ledger.foreign_keys import drop_known, foreign_keys
from capillary.ledger.history import history, read_again
from capillary.ledger.opening import DATABASE_ERRORS
from capillary.ledger.plan_id import OpenPlan, PlanId, open_plan
from capillary.ledger.schema import RequestStatus, badge_occasion, badge_request
from capillary.ledger.spec import has_our_form
from capillary.ledger.stops import assert_plan_not_stopped, assert_run_not_stopped

#: Requests of one task that are under way at once.
IN_FLIGHT: Final = 8
#: Readings of the list before sending, until one of them came to its end: pages may shift under a reader.
LIST_READINGS: Final = 3
#: Sends in a row that the platform did not take, after which the task gives up until its retry.
NOT_TAKEN_IN_A_ROW: Final = 5
#: Longest sleep, seconds, while the list catches up with what a change of the ledger's server may have lost.
_CATCH_UP_LOOK_S: Final = 60.0
#: Of a submission that has read no list: before any change.
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

_LOG: Final = logging.getLogger("capillary.submit")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one submitting task did. ``counts`` is by :class:`~capillary.engine.send.Sent`."""

    counts: Mapping[Sent, int]
    auto_approved: int


@dataclass
class _SoFar:
    """What a submitting task has done up to now.

    Attributes:
        counts: by end of a send.
        auto_approved: of what was sent, executed at once by the platform.
        told_at: auto-approvals that were seen before, a person was told of when the run was last ended by them.
        looks_left: accepted requests that are read once more; 0 once one was, or where no approval stops the run.
    """

    counts: Counter[Sent] = field(default_factory=Counter)
    auto_approved: int = 0
    told_at: datetime | None = None
    looks_left: int = LOOKS


async def submit_run(
    sender: Sender,
    plan: PlanId,
    *,
    lease: timedelta,
    stop_on_auto_approval: bool = True,
    in_flight: int = IN_FLIGHT,
) -> Submitted:
    """Send every planned request of the run, in order; come back when none is left.

    Where the ledger's server has changed it waits, within the task, until the platform's list must show what was
    sent before, and reads it again.

    Args:
        sender: sends one request.
        plan: the run's plan.
        lease: how long the run counts as alive without a sign of life.
        stop_on_auto_approval: end before the next request when the platform executed one of this run by itself, or the
            account's latest decided one, unless the run has failed for that before: then a person has cleared it.
        in_flight: most requests under way at once, and most in doubt before sending stops.

    Raises:
        PlanUnknown: the ledger has no such plan.
        Stopped: a person has stopped the run's campaign or account; what it had not sent was given back.
        WrongAccount, ListCutShort, HistoryUnread, HistoryOpen, LedgerBehind, SubmittingOff, TooMuchDoubt,
            AutoApproved, BodyChanged: see ``capillary.engine.errors``.
        NotTaken: the platform took none of several sends in a row.
        EverythingRefused: the platform would refuse every request.
    """
    account = sender.client.settings.account
    await sender.runtime.ledger_call(lambda: assert_account(sender.ledger, plan, account))
    so_far = _SoFar(looks_left=LOOKS if stop_on_auto_approval else 0)
    so_far.told_at = await sender.runtime.ledger_call(lambda: _told_at(sender.ledger, plan))
    try:
        await _send_all(
            sender, plan, so_far, lease=lease, stop_on_auto_approval=stop_on_auto_approval, in_flight=in_flight
        )
    except Stopped:
        await sender.runtime.ledger_call(lambda: _give_back(sender.ledger, plan))
        raise
    except AutoApproved:
        await sender.runtime.ledger_call(lambda: _note_told(sender.ledger, plan))
        raise
    return Submitted(dict(so_far.counts), so_far.auto_approved)


async def _send_all(
    sender: Sender,
    plan: PlanId,
    so_far: _SoFar,
    *,
    lease: timedelta,
    stop_on_auto_approval: bool,
    in_flight: int,
) -> None:
    """Send what is planned; after a change of the ledger's server, wait and go on."""
    while True:
        try:
            await _send_planned(
                sender, plan, so_far, lease=lease, stop_on_auto_approval=stop_on_auto_approval, in_flight=in_flight
            )
        except ServerChanged as changed:
            _LOG.warning("%s", changed)
            await _catch_up(sender, plan, changed.over_at, lease)
        else:
            return


async def _catch_up(sender: Sender, plan: PlanId, over_at: datetime, lease: timedelta) -> None:
    """Sleep until the ledger's clock is past a moment; the run stays alive."""

    def left_s() -> float:
        with sender.ledger.write() as tx:
            opened = open_plan(tx, plan)
            assert_run_not_stopped(tx, opened)
            requests.keep_alive(tx, opened, lease=lease)
            return (over_at - tx.now).total_seconds()

    while (left := await sender.runtime.ledger_call(left_s)) >= 0:
        await sender.runtime.sleep(min(left + 0.001, _CATCH_UP_LOOK_S))


async def _send_planned(
    sender: Sender,
    plan: PlanId,
    so_far: _SoFar,
    *,
    lease: timedelta,
    stop_on_auto_approval: bool,
    in_flight: int,
) -> None:
    """Read the list, then send what is planned, in order, until none is left."""
    not_taken_in_a_row, width = 0, 1

    def claim(tx: Transaction, request_id: int) -> requests.Claim | None:
        return requests.claim(
            tx,
            request_id,
            badge_run_id=open_plan(tx, plan),
            sender=sender.client.settings.sender,
            doubt_after=doubt_after(sender.client.settings),
        )

    async def send(request_id: int) -> Sending:
        return await sender.send(request_id, lambda tx: claim(tx, request_id), list_read_at=looked.list_read_at)

    def next_requests() -> list[int]:
        with sender.ledger.write() as tx:
            badge_run_id = open_plan(tx, plan)
            requests.keep_alive(tx, badge_run_id, lease=lease)
            planned = _planned(tx, badge_run_id, width)
            if planned:
                _assert_may_send(tx, sender.client.settings, in_flight)
                account = sender.client.settings.account
                _assert_human_decides(tx, badge_run_id, account, so_far.told_at, stop=stop_on_auto_approval)
            return planned

    looked = await _look_first(sender, plan, lease=lease, stop_on_auto_approval=stop_on_auto_approval)
    so_far.auto_approved += looked.auto_approved
    _assert_human(so_far.auto_approved, stop=stop_on_auto_approval)
    while batch := await sender.runtime.ledger_call(next_requests):
        # All of a batch come to their end, whatever one of them raises: none is cut off in mid-call.
        ends = await asyncio.gather(*(send(request_id) for request_id in batch), return_exceptions=True)
        sendings = [end for end in ends if isinstance(end, Sending)]
        so_far.counts.update(sending.sent for sending in sendings)
        so_far.auto_approved += sum(sending.auto_approved for sending in sendings)
        errors = [end for end in ends if isinstance(end, BaseException)]
        # What ends the task goes before what is waited for.
        if ending := [error for error in errors if not isinstance(error, ServerChanged)]:
            # A stop ends the run; whatever else went wrong would only have it tried again.
            raise next((error for error in ending if isinstance(error, Stopped)), ending[0])
        _assert_human(so_far.auto_approved, stop=stop_on_auto_approval)
        if errors:
            raise errors[0]
        refusals = [sending.not_taken for sending in sendings if sending.not_taken is not None]
        not_taken_in_a_row = not_taken_in_a_row + len(refusals) if len(refusals) == len(sendings) else 0
        if refusals and _stop(refusals, not_taken_in_a_row):
            raise refusals[-1]
        if await _others_may_follow(sender, plan, so_far, sendings):
            width = in_flight


async def _others_may_follow(sender: Sender, plan: PlanId, so_far: _SoFar, sendings: list[Sending]) -> bool:
    """Return whether several may be under way now: one was accepted, and read once more where that tells anything."""
    accepted = [each.platform_request_id for each in sendings if each.sent is Sent.ACCEPTED]
    if not accepted:
        return False

    def anything_left() -> bool:
        with sender.ledger.read() as tx:
            return bool(_planned(tx, open_plan(tx, plan), 1))

    if so_far.looks_left and await sender.runtime.ledger_call(anything_left):
        so_far.looks_left -= 1
        if await look_again(sender, accepted[0] or "") is not None:
            so_far.looks_left = 0
    return not so_far.looks_left


def stop_look(ledger: Ledger, plan: PlanId) -> Callable[[], None]:
    """Return what a submitting task does every few seconds while it sleeps: it looks whether its run was stopped.

    Only a look, which ends a sleep early: every claim looks for itself. So a ledger that does not answer is left to
    the next call that needs it.
    """

    def look() -> None:
        try:
            with ledger.read() as tx:
                assert_plan_not_stopped(tx, plan)
        except DATABASE_ERRORS as error:
            _LOG.info("the look at the stop failed (%s); the next one follows", type(error).__name__)

    return look


def _give_back(ledger: Ledger, plan: PlanId) -> None:
    with ledger.write() as tx:
        freed = requests.discard_unsent(tx, badge_run_ids=[open_plan(tx, plan)])
    _LOG.warning("%d customers of the stopped run were not sent and are given back: a later run takes them", freed)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the look before sending brought.

    Attributes:
        auto_approved: requests that were sent again and that the platform executed by itself.
        list_read_at: when the reading of the list began, by the ledger's clock.
    """

    auto_approved: int
    list_read_at: datetime


async def _look_first(sender: Sender, plan: PlanId, *, lease: timedelta, stop_on_auto_approval: bool) -> _Looked:
    """Find what an earlier try left in doubt, and what this ledger forgot, before anything new is sent."""

    def anything_planned() -> bool:
        with sender.ledger.write() as tx:
            opened = open_plan(tx, plan)
            if not _planned(tx, opened, 1):
                return False  # also under a stop: what was sent is waited for as ever
            assert_run_not_stopped(tx, opened)
            return True

    def alive(tx: Transaction) -> None:
        opened = open_plan(tx, plan)
        assert_run_not_stopped(tx, opened)
        requests.keep_alive(tx, opened, lease=lease)

    if not await sender.runtime.ledger_call(anything_planned):
        return _Looked(0, _NEVER)
    await sender.runtime.ledger_call(lambda: _doubt_the_foreign_keys(sender))
    await read_history(sender.ledger, sender.client, sender.runtime, alive=alive)
    begun = await sender.runtime.ledger_call(lambda: _now(sender.ledger))
    await _read_to_the_end(sender)
    resolved = await resolve_doubt(sender, stop_on_auto_approval=stop_on_auto_approval)
    return _Looked(resolved.auto_approved, begun)


def _now(ledger: Ledger) -> datetime:
    with ledger.read() as tx:
        return tx.now


def _doubt_the_foreign_keys(sender: Sender) -> None:
    """Have the whole list read again where a key that this user was shown stops the account: it may be rejected now.

    Of a key that another user was shown this user's reading says nothing: it stays, unless the ledger knows it now.
    """
    account, user = sender.client.settings.account, sender.client.settings.sender
    with sender.ledger.write() as tx:
        drop_known(tx, account)
        is_stopped = any(foreign.sender == user for foreign in foreign_keys(tx, account))
        if is_stopped and history(tx, account, user).read_at is not None:
            read_again(tx, account, user)


async def _read_to_the_end(sender: Sender) -> None:
    for _ in range(LIST_READINGS):
        watched = await watch(sender.ledger, sender.client, sender.runtime, before_sending=True)
        if not watched.reaches_back:
            raise HistoryUnread(
                f"the platform refuses to list its requests before {watched.refused_before} to this user, and what "
                "this ledger forgot may stand there: nothing is sent. Have the days listed by the platform's support "
                "and run the task again, or say from which day on requests can stand there: python -m capillary "
                "ledger import --dags <folder> --since <day>"
            )
        read = watched.read
        if await is_through(sender.ledger, sender.runtime, sender.client.settings.account, read):
            return
    raise ListCutShort(
        f"the platform's list of requests was read {LIST_READINGS} times and never to its end (last time {read.pages} "
        f"pages, {read.rows} rows), and nothing is sent: what this ledger forgot may stand on the part that did not "
        f"show. Retry later; if it stays, check page_base and page_size of the platform's connection{way_out(read)}"
    )


def _assert_human(auto_approved: int, *, stop: bool) -> None:
    if auto_approved and stop:
        raise AutoApproved(
            f"the platform executed {auto_approved} request(s) without a human's approval, and no further one was "
            "sent. Switch auto-approval off for ISSUE-BADGE (Member Care, Settings, Request workflows), or let the "
            "campaign say on_auto_approved='accept'"
        )


def _assert_human_decides(
    tx: Transaction, badge_run_id: OpenPlan, account: str, told_at: datetime | None, *, stop: bool
) -> None:
    """Assert that neither a request of the run nor the account's latest decided one was executed by the platform."""
    if not stop:
        return
    found = auto_approval(tx, badge_run_id, account, after=told_at)
    _assert_human(found.own, stop=True)
    if found.latest is not None:
        raise AutoApproved(
            f"the platform executed the latest decided request of {account} ({on_one_line(found.latest)}) without a "
            "human's approval, and nothing more is sent. Switch auto-approval off for ISSUE-BADGE (Member Care, "
            "Settings, Request workflows) and clear the task, or let the campaign say on_auto_approved='accept'"
        )


def _told_at(ledger: Ledger, plan: PlanId) -> datetime | None:
    with ledger.read() as tx:
        return told_at(tx, open_plan(tx, plan))


def _note_told(ledger: Ledger, plan: PlanId) -> None:
    with ledger.write() as tx:
        note_told(tx, open_plan(tx, plan))


def _stop(refusals: list[NotTaken], in_a_row: int) -> bool:
    # A credential is renewed once by the client; a second 401 in a row is the connection's.
    allowed = 2 if isinstance(refusals[-1], Unauthorized) else NOT_TAKEN_IN_A_ROW
    return in_a_row >= allowed


def _planned(tx: Transaction, badge_run_id: OpenPlan, count: int) -> list[int]:
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .where(badge_request.c.badge_run_id == badge_run_id, badge_request.c.status == RequestStatus.PLANNED)
        .order_by(badge_request.c.ordinal)
        .limit(count)
    )
    return list(rows.scalars())


def _assert_may_send(tx: Transaction, settings: PlatformSettings, in_flight: int) -> None:
    account = settings.account
    if history(tx, account, settings.sender).read_at is None:
        raise HistoryOpen(
            f"the list of {account} has to be read from its beginning once more, because a request stood there that "
            "this ledger did not know; nothing is sent before that. Retry the task, which does it"
        )
    _assert_nothing_foreign(tx, settings)
    in_doubt = tx.conn.execute(
        select(func.count())
        .select_from(badge_request)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(
            badge_occasion.c.account == account,
            badge_request.c.status == RequestStatus.SENDING,
            # Another user's doubts are ended by that user, or by what shows of them; they are no reason to wait.
            badge_request.c.sender == settings.sender,
            # Calls of other runs that are merely under way are in no doubt; what a killed sender left is, by then.
            badge_request.c.error.is_not(None)
            | (badge_request.c.last_sent_at < tx.now - timedelta(seconds=SEND_WITHIN_S + settings.post_timeout_s)),
        )
    ).scalar_one()
    if in_doubt >= in_flight:
        raise TooMuchDoubt(
            f"{in_doubt} requests of {account} are in doubt, as many as may be in flight; nothing more is sent until "
            "the platform's list has shown what became of them"
        )


def _assert_nothing_foreign(tx: Transaction, settings: PlatformSettings) -> None:
    """Assert that no credential user of the account was shown a key that the ledger does not know."""
    found = foreign_keys(tx, settings.account)
    if not found:
        return
    own = next((foreign for foreign in found if foreign.sender == settings.sender), None)
    if own is not None and not has_our_form(own.key):
        dark = sum(not has_our_form(foreign.key) for foreign in found)
        raise LedgerBehind(
            f"the platform shows no key of request {on_one_line(own.key)}"
            f"{f' and {dark - 1} more' if dark > 1 else ''}: it may be one of ours that this ledger has forgotten, and "
            "nothing is sent. Look at it on the checker's page. If it is somebody else's, say so: python -m capillary "
            f"ledger import --not-ours {shell_word(own.key)}. If it may be ours, have it rejected; ledger import lists "
            "all of them"
        )
    if own is not None:
        raise LedgerBehind(
            f"the platform holds request {on_one_line(own.key)}, which this ledger does not know: the ledger was "
            "restored or emptied, or a second installation submits for the same organisation. Nothing is sent before "
            "the ledger has learned it: python -m capillary ledger import --dags <folder> --since <day>. If it is "
            "somebody else's, have it rejected, or say so: python -m capillary ledger import --not-ours "
            f"{shell_word(own.key)}"
        )
    other = found[0]
    raise LedgerBehind(
        f"the platform holds request {on_one_line(other.key)}, which this ledger does not know. It was shown to "
        f"another credential user (sender {other.sender}) of {settings.account}; this one is sender {settings.sender}, "
        "and may not be shown it. Nothing is sent by either before the ledger has learned it. With the connection of "
        "that user run its submit again, or import: python -m capillary ledger import --dags <folder> --since <day> "
        "--capillary-conn-id <its connection>. If it is somebody else's, or was rejected and that user is gone, say "
        f"so: python -m capillary ledger import --not-ours {shell_word(other.key)}"
    )
