"""The server that the ledger lives on: what it tells, what counts as a change, and what waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from threading import Barrier, Thread

import pytest
from sqlalchemy import URL, Row, select, text, update
from sqlalchemy.exc import DataError

from capillary.__main__ import main
from capillary.api.request_workflow import IssueBadgeRequest, WorkflowRequest
from capillary.engine.absence import doubt_after
from capillary.engine.doubt import resolve_doubt
from capillary.engine.errors import AutoApproved, LedgerBehind, ServerChanged
from capillary.engine.runtime import Runtime
from capillary.engine.send import ClaimOne, Sender, Sent
from capillary.engine.submit import Submitted, submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from capillary.errors import TransientError
from capillary.ledger import server
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import PlanUnknown
from capillary.ledger.history import take_as_read
from capillary.ledger.migrate import upgrade
from capillary.ledger.request_rows import Claim
from capillary.ledger.schema import badge_request, badge_run, badge_server
from capillary.ledger.server import Change, Server, told, unread_change
from tests.unit.engine.scripted_client import LEASE, SETTINGS, ScriptedClient, row
from tests.unit.ledger.conftest import Clock, EmptyDatabase, migrated
from tests.unit.ledger.orders import ORDER, SPEC, plan

pytestmark = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)

DOUBT = doubt_after(SETTINGS)
JUST = timedelta(microseconds=1)
#: Each of what the server tells, as it was before the server changed.
BEFORE = [{"system_identifier": "7"}, {"timeline": "000000FE"}, {"requests_file": "1"}]
changes = pytest.mark.parametrize("before", BEFORE, ids=" ".join)


def look(ledger: Ledger, list_read_at: datetime) -> Change | None:
    with ledger.write() as tx:
        return unread_change(tx, list_read_at=list_read_at, doubt_after=DOUBT)


def kept(ledger: Ledger) -> list[Row[tuple[object, ...]]]:
    with ledger.read() as tx:
        return list(tx.conn.execute(select(badge_server)).all())


def change(ledger: Ledger, **before: object) -> None:
    """Let the ledger remember another server than it lives on."""
    with ledger.write() as tx:
        assert tx.conn.execute(update(badge_server).values(**before)).rowcount == 1


def server_of(each: Row[tuple[object, ...]]) -> Server:
    return Server(each.system_identifier, each.timeline, each.requests_file)


# What is told -----------------------------------------------------------------------------------------------


def test_the_first_server_is_written_down_and_no_change(ledger: Ledger, clock: Clock) -> None:
    assert look(ledger, clock.now) is None
    assert look(ledger, clock.now) is None
    with ledger.read() as tx:
        identifier = str(tx.conn.execute(text("SELECT system_identifier FROM pg_control_system()")).scalar_one())
        (timeline,) = tx.conn.execute(text("SELECT timeline_id FROM pg_control_checkpoint()")).one()
        (file,) = tx.conn.execute(
            text(
                "SELECT d.oid || '/' || c.relfilenode FROM pg_class c, pg_database d "
                "WHERE c.relname = 'badge_request' AND d.datname = current_database()"
            )
        ).one()
    (found,) = kept(ledger)
    assert list(found) == [1, identifier, f"{timeline:08X}", file, None]


def _forbid(tx: Transaction, *functions: str) -> None:
    """Go on as a user who may not ask, for the rest of the transaction."""
    tx.conn.execute(text("CREATE ROLE may_not_ask"))
    for function in functions:
        tx.conn.execute(text(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
    tx.conn.execute(text("GRANT USAGE ON SCHEMA public TO may_not_ask"))
    tx.conn.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO may_not_ask"))
    tx.conn.execute(text("SET LOCAL ROLE may_not_ask"))


@pytest.mark.parametrize(
    ("forbidden", "left"),
    [
        ((), ("system_identifier", "timeline", "requests_file")),
        (("pg_control_system()",), ("timeline", "requests_file")),
        (("pg_current_wal_insert_lsn()",), ("system_identifier", "requests_file")),
        (("pg_control_system()", "pg_walfile_name(pg_lsn)"), ("requests_file",)),
        (("pg_control_system()", "pg_walfile_name(pg_lsn)", "pg_relation_filenode(regclass)"), ()),
    ],
    ids=["nothing", "identifier", "timeline", "both", "everything"],
)
def test_what_the_server_refuses_to_tell_is_left_out_and_spoils_no_transaction(
    ledger: Ledger, clock: Clock, forbidden: tuple[str, ...], left: tuple[str, ...]
) -> None:
    with ledger.write() as tx:
        everything = told(tx)
        assert everything is not None
        _forbid(tx, *forbidden)
        names = ("system_identifier", "timeline", "requests_file")
        expected = {name: getattr(everything, name) if name in left else "" for name in names}
        assert told(tx) == Server(**expected)
        assert unread_change(tx, list_read_at=clock.now, doubt_after=DOUBT) is None
        assert tx.conn.execute(select(badge_server.c.timeline)).scalar_one() == expected["timeline"]
        tx.conn.rollback()


def test_the_check_says_what_the_server_refuses_to_tell(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    url = ledger.url.render_as_string(hide_password=False)
    assert main(["ledger", "check", "--url", url]) == 0
    assert capsys.readouterr().out.endswith(", as the code needs it\n")
    with ledger.write() as tx:
        tx.conn.execute(text("CREATE ROLE may_not_ask LOGIN"))
        tx.conn.execute(text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO may_not_ask"))
        tx.conn.execute(text("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO may_not_ask"))
        tx.conn.execute(text("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"))
    try:
        theirs = ledger.url.set(username="may_not_ask").render_as_string(hide_password=False)
        assert main(["ledger", "check", "--url", theirs]) == 0
        assert capsys.readouterr().out.endswith(
            ", as the code needs it; the server does not tell its system identifier, so a failover or a restore may go "
            "unnoticed. After one, submit nothing for post_timeout_s + visibility_lag_s (16 minutes by default)\n"
        )
    finally:
        with ledger.write() as tx:
            tx.conn.execute(text("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC"))
            tx.conn.execute(text("DROP OWNED BY may_not_ask"))
            tx.conn.execute(text("DROP ROLE may_not_ask"))


def test_a_failure_to_ask_is_no_refusal(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_ALL", text("SELECT 1 / 0"))
    with ledger.write() as tx:
        with pytest.raises(DataError):
            told(tx)
        assert tx.conn.execute(text("SELECT 1")).scalar_one() == 1


# What counts as a change ------------------------------------------------------------------------------------


@changes
def test_a_change_is_written_down_and_lasts_until_the_list_shows_what_came_before_it(
    ledger: Ledger, clock: Clock, before: dict[str, str]
) -> None:
    look(ledger, clock.now)
    (first,) = kept(ledger)
    change(ledger, **before)
    clock.advance(minutes=1)
    found = clock.now
    assert look(ledger, found) == Change(found, found + DOUBT)
    assert [tuple(each) for each in kept(ledger)] == [(*tuple(first)[:4], found)]
    clock.advance(minutes=30)
    # The reading counts, whenever the claim comes.
    assert look(ledger, found + DOUBT) == Change(found, found + DOUBT)
    assert look(ledger, found + DOUBT + JUST) is None
    change(ledger, **before)
    assert look(ledger, clock.now) == Change(clock.now, clock.now + DOUBT), "it changed again"


@pytest.mark.parametrize("name", ["system_identifier", "timeline", "requests_file"])
def test_a_server_that_begins_or_ceases_to_tell_something_is_no_change(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    look(ledger, clock.now)
    (everything,) = kept(ledger)
    change(ledger, **{name: ""})
    assert look(ledger, clock.now) is None
    assert kept(ledger) == [everything]
    now = server_of(everything)
    monkeypatch.setattr(server, "told", lambda _: replace(now, **{name: ""}))
    assert look(ledger, clock.now) is None
    assert kept(ledger) == [everything]
    monkeypatch.setattr(server, "told", lambda _: replace(now, **{name: "7"}))
    assert look(ledger, clock.now) == Change(clock.now, clock.now + DOUBT)


def test_a_migrated_ledger_knows_its_server_before_the_first_claim(
    ledger_url: URL, empty_database: EmptyDatabase, clock: Clock
) -> None:
    assert ledger_url.get_backend_name() == "postgresql"
    with Ledger(migrated(empty_database("postgresql")), clock=clock) as made:
        with made.write() as tx:
            server_now = told(tx)
            assert server_now is not None
            assert server_of(kept(made)[0]) == server_now
        change(made, timeline="000000FE")
        upgrade(made.engine)
        assert kept(made)[0].timeline == "000000FE", "what claims have to find stays"


def test_two_who_find_a_change_at_once_find_the_same_one(ledger: Ledger, clock: Clock) -> None:
    look(ledger, clock.now)
    change(ledger, timeline="000000FE")
    at_once, found = Barrier(4), list[Change | None]()

    def ask() -> None:
        with ledger.write() as tx:
            at_once.wait()
            found.append(unread_change(tx, list_read_at=clock.now, doubt_after=DOUBT))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Change(clock.now, clock.now + DOUBT)] * 4


def test_two_who_ask_first_write_one_row(ledger: Ledger, clock: Clock) -> None:
    at_once, found = Barrier(4), list[Change | None]()

    def ask() -> None:
        with ledger.write() as tx:
            at_once.wait()
            found.append(unread_change(tx, list_read_at=clock.now, doubt_after=DOUBT))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None] * 4
    assert len(kept(ledger)) == 1


def test_a_clock_set_back_makes_the_wait_begin_again_and_not_last_for_ever(ledger: Ledger, clock: Clock) -> None:
    look(ledger, clock.now)
    change(ledger, changed_at=clock.now + timedelta(days=1))
    assert look(ledger, clock.now) == Change(clock.now, clock.now + DOUBT)
    assert look(ledger, clock.now + DOUBT + JUST) is None


# What waits for it ------------------------------------------------------------------------------------------


@pytest.fixture
def scripted(ledger: Ledger, clock: Clock) -> ScriptedClient:
    """A sender whose sleep moves the ledger's clock on, on a server that was asked before."""
    look(ledger, clock.now)
    made = ScriptedClient(ledger, [clock.now])
    with ledger.write() as tx:
        take_as_read(tx, made.settings.account, made.settings.sender, since=clock.now.date())
    return made


