"""The query's rows wait in a file of the task's own, which is checked before the query runs and gone afterwards."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from capillary.engine.plan import plan_rows
from capillary.ledger import plan as plan_module
from capillary.ledger.candidates import Retry, may_be_planned, planning
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.pace import take_slot
from capillary.ledger.plan import commit_plan, customers_to_read
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.staging import PROBE_BYTES, InvalidRow, Staged, Staging, StagingFailed, staging
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import ORDER, is_empty, plan, requests_of, run, settle_as, snapshot

UNCONFIRMED = frozenset({Outcome.UNCONFIRMED})


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let this process write no file beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def open_temporary_files() -> list[str]:
    """Files of this process that no folder names any more, as SQLite's temporary ones."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            place = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if "etilqs" in place:  # SQLite's own prefix (https://www.sqlite.org/tempfiles.html)
            found.append(place)
    return found


def test_a_disk_that_takes_nothing_is_named_before_the_query_runs(ledger: Ledger) -> None:
    asked: list[str] = []

    def batches() -> Iterator[list[object]]:
        asked.append("the warehouse")
        yield [1]

    taken = pytest.raises(StagingFailed, match="query's rows cannot be written to the worker's temporary folder")
    with taken as caught, no_file_above(PROBE_BYTES // 2):
        plan_rows(ledger, batches(), ORDER)
    assert "SQLITE_TMPDIR" in str(caught.value)
    assert asked == []
    assert is_empty(ledger)


def test_a_disk_that_fills_up_in_the_middle_is_named_and_nothing_is_planned(ledger: Ledger) -> None:
    with staging() as staged:
        pages = staged._number("PRAGMA page_count")
        staged._number(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(StagingFailed, match="full"):
            staged.add([(n, n * 1_000) for n in range(1, PROBE_BYTES // 8)], [])  # what the probe took is free again
    assert is_empty(ledger)


def test_the_file_is_gone_at_the_end() -> None:
    with staging() as staged:
        staged.add([(1, 1)], [])
        assert len(open_temporary_files()) == 1
    assert open_temporary_files() == []


def test_the_file_is_gone_after_a_failure(ledger: Ledger) -> None:
    def batches() -> Iterator[list[object]]:
        yield [1]
        raise InterruptedError("the warehouse went away")

    with pytest.raises(InterruptedError):
        plan_rows(ledger, batches(), ORDER)
    assert open_temporary_files() == []
    assert is_empty(ledger)


def test_two_tasks_of_one_process_do_not_see_each_others_rows() -> None:
    with staging() as one, staging() as other:
        one.add([(1, 10)], [])
        other.add([(1, 20), (2, 20)], [InvalidRow(3, "not a number", "aaa")])
        assert (one.count(), other.count()) == (Staged(1, 0, 1), Staged(3, 1, 1))
        assert ([*one.ids()], [*other.ids()]) == ([[10]], [[20]])


def test_slices_are_ascending_and_full_but_the_last_of_each_attempt() -> None:
    with staging() as staged:
        staged.add([(n, customer) for n, customer in enumerate([9, 7, 5, 3, 1], start=1)], [])
        staged.count()
        staged.take_everybody()
        assert [*staged.slices(2)] == [(1, [1, 3]), (1, [5, 7]), (1, [9])]
        staged.take([(2, 1), (1, 9), (2, 3), (1, 5)])
        assert staged.taken() == {1: 2, 2: 2}
        assert [*staged.slices(2)] == [(1, [5, 9]), (2, [1, 3])]
        staged.keep_first(3)
        assert [*staged.slices(2)] == [(1, [5, 9]), (2, [3])], "customer 1 came last in the query"


def test_a_plan_on_an_occasion_that_was_new_a_moment_ago_knows_its_customers(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(ledger, [1, 2])
    monkeypatch.setattr(plan_module, "_occasion_is_new", lambda *_: True)
    made = plan(ledger, [1, 2, 3], run("second"))
    assert (made.known_before, made.planned) == (2, 1)


def test_nothing_of_a_plan_stays_on_a_connection(ledger: Ledger) -> None:
    tables = {
        "sqlite": "SELECT name FROM sqlite_temp_master",
        "postgresql": "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'",
    }
    plan(ledger, [1, 2])
    plan(ledger, [1, 2, 3], run("second"))
    plan(ledger, [4], run("third"), dry_run=True)
    for _ in range(6):
        with ledger.read() as tx:
            assert tx.conn.execute(text(tables[tx.conn.dialect.name])).all() == []


def test_a_stale_read_of_the_badge_clears_no_newer_attempt(ledger: Ledger) -> None:
    """Between this task's look at the badge and its plan another run sent the customer again."""
    settle_as(ledger, requests_of(ledger, plan(ledger, [1, 2]))[0].id, Outcome.UNCONFIRMED)
    order = run("third", retry=UNCONFIRMED)
    with staging() as staged:
        staged.add([(1, 1), (2, 2)], [])
        read = customers_to_read(ledger, staged, order)
        assert {customer: of.attempt for customer, of in read.items()} == {1: 1, 2: 1}
        between = plan(ledger, [1], run("second", retry=UNCONFIRMED), cleared=[1])
        settle_as(ledger, requests_of(ledger, between)[0].id, Outcome.UNCONFIRMED)
        staged.clear((customer, of.attempt) for customer, of in read.items())
        made = commit_plan(ledger, staged, order)
    assert (made.planned, made.known_before) == (1, 1)


def test_only_staged_customers_are_looked_up(ledger: Ledger) -> None:
    settle_as(ledger, requests_of(ledger, plan(ledger, [1, 2, 3]))[0].id, Outcome.UNCONFIRMED)
    looked_up: list[int] = []

    def without_badge(customers: Mapping[int, object]) -> list[int]:
        looked_up.extend(customers)
        return [2]

    made = plan_rows(ledger, [[3, 2, 9]], run("second", retry=UNCONFIRMED), without_badge=without_badge)
    assert looked_up == [2, 3]
    assert (made.planned, made.known_before) == (2, 1)


def test_the_badge_is_read_with_no_transaction_open(ledger: Ledger) -> None:
    """A read takes a slot of the pace in the same ledger: with a transaction open each would wait for the other."""
    settle_as(ledger, requests_of(ledger, plan(ledger, [1]))[0].id, Outcome.UNCONFIRMED)

    def without_badge(customers: Mapping[int, object]) -> list[int]:
        with ledger.write() as tx:
            take_slot(tx, ORDER.spec.account, calls_per_minute=100)
        return list(customers)

    assert plan_rows(ledger, [[1]], run("second", retry=UNCONFIRMED), without_badge=without_badge).planned == 1


@pytest.mark.parametrize("wrong", [Staged(3, 0, 4), Staged(3, 2, 2)], ids=["more customers than rows", "both"])
def test_a_count_that_cannot_be_is_no_plan(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, wrong: Staged) -> None:
    """Mixed sessions once gave `duplicates -1400` and a passing run."""

    def count(self: Staging) -> Staged:
        self.staged = wrong
        return wrong

    monkeypatch.setattr(Staging, "count", count)
    with pytest.raises(LedgerBroken, match="the plan does not add up: 3 rows"):
        plan(ledger, [1, 2, 3])
    assert is_empty(ledger)


def test_more_new_customers_than_the_query_found_is_no_plan(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(ledger, [1])
    before = snapshot(ledger)
    monkeypatch.setattr(plan_module, "may_be_planned", lambda *_: iter([(1, 2), (1, 3), (1, 4)]))
    with pytest.raises(LedgerBroken, match="2 customers, 3 of them new"):
        plan(ledger, [2, 3], run("second"))
    assert snapshot(ledger) == before


def test_a_requests_number_never_comes_back(ledger: Ledger) -> None:
    first = plan(ledger, [1, 2, 3, 4])
    ids = [row.id for row in requests_of(ledger, first)]
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[OpenPlan(first.badge_run_id or 0)]) == 4
    again = [row.id for row in requests_of(ledger, plan(ledger, [1, 2, 3, 4], run("second")))]
    assert min(again) > max(ids)


def test_customers_come_in_order_whatever_their_attempt(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [2, 4]))
    settle_as(ledger, request.id, Outcome.FAILED)
    with staging() as staged:
        staged.add([(1, 4), (2, 3), (3, 2), (4, 1)], [])
        with planning(ledger, staged, with_copy=True) as tx:
            assert [*may_be_planned(tx, request.occasion_id, Retry(frozenset({Outcome.FAILED})))] == [
                (1, 1),
                (1, 3),
                (2, 2),
                (2, 4),
            ]
