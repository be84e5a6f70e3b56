"""A ledger as large as the pages of the Airflow UI are promised for, by SQL, as years of runs would leave it.

Ten campaigns of two accounts take turns, a run every six hours. The newest run waits for the checker. What failed in
the run before it was retried once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import insert, text

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.schema import badge_occasion, badge_pace, badge_run, badge_scan, badge_spec

ACCOUNTS: Final = ("platform.example/100", "platform.example/200")
CAMPAIGNS: Final = 10
OCCASIONS: Final = 100
BETWEEN_RUNS: Final = timedelta(hours=6)
FIRST_CUSTOMER: Final = 10_000_000

_SERIES_SQLITE: Final = (
    "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i + 1 < :rows) SELECT i FROM s"
)
_SERIES_POSTGRESQL: Final = "SELECT i FROM generate_series(0, CAST(:rows AS bigint) - 1) AS s(i)"
_REQUESTS: Final = """
INSERT INTO badge_request (id, request_key, badge_run_id, occasion_id, spec_id, ordinal, attempt, customers, status,
    tries, first_sent_at, last_sent_at, settled_at)
SELECT i + 1, 'cb1.bench.' || i, 1 + i / :per_run, 1 + (i / :per_run) % :occasions, 1 + (i / :per_run) % 2,
    i % :per_run, 1, :size, CASE WHEN i < :waiting_from THEN 'settled' ELSE 'waiting' END, 1, :sent, :sent,
    CASE WHEN i < :waiting_from THEN :sent END
"""
_SIGHTINGS: Final = """
INSERT INTO badge_sighting (platform_request_id, request_id, state, auto_approved, seen_at, terminal_seen_at,
    checker_message)
SELECT 'e71c-11f1-8f3e-325096b39f47-' || i, i + 1, CASE WHEN i < :waiting_from THEN 'approved' ELSE 'AdminTask' END,
    1 = 0, :sent, CASE WHEN i < :waiting_from THEN :sent END, 'looks right'
"""
# Of 100 customers 2 failed by code, 1 is unconfirmed, 3 had the badge, and the others are enrolled.
_ENROLMENTS: Final = """
INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id, outcome, issued_id, error_code)
SELECT 1 + (i / (:size * :per_run)) % :occasions, :first + i, 1, 1 + i / :size,
    CASE WHEN i / :size >= :waiting_from THEN NULL WHEN i % :size < 2 THEN 'failed'
        WHEN i % :size < 3 THEN 'unconfirmed' WHEN i % :size < 6 THEN 'already_enrolled' ELSE 'enrolled' END,
    CASE WHEN i / :size < :waiting_from AND i % :size >= 6 THEN '65f0a1b2c3d4e5f6' || i END,
    CASE WHEN i / :size >= :waiting_from THEN NULL WHEN i % :size = 0 THEN 816 WHEN i % :size = 1 THEN 1039
        WHEN i % :size BETWEEN 3 AND 5 THEN 1040 END
"""
_RETRY: Final = """
INSERT INTO badge_request (id, request_key, badge_run_id, occasion_id, spec_id, ordinal, attempt, customers, status,
    tries, first_sent_at, last_sent_at, settled_at)
