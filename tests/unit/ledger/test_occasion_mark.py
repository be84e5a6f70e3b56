"""What has changed on an occasion since a dry run counted there: each kind of change by itself, and none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from capillary.ledger.canary import OpenCanary, Stand
from capillary.ledger.dag_plans import have_planned, last_plan_of
from capillary.ledger.database import Ledger
from capillary.ledger.occasion_mark import Mark, SinceMark, since_mark
from capillary.ledger.plan import Order
from capillary.ledger.request_rows import discard_unsent, refuse
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, SPEC, plan, request, requests_of, run, send, settle_as
from tests.unit.ledger.test_attention import end

TEN: dict[str, Any] = {"customers_per_request": 10}
CANARY: dict[str, Any] = {"canary": True, **TEN}
FAILED = Ending(Outcome.FAILED, error_code=500)


def counted(ledger: Ledger, order: Order, customers: range = range(1, 31)) -> Mark:
    preview = plan(ledger, customers, order, dry_run=True).preview
    assert preview is not None
    assert preview.mark is not None
    return preview.mark


def since(ledger: Ledger, mark: Mark) -> SinceMark:
    with ledger.read() as tx:
        return since_mark(tx, mark)


def test_a_dry_run_on_a_new_occasion_holds_until_somebody_is_planned_there(ledger: Ledger) -> None:
    mark = counted(ledger, run("dry", **TEN))
    assert (mark.account, mark.occasion, mark.spec) == (SPEC.account, "Spring 2026", SPEC.fingerprint())
    assert (mark.last_plan, mark.held, mark.canary, mark.retry) == (0, 0, False, ())
    assert since(ledger, mark) == SinceMark()
    plan(ledger, range(1, 6), run("elsewhere", occasion="Winter", **TEN))
    assert since(ledger, mark) == SinceMark(), "that was another occasion"
    plan(ledger, range(1, 6), run("second", task_id="a", **TEN))
    plan(ledger, range(6, 9), run("second", task_id="b", **TEN))
    assert since(ledger, mark) == SinceMark(runs=1, customers=8, last_run=("spring", "second"))
    plan(ledger, range(1, 9), run("nobody", **TEN))
    assert since(ledger, mark).last_run == ("spring", "second"), "a run that planned nobody changes nothing"
    shared = replace(ORDER, campaign="autumn", dag_id="autumn", run_id="x", shared_occasion=True, **TEN)
    plan(ledger, [9], shared)
    assert since(ledger, mark) == SinceMark(runs=2, customers=9, last_run=("autumn", "x"))


def test_who_was_planned_before_it_counted_is_no_change(ledger: Ledger) -> None:
    plan(ledger, range(1, 6), run("before", **TEN))
    mark = counted(ledger, run("dry", **TEN))
    assert (mark.last_plan > 0, mark.held) == (True, 5)
    assert since(ledger, mark) == SinceMark()


def test_who_was_given_back_since_may_be_planned_again(ledger: Ledger) -> None:
    before = plan(ledger, range(1, 6), run("before", **TEN))
    mark = counted(ledger, run("dry", **TEN))
    with ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[before.badge_run_id or 0])  # type: ignore[list-item]
    assert since(ledger, mark) == SinceMark(given_back=5)
    assert plan(ledger, range(1, 31), run("dry", **TEN), dry_run=True).planned == 30
    plan(ledger, range(1, 4), run("second", **TEN))
    assert since(ledger, mark) == SinceMark(runs=1, customers=3, last_run=("spring", "second"), given_back=5)


def test_what_a_dead_run_holds_is_no_change_though_the_dry_run_has_let_go_of_it(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, range(1, 6), run("dead", **TEN))
    clock.now += timedelta(days=1)
    assert counted(ledger, run("dry", **TEN)).held == 0
    assert since(ledger, counted(ledger, run("dry", **TEN))) == SinceMark()


@pytest.mark.parametrize(("retry", "taken"), [(frozenset({Outcome.FAILED}), 4), (frozenset(), 0)], ids=["told", "not"])
def test_who_ended_since_is_a_change_where_the_dry_run_would_take_them_again(
    ledger: Ledger, clock: Clock, retry: frozenset[Outcome], taken: int
) -> None:
    (first,) = requests_of(ledger, plan(ledger, range(1, 5), run("before", **TEN)))
    mark = counted(ledger, run("dry", retry=retry, **TEN))
    assert mark.retry == tuple(map(str, retry))
    assert since(ledger, mark) == SinceMark()
    clock.now += timedelta(minutes=1)
    end(ledger, first.id, dict.fromkeys(range(1, 5), FAILED))
    assert since(ledger, mark) == SinceMark(ended=taken)
    assert since(ledger, counted(ledger, run("dry", retry=retry, **TEN))) == SinceMark(), "a new one has counted them"


def test_who_was_refused_since_is_taken_by_every_run(ledger: Ledger, clock: Clock) -> None:
    (first,) = requests_of(ledger, plan(ledger, range(1, 4), run("before", **TEN)))
    mark = counted(ledger, run("dry", **TEN))
    clock.now += timedelta(minutes=1)
    held = send(ledger, first.id)
    with ledger.write() as tx:
        assert refuse(tx, held, code=2008, reason="no")
    assert since(ledger, mark) == SinceMark(ended=3)


def test_a_canary_that_waits_or_has_passed_since_is_a_change(ledger: Ledger) -> None:
    mark = counted(ledger, run("dry", **CANARY))
    assert mark.canary
    assert since(ledger, mark) == SinceMark(), "nothing waits under its configuration"
    (canary,) = requests_of(ledger, plan(ledger, [1], run("canary", occasion="Winter", **CANARY)))
    send(ledger, canary.id)
    waits_for = OpenCanary("spring", "canary", request(ledger, canary.id).first_sent_at, stand=Stand.SENDING)
    assert since(ledger, mark) == SinceMark(waits_for=waits_for)
    assert plan(ledger, range(1, 31), run("dry", **CANARY), dry_run=True).planned == 0
    plain = counted(ledger, run("dry", **TEN))
    assert since(ledger, plain) == SinceMark(), "without the canary nothing of that counts"


def test_a_configuration_that_is_proven_since_is_a_change(ledger: Ledger) -> None:
    mark = counted(ledger, run("dry", **CANARY))
    (canary,) = requests_of(ledger, plan(ledger, [1], run("canary", occasion="Winter", **CANARY)))
    settle_as(ledger, canary.id, Outcome.ENROLLED)
    found = since(ledger, mark)
    assert found == SinceMark(proven_at=request(ledger, canary.id).settled_at)
    assert plan(ledger, range(1, 31), run("dry", **CANARY), dry_run=True).planned == 30


def test_an_occasion_that_is_gone_holds_nobody(ledger: Ledger) -> None:
    """The ledger was restored to before it."""
    plan(ledger, range(1, 3), run("before", **TEN))
    mark = counted(ledger, run("dry", **TEN))
    assert since(ledger, replace(mark, occasion="gone")) == SinceMark(given_back=2)


def test_which_runs_have_planned_is_asked_of_one_dag(ledger: Ledger) -> None:
    with ledger.read() as tx:
        assert last_plan_of(tx, "spring") == 0
        assert have_planned(tx, "spring", []) == frozenset()
    plan(ledger, [1], run("first", **TEN))
    nobody = plan(ledger, [1], run("nobody", **TEN))
    plan(ledger, [1], replace(ORDER, dag_id="autumn", campaign="autumn", run_id="theirs", occasion="A", **TEN))
    with ledger.read() as tx:
        assert have_planned(tx, "spring", ["first", "nobody", "theirs", "none"]) == {"first", "nobody"}
        assert last_plan_of(tx, "spring") == nobody.badge_run_id
