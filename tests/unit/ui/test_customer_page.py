"""The page of a customer: its attempts by account and campaign, each under its own name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import httpx

from capillary.ledger.database import Ledger
from capillary.ui.access import Reader, reader
from capillary.ui.app import pages
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import PLACE
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import ORDER, SPEC, plan


async def test_campaigns_of_two_accounts_and_of_two_spellings_stand_apart(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("sqlite"))
    with Ledger(url) as ledger:
        for account in (SPEC.account, "other.example/1"):
            for campaign in ("spring", "Spring"):
                order = replace(
                    ORDER, spec=replace(SPEC, account=account), campaign=campaign, occasion=campaign, run_id=campaign
                )
                plan(ledger, [42], order)
    user: Any = object()
    app = pages(LedgerReader(lambda: url))
    app.dependency_overrides[reader] = lambda: Reader(user, frozenset({"spring"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow.example") as client:
        page = (await client.get("/customer", headers={PLACE: "42"})).text
    headings = re.findall(r'<h2 id="(c[^"]+)">([^<]+)</h2><span class="muted">([^<]+)</span>', page)
    assert [(name, account) for _, name, account in headings] == [
        ("Spring, occasion Spring", "other.example/1: 1 attempt"),
        ("spring, occasion spring", "other.example/1: 1 attempt"),
        ("Spring, occasion Spring", f"{SPEC.account}: 1 attempt"),
        ("spring, occasion spring", f"{SPEC.account}: 1 attempt"),
    ]
    assert len({anchor for anchor, _, _ in headings}) == 4
