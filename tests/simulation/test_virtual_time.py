"""Days pass in milliseconds, in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation.virtual_time import NothingLeft, Spinning, VirtualLoop


def run(work: Coroutine[Any, Any, object]) -> VirtualLoop:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    return loop


def test_a_month_of_sleep_takes_no_time() -> None:
    begun = time.monotonic()
    loop = run(asyncio.sleep(30 * 86_400))
    assert loop.time() == pytest.approx(30 * 86_400)
    assert time.monotonic() - begun < 1


def test_sleepers_wake_in_order() -> None:
    woken: list[int] = []

    async def sleep(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(sleep(seconds) for seconds in (3_600, 5, 86_400, 60)))

    run(all_of_them())
    assert woken == [5, 60, 3_600, 86_400]


async def _for_ever() -> None:
    while True:
        await asyncio.gather(asyncio.sleep(0))


async def _for_nobody() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("work", "error"), [(_for_ever, Spinning), (_for_nobody, NothingLeft)])
def test_spinning_and_waiting_for_nobody_end_at_once(
    work: Callable[[], Coroutine[Any, Any, None]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(work())
