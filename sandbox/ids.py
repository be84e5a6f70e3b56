"""Ids as the platform makes them: version 1 UUIDs for requests, 24 hexadecimal digits for enrolments."""

from __future__ import annotations

import secrets
from threading import Lock
from uuid import UUID

GREGORIAN_TO_UNIX_TICKS = 0x01B21DD213814000  # RFC 9562, section 5.1: 100 ns steps between the two epochs
TICKS_PER_S = 10_000_000


class RequestIds:
    """Mints version 1 UUIDs that carry the sandbox's own time, each later than the one before."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0
        self._clock_sequence = secrets.randbits(14)
        self._node = secrets.randbits(48) | 1 << 40  # RFC 9562, section 6.10: a random node has this bit set

    def next(self, at: float) -> UUID:
        """A UUID for a moment, given in seconds since 1970 UTC."""
        with self._lock:
            self._last = max(self._last + 1, int(at * TICKS_PER_S) + GREGORIAN_TO_UNIX_TICKS)
            ticks = self._last
        return UUID(
            fields=(
                ticks & 0xFFFFFFFF,
                ticks >> 32 & 0xFFFF,
                ticks >> 48 & 0x0FFF,
                self._clock_sequence >> 8 & 0x3F,
                self._clock_sequence & 0xFF,
                self._node,
            ),
            version=1,
        )


def enrolment_stem(at: float) -> str:
    """The first 18 of an enrolment id's 24 digits, one stem per bulk call: its second and a random part."""
    return f"{int(at) & 0xFFFFFFFF:08x}{secrets.token_hex(5)}"


def enrolment_id(stem: str, place: int) -> str:
    """The id of the enrolment at a place in its bulk call, counted from 0."""
    return f"{stem}{place:06x}"
