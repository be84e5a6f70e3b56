"""A ledger of many enrolments, and how long its counts take to read: `python -m measure.bench.questions ORDER ANSWER`.

Its rows are written by SQL, as planning, submitting and settling would leave them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from sqlalchemy import insert, select, text

from capillary.ledger.check import faults
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import failures, funnel
from capillary.ledger.schema import badge_occasion, badge_run, badge_spec
from measure.bench.measured import answer

ACCOUNT: Final = "https://platform.example/100"
CUSTOMERS_PER_REQUEST: Final = 500
#: The last run's last requests still wait for the checker.
WAITING_REQUESTS: Final = 40
REPEATS: Final = 9

# What the view was before counts were kept.
_BY_ROWS: Final = """
SELECT r.id, COUNT(CASE WHEN e.outcome = 'enrolled' THEN 1 END), COUNT(CASE WHEN e.outcome = 'failed' THEN 1 END),
    COUNT(CASE WHEN e.customer_id IS NOT NULL AND e.outcome IS NULL THEN 1 END)
FROM badge_run r
LEFT JOIN badge_request q ON q.badge_run_id = r.id
LEFT JOIN badge_enrolment e ON e.request_id = q.id
{where}
GROUP BY r.id
"""


def _ask(order: dict[str, Any]) -> Mapping[str, object]:
    with Ledger(order["url"]) as ledger:
        begun = time.perf_counter()
        _fill(ledger, runs=order["runs"], customers_per_run=order["customers_per_run"])
        fill_s = time.perf_counter() - begun
        with ledger.read() as tx:
            runs = list(tx.conn.execute(select(badge_run.c.id).order_by(badge_run.c.id)).scalars())
        one = runs[len(runs) // 2]
        of_one = f"WHERE dag_id = 'bench' AND run_id = 'run {one}'"
        view = "SELECT * FROM badge_funnel"
        return {
            "repeats": REPEATS,
            "fill_s": fill_s,
            "view_one_ms": _median_ms(ledger, lambda tx: _rows(tx, f"{view} {of_one}", 1)),
            "view_all_ms": _median_ms(ledger, lambda tx: _rows(tx, view, len(runs))),
            "funnel_one_ms": _median_ms(ledger, lambda tx: _funnels(tx, [one])),
            "funnel_all_ms": _median_ms(ledger, lambda tx: _funnels(tx, runs)),
            "failures_one_ms": _median_ms(ledger, lambda tx: failures(tx, one)),
            "rows_one_ms": _ms(ledger, lambda tx: _rows(tx, _BY_ROWS.format(where=of_one), 1)),
            "rows_all_ms": _ms(ledger, lambda tx: _rows(tx, _BY_ROWS.format(where=""), len(runs))),
            "check_s": _ms(ledger, _assert_right) / 1000,
        }


def _fill(ledger: Ledger, *, runs: int, customers_per_run: int) -> None:
    per_run = customers_per_run // CUSTOMERS_PER_REQUEST
    with ledger.write() as tx:
        if not tx.is_sqlite:
            # As triggers, foreign keys cost a look-up for every row.
            tx.conn.execute(text("SET LOCAL session_replication_role = replica"))
        tx.conn.execute(
            insert(badge_occasion).values(id=1, account=ACCOUNT, occasion="bench", badge_id="b" * 24, created_at=tx.now)
        )
        tx.conn.execute(
            insert(badge_spec).values(id=1, account=ACCOUNT, fingerprint="bench", config="{}", created_at=tx.now)
        )
        tx.conn.execute(insert(badge_run), [_run(tx, number, customers_per_run) for number in range(1, runs + 1)])
        requests = runs * per_run
        shape = {"per_run": per_run, "size": CUSTOMERS_PER_REQUEST, "waiting_from": requests - WAITING_REQUESTS}
        for rows, statement in (
            (requests, _REQUESTS),
            (requests, _SIGHTINGS),
            (requests * CUSTOMERS_PER_REQUEST, _ENROLMENTS),
        ):
            series = _SERIES_SQLITE if tx.is_sqlite else _SERIES_POSTGRESQL
            tx.conn.execute(text(f"{statement} FROM ({series}) n"), {**shape, "rows": rows, "now": tx.now})
        tx.conn.execute(text(_RESULTS))
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("VACUUM ANALYZE")  # autovacuum does it within the hour


def _run(tx: Transaction, number: int, customers: int) -> dict[str, object]:
    return {
        "id": number,
        "account": ACCOUNT,
        "campaign": "bench",
        "token": f"{number:032x}",
        "dag_id": "bench",
        "run_id": f"run {number}",
        "task_id": "extract",
        "capillary_conn_id": "capillary",
        "occasion_id": 1,
        "spec_id": 1,
        "eligible": customers,
        **dict.fromkeys(("invalid", "duplicates", "known_before", "over_cap"), 0),
        "planned": customers,
        "canary": False,
        "planned_at": tx.now,
        "alive_until": tx.now,
    }


_SERIES_SQLITE: Final = (
    "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i + 1 < :rows) SELECT i FROM s"
)
_SERIES_POSTGRESQL: Final = "SELECT i FROM generate_series(0, CAST(:rows AS bigint) - 1) AS s(i)"
_REQUESTS: Final = """
INSERT INTO badge_request (
    id, request_key, badge_run_id, occasion_id, spec_id, ordinal, attempt, customers, status, tries
)
SELECT i + 1, 'cb1.bench.' || i, 1 + i / :per_run, 1, 1, i % :per_run, 1, :size,
    CASE WHEN i < :waiting_from THEN 'settled' ELSE 'waiting' END, 1
