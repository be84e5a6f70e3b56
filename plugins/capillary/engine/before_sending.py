"""The reading before sending: what an earlier try left in doubt stands on the list, and what a ledger forgot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from capillary.counted import counted
from capillary.engine.doubt import Resolved, resolve_doubt
from capillary.engine.errors import HistoryUnread, ListCutShort
from capillary.engine.history import read_history
from capillary.engine.send import Sender
from capillary.engine.unreadable_rows import is_through, way_out
from capillary.engine.watch import watch
from capillary.ledger import request_rows, scans, server
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.history import history, read_again
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.runs import planned_requests
from capillary.ledger.stops import assert_run_not_stopped
from capillary.ledger.unknown_keys import drop_known, unknown_keys

#: Readings of the list before sending, until one of them came to its end: pages may shift under a reader.
LIST_READINGS: Final = 3
#: Of a submission that has read no list: before any change.
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the look before sending brought.

    Attributes:
        resolved: what became of requests in doubt.
        list_read_at: when the reading of the list began, by the ledger's clock.
    """

    resolved: Resolved
    list_read_at: datetime


async def look_first(
    sender: Sender, plan: PlanId, *, lease: timedelta, stop_on_auto_approval: bool, told: int, fresh: timedelta | None
) -> Looked:
    """Find what an earlier try left in doubt, and what this ledger forgot; nothing is read where nothing is planned.

    Args:
        sender: sends what is confirmed absent once more.
        plan: the run's plan.
        lease: how long the run counts as alive without a sign of life.
        stop_on_auto_approval: as `resolve_doubt` takes it.
        told: likewise.
        fresh: how old a reading by another reader may be to serve in place of one of this task's own; None: it reads.

    Raises:
        HistoryUnread, ListCutShort: the list does not show all that this ledger may have forgotten.
        Stopped, PlanUnknown, and what `read_history`, `watch` and `resolve_doubt` raise.
    """

    def anything_planned() -> bool:
        with sender.ledger.write() as tx:
            opened = open_plan(tx, plan)
            if not planned_requests(tx, opened, 1):
                return False  # also under a stop: what was sent is waited for as ever
            assert_run_not_stopped(tx, opened)
            return True

    def alive(tx: Transaction) -> None:
        opened = open_plan(tx, plan)
        assert_run_not_stopped(tx, opened)
        request_rows.keep_alive(tx, opened, lease=lease)

    if not await sender.runtime.ledger_call(anything_planned):
        return Looked(Resolved(), _NEVER)
    await sender.runtime.ledger_call(lambda: _doubt_the_unknown_keys(sender))
    await read_history(sender.ledger, sender.client, sender.runtime, alive=alive)
    read_at = await sender.runtime.ledger_call(lambda: _read_by_another(sender, fresh))
    if read_at is None:
        read_at = await sender.runtime.ledger_call(lambda: _now(sender.ledger))
        await _read_to_the_end(sender)
    resolved = await resolve_doubt(sender, stop_on_auto_approval=stop_on_auto_approval, told=told, more_follow=True)
    return Looked(resolved, read_at)


def _now(ledger: Ledger) -> datetime:
    with ledger.read() as tx:
        return tx.now


def _read_by_another(sender: Sender, fresh: timedelta | None) -> datetime | None:
    """Return when a reading began that serves as well as one of this task's own would; None where there is none.

    What it has shown is recorded, whoever read. Only what this ledger has forgotten since would be missing: so it
    serves alone where the ledger's server tells of a restore, and then by when it began.
    """
    if fresh is None:
        return None
    settings = sender.client.settings
    with sender.ledger.read() as tx:
        if not server.tells(tx):
            return None
        reading = scans.whole_reading(tx, settings.account, settings.sender, within=fresh)
        return None if reading is None else reading.begun_at


def _doubt_the_unknown_keys(sender: Sender) -> None:
    """Have the whole list read again where a key that this user was shown stops the account: it may be rejected now.

    Of a key that another user was shown this user's reading says nothing: it stays, unless the ledger knows it now.
    """
    account, user = sender.client.settings.account, sender.client.settings.sender
    with sender.ledger.write() as tx:
        drop_known(tx, account)
        is_stopped = any(unknown.sender == user for unknown in unknown_keys(tx, account))
        if is_stopped and history(tx, account, user).read_at is not None:
            read_again(tx, account, user)


async def _read_to_the_end(sender: Sender) -> None:
    misses = 0
    for _ in range(LIST_READINGS):
        watched = await watch(sender.ledger, sender.client, sender.runtime, before_sending=True)
        if not watched.reaches_back and watched.refused_before is None:
            raise ListCutShort(
                "the platform does not answer when asked for the days that this ledger does not know, but answers "
                "for the newest days. Nothing is sent, because there may be requests that this ledger does not know. "
                "Retry later; if this happens again, ask the platform's support to list these days, or say from "
                "which day on there can be requests: python -m capillary ledger import --dags <folder> --since <day>"
            )
        if not watched.reaches_back:
            raise HistoryUnread(
                f"the platform refuses to list its requests before {watched.refused_before} to this user, and there "
                "may be requests that this ledger does not know, so nothing is sent. Ask the platform's support to "
                "list these days and clear the run from its planning task on, or say from which day on there can be "
                "requests: python -m capillary ledger import --dags <folder> --since <day>"
            )
        read = watched.read
        if watched.missed:  # what this ledger forgot may be hidden, too
            misses = watched.missed
            continue
        if await is_through(sender.ledger, sender.runtime, sender.client.settings.account, read):
            return
    if misses:
        raise ListCutShort(
            f"the platform's list does not show {counted(misses, 'request')} of ours that a single read shows or "
            "refuses to show, so nothing is sent: requests that this ledger does not know may be hidden, too. Retry "
            "later: a list that lags for longer than visibility_lag_s catches up. If this happens again, ask the "
            "platform's support which requests are missing from this user's list. Two days after a python -m "
            "capillary ledger import --dags <folder> "
            "--since <day> the list need not show what was sent before that import"
        )
    raise ListCutShort(
        f"the platform's list of requests was read {LIST_READINGS} times and never to its end (last time "
        f"{counted(read.pages, 'page')}, {counted(read.rows, 'row')}), so nothing is sent: the part that was not "
        "shown may hold requests that this ledger does not know. Retry later; if this happens again, check page_base "
        "and page_size of the "
        f"platform's connection{way_out(read)}. "
        "If it shows rows twice at every reading, python -m capillary ledger import --dags <folder> --since <day> "
        "learns what it holds of ours"
    )
