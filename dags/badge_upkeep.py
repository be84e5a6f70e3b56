"""Housekeeping for all badge campaigns: an hourly Airflow DAG that finishes what has no living run.

A campaign's own tasks wait for its requests and settle them. What they left behind (a failed `submit`, a run
that was marked failed, a worker that died) is found here: requests that the checker has decided are settled,
requests in doubt are looked for and, when their absence is confirmed, sent again under the same key, and
customers whose requests were never sent are given back to the next run (the log names each such run, and how many
customers). The ledger's schema is migrated first; a ledger that is missing is never made: `migrate_ledger` fails, and
says what to do.

You may clear it, trigger it by hand and pause it at any time. While it is paused, nothing is lost, and what has no
living run waits. If `keep_house` fails, the error in its log names the account and what to do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator

with DAG(
    dag_id="badge_upkeep",
    schedule="@hourly",
    is_paused_upon_creation=False,  # otherwise nothing would finish what a failed run left
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it as UTC
    catchup=False,
    max_active_runs=1,
    tags=["badges"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    MigrateLedgerOperator(task_id="migrate_ledger") >> BadgeUpkeepOperator(task_id="keep_house")
