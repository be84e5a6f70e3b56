"""Read one request by its platform request id, where one that the platform refuses must not stop the others."""

from __future__ import annotations

import logging
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, ReplyUnreadable
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import WorkflowRequest

_LOG: Final = logging.getLogger("capillary.single_read")


async def read_singly(client: Client, platform_request_id: str) -> WorkflowRequest | None:
    """Return one request; None where the platform does not know it, or refuses to show it.

    What was not shown stays unknown: it is never an outcome.

    Raises:
        PlatformUnavailable, ReplyUnreadable: no answer after the client's retries.
    """
    try:
        return await client.read_request(platform_request_id)
    except CallRefused as error:
        _LOG.warning(
            "the platform refuses to show request %s (HTTP %s, code %s), and the other requests are read without it: "
            "if this stays, ask the platform's support whether it still exists and whether this user may see it",
            on_one_line(platform_request_id),
            error.http_status,
            error.code,
        )
        return None


async def read_if_shown(client: Client, platform_request_id: str) -> WorkflowRequest | None:
    """Do what `read_singly` does; None where no answer can be read, too: one that is gone may be told by any of them.

    Raises:
        PlatformUnavailable: no answer after the client's retries.
    """
    try:
        return await read_singly(client, platform_request_id)
    except ReplyUnreadable as error:
        _LOG.warning("request %s stays unreadable: %s", on_one_line(platform_request_id), error)
        return None