def sleeping(scripted: ScriptedClient, clock: Clock, meanwhile: Callable[[], object] = lambda: None) -> Sender:
    async def sleep(seconds: float) -> None:
        scripted.events.append(f"sleep {seconds:.3f}")
        clock.advance(seconds=seconds)
        meanwhile()

    runtime = Runtime(sleep=sleep, monotonic=lambda: scripted.second, random=Random(1))  # noqa: S311 - no secret
    return replace(scripted.sender, runtime=runtime)


def words(scripted: ScriptedClient) -> list[str]:
    return [event.split()[0] for event in scripted.events]


async def submitted(
    sender: Sender, scripted: ScriptedClient, clock: Clock, badge_run_id: int | None
) -> tuple[Submitted, int]:
    """Submit as a task does: it comes back with what it waits for, and is called again then. Returns how often."""
    for times in range(9):
        sent = await submit_run(sender, scripted.plan_id(badge_run_id), lease=LEASE)
        if sent.waits is None:
            return sent, times
        assert sent.waits.until is not None
        clock.advance(seconds=(sent.waits.until - clock.now).total_seconds())
    raise AssertionError("it waits and waits")


@changes
async def test_submit_waits_reads_the_list_again_and_then_sends(
    scripted: ScriptedClient, clock: Clock, before: dict[str, str]
) -> None:
    made, begun = scripted.plan([1]), clock.now
    change(scripted.ledger, **before)
    assert await submitted(sleeping(scripted, clock), scripted, clock, made.badge_run_id) == (
        Submitted({Sent.ACCEPTED: 1}, 0),
        1,
    )
    look_and_claim = ["list", "list", "clear", "asked"]
    assert words(scripted) == [*look_and_claim, *look_and_claim, "sleep", *look_and_claim, "post"]
    assert timedelta(0) < clock.now - begun - DOUBT < timedelta(seconds=0.01)
    assert begun + DOUBT + LEASE < scripted.alive_until(made.badge_run_id) <= clock.now + LEASE


