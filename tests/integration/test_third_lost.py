"""A third of all POSTs lose or garble their answer: submit waits, comes back, and each customer is asked for once.

`make doubt` is the long one, through real Airflow.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

from capillary.engine.submit import submit_run
from sandbox.faults import FaultKind, Route, When
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

REQUESTS, EACH = 20, 3
LOSSES: tuple[tuple[FaultKind, When], ...] = (
    (FaultKind.DROP, When.BEFORE),
    (FaultKind.DROP, When.AFTER),
    (FaultKind.RESET, When.AFTER),
    (FaultKind.STATUS, When.AFTER),
    (FaultKind.HTML, When.AFTER),
    (FaultKind.TRUNCATED, When.AFTER),
)

_LOG = logging.getLogger(__name__)


async def test_a_third_of_all_answers_lost_takes_one_run(sandboxed: EngineOnSandbox) -> None:
    sandboxed.settings = replace(sandboxed.settings, post_timeout_s=2, visibility_lag_s=4)
    sandboxed.sandbox.switch(list_lag_s=2)
    random = Random(3)  # noqa: S311 - losses that can be repeated
    for _ in range(3 * REQUESTS):
        kind, when = random.choice(LOSSES) if random.random() < 1 / 3 else (FaultKind.DELAY, When.AFTER)
        sandboxed.sandbox.fault("submit", kind, when=when, seconds=0)
    customers = range(1_001, 1_001 + REQUESTS * EACH)
    plan = sandboxed.plan(customers, size=EACH)
    assert plan.badge_run_id is not None
    began, left = datetime.now(UTC), 0
    async with sandboxed.sender() as sender:
        while True:
            waits = (await submit_run(sender, sandboxed.plan_id(plan.badge_run_id), lease=LEASE)).waits
            if waits is None:
                break
            assert waits.until is not None
            left += 1
            await asyncio.sleep(max(0.0, (waits.until - datetime.now(UTC)).total_seconds()))
    calls = sandboxed.sandbox.platform.calls
    took_s = (datetime.now(UTC) - began).total_seconds()
    _LOG.info(
        "%d s, left %d times, %d POSTs, %d calls of the list", took_s, left, calls[Route.SUBMIT], calls[Route.LIST]
    )
    held = [customer for request in sandboxed.sandbox.platform.requests() for customer in request.customers]
    assert len(held) == len(set(held)), "nobody is asked for twice"
    # What never arrived among the last ones is judged by who waits for the run.
    with sandboxed.ledger.read() as tx:
        in_doubt = tx.conn.exec_driver_sql("SELECT sum(customers) FROM badge_request WHERE status = 'sending'").scalar()
    assert int(in_doubt or 0) >= len(set(customers) - set(held))
    assert took_s < 80
