"""What the ledger keeps of a request's outcomes is what its rows say, whoever set them and however often."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select, text, update

from capillary.ledger import counts
from capillary.ledger.counts import count_outcomes
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.import_requests import Forgotten, adopt
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.reports import FailureCount, Funnel, failures, funnel
from capillary.ledger.request_rows import Seen, discard_unsent, give_up, refuse, resend
from capillary.ledger.schema import badge_enrolment, badge_request, badge_result, badge_run
from capillary.ledger.settle import Ending, settle
from capillary.ledger.spec import request_key
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import (
    DOUBT,
    ORDER,
    absence,
    customers_of,
    plan,
    request,
    requests_of,
    run,
    see,
    send,
    settle_as,
    snapshot,
)

Counts = dict[tuple[str, int | None], int]


def kept(ledger: Ledger, request_id: int) -> Counts:
    """Return what the ledger keeps; a pair that stands twice shows as a fault."""
    with ledger.read() as tx:
        rows = tx.conn.execute(select(badge_result).where(badge_result.c.request_id == request_id)).all()
    assert len({(row.outcome, row.error_code) for row in rows}) == len(rows)
    return {(row.outcome, row.error_code): row.customers for row in rows}


def held(ledger: Ledger, request_id: int) -> Counts:
    """Return what the rows of the request's customers say."""
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_enrolment.c.outcome, badge_enrolment.c.error_code, func.count().label("customers"))
            .where(badge_enrolment.c.request_id == request_id, badge_enrolment.c.outcome.is_not(None))
            .group_by(badge_enrolment.c.outcome, badge_enrolment.c.error_code)
        )
        return {(row.outcome, row.error_code): row.customers for row in rows}


def settled(ledger: Ledger, request_id: int, endings: dict[int, Ending], *names: str) -> None:
    with ledger.write() as tx:
        assert settle(tx, request_id, sightings_read=names or ("p-1",), endings=endings)


def funnel_of(ledger: Ledger, planned: Plan) -> Funnel:
    """Return the plan's funnel, which must balance and say what the database's own view says."""
    assert planned.badge_run_id is not None
    with ledger.read() as tx:
        found = funnel(tx, OpenPlan(planned.badge_run_id))
        view = (
            tx.conn.execute(text("SELECT * FROM badge_funnel WHERE badge_run_id = :run"), {"run": planned.badge_run_id})
            .mappings()
            .one()
        )
        still_open = tx.conn.execute(
            select(func.count())
            .select_from(badge_enrolment.join(badge_request))
            .where(badge_request.c.badge_run_id == planned.badge_run_id, badge_enrolment.c.outcome.is_(None))
        ).scalar_one()
    assert found.balances()
    assert found.open == view["open"] == still_open
    assert found.outcomes == {outcome: view[outcome] for outcome in Outcome}
    return found


@pytest.fixture
def planned(ledger: Ledger) -> Plan:
    """A plan of customers 1 to 3 in one request."""
    return plan(ledger, [1, 2, 3])


@pytest.fixture
def sent(ledger: Ledger, planned: Plan) -> int:
    request_id: int = requests_of(ledger, planned)[0].id
    send(ledger, request_id)
    return request_id


def test_settling_counts_by_outcome_and_code(ledger: Ledger, planned: Plan, sent: int) -> None:
    see(ledger, sent)
    assert kept(ledger, sent) == {}
    assert funnel_of(ledger, planned).open == 3
    settled(
        ledger,
        sent,
        {1: Ending(Outcome.ENROLLED, "i"), 2: Ending(Outcome.FAILED, None, 816), 3: Ending(Outcome.FAILED)},
    )
    assert kept(ledger, sent) == {("enrolled", None): 1, ("failed", 816): 1, ("failed", None): 1}
    found = funnel_of(ledger, planned)
    assert (found.open, found.outcomes[Outcome.ENROLLED], found.outcomes[Outcome.FAILED]) == (0, 1, 2)
    with ledger.read() as tx:
        assert failures(tx, OpenPlan(planned.badge_run_id or 0)) == (
            FailureCount(Outcome.FAILED, 816, 1),
            FailureCount(Outcome.FAILED, None, 1),
        )


