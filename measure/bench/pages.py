"""`pages`: the pages of the Airflow UI, of 100,000 requests and ten million enrolments: what they read, and whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from measure.bench.figures import Figure, Part
from measure.bench.measured import environment, run
from measure.bench.page_requests import airflow_environment
from measure.bench.surroundings import Database

RUNS: Final = 500
REQUESTS_PER_RUN: Final = 200
CUSTOMERS_PER_REQUEST: Final = 100
#: Most milliseconds for a page, in 19 of 20 cases.
PAGE_BOUND_MS: Final = 300

Say = Callable[[str], None]


def measure(database: Database, folder: Path, *, say: Say) -> Part:
    """Fill an empty ledger and read its pages.

    Args:
        database: an empty ledger.
        folder: for files of this measurement.
        say: told what happens.
    """
    requests = RUNS * REQUESTS_PER_RUN
    say(f"fill, {requests:,} requests and {requests * CUSTOMERS_PER_REQUEST:,} enrolments; then read the pages")
    size = {
        "runs": RUNS,
        "requests_per_run": REQUESTS_PER_RUN,
        "customers_per_request": CUSTOMERS_PER_REQUEST,
    }
    told = run(
        "measure.bench.page_questions",
        {"url": database.url.render_as_string(hide_password=False), **size},
        environment=environment(folder, **database.environment),
        folder=folder,
        name="pages",
    )
    say("start Airflow's API application and ask it for whole pages")
    whole = run(
        "measure.bench.page_requests",
        {"url": database.url.render_as_string(hide_password=False), **size},
        environment=airflow_environment(folder, database),
        folder=folder,
        name="requests",
    )
    title = f"pages, {database.name}: {requests:,} requests, {requests * CUSTOMERS_PER_REQUEST:,} enrolments"
    bound = PAGE_BOUND_MS if database.name == "postgresql" else None
    return Part(title, [*_figures(told.said), *_whole_pages(whole.said, bound)])


def _figures(said: Mapping[str, float]) -> list[Figure]:
    most, again = PAGE_BOUND_MS, f"p95 of {said['repeats']:.0f}"
    return [
        Figure("Badges", said["badges_ms"], "ms", most, note=f"{again}; the next three together"),
        Figure("what needs a person", said["attention_ms"], "ms", note=again),
        Figure("every campaign", said["campaigns_ms"], "ms", note=again),
        Figure("every account", said["accounts_ms"], "ms", note=again),
        Figure("Run, ended", said["run_ms"], "ms", most, note=f"{again}; with its first failed customers"),
        Figure("Run, waiting", said["run_waiting_ms"], "ms", most, note=again),
        Figure("failed customers, last page", said["failed_deep_ms"], "ms", most, note=again),
        Figure("failed customers, all", said["csv_ms"], "ms", note=f"{again}; as CSV reads them"),
        Figure("Customer", said["customer_ms"], "ms", most, note=again),
        Figure("Customer, unknown", said["nobody_ms"], "ms", most, note=again),
        Figure("filling the ledger", said["fill_s"], "s"),
    ]


def _whole_pages(said: Mapping[str, float], bound: int | None) -> list[Figure]:
    again = f"p95 of {said['repeats']:.0f}; through Airflow's application, for a user who is logged in"
    return [
        Figure(f"{words}, whole page", said[f"{name}_ms"], "ms", bound, note=again)
        for name, words in (
            ("badges", "Badges"),
            ("run", "Run, ended"),
            ("run_waiting", "Run, waiting"),
            ("customer", "Customer"),
            ("dry_run", "Run, dry"),
            ("carry_out", "Carry out"),
            ("retry", "Retry the failed"),
        )
    ]
