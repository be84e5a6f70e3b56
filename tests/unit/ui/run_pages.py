"""The pages of one run over HTTP, without Airflow: a ledger as it may be, and what Airflow may keep of the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from csv import DictReader
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import URL

from capillary.api.settings import PlatformSettings
from capillary.ledger.database import Ledger
from capillary.ledger.plan import Order
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from capillary.plan_preview import PREVIEW, PlanPreview
from capillary.ui import badges_view, failed_runs, import_errors, matters_view
from capillary.ui.access import Reader, reader
from capillary.ui.airflow_facts import EXTRACT, REPORT, CampaignDag, RunFacts
from capillary.ui.app import pages
from capillary.ui.failed_tasks import FailedTask
from capillary.ui.reading import LedgerReader
from capillary.ui.rendering import PLACE
from tests.unit.ledger.orders import plan, requests_of
from tests.unit.ledger.test_attention import end

DAG: Final = CampaignDag(
    dag_id="spring",
    paused=False,
    broken=False,
    live=True,
    fields=frozenset({"dry_run", "retry_outcomes", "retry_codes", "note"}),
    schedule=None,
    next_run_at=None,
    occasion="Spring 2026",
    connection="capillary",
    defaults={"canary": False},
)
#: The same campaign with *Canary* on.
CAREFUL: Final = replace(DAG, defaults={"canary": True})
MONTHLY: Final = replace(DAG, fields=DAG.fields | {"occasion_day"}, occasion="Spring {month}")
FACTS: Final = RunFacts(
    dag_id="spring",
    run_id="first",
    state="success",
    run_type="manual",
    by="ada",
    moment=datetime(2026, 10, 15, 6, 0, tzinfo=UTC),
    started_at=None,
    ended_at=None,
)
PASSED: Final = {"verdict": "pass", "sentence": "Done."}
DRY: Final = PASSED | {"dry_run": True, "requests": 2, "left_over": 0, "funnel": {"eligible": 30, "planned": 30}}
TEN: Final[dict[str, Any]] = {"customers_per_request": 10}


def dry_run(ledger: Ledger, customers: Iterable[int], order: Order) -> dict[str, Any]:
    """Return what the tasks of a dry run have returned, as Airflow keeps it: by task."""
    made = plan(ledger, customers, order, dry_run=True)
    preview = PlanPreview.of(made, order, 60)
    assert preview is not None
    counts = {name: getattr(made, name) for name in ("eligible", "known_before", "over_cap", "planned")}
    report = {"dry_run": True, "canary": made.canary, "requests": made.requests, "left_over": made.over_cap}
    return {
        REPORT: PASSED | report | {"funnel": counts},
        EXTRACT: json.loads(json.dumps({PREVIEW: preview.to_xcom()})),
    }


class Ada:
    """A reader who may do everything with one DAG, and nothing with another."""

    dag_ids = frozenset({"spring"})

    def may_trigger(self, _dag_id: str) -> bool:
        return True

    may_clear = may_read_xcoms = may_trigger


class Airflow:
    """What Airflow knows of the run."""

    def __init__(self, url: URL) -> None:
        self.dag, self.facts = DAG, FACTS
        self.told: dict[str, Any] = {}
        self.failed: FailedTask | None = None
        self.has_run = True
        self.active: tuple[RunFacts, ...] = ()
        self.newest: RunFacts | None = None
        self.recent: list[RunFacts] = []
        self.queued = "Airflow starts it in a moment."
        self.waits: str | None = "deferred"
        self.states: dict[tuple[str, str], str] = {}
        self.platform: PlatformSettings | None = None
        self.app = pages(LedgerReader(lambda: url))
        self.app.dependency_overrides[reader] = Ada

    def returned(self, runs: list[tuple[str, str]], task: str) -> dict[tuple[str, str], Any]:
        return {runs[0]: self.told[task]} if runs and task in self.told else {}

    def failed_tasks(self, runs: list[tuple[str, str]], **_: object) -> dict[tuple[str, str], FailedTask]:
        return {runs[0]: self.failed} if runs and self.failed else {}

    def states_of(self, runs: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return {run: self.states.get(run, self.facts.state) for run in runs}

    async def page(self, path: str, run_id: str = "first", *, at: str = "") -> str:
        """Return what a page says; `at`: what stands behind the # of its address."""
        self.facts = replace(self.facts, run_id=run_id)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://airflow") as client:
            reply = await client.get(f"/{path}/spring/{run_id}", headers={PLACE: at})
        assert reply.status_code == 200, reply.text
        return unescape(reply.text)

    async def csv(self, run_id: str = "first") -> list[dict[str, str]]:
        """Return the rows of the file of failed customers."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://airflow") as client:
            reply = await client.get(f"/runs/spring/{run_id}/failed.csv")
        assert reply.status_code == 200, reply.text
        return list(DictReader(reply.text.splitlines()))

    async def conf(self, action: str, run_id: str = "first") -> dict[str, Any]:
        found = re.search(r'data-body="(.*?)" data-then', await self.page(f"confirm/{action}", run_id), re.DOTALL)
        assert found, "there is no order"
        conf: dict[str, Any] = json.loads(found[1])["conf"]
        return conf


def ended(ledger: Ledger, order: Any, customers: range, code: int | None = 500) -> int | None:  # noqa: ANN401 - an order
    """Plan the customers in one request, which fails with a code; return the plan."""
    planned = plan(ledger, customers, order)
    (request,) = requests_of(ledger, planned)
    end(ledger, request.id, dict.fromkeys(customers, Ending(Outcome.FAILED, error_code=code)))
    return planned.badge_run_id


class Una(Reader):
    """A reader of one DAG who may do everything with it, and may edit the connection."""

    def may_trigger(self, dag_id: str) -> bool:
        return dag_id in self.dag_ids

    may_clear = may_read_xcoms = may_trigger

    def may_stop(self, conn_id: str | None) -> bool:
        return bool(conn_id)


async def asked(airflow: Airflow, monkeypatch: pytest.MonkeyPatch, path: str, dag_ids: set[str]) -> str:
    """Return what a page says to the reader of these DAGs."""
    user: Any = object()
    airflow.app.dependency_overrides[reader] = lambda: Una(user, frozenset(dag_ids))
    monkeypatch.setattr(badges_view, "campaign_dags", lambda _ids: {"spring": airflow.dag})
    monkeypatch.setattr(
        badges_view,
        "last_runs",
        lambda _ids: {"spring": replace(airflow.facts, run_id="held")} if airflow.has_run else {},
    )
    monkeypatch.setattr(badges_view, "returned", lambda runs, task, *_: airflow.returned(runs, task))
    monkeypatch.setattr(failed_runs, "recent_runs", lambda _ids: {"spring": [replace(airflow.facts, run_id="held")]})
    monkeypatch.setattr(failed_runs, "failed_tasks", airflow.failed_tasks)
    monkeypatch.setattr(failed_runs, "returned", lambda runs, task, *_: airflow.returned(runs, task))
    monkeypatch.setattr(badges_view, "why_not_started", lambda *_: airflow.queued)
    monkeypatch.setattr(import_errors, "broken_files", lambda _reader: ())
    monkeypatch.setattr(badges_view, "states_of", airflow.states_of)
    monkeypatch.setattr(badges_view, "deadlines", lambda _runs: {})
    monkeypatch.setattr(matters_view, "checker_url", lambda _conn: "")
    page, _, place = path.partition("#")
    transport = httpx.ASGITransport(airflow.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        reply = await client.get(f"/{page}", headers={PLACE: place})
    assert reply.status_code == 200, path
    return unescape(reply.text)
