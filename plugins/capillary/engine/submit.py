"""Send what one run planned.

The platform's list is read first: what an earlier try left in doubt may stand there, and so may requests that
a restored ledger has forgotten. The first request goes alone: auto-approval shows there, before a second is out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select

from capillary.api.errors import NotTaken, Unauthorized
from capillary.api.settings import PlatformSettings
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import AutoApproved, HistoryOpen, LedgerBehind, ListCutShort, TooMuchDoubt
from capillary.engine.history import read_history
from capillary.engine.send import SEND_WITHIN_S, Sender, Sending, Sent, assert_account, doubt_after
from capillary.engine.watch import watch
from capillary.ledger import requests, scans
from capillary.ledger.database import Transaction
from capillary.ledger.history import history, read_again
from capillary.ledger.schema import RequestStatus, badge_occasion, badge_request

#: Requests of one task that are under way at once.
IN_FLIGHT: Final = 8
#: Readings of the list before sending, until one of them came to its end: pages may shift under a reader.
LIST_READINGS: Final = 3
#: Sends in a row that the platform did not take, after which the task gives up until its retry.
NOT_TAKEN_IN_A_ROW: Final = 5


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one submitting task did. ``counts`` is by :class:`~capillary.engine.send.Sent`."""

    counts: Mapping[Sent, int]
    auto_approved: int


async def submit_run(
    sender: Sender,
    badge_run_id: int,
    *,
    lease: timedelta,
    stop_on_auto_approval: bool = True,
    in_flight: int = IN_FLIGHT,
) -> Submitted:
    """Send every planned request of the run, in order; come back when none is left.

    Args:
        sender: sends one request.
        badge_run_id: the run that planned.
        lease: how long the run counts as alive without a sign of life.
        stop_on_auto_approval: end before the second request when the platform executed the first by itself.
        in_flight: most requests under way at once, and most in doubt before sending stops.

    Raises:
        PlanUnknown: the ledger has no such run.
        WrongAccount, ListCutShort, HistoryUnread, HistoryOpen, LedgerBehind, SubmittingOff, TooMuchDoubt,
            AutoApproved, BodyChanged: see ``capillary.engine.errors``.
        NotTaken: the platform took none of several sends in a row.
        EverythingRefused: the platform would refuse every request.
    """
    account = sender.client.settings.account
    await sender.runtime.ledger_call(lambda: assert_account(sender.ledger, badge_run_id, account))
    counts: Counter[Sent] = Counter()
    not_taken_in_a_row, width = 0, 1

    def claim(tx: Transaction, request_id: int) -> requests.Claim | None:
        return requests.claim(
            tx,
            request_id,
            badge_run_id=badge_run_id,
            sender=sender.client.settings.sender,
            doubt_after=doubt_after(sender.client.settings),
        )

    async def send(request_id: int) -> Sending:
        return await sender.send(request_id, lambda tx: claim(tx, request_id))

    def next_requests() -> list[int]:
        with sender.ledger.write() as tx:
            requests.keep_alive(tx, badge_run_id, lease=lease)
            planned = _planned(tx, badge_run_id, width)
            if planned:
                _assert_may_send(tx, sender.client.settings, in_flight)
            return planned

    auto_approved = await _look_first(sender, badge_run_id, lease=lease, stop_on_auto_approval=stop_on_auto_approval)
    _assert_human(auto_approved, stop=stop_on_auto_approval)
    while batch := await sender.runtime.ledger_call(next_requests):
        # All of a batch come to their end, whatever one of them raises: none is cut off in mid-call.
        ends = await asyncio.gather(*(send(request_id) for request_id in batch), return_exceptions=True)
        sendings = [end for end in ends if isinstance(end, Sending)]
        counts.update(sending.sent for sending in sendings)
        auto_approved += sum(sending.auto_approved for sending in sendings)
        if errors := [end for end in ends if isinstance(end, BaseException)]:
            raise errors[0]
        _assert_human(auto_approved, stop=stop_on_auto_approval)
        refusals = [sending.not_taken for sending in sendings if sending.not_taken is not None]
        not_taken_in_a_row = not_taken_in_a_row + len(refusals) if len(refusals) == len(sendings) else 0
        if refusals and _stop(refusals, not_taken_in_a_row):
            raise refusals[-1]
        if any(sending.sent is Sent.ACCEPTED for sending in sendings):
            width = in_flight
    return Submitted(dict(counts), auto_approved)


