"""One reading of the list for the whole account: what it shows of our requests is recorded, and settled.

Whoever waits for any request of the account reads for all; readers take turns (`capillary.ledger.scans`), so
that there is one poll whatever the number of runs. What the list does not show is read one by one: what it should
have shown, what a human left waiting for so long that reading the list from there would cost more calls, and what is
decided and would leave a customer unconfirmed by the list's word alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from capillary.api.client import Client
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import REQUEST_TYPE, WorkflowRequest, created_at_of
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.absence import doubt_after
from capillary.engine.lean_list import look_behind
from capillary.engine.list_controls import hidden_ones
from capillary.engine.platform_list import LOOK_BACK, ListRead, read_days, read_every_type
from capillary.engine.runtime import Runtime
from capillary.engine.settle import SINGLE_READS, settle_by_reading, settle_rows
from capillary.engine.sightings import Recorded, record_rows
from capillary.engine.single_read import SingleReads
from capillary.engine.states_in_doubt import tell
from capillary.engine.unreadable_rows import read_damaged
from capillary.ledger import scans
from capillary.ledger.conditions import LATE_TWIN
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.history import history
from capillary.ledger.opening import DATABASE_ERRORS
from capillary.ledger.sends import first_watched, last_sent, sent_between
from capillary.ledger.sightings import decided_beside, undecided_sightings

#: Most requests that one reading looks up because their human has forgotten them, and the list begins later.
FORGOTTEN_READS: Final = 50
#: How far back an account without any request and without its first reading is searched for requests of ours.
_FIRST_LOOK: Final = timedelta(days=30)

_LOG: Final = logging.getLogger("capillary.watch")


@dataclass(frozen=True, slots=True)
class Watched:
    """What a reading of the list brought.

    Attributes:
        read: how the reading went.
        settled: requests settled from what was read.
        read_singly: the ledger's ids of decided requests that single reads were asked for, settled or not.
        unknown_key: a key of ours that the ledger does not know.
        missed: requests that the list should have shown, and that no single read says are gone.
        refused_before: the platform refuses to list the days before this one; None: all days were listed.
        reaches_back: what was listed begins before everything of ours that this ledger may not know.
    """

    read: ListRead
    settled: int
    read_singly: frozenset[int]
    unknown_key: str | None
    missed: int
    refused_before: date | None
    reaches_back: bool


async def watch_in_turn(
    ledger: Ledger, client: Client, runtime: Runtime, *, reader: str, older_than: timedelta, settle: bool
) -> Watched | None:
    """Do what `watch` does if it is this reader's turn; None if another one is at it, or was of late.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time and threads.
        reader: who reads, unlike any other reader; at most 200 characters.
        older_than: how long ago the last reading must have begun.
        settle: whether to settle what the rows decide; a trigger leaves that to a worker.

    Raises:
        What `watch` raises, and what the ledger's database raises: the turn is given back then, if that answers.
    """
    account = client.settings.account

    def take_turn() -> bool:
        with ledger.write() as tx:
            return scans.lease(tx, account, by=reader, older_than=older_than)

    def give_back() -> None:
        with ledger.write() as tx:
            scans.finish(tx, account, by=reader)

    try:
        if not await runtime.ledger_call(take_turn):
            return None
    except DATABASE_ERRORS:
        # The commit may stand though its reply was lost. A turn that its reader does not know of would keep everybody
        # from reading until its lease is over, the next try of this very task among them.
        with suppress(*DATABASE_ERRORS):
            await runtime.ledger_call(give_back)
        raise
    try:
        return await watch(ledger, client, runtime, settle=settle, settle_singly=settle, reader=reader)
    finally:
        await runtime.ledger_call(give_back)


async def watch(
    ledger: Ledger,
    client: Client,
    runtime: Runtime,
    *,
    settle: bool = True,
    settle_singly: bool = False,
    reader: str | None = None,
    before_sending: bool = False,
) -> Watched:
    """Read the list from the oldest open request on, record every sighting, settle what is decided.

    Where the platform refuses to list the oldest days, the others are read, and what is open from before is read
    singly.

    Args:
        ledger: the ledger.
        client: the platform; the ledger's account is its.
        runtime: time and threads.
        settle: whether to settle what the rows decide.
        settle_singly: whether to read decided requests singly that the rows do not settle, `SINGLE_READS` at most.
        reader: renews this reader's turn while it reads.
        before_sending: read requests of every type, since a filter may hide some; look behind rows that show neither
            key nor customers, too, since this ledger may have forgotten them; and whether the list shows what else this
            user sent at the time.

    Raises:
        PlatformUnavailable, ReplyUnreadable, CallRefused: the list could not be read.
    """
    settings = client.settings
    account = settings.account
    begun, since, known_until = await runtime.ledger_call(
        lambda: _begin(ledger, settings, before_sending=before_sending)
    )
    reading = _Reading(ledger, settings, runtime.random, settle=settle, reader=reader)

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        if before_sending:
            shown = await look_behind(ledger, client, runtime, rows, since=known_until, without_key=True)
        else:
            shown = await read_damaged(client, rows)
        await runtime.ledger_call(lambda: reading.take(shown))

    today = cluster_day(begun, settings)
    if before_sending:
        # From before the first of the controls, since the list may leave out the day that it is asked for.
        first_day = cluster_day(min(since, known_until - LOOK_BACK), settings) - LOOK_BACK
        days = await read_every_type(client, since=first_day, today=today, on_page=on_page)
    else:
        first_day = cluster_day(since, settings) - LOOK_BACK
        days = await read_days(client, since=first_day, today=today, request_type=REQUEST_TYPE, on_page=on_page)
    await runtime.ledger_call(lambda: note_clocks(ledger, client))
    read = days.read
    unseen = await runtime.ledger_call(lambda: _unseen(ledger, settings, begun, since, reading.seen, runtime))
    shown_singly, unknown = await _read_unseen(client, runtime, reading, unseen)
    missed = sum(
        sent_at is not None and sent_at >= since and days.shows(cluster_day(sent_at, settings))
        for platform_request_id, sent_at in unseen
        if platform_request_id in shown_singly
    )
    if before_sending:
        # The neighbours of what this ledger may have forgotten.
        known = known_until - LOOK_BACK
        seen = reading.seen | shown_singly
        missed += await hidden_ones(ledger, client, runtime, begun=begun, since=known, shown=seen)
    left = reading.left if settle_singly else {}
    beside = await runtime.ledger_call(lambda: _decided_beside(ledger, unknown)) if settle_singly and unknown else ()
    reading.settled += await settle_by_reading(ledger, client, runtime, sorted({*left, *beside}), listed=left)
    if missed and read.to_the_end:
        await runtime.ledger_call(lambda: _distrust(ledger, account))
        _LOG.error(
            "%s of ours may exist but %s missing from the list of %s; the list is not trusted for 24 h",
            counted(missed, "request"),
            "is" if missed == 1 else "are",
            account,
        )
    if reading.unknown_key is not None:
        unknown_key = on_one_line(reading.unknown_key)
        _LOG.error("the platform holds %s, which this ledger does not know: submitting stops", unknown_key)
    _LOG.info(
        "list read: %s, %s, %d new, %d settled, %d read singly",
        counted(read.pages, "page"),
        counted(read.rows, "row"),
        reading.new,
        reading.settled,
        len(shown_singly) + len(left),
    )
    tell(account, reading.states.values())
    if not read.to_the_end:
        _LOG.warning(
            "the list of %s was not read to its end (%s, %s); requests that it does not show are not taken as missing",
            account,
            counted(read.pages, "page"),
            counted(read.rows, "row"),
        )
    reaches_back = days.shows(cluster_day(known_until, settings))
    if read.to_the_end and reaches_back and not missed:
        await runtime.ledger_call(lambda: _note_whole(ledger, settings, begun, read.pages))
    return Watched(
        read,
        reading.settled,
        frozenset(left),
        reading.unknown_key,
        missed,
        refused_before=days.since if days.refused else None,
        reaches_back=reaches_back,
    )


class _Reading:
    """What one reading has seen so far.

    `left`: rows of requests that are decided and that the list does not settle, `SINGLE_READS` at most.
    """

    def __init__(
        self, ledger: Ledger, settings: PlatformSettings, random: Random, *, settle: bool, reader: str | None
    ) -> None:
        self._ledger = ledger
        self._account = settings.account
        self._sender = settings.sender
        self._random = random
        self._settle = settle
        self._reader = reader
        self.seen = set[str]()
        self.states = dict[str, str]()
        self.new = 0
        self.settled = 0
        self.left: dict[int, WorkflowRequest] = {}
        self._met = 0
        self.unknown_key: str | None = None

    def take(self, rows: tuple[WorkflowRequest, ...], *, read_singly: bool = False) -> None:
        """Record one page, or one single read."""
        with self._ledger.write() as tx:
            recorded: Recorded = record_rows(tx, self._account, self._sender, rows)
            if self._reader is not None:
                scans.renew(tx, self._account, by=self._reader)
        self.seen.update(row.platform_request_id for row in rows)
        self.states.update((row.platform_request_id, row.state) for row in recorded.ours)
        self.new += recorded.new
        self.unknown_key = recorded.unknown_key or self.unknown_key
        if not self._settle:
            return
        from_rows = settle_rows(self._ledger, recorded.rows, read_singly=read_singly)
        self.settled += from_rows.settled
        if not read_singly:
            self._keep(from_rows.left)

    def _keep(self, left: Mapping[int, WorkflowRequest]) -> None:
        # By lot where they are too many, so that none waits forever behind those that no single read settles.
        for request_id, row in left.items():
            self._met += 1
            if len(self.left) >= SINGLE_READS and request_id not in self.left:
                place = self._random.randrange(self._met)
                if place >= SINGLE_READS:
                    continue
                del self.left[list(self.left)[place]]
            self.left[request_id] = row


async def _read_unseen(
    client: Client, runtime: Runtime, reading: _Reading, unseen: Iterable[tuple[str, datetime | None]]
) -> tuple[set[str], set[str]]:
    """Record what single reads show of what the list does not; return which they show, and which are unknown."""
    shown = set[str]()
    reads = SingleReads(client)
    for platform_request_id, _ in unseen:
        row = await reads.shown(platform_request_id)
        if row is not None:
            shown.add(platform_request_id)
            await runtime.ledger_call(lambda r=row: reading.take((r,), read_singly=True))  # type: ignore[misc]
    return shown, reads.unknown


def _decided_beside(ledger: Ledger, unknown: set[str]) -> tuple[int, ...]:
    """Return the requests of which the platform has decided another sighting than those that it does not know."""
    with ledger.read() as tx:
        return decided_beside(tx, unknown)


def note_clocks(ledger: Ledger, client: Client) -> None:
    """Hold the platform's clock against the ledger's at the end of a reading."""
    account = client.settings.account
    with ledger.write() as tx:
        has_jumped = scans.note_clocks(tx, account, client.platform_now())
    if has_jumped:
        _LOG.warning(
            "the clock of the ledger or of %s was changed; no request is judged absent in the next %d minutes",
            account,
            -(-doubt_after(client.settings) // timedelta(minutes=1)),
        )


def cluster_day(moment: datetime, settings: PlatformSettings) -> date:
    """Return the day of the cluster's time zone."""
    return moment.astimezone(ZoneInfo(settings.cluster_timezone)).date()


