"""Send what one run planned.

The platform's list is read first: what an earlier try left in doubt may stand there, and so may requests that
a restored ledger has forgotten. The first request goes alone and is read once, seconds after its reply: auto-approval
shows there, before a second is out.

Waiting is not a failure: where doubt keeps the rest back, or something that passes came after a step forward, the task
comes back with what it waits for (`capillary.engine.hold.Waits`) and is to be called again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from capillary.api.errors import NotTaken, Unauthorized
from capillary.counted import counted
from capillary.engine.absence import doubt_after
from capillary.engine.before_sending import look_first
from capillary.engine.doubt import Resolved
from capillary.engine.errors import (
    AutoApproved,
    HistoryOpen,
    ServerChanged,
    TooMuchDoubt,
)
from capillary.engine.hold import IN_TASK_S, Hold, Waits
from capillary.engine.may_send import assert_human_decides, assert_may_send, assert_none_executed
from capillary.engine.next_batch import NextBatch, has_waited_too_long, next_batch
from capillary.engine.second_look import LOOKS, Looks
from capillary.engine.send import Sender, Sending, Sent, assert_account
from capillary.errors import CapillaryError, TransientError
from capillary.ledger import request_rows
from capillary.ledger.auto_approval import note_policy, note_told, told
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import Stopped
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.runs import is_anything_planned
from capillary.ledger.stops import assert_plan_not_stopped, assert_run_not_stopped

#: Requests of one task that are under way at once.
IN_FLIGHT: Final = 8
#: Sends in a row that the platform did not take, after which the task goes away for a while.
NOT_TAKEN_IN_A_ROW: Final = 5
#: First readings that were begun again under the task, after which it gives up until its retry.
HISTORY_READINGS: Final = 3

#: What passes by itself, or may.
_PASSES: Final[tuple[type[Exception], ...]] = (TransientError, *DATABASE_ERRORS)

_LOG: Final = logging.getLogger("capillary.submit")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one submitting task did.

    Attributes:
        counts: sends by :class:`~capillary.engine.send.Sent`.
        auto_approved: requests that the platform executed by itself.
        waits: what it waits for with requests still to send; None: it has sent all there was.
    """

    counts: Mapping[Sent, int]
    auto_approved: int
    waits: Waits | None = None


@dataclass(frozen=True, slots=True)
class _Terms:
    """What `submit_run` was asked for."""

    lease: timedelta
    stop_on_auto_approval: bool
    clears: int
    in_flight: int
    waiting_since: datetime | None


@dataclass
class _SoFar:
    """What a submitting task has done up to now.

    Attributes:
        counts: by end of a send.
        auto_approved: of what was sent, executed at once by the platform.
        resolved: requests in doubt that are in doubt no more.
        told: number of the newest auto-approval of which a person knew who has cleared the run; 0: of none.
        looks: looks at what was accepted.
    """

    looks: Looks
    counts: Counter[Sent] = field(default_factory=Counter)
    auto_approved: int = 0
    resolved: int = 0
    told: int = 0

    @property
    def got_on(self) -> bool:
        """Whether it came a step forward: a retry is for a try that did not."""
        return self.resolved > 0 or any(self.counts[sent] for sent in (Sent.ACCEPTED, Sent.REFUSED))

    def take(self, resolved: Resolved) -> None:
        """Add what became of requests in doubt."""
        self.resolved += resolved.found + resolved.sent_again + resolved.given_up
        self.auto_approved += resolved.auto_approved


async def submit_run(
    sender: Sender,
    plan: PlanId,
    *,
    lease: timedelta,
    stop_on_auto_approval: bool = True,
    clears: int = 0,
    in_flight: int = IN_FLIGHT,
    waiting_since: datetime | None = None,
    fresh: timedelta | None = None,
) -> Submitted:
    """Send every planned request of the run, in order; come back when none is left, or when waiting takes long.

    Where the ledger's server has changed it waits until the platform's list must show what was sent before, and
    reads it again.

    Args:
        sender: sends one request.
        plan: the run's plan.
        lease: how long the run counts as alive without a sign of life.
        stop_on_auto_approval: end before the next request when the platform executed one of the account by itself and
            no human has decided one since that was sent later, unless the run has failed for that before and a person
            has cleared it since.
        clears: how often a person has cleared Airflow's run up to now.
        in_flight: most requests under way at once, and most in doubt before sending stops.
        waiting_since: when the task began to wait, by the ledger's clock, if it is called again after a wait.
        fresh: how old a reading of the list by another reader may be to serve in place of this task's own first one;
            None: it reads itself.

    Raises:
        PlanUnknown: the ledger has no such plan.
        Stopped: a person has stopped the run's campaign or account; what it had not sent was given back.
        WrongAccount, HistoryUnread, LedgerBehind, TooMuchDoubt, AutoApproved, BodyChanged: see
            ``capillary.engine.errors``.
        EverythingRefused: the platform would refuse every request.
        ListCutShort, HistoryOpen, SubmittingOff, NotTaken, PlatformUnavailable, and what a database raises: something
            that passes, and before it nothing was accepted or refused, and no doubt resolved. What the reading at the
            beginning settles by itself does not count.
    """
    account = sender.client.settings.account
    await sender.runtime.ledger_call(lambda: assert_account(sender.ledger, plan, account))
    terms = _Terms(lease, stop_on_auto_approval, clears, in_flight, waiting_since)
    so_far = await sender.runtime.ledger_call(lambda: _begin(sender, plan, terms))
    try:
        waits = await _send_all(sender, plan, so_far, terms, fresh)
    except Stopped:
        await sender.runtime.ledger_call(lambda: _give_back(sender.ledger, plan))
        raise
    except AutoApproved:
        await sender.runtime.ledger_call(lambda: _note_told(sender, plan, terms))
        raise
    except TooMuchDoubt:
        raise
    except _PASSES as error:
        if not so_far.got_on:
            raise
        waits = Waits(str(error if isinstance(error, CapillaryError) else broke_off(error)), None)
    return Submitted(dict(so_far.counts), so_far.auto_approved, waits)