"""
_SIGHTINGS: Final = """
INSERT INTO badge_sighting (platform_request_id, request_id, state, auto_approved, seen_at, terminal_seen_at)
SELECT 'e71c-11f1-8f3e-325096b39f47-' || i, i + 1, 'approved', 1 = 0, :now, :now
"""
# Of a settled request 10 failed by two codes, 5 had the badge, 1 is unconfirmed, and the others are enrolled.
_ENROLMENTS: Final = """
INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id, outcome, issued_id, error_code)
SELECT 1, 10000000 + i, 1, 1 + i / :size,
    CASE WHEN i / :size >= :waiting_from THEN NULL WHEN i % :size < 10 THEN 'failed'
        WHEN i % :size < 15 THEN 'already_enrolled' WHEN i % :size < 16 THEN 'unconfirmed' ELSE 'enrolled' END,
    CASE WHEN i / :size < :waiting_from AND i % :size >= 16 THEN '65f0a1b2c3d4e5f6' || i END,
    CASE WHEN i / :size >= :waiting_from THEN NULL WHEN i % :size < 5 THEN 816 WHEN i % :size < 10 THEN 744
        WHEN i % :size < 15 THEN 1040 END
"""
_RESULTS: Final = """
INSERT INTO badge_result (request_id, outcome, error_code, customers)
SELECT request_id, outcome, error_code, COUNT(*) FROM badge_enrolment WHERE outcome IS NOT NULL
GROUP BY request_id, outcome, error_code
"""


def _rows(tx: Transaction, sql: str, expected: int) -> None:
    found = len(tx.conn.execute(text(sql)).all())
    if found != expected:
        raise RuntimeError(f"{expected} rows should have come, and {found} did")


def _funnels(tx: Transaction, runs: Sequence[int]) -> None:
    for badge_run_id in runs:
        if not funnel(tx, OpenPlan(badge_run_id)).balances():
            raise RuntimeError(f"the funnel of run {badge_run_id} does not add up")


def _assert_right(tx: Transaction) -> None:
    if found := faults(tx):
        raise RuntimeError("; ".join(found))


def _median_ms(ledger: Ledger, question: Callable[[Transaction], object]) -> float:
    return median(_ms(ledger, question) for _ in range(REPEATS))


def _ms(ledger: Ledger, question: Callable[[Transaction], object]) -> float:
    with ledger.read() as tx:
        begun = time.perf_counter()
        question(tx)
        return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    answer(_ask)
