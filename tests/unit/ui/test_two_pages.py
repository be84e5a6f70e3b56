"""What *Badges* and a run's own page say of one thing: the same button comes first, the same moment has one name."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from capillary.api.settings import PlatformSettings
from capillary.ledger.database import Ledger
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, send
from tests.unit.ledger.test_attention import end
from tests.unit.ui.run_pages import TEN, Airflow, asked

RETRY = re.compile(r'<a class="(button[^"]*)"[^>]*>Retry the failed…</a>')


@pytest.mark.parametrize(
    ("endings", "looks"),
    [
        ([Ending(Outcome.FAILED, error_code=500)], "button main"),
        ([Ending(Outcome.FAILED, error_code=816)], "button"),
        ([Ending(Outcome.FAILED, error_code=1026)], "button"),
        ([Ending(Outcome.REJECTED)], "button"),
        ([Ending(Outcome.FAILED, error_code=1026), Ending(Outcome.UNCONFIRMED)], "button main"),
    ],
    ids=["it passes by itself", "another date", "the customer's data", "the checker", "one of two"],
)
async def test_a_retry_comes_first_on_both_pages_or_on_neither(
    ledger: Ledger, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, endings: list[Ending], looks: str
) -> None:
    (request,) = requests_of(ledger, plan(ledger, range(1, len(endings) + 1), run("held", **TEN)))
    end(ledger, request.id, dict(enumerate(endings, start=1)))
    airflow.facts = replace(airflow.facts, state="failed")
    assert RETRY.findall(await asked(airflow, monkeypatch, "badges", {"spring"})) == [looks]
    assert RETRY.findall(await airflow.page("runs", "held")) == [looks]


async def test_a_run_says_when_it_saw_the_decision_and_when_the_platform_says_it_was(
    ledger: Ledger, airflow: Airflow
) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1], run("first", **TEN)))
    send(ledger, request.id)
    with ledger.write() as tx:
        record_sighting(tx, request.id, Seen("p-1", "AdminTask", decided=False))
    waiting = await airflow.page("runs")
    assert "by the platform’s clock" not in waiting
    with ledger.write() as tx:
        record_sighting(tx, request.id, Seen("p-1", "approved", decided=True, end_time="2026-11-27T06:52:53"))
    shown = await airflow.page("runs")
    assert re.search(r'<th scope="col">Seen decided</th>', shown)
    assert not re.search(r'<th scope="col">Decided</th>|data-name="Decided"', shown)
    (cell,) = re.findall(r'<td data-name="Seen decided">(.*?)</td>', shown)
    assert "<time" in cell
    assert "ended 2026-11-27 06:52:53 by the platform’s clock, in the cluster’s time zone<" in cell
    here = PlatformSettings("https://platform.example", "100458", "till", "secret", cluster_timezone="Asia/Kolkata")
    assert here.account != SPEC.account
    airflow.platform = here
    assert "by the platform’s clock, in the cluster’s time zone<" in await airflow.page("runs"), "of another account"
    account = SPEC.account.partition("/")
    airflow.platform = replace(here, base_url=f"https://{account[0]}", organisation_id=account[2])
    assert airflow.platform.account == SPEC.account
    assert "ended 2026-11-27 06:52:53 +05:30 by the platform’s clock<" in await airflow.page("runs")


async def test_a_row_promises_no_run_of_a_file_that_does_not_load(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = datetime(2030, 1, 1, tzinfo=UTC)
    airflow.dag = replace(airflow.dag, next_run_at=tomorrow)
    (cell,) = re.findall(r'data-name="Next run">(.*?)</td>', await asked(airflow, monkeypatch, "badges", {"spring"}))
    assert 'datetime="2030-01-01' in cell
    airflow.dag = replace(airflow.dag, broken=True)
    shown = await asked(airflow, monkeypatch, "badges", {"spring"})
    (cell,) = re.findall(r'data-name="Next run">(.*?)</td>', shown)
    assert cell == '<span class="muted">none until its file loads</span>'
    assert "2030-01-01" not in shown
