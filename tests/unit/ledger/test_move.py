"""A ledger moves from SQLite into PostgreSQL: whole or not at all, once, and nobody uses the old one afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import URL, Connection, Table, create_engine, event, inspect, select, text, update

from capillary.__main__ import main
from capillary.errors import TransientError
from capillary.ledger import database, history, move, pace, scans, unknown_keys
from capillary.ledger.check import faults
from capillary.ledger.database import Ledger
from capillary.ledger.errors import CopyRefused, LedgerMissing, LedgerMoved, LedgerUnavailable, SchemaDiffers, Stopped
from capillary.ledger.migrate import upgrade
from capillary.ledger.move import TABLES, Copied, copy_ledger
from capillary.ledger.moved import moved
from capillary.ledger.plan_id import open_plan
from capillary.ledger.request_rows import claim, discard_unsent, resend
from capillary.ledger.revision import REVISIONS
from capillary.ledger.schema import (
    badge_enrolment,
    badge_history,
    badge_not_ours,
    badge_occasion,
    badge_pace,
    badge_request,
    badge_run,
    badge_scan,
    badge_server,
    badge_spec,
    badge_stop,
    badge_unknown_key,
)
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, in_force, order_stop
from tests.second_migration import SecondRelease
from tests.unit.ledger.conftest import Clock, EmptyDatabase, migrated
from tests.unit.ledger.orders import (
    DOUBT,
    ORDER,
    SPEC,
    absence,
    plan,
    plan_id,
    request,
    requests_of,
    run,
    see,
    send,
    settle_as,
    snapshot,
)
from tests.unit.ledger.test_migrations import set_revision

CHECKOUT: Final = Path(__file__).parents[3]
STRAY: Final = "cb1.stray.0123456789abcdef0123456789abcdef"


def address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture
def source_url(empty_database: EmptyDatabase) -> URL:
    return migrated(empty_database("sqlite"))


@pytest.fixture
def source(source_url: URL, clock: Clock) -> Iterator[Ledger]:
    """A ledger in which everything there is stands, and nothing is in flight."""
    with Ledger(source_url, clock=clock) as ledger:
        fill(ledger, clock)
        yield ledger


@pytest.fixture
def target_url(empty_database: EmptyDatabase) -> URL:
    return empty_database("postgresql")


def fill(ledger: Ledger, clock: Clock) -> None:
    """Write into every table: requests of every status, outcomes, given back ones, an account's readings, a stop."""
    settled = plan(ledger, range(1, 8), run("settled"), invalid=2)
    for each, outcome in zip(requests_of(ledger, settled), Outcome, strict=False):
        settle_as(ledger, each.id, outcome, auto=outcome is Outcome.ENROLLED)
    doubt, waiting, *_ = requests_of(ledger, plan(ledger, range(11, 20), run("open")))
    send(ledger, doubt.id)
    send(ledger, waiting.id)
    see(ledger, waiting.id, "p-waiting", decided=False)
    given_back = plan(ledger, range(21, 30), run("given back"))
    with ledger.write() as tx:
        assert discard_unsent(tx, badge_run_ids=[open_plan(tx, plan_id(ledger, given_back.badge_run_id))]) == 9
        pace.take_slot(tx, SPEC.account, calls_per_minute=100)
        assert scans.lease(tx, SPEC.account, by="somebody", older_than=timedelta(0))
        scans.note_not_ours(tx, SPEC.account, STRAY + "0", by="Ä")
        history.take_as_read(tx, SPEC.account, "sender", since=date(2026, 11, 1))
        unknown_keys.note(tx, SPEC.account, "sender", [STRAY])
    order_stop(ledger, Scope(SPEC.account, "summer"), by="Zoë", reason="a\ttab, \\N and a\nline")
    clock.advance(minutes=30)


def copied(source_url: URL, target_url: URL, clock: Clock | None = None) -> Copied:
    with (
        Ledger(source_url, clock=clock, though_moved=True) as source,
        Ledger(target_url, clock=clock, new=True) as target,
    ):
        return copy_ledger(source, target)


