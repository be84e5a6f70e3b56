"""An event loop whose clock moves only when everybody waits: an hour of sleep costs nothing."""

from __future__ import annotations

import asyncio
import math
from typing import Final

#: Turns of the loop in one world, far beyond any honest one: more means that somebody spins without sleeping.
MAX_TURNS: Final = 400_000


class NothingLeft(RuntimeError):
    """Everybody waits for somebody else: no timer is set that could wake one of them."""


class Spinning(RuntimeError):
    """Somebody goes round and round without letting time pass."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets and threads. Time is in seconds since the world began."""

    def __init__(self, *, max_turns: int = MAX_TURNS) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._turns = 0
        self._max_turns = max_turns
        self._selector = self  # asyncio's loop asks its selector to wait for the next timer

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual_now

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody at once, as while a process blocks on the ledger."""
        self._virtual_now += seconds
        # After months the clock's own steps are coarser than asyncio allows for, and a timer would never be due.
        self._clock_resolution: float = max(1e-9, 2 * math.ulp(self._virtual_now))

    def select(self, timeout: float | None) -> list[object]:
        """Jump to the next timer instead of waiting for it."""
        self._turns += 1
        if self._turns > self._max_turns:
            raise Spinning(f"more than {self._max_turns} turns of the loop by second {self._virtual_now:.0f}")
        if timeout is None:
            raise NothingLeft(f"nobody will ever wake up after second {self._virtual_now:.0f}")
        self._virtual_now += timeout
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""
