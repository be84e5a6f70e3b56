"""What was sent and never answered. Doubt ends by evidence: the request is found, or its absence confirmed.

Absence is confirmed by a reading of the whole list, of all days from before the request's first send up to now, begun
after its ``doubt_from``, that shows a control: a request of ours that the platform must have accepted later than the
one in doubt, if it accepted that at all. A list that lags, hides or lies to this user would miss the control too. For
the credential user that sent the one in doubt any such request is a control, and without one an hour must pass.
Another user may not be shown that user's requests: it judges only beside a control that the very same user sent, once,
and never without one. A request that was sent again is a control from that send on, if the reply to it named the very
row that the list shows.

A row that shows no key, or one that is not known, may be the request in doubt if it shows its badge and a customer of
it, or shows nobody. So may the request that the platform named in a reply which could not be used; that one is read.
Both hold the doubt, and are named to a person. Where a clock has jumped, what was sent before counts as sent then.

The rules one by one, and why each: docs/design.md, I4 and "Confirmed absence".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from capillary.api.client import Client
from capillary.api.outside_text import on_one_line, shell_word
from capillary.api.request_workflow import WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.absence import WITHOUT_CONTROL, doubt_after
from capillary.engine.answered import Named, Whose, look_up
from capillary.engine.errors import AutoApproved
from capillary.engine.lean_list import look_behind
from capillary.engine.list_controls import hidden_ones
from capillary.engine.lookalikes import Lookalike, Lookalikes
from capillary.engine.may_send import assert_human_decides_again
from capillary.engine.platform_list import LOOK_BACK, read_every_type
from capillary.engine.runtime import Runtime
from capillary.engine.second_look import LOOKS, Looks
from capillary.engine.send import Sender, Sending, Sent
from capillary.engine.sightings import record_rows
from capillary.engine.unreadable_rows import is_through
from capillary.engine.watch import cluster_day, note_clocks
from capillary.ledger import request_rows, scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.doubts import DueDoubt, due_doubts
from capillary.ledger.errors import Stopped
from capillary.ledger.history import history
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.request_rows import ConfirmedAbsence
from capillary.ledger.sends import sends_of
from capillary.ledger.unknown_keys import unknown_keys

#: Most requests named in replies that one resolution reads; the others stay in doubt until the next one.
ANSWERED_READS: Final = 50
#: How much earlier than it was sent a request may have been made by its id: nodes of a platform differ by so much.
_NODES_DIFFER: Final = timedelta(seconds=2)

_LOG: Final = logging.getLogger("capillary.doubt")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the requests in doubt: numbers of requests.

    `kept_back` are those of `still_in_doubt` that an auto-approval keeps from being sent again.
    """

    found: int = 0
    sent_again: int = 0
    given_up: int = 0
    still_in_doubt: int = 0
    auto_approved: int = 0
    kept_back: int = 0


@dataclass(frozen=True, slots=True)
class _Controls:
    """Sends of requests that a reading of the list shows: the first one of each, or the one that its reply tells.

    Attributes:
        newest: of them all.
        newest_by_sender: of those whose send, by one credential user, is the one that the list shows.
    """

    newest: datetime | None
    newest_by_sender: Mapping[str, datetime]