async def test_a_short_rest_of_the_wait_is_slept_within_the_task(scripted: ScriptedClient, clock: Clock) -> None:
    made = scripted.plan([1])
    change(scripted.ledger, timeline="000000FE")
    look(scripted.ledger, clock.now)
    clock.advance(seconds=DOUBT.total_seconds() - 59)
    assert await submitted(sleeping(scripted, clock), scripted, clock, made.badge_run_id) == (
        Submitted({Sent.ACCEPTED: 1}, 0),
        0,
    )
    assert words(scripted).count("sleep") == 1


async def test_what_the_lost_commits_had_sent_stops_submitting_once_the_list_shows_it(
    scripted: ScriptedClient, clock: Clock
) -> None:
    made = scripted.plan([1])
    change(scripted.ledger, timeline="000000FE")
    key = "cb1.spring.0123456789abcdef0123456789abcdef"

    def shown() -> None:
        if not scripted.listed:
            scripted.listed.append(row("p-lost", key))

    with pytest.raises(LedgerBehind, match=key):
        await submitted(sleeping(scripted, clock, shown), scripted, clock, made.badge_run_id)
    assert (scripted.posts, scripted.statuses()) == ([], ["planned"])


async def test_a_sender_that_slept_through_the_whole_wait_reads_the_list_again(
    scripted: ScriptedClient, clock: Clock
) -> None:
    """Others found the change and waited; this one's reading is from before it."""
    made = scripted.plan([1, 2, 3, 4])

    async def changed_and_over(request: IssueBadgeRequest) -> WorkflowRequest:
        change(scripted.ledger, timeline="000000FE")
        look(scripted.ledger, clock.now)
        clock.advance(hours=1)
        return row("p-1", request.key)

    scripted.answers = [changed_and_over]
    assert (await submit_run(sleeping(scripted, clock), scripted.plan_id(made.badge_run_id), lease=LEASE)).counts == {
        Sent.ACCEPTED: 2
    }
    look_and_claim = ["list", "list", "clear", "asked"]
    assert words(scripted) == [*look_and_claim, "post", "sleep", "read", "clear", "asked", *look_and_claim, "post"]


