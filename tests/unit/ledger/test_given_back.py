"""What a run gave back, and whether an auto-approval keeps the next one from sending it."""

from __future__ import annotations

from sqlalchemy import update

from capillary.ledger.auto_approval import sent_by_run, standing_auto_approval
from capillary.ledger.database import Ledger
from capillary.ledger.given_back import GivenBack, given_back
from capillary.ledger.plan import Plan
from capillary.ledger.plan_id import OpenPlan
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import badge_run
from capillary.ledger.status import Outcome
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, settle_as


def give_back(ledger: Ledger, planned: Plan) -> GivenBack | None:
    with ledger.write() as tx:
        discard_unsent(tx, badge_run_ids=[OpenPlan(planned.badge_run_id or 0)])
        return given_back(tx, [planned.badge_run_id or 0])


def test_a_run_that_sent_all_has_given_nothing_back(ledger: Ledger) -> None:
    planned = plan(ledger, [1])
    settle_as(ledger, requests_of(ledger, planned)[0].id, Outcome.ENROLLED)
    assert give_back(ledger, planned) is None


def test_whether_a_part_was_sent_and_whether_the_next_run_is_refused(ledger: Ledger) -> None:
    first, second = plan(ledger, range(1, 8)), plan(ledger, range(11, 18), run("second"))
    assert give_back(ledger, second) == GivenBack(7, True, ("extract",), False)
    settle_as(ledger, requests_of(ledger, first)[0].id, Outcome.ENROLLED, auto=True)
    assert give_back(ledger, first) == GivenBack(4, False, ("extract",), True)
    assert give_back(ledger, second) == GivenBack(7, True, ("extract",), True)
    with ledger.read() as tx:
        both = given_back(tx, [first.badge_run_id or 0, second.badge_run_id or 0])
        standing = standing_auto_approval(tx, SPEC.account)
        assert standing is not None
        assert sent_by_run(tx, standing) == ("spring", "first")
    assert both == GivenBack(11, False, ("extract",), True)
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(accepts_auto_approval=True))
    assert give_back(ledger, first) == GivenBack(4, False, ("extract",), False), "it accepts them"
    human = plan(ledger, [21], run("third"))
    with ledger.write() as tx:
        tx.conn.execute(update(badge_run).values(accepts_auto_approval=False))
    settle_as(ledger, requests_of(ledger, human)[0].id, Outcome.ENROLLED)
    assert give_back(ledger, first) == GivenBack(4, False, ("extract",), False), "a human has decided since"
