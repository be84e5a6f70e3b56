"""Senders with a ledger in a file, against the sandbox over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from sqlalchemy import select

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.ledger.database import Ledger
from capillary.ledger.plan import Order, Plan, commit_plan
from capillary.ledger.plan_id import PlanId
from capillary.ledger.schema import badge_run
from capillary.ledger.spec import Spec
from capillary.ledger.staging import staging
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import RunningSandbox

#: Longer than any test.
LEASE: Final = timedelta(hours=6)


@dataclass
class EngineOnSandbox:
    """Everything a campaign needs, and the platform's books to judge it by."""

    ledger: Ledger
    sandbox: RunningSandbox
    settings: PlatformSettings
    clock: ShiftedClock
    submitting: list[bool] = field(default_factory=lambda: [True])

    def spec(self) -> Spec:
        """Return what its requests are built from."""
        return Spec(
            account=self.settings.account,
            badge_id=GOLD_CIRCLE.badge_id,
            owner_type="Loyalty",
            reference_id="42",
            till_id="1",
            store_id="2",
            zone_id="3",
            concept_id="4",
            hostname=self.settings.base_url,
        )

    def plan(self, customers: Iterable[int], *, run: str = "run", size: int = 50) -> Plan:
        """Plan the customers as one run's query found them."""
        order = Order(
            dag_id="gold",
            run_id=run,
            task_id="extract",
            capillary_conn_id="capillary",
            campaign="gold",
            occasion="gold",
            spec=self.spec(),
            customers_per_request=size,
            canary=False,
        )
        with staging() as stage:
            stage.add(list(enumerate(customers, start=1)), [])
            return commit_plan(self.ledger, stage, order)

    def plan_id(self, badge_run_id: int) -> PlanId:
        """Return what a task holds of a plan that the ledger has now."""
        with self.ledger.read() as tx:
            token = tx.conn.execute(select(badge_run.c.token).where(badge_run.c.id == badge_run_id)).scalar_one()
        return PlanId(badge_run_id, token)

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[Sender]:
        """One process's sender, closed at the end."""
        runtime = Runtime(sleep=asyncio.sleep, monotonic=time.monotonic, random=Random(1))  # noqa: S311 - jitter
        settings = self.settings
        pace = LedgerPace(self.ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime)
        transport = AiohttpTransport(
            connect_timeout_s=settings.connect_timeout_s, verify_tls=True, proxy=None, connections=8
        )
        client = Client(
            settings,
            transport=transport,
            pace=pace,
            sleep=runtime.sleep,
            monotonic=runtime.monotonic,
            random=runtime.random,
        )

        async def may_submit() -> bool:
            return self.submitting[0]

        async with client:
            yield Sender(self.ledger, client, runtime, may_submit)

    def requests_of(self, customer: int) -> list[str]:
        """Return the platform request ids that hold the customer: the platform's books."""
        return [
            request.platform_request_id for request in self.sandbox.platform.requests() if customer in request.customers
        ]


class ShiftedClock:
    """The machine's clock, moved on when a test says so."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.shift