def _begin(ledger: Ledger, settings: PlatformSettings, *, before_sending: bool) -> tuple[datetime, datetime, datetime]:
    """Return now, the first send from which on the list is read, and until when this ledger knew all of this user's.

    It knew what this user sent before its newest request, and what stood on the list at its first reading: what a
    restored ledger has forgotten was sent later than either. Another user's requests say nothing of that, and are
    enough only where nothing is sent.
    """
    with ledger.read() as tx:
        oldest = first_watched(tx, settings.account)
        known = [
            _newest_send(tx, settings.account, settings.sender),
            history(tx, settings.account, settings.sender).read_at,
        ]
        # What lies ahead is from before the clock was set back.
        behind = [moment for moment in known if moment is not None and moment <= tx.now]
        known_until = max(behind, default=tx.now - _FIRST_LOOK)
        of_anybody = _newest_send(tx, settings.account, None)
        needed = known_until if before_sending else max(known_until, of_anybody or known_until)
        since = min(oldest or needed, needed)
        if since < tx.now - LATE_TWIN and oldest is not None:
            since = _past_the_forgotten(tx, settings, since, needed)
        return tx.now, min(since, tx.now), known_until


def _newest_send(tx: Transaction, account: str, sender: str | None) -> datetime | None:
    """Return when this credential user, or anybody, last sent; None where it is not known.

    By the earlier of two clocks, the ledger's and the platform's, which made the ids: the ledger's may have been ahead
    then, and what a restored one has forgotten would lie before what it takes for its newest request.
    """
    moments = []
    for sent in last_sent(tx, account, sender):
        made_at = (created_at_of(each) for each in sent.platform_request_ids)
        moments.append(min([sent.first_sent_at, *(moment for moment in made_at if moment is not None)]))
    return max((moment for moment in moments if moment <= tx.now), default=None)


