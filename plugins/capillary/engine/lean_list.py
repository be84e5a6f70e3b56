"""Rows of a lean list, which show neither key nor customers: each is read singly, and what stays dark stops sending.

The public page of the list shows the same objects as a single read; a platform that leaves their details out would
hide whatever this ledger forgot, and every request in doubt.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from capillary.api.client import Client
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import RequestState, WorkflowRequest
from capillary.engine.platform_list import LOOK_BACK, hides_its_key
from capillary.engine.runtime import Runtime
from capillary.engine.single_read import SingleReads
from capillary.engine.unreadable_rows import read_damaged
from capillary.ledger import scans, unknown_keys
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.sightings import keys_seen

_LOG: Final = logging.getLogger("capillary.list")


def is_dark(row: WorkflowRequest) -> bool:
    """Whether a row could be any request of ours for all that it shows."""
    return hides_its_key(row) and not row.customers


async def look_behind(
    ledger: Ledger,
    client: Client,
    runtime: Runtime,
    rows: tuple[WorkflowRequest, ...],
    *,
    since: datetime | None = None,
    without_key: bool = False,
) -> tuple[WorkflowRequest, ...]:
    """Return a page's rows, with single reads in place of those that are dark and that the ledger does not know.

    What a single read does not light up, or the platform refuses to show, stops submitting by its platform request id,
    like a key of ours that the ledger does not know: a person looks at it. What was rejected stops nothing.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time and threads.
        rows: a page of the list.
        since: only requests that were made later, give or take two days, can be unknown; None: all of them.
        without_key: read those singly, too, that show customers and no key: a single read may show the key.

    Raises:
        PlatformUnavailable: no answer after the client's retries.
    """
    account, user = client.settings.account, client.settings.sender
    rows = await read_damaged(client, rows)
    may_be_unknown = hides_its_key if without_key else is_dark
    dark = [row for row in rows if may_be_unknown(row) and not _is_older(row, since)]
    if not dark:
        return rows

    def unknown() -> list[WorkflowRequest]:
        with ledger.read() as tx:
            settled = _not_to_be_asked(tx, account, {row.platform_request_id for row in dark})
        return [row for row in dark if row.platform_request_id not in settled]

    lit: dict[str, WorkflowRequest] = {}
    reads = SingleReads(client)
    for row in await runtime.ledger_call(unknown):
        lit[row.platform_request_id] = await reads.shown(row.platform_request_id) or row
    still = sorted(row.platform_request_id for row in lit.values() if _may_be_ours(row))

    def note() -> None:
        with ledger.write() as tx:
            unknown_keys.note(tx, account, user, still)

    if still:
        await runtime.ledger_call(note)
        named = ", ".join(map(on_one_line, still))
        _LOG.error("the platform shows neither key nor customers of %s: submitting stops", named)
    return tuple(lit.get(row.platform_request_id, row) for row in rows)


def _is_older(row: WorkflowRequest, since: datetime | None) -> bool:
    return since is not None and row.created_at is not None and row.created_at < since - LOOK_BACK


def _may_be_ours(row: WorkflowRequest) -> bool:
    """Whether a single read may show a live request of ours: its body is not shown, for ours say more than a badge."""
    return is_dark(row) and row.badge_id is None and row.state != RequestState.REJECTED


def _not_to_be_asked(tx: Transaction, account: str, platform_request_ids: set[str]) -> set[str]:
    """Return those that are ours and known, and those of which a person said that they are not ours."""
    return {*keys_seen(tx, platform_request_ids), *scans.are_not_ours(tx, account, platform_request_ids)}
