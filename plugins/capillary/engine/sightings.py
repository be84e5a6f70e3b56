"""What rows of the platform's list say of our requests, written into the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import itemgetter

from capillary.api.request_workflow import RequestState, WorkflowRequest, is_decided
from capillary.ledger import request_rows, scans, unknown_keys
from capillary.ledger.database import Transaction
from capillary.ledger.errors import RequestGone
from capillary.ledger.holders import Holder, holders, in_doubt_or_of
from capillary.ledger.request_content import badge_of, customers_of
from capillary.ledger.request_rows import Claim, Seen
from capillary.ledger.sightings import keys_seen, known_sightings, request_seen_as, says_nothing_new
from capillary.ledger.spec import carries, has_our_form


@dataclass(frozen=True, slots=True)
class Recorded:
    """What rows brought.

    Attributes:
        rows: the rows of our requests, by the ledger's id; of twins in one page the last.
        keys: the keys of our requests.
        new: sightings that are new.
        unknown_key: a key of ours that the ledger does not know.
        others: the rows of no request of this ledger.
        ours: every row of our requests, each of twins.
    """

    rows: Mapping[int, WorkflowRequest]
    keys: frozenset[str]
    new: int
    unknown_key: str | None
    others: tuple[WorkflowRequest, ...] = ()
    ours: tuple[WorkflowRequest, ...] = ()


def record_rows(
    tx: Transaction, account: str, sender: str, rows: Iterable[WorkflowRequest], *, singly: bool = False
) -> Recorded:
    """Record a sighting for every row of ours; a key of ours that is unknown stops submitting.

    `sender` is the credential user that was shown the rows: an unknown key is kept for it. `singly`: they are single
    reads, which show whether a human decided; a list may leave that out.

    A row that does not show its key, or shows it altered, is ours when its platform request id was seen before, or
    when what it shows was made from the key of a request of its customers. Nothing is stopped by an unknown request
    that was rejected, which enrolled nobody and never will, or that a person said is not ours.
    """
    by_id = {row.platform_request_id: row for row in rows}
    if not by_id:
        return Recorded({}, frozenset(), 0, None)
    held = held_rows(tx, account, by_id.values())
    known = known_sightings(tx, by_id)
    ours: list[tuple[int, WorkflowRequest]] = []
    keys = set[str]()
    unknown: list[str] = []
    others: list[WorkflowRequest] = []
    for row in by_id.values():
        if (holder := held.get(row.platform_request_id)) is not None:
            ours.append((holder.request_id, row))
            keys.add(holder.key)
            continue
        others.append(row)
        if row.request_key and has_our_form(row.request_key) and row.state != RequestState.REJECTED:
            unknown.append(row.request_key)
    new = 0
    # In the order of their ids, as everybody locks them; the platform's order is another one.
    for request_id, row in sorted(ours, key=itemgetter(0)):
        seen = seen_in(row) if singly else _seen_in_a_list(row)
        if not says_nothing_new(seen, request_id, known.get(row.platform_request_id)):
            try:
                new += request_rows.record_sighting(tx, request_id, seen)
            except RequestGone:
                unknown.extend([row.request_key] if row.request_key else [])
    without_key = [each.platform_request_id for each in by_id.values() if not each.request_key]
    if live := [each for each in without_key if by_id[each].state != RequestState.REJECTED]:
        unknown_keys.see_again(tx, account, sender, live)
    not_ours = scans.are_not_ours(tx, account, unknown)
    stopping = [key for key in unknown if key not in not_ours]
    if stopping:
        unknown_keys.note(tx, account, sender, stopping)
    return Recorded(
        rows=dict(ours),
        keys=frozenset(keys),
        new=new,
        unknown_key=stopping[-1] if stopping else None,
        others=tuple(others),
        ours=tuple(row for _, row in ours),
    )


def record_accepted(tx: Transaction, account: str, sender: str, held: Claim, seen: Seen) -> bool:
    """Record the reply to this credential user's POST of a claim; return whether the ledger knows the claim's key.

    One that it does not know, since it was restored to before the plan, stops submitting: whoever has the request's
    number by now has nothing to do with the reply.
    """
    holder = holders(tx, [held.key]).get(held.key)
    if holder is not None and holder.account == account:
        with suppress(RequestGone):
            request_rows.note_answer(tx, held, seen.platform_request_id)
            request_rows.record_sighting(tx, holder.request_id, seen)
            return True
    unknown_keys.note(tx, account, sender, [held.key])
    return False


def answers_for(tx: Transaction, row: WorkflowRequest, *, key: str, request_id: int) -> bool:
    """Return whether a request that the platform named in reply to a POST of ours is the one that was sent.

    It is where its key was made from ours; and, whatever its key, where it shows the badge and exactly the customers
    that were sent, and was never seen as another request. A stranger's request of the same customers is none of these:
    no reply to us names it.
    """
    if row.request_key is not None and carries(row.request_key, key):
        return True
    if not row.customers or row.badge_id is None or not row.may_issue_badges:
        return False
    badge_id = badge_of(tx, request_id, key=key)
    return (
        request_seen_as(tx, row.platform_request_id) in (None, request_id)
        and badge_id is not None
        and row.badge_id.casefold() == badge_id.casefold()
        and set(row.customers) == set(customers_of(tx, request_id))
    )


def seen_in(row: WorkflowRequest) -> Seen:
    """Return what a reply shows of a request, as the ledger records it."""
    decided = is_decided(row.state)
    # Nobody but a human rejects, whatever the details show.
    by_human = decided and (row.human_decided or row.state == RequestState.REJECTED)
    return Seen(
        platform_request_id=row.platform_request_id,
        state=str(row.state),
        decided=decided,
        auto_approved=decided and not by_human,
        human_decided=by_human,
        checker_message=row.checker_message,
        maker_id=row.maker_id,
        start_time=row.start_time,
        end_time=row.end_time,
        failed_checks=None if row.failed_checks is None else ", ".join(row.failed_checks),
        created_at=row.created_at,
        approved=row.state == RequestState.APPROVED,
    )


def _seen_in_a_list(row: WorkflowRequest) -> Seen:
    """Return what a row shows; a list that leaves the details out says nothing of a human."""
    seen = seen_in(row)
    shows_details = row.request_key is not None or row.customers is not None or row.execution is not None
    return seen if shows_details else replace(seen, auto_approved=False)


def held_rows(tx: Transaction, account: str, rows: Iterable[WorkflowRequest]) -> dict[str, Holder]:
    """Return the account's requests that rows of the list show, by the rows' platform request ids.

    A row shows a request by its key; by its platform request id, where that was seen before; or by a key that was made
    from the request's.
    """
    of_account = [*rows]
    by_key = holders(tx, {row.request_key for row in of_account if row.request_key})
    found = dict[str, Holder]()
    without = list[WorkflowRequest]()
    for row in of_account:
        holder = by_key.get(row.request_key) if row.request_key else None
        if holder is None:
            without.append(row)
        elif holder.account == account:
            found[row.platform_request_id] = holder
    seen_before = keys_seen(tx, {row.platform_request_id for row in without})
    by_key = holders(tx, set(seen_before.values()))
    altered = list[WorkflowRequest]()
    for row in without:
        key = seen_before.get(row.platform_request_id)
        if key is not None and by_key[key].account == account:
            found[row.platform_request_id] = by_key[key]
        elif row.request_key and row.may_issue_badges:
            altered.append(row)
    if altered:
        # A request in doubt, or one of the first customer that is shown.
        candidates = in_doubt_or_of(tx, account, {min(row.customers) for row in altered if row.customers})
        for row in altered:
            holder = next((each for each in candidates if carries(row.request_key, each.key)), None)
            if holder is not None:
                found[row.platform_request_id] = holder
    return found
