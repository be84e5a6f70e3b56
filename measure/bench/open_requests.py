"""Runs that overlap, each with its requests on the platform: `python -m measure.bench.open_requests ORDER ANSWER`.

Planned by the real operator and sent by the real sender, without the look at the whole list that a submitting
task begins with; the first run then looks once and defers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import select

from capillary.engine.absence import doubt_after
from capillary.engine.send import Sender, Sent
from capillary.engine.submit import IN_FLIGHT
from capillary.ledger.database import Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import Claim, claim
from capillary.ledger.schema import badge_request
from capillary.sensors import BadgeRequestSensor
from capillary.wiring import open_ledger, open_sender
from measure.bench.measured import answer
from measure.bench.tasks import context, planning


def _open(order: dict[str, Any]) -> Mapping[str, object]:
    """Return a trigger for every run, as its sensor defers with."""
    size, requests = order["customers_per_request"], order["requests_per_run"]
    plans: list[dict[str, int | bool | str | None]] = []
    for number in range(order["campaigns"] * order["runs_each"]):
        campaign, run_id = f"campaign_{number % order['campaigns']}", f"run_{number // order['campaigns']}"
        sql = f"SELECT customer_id FROM earned LIMIT {size * requests} OFFSET {number * size * requests}"  # noqa: S608 - numbers
        operator = planning(sql, campaign=campaign, customers_per_request=size)
        plans.append(operator.execute(context(f"extract_{campaign}", run_id)))
    asyncio.run(_send_all())
    classpath, facts = _deferred(plans[0])
    return {"triggers": [{"classpath": classpath, "facts": facts | _run_of(plan)} for plan in plans]}


async def _send_all() -> None:
    with open_ledger("badge_ledger") as ledger:
        with ledger.read() as tx:
            rows = tx.conn.execute(select(badge_request.c.id, badge_request.c.badge_run_id)).all()
            begun = tx.now
        async with open_sender(ledger, "capillary") as sender:
            waiting = iter([(row.id, row.badge_run_id) for row in rows])

            async def worker() -> None:
                for request_id, badge_run_id in waiting:
                    await _send(sender, request_id, badge_run_id, begun)

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def _send(sender: Sender, request_id: int, badge_run_id: int, list_read_at: datetime) -> None:
    settings = sender.client.settings

    def claimed(tx: Transaction) -> Claim | None:
        return claim(
            tx,
            request_id,
            badge_run_id=OpenPlan(badge_run_id),
            sender=settings.sender,
            doubt_after=doubt_after(settings),
        )

    sending = await sender.send(request_id, claimed, list_read_at=list_read_at)
    if sending.sent is not Sent.ACCEPTED:
        raise RuntimeError(f"request {request_id} should have been accepted, and was {sending.sent}")


def _run_of(plan: Mapping[str, object]) -> dict[str, object]:
    return {name: plan[name] for name in ("badge_run_id", "token")}


def _deferred(plan: object) -> tuple[str, dict[str, Any]]:
    try:
        BadgeRequestSensor(task_id="wait", plan=plan, timeout=timedelta(days=7)).execute(context("wait"))
    except TaskDeferred as deferral:
        classpath, facts = deferral.trigger.serialize()
        return str(classpath), dict(facts)
    raise RuntimeError("the sensor did not defer: nothing was left undecided")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    answer(_open)
