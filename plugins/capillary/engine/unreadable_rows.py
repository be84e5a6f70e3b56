"""Rows of the list that are damaged: a stranger's must not stop an account forever, and none counts as absent.

A row that shows its platform request id is read singly. Of one that does not, a person says that it is somebody
else's, by the name that its content has.
"""

from __future__ import annotations

from capillary.api.client import Client
from capillary.api.errors import PlatformUnavailable, ReplyUnreadable
from capillary.api.request_workflow import OUR_KEYS, UNREADABLE_STATE, WorkflowRequest
from capillary.counted import counted
from capillary.engine.platform_list import ListRead
from capillary.engine.runtime import Runtime
from capillary.engine.single_read import read_singly
from capillary.ledger import scans
from capillary.ledger.database import Ledger


async def read_damaged(client: Client, rows: tuple[WorkflowRequest, ...]) -> tuple[WorkflowRequest, ...]:
    """Return a page's rows, with single reads in place of those that may be ours and whose state cannot be read.

    A row whose single read brings nothing better stays as it is: its request waits.
    """
    lit: dict[str, WorkflowRequest] = {}
    for row in rows:
        if row.state == UNREADABLE_STATE and _may_be_ours(row):
            try:
                found = await read_singly(client, row.platform_request_id)
            except (PlatformUnavailable, ReplyUnreadable):
                continue
            lit[row.platform_request_id] = found or row
    return tuple(lit.get(row.platform_request_id, row) for row in rows) if lit else rows


async def is_through(ledger: Ledger, runtime: Runtime, account: str, read: ListRead) -> bool:
    """Return whether a reading came to the end, but for rows of which a person says that they are somebody else's."""
    if read.to_the_end or not read.but_for:
        return read.to_the_end

    def are_not_ours() -> set[str]:
        with ledger.read() as tx:
            return scans.are_not_ours(tx, account, read.but_for)

    return read.but_for <= await runtime.ledger_call(are_not_ours)


def way_out(read: ListRead) -> str:
    """Return what a person can do where rows that show nothing are all that is wrong; else nothing."""
    if not read.but_for:
        return ""
    named = " ".join(f"--not-ours {name}" for name in sorted(read.but_for))
    return (
        f". Everything else adds up, except for {counted(len(read.but_for), 'row')} without an id or any sign of whose "
        "it is. Ask the platform's support to look at them. If none of them is ours, say so: "
        "python -m capillary ledger import "
        f"{named}"
    )


def _may_be_ours(row: WorkflowRequest) -> bool:
    is_ours = row.request_key is None or row.request_key.startswith(OUR_KEYS)
    return is_ours and row.may_issue_badges