def rows_of(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows for name, rows in snapshot(ledger).items() if name != badge_server.name}


def rows_in(url: URL) -> dict[str, list[tuple[object, ...]]]:
    """The rows of a ledger, moved or not."""
    with Ledger(url, though_moved=True) as ledger:
        return rows_of(ledger)


def tables_in(url: URL) -> list[str]:
    engine = create_engine(url)
    try:
        with engine.connect() as conn:
            return inspect(conn).get_table_names()
    finally:
        engine.dispose()


def assert_untouched(source_url: URL, target_url: URL) -> None:
    """Nothing was copied, and the old ledger goes on."""
    assert tables_in(target_url) == []
    Ledger(source_url).close()


# What arrives ------------------------------------------------------------------------------------------------


def test_every_row_of_every_table_arrives(source: Ledger, target_url: URL, clock: Clock) -> None:
    before = rows_of(source)
    assert all(before.values()), "a table without rows shows nothing"
    came = copied(source.url, target_url, clock)
    assert rows_in(target_url) == before == rows_in(source.url)
    assert dict(came.rows) == {table.name: len(before[table.name]) for table in TABLES}
    assert not came.before
    with Ledger(target_url, clock=clock) as target, target.read() as tx:
        assert faults(tx) == ()


def test_every_table_but_the_servers_own_is_copied() -> None:
    assert {table.name for table in TABLES} == {*badge_run.metadata.tables} - {badge_server.name}


def test_the_new_ledger_knows_its_own_server(source: Ledger, target_url: URL, clock: Clock) -> None:
    copied(source.url, target_url, clock)
    with Ledger(target_url) as target, target.read() as tx:
        (here,) = tx.conn.execute(select(badge_server)).all()
        cluster = tx.conn.execute(text("SELECT CAST(system_identifier AS text) FROM pg_control_system()")).scalar_one()
    assert (here.system_identifier, here.changed_at) == (cluster, None)


def test_a_ledger_without_rows_moves_as_well(source_url: URL, target_url: URL) -> None:
    assert set(copied(source_url, target_url).rows.values()) == {0}
    Ledger(target_url).close()
    with pytest.raises(LedgerMoved):
        Ledger(source_url)


def test_no_number_is_given_twice(source: Ledger, target_url: URL, clock: Clock) -> None:
    """The last requests were given back: a late sender may still name them."""
    with source.read() as tx:
        given = tx.conn.execute(
            text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": badge_request.name}
        ).scalar_one()
        present = max(tx.conn.execute(select(badge_request.c.id)).scalars())
        runs = max(tx.conn.execute(select(badge_run.c.id)).scalars())
    assert given > present
    copied(source.url, target_url, clock)
    with Ledger(target_url, clock=clock) as target:
        new = plan(target, [901], run("after", occasion="Autumn", spec=SPEC))
        assert new.badge_run_id == runs + 1
        assert [each.id for each in requests_of(target, new)] == [given + 1]


def test_a_plan_goes_on_under_its_number_and_token(source: Ledger, target_url: URL, clock: Clock) -> None:
    held = plan_id(source, 2)
    copied(source.url, target_url, clock)
    with Ledger(target_url, clock=clock) as target:
        assert plan_id(target, 2) == held
        with target.write() as tx:
            planned = tx.conn.execute(
                select(badge_request.c.id).where(
                    badge_request.c.badge_run_id == held.badge_run_id, badge_request.c.status == "planned"
                )
            ).scalar_one()
            mine = open_plan(tx, held)
            assert claim(tx, planned, badge_run_id=mine, sender="sender", doubt_after=DOUBT) is not None


