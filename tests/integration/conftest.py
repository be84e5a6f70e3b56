"""The engine against the sandbox over a real socket, with a ledger in a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine import second_look
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order, Plan, commit_plan
from capillary.ledger.plan_id import PlanId
from capillary.ledger.schema import badge_run
from capillary.ledger.spec import Spec
from capillary.ledger.staging import staging
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import SandboxSettings

LEASE = timedelta(hours=6)


@dataclass
class House:
    """Everything a campaign needs, and the platform's books to judge it by."""

    ledger: Ledger
    sandbox: RunningSandbox
    settings: PlatformSettings
    clock: ShiftedClock
    submitting: list[bool] = field(default_factory=lambda: [True])

    def spec(self) -> Spec:
        """Return what this house's requests are built from."""
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

    def plan(self, customers: range, *, run: str = "run", size: int = 50) -> Plan:
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


@pytest.fixture(autouse=True)
def _short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds of waiting for each run would be most of these tests."""
    monkeypatch.setattr(second_look, "LOOK_AFTER_S", 0.3)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    clock = ShiftedClock()
    # The hours that a test lets pass go by for both: a clock of one of them that jumps is another story.
    of_platform = running_sandbox(SandboxSettings(), clock=lambda: clock().timestamp())
    with of_platform as sandbox, Ledger(url, clock=clock) as ledger:
        settings = PlatformSettings(
            base_url=sandbox.url,
            organisation_id="100458",
            login="sandbox-maker",
            password="sandbox-maker",
            calls_per_minute=60_000,
            cluster_timezone="Asia/Kolkata",
            visibility_lag_s=1,
            post_timeout_s=3,
            connect_timeout_s=1,
        )
        yield House(ledger, sandbox, settings, clock)
