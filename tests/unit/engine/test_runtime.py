"""The ledger's calls beside an event loop run on threads of their own, and few of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import pytest

import capillary
from capillary.engine.runtime import LEDGER_THREADS, Runtime, in_ledger_thread

#: Where the package is imported from: not `plugins` where `make mutants` changes it.
PACKAGE = Path(capillary.__file__).parents[1]


async def test_calls_run_on_named_threads_of_the_ledgers() -> None:
    names = await asyncio.gather(*(in_ledger_thread(lambda: threading.current_thread().name) for _ in range(20)))
    assert {name.rpartition("_")[0] for name in names} == {"capillary-ledger"}
    assert await Runtime(threads=True).ledger_call(lambda: threading.current_thread().name) in {
        f"capillary-ledger_{number}" for number in range(LEDGER_THREADS)
    }


async def test_a_workers_calls_run_where_they_are_made() -> None:
    assert await Runtime().ledger_call(threading.get_ident) == threading.get_ident()


async def test_calls_that_hang_keep_nobody_elses_threads() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    hang = threading.Event()
    stuck = [asyncio.create_task(in_ledger_thread(lambda: hang.wait(30))) for _ in range(50)]
    await asyncio.sleep(0.05)
    try:
        for _ in range(10):
            async with asyncio.timeout(5):
                assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        hang.set()
    assert await asyncio.gather(*stuck) == [True] * 50


async def test_no_more_run_at_once_than_there_are_threads() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(in_ledger_thread(work) for _ in range(20)))
    assert most == LEDGER_THREADS


async def test_an_error_and_the_context_go_through() -> None:
    told: ContextVar[str] = ContextVar("told", default="nothing")
    told.set("the caller's")
    assert await in_ledger_thread(told.get) == "the caller's"
    with pytest.raises(ZeroDivisionError):
        await in_ledger_thread(lambda: 1 / 0)


async def test_what_was_opened_for_a_caller_that_is_gone_is_dropped() -> None:
    begun, may_end, dropped = threading.Event(), threading.Event(), threading.Event()

    def open_it() -> str:
        begun.set()
        may_end.wait(10)
        return "opened"

    def drop(what: str) -> None:
        assert what == "opened"
        dropped.set()

    task = asyncio.create_task(in_ledger_thread(open_it, drop=drop))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not dropped.is_set()
    may_end.set()
    assert await asyncio.to_thread(dropped.wait, 10)


async def test_what_fails_for_a_caller_that_is_gone_is_dropped_in_silence() -> None:
    begun, may_end = threading.Event(), threading.Event()
    dropped: list[object] = []

    def fail() -> None:
        begun.set()
        may_end.wait(10)
        raise OSError("nobody listens")

    task = asyncio.create_task(in_ledger_thread(fail, drop=dropped.append))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
    await in_ledger_thread(lambda: None)
    assert dropped == []


async def test_what_had_not_begun_when_its_caller_went_is_never_done() -> None:
    hang = threading.Event()
    done: list[int] = []
    stuck = [asyncio.create_task(in_ledger_thread(lambda: hang.wait(30))) for _ in range(LEDGER_THREADS)]
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(in_ledger_thread(lambda: done.append(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    hang.set()
    await asyncio.gather(*stuck)
    await in_ledger_thread(lambda: None)
    assert done == []


def test_a_forked_process_has_threads_of_its_own() -> None:
    """Airflow's triggerer is forked; so is what runs a task."""
    script = """
import asyncio, os, threading
from capillary.engine.runtime import in_ledger_thread
assert asyncio.run(in_ledger_thread(threading.get_ident)) != threading.get_ident()
child = os.fork()
if child == 0:
    async def first():
        async with asyncio.timeout(10):
            return await in_ledger_thread(os.getpid)
    os._exit(0 if asyncio.run(first()) == os.getpid() else 1)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(in_ledger_thread(os.getpid)) == os.getpid()
"""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", script], cwd=PACKAGE, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


class Looked(Exception):
    """What a look raises."""


def slept_and_looked(*, ends_after_s: float = 1e9) -> tuple[Runtime, list[float], list[float]]:
    """Return a runtime that looks, the sleeps it makes and the times at which it looks."""
    sleeps, looks = list[float](), list[float]()

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)

    def look() -> None:
        looks.append(sum(sleeps))
        if sum(sleeps) >= ends_after_s:
            raise Looked

    return Runtime(sleep=sleep, monotonic=lambda: sum(sleeps)).looking(look), sleeps, looks


async def test_a_long_sleep_is_as_long_as_asked_and_looks_every_few_seconds() -> None:
    runtime, sleeps, looks = slept_and_looked()
    await runtime.sleep(12)
    assert (sleeps, looks) == ([5, 5, 2], [0, 5, 10])


async def test_what_a_look_raises_ends_the_sleep() -> None:
    runtime, sleeps, _ = slept_and_looked(ends_after_s=5)
    with pytest.raises(Looked):
        await runtime.sleep(900)
    assert sleeps == [5]
    with pytest.raises(Looked):
        await runtime.sleep(900)
    assert sleeps == [5], "the next long sleep does not begin"


async def test_short_sleeps_count_together() -> None:
    runtime, sleeps, looks = slept_and_looked()
    for _ in range(24):
        await runtime.sleep(0.5)
    await runtime.sleep(0)
    assert sleeps == [0.5] * 24 + [0]
    assert looks == [5, 10]
