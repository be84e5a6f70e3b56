"""What the application says when it cannot show a page: in a page, with its status, and without anything of anybody."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from capillary.ledger.errors import LedgerUnavailable
from capillary.ui.access import Reader, reader
from capillary.ui.app import pages
from capillary.ui.errors import LedgerBusy, NoConnection
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import PLACE


class Ada:
    """A user of Airflow."""

    def get_name(self) -> str:
        return "ada"


def app_that(error: Exception) -> FastAPI:
    """Return the application for a reader of one DAG, whose ledger always raises."""

    def fail() -> str:
        raise error

    app = pages(LedgerReader(fail))
    app.dependency_overrides[reader] = lambda: Reader(Ada(), frozenset({"gold_tier"}))  # type: ignore[arg-type]
    return app


async def asked(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow.example") as client:
        return await client.get(path, headers={PLACE: "42"})


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NoConnection("badge_ledger"), 503, "AIRFLOW_CONN_BADGE_LEDGER"),
        (LedgerBusy("4 pages look"), 503, "4 pages look"),
        (LedgerUnavailable("the database is away: look at it"), 503, "the database is away: look at it"),
        (ZeroDivisionError("of customer 4711"), 500, "This page has failed (ZeroDivisionError)"),
    ],
    ids=["no connection", "busy", "away", "a fault of ours"],
)
async def test_what_goes_wrong_is_said_in_a_page(error: Exception, status: int, said: str) -> None:
    reply = await asked(app_that(error), "/customer")
    assert reply.status_code == status
    assert '<main class="page"' in reply.text
    assert said in reply.text
    assert "4711" not in reply.text
    assert ("data-renew" in reply.text) is (status == 503), "what may pass is tried again"
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_an_address_that_is_none_is_not_found() -> None:
    reply = await asked(app_that(NoConnection("badge_ledger")), "/nowhere")
    assert (reply.status_code, "Not found" in reply.text) == (404, True)


async def test_a_page_below_a_path_of_airflows_leads_below_it() -> None:
    app = FastAPI(root_path="/airflow")
    inner = app_that(NoConnection("badge_ledger"))
    app.mount("/capillary", inner)
    reply = await asked(app, "/airflow/capillary/customer")
    assert 'src="/airflow/capillary/static/shell.js"' in reply.text
    assert 'action="/airflow/capillary/customer"' in reply.text
