"""Requests on the platform that show customers and no key: an import tells which of them may be ours.

Our bodies have a key, so such a request is a stranger's, unless the platform does not show it. One whose badge and
customers give the very hash in the key of a request that this ledger holds and has never seen is that request. Any
other one that holds a customer of ours who is not known to have the badge is left to a person, and holds submitting up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from capillary.api.request_workflow import RequestState, WorkflowRequest
from capillary.engine.platform_list import hides_its_key
from capillary.engine.sightings import seen_in
from capillary.ledger import scans, unknown_keys
from capillary.ledger.database import Transaction
from capillary.ledger.holders import holds_without_badge, unseen_of_customers
from capillary.ledger.request_rows import record_sighting
from capillary.ledger.sightings import keys_seen
from capillary.ledger.spec import content_hash, hash_in


@dataclass(frozen=True, slots=True)
class Keyless:
    """What became of requests that show customers and no key.

    Attributes:
        found: how many are requests of this ledger that it had not seen.
        held: platform request ids of those that a person has to look at; submitting stops.
    """

    found: int
    held: tuple[str, ...]


def shows_customers_alone(row: WorkflowRequest) -> bool:
    """Whether a row shows customers and no key; what was rejected enrolled nobody, and never will."""
    return hides_its_key(row) and bool(row.customers) and row.state != RequestState.REJECTED


def take_keyless(tx: Transaction, account: str, sender: str, rows: Iterable[WorkflowRequest]) -> Keyless:
    """Record what is ours of rows that show customers alone, and hold submitting up for what may be.

    Args:
        tx: the transaction.
        account: the ledger's account.
        sender: the credential user that was shown the rows.
        rows: what the whole list shows, so that everything with a key is known by now.
    """
    shown = {row.platform_request_id: row for row in rows}
    known = {*keys_seen(tx, set(shown)), *scans.are_not_ours(tx, account, shown)}
    found, held = 0, []
    for platform_request_id in sorted(shown.keys() - known):
        row = shown[platform_request_id]
        request_id = _request_of(tx, account, row)
        if request_id is not None:
            record_sighting(tx, request_id, seen_in(row))
            found += 1
        elif holds_without_badge(tx, account, row.badge_id, sorted(set(row.customers or ()))):
            held.append(platform_request_id)
    if held:
        unknown_keys.note(tx, account, sender, held)
    return Keyless(found, tuple(held))


def _request_of(tx: Transaction, account: str, row: WorkflowRequest) -> int | None:
    """Return the ledger's request of exactly this badge and these customers that was never seen; None unless one."""
    customers = sorted(set(row.customers or ()))
    matching = [
        request_id
        for request_id, of in unseen_of_customers(tx, account, row.badge_id, customers)
        if content_hash(of.spec.fingerprint(), of.occasion, of.attempt, customers) == hash_in(of.key)
    ]
    return matching[0] if len(matching) == 1 else None
