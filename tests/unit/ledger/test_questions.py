"""The daily questions, on rows that planning, sending and settling wrote, and on rows written by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import URL, insert, select, text, update

from capillary.ledger.answers import Asked, CustomerAttempt
from capillary.ledger.database import Ledger
from capillary.ledger.questions import customer_history, failed_customers, open_requests, planned_runs
from capillary.ledger.request_rows import Seen, record_sighting, refuse
from capillary.ledger.schema import badge_occasion, badge_request, badge_run, badge_sighting
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome, RequestStatus
from tests.unit.ledger.conftest import Clock, EmptyDatabase, migrated
from tests.unit.ledger.orders import ORDER, SPEC, customers_of, plan, plan_id, requests_of, run, see, send, settle_as
from tests.unit.ledger.test_views import Books, inserted


def failed(ledger: Ledger, **asked: Any) -> list[CustomerAttempt]:  # noqa: ANN401 - what `Asked` takes
    with ledger.read() as tx:
        return list(failed_customers(tx, Asked(**asked)))


def reject(ledger: Ledger, request_id: int, name: str, message: str) -> None:
    send(ledger, request_id)
    with ledger.write() as tx:
        record_sighting(tx, request_id, Seen(name, "rejected", decided=True, checker_message=message))
    endings = dict.fromkeys(customers_of(ledger, request_id), Ending(Outcome.REJECTED))
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=[name], endings=endings)


def test_a_failed_customer_has_code_checkers_words_request_and_run(ledger: Ledger, clock: Clock) -> None:
    first, second = (each.id for each in requests_of(ledger, plan(ledger, [1, 2, 3, 4])))
    reject(ledger, first, "p-1", "wrong tier\nask Ann")
    clock.advance(hours=1)
    send(ledger, second)
    see(ledger, second, "p-2")
    with ledger.write() as tx:
        assert settle(tx, second, sightings_read=["p-2"], endings={4: Ending(Outcome.FAILED, error_code=816)})
    newest, *older = failed(ledger)
    assert (newest.customer_id, newest.outcome, newest.code, newest.checker_message) == (4, Outcome.FAILED, 816, None)
    assert [each.customer_id for each in older] == [1, 2, 3]
    (words,) = {each.checker_message for each in older}
    assert words == "wrong tier\nask Ann"
    assert {(each.outcome, each.code) for each in older} == {(Outcome.REJECTED, None)}
    assert newest.settled_at == clock.now
    assert (newest.campaign, newest.occasion, newest.run_id, newest.account) == (
        *("spring", "Spring 2026", "first"),
        SPEC.account,
    )
    assert (newest.platform_request_ids, newest.request_key) == (
        "p-2",
        requests_of(ledger, plan_of(ledger))[1].request_key,
    )


def plan_of(ledger: Ledger) -> Any:  # noqa: ANN401 - a plan's row is enough
    with ledger.read() as tx:
        return tx.conn.execute(select(badge_run.c.id.label("badge_run_id"))).one()


def test_a_request_that_the_platform_refused_says_why_for_each_customer(ledger: Ledger) -> None:
    (request,) = requests_of(ledger, plan(ledger, [1, 2]))
    held = send(ledger, request.id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=741, reason="the till may not make requests")
    assert [(each.customer_id, each.outcome, each.code, each.request_error) for each in failed(ledger)] == [
        (1, Outcome.NOT_ACCEPTED, 741, "the till may not make requests"),
        (2, Outcome.NOT_ACCEPTED, 741, "the till may not make requests"),
    ]


def test_whoever_has_the_badge_or_is_asked_for_again_has_not_failed(ledger: Ledger) -> None:
    (first,) = requests_of(ledger, plan(ledger, [1, 2, 3]))
    settle_as(ledger, first.id, Outcome.REJECTED)
    again = plan(ledger, [1, 2], run("again", retry=frozenset({Outcome.REJECTED}), customers_per_request=1))
    enrolled, _ = requests_of(ledger, again)
    settle_as(ledger, enrolled.id, Outcome.ENROLLED)
    assert [each.customer_id for each in failed(ledger)] == [3], "1 has the badge by now, and 2 is open"


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.FAILED, Outcome.UNCONFIRMED, Outcome.NOT_ACCEPTED])
def test_every_outcome_without_the_badge_is_told_and_can_be_asked_for_alone(ledger: Ledger, outcome: Outcome) -> None:
    books = Books(ledger)
    books.occasion()
    books.request(books.run(), 0, RequestStatus.SETTLED, dict(enumerate(Outcome, start=1)))
    assert {each.outcome for each in failed(ledger)} == set(Outcome) - {Outcome.ENROLLED, Outcome.ALREADY_ENROLLED}
    assert [each.outcome for each in failed(ledger, outcomes=frozenset({outcome}))] == [outcome]


def test_failed_customers_are_narrowed_by_campaign_account_time_and_number(ledger: Ledger, clock: Clock) -> None:
    (first,) = requests_of(ledger, plan(ledger, [1, 2, 3]))
    settle_as(ledger, first.id, Outcome.FAILED)
    clock.advance(days=1)
    later = plan(ledger, [7, 8], run("r2", campaign="autumn", occasion="Autumn"))
    settle_as(ledger, requests_of(ledger, later)[0].id, Outcome.FAILED)
    assert [each.customer_id for each in failed(ledger)] == [7, 8, 1, 2, 3]
    assert [each.customer_id for each in failed(ledger, limit=3)] == [7, 8, 1]
    assert [each.customer_id for each in failed(ledger, limit=2)] == [7, 8]
    assert [each.customer_id for each in failed(ledger, campaign="spring")] == [1, 2, 3]
    assert [each.customer_id for each in failed(ledger, since=clock.now)] == [7, 8]
    assert failed(ledger, since=clock.now + timedelta(seconds=1)) == []
    assert failed(ledger, account="elsewhere/1") == []


def test_hundreds_of_requests_come_each_once(ledger: Ledger) -> None:
    books = Books(ledger)
    books.occasion()
    of = books.run()
    with ledger.write() as tx:
        for ordinal in range(450):  # more than two parts of a look
            request = inserted(
                tx,
                insert(badge_request).values(
                    request_key=f"k{ordinal}",
                    badge_run_id=of,
                    occasion_id=books.occasion_id,
                    spec_id=books.spec_id,
                    ordinal=ordinal,
                    attempt=1,
                    customers=1,
                    status=RequestStatus.SETTLED,
                ),
            )
            tx.conn.execute(
                text("INSERT INTO badge_enrolment VALUES (:o, :c, 1, :r, 'failed', NULL, 816)"),
                {"o": books.occasion_id, "c": ordinal + 1, "r": request},
            )
            tx.conn.execute(text("INSERT INTO badge_result VALUES (:r, 'failed', 816, 1, 0)"), {"r": request})
    assert [each.customer_id for each in failed(ledger)] == list(range(450, 0, -1))
    assert len(failed(ledger, limit=201)) == 201


def test_a_customer_has_every_attempt_on_every_account(ledger: Ledger) -> None:
    books = Books(ledger)
    books.occasion()
    first = books.run()
    books.request(first, 0, RequestStatus.SETTLED, {4711: Outcome.FAILED, 1: Outcome.ENROLLED}, error_code=816)
    waiting = books.request(first, 1, RequestStatus.WAITING, {4711: None}, attempt=2)
    books.sighting(waiting, "new", "AdminTask", terminal=False)
    elsewhere = Books(ledger)
    elsewhere.occasion(account="https://eu.api.example/8")
    elsewhere.request(elsewhere.run("other"), 0, RequestStatus.SETTLED, {4711: Outcome.ENROLLED})
    with ledger.read() as tx:
        found = customer_history(tx, 4711)
        assert customer_history(tx, 4712) == ()
        assert [each.account for each in customer_history(tx, 4711, account="https://eu.api.example/8")] == [
            "https://eu.api.example/8"
        ]
        assert len(customer_history(tx, 4711, campaign="gold")) == 3
        assert customer_history(tx, 4711, campaign="silver") == ()
    assert [(one.account[-1], one.attempt, one.outcome, one.code, one.status) for one in found] == [
        ("7", 1, Outcome.FAILED, 816, RequestStatus.SETTLED),
        ("7", 2, None, None, RequestStatus.WAITING),
        ("8", 1, Outcome.ENROLLED, None, RequestStatus.SETTLED),
    ]
    assert found[0].request_key == f"cb1.{first}.0"
    assert found[1].platform_request_ids == "new"
    assert found[2].issued_id == "i4711"


def test_what_waits_tells_age_approvals_connection_and_every_copy(ledger: Ledger, clock: Clock) -> None:
    planned = plan(ledger, range(1, 8))
    first, second, _ = requests_of(ledger, planned)
    send(ledger, second.id)
    see(ledger, second.id, "p-2", decided=False)
    see(ledger, second.id, "twin", decided=False)
    clock.advance(hours=1)
    send(ledger, first.id)
    clock.advance(hours=2)
    with ledger.read() as tx:
        found = list(open_requests(tx, Asked()))
        assert [each.request_key for each in open_requests(tx, Asked(since=clock.now - timedelta(hours=2)))] == [
            first.request_key
        ]
        assert len(list(open_requests(tx, Asked(limit=2)))) == 2
    assert [(each.status, each.age_s, each.approvals, each.customers) for each in found] == [
        (RequestStatus.WAITING, 3 * 3600, 2, 3),
        (RequestStatus.SENDING, 2 * 3600, 0, 3),
        (RequestStatus.PLANNED, None, 0, 1),
    ]
    assert found[0].states == "AdminTask"
    assert set(found[0].platform_request_ids.split("; ")) == {"p-2", "twin"}
    assert (found[0].connection, found[0].account) == ("capillary_default", SPEC.account)
    assert found[1].doubt_from is not None
    settle_as_seen(ledger, second.id, ["p-2", "twin"])
    with ledger.read() as tx:
        assert [each.request_key for each in open_requests(tx, Asked())] != [second.request_key]
        assert len(list(open_requests(tx, Asked()))) == 2


def settle_as_seen(ledger: Ledger, request_id: int, names: list[str]) -> None:
    for name in names:
        see(ledger, request_id, name)
    endings = dict.fromkeys(customers_of(ledger, request_id), Ending(Outcome.ENROLLED))
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=names, endings=endings)


def test_runs_come_newest_first_each_with_its_funnel(ledger: Ledger, clock: Clock) -> None:
    first = plan(ledger, [1, 2, 3], invalid=2)
    settle_as(ledger, requests_of(ledger, first)[0].id, Outcome.ENROLLED)
    clock.advance(days=1)
    plan(ledger, [3, 4], run("second", note="by hand"))
    with ledger.read() as tx:
        second, oldest = planned_runs(tx, Asked())
        assert [each.run_id for each in planned_runs(tx, Asked(since=clock.now))] == ["second"]
        assert [each.run_id for each in planned_runs(tx, Asked(limit=1))] == ["second"]
        assert list(planned_runs(tx, Asked(campaign="autumn"))) == []
    assert (second.run_id, second.note, second.planned_at) == ("second", "by hand", clock.now)
    assert (second.funnel.eligible, second.funnel.known_before, second.funnel.open) == (2, 1, 1)
    assert (oldest.funnel.eligible, oldest.funnel.invalid, oldest.funnel.outcomes[Outcome.ENROLLED]) == (5, 2, 3)
    assert oldest.campaign == ORDER.campaign
    assert plan_id(ledger, first.badge_run_id).badge_run_id == first.badge_run_id


def test_a_question_changes_nothing(ledger: Ledger) -> None:
    (first,) = requests_of(ledger, plan(ledger, [1, 2, 3]))
    settle_as(ledger, first.id, Outcome.REJECTED)
    before = every_row(ledger)
    with ledger.read() as tx:
        list(failed_customers(tx, Asked()))
        list(open_requests(tx, Asked()))
        list(planned_runs(tx, Asked()))
        customer_history(tx, 1)
    assert every_row(ledger) == before


def every_row(ledger: Ledger) -> list[object]:
    with ledger.read() as tx:
        tables = (badge_occasion, badge_run, badge_request, badge_sighting)
        return [tuple(row) for table in tables for row in tx.conn.execute(select(table))]


def test_sqlite_looks_one_customer_up_by_key(empty_database: EmptyDatabase) -> None:
    with Ledger(migrated(empty_database("sqlite"))) as ledger, ledger.read() as tx:
        plans = recorded_plans(tx, lambda: customer_history(tx, 4711))
    assert any("badge_enrolment USING PRIMARY KEY (occasion_id=? AND customer_id=?)" in plan for plan in plans), plans


def test_no_question_reads_every_enrolment(ledger_url: URL) -> None:
    with Ledger(ledger_url) as ledger:
        books = Books(ledger)
        books.occasion()
        books.request(books.run(), 0, RequestStatus.SETTLED, {1: Outcome.FAILED, 2: None})
        with ledger.read() as tx:
            if not tx.is_sqlite:  # with few rows it would rather read the table
                tx.conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
            for ask in (
                lambda: list(failed_customers(tx, Asked())),
                lambda: list(open_requests(tx, Asked())),
                lambda: list(planned_runs(tx, Asked())),
                lambda: customer_history(tx, 1),
            ):
                plans = recorded_plans(tx, ask)
                assert plans
                read_whole = ("SCAN badge_enrolment", "SCAN later", "Seq Scan on badge_enrolment")
                assert [plan for plan in plans if any(words in plan for words in read_whole)] == []


def recorded_plans(tx: Any, ask: Any) -> list[str]:  # noqa: ANN401 - a transaction and a question
    """Return how the database goes about each statement of a question."""
    from sqlalchemy import event  # noqa: PLC0415 - for this alone

    statements: list[tuple[str, Any]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(tx.conn, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(tx.conn, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if tx.is_sqlite else "EXPLAIN"
    plans = []
    for statement, parameters in statements:
        rows = tx.conn.exec_driver_sql(f"{explain} {statement}", parameters)
        plans.append("\n".join(str(row[-1]) for row in rows))
    return plans


def test_a_request_seen_again_after_it_was_settled_is_told_with_the_outcomes_that_it_had(ledger: Ledger) -> None:
    (first,) = requests_of(ledger, plan(ledger, [1, 2]))
    settle_as(ledger, first.id, Outcome.REJECTED)
    with ledger.write() as tx:
        tx.conn.execute(
            update(badge_request).where(badge_request.c.id == first.id).values(status=RequestStatus.WAITING)
        )
    assert [each.status for each in failed(ledger)] == [RequestStatus.WAITING] * 2
