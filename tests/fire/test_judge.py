"""The judge finds what is planted: an installation in which all holds, and one break after the other.

The numbers of the invariants (I1 and so on) are those of docs/design.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, update

from capillary.api.settings import PlatformSettings
from capillary.engine.submit import submit_run
from capillary.engine.wait import advance
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import badge_enrolment, badge_request, badge_result, badge_sighting
from sandbox.server import running_sandbox
from sandbox.settings import MAKER
from tests.fire.campaigns import Campaign, Warehouse
from tests.fire.judge import judge
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox, ShiftedClock

CAMPAIGN = Campaign("gold", 1)
CREATE = "/api_gateway/v2/request-workflow/ISSUE-BADGE"


@dataclass
class JudgedInstallation:
    """What the judge looks at, and how it came about."""

    warehouse: Warehouse
    sandbox: httpx.Client
    engine: EngineOnSandbox

    @property
    def ledger(self) -> Ledger:
        """What the product knows."""
        return self.engine.ledger

    async def run(self, run_id: str) -> None:
        """Plan, submit, have the checker approve, settle."""
        plan = self.engine.plan(sorted(self.warehouse.customers()), run=run_id, size=5)
        assert plan.plan_id is not None
        async with self.engine.sender() as sender:
            await submit_run(sender, plan.plan_id, lease=LEASE)
            self.engine.sandbox.approve_all()
            await advance(sender, plan.plan_id, reader="test", lease=LEASE)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[JudgedInstallation]:
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
        engine = EngineOnSandbox(ledger, platform, settings, ShiftedClock())
        judged = JudgedInstallation(Warehouse(f"sqlite:///{tmp_path / 'warehouse.db'}"), sandbox, engine)
        judged.warehouse.grow(CAMPAIGN, 2)
        asyncio.run(judged.run("first"))
        yield judged


def send_twice(installation: JudgedInstallation) -> None:
    """The first request again, under another key."""
    task = json.loads(installation.engine.sandbox.platform.books.requests(bodies=True)[0].payload)
    task["body"]["requestId"] = "cb1.another"
    entity = {"tillId": "1", "storeId": "2", "zoneId": "3", "conceptId": "4"}
    headers = {"Authorization": installation.engine.settings.basic_authorization, "X-CAP-API-AUTH-ORG-ID": "100458"}
    body = {"entityInfo": entity, "payload": {"IntouchAPITask-Payload": task}}
    installation.sandbox.post(CREATE, json=body, headers=headers).raise_for_status()


def lose_a_customer(installation: JudgedInstallation) -> None:
    with installation.ledger.write() as tx:
        tx.conn.execute(
            delete(badge_enrolment).where(badge_enrolment.c.customer_id == min(installation.warehouse.customers()))
        )


def lose_counts(installation: JudgedInstallation) -> None:
    with installation.ledger.write() as tx:
        tx.conn.execute(delete(badge_result))


def plan_nobody_new(installation: JudgedInstallation) -> None:
    installation.warehouse.grow(CAMPAIGN, 1)


def guess(installation: JudgedInstallation) -> None:
    with installation.ledger.write() as tx:
        tx.conn.execute(update(badge_enrolment).values(outcome="already_enrolled"))


def leave_open(installation: JudgedInstallation) -> None:
    with installation.ledger.write() as tx:
        tx.conn.execute(update(badge_request).values(status="waiting", settled_at=None))


def miss_a_request(installation: JudgedInstallation) -> None:
    with installation.ledger.write() as tx:
        tx.conn.execute(delete(badge_sighting))


def test_all_holds(installation: JudgedInstallation) -> None:
    judgement = judge(installation)
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
def test_what_is_planted_is_found(
    installation: JudgedInstallation, plant: Callable[[JudgedInstallation], None], said: str
) -> None:
    plant(installation)
    broken = judge(installation).broken
    assert any(sentence.startswith(said) for sentence in broken), broken
