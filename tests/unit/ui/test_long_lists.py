"""Lists that are longer than a page: it says how much there is and how to get at it, and the file is whole."""

from __future__ import annotations

import re
from typing import Final

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.status import Outcome
from capillary.ui import run_known, run_routes
from tests.unit.ledger.orders import plan, requests_of, run, settle_as
from tests.unit.ui.run_pages import Airflow

#: Customers of the run, three in each request.
CUSTOMERS: Final = range(1, 31)


@pytest.fixture
def ten_requests(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plan ten requests, of which a page shows four; return their keys."""
    monkeypatch.setattr(run_known, "REQUESTS_SHOWN", 4)
    planned = plan(ledger, CUSTOMERS, run("first"))
    return [str(each.request_key) for each in requests_of(ledger, planned)]


async def test_requests_are_paged_to_the_last_one_each_once(ten_requests: list[str], airflow: Airflow) -> None:
    at, found, said = "", [], []
    for _ in range(5):
        shown = await airflow.page("runs", at=at)
        found += re.findall(r'class="sub id">([^<]+)<', shown)
        said += re.findall(r"10 requests, here (\d+ to \d+) of them", shown)
        assert ("The first requests" in shown) is bool(at)
        following = re.search(r"#(requests-\d+)", shown)
        if following is None:
            break
        at = following[1]
    assert said == ["1 to 4", "5 to 8", "9 to 10"]
    assert found == ten_requests


async def test_requests_that_fit_on_a_page_are_not_paged(ledger: Ledger, airflow: Airflow) -> None:
    plan(ledger, CUSTOMERS, run("first"))
    shown = await airflow.page("runs")
    assert '<span class="muted">10 requests</span>' in shown
    assert "The next requests" not in shown


async def test_a_place_behind_the_last_request_leads_back(ten_requests: list[str], airflow: Airflow) -> None:
    shown = await airflow.page("runs", at="requests-9999")
    assert "No request comes after this place in the list." in shown
    assert "The first requests" in shown
    assert ten_requests[0] not in shown


@pytest.mark.parametrize("part", [1, 7, 10, 30, 31])
async def test_the_file_of_customers_is_whole_whatever_fits_into_a_part(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(run_routes, "_PART", part)
    for request in requests_of(ledger, plan(ledger, CUSTOMERS, run("first"))):
        settle_as(ledger, request.id, Outcome.FAILED)
    assert [int(row["customer_id"]) for row in await airflow.csv()] == list(CUSTOMERS)


async def test_the_list_of_customers_says_how_many_there_are(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_known, "CUSTOMERS_SHOWN", 9)
    requests = requests_of(ledger, plan(ledger, CUSTOMERS, run("first")))
    for request in requests[:-1]:
        settle_as(ledger, request.id, Outcome.FAILED)
    shown = await airflow.page("runs")
    assert "1 to 9 of 27 customers without the badge" in shown
    assert "All so far as CSV" in shown, "the last request may fail, too"
    for first, last in ((10, False), (19, True)):
        following = re.search(r"#(\d+-\d+)", shown)
        assert following is not None
        shown = await airflow.page("runs", at=following[1])
        assert f"{first} to {first + 8} of 27 customers without the badge" in shown
        assert ("The next customers" in shown) is not last
    settle_as(ledger, requests[-1].id, Outcome.ENROLLED)
    assert "All as CSV" in await airflow.page("runs")
