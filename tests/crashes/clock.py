"""One clock for every process of a case: the machine's, moved on by a shift that all of them see."""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SHIFT = struct.Struct("d")


class SharedClock:
    """The machine's clock plus a shift kept in a file that every process maps. It never goes back in a case.

    Calling it gives seconds since 1970 UTC, which is what the sandbox takes.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_SHIFT.pack(0.0))
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SHIFT.size)

    def __call__(self) -> float:
        return time.time() + self.shift_s

    @property
    def shift_s(self) -> float:
        """How far it is ahead of the machine's clock, seconds."""
        shift: float = _SHIFT.unpack(self._map[: _SHIFT.size])[0]
        return shift

    def jump(self, seconds: float) -> None:
        """Move it on for everybody."""
        self._map[: _SHIFT.size] = _SHIFT.pack(self.shift_s + seconds)

    def reset(self) -> None:
        """Go back to the machine's time, for the next case."""
        self._map[: _SHIFT.size] = _SHIFT.pack(0.0)

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.shift_s)

    def monotonic(self) -> float:
        """A clock for the product's deadlines, seconds."""
        return time.monotonic() + self.shift_s
