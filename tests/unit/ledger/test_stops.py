"""The emergency stop: what it refuses, what it leaves alone, and that no claim passes it once it has returned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import URL, create_engine, delete, insert, select, text

from capillary.errors import CapillaryError
from capillary.ledger import stops
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerRefused, PlanUnknown, SchemaDiffers, Stopped
from capillary.ledger.plan import Order, Plan
from capillary.ledger.plan_id import OpenPlan, PlanId
from capillary.ledger.request_rows import Claim, claim, give_up, release, resend
from capillary.ledger.schema import badge_request, badge_run, badge_scan, badge_stop
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, Stop, Unfinished
from tests.unit.ledger.conftest import Clock, migrated
from tests.unit.ledger.orders import (
    DOUBT,
    ORDER,
    SPEC,
    absence,
    endings,
    plan,
    request,
    requests_of,
    run,
    see,
    send,
    settle_as,
)

SPRING = Scope(SPEC.account, "spring")
AUTUMN = Scope(SPEC.account, "autumn")
EVERYTHING = Scope(SPEC.account)
ELSEWHERE = Scope("platform.example/200")
#: As long as a thread may take that nothing holds up, seconds.
SOON_S = 10.0
#: As long as a thread is watched that must be held up, seconds.
HELD_UP_S = 0.5


def other_campaign() -> Order:
    return run("autumn run", campaign="autumn", occasion="Autumn 2026")


def other_account() -> Order:
    return run("elsewhere", spec=replace(SPEC, account=ELSEWHERE.account))


def first_of(ledger: Ledger, planned: Plan) -> int:
    request_id: int = requests_of(ledger, planned)[0].id
    return request_id


def try_claim(ledger: Ledger, request_id: int) -> Claim | None:
    owner = request(ledger, request_id).badge_run_id
    with ledger.write() as tx:
        return claim(tx, request_id, badge_run_id=owner, sender="sender", doubt_after=DOUBT)


def try_resend(ledger: Ledger, clock: Clock, request_id: int) -> Claim | None:
    clock.advance(minutes=2)
    absent = absence(ledger, request_id, clock.now)
    with ledger.write() as tx:
        return resend(tx, absent, sender="sender", doubt_after=DOUBT)


def stop(ledger: Ledger, scope: Scope = SPRING, *, by: str = "ann", reason: str = "wrong tier") -> Stop:
    return stops.stop(ledger, scope, by=by, reason=reason)


@contextmanager
def thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    started = threading.Thread(target=work, daemon=True)
    started.start()
    try:
        yield started
    finally:
        started.join(SOON_S)
        assert not started.is_alive()


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [SPRING, EVERYTHING], ids=["campaign", "account"])
def test_a_stopped_request_is_not_claimed_and_the_sentence_names_who_when_and_why(ledger: Ledger, scope: Scope) -> None:
    request_id = first_of(ledger, plan(ledger, [1, 2, 3]))
    stop(ledger, scope)
    options = "--account platform.example/100" + (" --campaign spring" if scope.campaign else "")
    with pytest.raises(Stopped) as caught:
        try_claim(ledger, request_id)
    assert str(caught.value) == (
        f"sending is stopped: {scope} by ann at 2026-11-23 12:00 UTC (wrong tier). To allow sending again, run python "
        f"-m capillary resume {options}; then trigger a new run; it takes the customers that were given back"
    )
    row = request(ledger, request_id)
    assert (row.status, row.tries) == ("planned", 0)


@pytest.mark.parametrize("scope", [SPRING, EVERYTHING], ids=["campaign", "account"])
def test_what_is_in_doubt_is_not_sent_again_and_stays_in_doubt(ledger: Ledger, clock: Clock, scope: Scope) -> None:
    request_id = first_of(ledger, plan(ledger, [1, 2, 3]))
    send(ledger, request_id)
    stop(ledger, scope)
    with pytest.raises(Stopped):
        try_resend(ledger, clock, request_id)
    row = request(ledger, request_id)
    assert (row.status, row.tries, row.resends) == ("sending", 1, 0)
    stops.resume(ledger, scope, by="ann")
    held = try_resend(ledger, clock, request_id)
    assert held is not None
    assert request(ledger, request_id).resends == 1


def test_a_released_request_is_not_claimed_again(ledger: Ledger) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    held = send(ledger, request_id)
    stop(ledger)
    with ledger.write() as tx:
        assert release(tx, held, reason="429")
    with pytest.raises(Stopped):
        try_claim(ledger, request_id)


@pytest.mark.parametrize("scope", [SPRING, EVERYTHING], ids=["campaign", "account"])
def test_a_stop_before_the_first_run_ever_is_met_by_its_first_claim(ledger: Ledger, scope: Scope) -> None:
    stop(ledger, scope)
    with pytest.raises(Stopped):
        try_claim(ledger, first_of(ledger, plan(ledger, [1])))


def test_two_stops_are_both_named_with_both_commands(ledger: Ledger) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    stop(ledger, SPRING, by="ann", reason="wrong tier")
    stop(ledger, EVERYTHING, by="bob", reason="night")
    with pytest.raises(Stopped) as caught:
        try_claim(ledger, request_id)
    words = str(caught.value)
    assert "by bob at 2026-11-23 12:00 UTC (night); campaign 'spring' of " in words
    assert (
        "python -m capillary resume --account platform.example/100 and "
        "python -m capillary resume --account platform.example/100 --campaign spring;"
    ) in words


# What goes on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "order"),
    [
        (SPRING, other_campaign()),
        (SPRING, other_account()),
        (EVERYTHING, other_account()),
        (ELSEWHERE, ORDER),
        (Scope(ELSEWHERE.account, "spring"), ORDER),
        (Scope(SPEC.account, "SPRING"), ORDER),
    ],
    ids=[
        "another campaign",
        "the same campaign of another account",
        "another account",
        "this account while another is stopped",
        "this account while the same campaign of another is stopped",
        "a name that differs in case alone",
    ],
)
def test_what_is_not_stopped_is_claimed(ledger: Ledger, scope: Scope, order: Order) -> None:
    stop(ledger, scope)
    assert try_claim(ledger, first_of(ledger, plan(ledger, [1, 2], order))) is not None


def test_evidence_is_recorded_settled_and_given_up_under_a_stop(ledger: Ledger, clock: Clock) -> None:
    seen, absent = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    send(ledger, seen)
    send(ledger, absent)
    for _ in range(2):
        assert try_resend(ledger, clock, absent)
    stop(ledger, EVERYTHING)
    assert see(ledger, seen)
    clock.advance(minutes=2)
    gone = absence(ledger, absent, clock.now)
    with ledger.write() as tx:
        assert give_up(tx, gone)
    assert [request(ledger, each).status for each in (seen, absent)] == ["waiting", "settled"]
    assert endings(ledger, absent) == dict.fromkeys([4, 5, 6], ("unconfirmed", None))


def test_what_is_resumed_is_claimed(ledger: Ledger) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    stop(ledger)
    stops.resume(ledger, SPRING, by="bob")
    assert try_claim(ledger, request_id) is not None


@pytest.mark.parametrize(("resumed", "left"), [(SPRING, EVERYTHING), (EVERYTHING, SPRING)])
def test_of_two_stops_one_is_left(ledger: Ledger, resumed: Scope, left: Scope) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    for scope in (SPRING, EVERYTHING):
        stop(ledger, scope)
    stops.resume(ledger, resumed, by="bob")
    with pytest.raises(Stopped, match="ann"):
        try_claim(ledger, request_id)
    with ledger.read() as tx:
        assert [each.scope for each in stops.in_force(tx)] == [left]


def test_a_claim_that_finds_nothing_to_claim_is_still_none(ledger: Ledger) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    send(ledger, request_id)
    assert try_claim(ledger, request_id) is None
    with ledger.write() as tx:
        assert claim(tx, 4711, badge_run_id=OpenPlan(1), sender="sender", doubt_after=DOUBT) is None


# Its words --------------------------------------------------------------------------------------------------


def test_a_stop_is_kept_with_who_when_and_why_and_so_is_its_end(ledger: Ledger, clock: Clock) -> None:
    begun = clock.now
    assert stop(ledger) == Stop(SPRING, begun, "ann", "wrong tier")
    clock.advance(hours=1)
    assert stops.resume(ledger, SPRING, by="bob") == Stop(SPRING, begun, "ann", "wrong tier")
    with ledger.read() as tx:
        row = tx.conn.execute(select(badge_stop)).one()
        assert stops.in_force(tx) == ()
    assert (row.stopped_at, row.stopped_by, row.reason) == (None, "ann", "wrong tier")
    assert (row.resumed_at, row.resumed_by) == (clock.now, "bob")
    assert stops.resume(ledger, SPRING, by="bob") is None


def test_stopped_twice_it_keeps_its_time_and_both_reasons(ledger: Ledger, clock: Clock) -> None:
    begun = clock.now
    stop(ledger)
    clock.advance(hours=1)
    again = stop(ledger, by="bob", reason="wrong badge, too")
    assert again == Stop(SPRING, begun, "ann", "wrong tier; bob at 2026-11-23 13:00 UTC: wrong badge, too")
    stops.resume(ledger, SPRING, by="ann")
    assert stop(ledger, by="cid", reason="new").reason == "new"


def test_what_was_never_stopped_is_not_resumed(ledger: Ledger) -> None:
    assert stops.resume(ledger, SPRING, by="ann") is None


def test_a_run_is_refused_by_its_campaign_and_its_account(ledger: Ledger) -> None:
    planned = plan(ledger, [1])
    assert planned.badge_run_id is not None
    for scope in (SPRING, EVERYTHING):
        stop(ledger, scope)
        with pytest.raises(Stopped), ledger.write() as tx:
            stops.assert_run_not_stopped(tx, planned.badge_run_id)
        stops.resume(ledger, scope, by="ann")
    with ledger.write() as tx:
        stops.assert_run_not_stopped(tx, planned.badge_run_id)
        with pytest.raises(PlanUnknown):
            stops.assert_run_not_stopped(tx, 4711)


def test_the_ledger_knows_accounts_and_campaigns_by_runs_and_a_stop_makes_none_known(ledger: Ledger) -> None:
    with ledger.read() as tx:
        assert stops.known(tx) == {}
    plan(ledger, [1])
    plan(ledger, [1], other_campaign())
    plan(ledger, [1], other_account())
    stop(ledger, Scope("platform.example/300", "summer"))
    stop(ledger, Scope(SPEC.account, "sprnig"))
    with ledger.write() as tx:
        row = {"account": "platform.example/400", "leased_until": tx.now, "leased_by": "a reader"}
        tx.conn.execute(insert(badge_scan).values(row))
    with ledger.read() as tx:
        assert stops.known(tx) == {
            SPEC.account: ("autumn", "spring"),
            ELSEWHERE.account: ("spring",),
            "platform.example/400": (),
        }
        assert stops.noted(tx) == {SPEC.account: ("sprnig",), "platform.example/300": ("summer",)}


def test_a_stop_knows_whether_it_is_still_in_force(ledger: Ledger, clock: Clock) -> None:
    ordered = stop(ledger)

    def end() -> str | None:
        with ledger.read() as tx:
            return stops.end_of(tx, ordered)

    assert end() is None
    clock.advance(minutes=1)
    stop(ledger, by="bob", reason="me, too")
    assert end() is None
    stops.resume(ledger, SPRING, by="cid")
    assert end() == "released by cid at 2026-11-23 12:01 UTC"
    clock.advance(minutes=1)
    stop(ledger, by="dan")
    assert end() == "released by cid at 2026-11-23 12:01 UTC, stopped again by dan"
    with ledger.write() as tx:
        tx.conn.execute(delete(badge_stop))
    assert end() == "released by a restore of the ledger"


@pytest.mark.parametrize("scope", [SPRING, EVERYTHING], ids=["campaign", "account"])
def test_a_plan_is_looked_at_without_a_trace(ledger: Ledger, scope: Scope) -> None:
    planned = plan(ledger, [1])
    assert planned.badge_run_id is not None
    with ledger.read() as tx:
        token = tx.conn.execute(select(badge_run.c.token)).scalar_one()
        stops.assert_plan_not_stopped(tx, PlanId(planned.badge_run_id, token))
        with pytest.raises(PlanUnknown):
            stops.assert_plan_not_stopped(tx, PlanId(planned.badge_run_id, "0" * 32))
        assert tx.conn.execute(select(badge_stop)).all() == []
    stop(ledger, scope)
    with ledger.read() as tx, pytest.raises(Stopped):
        stops.assert_plan_not_stopped(tx, PlanId(planned.badge_run_id, token))


def test_a_ledger_of_another_revision_is_opened_for_stops(empty_url: URL, clock: Clock) -> None:
    with Ledger(migrated(empty_url), clock=clock) as ledger:
        request_id = first_of(ledger, plan(ledger, [1]))
        with ledger.write() as tx:
            tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999'"))
        with pytest.raises(SchemaDiffers):
            Ledger(empty_url)
        with Ledger(empty_url, stops_only=True) as again:
            stop(again)
        with pytest.raises(Stopped):
            try_claim(ledger, request_id)


@pytest.mark.parametrize("change", ["DROP TABLE badge_stop", "ALTER TABLE badge_stop DROP COLUMN resumed_by"])
def test_a_ledger_in_which_no_stop_can_be_written_is_refused(empty_url: URL, change: str) -> None:
    with pytest.raises(CapillaryError):
        Ledger(empty_url, stops_only=True)
    with Ledger(migrated(empty_url)) as ledger, ledger.write() as tx:
        tx.conn.execute(text(change))
    with pytest.raises(LedgerRefused, match="restore it from the backup"):
        Ledger(empty_url, stops_only=True)
    with Ledger(empty_url, check_schema=False) as ledger, ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999'"))
    with pytest.raises(SchemaDiffers):
        Ledger(empty_url, stops_only=True)


def test_what_may_still_leave_is_told_from_what_is_in_doubt(ledger: Ledger, clock: Clock) -> None:
    doubt, waiting, settled, young, unsent = (row.id for row in requests_of(ledger, plan(ledger, range(1, 16))))
    plan(ledger, [1], other_campaign())
    send(ledger, doubt)
    send(ledger, waiting)
    see(ledger, waiting, decided=False)
    settle_as(ledger, settled, Outcome.FAILED)
    clock.advance(seconds=5.1)
    send(ledger, young)
    clock.advance(seconds=4.9)
    with ledger.read() as tx:
        assert stops.unfinished(tx, SPRING) == Unfinished(may_leave=1, in_doubt=1, unsent=1, waiting=1)
        assert stops.unfinished(tx, EVERYTHING) == Unfinished(may_leave=1, in_doubt=1, unsent=2, waiting=1)
        assert stops.unfinished(tx, ELSEWHERE) == Unfinished(0, 0, 0, 0)
    assert request(ledger, unsent).status == "planned"


# Claims that are under way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["made before", "made by the claim"])
@pytest.mark.parametrize("scope", [SPRING, EVERYTHING], ids=["campaign", "account"])
def test_a_stop_returns_after_the_claim_that_is_open_and_no_later_one_passes(
    ledger: Ledger, scope: Scope, rows: str
) -> None:
    first, second = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    owner = request(ledger, first).badge_run_id
    if rows == "made before":
        with ledger.write() as tx:
            stops.assert_run_not_stopped(tx, owner)
    returned = threading.Event()

    def work() -> None:
        stop(ledger, scope)
        returned.set()

    with ledger.write() as tx:
        assert claim(tx, first, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
        stopping = threading.Thread(target=work)
        stopping.start()
        assert not returned.wait(HELD_UP_S)
    assert returned.wait(SOON_S)
    stopping.join()
    assert request(ledger, first).status == "sending"
    with pytest.raises(Stopped):
        try_claim(ledger, second)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_stop_holds_though_a_claim_hangs_and_keeps_it_waiting(ledger: Ledger) -> None:
    first, second = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    owner = request(ledger, first).badge_run_id
    with ledger.write() as tx:
        stops.assert_run_not_stopped(tx, owner)
    with ledger.write() as tx:
        assert claim(tx, first, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
        with thread(lambda: stops.order_stop(ledger, SPRING, by="ann", reason="a worker hangs")) as ordering:
            ordering.join(SOON_S)
            assert not ordering.is_alive()
        with pytest.raises(Stopped):
            try_claim(ledger, second)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("rows", ["made before", "made by the claim"])
def test_a_stop_that_comes_between_a_claims_look_and_its_lock_is_seen(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    request_id = first_of(ledger, plan(ledger, [1]))
    if rows == "made before":
        with ledger.write() as tx:
            stops.assert_run_not_stopped(tx, request(ledger, request_id).badge_run_id)
    hold = stops._hold

    def late(tx: Transaction, account: str, campaign: str) -> None:
        stop(ledger)
        hold(tx, account, campaign)

    monkeypatch.setattr(stops, "_hold", late)
    with pytest.raises(Stopped):
        try_claim(ledger, request_id)
    assert request(ledger, request_id).tries == 0


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_claims_of_one_campaign_do_not_wait_for_each_other(ledger: Ledger) -> None:
    first, second = (row.id for row in requests_of(ledger, plan(ledger, range(1, 7))))
    owner = request(ledger, first).badge_run_id
    with ledger.write() as tx:
        stops.assert_run_not_stopped(tx, owner)
    with ledger.write() as tx:
        assert claim(tx, first, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
        with thread(lambda: try_claim(ledger, second)) as claiming:
            claiming.join(SOON_S)
            assert not claiming.is_alive()
    assert [request(ledger, each).status for each in (first, second)] == ["sending", "sending"]


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_stop_of_one_campaign_does_not_wait_for_claims_of_another(ledger: Ledger) -> None:
    request_id = first_of(ledger, plan(ledger, [1], other_campaign()))
    owner = request(ledger, request_id).badge_run_id
    with ledger.write() as tx:
        assert claim(tx, request_id, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
        with thread(lambda: stop(ledger, SPRING)) as stopping:
            stopping.join(SOON_S)
            assert not stopping.is_alive()


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_role_whose_default_is_repeatable_read_changes_nothing(ledger_url: URL) -> None:
    """A claim is held up between its lock and its look; the stop came in the meantime, and the claim sees it."""
    engine = create_engine(ledger_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'repeatable read'"))
    try:
        with Ledger(ledger_url) as ledger:
            request_id = first_of(ledger, plan(ledger, [1]))
            owner = request(ledger, request_id).badge_run_id
            with ledger.write() as tx:
                tx.conn.execute(select(badge_request.c.id)).all()  # its snapshot, were it to keep one
                stops.order_stop(ledger, SPRING, by="ann", reason="wrong tier")
                with pytest.raises(Stopped):
                    claim(tx, request_id, badge_run_id=owner, sender="sender", doubt_after=DOUBT)
    finally:
        with engine.connect() as conn:
            conn.execute(text("ALTER ROLE CURRENT_USER RESET default_transaction_isolation"))
        engine.dispose()


#: Of T28, on each database.
TRIES = 100
CLAIMERS = 4


def test_no_claim_passes_a_stop_that_has_returned_in_a_hundred_tries_under_load(ledger_url: URL) -> None:
    """Threads claim, release and claim again without a pause; each try stops them, looks, and resumes."""
    with Ledger(ledger_url) as ledger:
        requests = [row.id for row in requests_of(ledger, plan(ledger, range(1, 3 * CLAIMERS + 1)))]
        owner = request(ledger, requests[0]).badge_run_id
        ended = threading.Event()
        claims = [0] * CLAIMERS
        wrong: list[str] = []

        def claimer(number: int) -> None:
            with Ledger(ledger_url) as own:
                while not ended.is_set():
                    try:
                        with own.write() as tx:
                            held = claim(tx, requests[number], badge_run_id=owner, sender="s", doubt_after=DOUBT)
                    except Stopped:
                        time.sleep(0.001)
                        continue
                    except Exception as error:  # noqa: BLE001 - whatever it is, the test must fail with it
                        wrong.append(repr(error))
                        return
                    claims[number] += 1
                    assert held is not None
                    with own.write() as tx:
                        release(tx, held, reason="again")
                    # SQLite's lock is nobody's turn: who comes back at once keeps the others out for seconds.
                    time.sleep(0.002)

        threads = [threading.Thread(target=claimer, args=(number,)) for number in range(CLAIMERS)]
        for each in threads:
            each.start()
        try:
            for number in range(TRIES):
                before = sum(claims)
                until = time.monotonic() + SOON_S
                while sum(claims) < before + CLAIMERS and not wrong and time.monotonic() < until:
                    time.sleep(0.001)
                assert sum(claims) >= before + CLAIMERS, "nobody claims, so there is nothing to stop"
                scope = (SPRING, EVERYTHING)[number % 2]
                stop(ledger, scope)
                tries = _tries(ledger, requests)
                time.sleep(0.005)
                assert _tries(ledger, requests) == tries
                assert wrong == []
                stops.resume(ledger, scope, by="ann")
        finally:
            ended.set()
            for each in threads:
                each.join(SOON_S)
        assert wrong == []


def _tries(ledger: Ledger, requests: list[int]) -> int:
    return sum(request(ledger, each).tries for each in requests)