async def resolve_doubt(
    sender: Sender, *, stop_on_auto_approval: bool = True, told: int = 0, more_follow: bool = False
) -> Resolved:
    """Read the whole list once for everything in doubt of the account; send again what is confirmed absent.

    Args:
        sender: sends one request.
        stop_on_auto_approval: send no further one after the platform executed one by itself; the next call goes on.
        told: number of the newest auto-approval that a person has let pass; 0: of none. What was first sent before the
            one that stands is not sent again, unless its own run accepts auto-approvals.
        more_follow: the caller sends more afterwards: the last one that is sent again is looked at, too.

    Raises:
        What a read and `Sender.send` raise, `Stopped` apart: what a person has stopped stays in doubt, as does what
        an auto-approval keeps back, and the others go on. A trigger never calls this: it sends.
    """
    ledger, client, runtime = sender.ledger, sender.client, sender.runtime
    begun, doubts = await runtime.ledger_call(lambda: _doubts(ledger, client.settings.account))
    if not doubts:
        return Resolved()
    found, absences = await _absences(ledger, client, runtime, begun, doubts)
    sent_again = given_up = auto_approved = 0
    looks = Looks(sender, LOOKS if stop_on_auto_approval else 0)
    resends = _Resends(sender, told)
    for number, (absence, resent) in enumerate(absences, start=1):
        if resent >= request_rows.MAX_RESENDS:
            given_up += await runtime.ledger_call(lambda a=absence: _give_up(ledger, a))  # type: ignore[misc]
            continue
        if (sending := await resends.send(absence)) is None:
            continue
        sent_again += sending.sent is not Sent.ELSEWHERE
        auto_approved += sending.auto_approved
        is_last = number == len(absences) and not more_follow
        if sending.platform_request_id is not None and looks.left and not is_last:
            seen = await looks.at_first(sending.platform_request_id)
            auto_approved += seen is not None and seen.auto_approved and not sending.auto_approved
        if auto_approved and stop_on_auto_approval:
            _LOG.error("a request was executed without a human's approval; not resending any more requests")
            break
    still = len(doubts) - found - sent_again - given_up
    _LOG.info(
        "doubt: %d found, %d sent again, %d given up, %d left, %d of them stopped, %d kept back by an auto-approval",
        found,
        sent_again,
        given_up,
        still,
        resends.stopped,
        resends.kept_back,
    )
    return Resolved(found, sent_again, given_up, still, auto_approved, resends.kept_back)


@dataclass(slots=True)
class _Resends:
    """Sends again what is confirmed absent, and counts what stays in doubt instead.

    Attributes:
        sender, told: as `resolve_doubt` takes them.
        stopped: requests of a campaign or account that a person has stopped.
        kept_back: requests of before an auto-approval that stands.
    """

    sender: Sender
    told: int
    stopped: int = 0
    kept_back: int = 0

    async def send(self, absence: ConfirmedAbsence) -> Sending | None:
        """Send one again; None where it has to stay in doubt. It may be another campaign's, and the others go on."""
        try:
            # First without a call slot, of which every try would take one.
            await self.sender.runtime.ledger_call(lambda: self._look(absence))
            return await self.sender.send(
                absence.request_id, lambda tx: self._claim(tx, absence), list_read_at=absence.scan_begun_at
            )
        except Stopped as error:
            self.stopped += 1
            _LOG.warning("a request in doubt stays in doubt: %s", error)
        except AutoApproved as error:
            self.kept_back += 1
            _LOG.warning("a request in doubt stays in doubt: %s", error)
        return None

    def _look(self, absence: ConfirmedAbsence) -> None:
        with self.sender.ledger.read() as tx:
            self._assert_may(tx, absence)

    def _claim(self, tx: Transaction, absence: ConfirmedAbsence) -> request_rows.Claim | None:
        self._assert_may(tx, absence)
        settings = self.sender.client.settings
        return request_rows.resend(tx, absence, sender=settings.sender, doubt_after=doubt_after(settings))

    def _assert_may(self, tx: Transaction, absence: ConfirmedAbsence) -> None:
        assert_human_decides_again(tx, absence.request_id, self.sender.client.settings.account, told=self.told)


