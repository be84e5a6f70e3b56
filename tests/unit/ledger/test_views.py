"""The questions people ask, on rows written by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
from sqlalchemy import URL, Insert, insert, text, update

from capillary.ledger.counts import count_outcomes
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import (
    FailureCount,
    RunProgress,
    failures,
    funnel,
    run_progress,
)
from capillary.ledger.schema import (
    badge_enrolment,
    badge_occasion,
    badge_request,
    badge_run,
    badge_sighting,
    badge_spec,
)
from capillary.ledger.status import Outcome, RequestStatus
from tests.unit.ledger.conftest import EmptyDatabase, migrated

ACCOUNT = "https://eu.api.example/7"


def inserted(tx: Transaction, row: Insert) -> int:
    key = tx.conn.execute(row).inserted_primary_key
    assert key is not None
    number: int = key[0]
    return number


@dataclass
class Books:
    """Writes rows as plan, submit and settle would."""

    ledger: Ledger
    account: str = ACCOUNT
    occasion_id: int = 0
    spec_id: int = 0

    def occasion(self, name: str = "gold", *, account: str = ACCOUNT) -> None:
        self.account = account
        with self.ledger.write() as tx:
            self.occasion_id = inserted(
                tx,
                insert(badge_occasion).values(account=account, occasion=name, badge_id="b" * 24, created_at=tx.now),
            )
            self.spec_id = inserted(
                tx, insert(badge_spec).values(account=account, fingerprint=name, config="{}", created_at=tx.now)
            )

    def run(self, task_id: str = "extract", *, run_id: str = "r1", **counts: int) -> int:
        numbers = dict.fromkeys(("eligible", "invalid", "duplicates", "known_before", "over_cap", "planned"), 0)
        with self.ledger.write() as tx:
            run: int = inserted(
                tx,
                insert(badge_run).values(
                    account=self.account,
                    campaign="gold",
                    token=token_hex(16),
                    dag_id="gold",
                    run_id=run_id,
                    task_id=task_id,
                    capillary_conn_id="capillary",
                    occasion_id=self.occasion_id,
                    spec_id=self.spec_id,
                    canary=True,
                    planned_at=tx.now,
                    alive_until=tx.now,
                    **(numbers | counts),
                ),
            )
        return run

    def request(
        self,
        run: int,
        ordinal: int,
        status: RequestStatus,
        customers: dict[int, Outcome | None],
        attempt: int = 1,
        error_code: int | None = None,
        first_sent_at: datetime | None = None,
    ) -> int:
        with self.ledger.write() as tx:
            request: int = inserted(
                tx,
                insert(badge_request).values(
                    request_key=f"cb1.{run}.{ordinal}",
                    badge_run_id=run,
                    occasion_id=self.occasion_id,
                    spec_id=self.spec_id,
                    ordinal=ordinal,
                    attempt=attempt,
                    customers=len(customers),
                    status=status,
                    first_sent_at=first_sent_at,
                ),
            )
            for customer, outcome in customers.items():
                tx.conn.execute(
                    insert(badge_enrolment).values(
                        occasion_id=self.occasion_id,
                        customer_id=customer,
                        attempt=attempt,
                        request_id=request,
                        outcome=outcome,
                        error_code=error_code,
                        issued_id=f"i{customer}" if outcome is Outcome.ENROLLED else None,
                    )
                )
            count_outcomes(tx, request)
        return request

    def sighting(self, request: int, name: str, state: str, *, terminal: bool, after_s: int = 0) -> None:
        with self.ledger.write() as tx:
            seen = tx.now + timedelta(seconds=after_s)
            inserted(
                tx,
                insert(badge_sighting).values(
                    platform_request_id=name,
                    request_id=request,
                    state=state,
                    auto_approved=False,
                    seen_at=seen,
                    terminal_seen_at=seen if terminal else None,
                ),
            )


@pytest.fixture
def books(ledger: Ledger) -> Books:
    books = Books(ledger)
    books.occasion()
    return books


@pytest.fixture
def settled_run(books: Books) -> int:
    run = books.run(eligible=12, invalid=1, duplicates=2, known_before=1, over_cap=1, planned=7)
    books.request(
        run,
        0,
        RequestStatus.SETTLED,
        {1: Outcome.ENROLLED, 2: Outcome.ALREADY_ENROLLED, 3: Outcome.FAILED},
        error_code=816,
    )
    books.request(run, 1, RequestStatus.SETTLED, {4: Outcome.REJECTED, 5: Outcome.REJECTED})
    books.request(run, 2, RequestStatus.SETTLED, {6: Outcome.FAILED}, error_code=744)
    books.request(run, 3, RequestStatus.WAITING, {7: None})
    other = books.run("extract", run_id="r2", eligible=1, planned=1)
    books.request(other, 0, RequestStatus.PLANNED, {99: None})
    return run


def test_a_funnel_counts_one_plan_and_balances(ledger: Ledger, settled_run: int) -> None:
    with ledger.read() as tx:
        found = funnel(tx, OpenPlan(settled_run))
    assert found.outcomes == {
        Outcome.ENROLLED: 1,
        Outcome.ALREADY_ENROLLED: 1,
        Outcome.UNCONFIRMED: 0,
        Outcome.FAILED: 2,
        Outcome.REJECTED: 2,
        Outcome.NOT_ACCEPTED: 0,
    }
    assert (found.open, found.requests, found.requests_open) == (1, 4, 1)
    assert found.canary is True
    assert found.balances()


@pytest.mark.parametrize("field", ["eligible", "invalid", "planned", "discarded", "open"])
def test_a_funnel_with_one_customer_too_many_does_not_balance(ledger: Ledger, settled_run: int, field: str) -> None:
    with ledger.read() as tx:
        found = funnel(tx, OpenPlan(settled_run))
    more: int = getattr(found, field) + 1
    changes: dict[str, int] = {field: more}
    assert not replace(found, **changes).balances()  # type: ignore[arg-type] # the fields above are int


def test_discarded_customers_are_accounted_for(ledger: Ledger, books: Books) -> None:
    run = books.run(eligible=3, planned=3)
    books.request(run, 0, RequestStatus.SETTLED, {1: Outcome.ENROLLED})
    with ledger.write() as tx:
        assert not funnel(tx, OpenPlan(run)).balances()
        tx.conn.execute(update(badge_run).where(badge_run.c.id == run).values(discarded=2))
        assert funnel(tx, OpenPlan(run)).balances()


def test_a_plan_that_is_not_there_has_no_funnel(ledger: Ledger) -> None:
    with ledger.read() as tx, pytest.raises(LookupError, match="no plan 4711"):
        funnel(tx, OpenPlan(4711))


def test_failures_leave_out_those_who_have_the_badge(ledger: Ledger, settled_run: int) -> None:
    with ledger.read() as tx:
        assert failures(tx, OpenPlan(settled_run)) == (
            FailureCount(Outcome.REJECTED, None, 2),
            FailureCount(Outcome.FAILED, 744, 1),
            FailureCount(Outcome.FAILED, 816, 1),
        )


def test_progress_is_summed_over_the_plans_of_a_dag_run(books: Books, ledger_url: URL) -> None:
    first, second = books.run("extract[0]"), books.run("extract[1]")
    books.request(first, 0, RequestStatus.PLANNED, {1: None})
    books.request(first, 1, RequestStatus.SENDING, {2: None})
    approved = books.request(first, 2, RequestStatus.WAITING, {3: None})
    books.sighting(approved, "a", "approved", terminal=True)
    twins = books.request(second, 0, RequestStatus.WAITING, {4: None})
    books.sighting(twins, "b", "rejected", terminal=True)
    books.sighting(twins, "c", "AdminTask", terminal=False)
    books.request(second, 1, RequestStatus.WAITING, {5: None})
    books.request(second, 2, RequestStatus.SETTLED, {6: Outcome.ENROLLED})
    progress = run_progress(ledger_url, "gold", "r1")
    assert progress == RunProgress(requests=6, planned=1, sending=1, waiting=2, decided=1, settled=1)
    counts = (progress.planned, progress.sending, progress.waiting, progress.decided, progress.settled)
    assert sum(counts) == progress.requests, "a person adds them up"


def test_progress_of_a_run_without_customers_is_zero_and_of_an_unknown_run_none(books: Books, ledger_url: URL) -> None:
    books.run()
    assert run_progress(ledger_url, "gold", "r1") == RunProgress(0, 0, 0, 0, 0, 0)
    assert run_progress(ledger_url, "gold", "r2") is None


def test_the_funnel_view_says_what_the_funnel_says(ledger: Ledger, settled_run: int, books: Books) -> None:
    empty = books.run(run_id="r3")
    with ledger.read() as tx:
        rows = tx.conn.execute(text("SELECT * FROM badge_funnel ORDER BY badge_run_id")).mappings().all()
        for row in rows:
            found = funnel(tx, row["badge_run_id"])
            assert {outcome: row[outcome] for outcome in Outcome} == found.outcomes
            assert row["open"] == found.open
            assert row["eligible"] == found.eligible
    assert [row["run_id"] for row in rows] == ["r1", "r2", "r3"]
    assert (rows[0]["dag_id"], rows[0]["campaign"], rows[0]["occasion"]) == ("gold", "gold", "gold")
    assert rows[2]["badge_run_id"] == empty


def test_the_waiting_view_has_one_row_per_open_request_with_the_sighting_that_waits(
    ledger: Ledger, books: Books
) -> None:
    run = books.run()
    books.request(run, 0, RequestStatus.PLANNED, {1: None})
    ago = datetime.now(UTC) - timedelta(hours=1)  # the view reads the database's own clock
    twins = books.request(run, 1, RequestStatus.WAITING, {2: None, 3: None}, first_sent_at=ago)
    books.sighting(twins, "old", "AdminTask", terminal=False)
    books.sighting(twins, "new", "rejected", terminal=True, after_s=60)
    books.request(run, 2, RequestStatus.SETTLED, {4: Outcome.ENROLLED})
    with ledger.read() as tx:
        rows = tx.conn.execute(text("SELECT * FROM badge_waiting ORDER BY request_key")).mappings().all()
    assert [(row["status"], row["platform_request_id"], row["state"], row["customers"]) for row in rows] == [
        ("planned", None, None, 1),
        ("waiting", "old", "AdminTask", 2),
    ]
    assert rows[0]["age_seconds"] is None
    assert 3600 <= rows[1]["age_seconds"] < 3660


def test_the_customer_view_has_the_latest_attempt_only(ledger: Ledger, books: Books) -> None:
    run = books.run()
    books.request(run, 0, RequestStatus.SETTLED, {1: Outcome.FAILED, 2: Outcome.ENROLLED}, error_code=816)
    books.request(run, 1, RequestStatus.WAITING, {1: None}, attempt=2)
    with ledger.read() as tx:
        rows = tx.conn.execute(
            text(
                "SELECT account, customer_id, attempt, outcome, issued_id, error_code, request_key, request_status "
                "FROM badge_customer_status ORDER BY customer_id"
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        (ACCOUNT, 1, 2, None, None, None, f"cb1.{run}.1", "waiting"),
        (ACCOUNT, 2, 1, "enrolled", "i2", 816, f"cb1.{run}.0", "settled"),
    ]


def test_sqlite_looks_one_customer_up_by_key_and_does_not_read_every_enrolment(
    empty_database: EmptyDatabase,
) -> None:
    query = "SELECT * FROM badge_customer_status WHERE customer_id = 4711"
    with Ledger(migrated(empty_database("sqlite"))) as ledger, ledger.read() as tx:
        plan = [row[3] for row in tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert "SEARCH e USING PRIMARY KEY (occasion_id=? AND customer_id=?)" in plan
