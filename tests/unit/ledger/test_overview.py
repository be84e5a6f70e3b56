"""Every campaign and every account at a glance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from capillary.ledger import pace, scans
from capillary.ledger.database import Ledger
from capillary.ledger.overview import AccountLine, CampaignLine, accounts, campaigns
from capillary.ledger.reports import FailureCount
from capillary.ledger.schema import badge_scan
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, stop
from tests.unit.ledger.conftest import Clock
from tests.unit.ledger.orders import ORDER, SPEC, plan, requests_of, run, see, send, settle_as

ACCOUNT = SPEC.account


def lines(ledger: Ledger) -> tuple[CampaignLine, ...]:
    with ledger.read() as tx:
        return campaigns(tx)


def of_accounts(ledger: Ledger) -> tuple[AccountLine, ...]:
    with ledger.read() as tx:
        return accounts(tx)


def test_an_empty_ledger_has_no_campaign_and_no_account(ledger: Ledger) -> None:
    assert lines(ledger) == ()
    assert of_accounts(ledger) == ()


def test_a_campaign_shows_its_last_run_and_what_is_open_of_all_its_runs(ledger: Ledger, clock: Clock) -> None:
    first, second, _ = requests_of(ledger, plan(ledger, range(1, 8)))
    sent_at = clock.now
    send(ledger, first.id)
    see(ledger, first.id, decided=False)
    send(ledger, second.id)
    clock.advance(hours=1)
    waiting, failed = requests_of(ledger, plan(ledger, range(8, 13), run("second"), invalid=2))
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-w")
    settle_as(ledger, failed.id, Outcome.FAILED)
    (line,) = lines(ledger)
    assert (line.last.run_id, line.last.dag_id, line.last.campaign, line.last.planned_at) == (
        *("second", "spring", "spring"),
        clock.now,
    )
    counts = line.last.funnel
    assert (counts.eligible, counts.invalid, counts.planned, counts.open) == (7, 2, 5, 3)
    assert counts.outcomes[Outcome.FAILED] == 2
    assert counts.balances()
    assert line.failures == (FailureCount(Outcome.FAILED, None, 2),)
    assert (line.requests_unsent, line.requests_in_doubt, line.requests_undecided, line.requests_decided) == (
        1,
        1,
        1,
        1,
    )
    assert (line.customers_undecided, line.undecided_since) == (3, sent_at)
    assert (line.canary, line.stops) == (None, ())


def test_the_last_run_counts_what_all_its_tasks_planned_on_the_account(ledger: Ledger) -> None:
    plan(ledger, range(1, 3), run("earlier"))
    for number, customers in enumerate((range(10, 13), range(13, 15))):
        (request,) = requests_of(ledger, plan(ledger, customers, run("mapped", task_id=f"extract[{number}]")))
        settle_as(ledger, request.id, Outcome.FAILED)
    plan(ledger, range(20, 24), run("mapped", spec=replace(SPEC, account="zz.example/1")))
    ours, other = lines(ledger)
    assert (ours.last.run_id, ours.last.funnel.planned, ours.last.funnel.requests) == ("mapped", 5, 2)
    assert ours.failures == (FailureCount(Outcome.FAILED, None, 5),)
    assert (other.last.account, other.last.funnel.planned, other.failures) == ("zz.example/1", 4, ())


def test_campaigns_come_by_account_and_name_each_with_its_stops(ledger: Ledger) -> None:
    plan(ledger, [1])
    plan(ledger, [1], run("a", campaign="autumn", dag_id="autumn", occasion="Autumn"))
    elsewhere = replace(SPEC, account="another.example/1")
    plan(ledger, [1], replace(ORDER, spec=elsewhere))
    of_spring = stop(ledger, Scope(ACCOUNT, "spring"), by="ann", reason="wrong tier")
    whole = stop(ledger, Scope(ACCOUNT), by="bob", reason="all")
    found = [(line.last.account, line.last.campaign, line.stops) for line in lines(ledger)]
    assert found == [
        ("another.example/1", "spring", ()),
        (ACCOUNT, "autumn", (whole,)),
        (ACCOUNT, "spring", (whole, of_spring)),
    ]


def test_a_campaign_that_a_canary_holds_names_it(ledger: Ledger) -> None:
    canary = plan(ledger, range(1, 31), run("canary", canary=True, customers_per_request=10))
    send(ledger, requests_of(ledger, canary)[0].id)
    (line,) = lines(ledger)
    assert (line.last.run_id, line.canary, line.requests_in_doubt) == ("canary", None, 1)
    plan(ledger, range(1, 31), run("behind", canary=True))
    (line,) = lines(ledger)
    assert (line.last.run_id, line.last.funnel.planned, line.last.funnel.over_cap) == ("behind", 0, 20)
    assert line.canary is not None
    assert (line.canary.dag_id, line.canary.run_id) == ("spring", "canary")


def test_a_list_was_last_read_when_submit_has_read_it_without_a_turn(ledger: Ledger, clock: Clock) -> None:
    """`wait` and `badge_upkeep` take a turn, which the row tells by itself; `submit` only tells of a whole reading."""
    plan(ledger, [1])
    with ledger.write() as tx:
        assert scans.lease(tx, ACCOUNT, by="wait", older_than=timedelta(0))
        scans.finish(tx, ACCOUNT, by="wait")
    turn_at = clock.now
    assert of_accounts(ledger)[0].read_at == turn_at
    clock.advance(minutes=4)
    with ledger.write() as tx:
        scans.note_whole(tx, ACCOUNT, sender="ann", begun_at=clock.now, pages=1)
    (line,) = of_accounts(ledger)
    assert line.read_at == line.whole_at == clock.now
    with ledger.read() as tx:
        assert scans.state(tx, ACCOUNT).read_at == clock.now
    clock.advance(minutes=4)
    with ledger.write() as tx:
        assert scans.lease(tx, ACCOUNT, by="wait", older_than=timedelta(minutes=5)), "it is no turn of theirs"
    assert of_accounts(ledger)[0].read_at == clock.now, "a reading that has begun"


def test_an_account_shows_pace_readings_trust_and_stop(ledger: Ledger, clock: Clock) -> None:
    plan(ledger, [1], run("first", capillary_conn_id="older"))
    plan(ledger, [2], run("second", dag_id="spring_again", capillary_conn_id="newer"))
    begun = clock.now
    with ledger.write() as tx:
        scans.note_whole(tx, ACCOUNT, sender="ann", begun_at=begun, pages=3)
        tx.conn.execute(update(badge_scan).values(read_at=begun))
        assert pace.take_slot(tx, ACCOUNT, calls_per_minute=60) == 0
        pace.block(tx, ACCOUNT, seconds=30)
        scans.ensure(tx, "read.example/2")
        scans.distrust(tx, "read.example/2")
    whole = stop(ledger, Scope(ACCOUNT), by="bob", reason="all")
    stop(ledger, Scope("read.example/2", "spring"), by="bob", reason="one campaign of it")
    ours, read = of_accounts(ledger)
    assert ours == AccountLine(
        account=ACCOUNT,
        dag_ids=("spring", "spring_again"),
        connections=("newer", "older"),
        read_at=begun,
        whole_at=begun,
        whole_pages=3,
        trusted=True,
        distrusted_at=None,
        next_slot_at=begun + timedelta(seconds=1.1),
        blocked_until=begun + timedelta(seconds=30),
        last_block_ended_at=None,
        counted_on=begun.date(),
        calls=1,
        pauses=1,
        stop=whole,
        is_refused=False,
        refused_by=None,
    )
    assert (read.account, read.dag_ids, read.trusted, read.distrusted_at, read.stop) == (
        *("read.example/2", (), False, begun),
        None,
    )
    assert (read.counted_on, read.calls, read.pauses) == (None, 0, 0)
    clock.advance(seconds=30)
    over = of_accounts(ledger)[0]
    assert (over.blocked_until, over.last_block_ended_at) == (None, begun + timedelta(seconds=30))
    assert of_accounts(ledger)[1].last_block_ended_at is None
    clock.advance(days=1)
    assert of_accounts(ledger)[1].trusted


def test_of_a_campaign_that_two_dags_plan_each_has_a_line_of_its_own(ledger: Ledger) -> None:
    for dag_id, customers, connection in (("mine", [1], "till_a"), ("theirs", [2, 3], "till_b")):
        order = run(f"run_of_{dag_id}", dag_id=dag_id, capillary_conn_id=connection)
        send(ledger, requests_of(ledger, plan(ledger, customers, order))[0].id)
    with ledger.write() as tx:
        scans.ensure(tx, "nobody.example/1")
    told = {
        line.last.dag_id: (line.last.run_id, line.last.funnel.planned, line.requests_in_doubt) for line in lines(ledger)
    }
    assert told == {"mine": ("run_of_mine", 1, 1), "theirs": ("run_of_theirs", 2, 1)}
    with ledger.read() as tx:
        (mine,) = campaigns(tx, {"mine"})
        (account,) = accounts(tx, {"mine"})
        assert (campaigns(tx, {"neither"}), accounts(tx, {"neither"})) == ((), ())
    assert (mine.last.run_id, mine.last.funnel.planned, mine.requests_in_doubt) == ("run_of_mine", 1, 1)
    assert (account.account, account.dag_ids, account.connections) == (ACCOUNT, ("mine",), ("till_a",))
    assert len(of_accounts(ledger)) == 2


def test_an_account_that_an_auto_approval_refuses_names_its_run_to_whoever_asked_for_that_dag(ledger: Ledger) -> None:
    theirs = plan(ledger, [1], run("theirs", dag_id="theirs"))
    plan(ledger, [2], run("mine", dag_id="mine"))
    settle_as(ledger, requests_of(ledger, theirs)[0].id, Outcome.ENROLLED, auto=True)
    with ledger.read() as tx:
        found = {dag_id: accounts(tx, {dag_id})[0] for dag_id in ("mine", "theirs")}
    assert [each.is_refused for each in found.values()] == [True, True]
    assert [each.refused_by for each in found.values()] == [None, ("theirs", "theirs")]