def test_an_old_doubt_is_judged_there_as_here(source: Ledger, target_url: URL, clock: Clock) -> None:
    with source.read() as tx:
        doubt = tx.conn.execute(select(badge_request.c.id).where(badge_request.c.status == "sending")).scalar_one()
    copied(source.url, target_url, clock)
    with Ledger(target_url, clock=clock) as target:
        row = request(target, doubt)
        too_early, evidence = (absence(target, doubt, row.doubt_from + timedelta(seconds=each)) for each in (-1, 1))
        with target.write() as tx:
            assert resend(tx, too_early, sender="sender", doubt_after=DOUBT) is None
            assert resend(tx, evidence, sender="sender", doubt_after=DOUBT) is not None


def test_a_stop_and_unknown_keys_hold_there(source: Ledger, target_url: URL, clock: Clock) -> None:
    order_stop(source, Scope(SPEC.account), by="Zoë", reason="moving")
    with source.read() as tx:
        stops, unknown = in_force(tx), unknown_keys.unknown_keys(tx, SPEC.account)
    assert len(stops) == 2
    assert len(unknown) == 1
    copied(source.url, target_url, clock)
    with Ledger(target_url, clock=clock) as target:
        with target.read() as tx:
            assert (in_force(tx), unknown_keys.unknown_keys(tx, SPEC.account)) == (stops, unknown)
        with pytest.raises(Stopped, match="moving"), target.write() as tx:
            claim(tx, 5, badge_run_id=open_plan(tx, plan_id(target, 2)), sender="sender", doubt_after=DOUBT)


# What is refused ---------------------------------------------------------------------------------------------


def test_a_request_that_may_be_on_its_way_is_waited_for(source: Ledger, target_url: URL, clock: Clock) -> None:
    new = plan(source, [901], run("now"))
    send(source, requests_of(source, new)[0].id)
    clock.advance(seconds=DOUBT.total_seconds() + 59)
    with pytest.raises(CopyRefused, match=r"1 request sent a short time ago .* after 2026-11-23 12:32:00 UTC"):
        copied(source.url, target_url, clock)
    assert_untouched(source.url, target_url)
    clock.advance(seconds=1)
    copied(source.url, target_url, clock)


def test_a_request_that_was_found_in_the_meantime_holds_nothing_up(
    source: Ledger, target_url: URL, clock: Clock
) -> None:
    (new,) = requests_of(source, plan(source, [901], run("now")))
    send(source, new.id)
    see(source, new.id, "p-new", decided=False)
    copied(source.url, target_url, clock)
    assert rows_in(target_url) == rows_in(source.url)


_ONE_ROW: Final[dict[Table, dict[str, object]]] = {
    badge_occasion: {"account": "a", "occasion": "o", "badge_id": "b", "created_at": datetime.now(UTC)},
    badge_spec: {"account": "a", "fingerprint": "f", "config": "{}", "created_at": datetime.now(UTC)},
    badge_pace: {"account": "a", "next_slot_at": datetime.now(UTC)},
    badge_scan: {"account": "a", "leased_until": datetime.now(UTC), "leased_by": "b"},
    badge_history: {"account": "a", "sender": "s", "first_day": date(2026, 1, 1), "next_day": date(2026, 1, 1)},
    badge_not_ours: {"account": "a", "key": "k", "said_at": datetime.now(UTC), "said_by": "b"},
    badge_stop: {"account": "a", "campaign": ""},
}


@pytest.mark.parametrize("table", _ONE_ROW, ids=lambda table: table.name)
def test_a_ledger_that_holds_anything_takes_no_other(
    source: Ledger, target_url: URL, clock: Clock, table: Table
) -> None:
    with Ledger(migrated(target_url)) as target, target.write() as tx:
        tx.conn.execute(table.insert(), _ONE_ROW[table])
    before = rows_in(target_url)
    with pytest.raises(CopyRefused, match=rf"is not empty \({table.name}\), and two ledgers cannot be joined"):
        copied(source.url, target_url, clock)
    assert rows_in(target_url) == before
    Ledger(source.url).close()