def test_a_request_that_could_not_be_settled_has_no_counts(ledger: Ledger, sent: int) -> None:
    see(ledger, sent, "p-1")
    see(ledger, sent, "p-2")
    with ledger.write() as tx:
        assert not settle(tx, sent, sightings_read=["p-1"], endings=dict.fromkeys([1, 2, 3], Ending(Outcome.FAILED)))
    assert kept(ledger, sent) == {}


def test_a_request_seen_again_keeps_its_counts_and_nobody_of_it_is_open(
    ledger: Ledger, planned: Plan, sent: int
) -> None:
    see(ledger, sent)
    settled(ledger, sent, dict.fromkeys([1, 2, 3], Ending(Outcome.REJECTED)))
    see(ledger, sent, "p-2", decided=False)
    assert request(ledger, sent).status == "waiting"
    assert kept(ledger, sent) == held(ledger, sent) == {("rejected", None): 3}
    found = funnel_of(ledger, planned)
    assert (found.open, found.requests_open, found.outcomes[Outcome.REJECTED]) == (0, 1, 3)


def test_settling_again_counts_anew_and_who_was_enrolled_stays_counted_so(
    ledger: Ledger, planned: Plan, sent: int
) -> None:
    see(ledger, sent)
    settled(
        ledger,
        sent,
        {1: Ending(Outcome.ENROLLED, "i"), 2: Ending(Outcome.FAILED, None, 816), 3: Ending(Outcome.REJECTED)},
    )
    see(ledger, sent, "p-2")
    later = {1: Ending(Outcome.FAILED, None, 744), 2: Ending(Outcome.ENROLLED, "i"), 3: Ending(Outcome.UNCONFIRMED)}
    settled(ledger, sent, later, "p-1", "p-2")
    assert kept(ledger, sent) == held(ledger, sent) == {("enrolled", None): 2, ("unconfirmed", None): 1}
    assert funnel_of(ledger, planned).outcomes[Outcome.FAILED] == 0


def test_settling_again_to_the_same_end_changes_no_count(ledger: Ledger, sent: int) -> None:
    endings = {
        1: Ending(Outcome.ENROLLED, "i"),
        2: Ending(Outcome.FAILED, None, 816),
        3: Ending(Outcome.FAILED, None, 816),
    }
    see(ledger, sent)
    settled(ledger, sent, endings)
    before = kept(ledger, sent)
    see(ledger, sent, "p-2")
    settled(ledger, sent, endings, "p-1", "p-2")
    assert kept(ledger, sent) == before == {("enrolled", None): 1, ("failed", 816): 2}


@pytest.mark.parametrize("code", [2014, None])
def test_a_refused_request_is_counted(ledger: Ledger, planned: Plan, code: int | None) -> None:
    request_id = requests_of(ledger, planned)[0].id
    held_claim = send(ledger, request_id)
    with ledger.write() as tx:
        assert refuse(tx, held_claim, code=code, reason="no")
    assert kept(ledger, request_id) == held(ledger, request_id) == {("not_accepted", code): 3}
    assert funnel_of(ledger, planned).open == 0


def test_a_refusal_that_came_too_late_counts_nothing(ledger: Ledger, planned: Plan) -> None:
    request_id = requests_of(ledger, planned)[0].id
    held_claim = send(ledger, request_id)
    see(ledger, request_id, decided=False)
    with ledger.write() as tx:
        assert not refuse(tx, held_claim, code=2014, reason="no")
    assert kept(ledger, request_id) == {}


def test_a_request_that_is_given_up_is_counted(ledger: Ledger, clock: Clock, planned: Plan) -> None:
    request_id = requests_of(ledger, planned)[0].id
    tries = send(ledger, request_id).tries
    for last in (False, False, True):
        clock.advance(seconds=DOUBT.total_seconds() + 1)
        absent = absence(ledger, request_id, clock.now, tries=tries)
        with ledger.write() as tx:
            if last:
                assert give_up(tx, absent)
                break
            again = resend(tx, absent, sender="sender", doubt_after=DOUBT)
        assert again is not None
        tries = again.tries
        assert kept(ledger, request_id) == {}
    assert kept(ledger, request_id) == held(ledger, request_id) == {("unconfirmed", None): 3}
    assert funnel_of(ledger, planned).open == 0


