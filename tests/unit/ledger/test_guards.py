"""Twenty plans, each judged by one guard, before anything is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capillary.ledger.database import Ledger
from capillary.ledger.errors import GuardRefused
from capillary.ledger.guards import Guards
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import NO_GUARDS, ORDER, plan, requests_of, run, settle_as, snapshot

DEFAULTS = Guards()

#: id, guards, customers of the run before (None: there was none), customers and bad rows now, the guard that refuses.
CASES: list[tuple[str, Guards, int | None, int, int, str | None]] = [
    ("nobody, no floor", DEFAULTS, None, 0, 0, None),
    ("nobody, a floor of one", replace(DEFAULTS, min_customers=1), None, 0, 0, "min_customers=1"),
    ("exactly the floor", replace(NO_GUARDS, min_customers=5), None, 5, 0, None),
    ("one below the floor", replace(NO_GUARDS, min_customers=5), None, 4, 0, "min_customers=5"),
    ("no run before, any size", replace(NO_GUARDS, max_jump=2.0, max_drop=0.1), None, 40, 0, None),
    ("+50 %, at most +50 %", replace(NO_GUARDS, max_jump=1.5), 10, 15, 0, None),
    ("one above +50 %", replace(NO_GUARDS, max_jump=1.5), 10, 16, 0, "max_jump=1.5×"),
    ("-50 %, at most -50 %", replace(NO_GUARDS, max_drop=0.5), 10, 5, 0, None),
    ("one below -50 %", replace(NO_GUARDS, max_drop=0.5), 10, 4, 0, "max_drop=0.5"),
    ("nobody after ten", replace(NO_GUARDS, max_drop=0.5), 10, 0, 0, "max_drop=0.5"),
    ("10 times by default", replace(DEFAULTS, max_requests=None), 3, 30, 0, None),
    ("more than 10 times by default", replace(DEFAULTS, max_requests=None), 3, 31, 0, "max_jump=10×"),
    ("5 % of bad rows by default", DEFAULTS, None, 19, 1, None),
    ("more than 5 % of bad rows", DEFAULTS, None, 18, 1, "max_invalid_share=0.05"),
    ("bad rows only", replace(DEFAULTS, max_invalid_share=0.99), None, 0, 3, "max_invalid_share=0.99"),
    ("every row may be bad", replace(DEFAULTS, max_invalid_share=1.0), None, 0, 3, None),
    ("20 approvals by default", DEFAULTS, None, 60, 0, None),
    ("21 approvals", DEFAULTS, None, 61, 0, "21 approvals needed, more than max_requests"),
    ("exactly as many open as may be", replace(NO_GUARDS, max_open_requests=4), 6, 6, 0, None),
    ("one request too many open", replace(NO_GUARDS, max_open_requests=4), 6, 7, 0, "max_open_requests=4"),
]


@pytest.mark.parametrize(
    ("guards", "before", "customers", "bad", "refused_by"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_plan_is_judged_before_it_is_written(
    ledger: Ledger, guards: Guards, before: int | None, customers: int, bad: int, refused_by: str | None
) -> None:
    """Requests hold three customers; those of the run before stay open."""
    if before is not None:
        plan(ledger, range(1_001, 1_001 + before))
    written = snapshot(ledger)
    order = run("judged", guards=guards)
    if refused_by is None:
        made = plan(ledger, range(1, customers + 1), order, invalid=bad)
        assert (made.planned, made.invalid) == (customers, bad)
        assert made.requests == -(-customers // 3)
        return
    with pytest.raises(GuardRefused) as refused:
        plan(ledger, range(1, customers + 1), order, invalid=bad)
    assert refused_by in str(refused.value)
    assert str(refused.value).endswith("If this is right, trigger the run with override_guards")
    assert snapshot(ledger) == written, "nothing is planned, so nothing can be sent"
    assert plan(ledger, range(1, customers + 1), replace(order, override_guards=True), invalid=bad).planned == customers


def test_a_run_over_an_empty_warehouse_is_no_measure(ledger: Ledger) -> None:
    plan(ledger, range(1, 11))
    plan(ledger, [], run("empty"))
    order = run("third", guards=replace(NO_GUARDS, max_jump=2.0))
    with pytest.raises(GuardRefused, match="after 10 in the campaign's last run"):
        plan(ledger, range(1, 22), order)


def test_settled_requests_are_not_open(ledger: Ledger) -> None:
    first = plan(ledger, range(1, 7))
    for row in requests_of(ledger, first):
        settle_as(ledger, row.id, Outcome.ENROLLED)
    order = run("second", guards=replace(NO_GUARDS, max_open_requests=2))
    assert plan(ledger, range(101, 107), order).requests == 2


def test_customers_who_are_known_count_for_the_jump_and_not_for_the_approvals(ledger: Ledger) -> None:
    plan(ledger, range(1, 31))
    order = run("second", guards=replace(NO_GUARDS, max_requests=1, max_jump=1.0))
    made = plan(ledger, range(1, 31), order)
    assert (made.planned, made.known_before, made.requests) == (0, 30, 0)
    with pytest.raises(GuardRefused, match=r"31 customers after 30 .* max_jump=1×"):
        plan(ledger, range(1, 32), replace(order, run_id="third"))


def test_there_are_twenty_of_them() -> None:
    assert len(CASES) == 20
    assert ORDER.customers_per_request == 3
