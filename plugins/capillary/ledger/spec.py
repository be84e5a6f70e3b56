"""The frozen configuration of a request, and the key made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import md5, sha1, sha256
from typing import Final

#: Every key of this project starts with it; the platform's list is searched for it.
KEY_PREFIX: Final = "cb1."
_CAMPAIGN_CHARACTERS: Final = 24
#: Digits of a content hash that tell whose key was cut: 64 bits, which no other key has by chance.
_ENOUGH_DIGITS: Final = 16
_NO_LETTER_OR_DIGIT: Final = re.compile(r"[^0-9a-z]+")
#: The prefix as a word of its own, whatever stands around it; or anywhere, where a whole content hash follows. Three
#: hex digits alone stand in one of 150 UUIDs.
_OUR_FORM: Final = re.compile(r"(?<![0-9a-z])cb1[^0-9a-z]")
_OUR_FORM_JOINED: Final = re.compile(r"cb1[0-9a-z]*[0-9a-f]{32}")


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


def has_our_form(shown: str | None) -> bool:
    """Return whether a key that the platform shows could be one of ours, as it was sent or altered.

    In any case, behind any prefix, with any punctuation or none. A key that has lost its beginning is not seen here.
    """
    key = (shown or "").lower()
    return _OUR_FORM.search(key) is not None or _OUR_FORM_JOINED.search(_letters_and_digits(key)) is not None


def carries(shown: str | None, key: str) -> bool:
    """Return whether what the platform shows as a request's key was made from this key of ours.

    A platform may echo a key altered: in upper case, behind a prefix, with other punctuation, without its beginning or
    its end, or hashed. Whatever holds the hash of our content, or 16 digits of it at an end, was made from our key:
    nobody else knows it. Less than that proves nothing.
    """
    if shown is None:
        return False
    if shown == key:
        return True
    seen, content = _letters_and_digits(shown.lower()), hash_in(key)
    if content in seen:
        return True
    if any(
        seen.endswith(content[:digits]) or seen.startswith(content[-digits:])
        for digits in range(_ENOUGH_DIGITS, len(content))
    ):
        return True
    return seen.endswith(_hashes(key))


@lru_cache(maxsize=4_096)
def _hashes(key: str) -> tuple[str, ...]:
    return tuple(made(key.encode(), usedforsecurity=False).hexdigest() for made in (md5, sha1, sha256))


def _letters_and_digits(lower: str) -> str:
    return _NO_LETTER_OR_DIGIT.sub("", lower)
