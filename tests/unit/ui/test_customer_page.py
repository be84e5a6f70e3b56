"""The page of a customer: its attempts by account and campaign, each under its own name."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import httpx
import pytest

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


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("12x", "give the platform’s number, digits only"),
        ("-1", "give the platform’s number, digits only"),
        ("0", "ids begin at 1"),
        ("007", "write the number without zeros in front of it"),
        ("%D9%A4%D9%A2", "digits other than 0 to 9"),
        ("9223372036854775808", "too large: the largest is 9223372036854775807, of 19 digits"),
        ("12345678901234567890123", "too large: the largest is 9223372036854775807, of 19 digits"),
        ("9" * 5_000, "too large: the largest is 9223372036854775807, of 19 digits"),
        ("9223372036854775807", None),
        ("", None),
    ],
    ids=[
        "letters",
        "sign",
        "zero",
        "zeros",
        "other digits",
        "one above",
        "23 digits",
        "5,000 digits",
        "largest",
        "none",
    ],
)
async def test_what_is_no_customer_id_is_told_why(empty_database: EmptyDatabase, typed: str, said: str | None) -> None:
    url = migrated(empty_database("sqlite"))
    user: Any = object()
    app = pages(LedgerReader(lambda: url))
    app.dependency_overrides[reader] = lambda: Reader(user, frozenset({"spring"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow.example") as client:
        reply = await client.get("/customer", headers={PLACE: typed})
    assert reply.status_code == 200
    assert re.findall(r"is not a customer id: ([^<]*)\.</p>", unescape(reply.text)) == ([] if said is None else [said])
