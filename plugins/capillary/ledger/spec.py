"""The frozen configuration of a request, and the key made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

#: Every key of this project starts with it; the platform's list is searched for it.
KEY_PREFIX: Final = "cb1."
_CAMPAIGN_CHARACTERS: Final = 24


@dataclass(frozen=True, slots=True)
class Spec:
    """All that goes into a request besides its customers. No secrets.

    Attributes:
        account: host, path and organisation id of the platform (`capillary.api.account`).
        badge_id: 24 hex digits.
        owner_type: the module on whose behalf, as the badge API spells it.
        reference_id: the owner's id within its module.
        till_id, store_id, zone_id, concept_id: the entity that makes the request.
        hostname: where the platform sends the wrapped call.
    """

    account: str
    badge_id: str
    owner_type: str
    reference_id: str
    till_id: str
    store_id: str
    zone_id: str
    concept_id: str
    hostname: str

    def config(self) -> str:
        """Return the spec as canonical JSON, as the ledger keeps it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def fingerprint(self) -> str:
        """Return the SHA-256 of :meth:`config`, hexadecimal."""
        return sha256(self.config().encode()).hexdigest()

    @classmethod
    def from_config(cls, config: str) -> Spec:
        """Rebuild a spec from what :meth:`config` returned."""
        return cls(**json.loads(config))


def request_key(spec_fingerprint: str, campaign: str, occasion: str, attempt: int, customers: Iterable[int]) -> str:
    """Return the key of a request: the campaign's name, for people, and the hash of its content.

    At most 61 characters (the ledger takes 64). What a request is, its hash alone says (:func:`content_hash`).

    Args:
        spec_fingerprint: :meth:`Spec.fingerprint`.
        campaign: the campaign that plans it.
        occasion: the occasion's name.
        attempt: the enrolments' attempt, 1 for the first.
        customers: the customers in the order in which they are sent.
    """
    return f"{KEY_PREFIX}{readable(campaign)}.{content_hash(spec_fingerprint, occasion, attempt, customers)}"


def content_hash(spec_fingerprint: str, occasion: str, attempt: int, customers: Iterable[int]) -> str:
    """Return the last part of a request's key: the same content gives the same, other content another one.

    The account is part of the spec's fingerprint. The campaign's name is left out: it changes nothing of what the
    platform does, and a campaign that was renamed must still find what it has sent.
    """
    content = sha256(json.dumps([spec_fingerprint, occasion, attempt]).encode())
    content.update(b"\n")
    content.update(",".join(map(str, customers)).encode())
    return content.hexdigest()[:32]


def readable(campaign: str) -> str:
    """Return the middle part of a campaign's keys."""
    short = re.sub(r"[^a-z0-9]+", "-", campaign.lower()).strip("-")[:_CAMPAIGN_CHARACTERS].rstrip("-")
    return short or "x"


def hash_in(key: str) -> str:
    """Return the last part of a key, as :func:`content_hash` makes it."""
    return key.rpartition(".")[2]
