"""Looks at what was accepted, some seconds later: a platform may execute a request by itself just after its reply."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.outside_text import on_one_line
from capillary.engine.send import Sender
from capillary.engine.sightings import record_rows, seen_in
from capillary.ledger.request_rows import Seen

#: From the reply to the look, seconds.
LOOK_AFTER_S: Final = 5.0
#: Accepted requests that are read so, and go alone, until a read is answered; after so many the others follow.
LOOKS: Final = 3
#: Later looks at the request that was read, in passing between two sends: seconds since its reply.
LATER_S: Final = (8.0, 12.0, 20.0, 60.0, 180.0)

_LOG: Final = logging.getLogger("capillary.submit")


@dataclass(slots=True)
class Looks:
    """What one task looks at again of what it had accepted.

    Attributes:
        sender: reads and records.
        left: accepted requests that may still be waited for and read; 0 once one was, or where nothing is looked at.
    """

    sender: Sender
    left: int = LOOKS
    _watched: str = ""
    _since: float = 0.0
    _due: list[float] = field(default_factory=list)

    async def at_first(self, platform_request_id: str) -> Seen | None:
        """Do what `look_again` does with one that was just accepted, and count it."""
        self.left -= 1
        since = self.sender.runtime.monotonic()
        if (seen := await look_again(self.sender, platform_request_id)) is not None:
            self.left = 0
            self._watched, self._since, self._due = platform_request_id, since, [] if seen.decided else [*LATER_S]
        return seen

    async def in_passing(self) -> None:
        """Read the request once more, where one of `LATER_S` has passed; nothing is waited for, and nothing raised."""
        past = self.sender.runtime.monotonic() - self._since
        if not self._due or past < self._due[0]:
            return
        self._due = [due for due in self._due if due > past]
        seen = await _look(self.sender, self._watched)
        if seen is not None and seen.decided:
            self._due = []


async def look_again(sender: Sender, platform_request_id: str) -> Seen | None:
    """Wait `LOOK_AFTER_S`, read the request once and record what it shows; None where there was no answer.

    A read that fails shows nothing, and nothing is raised.
    """
    await sender.runtime.sleep(LOOK_AFTER_S)
    return await _look(sender, platform_request_id)


async def _look(sender: Sender, platform_request_id: str) -> Seen | None:
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
