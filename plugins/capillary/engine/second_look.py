"""One look at what was accepted, some seconds later: a platform may execute a request just after its reply."""

from __future__ import annotations

import logging
from typing import Final

from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.outside_text import on_one_line
from capillary.engine.send import Sender
from capillary.engine.sightings import record_rows, seen_in
from capillary.ledger.requests import Seen

#: From the reply to the look, seconds.
LOOK_AFTER_S: Final = 5.0
#: Accepted requests that are read so, and go alone, until a read is answered; after so many the others follow.
LOOKS: Final = 3

_LOG: Final = logging.getLogger("capillary.submit")


async def look_again(sender: Sender, platform_request_id: str) -> Seen | None:
    """Wait `LOOK_AFTER_S`, read the request once and record what it shows; None where there was no answer.

    A read that fails shows nothing, and nothing is raised.
    """
    await sender.runtime.sleep(LOOK_AFTER_S)
    try:
        row = await sender.client.read_request(platform_request_id, attempts=1)
    except (PlatformUnavailable, ReplyUnreadable, CallRefused) as error:
        _LOG.warning("request %s could not be read after it was accepted: %s", on_one_line(platform_request_id), error)
        return None
    if row is None:
        _LOG.warning("request %s was accepted, and the platform does not show it", on_one_line(platform_request_id))
        return None
    settings = sender.client.settings

    def record() -> None:
        with sender.ledger.write() as tx:
            record_rows(tx, settings.account, settings.sender, (row,), singly=True)

    await sender.runtime.ledger_call(record)
    return seen_in(row)
