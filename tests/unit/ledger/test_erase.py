"""A customer is erased whole or not at all, and every count goes on adding up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from capillary.__main__ import main
from capillary.ledger.check import faults
from capillary.ledger.counts import count_outcomes
from capillary.ledger.database import Ledger
from capillary.ledger.erase import Erased, ErasureRefused, erase
from capillary.ledger.errors import LedgerBroken
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import Seen, record_sighting
from capillary.ledger.schema import badge_enrolment, badge_result
from capillary.ledger.settle import Ending, settle
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import (
    ORDER,
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

CUSTOMER = 2


@pytest.fixture
def first(ledger: Ledger) -> int:
    """A settled request of customers 1 to 3, of whom 1 and 2 failed with 816 and 3 was enrolled."""
    request_id: int = requests_of(ledger, plan(ledger, [1, 2, 3]))[0].id
    send(ledger, request_id)
    see(ledger, request_id)
    failed = Ending(Outcome.FAILED, None, 816)
    with ledger.write() as tx:
        endings = {1: failed, 2: failed, 3: Ending(Outcome.ENROLLED, "i")}
        assert settle(tx, request_id, sightings_read=["p-1"], endings=endings)
    return request_id


def erased(ledger: Ledger, customer: int = CUSTOMER, *, account: str | None = None) -> Erased:
    with ledger.write() as tx:
        return erase(tx, customer, account=account)


def counts(ledger: Ledger, request_id: int) -> list[tuple[str, int | None, int, int]]:
    with ledger.read() as tx:
        rows = tx.conn.execute(
            select(
                badge_result.c.outcome, badge_result.c.error_code, badge_result.c.customers, badge_result.c.without_row
            )
            .where(badge_result.c.request_id == request_id)
            .order_by(badge_result.c.outcome)
        )
        return [(row.outcome, row.error_code, row.customers, row.without_row) for row in rows]


def is_right(ledger: Ledger) -> bool:
    with ledger.read() as tx:
        runs = tx.conn.execute(text("SELECT id FROM badge_run")).scalars().all()
        return faults(tx) == () and all(funnel(tx, run_id).balances() for run_id in runs)


def test_an_erased_customer_has_no_row_and_stays_counted(ledger: Ledger, first: int) -> None:
    assert erased(ledger) == Erased(enrolments=1, occasions=1)
    assert customers_of(ledger, first) == [1, 3]
    assert counts(ledger, first) == [("enrolled", None, 1, 0), ("failed", 816, 2, 1)]
    assert is_right(ledger)


def test_every_attempt_on_every_occasion_is_erased(ledger: Ledger, first: int) -> None:
    again = plan(ledger, [1, 2], run("again", retry=frozenset({Outcome.FAILED})))
    other = plan(ledger, [2], run("other", occasion="another", campaign="another"))
    for planned in (again, other):
        settle_as(ledger, requests_of(ledger, planned)[0].id, Outcome.ENROLLED)
    assert erased(ledger) == Erased(enrolments=3, occasions=2)
    with ledger.read() as tx:
        assert set(tx.conn.execute(select(badge_enrolment.c.customer_id)).scalars()) == {1, 3}
    assert counts(ledger, first)[1] == ("failed", 816, 2, 1)
    assert is_right(ledger)


def test_a_whole_request_may_be_erased_one_by_one(ledger: Ledger, first: int) -> None:
    for customer in (1, 2, 3):
        assert erased(ledger, customer).enrolments == 1
        assert is_right(ledger)
    assert customers_of(ledger, first) == []
    assert counts(ledger, first) == [("enrolled", None, 1, 1), ("failed", 816, 2, 2)]


def test_a_customer_whom_the_ledger_does_not_know_changes_nothing(ledger: Ledger, first: int) -> None:
    assert first
    before = snapshot(ledger)
    assert erased(ledger, 4711) == Erased(enrolments=0, occasions=0)
    assert snapshot(ledger) == before


def test_erasing_twice_finds_nobody_the_second_time(ledger: Ledger, first: int) -> None:
    assert first
    erased(ledger)
    before = snapshot(ledger)
    assert erased(ledger) == Erased(enrolments=0, occasions=0)
    assert snapshot(ledger) == before


@pytest.mark.parametrize("status", ["planned", "sending", "waiting", "seen again"])
def test_a_customer_of_a_request_that_is_not_settled_is_refused_and_nothing_is_erased(
    ledger: Ledger, first: int, status: str
) -> None:
    if status == "seen again":
        see(ledger, first, "p-2")
    else:
        again = requests_of(ledger, plan(ledger, [2], run("again", retry=frozenset({Outcome.FAILED}))))[0].id
        if status != "planned":
            send(ledger, again)
        if status == "waiting":
            see(ledger, again, "p-2")
    before = snapshot(ledger)
    with pytest.raises(ErasureRefused, match="the customer is in 1 request not settled, and"):
        erased(ledger)
    assert snapshot(ledger) == before


def test_an_id_of_two_accounts_is_refused_until_the_account_is_named(ledger: Ledger, first: int) -> None:
    spec = replace(ORDER.spec, account="https://platform.example/200")
    elsewhere = requests_of(ledger, plan(ledger, [2], run("elsewhere", spec=spec)))[0].id
    settle_as(ledger, elsewhere, Outcome.ENROLLED)
    before = snapshot(ledger)
    with pytest.raises(ErasureRefused, match="2 accounts know this customer id") as refused:
        erased(ledger)
    assert ORDER.spec.account in str(refused.value)
    assert spec.account in str(refused.value)
    assert snapshot(ledger) == before
    assert erased(ledger, account=spec.account) == Erased(enrolments=1, occasions=1)
    assert (customers_of(ledger, elsewhere), customers_of(ledger, first)) == ([], [1, 2, 3])
    assert is_right(ledger)


def test_no_error_names_the_customer(ledger: Ledger) -> None:
    customer = 987_654_321
    plan(ledger, [customer])
    with pytest.raises(ErasureRefused) as refused:
        erased(ledger, customer)
    assert str(customer) not in str(refused.value)


def test_a_customer_who_is_not_counted_is_not_erased(ledger: Ledger, first: int) -> None:
    with ledger.write() as tx:
        tx.conn.execute(badge_result.delete().where(badge_result.c.request_id == first))
    before = snapshot(ledger)
    with pytest.raises(LedgerBroken, match="nothing was erased"):
        erased(ledger)
    assert snapshot(ledger) == before


def test_counting_again_leaves_the_erased_counted_as_they_were(ledger: Ledger, first: int) -> None:
    erased(ledger)
    with ledger.write() as tx:
        tx.conn.execute(
            badge_enrolment.update()
            .where(badge_enrolment.c.customer_id == 1)
            .values(outcome="rejected", error_code=None)
        )
        assert count_outcomes(tx, first) == {Outcome.REJECTED: 1, Outcome.ENROLLED: 1}
    assert counts(ledger, first) == [("enrolled", None, 1, 0), ("failed", 816, 1, 1), ("rejected", None, 1, 0)]
    assert is_right(ledger)


def test_an_erased_customer_is_new_to_the_next_plan(ledger: Ledger, first: int) -> None:
    assert request(ledger, first).status == "settled"
    erased(ledger, 3)
    assert plan(ledger, [3], run("later")).planned == 1


def test_an_erasure_waits_for_a_request_that_is_being_settled_again(ledger: Ledger, first: int) -> None:
    with ThreadPoolExecutor(1) as other, ledger.write() as tx:
        record_sighting(tx, first, Seen("p-2", "rejected", decided=True))
        rejected = dict.fromkeys([1, 2, 3], Ending(Outcome.REJECTED))
        assert settle(tx, first, sightings_read=["p-1", "p-2"], endings=rejected)
        asked = other.submit(erased, ledger)
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.5)
        tx.conn.commit()
        assert asked.result(timeout=20) == Erased(enrolments=1, occasions=1)
    assert counts(ledger, first) == [("enrolled", None, 1, 0), ("rejected", None, 2, 1)]
    assert is_right(ledger)


def test_the_command_prints_numbers_and_no_id(ledger: Ledger, first: int, capsys: pytest.CaptureFixture[str]) -> None:
    customer = 987_654_321
    settle_as(ledger, requests_of(ledger, plan(ledger, [customer], run("big")))[0].id, Outcome.ENROLLED)
    url = ledger.url.render_as_string(hide_password=False)
    command = ["ledger", "erase", "--url", url, "--customer", str(customer)]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out == "ledger: 1 row of the customer erased, on 1 occasion; the counts stay\n"
    assert main(command) == 1
    assert "nothing was erased" in capsys.readouterr().err
    assert str(customer) not in told.out + told.err
    assert customers_of(ledger, first) == [1, 2, 3]
    assert is_right(ledger)


def test_the_command_ends_with_1_where_the_customer_is_open_or_not_named(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(ledger, [987_654_321])
    before = snapshot(ledger)
    url = ledger.url.render_as_string(hide_password=False)
    assert main(["ledger", "erase", "--url", url, "--customer", "987654321"]) == 1
    told = capsys.readouterr().err
    assert "not settled" in told
    assert "987654321" not in told
    assert main(["ledger", "erase", "--url", url]) == 1
    assert "needs --customer" in capsys.readouterr().err
    assert snapshot(ledger) == before


def test_an_erased_customer_alone_is_planned_once_more_under_a_key_of_its_own(ledger: Ledger) -> None:
    """The same customer, occasion and attempt would give the key that the settled request still has."""
    (before,) = requests_of(ledger, plan(ledger, [CUSTOMER]))
    settle_as(ledger, before.id, Outcome.FAILED)
    assert erased(ledger).enrolments == 1
    made = plan(ledger, [CUSTOMER], run("second"))
    (after,) = requests_of(ledger, made)
    assert (made.planned, after.attempt) == (1, 2)
    assert after.request_key != before.request_key
    assert customers_of(ledger, after.id) == [CUSTOMER]
    send(ledger, after.id)
