"""Whatever has no living run: find, settle, give back what was never sent, resolve doubt. One account at a time.

What a dead run has planned and never sent is given back after a reading of the platform's list, not before. The
ledger alone says that it was never sent, and a ledger that was restored to before the send says so, too: then the
reading finds the requests, and they wait for their checker as they did. Given back first, they would be keys that
nobody knows, and the account would send nothing before a person has imported them.

Where no connection leads to the account any more, its list cannot be read. Then what dead runs have planned is given
back unread if the ledger holds nothing else of the account: that is what a mistaken address leaves behind, and the
organisation's plans are refused until it is gone. An account with any other request was in use: giving back would set
no address free, so it waits for the connection, and the upkeep fails until a person acts. A ledger that was restored
to before the account's very first send looks like the mistaken address, so the log says which runs were given back
without a look. Nobody is sent twice by that: a new plan's `submit` reads the list first, and stops at unknown keys.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from capillary.counted import counted
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import HistoryUnread, ServerChanged, SubmittingOff
from capillary.engine.history import read_history
from capillary.engine.send import Sender
from capillary.engine.settle import SINGLE_READS
from capillary.engine.wait import settle_decided, take_turn_and_watch
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerBroken, PlanUnknown
from capillary.ledger.plan_id import PlanId
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.runs import UnsentRun, holds_only_unsent, open_runs, unsent_of_dead_runs

_LOG: Final = logging.getLogger("capillary.upkeep")


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done for an account.

    Attributes:
        settled: requests.
        still_in_doubt: requests whose doubt could not be resolved yet.
        broken: why runs could not give back what they had not sent.
    """

    settled: int
    still_in_doubt: int
    broken: tuple[LedgerBroken, ...] = ()


def give_back_unread(ledger: Ledger, account: str) -> tuple[LedgerBroken, ...] | None:
    """Give back what dead runs of an account have never sent, though no connection leads to it any more.

    Returns:
        Why runs could not give back; None where the ledger holds more of the account, and nothing was given back.
    """
    with ledger.read() as tx:
        if not holds_only_unsent(tx, account):
            return None
    return _give_back(
        ledger,
        account,
        lambda each: _LOG.warning(
            "%s: %s; given back without a look at the platform, since no connection leads to this account any more and "
            "the ledger holds nothing else of it. If the ledger was restored to an earlier moment, the platform may "
            "hold requests of this run: submitting will find them and stop",
            account,
            _said(each),
        ),
    )


def say_unsent(ledger: Ledger, account: str) -> None:
    """Say in the log what dead runs of an account keep planned, since the platform's list could not be read."""
    with ledger.read() as tx:
        unsent = unsent_of_dead_runs(tx, account)
    for each in unsent:
        _LOG.error(
            "%s: %s; not given back, since the platform's list could not be read, and a ledger that was restored may "
            "have forgotten that they were sent. badge_upkeep gives them back once it has read the list. If the "
            "account is gone for good, clear the run's task report, which gives back without a look",
            account,
            _said(each),
        )


async def keep_account(sender: Sender, *, reader: str) -> Kept:
    """Bring everything open of the client's account forward, and give back what dead runs have never sent.

    Raises:
        What reads of the platform raise, and what sending again raises, the switch apart.
    """
    account = sender.client.settings.account

    def still_open() -> tuple[PlanId, ...]:
        with sender.ledger.read() as tx:
            return open_runs(tx, account)

    watched = await take_turn_and_watch(sender, reader=reader)
    settled = watched.settled if watched else 0
    tried = watched.read_singly if watched else frozenset[int]()
    left = SINGLE_READS - len(tried)
    for plan in await sender.runtime.ledger_call(still_open) if watched else ():
        # A run that plans again in the meantime has nothing that was sent.
        with suppress(PlanUnknown):
            singly = await settle_decided(sender, plan, most=left, tried=tried)
            settled += singly.settled
            left -= singly.read
    still_in_doubt, has_history = 0, True
    try:
        # Nothing is sent again before the account's list was read: where no run submits, nobody else would do it.
        await read_history(sender.ledger, sender.client, sender.runtime, alive=lambda _: None)
    except HistoryUnread as error:
        has_history = False
        _LOG.warning("requests in doubt stay in doubt: %s", error)
    is_whole = watched is not None and watched.read.to_the_end and watched.reaches_back and not watched.missed
    broken = await sender.runtime.ledger_call(lambda: _give_back_read(sender.ledger, account, is_whole=is_whole))
    try:
        still_in_doubt = (await resolve_doubt(sender)).still_in_doubt if has_history else 0
    except (SubmittingOff, HistoryUnread, ServerChanged) as error:
        _LOG.warning("requests in doubt stay in doubt: %s", error)
    return Kept(settled, still_in_doubt, broken)


def _give_back_read(ledger: Ledger, account: str, *, is_whole: bool) -> tuple[LedgerBroken, ...]:
    """Give back what a reading has not shown, if it was whole; say so of each run, and of each where it was not."""
    if is_whole:
        return _give_back(
            ledger,
            account,
            lambda each: _LOG.info(
                "%s: %s; given back, since the platform's list shows none of it", account, _said(each)
            ),
        )
    with ledger.read() as tx:
        unsent = unsent_of_dead_runs(tx, account)
    for each in unsent:
        _LOG.info(
            "%s: %s; not given back now, since the platform's list was not read to its end: the next badge_upkeep "
            "looks again",
            account,
            _said(each),
        )
    return ()


def _give_back(ledger: Ledger, account: str, said: Callable[[UnsentRun], None]) -> tuple[LedgerBroken, ...]:
    """Give back run by run, so that a broken one keeps no other from it; return what was wrong with those."""
    with ledger.read() as tx:
        dead = unsent_of_dead_runs(tx, account)
    broken = []
    for run in dead:
        try:
            with ledger.write() as tx:
                # Somebody may have cleared its tasks in the meantime.
                given_back = unsent_of_dead_runs(tx, account, run.badge_run_id)
                discard_unsent(tx, badge_run_ids=[each.badge_run_id for each in given_back])
        except LedgerBroken as error:
            broken.append(error)
            continue
        for each in given_back:
            said(each)
    return tuple(broken)


def _said(run: UnsentRun) -> str:
    return (
        f"run {run.run_id} of DAG {run.dag_id}, which counts as dead since {run.dead_since:%Y-%m-%d %H:%M} UTC, has "
        f"{counted(run.customers, 'customer')} planned and never sent"
    )