def _forgotten(customers: list[int], state: str, name: str) -> Forgotten:
    return Forgotten(
        key=request_key(ORDER.spec.fingerprint(), ORDER.campaign, ORDER.occasion, 1, customers),
        campaign=ORDER.campaign,
        occasion=ORDER.occasion,
        spec=ORDER.spec,
        attempt=1,
        customers=customers,
        seen=Seen(name, state, decided=state != "AdminTask"),
        sent_at=Clock().now - timedelta(days=1),
    )


def _adopted(ledger: Ledger, forgotten: Forgotten) -> tuple[int, Plan]:
    """Adopt a request; return its id, and the plan of the import that holds it."""
    with ledger.write() as tx:
        assert adopt(tx, forgotten, run_id="import", capillary_conn_id="capillary") == 0
        row = tx.conn.execute(select(badge_request).where(badge_request.c.request_key == forgotten.key)).one()
    nothing = plan(ledger, [], run("nothing"), dry_run=True)
    return row.id, replace(nothing, badge_run_id=row.badge_run_id)


def test_an_imported_request_is_open_until_it_is_settled(ledger: Ledger) -> None:
    request_id, imported = _adopted(ledger, _forgotten([1, 2], "approved", "p-1"))
    assert kept(ledger, request_id) == {}
    assert funnel_of(ledger, imported).open == 2
    settled(ledger, request_id, {1: Ending(Outcome.ENROLLED, "i"), 2: Ending(Outcome.FAILED, None, 816)})
    assert kept(ledger, request_id) == held(ledger, request_id) == {("enrolled", None): 1, ("failed", 816): 1}
    assert funnel_of(ledger, imported).eligible == 2


def test_an_imported_twin_is_counted_as_rejected_and_has_no_rows(ledger: Ledger, planned: Plan, sent: int) -> None:
    see(ledger, sent)
    twin, imported = _adopted(ledger, _forgotten([2, 3, 4], "rejected", "p-twin"))
    assert held(ledger, twin) == {}
    assert kept(ledger, twin) == {("rejected", None): 3}
    found = funnel_of(ledger, imported)
    assert (found.eligible, found.planned, found.open, found.outcomes[Outcome.REJECTED]) == (3, 3, 0, 3)
    assert funnel_of(ledger, planned).open == 3


def test_an_imported_twin_that_is_seen_again_has_nobody_open(ledger: Ledger, sent: int) -> None:
    see(ledger, sent)
    twin, imported = _adopted(ledger, _forgotten([2, 3, 4], "rejected", "p-twin"))
    see(ledger, twin, "p-again", decided=False)
    assert request(ledger, twin).status == "waiting"
    assert kept(ledger, twin) == {("rejected", None): 3}
    assert funnel_of(ledger, imported).open == 0


def test_a_plan_in_every_state_at_once_adds_up(ledger: Ledger) -> None:
    planned = plan(ledger, range(1, 19))
    unsent, sending, waiting, done, again, refused = (row.id for row in requests_of(ledger, planned))
    send(ledger, sending)
    send(ledger, waiting)
    see(ledger, waiting, "p-waiting")
    settle_as(ledger, done, Outcome.ENROLLED)
    settle_as(ledger, again, Outcome.UNCONFIRMED)
    see(ledger, again, "p-again")
    claim = send(ledger, refused)
    with ledger.write() as tx:
        assert refuse(tx, claim, code=2014, reason="no")
    found = funnel_of(ledger, planned)
    assert (found.open, found.requests_open, found.discarded) == (9, 4, 0)
    assert {outcome: count for outcome, count in found.outcomes.items() if count} == {
        Outcome.ENROLLED: 3,
        Outcome.UNCONFIRMED: 3,
        Outcome.NOT_ACCEPTED: 3,
    }
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[OpenPlan(planned.badge_run_id or 0)]) == 3
    found = funnel_of(ledger, planned)
    assert (found.open, found.requests_open, found.discarded) == (6, 3, 3)
    assert {row.id for row in requests_of(ledger, planned)} == {sending, waiting, done, again, refused}
    assert unsent not in {row.id for row in requests_of(ledger, planned)}


