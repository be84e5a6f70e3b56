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
_OCCASION_CHARACTERS: Final = 24


@dataclass(frozen=True, slots=True)
class Spec:
    """All that goes into a request besides its customers. No secrets.

    Attributes:
        account: scheme, host and organisation id of the platform.
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


def request_key(spec_fingerprint: str, occasion: str, attempt: int, customers: Iterable[int]) -> str:
    """Return the key of a request: the same content gives the same key, other content another one.

    The account is part of the spec's fingerprint. At most 61 characters (the ledger takes 64).

    Args:
        spec_fingerprint: :meth:`Spec.fingerprint`.
        occasion: the occasion's name.
        attempt: the enrolments' attempt, 1 for the first.
        customers: the customers in the order in which they are sent.
    """
    content = sha256(json.dumps([spec_fingerprint, occasion, attempt]).encode())
    content.update(b"\n")
    content.update(",".join(map(str, customers)).encode())
    short = re.sub(r"[^a-z0-9]+", "-", occasion.lower()).strip("-")[:_OCCASION_CHARACTERS].rstrip("-")
    return f"{KEY_PREFIX}{short or 'x'}.{content.hexdigest()[:32]}"
