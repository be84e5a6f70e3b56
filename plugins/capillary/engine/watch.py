"""One reading of the list for the whole account: what it shows of our requests is recorded and settled."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from capillary.api.client import Client
from capillary.api.request_workflow import KEY_PREFIX, REQUEST_TYPE, WorkflowRequest
from capillary.api.settings import PlatformSettings
from capillary.engine.platform_list import ListRead, read_list
from capillary.engine.runtime import Runtime
from capillary.engine.send import seen_in
from capillary.engine.settle import settle_rows
from capillary.ledger import requests, scans
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.schema import RequestStatus, badge_occasion, badge_request

#: The list filters by days of the cluster's time zone, inclusive or not nobody says: a day's room.
_DAY: Final = timedelta(days=1)
#: How far back an account without any request is searched for requests of ours.
_FIRST_LOOK: Final = timedelta(days=30)

_LOG: Final = logging.getLogger("capillary.watch")


@dataclass(frozen=True, slots=True)
class Watched:
    """What a reading of the list brought.

    Attributes:
        read: how the reading went.
        new_sightings: requests seen for the first time.
        settled: requests settled from what was read.
        foreign_key: a key of ours that the ledger does not know.
    """

    read: ListRead
    new_sightings: int
    settled: int
    foreign_key: str | None


async def watch(
    ledger: Ledger,
    client: Client,
    runtime: Runtime,
    *,
    request_type: str | None = REQUEST_TYPE,
    since: date | None = None,
) -> Watched:
    """Read the list from the oldest open request on, record every sighting, settle what is decided.

    Args:
        ledger: the ledger.
        client: the platform; the ledger's account is its.
        runtime: time and threads.
        request_type: only this type; None for all.
        since: first day; default: a day before the oldest open request was sent.
    """
    settings = client.settings
    begun, first_day = await runtime.ledger_call(lambda: _begin(ledger, settings))
    new, settled, foreign = 0, 0, None

    def take(rows: tuple[WorkflowRequest, ...]) -> None:
        nonlocal new, settled, foreign
        ours = [row for row in rows if row.request_key is not None and row.request_key.startswith(KEY_PREFIX)]
        with ledger.write() as tx:
            known = ids_of_keys(tx, settings.account, [row.request_key for row in ours if row.request_key])
            for row in ours:
                request_id = known.get(row.request_key or "")
                if request_id is None:
                    foreign = row.request_key
                    scans.note_foreign_key(tx, settings.account, row.request_key or "")
                    continue
                new += requests.record_sighting(tx, request_id, seen_in(row))
        settled += settle_rows(ledger, {known[row.request_key]: row for row in ours if row.request_key in known})

    async def on_page(rows: tuple[WorkflowRequest, ...]) -> None:
        await runtime.ledger_call(lambda: take(rows))

    read = await read_list(client, since=since or first_day, request_type=request_type, on_page=on_page)
    if foreign is not None:
        _LOG.error("the platform holds request %s, which this ledger does not know: submitting stops", foreign)

    def end() -> None:
        with ledger.write() as tx:
            scans.note_read(tx, settings.account, begun_at=begun)

    if read.whole:
        await runtime.ledger_call(end)
    _LOG.info("list read: %d pages, %d rows, %d new, %d settled", read.pages, read.rows, new, settled)
    return Watched(read, new, settled, foreign)


def ids_of_keys(tx: Transaction, account: str, keys: list[str]) -> dict[str, int]:
    """Return the ledger's ids of request keys; a key of another account is unknown."""
    rows = tx.conn.execute(
        select(badge_request.c.key, badge_request.c.id)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_request.c.key.in_(keys), badge_occasion.c.account == account)
    )
    return {row.key: row.id for row in rows}


def cluster_day(moment: datetime, settings: PlatformSettings) -> date:
    """Return the day of the cluster's time zone."""
    return moment.astimezone(ZoneInfo(settings.cluster_timezone)).date()


def _begin(ledger: Ledger, settings: PlatformSettings) -> tuple[datetime, date]:
    with ledger.read() as tx:
        of_account = (
            select(func.min(badge_request.c.first_sent_at), func.max(badge_request.c.first_sent_at))
            .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
            .where(badge_occasion.c.account == settings.account)
        )
        oldest_open = tx.conn.execute(
            of_account.where(badge_request.c.status.in_((RequestStatus.SENDING, RequestStatus.WAITING)))
        ).one()[0]
        newest = tx.conn.execute(of_account).one()[1]
        # Requests sent after the newest we know are what a restored ledger has forgotten.
        earliest = min((moment for moment in (oldest_open, newest) if moment), default=tx.now - _FIRST_LOOK)
        return tx.now, cluster_day(earliest, settings) - _DAY
