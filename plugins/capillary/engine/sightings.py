"""What rows of the platform's list say of our requests, written into the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, select

from capillary.api.request_workflow import RequestState, WorkflowRequest, is_decided
from capillary.ledger import foreign_keys, requests, scans
from capillary.ledger.database import Transaction
from capillary.ledger.errors import RequestGone
from capillary.ledger.requests import Seen
from capillary.ledger.schema import badge_occasion, badge_request, badge_sighting
from capillary.ledger.spec import KEY_PREFIX


@dataclass(frozen=True, slots=True)
class Recorded:
    """What rows brought.

    Attributes:
        rows: the rows of our requests, by the ledger's id; of twins in one page the last.
        keys: the keys of our requests.
        new: sightings that are new.
        foreign_key: a key of ours that the ledger does not know.
    """

    rows: Mapping[int, WorkflowRequest]
    keys: frozenset[str]
    new: int
    foreign_key: str | None


def record_rows(tx: Transaction, account: str, sender: str, rows: Iterable[WorkflowRequest]) -> Recorded:
    """Record a sighting for every row of ours; a key of ours that is unknown stops submitting.

    `sender` is the credential user that was shown the rows: an unknown key is kept for it.

    A row that does not show its key is ours when its platform request id was seen before. Nothing is stopped by an
    unknown request that was rejected, which enrolled nobody and never will, or that a person said is not ours.
    """
    by_id = {row.platform_request_id: row for row in rows}
    if not by_id:
        return Recorded({}, frozenset(), 0, None)
    seen_before = keys_seen(tx, {row.platform_request_id for row in by_id.values() if not row.request_key})
    shown = {row.request_key for row in by_id.values() if row.request_key}
    held = holders(tx, shown.union(seen_before.values()))
    ids_of_keys = {key: holder.request_id for key, holder in held.items() if holder.account == account}
    known = _known(tx, by_id)
    ours: list[tuple[int, WorkflowRequest]] = []
    keys = set[str]()
    unknown: list[str] = []
    for row in by_id.values():
        key = row.request_key or seen_before.get(row.platform_request_id)
        request_id = ids_of_keys.get(key) if key else None
        if request_id is not None and key:
            ours.append((request_id, row))
            keys.add(key)
        elif row.request_key and row.request_key.startswith(KEY_PREFIX) and row.state != RequestState.REJECTED:
            unknown.append(row.request_key)
    new = 0
    # In the order of their ids, as everybody locks them; the platform's order is another one.
    for request_id, row in sorted(ours, key=itemgetter(0)):
        seen = _seen_in_a_list(row)
        if not _is_known(known.get(row.platform_request_id), request_id, seen):
            try:
                new += requests.record_sighting(tx, request_id, seen)
            except RequestGone:
                unknown.extend([row.request_key] if row.request_key else [])
    without_key = [each.platform_request_id for each in by_id.values() if not each.request_key]
    if live := [each for each in without_key if by_id[each].state != RequestState.REJECTED]:
        foreign_keys.see_again(tx, account, sender, live)
    not_ours = scans.are_not_ours(tx, account, unknown)
    foreign = [key for key in unknown if key not in not_ours]
    if foreign:
        foreign_keys.note(tx, account, sender, foreign)
    return Recorded(dict(ours), frozenset(keys), new, foreign[-1] if foreign else None)


def record_accepted(tx: Transaction, account: str, sender: str, key: str, seen: Seen) -> bool:
    """Record the reply to this credential user's POST of this key; return whether the ledger knows the key.

    One that it does not know, since it was restored to before the plan, stops submitting: whoever has the request's
    number by now has nothing to do with the reply.
    """
    holder = holders(tx, [key]).get(key)
    if holder is not None and holder.account == account:
        with suppress(RequestGone):
            requests.record_sighting(tx, holder.request_id, seen)
            return True
    foreign_keys.note(tx, account, sender, [key])
    return False


def seen_in(row: WorkflowRequest) -> Seen:
    """Return what a reply shows of a request, as the ledger records it."""
    decided = is_decided(row.state)
    return Seen(
        platform_request_id=row.platform_request_id,
        state=str(row.state),
        decided=decided,
        # Nobody but a human rejects, whatever the details show.
        auto_approved=decided and row.state != RequestState.REJECTED and not row.human_decided,
        checker_message=row.checker_message,
        maker_id=row.maker_id,
        start_time=row.start_time,
        end_time=row.end_time,
        failed_checks=None if row.failed_checks is None else ", ".join(row.failed_checks),
        created_at=row.created_at,
    )


def _seen_in_a_list(row: WorkflowRequest) -> Seen:
    """Return what a row shows; a list that leaves the details out says nothing of a human."""
    seen = seen_in(row)
    shows_details = row.request_key is not None or row.customers is not None or row.execution is not None
    return seen if shows_details else replace(seen, auto_approved=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """The ledger's request of a key, and the account that it belongs to."""

    request_id: int
    account: str


def holders(tx: Transaction, keys: Iterable[str]) -> dict[str, Holder]:
    """Return what the ledger holds of request keys, whatever the account.

    A key is known on its own account alone: the list of another one shows it when the ledger takes one platform for
    two, and then nothing may be sent. Reading and import both ask here.
    """
    found = tx.conn.execute(
        select(badge_request.c.key, badge_request.c.id, badge_occasion.c.account)
        .join(badge_occasion, badge_occasion.c.id == badge_request.c.occasion_id)
        .where(badge_request.c.key.in_(list(keys)))
    )
    return {row.key: Holder(row.id, row.account) for row in found}


def keys_seen(tx: Transaction, platform_request_ids: set[str]) -> dict[str, str]:
    """Return the keys of requests that were seen under these platform request ids."""
    if not platform_request_ids:
        return {}
    found = tx.conn.execute(
        select(badge_sighting.c.platform_request_id, badge_request.c.key)
        .join(badge_request, badge_request.c.id == badge_sighting.c.request_id)
        .where(badge_sighting.c.platform_request_id.in_(platform_request_ids))
    )
    return {row.platform_request_id: row.key for row in found}


def _known(tx: Transaction, platform_request_ids: Iterable[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """Return the sightings that the ledger holds already: most of a page, which nothing has to be written for."""
    columns = badge_sighting.c
    rows = tx.conn.execute(
        select(
            columns.platform_request_id,
            columns.request_id,
            columns.state,
            columns.auto_approved,
            columns.checker_message,
            columns.terminal_seen_at,
            columns.maker_id,
            columns.start_time,
            columns.end_time,
            columns.failed_checks,
        ).where(columns.platform_request_id.in_(list(platform_request_ids)))
    )
    return {row.platform_request_id: row for row in rows}


def _is_known(known: Row[*tuple[Any, ...]] | None, request_id: int, seen: Seen) -> bool:
    """Return whether `record_sighting` would leave everything as it is."""
    if known is None or known.request_id != request_id or known.state != seen.state:
        return False
    if any(getattr(seen, fact) not in (None, getattr(known, fact)) for fact in requests.FACTS):
        return False
    if not seen.decided:
        return True
    return (
        known.terminal_seen_at is not None
        and (known.auto_approved or not seen.auto_approved)
        and seen.checker_message in (None, known.checker_message)
    )
