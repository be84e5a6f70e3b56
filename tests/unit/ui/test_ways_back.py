"""What a person sees who asks for a page that is not there, or not for them: a sentence, and a way from there."""

from __future__ import annotations

import re
from html import unescape
from typing import Final

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from capillary.ledger.database import Ledger
from capillary.ui import run_view
from capillary.ui.access import NothingToSee, reader
from capillary.ui.rendering import PLACE
from tests.unit.ledger.orders import plan
from tests.unit.ui.run_pages import Airflow

BADGES: Final = ("Badges", "/airflow/capillary/badges")
HOME: Final = ("Airflow", "/airflow/")
DAG: Final = ("See the DAG", "/airflow/dags/spring")


async def asked(airflow: Airflow, path: str, place: str = "") -> httpx.Response:
    """Return the answer of an Airflow that is served below a path."""
    whole = FastAPI(root_path="/airflow")
    whole.mount("/capillary", airflow.app)
    transport = httpx.ASGITransport(whole)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow.example") as client:
        return await client.get(path, headers={PLACE: place} if place else {})


def ways(reply: httpx.Response) -> list[tuple[str, str]]:
    """Return the ways from an error page: words and address."""
    found = re.findall(r'<a class="button[^"]*" href="([^"]*)">([^<]*)</a>', reply.text)
    return [(words, unescape(href)) for href, words in found]


@pytest.mark.parametrize(
    ("path", "status", "said", "expected"),
    [
        ("static/none.js", 404, "Nothing of the badge pages is at this address.", [BADGES, HOME]),
        ("static/", 404, "Nothing of the badge pages is at this address.", [BADGES, HOME]),
        ("static/a/b/c.css", 404, "Nothing of the badge pages is at this address.", [BADGES, HOME]),
        ("nowhere", 404, "Nothing of the badge pages is at this address.", [BADGES, HOME]),
        ("stop/capillary", 405, "A button of a page asks this address to do something.", [BADGES, HOME]),
        ("resume/capillary", 405, "It shows nothing by itself.", [BADGES, HOME]),
        (
            "runs/spring/none",
            404,
            "Neither Airflow nor the ledger knows a run 'none' of 'spring'.",
            [DAG, BADGES, HOME],
        ),
        ("confirm/retry/spring/none", 404, "Neither Airflow nor the ledger", [DAG, BADGES, HOME]),
        (
            "confirm/delete/spring/first",
            422,
            "action: Input should be",
            [("See the run", "/airflow/capillary/runs/spring/first"), DAG, BADGES, HOME],
        ),
        ("confirm/stop/capillary", 422, "account: Field required", [BADGES, HOME]),
    ],
)
async def test_an_error_page_says_why_and_leads_on(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, path: str, status: int, said: str, expected: list[object]
) -> None:
    monkeypatch.setattr(run_view, "run_facts", lambda _dag, _run: None)
    reply = await asked(airflow, f"/airflow/capillary/{path}")
    assert reply.status_code == status
    assert said in unescape(reply.text)
    assert ways(reply) == expected
    assert 'href="/airflow/capillary/static/pages.css"' in reply.text
    assert 'action="/airflow/capillary/customer"' in reply.text


async def test_a_place_that_is_none_leads_back_to_the_run(ledger: Ledger, airflow: Airflow) -> None:
    plan(ledger, [1])
    reply = await asked(airflow, "/airflow/capillary/runs/spring/first", "x")
    assert "'x' is not a place in the list." in unescape(reply.text)
    assert ways(reply)[0] == ("See the run", "/airflow/capillary/runs/spring/first")


async def test_who_may_see_nothing_is_not_led_in_a_circle(airflow: Airflow) -> None:
    def refuse() -> None:
        raise NothingToSee

    airflow.app.dependency_overrides[reader] = refuse
    assert ways(await asked(airflow, "/airflow/capillary/badges")) == [HOME]


async def test_who_is_nobody_is_led_to_the_login_and_back(airflow: Airflow) -> None:
    def refuse() -> None:
        raise HTTPException(401, "Not authenticated")

    airflow.app.dependency_overrides[reader] = refuse
    reply = await asked(airflow, "/airflow/capillary/customer", "4711")
    assert ways(reply) == [("Log in", "/airflow/api/v2/auth/login?next=%2Fairflow%2Fcapillary%2Fcustomer")]
    assert "4711" not in reply.text


async def test_the_address_of_the_application_itself_is_that_of_badges(airflow: Airflow) -> None:
    for path in ("/airflow/capillary/", "/airflow/capillary"):
        reply = await asked(airflow, path)
        assert reply.status_code == 307
        assert reply.headers["location"] in {BADGES[1], "http://airflow.example/airflow/capillary/"}