def test_a_key_that_is_unknown_there_is_something_too(source: Ledger, target_url: URL, clock: Clock) -> None:
    with Ledger(migrated(target_url)) as target, target.write() as tx:
        unknown_keys.note(tx, SPEC.account, "sender", [STRAY])
    with pytest.raises(CopyRefused, match=rf"is not empty \(badge_scan, {badge_unknown_key.name}\)"):
        copied(source.url, target_url, clock)


def test_rows_that_break_the_rules_are_not_copied(source: Ledger, target_url: URL, clock: Clock) -> None:
    with source.write() as tx:
        tx.conn.execute(badge_enrolment.delete().where(badge_enrolment.c.customer_id == 1))
    with pytest.raises(CopyRefused, match=r"break the ledger's rules; keep everything, and report:\n  request "):
        copied(source.url, target_url, clock)
    assert_untouched(source.url, target_url)


def test_a_writer_that_does_not_end_is_named_and_nothing_is_made(
    source: Ledger, target_url: URL, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    with source.write():
        with pytest.raises(LedgerUnavailable, match=r"the ledger at sqlite:///\S+ is locked by another process"):
            copied(source.url, target_url, clock)
        assert tables_in(target_url) == []
    copied(source.url, target_url, clock)


@pytest.mark.parametrize("seconds", [61, -61])
def test_clocks_that_are_apart_are_refused(source: Ledger, target_url: URL, clock: Clock, seconds: int) -> None:
    other = Clock()
    other.now = clock.now + timedelta(seconds=seconds)
    with (
        Ledger(source.url, clock=clock, though_moved=True) as old,
        Ledger(target_url, clock=other, new=True) as new,
        pytest.raises(CopyRefused, match="61 s apart"),
    ):
        copy_ledger(old, new)
    assert_untouched(source.url, target_url)
    other.now = clock.now + timedelta(seconds=59)
    with (
        Ledger(source.url, clock=clock, though_moved=True) as old,
        Ledger(target_url, clock=other, new=True) as new,
    ):
        copy_ledger(old, new)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("badge_request", "tries", "'first'"),  # SQLite keeps any word in a column of numbers
        ("badge_request", "error_code", "99999999999"),
        ("badge_run", "note", "'a' || char(0) || 'b'"),
        ("badge_sighting", "state", f"'{'x' * 65}'"),
        ("badge_run", "planned_at", "'yesterday'"),
        ("badge_run", "planned_at", "1700000000"),
        ("badge_history", "first_day", "'2026-02-30'"),
        ("badge_request", "answered_id", "CAST(x'ff61' AS TEXT)"),
        ("badge_request", "answered_id", "CAST(x'eda080' AS TEXT)"),  # half of a pair
        # PostgreSQL would take what follows, and alter it.
        ("badge_run", "note", "x'616263'"),
        ("badge_not_ours", "said_by", "x''"),
        ("badge_scan", "whole_pages", "1.5"),
        ("badge_run", "canary", "2"),
        ("badge_unknown_key", "unseen", "'true'"),
        ("badge_stop", "reason", "x'00'"),
        ("badge_sighting", "maker_id", f"'1{' ' * 20}'"),
    ],
)
def test_a_row_that_postgresql_does_not_take_is_named_by_its_table(
    source: Ledger, target_url: URL, clock: Clock, table: str, column: str, value: str
) -> None:
    with source.write() as tx:
        tx.conn.execute(text(f"UPDATE {table} SET {column} = {value}"))  # noqa: S608 - of this test
    with pytest.raises(CopyRefused, match=f"a row of {table} does not fit PostgreSQL"):
        copied(source.url, target_url, clock)
    assert tables_in(target_url) == []
    with source.write() as tx:
        assert moved(tx.conn) is None


def test_an_old_ledger_of_another_version_is_not_copied(source: Ledger, target_url: URL, clock: Clock) -> None:
    set_revision(source, "9999")
    with pytest.raises(SchemaDiffers, match="9999"):
        copied(source.url, target_url, clock)
    assert tables_in(target_url) == []


