"""The example warehouse through the example queries into a plan."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select

from capillary.engine.plan import plan_rows
from capillary.engine.warehouse import read_rows
from capillary.ledger.errors import GuardRefused
from capillary.ledger.guards import Guards
from capillary.ledger.plan import Order
from capillary.ledger.schema import badge_enrolment, badge_invalid, metadata
from capillary.ledger.spec import Spec
from sandbox.badges import GOLD_CIRCLE, NEW_ARRIVAL
from sandbox.warehouse import WarehouseSummary, seed
from tests.laboratory.engine_on_sandbox import EngineOnSandbox

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, WarehouseSummary]:
    url = f"sqlite:///{tmp_path_factory.mktemp('warehouse')}/warehouse.db"
    return url, seed(url, customers=2_000, today=date(2026, 11, 23))


def order(badge_id: str, *, guards: Guards) -> Order:
    return Order(
        dag_id="dag",
        run_id="run",
        task_id="extract_eligible_customers",
        capillary_conn_id="capillary",
        campaign=badge_id,
        occasion=badge_id,
        spec=Spec("https://platform/1", badge_id, "Loyalty", "42", "1", "2", "3", "4", "https://platform"),
        canary=False,
        guards=guards,
    )


def rows_in(sandboxed: EngineOnSandbox) -> int:
    with sandboxed.ledger.read() as tx:
        return sum(
            tx.conn.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables
        )


@pytest.mark.parametrize("dry_run", [True, False])
def test_every_eligible_customer_is_planned_once(
    sandboxed: EngineOnSandbox, warehouse: tuple[str, WarehouseSummary], *, dry_run: bool
) -> None:
    url, summary = warehouse
    plan = plan_rows(
        sandboxed.ledger,
        read_rows(create_engine(url), (DAGS / "gold_tier.sql").read_text(), {"badge_id": GOLD_CIRCLE.badge_id}),
        order(GOLD_CIRCLE.badge_id, guards=Guards()),
        dry_run=dry_run,
    )
    assert plan.planned == summary.gold_eligible > 0
    assert plan.eligible == summary.gold_rows
    assert plan.eligible == plan.invalid + plan.duplicates + plan.known_before + plan.over_cap + plan.planned
    with sandboxed.ledger.read() as tx:
        enrolments = tx.conn.execute(select(func.count()).select_from(badge_enrolment)).scalar_one()
    assert enrolments == (0 if dry_run else summary.gold_eligible)
    assert (rows_in(sandboxed) == 0) is dry_run


def test_malformed_ids_are_named_and_stop_nobody_else(
    sandboxed: EngineOnSandbox, warehouse: tuple[str, WarehouseSummary]
) -> None:
    url, summary = warehouse
    plan = plan_rows(
        sandboxed.ledger,
        read_rows(create_engine(url), (DAGS / "new_arrivals.sql").read_text(), {"badge_id": NEW_ARRIVAL.badge_id}),
        order(NEW_ARRIVAL.badge_id, guards=Guards(max_invalid_share=None)),
    )
    assert (plan.planned, plan.invalid) == (summary.arrival_eligible, summary.arrival_invalid)
    with sandboxed.ledger.read() as tx:
        kept = tx.conn.execute(select(badge_invalid.c.reason, badge_invalid.c.shape)).all()
    assert len(kept) == summary.arrival_invalid > 0
    assert all(row.reason for row in kept)


def test_a_refused_plan_writes_nothing(sandboxed: EngineOnSandbox, warehouse: tuple[str, WarehouseSummary]) -> None:
    url, _ = warehouse
    with pytest.raises(GuardRefused, match="max_requests=1"):
        plan_rows(
            sandboxed.ledger,
            read_rows(create_engine(url), "SELECT user_id AS customer_id FROM users", {}),
            order(GOLD_CIRCLE.badge_id, guards=Guards(max_requests=1, max_invalid_share=None)),
        )
    assert rows_in(sandboxed) == 0
