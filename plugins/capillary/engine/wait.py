"""Bring runs forward as far as the platform's answers allow: what a worker does when a wait resumes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from capillary.api.errors import CallRefused, EverythingRefused, PlatformUnavailable, ReplyUnreadable
from capillary.counted import counted
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import ServerChanged, SubmittingOff
from capillary.engine.given_back import SWITCH_OFF
from capillary.engine.send import Sender, assert_account
from capillary.engine.settle import SINGLE_READS, settle_by_reading
from capillary.engine.watch import Watched, watch_in_turn
from capillary.ledger import scans
from capillary.ledger.auto_approval import note_told, told
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.request_rows import keep_alive
from capillary.ledger.run_wait import RunWait, run_wait
from capillary.ledger.sightings import decided_requests

#: How often, and how many seconds apart, another reader's turn is waited for: a reader that died keeps it for
#: minutes, and a worker's slot is too dear to wait in.
TURN_LOOKS: Final = 15
_TURN_LOOK_S: Final = 1.0
#: Most requests that are settled by single reads when the list could not be read.
_SINGLY: Final = 20

_LOG: Final = logging.getLogger("capillary.advance")


@dataclass(frozen=True, slots=True)
class Advanced:
    """Where a run stands.

    Attributes:
        wait: what it still waits for.
        held_up: another reader kept the list, or more single reads were needed than one look makes: there may be
            more to do than was done.
    """

    wait: RunWait
    held_up: bool

    @property
    def ended(self) -> int:
        """How many requests are decided or settled; -1 where the same state is worth a worker again."""
        return -1 if self.held_up else self.wait.decided + self.wait.settled


async def advance(
    sender: Sender,
    plan: PlanId,
    *,
    reader: str,
    lease: timedelta,
    clears: int = 0,
    fresh: timedelta | None = None,
) -> Advanced:
    """Find, resolve and settle what can be, and return what the run still waits for.

    The list is read once for the whole account; where another reader is at it, that one is awaited for a few
    seconds, since it may settle this run's requests, too. Doubt that cannot be resolved now stays: it must not
    end the wait.

    Args:
        sender: sends again what is confirmed absent.
        plan: the run's plan.
        reader: who reads, unlike any other reader.
        lease: how long the run counts as alive without a sign of life.
        clears: how often a person has cleared Airflow's run up to now. What an auto-approval keeps back is sent again
            once it was cleared after that was said.
        fresh: how old another's reading may be to serve in place of this one's own, where settling what it has shown
            takes no more single reads than the list has pages; None: the list is read.

    Raises:
        PlanUnknown: the ledger has no such plan.
        WrongAccount: the run belongs to another account.
        PlatformUnavailable, ReplyUnreadable, CallRefused: the platform's list could not be read.
    """
    account = sender.client.settings.account
    await sender.runtime.ledger_call(lambda: assert_account(sender.ledger, plan, account))
    wait = await _look(sender, plan, lease)
    looks, watched = 0, None
    while (
        held_up := wait.undecided + wait.decided + wait.in_doubt > 0 and not await _is_read(sender, wait, fresh)
    ) and looks < TURN_LOOKS:
        if (watched := await _watch_if_free(sender, reader)) is not None:
            held_up = False
            break
        looks += 1
        await sender.runtime.sleep(_TURN_LOOK_S)
        wait = await _look(sender, plan, lease)
    tried = watched.read_singly if watched else frozenset[int]()
    most = _SINGLY if held_up else SINGLE_READS - len(tried)
    held_up |= (await settle_decided(sender, plan, most=most, tried=tried)).untried > 0
    if (await _look(sender, plan, lease)).doubt_due:
        try:
            await _resolve(sender, plan, clears=clears)
        except (
            SubmittingOff,
            ServerChanged,
            EverythingRefused,
            CallRefused,
            PlatformUnavailable,
            ReplyUnreadable,
        ) as error:
            _LOG.error("requests in doubt stay in doubt: %s", error)
    return Advanced(await _look(sender, plan, lease), held_up)


async def _resolve(sender: Sender, plan: PlanId, *, clears: int) -> None:
    def knows() -> int:
        with sender.ledger.read() as tx:
            return told(tx, open_plan(tx, plan), clears=clears)

    def note() -> None:
        with sender.ledger.write() as tx:
            note_told(tx, open_plan(tx, plan), sender.client.settings.account, clears=clears)

    resolved = await resolve_doubt(sender, told=await sender.runtime.ledger_call(knows))
    if resolved.kept_back:
        await sender.runtime.ledger_call(note)
        _LOG.error(
            "%s not sent again, because the platform approves without a human. %s, then clear this task: it sends what "
            "is missing",
            counted(resolved.kept_back, "request", "in doubt is", "in doubt are"),
            SWITCH_OFF,
        )


async def take_turn_and_watch(sender: Sender, *, reader: str) -> Watched | None:
    """Read the list and settle; None where another reader kept it for so long that this one went on without.

    Raises:
        PlatformUnavailable, ReplyUnreadable, CallRefused: the platform's list could not be read.
    """
    for _ in range(TURN_LOOKS):
        if (watched := await _watch_if_free(sender, reader)) is not None:
            return watched
        await sender.runtime.sleep(_TURN_LOOK_S)
    return None


@dataclass(frozen=True, slots=True)
class SettledSingly:
    """What single reads of a run's decided requests brought.

    Attributes:
        read: requests that were read.
        settled: of these.
        untried: requests that were more than were to be read.
    """

    read: int
    settled: int
    untried: int


async def settle_decided(
    sender: Sender, plan: PlanId, *, most: int, tried: frozenset[int] = frozenset()
) -> SettledSingly:
    """Settle the run's decided requests by single reads, at most so many, without those that were tried just now."""

    def decided() -> list[int]:
        with sender.ledger.read() as tx:
            return [each for each in decided_requests(tx, open_plan(tx, plan)) if each not in tried]

    left = await sender.runtime.ledger_call(decided)
    # By lot, so that none waits forever behind those that no single read settles.
    chosen = left if len(left) <= most else sorted(sender.runtime.random.sample(left, max(most, 0)))
    settled = await settle_by_reading(sender.ledger, sender.client, sender.runtime, chosen)
    return SettledSingly(len(chosen), settled, len(left) - len(chosen))


async def _is_read(sender: Sender, wait: RunWait, fresh: timedelta | None) -> bool:
    """Return whether the list was read of late by this very user, and shows little that is left to settle."""
    if fresh is None:
        return False
    settings = sender.client.settings

    def look() -> bool:
        with sender.ledger.read() as tx:
            reading = scans.whole_reading(tx, settings.account, settings.sender, within=fresh)
            return reading is not None and wait.decided <= reading.pages

    return await sender.runtime.ledger_call(look)


async def _watch_if_free(sender: Sender, reader: str) -> Watched | None:
    return await watch_in_turn(
        sender.ledger, sender.client, sender.runtime, reader=reader, older_than=timedelta(0), settle=True
    )


async def _look(sender: Sender, plan: PlanId, lease: timedelta) -> RunWait:
    def look() -> RunWait:
        with sender.ledger.write() as tx:
            badge_run_id = open_plan(tx, plan)
            keep_alive(tx, badge_run_id, lease=lease)
            return run_wait(tx, badge_run_id)

    return await sender.runtime.ledger_call(look)
