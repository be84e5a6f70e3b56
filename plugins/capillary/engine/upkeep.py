"""Whatever has no living run: give back what was never sent, find, settle, resolve. One account at a time."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import HistoryUnread, ServerChanged, SubmittingOff
from capillary.engine.history import read_history
from capillary.engine.send import Sender
from capillary.engine.settle import SINGLE_READS
from capillary.engine.wait import settle_decided, take_turn_and_watch
from capillary.ledger.database import Ledger
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.plan_id import PlanId
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.runs import dead_open_runs, open_runs

_LOG: Final = logging.getLogger("capillary.upkeep")


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done for an account.

    Attributes:
        settled: requests.
        still_in_doubt: requests whose doubt could not be resolved yet.
    """

    settled: int
    still_in_doubt: int


def give_back_unsent(ledger: Ledger, account: str) -> int:
    """Give back what dead runs of an account have not sent, and return how many customers; it needs no connection."""
    with ledger.write() as tx:
        return discard_unsent(tx, badge_run_ids=dead_open_runs(tx, account))


async def keep_account(sender: Sender, *, reader: str) -> Kept:
    """Bring everything open of the client's account forward.

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
    still_in_doubt = 0
    try:
        # Nothing is sent again before the account's list was read: where no run submits, nobody else would do it.
        await read_history(sender.ledger, sender.client, sender.runtime, alive=lambda _: None)
        still_in_doubt = (await resolve_doubt(sender)).still_in_doubt
    except (SubmittingOff, HistoryUnread, ServerChanged) as error:
        _LOG.warning("requests in doubt stay in doubt: %s", error)
    return Kept(settled, still_in_doubt)
