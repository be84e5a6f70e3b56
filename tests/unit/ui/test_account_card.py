"""What stands at the foot of the page Badges of an account: its pace, the next call, and pauses that were asked for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import update

from capillary.ledger import pace
from capillary.ledger.database import Ledger
from capillary.ledger.schema import badge_pace
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, settle_as
from tests.unit.ui.run_pages import Airflow, asked


async def test_an_account_says_when_it_may_be_called_and_whether_it_was_told_to_pause(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def card() -> str:
        return (await asked(airflow, monkeypatch, "badges", {"spring"})).partition('class="foot"')[2]

    plan(ledger, [1])
    shown = await card()
    assert "nobody has called yet" in shown
    assert shown.count("none so far") == 2, "neither a call nor a pause"
    with ledger.write() as tx:
        pace.take_slot(tx, SPEC.account, calls_per_minute=1)
        pace.block(tx, SPEC.account, seconds=60)
    shown = await card()
    assert "its turn comes" in shown
    assert "nobody calls until" in shown
    assert re.search(r"1 on \d{4}-\d\d-\d\d \(UTC\), 1 pause asked for", shown)
    with ledger.write() as tx:
        before = tx.now - timedelta(hours=1)
        tx.conn.execute(update(badge_pace).values(next_slot_at=before, blocked_until=before))
    shown = await card()
    assert "at once; none was made since" in shown
    assert "not now; the last pause ended" in shown


async def test_an_account_whose_submits_are_refused_is_not_called_sending(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def card() -> str:
        return (await asked(airflow, monkeypatch, "badges", {"spring"})).partition('class="foot"')[2]

    first, second = requests_of(ledger, plan(ledger, range(1, 5)))
    assert "</svg>sending</span>" in await card()
    settle_as(ledger, first.id, Outcome.ENROLLED, auto=True)
    shown = await card()
    assert re.search(r'<span class="tag bad">.*?</svg>refused: auto-approval</span>', shown, re.DOTALL)
    assert "</svg>sending</span>" not in shown
    assert 'href="/badges/runs/spring/first"' in shown or "/runs/spring/first" in shown
    settle_as(ledger, second.id, Outcome.ENROLLED)
    third = requests_of(ledger, plan(ledger, [9], run("later")))[0]
    settle_as(ledger, third.id, Outcome.ENROLLED)
    assert "</svg>sending</span>" in await card()