async def _look_first(sender: Sender, badge_run_id: int, *, lease: timedelta, stop_on_auto_approval: bool) -> int:
    """Find what an earlier try left in doubt, and what this ledger forgot, before anything new is sent.

    Returns:
        How many requests that were sent again the platform executed by itself.
    """

    def anything_planned() -> bool:
        with sender.ledger.read() as tx:
            return bool(_planned(tx, badge_run_id, 1))

    def alive(tx: Transaction) -> None:
        requests.keep_alive(tx, badge_run_id, lease=lease)

    if not await sender.runtime.ledger_call(anything_planned):
        return 0
    await sender.runtime.ledger_call(lambda: _doubt_the_foreign_key(sender))
    await read_history(sender.ledger, sender.client, sender.runtime, alive=alive)
    await _read_to_the_end(sender)
    return (await resolve_doubt(sender, stop_on_auto_approval=stop_on_auto_approval)).auto_approved


def _doubt_the_foreign_key(sender: Sender) -> None:
    """Have the whole list read again where a key stops the account: it may be rejected, or known, by now."""
    account = sender.client.settings.account
    with sender.ledger.write() as tx:
        if scans.state(tx, account).foreign_key is not None and history(tx, account).read_at is not None:
            read_again(tx, account)


async def _read_to_the_end(sender: Sender) -> None:
    for _ in range(LIST_READINGS):
        read = (await watch(sender.ledger, sender.client, sender.runtime)).read
        if read.to_the_end:
            return
    raise ListCutShort(
        f"the platform's list of requests was read {LIST_READINGS} times and never to its end (last time {read.pages} "
        f"pages, {read.rows} rows), and nothing is sent: what this ledger forgot may stand on the part that did not "
        "show. Retry later; if it stays, check page_base and page_size of the platform's connection"
    )


def _assert_human(auto_approved: int, *, stop: bool) -> None:
    if auto_approved and stop:
        raise AutoApproved(
            f"the platform executed {auto_approved} request(s) without a human's approval, and no further one was "
            "sent. Switch auto-approval off for ISSUE-BADGE (Member Care, Settings, Request workflows), or let the "
            "campaign say on_auto_approved='accept'"
        )


def _stop(refusals: list[NotTaken], in_a_row: int) -> bool:
    # A credential is renewed once by the client; a second 401 in a row is the connection's.
    allowed = 2 if isinstance(refusals[-1], Unauthorized) else NOT_TAKEN_IN_A_ROW
    return in_a_row >= allowed


def _planned(tx: Transaction, badge_run_id: int, count: int) -> list[int]:
    rows = tx.conn.execute(
        select(badge_request.c.id)
        .where(badge_request.c.badge_run_id == badge_run_id, badge_request.c.status == RequestStatus.PLANNED)
        .order_by(badge_request.c.ordinal)
        .limit(count)
    )
    return list(rows.scalars())


def _assert_may_send(tx: Transaction, settings: PlatformSettings, in_flight: int) -> None:
    account = settings.account
    foreign_key = scans.state(tx, account).foreign_key
    if foreign_key is not None:
        raise LedgerBehind(
            f"the platform holds request {foreign_key}, which this ledger does not know: the ledger was restored or "
            "emptied, or a second installation submits for the same organisation. Nothing is sent before the ledger "
            "has learned it: python -m capillary ledger import --dags <folder> --since <day>. If it is somebody "
            f"else's, have it rejected, or say so: python -m capillary ledger import --not-ours {foreign_key}"
        )
    if history(tx, account).read_at is None:
        raise HistoryOpen(
            f"the list of {account} has to be read from its beginning once more, because a request stood there that "
            "this ledger did not know; nothing is sent before that. Retry the task, which does it"
        )
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
