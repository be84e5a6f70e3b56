"""Time, chance and threads, as the engine may use them. A simulation brings its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where the engine's waiting and chance come from.

    Attributes:
        sleep: waits, seconds.
        monotonic: a clock that never goes back, seconds.
        random: jitter.
        threads: run the ledger's calls in a thread. A trigger shares its event loop with others and must;
            a worker's loop is its own.
    """

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic
    random: Random = field(default_factory=Random)
    threads: bool = False

    async def ledger_call(self, work: Callable[[], T]) -> T:
        """Run one piece of blocking work on the ledger."""
        return await asyncio.to_thread(work) if self.threads else work()
