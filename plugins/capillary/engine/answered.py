"""The request that the platform named in a reply which could not be used: one read of it tells what it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from capillary.api.client import Client
from capillary.api.errors import CallRefused, PlatformUnavailable, ReplyUnreadable
from capillary.api.outside_text import on_one_line
from capillary.api.request_workflow import WorkflowRequest
from capillary.engine.runtime import Runtime
from capillary.engine.sightings import answers_for, seen_in
from capillary.ledger import request_rows
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.holders import holders
from capillary.ledger.request_rows import Seen

_LOG: Final = logging.getLogger("capillary.answered")


class Whose(StrEnum):
    """What a read of the request that a reply named has shown."""

    OURS = "ours"  #: it is what was sent, and recorded
    OTHERS = "others"  #: it holds other customers: the reply was somebody else's
    NOT_THERE = "not there"  #: the platform does not know such a request
    UNCLEAR = "unclear"  #: it could not be read, or shows too little


@dataclass(frozen=True, slots=True)
class Named:
    """A request in doubt, and the platform request id in the reply to its POST."""

    request_id: int
    key: str
    platform_request_id: str


async def look_up(
    ledger: Ledger, client: Client, runtime: Runtime, named: Named, *, account: str
) -> tuple[Whose, Seen | None]:
    """Read what a reply named, once; where it is what was sent, record it and return how it stands.

    A read that fails is not an answer, and nothing is raised.
    """
    platform_request_id = on_one_line(named.platform_request_id)
    try:
        row = await client.read_request(named.platform_request_id, attempts=1)
    except (PlatformUnavailable, ReplyUnreadable, CallRefused) as error:
        _LOG.warning("request %s, which an answer named, could not be read: %s", platform_request_id, error)
        return Whose.UNCLEAR, None
    if row is None:
        return Whose.NOT_THERE, None

    def record() -> Whose:
        with ledger.write() as tx:
            return _recorded(tx, row, named, account)

    whose = await runtime.ledger_call(record)
    _LOG.info("request %s, which the answer to %s named, is %s", platform_request_id, named.key, whose)
    return whose, seen_in(row) if whose is Whose.OURS else None


def _recorded(tx: Transaction, row: WorkflowRequest, named: Named, account: str) -> Whose:
    holder = holders(tx, [named.key]).get(named.key)
    if holder is None or (holder.request_id, holder.account) != (named.request_id, account):
        return Whose.UNCLEAR
    if answers_for(tx, row, key=named.key, request_id=named.request_id):
        request_rows.record_sighting(tx, named.request_id, seen_in(row))
        return Whose.OURS
    return Whose.OTHERS if row.customers else Whose.UNCLEAR
