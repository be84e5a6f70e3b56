"""Requests that the ledger knows and a reading of the list should have shown: a list that hides them hides others."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, ReplyUnreadable
from capillary.api.settings import PlatformSettings
from capillary.counted import counted
from capillary.engine.runtime import Runtime
from capillary.ledger.database import Ledger
from capillary.ledger.sightings import seen_of_sender

#: Most requests that one reading looks up singly because the list should have shown them and did not.
CONTROLS: Final = 20

#: HTTP statuses of what is not there: of the request, or of the whole address where a gateway answers.
_NOT_FOUND: Final = frozenset({404, 410})

_LOG: Final = logging.getLogger("capillary.list")


async def hidden_ones(
    ledger: Ledger, client: Client, runtime: Runtime, *, begun: datetime, since: datetime, shown: AbstractSet[str]
) -> int:
    """Return how many known requests a reading hid that may be on the platform all the same, of at most `CONTROLS`.

    Looked up is what this credential user sent since a moment and the platform has had for longer than the list may
    lag, in whatever state: a platform may leave out what waits, what is decided, or whatever is beyond a window. Only
    one that the platform says it does not know is gone, and says nothing. One that it refuses to show, or shows
    unreadably, may be there; HTTP 404 and 410 without a word of the platform's own count as gone only where a single
    read of what the list has shown is answered.

    Args:
        ledger: the ledger.
        client: the platform.
        runtime: time, chance and threads.
        begun: when the reading began, by the ledger's clock.
        since: a first send; the reading covers its day.
        shown: platform request ids that the reading has shown.

    Raises:
        PlatformUnavailable: a single read got no answer.
    """
    expected = await runtime.ledger_call(lambda: _expected(ledger, client.settings, begun, since))
    unseen = sorted(expected - shown)
    looked_up = unseen if len(unseen) <= CONTROLS else runtime.random.sample(unseen, CONTROLS)
    hidden = not_found = 0
    for platform_request_id in looked_up:
        try:
            hidden += await client.read_request(platform_request_id) is not None
        except CallRefused as error:
            if error.http_status in _NOT_FOUND:
                not_found += 1
            else:
                hidden += 1
        except ReplyUnreadable:
            hidden += 1
    if not_found and not await _shows_one(client, shown):
        hidden += not_found
    if hidden:
        _LOG.error(
            "%s missing from the list of %s, and single reads do not show that they are gone",
            counted(hidden, "request", "is", "are"),
            client.settings.account,
        )
    return hidden


async def _shows_one(client: Client, shown: AbstractSet[str]) -> bool:
    """Whether the first of what the list has shown is found by a single read, too."""
    for platform_request_id in sorted(shown)[:1]:
        try:
            return await client.read_request(platform_request_id) is not None
        except (CallRefused, ReplyUnreadable):
            return False
    return False


def _expected(ledger: Ledger, settings: PlatformSettings, begun: datetime, since: datetime) -> set[str]:
    long_there = begun - timedelta(seconds=settings.visibility_lag_s)
    with ledger.read() as tx:
        return seen_of_sender(tx, settings.account, settings.sender, sent_since=since, seen_before=long_there)
