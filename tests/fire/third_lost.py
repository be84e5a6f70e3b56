"""One campaign while a third of all POSTs lose or garble their answer: one run, and no retry."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from sqlalchemy import text

from sandbox.faults import FaultKind, Route, When
from tests.fire.campaigns import Campaign
from tests.fire.judge import Judgement, judge
from tests.fire.stack import Stack, Times

REQUESTS: Final = 123
LOSSY: Final = Campaign("fire_lost", 1, customers_per_request=10)
LOSSY_TIMES: Final = Times(post_timeout_s=60, visibility_lag_s=8, list_lag_s=4)
#: A run in which something that never arrived was followed by nothing that could be its control takes an hour more.
LIMIT_S: Final = 5 * 60.0
_GIVE_UP_S: Final = 5_400.0
_LOOK_S: Final = 1.0
#: Sends that get an end of their own; resends are few.
_SENDS: Final = 400

#: What goes wrong with one POST of three. One of six of these never arrived.
_LOSSES: Final[tuple[Mapping[str, object], ...]] = (
    {"kind": FaultKind.DROP, "when": When.BEFORE},
    {"kind": FaultKind.DROP, "when": When.AFTER},
    {"kind": FaultKind.RESET},
    {"kind": FaultKind.STATUS, "when": When.AFTER, "status": 500},
    {"kind": FaultKind.HTML, "when": When.AFTER},
    {"kind": FaultKind.TRUNCATED},
)
_NO_LOSS: Final[Mapping[str, object]] = {"kind": FaultKind.DELAY, "seconds": 0}


@dataclass(frozen=True, slots=True)
class Lost:
    """What came of it.

    Attributes:
        seconds: from the run's trigger to its end.
        state: of the run, in Airflow's word.
        tries: of each task.
        calls: of the platform, by route.
        judgement: by the books.
    """

    seconds: float
    state: str
    tries: Mapping[str, int]
    calls: Mapping[str, int]
    judgement: Judgement

    @property
    def holds(self) -> bool:
        """Whether one run did it in time, nothing was tried again, and no promise is broken."""
        return (
            self.state == "success"
            and self.seconds <= LIMIT_S
            and set(self.tries.values()) == {1}
            and not self.judgement.broken
        )


def third_lost(stack: Stack, seed: int, tell: Callable[[str], None]) -> Lost:
    """Run the campaign once over a stack in which nothing has run yet, and judge.

    Args:
        stack: with `LOSSY` loaded.
        seed: of the losses.
        tell: takes one line for each event.
    """
    random = Random(seed)  # noqa: S311 - a seed replays the draws
    for _ in range(_SENDS):
        loss = random.choice(_LOSSES) if random.random() < 1 / 3 else _NO_LOSS
        stack.sandbox.post("/_sandbox/faults", json={"route": Route.SUBMIT, **loss}).raise_for_status()
    stack.warehouse.grow(LOSSY, REQUESTS)
    began = time.monotonic()
    stack.api.trigger_as(LOSSY.name, "lost")
    before = ""
    while time.monotonic() - began < _GIVE_UP_S and _state(stack) not in {"success", "failed"}:
        time.sleep(_LOOK_S)
        if (standing := _standing(stack)) != before:
            before = standing
            tell(standing)
    seconds = time.monotonic() - began
    calls = {str(route): int(count) for route, count in stack.sandbox.get("/_sandbox/calls").json().items()}
    return Lost(seconds, _state(stack), _tries(stack), calls, judge(stack))


def _state(stack: Stack) -> str:
    with stack.airflow.connect() as conn:
        found = conn.execute(text("SELECT state FROM dag_run WHERE dag_id = :dag"), {"dag": LOSSY.name})
        return str(found.scalar_one())


def _standing(stack: Stack) -> str:
    with stack.airflow.connect() as conn:
        rows = conn.execute(
            text("SELECT task_id, coalesce(state, 'none') FROM task_instance WHERE dag_id = :dag"), {"dag": LOSSY.name}
        ).all()
    with stack.ledger.read() as tx:
        requests = tx.conn.execute(text("SELECT status, count(*) FROM badge_request GROUP BY status ORDER BY 1")).all()
    return "; ".join(
        (
            ", ".join(f"{task} {state}" for task, state in sorted(rows)),
            ", ".join(f"{count} {status}" for status, count in requests),
        )
    )


def _tries(stack: Stack) -> Mapping[str, int]:
    with stack.airflow.connect() as conn:
        rows = conn.execute(
            text("SELECT task_id, try_number FROM task_instance WHERE dag_id = :dag"), {"dag": LOSSY.name}
        ).all()
    return {task: int(tries) for task, tries in rows}
