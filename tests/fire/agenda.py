"""What is to happen when, in one thread."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count

#: Seconds between two looks at the clock.
TICK_S = 0.05


class Agenda:
    """Acts and when they are due, in seconds from now."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), act))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Do what is due until somebody says that it is over; what is left is dropped."""
        while not is_over():
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            time.sleep(TICK_S)
        self._due.clear()