async def _absences(
    ledger: Ledger, client: Client, runtime: Runtime, begun: datetime, doubts: tuple[DueDoubt, ...]
) -> tuple[int, list[tuple[ConfirmedAbsence, int]]]:
    account, user = client.settings.account, client.settings.sender
    seen_keys, made_at = set[str](), dict[str, datetime | None]()
    lookalikes = Lookalikes(account, doubts)

    def take(rows: tuple[WorkflowRequest, ...]) -> None:
        with ledger.write() as tx:
            recorded = record_rows(tx, account, user, rows)
            lookalikes.take(tx, recorded.others)
        seen_keys.update(recorded.keys)
        made_at.update({row.platform_request_id: row.created_at for row in recorded.ours})

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        shown = await look_behind(ledger, client, runtime, rows)
        await runtime.ledger_call(lambda: take(shown))

    settings = client.settings
    # From before the first of the controls, which were sent up to `LOOK_BACK` before the doubt.
    first_day = min(cluster_day(doubt.first_sent_at, settings) for doubt in doubts) - LOOK_BACK
    days = await read_every_type(
        client, since=first_day - LOOK_BACK, today=cluster_day(begun, settings), on_page=on_page
    )
    await runtime.ledger_call(lambda: note_clocks(ledger, client))
    named = [doubt for doubt in doubts if doubt.key not in seen_keys and doubt.answered_id is not None]
    held = await _read_answered(ledger, client, runtime, named, seen_keys)
    found = sum(doubt.key in seen_keys for doubt in doubts)
    if not await is_through(ledger, runtime, account, days.read):
        return found, []
    covered = [each for each in (doubt.first_sent_at for doubt in doubts) if days.shows(cluster_day(each, settings))]
    since = min(covered) - LOOK_BACK if covered else begun
    if await hidden_ones(ledger, client, runtime, begun=begun, since=since, shown=made_at.keys()):
        return found, []

    def judge() -> list[DueDoubt]:
        with ledger.read() as tx:
            is_read = history(tx, account, user).read_at is not None
            state = scans.state(tx, account)
            if not state.trusted or unknown_keys(tx, account) or not is_read:
                return []
            ahead_s = scans.platform_ahead_s(tx, account)
            controls = _newest_sends(tx, seen_keys, made_at, begun=begun, platform_ahead_s=ahead_s)
            return [
                doubt
                for doubt in doubts
                if doubt.key not in seen_keys
                and days.shows_what_waits(cluster_day(doubt.first_sent_at, settings))
                and _may_judge(_as_of_the_jump(doubt, state.clock_jumped_at, settings), begun, controls, settings)
            ]

    absent = []
    for doubt in await runtime.ledger_call(judge):
        lookalike = held.get(doubt.request_id) or lookalikes.of(doubt.request_id)
        if lookalike is None:
            absent.append((ConfirmedAbsence(doubt.request_id, doubt.key, doubt.tries, begun), doubt.resends))
        else:
            await runtime.ledger_call(lambda d=doubt, row=lookalike: _name(ledger, d, row))  # type: ignore[misc]
    return found, absent


async def _read_answered(
    ledger: Ledger, client: Client, runtime: Runtime, named: Iterable[DueDoubt], seen_keys: set[str]
) -> dict[int, Lookalike]:
    """Read what replies named; add the keys of what is found, and return what stays unclear, by the ledger's id."""
    account = client.settings.account

    def not_ours(platform_request_id: str) -> bool:
        with ledger.read() as tx:
            return bool(scans.are_not_ours(tx, account, (platform_request_id,)))

    unclear = dict[int, Lookalike]()
    for reads, doubt in enumerate(named):
        answered_id = doubt.answered_id or ""
        if await runtime.ledger_call(lambda each=answered_id: not_ours(each)):  # type: ignore[misc]
            continue
        whose = Whose.UNCLEAR
        if reads < ANSWERED_READS:
            asked = Named(doubt.request_id, doubt.key, answered_id)
            whose, _ = await look_up(ledger, client, runtime, asked, account=account)
        if whose is Whose.OURS:
            seen_keys.add(doubt.key)
        elif whose is Whose.UNCLEAR:
            unclear[doubt.request_id] = Lookalike(answered_id, None)
    return unclear


