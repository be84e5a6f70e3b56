"""A process that submits one run and may be killed at any moment: `dying_sender.py LEDGER PLATFORM RUN TOKEN`."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from random import Random

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.engine.submit import submit_run
from capillary.ledger.database import Ledger
from capillary.ledger.plan_id import PlanId


async def main(ledger_url: str, platform_url: str, plan: PlanId) -> None:
    """Submit the run as an Airflow task would."""
    settings = PlatformSettings(
        base_url=platform_url,
        organisation_id="100458",
        login="sandbox-maker",
        password="sandbox-maker",
        calls_per_minute=60_000,
    )
    runtime = Runtime(sleep=asyncio.sleep, monotonic=time.monotonic, random=Random(1))  # noqa: S311 - jitter
    ledger = Ledger(ledger_url)
    pace = LedgerPace(ledger, settings.account, calls_per_minute=60_000, runtime=runtime)
    transport = AiohttpTransport(connect_timeout_s=5, verify_tls=True, proxy=None, connections=8)

    async def may_submit() -> bool:
        return True

    client = Client(
        settings,
        transport=transport,
        pace=pace,
        sleep=runtime.sleep,
        monotonic=runtime.monotonic,
        random=runtime.random,
    )
    async with client:
        sender = Sender(ledger, client, runtime, may_submit)
        await submit_run(sender, plan, lease=timedelta(hours=1))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], PlanId(int(sys.argv[3]), sys.argv[4])))