def _past_the_forgotten(tx: Transaction, settings: PlatformSettings, since: datetime, needed: datetime) -> datetime:
    """Return the first send of what is not forgotten, where reading the forgotten requests singly takes fewer calls.

    One request that nobody decides would otherwise have every reading begin at its day, forever. Of many forgotten
    ones a reading looks up some.
    """
    later = min(first_watched(tx, settings.account, with_forgotten=False) or needed, needed)
    saved = sent_between(tx, settings.account, since, later)
    return later if saved.requests > min(saved.forgotten, FORGOTTEN_READS) * settings.page_size else since


def _unseen(
    ledger: Ledger, settings: PlatformSettings, begun: datetime, since: datetime, seen: set[str], runtime: Runtime
) -> list[tuple[str, datetime | None]]:
    """Return undecided requests that were on the platform long before the reading and are not in it.

    Each with the first send of its request; None where this ledger has found it and not sent it. Of too many these are
    some, by lot, so that none waits forever behind those that stay undecided.
    """
    long_there = begun - timedelta(seconds=settings.visibility_lag_s)
    with ledger.read() as tx:
        expected = undecided_sightings(tx, settings.account, seen_before=long_there)
    unseen = [each for each in expected if each[0] not in seen]
    older = [each for each in unseen if each[1] is not None and each[1] < since]
    missed = [each for each in unseen if each[1] is None or each[1] >= since]
    return [
        *(older if len(older) <= FORGOTTEN_READS else runtime.random.sample(older, FORGOTTEN_READS)),
        *(missed if len(missed) <= SINGLE_READS else runtime.random.sample(missed, SINGLE_READS)),
    ]


def _note_whole(ledger: Ledger, settings: PlatformSettings, begun: datetime, pages: int) -> None:
    with ledger.write() as tx:
        scans.note_whole(tx, settings.account, sender=settings.sender, begun_at=begun, pages=pages)


def _distrust(ledger: Ledger, account: str) -> None:
    with ledger.write() as tx:
        scans.distrust(tx, account)
