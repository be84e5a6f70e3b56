"""Read one request by its platform request id, where one that the platform refuses must not stop the others."""

from __future__ import annotations

import logging
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import WorkflowRequest

#: Single reads in a row that fail, after which the platform counts as away.
AWAY: Final = 3
#: HTTP statuses that may be one request's. 502 to 504 are a gateway's.
_SERVER_ERRORS: Final = frozenset({500, 501, 520})

_LOG: Final = logging.getLogger("capillary.single_read")


async def read_singly(
    client: Client, platform_request_id: str, *, unknown: set[str] | None = None
) -> WorkflowRequest | None:
    """Return one request; None where the platform does not know it, or refuses to show it.

    What was not shown stays unknown: it is never an outcome. Where the platform says that it knows no such request, its
    id is added to `unknown`.

    Raises:
        PlatformUnavailable, ReplyUnreadable: no answer after the client's retries.
    """
    try:
        found = await client.read_request(platform_request_id)
    except CallRefused as error:
        _LOG.warning(
            "the platform refuses to show request %s (HTTP %s, code %s), and the other requests are read without it. "
            "If this happens again, ask the platform's support whether it still exists and whether this user may see "
            "it",
            on_one_line(platform_request_id),
            error.http_status,
            error.code,
        )
        return None
    if found is None:
        if unknown is not None:
            unknown.add(platform_request_id)
        _LOG.warning(
            "the platform does not know request %s; its customers stay open. If this happens again, ask the "
            "platform's support what became of it",
            on_one_line(platform_request_id),
        )
    return found


class SingleReads:
    """Single reads of one look: a request that the platform cannot show stops no other.

    One may answer with an error of the server forever, or with nothing that can be read; but where `AWAY` in a row end
    so, it is the platform that is away.

    Attributes:
        unknown: platform request ids that the platform says it does not know.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._failed = 0
        self.unknown = set[str]()

    async def shown(self, platform_request_id: str) -> WorkflowRequest | None:
        """Return one request; None where the platform does not know it, or did not show it.

        Raises:
            PlatformUnavailable: no answer at all after the client's retries, or `AWAY` in a row without one to use.
        """
        try:
            found = await read_singly(self._client, platform_request_id, unknown=self.unknown)
        except ReplyUnreadable as error:
            _LOG.warning("request %s stays unreadable: %s", on_one_line(platform_request_id), error)
            return None
        except PlatformUnavailable as error:
            self._failed += 1
            if self._failed >= AWAY or not _is_of_the_server(error):
                raise
            _LOG.warning("request %s cannot be read: %s", on_one_line(platform_request_id), error)
            return None
        self._failed = 0
        return found


def _is_of_the_server(error: PlatformUnavailable) -> bool:
    """Whether the platform answered, and neither asked for patience nor is away as a whole."""
    return error.http_status in _SERVER_ERRORS and error.retry_after_s is None