def _name(ledger: Ledger, doubt: DueDoubt, row: Lookalike) -> None:
    """Name to a person what holds a doubt that would be over by now."""
    platform_request_id = on_one_line(row.platform_request_id)
    under = "without a key" if row.request_key is None else f"under key {on_one_line(row.request_key)}"
    reason = (
        f"request {platform_request_id} on the platform ({under}) may be this one. First let the import check: python "
        "-m capillary ledger import --dags <folder> --since <day>. If somebody else made that request, or it was "
        f"rejected, say so: python -m capillary ledger import --not-ours {shell_word(row.platform_request_id)}"
    )
    with ledger.write() as tx:
        request_rows.note_held_doubt(tx, doubt.request_id, key=doubt.key, tries=doubt.tries, reason=reason)
    _LOG.error("request %s stays in doubt: %s", doubt.key, reason)


def _as_of_the_jump(doubt: DueDoubt, jumped_at: datetime | None, settings: PlatformSettings) -> DueDoubt:
    """Return a doubt of before a clock jumped as one of that moment: by which clock it was dated is not known."""
    if jumped_at is None or doubt.last_sent_at > jumped_at:
        return doubt
    return replace(doubt, last_sent_at=jumped_at, doubt_from=max(doubt.doubt_from, jumped_at + doubt_after(settings)))


def _may_judge(doubt: DueDoubt, begun: datetime, controls: _Controls, settings: PlatformSettings) -> bool:
    if begun <= doubt.doubt_from:
        return False
    is_its_sender = doubt.sender == settings.sender
    control_sent_at = controls.newest if is_its_sender else controls.newest_by_sender.get(doubt.sender)
    # Whatever arrived of the send in doubt had arrived by then; the control was not even sent before.
    arrived_by = doubt.last_sent_at + timedelta(seconds=START_WITHIN_S + settings.post_timeout_s)
    if control_sent_at is not None and control_sent_at > arrived_by:
        return True
    return is_its_sender and begun > doubt.doubt_from + WITHOUT_CONTROL


def _doubts(ledger: Ledger, account: str) -> tuple[datetime, tuple[DueDoubt, ...]]:
    with ledger.read() as tx:
        return tx.now, due_doubts(tx, account)


def _newest_sends(
    tx: Transaction,
    request_keys: set[str],
    made_at: Mapping[str, datetime | None],
    *,
    begun: datetime,
    platform_ahead_s: int | None,
) -> _Controls:
    """Return the newest sends of requests that a reading shows.

    Of a request that was sent again the first send counts, unless the reading shows the very request that the reply to
    the last one named. What lies ahead is from before the clock was set back, and shows nothing.

    Args:
        tx: the transaction.
        request_keys: what the reading shows of ours.
        made_at: its platform request ids, and when each request was made, by the platform's clock.
        begun: when the reading began.
        platform_ahead_s: by how much the platform's clock is ahead of the ledger's; None: not known.
    """
    newest: datetime | None = None
    by_sender = dict[str, datetime]()
    for send in sends_of(tx, request_keys):
        is_last = send.resends > 0 and send.answered_id in made_at
        if is_last and (made := made_at[send.answered_id or ""]) is not None and platform_ahead_s is not None:
            # A platform that knows its keys could name the request of an earlier send.
            is_last = made - timedelta(seconds=platform_ahead_s) >= send.last_sent_at - _NODES_DIFFER
        sent_at = send.last_sent_at if is_last else send.first_sent_at
        if sent_at > begun:
            continue
        newest = max(newest or sent_at, sent_at)
        # Of another request that was sent again nobody can tell whose send the list shows.
        if is_last or not send.resends:
            by_sender[send.sender] = max(by_sender.get(send.sender, sent_at), sent_at)
    return _Controls(newest, by_sender)


def _give_up(ledger: Ledger, absence: ConfirmedAbsence) -> bool:
    with ledger.write() as tx:
        return request_rows.give_up(tx, absence)
