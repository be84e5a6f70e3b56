"""The databases of the ledger's own tests, and the pages of one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ui import run_view
from tests.unit.ledger.conftest import empty_database, postgresql_server
from tests.unit.ui.run_pages import Airflow

__all__ = ["empty_database", "postgresql_server"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", new=True, check_schema=False) as made:
        create(made.engine)
        yield made


@pytest.fixture
def airflow(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Airflow:
    made = Airflow(ledger.engine.url)
    monkeypatch.setattr(run_view, "campaign_dags", lambda _ids: {"spring": made.dag})
    monkeypatch.setattr(run_view, "run_facts", lambda _dag, _run: made.facts)
    monkeypatch.setattr(run_view, "runs_not_over", lambda _dag: (made.active, made.newest))
    monkeypatch.setattr(run_view, "returned", made.returned)
    monkeypatch.setattr(run_view, "deadlines", lambda _runs: {})
    monkeypatch.setattr(run_view, "failed_tasks", made.failed_tasks)
    monkeypatch.setattr(run_view, "checker_url", lambda _conn: "")
    monkeypatch.setattr(run_view, "recent_runs", lambda _ids: {"spring": made.recent})
    monkeypatch.setattr(run_view, "why_not_started", lambda *_: made.queued)
    monkeypatch.setattr(run_view, "task_state", lambda *_: made.waits)
    monkeypatch.setattr(run_view, "platform_of", lambda _conn: made.platform)
    return made
