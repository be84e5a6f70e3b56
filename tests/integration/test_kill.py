"""kill -9 of the submitting process in mid-call, then its retry."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from capillary.engine.submit import submit_run
from capillary.engine.watch import watch
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox

ROOT = Path(__file__).parents[2]
CUSTOMERS = range(1, 401)


async def finish(sandboxed: EngineOnSandbox, badge_run_id: int) -> None:
    async with sandboxed.sender() as sender:
        await submit_run(sender, sandboxed.plan_id(badge_run_id), lease=LEASE)
        await watch(sender.ledger, sender.client, sender.runtime)


def test_a_killed_sender_leaves_nobody_twice_and_nobody_behind(sandboxed: EngineOnSandbox) -> None:
    plan = sandboxed.plan(CUSTOMERS, size=20)
    assert plan.badge_run_id is not None
    # The first request is accepted and goes alone; then eight are under way at once.
    sandboxed.sandbox.switch(latency_s=0.05)
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
        [
            sys.executable,
            str(Path(__file__).with_name("dying_sender.py")),
            sandboxed.ledger.url.render_as_string(hide_password=False),
            sandboxed.sandbox.url,
            str(plan.badge_run_id),
            str(plan.token),
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}"},
    )
    deadline = time.monotonic() + 30
    while len(sandboxed.sandbox.platform.requests()) < 5:
        assert process.poll() is None, "the sender ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert 5 <= len(sandboxed.sandbox.platform.requests()) < plan.requests

    asyncio.run(finish(sandboxed, plan.badge_run_id))
    held = [customer for request in sandboxed.sandbox.platform.requests() for customer in request.customers]
    assert sorted(held) == list(CUSTOMERS)