async def test_a_plan_that_is_gone_ends_the_wait(scripted: ScriptedClient, clock: Clock) -> None:
    made = scripted.plan([1])
    change(scripted.ledger, timeline="000000FE")

    def gone() -> None:
        scripted.write(update(badge_run).values(token="0" * 32))

    with pytest.raises(PlanUnknown):
        await submitted(sleeping(scripted, clock, gone), scripted, clock, made.badge_run_id)
    assert words(scripted).count("sleep") == 1


async def test_an_auto_approval_beside_a_change_ends_the_task_and_is_not_waited_over(
    scripted: ScriptedClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one batch the first was executed without a human, the second met the change."""
    made = scripted.plan(range(1, 10))
    scripted.answers = [row("p-1", None), row("p-2", None, "approved")]
    claimed, asked = Sender._claimed, list[object]()

    def changed_before_the_third(self: Sender, claim: ClaimOne, list_read_at: datetime) -> Claim | Change | None:
        asked.append(claim)
        if len(asked) == 3:
            change(scripted.ledger, timeline="000000FE")
        return claimed(self, claim, list_read_at)

    monkeypatch.setattr(Sender, "_claimed", changed_before_the_third)
    with pytest.raises(AutoApproved):
        await submit_run(sleeping(scripted, clock), scripted.plan_id(made.badge_run_id), lease=LEASE)
    assert words(scripted).count("sleep") == 1, "the look after the first acceptance alone"
    assert len(kept(scripted.ledger)) == 1


async def _resolve(sender: Sender, _: ScriptedClient) -> None:
    with pytest.raises(ServerChanged):
        await resolve_doubt(sender)


async def _wait(sender: Sender, scripted: ScriptedClient) -> None:
    assert (
        await advance(sender, scripted.plan_id(scripted.requests()[0].badge_run_id), reader="t", lease=LEASE)
    ).wait.in_doubt


async def _upkeep(sender: Sender, _: ScriptedClient) -> None:
    await keep_account(sender, reader="upkeep")


@pytest.mark.parametrize("act", [_resolve, _wait, _upkeep])
async def test_nothing_is_sent_again_on_a_reading_from_before_the_change_shows(
    scripted: ScriptedClient, clock: Clock, act: Callable[[Sender, ScriptedClient], Awaitable[None]]
) -> None:
    plan(scripted.ledger, [1], replace(ORDER, spec=replace(SPEC, account=SETTINGS.account)))
    sent = {"status": "sending", "tries": 1, "sender": SETTINGS.sender, "doubt_from": clock.now}
    scripted.write(update(badge_request).values(first_sent_at=clock.now, last_sent_at=clock.now, **sent))
    clock.advance(hours=2)
    change(scripted.ledger, timeline="000000FE")
    await act(sleeping(scripted, clock), scripted)
    assert (scripted.posts, scripted.statuses()) == ([], ["sending"])
    clock.now += DOUBT + JUST
    await resolve_doubt(sleeping(scripted, clock))
    assert (len(scripted.posts), scripted.statuses()) == (1, ["waiting"])


def test_the_sentence_says_since_when_until_when_and_that_nothing_is_to_do(ledger: Ledger, clock: Clock) -> None:
    look(ledger, clock.now)
    change(ledger, timeline="000000FE")
    found = look(ledger, clock.now)
    assert found is not None
    error = ServerChanged(replace(found, over_at=found.found_at + timedelta(minutes=16)))
    assert isinstance(error, TransientError)
    assert str(error) == (
        "the ledger's database failed over to another server or was restored (found at 2026-11-23 12:00:00 UTC), so "
        "its last commits may be lost, and the platform's list may not show yet what they had sent. Nothing is sent "
        "before 2026-11-23 12:16:00 UTC and before the list has been read again. There is nothing to do: submit waits "
        "by itself"
    )


async def test_on_a_server_that_did_not_change_nothing_waits(scripted: ScriptedClient, clock: Clock) -> None:
    made = scripted.plan([1], "other run")
    await submit_run(sleeping(scripted, clock), scripted.plan_id(made.badge_run_id), lease=LEASE)
    assert "sleep" not in words(scripted)