def _begin(sender: Sender, plan: PlanId, terms: _Terms) -> _SoFar:
    """Return where the task stands. It looks at what it has accepted, whatever was looked at before a wait."""
    with sender.ledger.write() as tx:
        opened = open_plan(tx, plan)
        note_policy(tx, opened, accepts=not terms.stop_on_auto_approval)
        knows = told(tx, opened, clears=terms.clears)
    return _SoFar(Looks(sender, LOOKS if terms.stop_on_auto_approval else 0), told=knows)


async def _send_all(
    sender: Sender, plan: PlanId, so_far: _SoFar, terms: _Terms, fresh: timedelta | None
) -> Waits | None:
    """Send what is planned; after a change of the ledger's server, or of what the list has shown, go on."""
    begun_again = 0
    while True:
        try:
            stop = terms.stop_on_auto_approval
            looked = await look_first(
                sender, plan, lease=terms.lease, stop_on_auto_approval=stop, told=so_far.told, fresh=fresh
            )
            so_far.take(looked.resolved)
            _assert_human(so_far, terms)
            return await _send_planned(sender, plan, so_far, terms, looked.list_read_at)
        except ServerChanged as changed:
            _LOG.warning("%s", changed)
            if not await _catch_up(sender, plan, changed.over_at, terms.lease):
                return Waits(str(changed), changed.over_at)
        except HistoryOpen as error:
            begun_again += 1
            if begun_again >= HISTORY_READINGS:
                raise
            _LOG.warning("%s", error)
        fresh = None


async def _catch_up(sender: Sender, plan: PlanId, over_at: datetime, lease: timedelta) -> bool:
    """Sleep until the ledger's clock is past a moment; the run stays alive. False where that takes too long here."""

    def left_s() -> float:
        with sender.ledger.write() as tx:
            opened = open_plan(tx, plan)
            assert_run_not_stopped(tx, opened)
            request_rows.keep_alive(tx, opened, lease=lease)
            return (over_at - tx.now).total_seconds()

    while (left := await sender.runtime.ledger_call(left_s)) >= 0:
        if left > IN_TASK_S:
            return False
        await sender.runtime.sleep(left + 0.001)
    return True


async def _send_planned(
    sender: Sender, plan: PlanId, so_far: _SoFar, terms: _Terms, list_read_at: datetime
) -> Waits | None:
    """Send what is planned, in order, until none is left or doubt keeps the rest back for long."""
    not_taken_in_a_row, width = 0, 1

    def next_requests() -> NextBatch:
        with sender.ledger.write() as tx:
            badge_run_id = open_plan(tx, plan)
            request_rows.keep_alive(tx, badge_run_id, lease=terms.lease)
            here = next_batch(tx, badge_run_id, sender.client.settings, in_flight=terms.in_flight, width=width)
            if here.wanted:
                assert_may_send(tx, sender.client.settings)
                if terms.stop_on_auto_approval:
                    assert_human_decides(tx, badge_run_id, sender.client.settings.account, told=so_far.told)
            return here

    hold = Hold(sender)
    while (here := await sender.runtime.ledger_call(next_requests)).wanted:
        if hold.is_due(here):
            if (waits := hold.leaves(here)) is not None:
                await sender.runtime.ledger_call(lambda now=here: _assert_worth_waiting(sender, plan, terms, now))  # type: ignore[misc]
                return waits
            stop = terms.stop_on_auto_approval
            so_far.take(await hold.look(here, stop_on_auto_approval=stop, told=so_far.told))
            _assert_human(so_far, terms)
            continue
        sendings = await _send_batch(sender, plan, so_far, terms, here.batch, list_read_at)
        refusals = [sending.not_taken for sending in sendings if sending.not_taken is not None]
        not_taken_in_a_row = not_taken_in_a_row + len(refusals) if len(refusals) == len(sendings) else 0
        if refusals and _stop(refusals, not_taken_in_a_row):
            raise refusals[-1]
        accepted = any(sending.sent is Sent.ACCEPTED for sending in sendings)
        hold.sent(accepted=accepted)
        if await _others_may_follow(sender, so_far, sendings):
            width = terms.in_flight
        await so_far.looks.in_passing()
    return None


