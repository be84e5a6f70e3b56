"""Time, chance and threads, as the engine may use them. A simulation brings its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

#: Threads of a process in which the ledger's calls run: few, for each may hold a connection, and of our own, for a
#: ledger's host that hangs keeps them all.
LEDGER_THREADS: Final = 4
#: Longest sleep, seconds, of a runtime that looks at something while it sleeps.
LOOK_EVERY_S: Final = 5.0


class _Threads:
    """The process's own threads for the ledger, made at the first call."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue one piece of work."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(LEDGER_THREADS, thread_name_prefix="capillary-ledger")
        return self._executor.submit(copy_context().run, work)

    def forget(self) -> None:
        """Make new threads at the next call: a process that was forked has none of its parent's."""
        self._executor = None


_THREADS: Final = _Threads()
os.register_at_fork(after_in_child=_THREADS.forget)


async def in_ledger_thread(work: Callable[[], T], *, drop: Callable[[T], object] | None = None) -> T:
    """Run blocking work on the ledger beside the event loop, and not on the loop's own threads, which all share.

    Args:
        work: what to run. It goes on when its caller is cancelled, unless it had not begun.
        drop: called with a result that nobody takes, because the caller was cancelled.
    """
    future = _THREADS.submit(work)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if drop is not None:
            future.add_done_callback(lambda done: None if _came_to_nothing(done) else drop(done.result()))
        raise


def _came_to_nothing(done: Future[T]) -> bool:
    return done.cancelled() or done.exception() is not None


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

    def looking(self, look: Callable[[], None]) -> Runtime:
        """Return the same runtime with a sleep that calls `look` at least every `LOOK_EVERY_S`.

        What `look` raises ends the sleep. Sleeps that are short and many count together.
        """
        looked_at = self.monotonic()

        async def sleep(seconds: float) -> None:
            nonlocal looked_at
            until = self.monotonic() + seconds
            while True:
                # Before a long sleep, too: who is told in the middle of several does not begin the next.
                if seconds > LOOK_EVERY_S or self.monotonic() - looked_at >= LOOK_EVERY_S:
                    looked_at = self.monotonic()
                    await self.ledger_call(look)
                left = until - self.monotonic()
                await self.sleep(min(max(left, 0.0), LOOK_EVERY_S))
                if left <= LOOK_EVERY_S:
                    return

        return replace(self, sleep=sleep)

    async def ledger_call(self, work: Callable[[], T]) -> T:
        """Run one piece of blocking work on the ledger."""
        return await in_ledger_thread(work) if self.threads else work()
