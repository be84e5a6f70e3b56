"""The judge finds what is planted: a world in which all holds, and one break after the other.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx
import pytest
from sqlalchemy import delete, update

from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine.pace import LedgerPace
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.engine.submit import submit_run
from capillary.engine.wait import advance
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order, commit_plan
from capillary.ledger.schema import badge_enrolment, badge_request, badge_result, badge_sighting
from capillary.ledger.spec import Spec
from capillary.ledger.staging import staging
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.settings import MAKER
from tests.fire.campaigns import Campaign, Warehouse
from tests.fire.judge import judge

CAMPAIGN = Campaign("gold", 1)
LEASE = timedelta(hours=6)
CREATE = "/api_gateway/v2/request-workflow/ISSUE-BADGE"


@dataclass
class World:
    """What the judge looks at, and the sandbox's own handle."""

    warehouse: Warehouse
    ledger: Ledger
    sandbox: httpx.Client
    settings: PlatformSettings
    platform: RunningSandbox

    async def run(self, run_id: str) -> None:
        """Plan, submit, have the checker approve, settle."""
        spec = Spec(
            account=self.settings.account,
            badge_id=GOLD_CIRCLE.badge_id,
            owner_type="Loyalty",
            reference_id="1",
            till_id="1",
            store_id="2",
            zone_id="3",
            concept_id="4",
            hostname=self.settings.base_url,
        )
        order = Order(
            dag_id=CAMPAIGN.name,
            run_id=run_id,
            task_id="extract",
            capillary_conn_id="capillary",
            campaign=CAMPAIGN.name,
            occasion=CAMPAIGN.name,
            spec=spec,
            customers_per_request=5,
            canary=False,
        )
        with staging() as stage:
            stage.add(list(enumerate(sorted(self.warehouse.customers()), start=1)), [])
            plan = commit_plan(self.ledger, stage, order)
        assert plan.plan_id is not None
        runtime = Runtime(sleep=asyncio.sleep, monotonic=time.monotonic, random=Random(1))  # noqa: S311 - jitter
        pace = LedgerPace(self.ledger, self.settings.account, calls_per_minute=6000, runtime=runtime)
        transport = AiohttpTransport(connect_timeout_s=2, verify_tls=True, proxy=None)
        client = Client(
            self.settings,
            transport=transport,
            pace=pace,
            sleep=runtime.sleep,
            monotonic=runtime.monotonic,
            random=runtime.random,
        )

        async def may_submit() -> bool:
            return True

        async with client:
            sender = Sender(self.ledger, client, runtime, may_submit)
            await submit_run(sender, plan.plan_id, lease=LEASE)
            self.platform.approve_all()
            await advance(sender, plan.plan_id, reader="test", lease=LEASE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger(url, new=True) as fresh:
        create(fresh.engine)
    with (
        running_sandbox() as platform,
        Ledger(url) as ledger,
        httpx.Client(base_url=platform.url, trust_env=False) as sandbox,
    ):
        settings = PlatformSettings(
            base_url=platform.url,
            organisation_id="100458",
            login=MAKER.username,
            password=MAKER.password,
            calls_per_minute=6000,
            cluster_timezone="Asia/Kolkata",
        )
        world = World(Warehouse(f"sqlite:///{tmp_path / 'warehouse.db'}"), ledger, sandbox, settings, platform)
        world.warehouse.grow(CAMPAIGN, 2)
        asyncio.run(world.run("first"))
        yield world


def send_twice(world: World) -> None:
    """The first request again, under another key."""
    task = json.loads(world.platform.platform.books.requests(bodies=True)[0].payload)
    task["body"]["requestId"] = "cb1.another"
    entity = {"tillId": "1", "storeId": "2", "zoneId": "3", "conceptId": "4"}
    headers = {"Authorization": world.settings.basic_authorization, "X-CAP-API-AUTH-ORG-ID": "100458"}
    body = {"entityInfo": entity, "payload": {"IntouchAPITask-Payload": task}}
    world.sandbox.post(CREATE, json=body, headers=headers).raise_for_status()


def lose_a_customer(world: World) -> None:
    with world.ledger.write() as tx:
        tx.conn.execute(
            delete(badge_enrolment).where(badge_enrolment.c.customer_id == min(world.warehouse.customers()))
        )


def lose_counts(world: World) -> None:
    with world.ledger.write() as tx:
        tx.conn.execute(delete(badge_result))


def plan_nobody_new(world: World) -> None:
    world.warehouse.grow(CAMPAIGN, 1)


def guess(world: World) -> None:
    with world.ledger.write() as tx:
        tx.conn.execute(update(badge_enrolment).values(outcome="already_enrolled"))


def leave_open(world: World) -> None:
    with world.ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(status="waiting", settled_at=None))


def miss_a_request(world: World) -> None:
    with world.ledger.write() as tx:
        tx.conn.execute(delete(badge_sighting))


def test_all_holds(world: World) -> None:
    judgement = judge(world)
    assert judgement.broken == ()
    assert (judgement.customers, judgement.requests, judgement.doubled, judgement.lost) == (10, 2, 0, 0)
    assert judgement.outcomes == {"enrolled": 10}


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (send_twice, "I1: 5 customers are in two requests"),
        (lose_a_customer, "I2: 1 customers have no outcome"),
        (lose_a_customer, "I2: the ledger breaks 2 of its own rules: request cb1."),
        (lose_counts, "I2: the funnel does not add up for gold first"),
        (plan_nobody_new, "I2: 5 customers have no outcome"),
        (guess, "I3: 10 customers are enrolled by the platform alone"),
        (miss_a_request, "I3: 2 requests on the platform are unknown to the ledger"),
        (leave_open, "I8: 2 requests are not settled"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value[:2],
)
def test_what_is_planted_is_found(world: World, plant: Callable[[World], None], said: str) -> None:
    plant(world)
    broken = judge(world).broken
    assert any(sentence.startswith(said) for sentence in broken), broken