async def _others_may_follow(sender: Sender, so_far: _SoFar, sendings: list[Sending]) -> bool:
    """Return whether several may be under way now: one was accepted, and read once more where that tells anything.

    It does as long as this or any other run of the account has something to send.
    """
    accepted = [each.platform_request_id for each in sendings if each.sent is Sent.ACCEPTED]
    if not accepted:
        return False

    def anything_left() -> bool:
        with sender.ledger.read() as tx:
            return is_anything_planned(tx, sender.client.settings.account)

    if so_far.looks.left and await sender.runtime.ledger_call(anything_left):
        await so_far.looks.at_first(accepted[0] or "")
    return not so_far.looks.left


async def _send_batch(
    sender: Sender, plan: PlanId, so_far: _SoFar, terms: _Terms, batch: Sequence[int], list_read_at: datetime
) -> list[Sending]:
    """Send so many at once. All of them come to their end, whatever one raises: none is cut off in mid-call."""

    def claim(tx: Transaction, request_id: int) -> request_rows.Claim | None:
        opened = open_plan(tx, plan)
        if terms.stop_on_auto_approval:  # others may have seen one while this send waited for its slot
            assert_human_decides(tx, opened, sender.client.settings.account, told=so_far.told)
        return request_rows.claim(
            tx,
            request_id,
            badge_run_id=opened,
            sender=sender.client.settings.sender,
            doubt_after=doubt_after(sender.client.settings),
        )

    async def send(request_id: int) -> Sending:
        return await sender.send(request_id, lambda tx: claim(tx, request_id), list_read_at=list_read_at)

    ends = await asyncio.gather(*(send(request_id) for request_id in batch), return_exceptions=True)
    sendings = [end for end in ends if isinstance(end, Sending)]
    so_far.counts.update(sending.sent for sending in sendings)
    so_far.auto_approved += sum(sending.auto_approved for sending in sendings)
    errors = [end for end in ends if isinstance(end, BaseException)]
    # What ends the task goes before what is waited for.
    if ending := [error for error in errors if not isinstance(error, ServerChanged)]:
        # A stop ends the run; whatever else went wrong would only have it tried again.
        raise next((error for error in ending if isinstance(error, Stopped)), ending[0])
    _assert_human(so_far, terms)
    if errors:
        raise errors[0]
    return sendings


def _assert_worth_waiting(sender: Sender, plan: PlanId, terms: _Terms, here: NextBatch) -> None:
    """Raise where nothing was accepted for longer than any judging takes, or where no reading can judge any more."""
    settings = sender.client.settings
    with sender.ledger.read() as tx:
        since = terms.waiting_since or here.now
        too_long = has_waited_too_long(tx, open_plan(tx, plan), settings, since=since)
    if too_long or here.until is None:
        raise TooMuchDoubt(
            f"{counted(here.in_doubt, 'request')} of {settings.account} {'is' if here.in_doubt == 1 else 'are'} in "
            "doubt, and the platform's list has not shown what became of them for too long; nothing more is sent. "
            "Ask the platform's support whether its list is complete and what becomes of what is submitted, then "
            "retry the task"
        )


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
            _LOG.info(
                "could not check whether sending is stopped (%s); checking again at the next look", type(error).__name__
            )

    return look


def _give_back(ledger: Ledger, plan: PlanId) -> None:
    with ledger.write() as tx:
        freed = request_rows.discard_unsent(tx, badge_run_ids=[open_plan(tx, plan)])
    _LOG.warning(
        "the run was stopped; its unsent requests were given back to a later run: %s", counted(freed, "customer")
    )


def _assert_human(so_far: _SoFar, terms: _Terms) -> None:
    if terms.stop_on_auto_approval:
        assert_none_executed(so_far.auto_approved)


def _note_told(sender: Sender, plan: PlanId, terms: _Terms) -> None:
    with sender.ledger.write() as tx:
        note_told(tx, open_plan(tx, plan), sender.client.settings.account, clears=terms.clears)


def _stop(refusals: list[NotTaken], in_a_row: int) -> bool:
    # A credential is renewed once by the client; a second 401 in a row is the connection's.
    allowed = 2 if isinstance(refusals[-1], Unauthorized) else NOT_TAKEN_IN_A_ROW
    return in_a_row >= allowed
