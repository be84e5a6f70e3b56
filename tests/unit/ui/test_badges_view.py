"""What the page Badges gathers: accounts kept apart, and one odd row takes no other part of the page with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from capillary.ledger.database import Ledger
from capillary.ledger.overview import campaigns
from capillary.ledger.status import Outcome
from capillary.ui import badges_view
from capillary.ui.access import Reader
from capillary.ui.airflow_facts import RunFacts
from capillary.ui.errors import RowUnreadable
from capillary.ui.failed_runs import Failures
from capillary.ui.reading import LedgerReader
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, settle_as

NOW = datetime(2026, 11, 27, tzinfo=UTC)


class May(Reader):
    """Somebody who may read every XCom."""

    def may_read_xcoms(self, dag_id: str) -> bool:
        return bool(dag_id)


def test_a_dag_that_moved_to_another_account_has_a_row_for_each(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user: Any = object()
    facts = RunFacts(
        dag_id="spring",
        run_id="new",
        state="running",
        run_type="manual",
        by=None,
        moment=NOW,
        started_at=NOW,
        ended_at=None,
    )
    monkeypatch.setattr(badges_view, "returned", lambda *_: {})
    with Ledger(migrated(empty_database("sqlite"))) as ledger:
        plan(ledger, range(1, 4), run("old", spec=replace(SPEC, account="zz.old/1")))
        plan(ledger, [1], run("new"))
        with ledger.read() as tx:
            lines = campaigns(tx, {"spring"})
    lines = tuple(
        replace(line, last=replace(line.last, planned_at=NOW.replace(day=1 if line.last.run_id == "old" else 2)))
        for line in lines
    )
    none, looked = Failures({}, {}), badges_view._Looked(NOW)
    rows = badges_view._campaigns({}, lines, May(user, frozenset({"spring"})), {"spring": facts}, none, looked)
    assert [(row.account, row.counts["planned"], row.last and row.last.run_id) for row in rows] == [
        (SPEC.account, 1, "new"),
        ("zz.old/1", 3, None),
    ]
    (alone,) = badges_view._campaigns({}, lines[:1], May(user, frozenset({"spring"})), {"spring": facts}, none, looked)
    assert alone.account == ""


async def test_an_odd_row_leaves_out_its_own_part_and_says_so(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("sqlite"))
    with Ledger(url) as ledger:
        for request in requests_of(ledger, plan(ledger, [1])):
            settle_as(ledger, request.id, Outcome.FAILED)
        with ledger.engine.begin() as conn:
            conn.execute(text("PRAGMA ignore_check_constraints=ON"))
            conn.execute(text("UPDATE badge_result SET outcome = 'weird'"))
    reader = LedgerReader(lambda: url)
    looked = await reader.ask(lambda tx: badges_view._of_ledger(tx, frozenset({"spring"})))
    assert [each.account for each in looked.accounts] == [SPEC.account]
    assert (looked.matters, looked.lines) == ((), ())
    assert [said.split(":", 1)[0] for said in looked.left_out] == ["What needs a person now", "Campaigns"]
    assert "ledger check --deep" in looked.left_out[0]
    with pytest.raises(RowUnreadable, match="holds a row that this version cannot read"):
        await reader.ask(campaigns)
    reader.close()
