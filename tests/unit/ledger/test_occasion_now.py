"""Where the customers of an occasion stand, by all its runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from capillary.ledger.database import Ledger
from capillary.ledger.occasion_now import OccasionNow, occasion_now
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.settle import Ending
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import ORDER, plan, requests_of, run, see, send
from tests.unit.ledger.test_attention import end

ONE: dict[str, Any] = {"customers_per_request": 10, "shared_occasion": True}


def now(ledger: Ledger, made: Plan) -> OccasionNow:
    with ledger.read() as tx:
        return occasion_now(tx, OpenPlan(made.badge_run_id or 0))


def test_everybody_without_the_badge_is_counted_where_they_stand(ledger: Ledger) -> None:
    def one(run_id: str, customers: range) -> int:
        (request,) = requests_of(ledger, plan(ledger, customers, run(run_id, **ONE)))
        return int(request.id)

    waits, sending, decided, ended = (
        one(name, range(10 * nth, 11 * nth + 1)) for nth, name in enumerate(("w", "s", "d", "e"), start=1)
    )
    for each in (waits, sending, decided):
        send(ledger, each)
    see(ledger, waits, "p-1", decided=False)
    see(ledger, decided, "p-2", decided=True)
    endings = dict.fromkeys(range(40, 44), Ending(Outcome.FAILED, error_code=500)) | {44: Ending(Outcome.ENROLLED)}
    end(ledger, ended, endings)
    plan(ledger, [90, 91], replace(ORDER, campaign="autumn", dag_id="autumn", **ONE))
    plan(ledger, [99], run("elsewhere", occasion="Winter", **ONE))
    last = plan(ledger, range(10, 12), run("nobody", **ONE))
    assert last.planned == 0
    assert now(ledger, last) == OccasionNow(waiting=2, on_their_way=3 + 2, decided=4, without_badge=4)


def test_an_occasion_on_which_everybody_has_the_badge_has_nobody_without(ledger: Ledger) -> None:
    first = plan(ledger, [1, 2], run("first", **ONE))
    (request,) = requests_of(ledger, first)
    end(ledger, request.id, dict.fromkeys((1, 2), Ending(Outcome.ENROLLED)))
    assert now(ledger, first) == OccasionNow()
