"""An account's first reading: the platform's whole list, before a ledger that has never seen it sends anything.

A ledger that was lost and made again knows nothing of what stands on the platform, and would ask for everybody a
second time. So each credential user reads the list once as far back as it goes: what one is shown says nothing of
what another would be. It is read in parts of few days, and each part is written down: a reading that is killed goes on
where it was. A range that the platform refuses is halved down to single days, and what stays refused is named and holds
everything back until a person has looked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.request_workflow import REQUEST_TYPE, Page, WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.errors import HistoryUnread, ListCutShort
from capillary.engine.lean_list import look_behind
from capillary.engine.platform_list import first_page, read_list, total_since
from capillary.engine.runtime import Runtime
from capillary.engine.sightings import record_rows
from capillary.engine.unreadable_rows import is_through, way_out
from capillary.engine.watch import cluster_day
from capillary.ledger import history, scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.history import Days

#: Most days that are asked for at once. A platform may answer a longer range with the part that it takes, and say
#: nothing of the rest: five years would then count as read after one call.
DAYS_AT_ONCE: Final = 30
#: A range of more pages is read in parts, so that a killed reading repeats little. A single day is never cut.
PAGES_AT_ONCE: Final = 20
#: Readings of one range until one of them came to its end: pages may shift under a reader.
READINGS: Final = 3
#: Failures in a row, none of them after a step forward, that end the reading until the task's retry.
FRUITLESS: Final = 5
_PAUSE_S: Final = 60.0
_TURN_LOOK_S: Final = 5.0
_DAY: Final = timedelta(days=1)
#: Rows so long after the last day asked for hint that the platform does not look at that day: two time zones, the
#: day that is asked for besides, and a clock that is off fit in it.
_BEYOND: Final = timedelta(days=4)

_LOG: Final = logging.getLogger("capillary.history")

SignOfLife = Callable[[Transaction], None]


async def read_history(ledger: Ledger, client: Client, runtime: Runtime, *, alive: SignOfLife) -> None:
    """Read the account's list from its first day that matters to today; come back when that is done.

    Does nothing where this credential user has done it. Where another task reads, it is waited for. While the reading
    gets on, failures of the platform are waited out; after `FRUITLESS` in a row without a step forward the last one is
    raised.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time, chance and threads.
        alive: called in each transaction while this waits or reads: the caller's sign of life.

    Raises:
        HistoryUnread: the platform refuses to list some days.
        CallRefused: the platform refuses the list as a whole.
        PlatformUnavailable, ReplyUnreadable, ListCutShort: the reading does not get on.
    """
    if await runtime.ledger_call(lambda: _is_read(ledger, client.settings)):
        return
    reader = f"first reading {runtime.random.getrandbits(48):012x}"
    reading = _Reading(ledger, client, runtime, reader, alive)
    fruitless = 0
    while not await runtime.ledger_call(lambda: _is_read(ledger, client.settings)):
        if not await runtime.ledger_call(reading.take_turn):
            await runtime.sleep(_TURN_LOOK_S)
            continue
        steps = reading.steps
        try:
            await reading.go_on()
        except (PlatformUnavailable, ReplyUnreadable, ListCutShort) as error:
            fruitless = fruitless + 1 if reading.steps == steps else 0
            if fruitless >= FRUITLESS:
                raise
            failure = error
        else:
            continue
        finally:
            await runtime.ledger_call(reading.give_back)
        _LOG.warning("the first reading of the list continues later: %s", failure)
        await runtime.sleep(getattr(failure, "retry_after_s", None) or _PAUSE_S)


@dataclass(frozen=True, slots=True)
class _Done:
    """Days that are read to their end, or that the platform refuses to list."""

    days: Days
    refused: bool


@dataclass(slots=True)
class _Reading:
    """One task's part in the reading.

    Attributes:
        reader: who reads, as the account's turn knows it.
        steps: ranges that this task has read or named.
        has_turn: it is this reader's turn.
        seen: platform request ids that this task's part of the reading has shown.
    """

    ledger: Ledger
    client: Client
    runtime: Runtime
    reader: str
    alive: SignOfLife
    steps: int = 0
    has_turn: bool = False
    seen: set[str] = field(default_factory=set)

    @property
    def account(self) -> str:
        """The account that is read."""
        return self.client.settings.account

    @property
    def sender(self) -> str:
        """The credential user that reads."""
        return self.client.settings.sender

    def take_turn(self) -> bool:
        """Take the turn of the account's readers, unless another one has it."""
        with self.ledger.write() as tx:
            self.alive(tx)
            self.has_turn = scans.lease(tx, self.account, by=self.reader, older_than=timedelta(0))
        return self.has_turn

    def give_back(self) -> None:
        """Give the turn back, unless the end of the reading has done so."""
        if not self.has_turn:
            return
        with self.ledger.write() as tx:
            scans.finish(tx, self.account, by=self.reader)

    async def go_on(self) -> None:
        """Read from where the reading stands to today.

        Raises:
            HistoryUnread: days stayed unread.
        """
        next_day, today = await self.runtime.ledger_call(self._begin)
        ends = [today]
        while next_day <= today:
            days = Days(next_day, ends[-1])
            done = await self._look_at(days, today)
            if done is None:
                ends.append(days.halves()[0].last)
                continue
            if not await self._step(done):
                return  # somebody has begun the reading again
            next_day = done.days.last + _DAY
            ends = [end for end in ends if end >= next_day]
        await self._read_what_last_days_hid(today)
        found = await self.runtime.ledger_call(lambda: self._finish(today))
        if found.unread is not None:
            raise HistoryUnread(
                f"the platform refuses to list its requests of {found.unread} to this user, and this ledger, which "
                "had never seen the account, may have forgotten requests of these days, so nothing is sent. Ask the "
                "platform's support to list these days and clear the run from its planning task on, or say from which "
                "day on there can be requests: python -m capillary ledger import --dags <folder> --since <day>"
            )
        _LOG.info("the first reading of %s is done, from %s on", self.account, found.first_day)

    async def _look_at(self, days: Days, today: date) -> _Done | None:
        """Read the days and return what is done; None where they must be read in parts."""
        if days.count > DAYS_AT_ONCE:
            return None
        try:
            pages = await self._pages(days, today)
            if pages > PAGES_AT_ONCE and days.count > 1:
                return None
            shown_to = await self._read_to_the_end(days, today) if pages > 0 else days.last
        except (PlatformUnavailable, ReplyUnreadable) as error:
            # Where the newest days get no answer as well, the platform is away.
            await self._pages(Days(today, today), today)
            if days.count > 1:
                return None
            raise ListCutShort(
                f"the platform does not answer when asked for the list of {days}, but answers for the newest day "
                f"({error.reason}). Nothing is sent, because there may be requests that this ledger does not know. "
                "Retry later; if this happens again, ask the platform's support to list these days, or say from "
                "which day on there can be requests: python -m capillary ledger import --dags <folder> --since <day>"
            ) from error
        except CallRefused as error:
            # Where the newest days are refused as well, it is not the days that the platform refuses.
            await self._pages(Days(today, today), today)
            if days.count > 1 and not await self._refuses_both_ends(days, today):
                return None
            _LOG.error("the platform refuses to list its requests of %s: %s", days, error.reason)
            return _Done(days, refused=True)
        return _Done(Days(days.first, shown_to), refused=False)

    async def _read_what_last_days_hid(self, today: date) -> None:
        """Read the list without a last day, too, where it has more rows than the parts of it have shown.

        A platform may hold the last day against the end of a request, and what waits for its human has none. What a
        killed task has read counts as not shown, so that a reading that went on after one ends with one of the whole.
        """
        whole = Days(await self.runtime.ledger_call(self._first_day), today)
        for request_type in (None, REQUEST_TYPE):  # the platform may list nothing where no type is asked for
            await self._read_whole_if_longer(whole, today, request_type)

    async def _read_whole_if_longer(self, whole: Days, today: date, request_type: str | None) -> None:
        since = whole.first - _DAY
        total = await total_since(self.client, since=since, today=today, request_type=request_type)
        if total is not None and total > len(self.seen):
            _LOG.info("the list has %s, and its parts have shown %d here", counted(total, "row"), len(self.seen))
            try:
                await self._read_to_the_end(whole, today, request_type)
            except CallRefused as error:
                raise ListCutShort(
                    f"the platform counts {counted(total, 'request')} since {whole.first}, shows {len(self.seen)} in "
                    f"parts, and refuses the list as a whole ({error.reason}), so nothing is sent: the rest may be "
                    "ours. Ask the platform's support to list them, or say from which day on there can be requests: "
                    "python -m capillary ledger import --dags <folder> --since <day>"
                ) from error

    async def _pages(self, days: Days, today: date) -> int:
        """Return how many pages the list of these days has, 0 where it is empty."""
        page = await self._first_page(days, today)
        is_empty = not page.rows and not page.unreadable_rows and not page.total_elements
        return 0 if is_empty else max(page.total_pages, 1)

    async def _first_page(self, days: Days, today: date) -> Page:
        return await first_page(self.client, since=days.first - _DAY, until=_until(days, today), request_type=None)

    async def _refuses_both_ends(self, days: Days, today: date) -> bool:
        """Whether the platform refuses the first and the last day alone, too: then nobody asks for those between."""
        for day in (days.first, days.last):
            try:
                await self._pages(Days(day, day), today)
            except CallRefused:
                continue
            return False
        return True

    async def _read_to_the_end(self, days: Days, today: date, request_type: str | None = None) -> date:
        """Record the rows of these days, and return the last day of which all were shown.

        A platform that does not look at the last day shows later ones each time, as many as it shows at once. That is
        taken for true only where the list without a last day has not a row more.
        """
        newest: list[datetime] = []

        async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
            made_at = [row.created_at for row in rows if row.created_at is not None]
            newest[:] = [max(newest + made_at)] if newest + made_at else []
            shown = await look_behind(self.ledger, self.client, self.runtime, rows, without_key=True)
            await self.runtime.ledger_call(lambda: self._record(shown))

        for _ in range(READINGS):
            read = await read_list(
                self.client,
                since=days.first - _DAY,
                until=_until(days, today),
                request_type=request_type,
                on_page=on_page,
            )
            if await is_through(self.ledger, self.runtime, self.account, read):
                made_at = cluster_day(newest[0], self.client.settings) if newest else days.last
                if made_at <= days.last + _BEYOND:
                    return days.last
                has_no_more = await self._has_no_more(Days(days.first, today), today, read.rows)
                # Of its newest day it may show a part.
                return min(made_at - _DAY, today) if has_no_more else days.last
        raise ListCutShort(
            f"the platform's list of {days} was read {READINGS} times and never to its end (last time "
            f"{counted(read.pages, 'page')}, {counted(read.rows, 'row')}), so nothing is sent: the part that was not "
            "shown may hold requests that this ledger does not know. Retry later; if this happens again, check "
            "page_base and page_size "
            "of the platform's connection, or say from which day on there can be requests: "
            "python -m capillary ledger import --dags <folder> --since "
            f"<day>{way_out(read)}"
        )

    async def _has_no_more(self, days: Days, today: date, rows: int) -> bool:
        try:
            return (await self._first_page(days, today)).total_elements == rows
        except CallRefused:  # of so many days; that says nothing of those that were read
            return False

    def _first_day(self) -> date:
        with self.ledger.read() as tx:
            found = history.history(tx, self.account, self.sender).first_day
        return found or cluster_day(tx.now, self.client.settings)

    def _begin(self) -> tuple[date, date]:
        with self.ledger.write() as tx:
            today = cluster_day(tx.now, self.client.settings)
            found = history.begin(tx, self.account, self.sender, today=today)
            return found.next_day or today, today

    def _record(self, rows: tuple[WorkflowRequest, ...]) -> None:
        with self.ledger.write() as tx:
            self._keep_turn(tx)
            record_rows(tx, self.account, self.sender, rows)
        self.seen.update(row.platform_request_id for row in rows)

    async def _step(self, done: _Done) -> bool:
        def write() -> bool:
            with self.ledger.write() as tx:
                self._keep_turn(tx)
                return history.advance(tx, self.account, self.sender, done.days, refused=done.refused)

        self.steps += 1
        return await self.runtime.ledger_call(write)

    def _finish(self, today: date) -> history.History:
        with self.ledger.write() as tx:
            found = history.finish(tx, self.account, self.sender, today=today)
            # With the reading: a turn that is left behind keeps the waits of the account from reading for minutes.
            scans.finish(tx, self.account, by=self.reader)
        self.has_turn = False
        return found

    def _keep_turn(self, tx: Transaction) -> None:
        self.alive(tx)
        scans.renew(tx, self.account, by=self.reader)


def _is_read(ledger: Ledger, settings: PlatformSettings) -> bool:
    """Return whether the reading is through. One that ended in the future says nothing of when: it is done again."""
    with ledger.read() as tx:
        read_at = history.history(tx, settings.account, settings.sender).read_at
        is_ahead = read_at is not None and read_at > tx.now + scans.CLOCK_JUMP
    if is_ahead:
        _LOG.warning(
            "the ledger's clock was set back behind the first reading of %s: it is done again", settings.account
        )
        with ledger.write() as tx:
            history.read_again(tx, settings.account, settings.sender)
    return read_at is not None and not is_ahead


def _until(days: Days, today: date) -> date | None:
    """Return the last day to ask for. Up to today means up to now: what is made in the meantime is looked at, too."""
    return None if days.last >= today else days.last + _DAY