def _lose_a_count(tx: Transaction) -> None:
    tx.conn.execute(badge_result.delete().where(badge_result.c.outcome == "failed"))


def _count_one_too_many(tx: Transaction) -> None:
    tx.conn.execute(update(badge_result).values(customers=badge_result.c.customers + 1))


def _plan_one_too_many(tx: Transaction) -> None:
    tx.conn.execute(update(badge_run).values(planned=badge_run.c.planned + 1))


@pytest.mark.parametrize("spoil", [_lose_a_count, _count_one_too_many, _plan_one_too_many])
def test_counts_that_are_wrong_do_not_balance(
    ledger: Ledger, planned: Plan, sent: int, spoil: Callable[[Transaction], None]
) -> None:
    see(ledger, sent)
    settled(ledger, sent, {1: Ending(Outcome.ENROLLED, "i"), 2: Ending(Outcome.FAILED), 3: Ending(Outcome.REJECTED)})
    with ledger.read() as tx:  # rolls back what it writes
        assert funnel(tx, OpenPlan(planned.badge_run_id or 0)).balances()
        spoil(tx)
        assert not funnel(tx, OpenPlan(planned.badge_run_id or 0)).balances()


def test_counting_one_request_leaves_the_others_counts(ledger: Ledger, sent: int) -> None:
    other = requests_of(ledger, plan(ledger, [4, 5], run("second")))[0].id
    settle_as(ledger, other, Outcome.FAILED)
    see(ledger, sent)
    settled(ledger, sent, dict.fromkeys(customers_of(ledger, sent), Ending(Outcome.REJECTED)))
    assert kept(ledger, other) == {("failed", None): 2}
    before = snapshot(ledger)
    with ledger.write() as tx:
        assert count_outcomes(tx, other) == {Outcome.FAILED: 2}
    assert snapshot(ledger) == before


@pytest.mark.parametrize("question", ["badge_run_id = 1", "dag_id = 'spring' AND run_id = 'first'", "1 = 1"])
def test_the_funnel_view_reads_no_enrolment_and_searches_the_counts_by_index(
    ledger: Ledger, sent: int, question: str
) -> None:
    see(ledger, sent)
    settled(ledger, sent, dict.fromkeys([1, 2, 3], Ending(Outcome.FAILED)))
    explain = "EXPLAIN QUERY PLAN" if ledger.engine.dialect.name == "sqlite" else "EXPLAIN"
    with ledger.read() as tx:
        if not tx.is_sqlite:
            tx.conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # a table of one row is always scanned
        rows = tx.conn.exec_driver_sql(f"{explain} SELECT * FROM badge_funnel WHERE {question}").all()  # noqa: S608 - constants of the test
    steps = [str(row[-1]) for row in rows]
    assert not [step for step in steps if "badge_enrolment" in step]
    assert [step for step in steps if "ix_badge_result_request_id" in step]


def test_the_funnel_and_the_failures_ask_no_enrolment(ledger: Ledger, planned: Plan) -> None:
    asked: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda _conn, _cursor, sql, *_: asked.append(sql))
    with ledger.read() as tx:
        funnel(tx, OpenPlan(planned.badge_run_id or 0))
        failures(tx, OpenPlan(planned.badge_run_id or 0))
    assert [sql for sql in asked if "badge_result" in sql]
    assert not [sql for sql in asked if re.search(r"(FROM|JOIN) badge_enrolment", sql)]


def test_every_module_that_sets_an_outcome_counts() -> None:
    package = Path(counts.__file__).parents[1]
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    setting = {
        path.name
        for path, source in sources.items()
        if re.search(r"update\(badge_enrolment\)|UPDATE badge_enrolment", source)
    }
    assert setting == {"request_rows.py", "settle.py"}
    assert all("count_outcomes(tx, " in sources[package / "ledger" / name] for name in setting)