SELECT :requests + 1, 'cb1.bench.retry', :run, occasion_id, spec_id, 0, 2, :customers, 'settled', 1, :sent, :sent, :sent
FROM badge_request WHERE id = :of_request
"""
_RETRIED: Final = """
INSERT INTO badge_enrolment (occasion_id, customer_id, attempt, request_id, outcome, error_code)
SELECT e.occasion_id, e.customer_id, 2, :requests + 1, 'failed', 816
FROM badge_enrolment e JOIN badge_request q ON q.id = e.request_id
WHERE q.badge_run_id = :of_run AND e.outcome = 'failed'
"""
_RESULTS: Final = """
INSERT INTO badge_result (request_id, outcome, error_code, customers)
SELECT request_id, outcome, error_code, COUNT(*) FROM badge_enrolment WHERE outcome IS NOT NULL
GROUP BY request_id, outcome, error_code
"""
#: The rows above bring their numbers along: the ledger is refused until the next one's is ahead of them.
_NUMBERED: Final = "SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT MAX(id) FROM {name}))"


def fill(ledger: Ledger, *, runs: int, requests_per_run: int, customers_per_request: int) -> None:
    """Fill an empty ledger; the retry is one more run with one request."""
    with ledger.write() as tx:
        if not tx.is_sqlite:
            # As triggers, foreign keys cost a look-up for every row.
            tx.conn.execute(text("SET LOCAL session_replication_role = replica"))
        _accounts(tx)
        customers = requests_per_run * customers_per_request
        tx.conn.execute(insert(badge_run), [_run(tx, number, runs, customers) for number in range(1, runs + 1)])
        retried = 2 * requests_per_run  # customers of the last run but one that failed
        tx.conn.execute(insert(badge_run).values(_run(tx, runs + 1, runs, retried, of=runs - 1)))
        requests = runs * requests_per_run
        shape = {
            "per_run": requests_per_run,
            "size": customers_per_request,
            "occasions": OCCASIONS,
            "waiting_from": requests - requests_per_run,
            "first": FIRST_CUSTOMER,
            "sent": tx.now - timedelta(hours=1),
        }
        series = _SERIES_SQLITE if tx.is_sqlite else _SERIES_POSTGRESQL
        of_request = {"requests": requests, "run": runs + 1, "customers": retried, "sent": shape["sent"]}
        of_request["of_request"] = 1 + (runs - 2) * requests_per_run
        for rows, statement in ((requests, _REQUESTS), (requests, _SIGHTINGS), (runs * customers, _ENROLMENTS)):
            tx.conn.execute(text(f"{statement} FROM ({series}) n"), {**shape, "rows": rows})
        tx.conn.execute(text(_RETRY), of_request)
        tx.conn.execute(text(_RETRIED), {"requests": requests, "of_run": runs - 1})
        tx.conn.execute(text(_RESULTS))
        if not tx.is_sqlite:
            for name in ("badge_occasion", "badge_request", "badge_run", "badge_spec"):
                tx.conn.execute(text(_NUMBERED.format(name=name)))
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("VACUUM ANALYZE")  # autovacuum does it within the hour


def _accounts(tx: Transaction) -> None:
    tx.conn.execute(
        insert(badge_occasion),
        [
            {
                "id": number,
                "account": ACCOUNTS[number % 2],
                "occasion": f"bench {number}",
                "badge_id": "b" * 24,
                "created_at": tx.now,
            }
            for number in range(1, OCCASIONS + 1)
        ],
    )
    for number, account in enumerate(ACCOUNTS, start=1):
        spec = {"id": number, "account": account, "fingerprint": "bench", "config": "{}"}
        tx.conn.execute(insert(badge_spec).values(created_at=tx.now, proven_at=tx.now, **spec))
        tx.conn.execute(insert(badge_scan).values(account=account, leased_until=tx.now, leased_by="", read_at=tx.now))
        tx.conn.execute(insert(badge_pace).values(account=account, next_slot_at=tx.now))


def _run(tx: Transaction, number: int, runs: int, customers: int, *, of: int | None = None) -> dict[str, object]:
    """Return a run's row; `of`: it is a retry of that one."""
    like = of or number
    return {
        "id": number,
        "account": ACCOUNTS[like % 2],
        "campaign": f"campaign_{like % CAMPAIGNS}",
        "token": f"{number:032x}",
        "dag_id": f"campaign_{like % CAMPAIGNS}",
        "run_id": f"run_{number}",
        "task_id": "extract_eligible_customers",
        "capillary_conn_id": "capillary",
        "occasion_id": 1 + (like - 1) % OCCASIONS,
        "spec_id": 1 + (like - 1) % 2,
        "eligible": customers,
        **dict.fromkeys(("invalid", "duplicates", "known_before", "over_cap"), 0),
        "planned": customers,
        "canary": False,
        "planned_at": tx.now - (runs - min(number, runs)) * BETWEEN_RUNS,
        "alive_until": tx.now,
    }
