"""How long what the pages of the Airflow UI read takes: `python -m measure.bench.page_questions ORDER ANSWER`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from capillary.ledger.attention import attention
from capillary.ledger.check import faults
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.matters import Kind
from capillary.ledger.overview import accounts, campaigns
from capillary.ledger.questions import customer_history
from capillary.ledger.run_page import Place, every_failed_customer, failed_customers_of, run
from measure.bench.measured import answer
from measure.bench.page_rows import FIRST_CUSTOMER, fill

REPEATS: Final = 40


def _ask(order: dict[str, Any]) -> Mapping[str, object]:
    runs, per_run, size = (order[name] for name in ("runs", "requests_per_run", "customers_per_request"))
    with Ledger(order["url"]) as ledger:
        begun = time.perf_counter()
        fill(ledger, runs=runs, requests_per_run=per_run, customers_per_request=size)
        fill_s = time.perf_counter() - begun
        with ledger.read() as tx:
            _assert_right(tx, runs=runs, per_run=per_run, size=size)
        middle = runs // 2
        of_middle = (f"campaign_{middle % 10}", f"run_{middle}")
        deep = Place(1 + middle * per_run - per_run // 4, 0)
        waiting = (f"campaign_{runs % 10}", f"run_{runs}")
        customer = FIRST_CUSTOMER + runs * per_run * size // 2
        questions: dict[str, Callable[[Transaction], object]] = {
            "attention": attention,
            "campaigns": campaigns,
            "accounts": accounts,
            "badges": lambda tx: (attention(tx), campaigns(tx), accounts(tx)),
            "run": lambda tx: (run(tx, *of_middle), failed_customers_of(tx, *of_middle)),
            "run_waiting": lambda tx: (run(tx, *waiting), failed_customers_of(tx, *waiting)),
            "failed_deep": lambda tx: failed_customers_of(tx, *of_middle, after=deep),
            "customer": lambda tx: customer_history(tx, customer),
            "nobody": lambda tx: customer_history(tx, 42),
            "csv": lambda tx: sum(1 for _ in every_failed_customer(tx, *of_middle)),
        }
        return {
            "repeats": REPEATS,
            "fill_s": fill_s,
            **{f"{name}_ms": _p95_ms(ledger, question) for name, question in questions.items()},
        }


def _assert_right(tx: Transaction, *, runs: int, per_run: int, size: int) -> None:
    """Raise where the pages would show something else than the ledger was filled with."""
    if found := faults(tx):
        raise RuntimeError("; ".join(found))
    waiting = [each for each in attention(tx) if each.kind is Kind.WAITING]
    if [(each.requests, each.customers) for each in waiting] != [(per_run, per_run * size)]:
        raise RuntimeError(f"{per_run} requests should wait, and {waiting} do")
    view = run(tx, f"campaign_{(runs // 2) % 10}", f"run_{runs // 2}")
    if view is None or not view.funnel.balances() or len(view.requests) != per_run:
        raise RuntimeError("the run in the middle does not add up")
    if len(customer_history(tx, FIRST_CUSTOMER + runs * per_run * size // 2)) != 1:
        raise RuntimeError("the customer in the middle was not found once")


def _p95_ms(ledger: Ledger, question: Callable[[Transaction], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        with ledger.read() as tx:
            begun = time.perf_counter()
            question(tx)
            taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)[int(REPEATS * 0.95) - 1]


if __name__ == "__main__":
    answer(_ask)