def test_a_new_ledger_of_another_version_is_not_filled(source: Ledger, target_url: URL, clock: Clock) -> None:
    with Ledger(migrated(target_url)) as target:
        set_revision(target, "9999")
    with pytest.raises(SchemaDiffers, match="9999"):
        copied(source.url, target_url, clock)
    Ledger(source.url).close()


def test_a_lost_ledger_is_not_copied(target_url: URL, tmp_path: Path) -> None:
    with pytest.raises(LedgerMissing, match="there is no SQLite file"):
        copied(URL.create("sqlite", database=str(tmp_path / "gone.db")), target_url)
    assert list(tmp_path.iterdir()) == []
    assert tables_in(target_url) == []


def test_the_command_copies_from_sqlite_into_postgresql_alone(
    source: Ledger, target_url: URL, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = address(source.url), address(target_url)
    for arguments in (
        ["--url", here, "--to-url", f"sqlite:///{tmp_path}/new.db"],
        ["--url", there, "--to-url", there],
        ["--url", there, "--to-url", here],
    ):
        assert main(["ledger", "copy", *arguments]) == 1
        assert "from a SQLite file into PostgreSQL only" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    for arguments in (["--url", here], ["--url", here, "--to-url", there, "--to-conn-id", "other"]):
        assert main(["ledger", "copy", *arguments]) == 1
        assert "copy needs --to-conn-id ID or --to-url URL" in capsys.readouterr().err
    assert_untouched(source.url, target_url)


# The old ledger afterwards -----------------------------------------------------------------------------------


@pytest.fixture
def old_url(source_url: URL, target_url: URL) -> URL:
    """A ledger that was moved."""
    copied(source_url, target_url)
    return source_url


@pytest.mark.parametrize(
    "options",
    [{}, {"reads_only": True}, {"stops_only": True}, {"check_schema": False}, {"new": True}],
    ids=["a task", "a question", "a stop", "an upgrade", "a creation"],
)
def test_however_it_is_opened_the_old_one_is_refused(old_url: URL, options: dict[str, Any]) -> None:
    with pytest.raises(LedgerMoved, match=r"moved to postgresql\S+ on .* change connection badge_ledger") as caught:
        Ledger(old_url, **options)
    assert isinstance(caught.value, TransientError), "a run that waits goes on once the connection leads there"


def test_every_command_refuses_the_old_one(old_url: URL, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        *("ledger create", "ledger upgrade", "ledger check", "ledger check --deep", "ledger erase --customer 1"),
        *("stop --reason fire", "resume", "stopped", "failed", "waiting", "customer 1", "runs"),
    ):
        assert main([*command.split(), "--url", address(old_url)]) == 1, command
        said = capsys.readouterr()
        assert "this ledger was moved to postgresql" in said.err, command
        assert said.out == "", command


def test_whoever_has_it_open_is_refused_too(source: Ledger, target_url: URL, clock: Clock) -> None:
    copied(source.url, target_url, clock)
    with pytest.raises(LedgerMoved), source.write():
        pytest.fail("it must not begin")
    with pytest.raises(LedgerMoved), source.read() as tx:
        tx.conn.execute(select(badge_run.c.id))
    with pytest.raises(LedgerMoved):
        upgrade(source.engine)
    with pytest.raises(LedgerMoved):
        plan(source, [901], ORDER)


def test_whoever_waits_for_the_lock_meanwhile_is_refused(
    source: Ledger, target_url: URL, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that wants to claim while the rows are copied must not claim in the old ledger after it."""
    came: list[BaseException | None] = []

    def wants_to_write() -> None:
        try:
            with Ledger(source.url, clock=clock) as ledger, ledger.write() as tx:
                tx.conn.execute(update(badge_run).values(note="behind the copy"))
        except LedgerMoved as error:
            came.append(error)
        else:
            came.append(None)

    writer = threading.Thread(target=wants_to_write)
    numbers = move._set_numbers

    def while_locked(old: Connection, new: Connection) -> None:
        writer.start()
        writer.join(timeout=0.5)
        assert writer.is_alive(), "it must wait for the lock"
        numbers(old, new)

    monkeypatch.setattr(move, "_set_numbers", while_locked)
    copied(source.url, target_url, clock)
    writer.join(timeout=30)
    assert [type(each) for each in came] == [LedgerMoved]
    assert rows_in(source.url) == rows_in(target_url)


def test_a_copy_of_the_file_bears_the_mark(old_url: URL, tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415 - of this test

    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(str(old_url.database))) as old, closing(sqlite3.connect(copy)) as backup:
        old.backup(backup)
    with pytest.raises(LedgerMoved):
        Ledger(URL.create("sqlite", database=str(copy)))


def test_the_way_back_is_to_take_the_mark_off(old_url: URL, empty_database: EmptyDatabase) -> None:
    with Ledger(old_url, though_moved=True) as ledger, ledger.write() as tx:
        tx.conn.execute(text("DROP TABLE badge_moved"))
    Ledger(old_url).close()
    again = empty_database("postgresql")
    copied(old_url, again)
    assert rows_in(again) == rows_in(old_url)


# Cut off ------------------------------------------------------------------------------------------------------

_KILLED: Final = """
import os, sys
from sqlalchemy import Engine, event
from capillary.__main__ import main
from capillary.ledger import move

place, source, target = sys.argv[1:]

def die(*_):
    os._exit(9)

if place == "half copied":
    copy = move._copy
    move._copy = lambda old, new, table: die() if table.name == "badge_enrolment" else copy(old, new, table)
elif place == "copied and not checked":
    move._assert_whole = die
elif place == "checked and not marked":
    move.mark_moved = die
elif place == "marked and not committed":
    mark = move.mark_moved
    move.mark_moved = lambda conn, moved: (mark(conn, moved), die())
else:
    @event.listens_for(Engine, "commit")
    def commit(conn):
        if conn.dialect.name == "postgresql":
            die()  # the old ledger's commit came before
main(["ledger", "copy", "--url", source, "--to-url", target])
"""
_DEATHS: Final = (
    "half copied",
    "copied and not checked",
    "checked and not marked",
    "marked and not committed",
    "marked, and the new ledger not committed",
)


@pytest.fixture
def real_source(source_url: URL) -> Ledger:
    """A ledger by the machine's clock, since another process copies it."""
    with Ledger(source_url) as ledger:
        settled, *_ = requests_of(ledger, plan(ledger, range(1, 12), run("first")))
        settle_as(ledger, settled.id, Outcome.ENROLLED)
    return ledger


@pytest.mark.parametrize("place", _DEATHS)
def test_wherever_it_is_killed_the_next_one_copies_all(
    real_source: Ledger, target_url: URL, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(real_source)
    died = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", _KILLED, place, address(real_source.url), address(target_url)],
        cwd=CHECKOUT / "plugins",
        check=False,
        timeout=60,
    )
    assert died.returncode == 9
    assert tables_in(target_url) == [], "never half a ledger"
    if place == _DEATHS[-1]:
        with pytest.raises(LedgerMoved, match=r"the move was interrupted: run .* again"):
            Ledger(real_source.url)
    else:
        Ledger(real_source.url).close()
    assert rows_in(real_source.url) == before
    for said in ("copied to", "an earlier copy to"):
        assert main(["ledger", "copy", "--url", address(real_source.url), "--to-url", address(target_url)]) == 0
        assert f"ledger: {said} postgresql" in capsys.readouterr().out
        assert rows_in(target_url) == before
    with pytest.raises(LedgerMoved):
        Ledger(real_source.url)


def test_a_copy_that_was_cut_off_before_an_update_goes_on_after_it(
    real_source: Ledger,
    target_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = rows_of(real_source)
    here, there = address(real_source.url), address(target_url)
    died = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", _KILLED, _DEATHS[-1], here, there], cwd=CHECKOUT / "plugins", check=False, timeout=60
    )
    assert died.returncode == 9
    with SecondRelease(monkeypatch, tmp_path).installed():
        assert main(["ledger", "upgrade", "--url", here]) == 1, "the file is not to be used"
        assert "run the same `python -m capillary ledger copy` again" in capsys.readouterr().err
        assert main(["ledger", "copy", "--url", here, "--to-url", there]) == 0
        assert "ledger: copied to postgresql" in capsys.readouterr().out
        assert rows_in(target_url) == before
        with pytest.raises(LedgerMoved):
            Ledger(real_source.url)


@pytest.mark.parametrize("arrived", [False, True], ids=["the commit was lost", "only its answer was"])
def test_a_last_commit_without_an_answer_says_what_to_do(
    real_source: Ledger, target_url: URL, capsys: pytest.CaptureFixture[str], *, arrived: bool
) -> None:
    before = rows_of(real_source)
    with Ledger(real_source.url, though_moved=True) as source, Ledger(target_url, new=True) as target:

        @event.listens_for(target.engine, "commit")
        def lose(conn: Connection) -> None:
            driver: Any = conn.connection.driver_connection
            if arrived:
                driver.commit()
            driver.close()

        with pytest.raises(LedgerUnavailable, match=r"did not confirm the last commit .* run the same command again"):
            copy_ledger(source, target)
    assert rows_in(real_source.url) == before
    assert main(["ledger", "copy", "--url", address(real_source.url), "--to-url", address(target_url)]) == 0
    assert ("an earlier copy" in capsys.readouterr().out) is arrived
    assert rows_in(target_url) == before


def test_a_server_that_goes_away_in_the_middle_leaves_the_old_ledger_in_use(
    source: Ledger, target_url: URL, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[[Connection, Connection, Table], int] = move._copy

    def ended(old: Connection, new: Connection, table: Table) -> int:
        if table is badge_enrolment:
            server = create_engine(target_url)
            with server.begin() as conn:
                own = new.execute(text("SELECT pg_backend_pid()")).scalar_one()
                conn.execute(text("SELECT pg_terminate_backend(:own)"), {"own": own})
            server.dispose()
        return copy(old, new, table)

    monkeypatch.setattr(move, "_copy", ended)
    with pytest.raises(LedgerUnavailable):
        copied(source.url, target_url, clock)
    assert_untouched(source.url, target_url)
    monkeypatch.undo()
    copied(source.url, target_url, clock)


def test_two_copies_at_once_are_one(real_source: Ledger, target_url: URL) -> None:
    before = rows_of(real_source)
    command = [sys.executable, "-m", "capillary", "ledger", "copy"]
    where = ["--url", address(real_source.url), "--to-url", address(target_url)]
    both = [
        subprocess.Popen(  # noqa: S603 - our own command
            [*command, *where], cwd=CHECKOUT / "plugins", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(each.communicate(timeout=60) for each in both)
    assert [each.returncode for each in both] == [0, 0], said
    assert [out.split(" postgresql")[0] for out, _ in said] == ["ledger: an earlier copy to", "ledger: copied to"]
    assert rows_in(target_url) == before


def test_the_command_says_what_was_done_and_what_follows(
    real_source: Ledger, target_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    order_stop(real_source, Scope(SPEC.account), by="Zoë", reason="moving")
    with Ledger(real_source.url) as ledger:
        rows = sum(map(len, rows_of(ledger).values()))
    assert main(["ledger", "copy", "--url", address(real_source.url), "--to-url", address(target_url)]) == 0
    out = capsys.readouterr().out
    assert f" {rows} rows (" in out
    assert "badge_enrolment 11" in out
    assert "every row keeps its rules. The old file is refused from now on: change connection badge_ledger" in out
    assert out.endswith(" Sending is stopped there, as it was here.\n")
    assert main(["ledger", "check", "--deep", "--url", address(target_url)]) == 0
    assert f"at {REVISIONS[-1]}, as the code needs it; every row keeps its rules" in capsys.readouterr().out
