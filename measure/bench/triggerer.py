"""Triggers in one event loop, as the triggerer runs them: `python -m measure.bench.triggerer ORDER ANSWER`.

The order names each trigger by the class path and the facts that Airflow's database would hold. Pauses are
shortened, nothing else is changed; what is counted is counted by looking on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from airflow.sdk.serde import deserialize, serialize

from capillary.engine import polling
from capillary.engine import watch as watching
from capillary.triggers import BadgeRequestTrigger
from measure.bench.measured import answer

_BEAT_S: Final = 0.005
_STEP_S: Final = 0.5


@dataclass(slots=True)
class Seen:
    """What was seen from aside. Readings: begin and end in seconds since the first trigger started, and pages."""

    readings: list[tuple[float, float, int]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    polls: int = 0
    longest_block_s: float = 0.0
    blocks_over_200_ms: int = 0


def _look_on(seen: Seen, begun: float) -> None:
    """Note every reading of the list and every poll of a trigger."""
    watch, poll = watching.watch, BadgeRequestTrigger.read_in_turn

    async def noted_watch(*args: Any, **options: Any) -> watching.Watched:  # noqa: ANN401 - handed on as they are
        at = time.perf_counter() - begun
        seen.at_once += 1
        seen.most_at_once = max(seen.most_at_once, seen.at_once)
        try:
            watched = await watch(*args, **options)
        finally:
            seen.at_once -= 1
        seen.readings.append((at, time.perf_counter() - begun, watched.read.pages))
        return watched

    async def noted_poll(self: BadgeRequestTrigger, *args: Any, **options: Any) -> object:  # noqa: ANN401 - as above
        ended = await poll(self, *args, **options)
        seen.polls += 1
        return ended

    watching.watch = noted_watch
    BadgeRequestTrigger.read_in_turn = noted_poll  # type: ignore[method-assign,assignment]


async def _beat(seen: Seen) -> None:
    """Measure how long the loop keeps one waiting who wants to go on."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(_BEAT_S)
        late = time.perf_counter() - begun - _BEAT_S
        seen.longest_block_s = max(seen.longest_block_s, late)
        seen.blocks_over_200_ms += late > 0.2


async def _first_event(trigger: BadgeRequestTrigger) -> str:
    async for event in trigger.run():
        return str(event.payload["status"])
    return "none"


async def _run(order: dict[str, Any], waiting: list[BadgeRequestTrigger], seen: Seen) -> list[str]:
    beat = asyncio.create_task(_beat(seen))
    tasks = [asyncio.create_task(_first_event(trigger)) for trigger in waiting]
    begun, pending = time.perf_counter(), set(tasks)
    while pending:
        passed_s = time.perf_counter() - begun
        if passed_s >= order["at_most_s"] or (passed_s >= order["for_s"] and len(seen.readings) >= order["readings"]):
            break
        _, pending = await asyncio.wait(pending, timeout=_STEP_S)
    done = [task for task in tasks if task.done()]
    beat.cancel()
    for task in pending:
        task.cancel()
    await asyncio.gather(beat, *pending, return_exceptions=True)
    return [task.result() for task in done]


def _made_again(classpath: str, facts: Mapping[str, object]) -> BadgeRequestTrigger:
    """Make a trigger from what Airflow's database holds."""
    module, _, name = classpath.rpartition(".")
    kwargs: Any = deserialize(json.loads(json.dumps(serialize(dict(facts)))))
    trigger = getattr(import_module(module), name)(**kwargs)
    assert isinstance(trigger, BadgeRequestTrigger)  # noqa: S101 - narrows the type
    return trigger


def _serve(order: dict[str, Any]) -> Mapping[str, object]:
    # The quiet time and the pauses are shortened; a poll does what it does.
    polling.QUIET_S = order["quiet_s"]  # type: ignore[misc] # a constant of the product
    polling._GROWTH = 1.0  # type: ignore[misc] # noqa: SLF001 - as above
    waiting = [_made_again(each["classpath"], each["facts"]) for each in order["triggers"]]
    for trigger in waiting:
        trigger.poll_interval_s = order["poll_interval_s"]
    seen, begun = Seen(), time.perf_counter()
    _look_on(seen, begun)
    events = asyncio.run(_run(order, waiting, seen))
    return {
        "events": events,
        "readings": seen.readings,
        "most_at_once": seen.most_at_once,
        "polls": seen.polls,
        "longest_block_s": seen.longest_block_s,
        "blocks_over_200_ms": seen.blocks_over_200_ms,
        "seconds": time.perf_counter() - begun,
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    answer(_serve)
