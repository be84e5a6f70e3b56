"""What a ledger is copied into: a database without one, the same one again after a cut, and never a second one."""

from __future__ import annotations

import dataclasses
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import URL, Connection, create_engine, event, insert, select, text, update
from sqlalchemy.exc import OperationalError

from capillary.__main__ import main
from capillary.ledger import copy_target, database, move
from capillary.ledger.database import Ledger
from capillary.ledger.errors import CopyRefused, LedgerMoved, LedgerRefused, LedgerUnavailable
from capillary.ledger.move import copy_ledger
from capillary.ledger.moved import Moved, moved
from capillary.ledger.schema import badge_pace, badge_request, badge_run, badge_stop
from capillary.ledger.status import Outcome
from capillary.ledger.stops import Scope, in_force, order_stop
from tests.unit.ledger.conftest import EmptyDatabase, migrated
from tests.unit.ledger.orders import SPEC, plan, requests_of, run, settle_as
from tests.unit.ledger.test_move import address, copied, rows_in, tables_in

INTERRUPTED: Final = r"Where it has no ledger, or an empty one that somebody created since, .* Create no ledger there$"


@pytest.fixture
def bare_url(empty_database: EmptyDatabase) -> URL:
    """A SQLite ledger with a stop, and without runs."""
    url = migrated(empty_database("sqlite"))
    with Ledger(url) as ledger:
        order_stop(ledger, Scope(SPEC.account), by="Zoë", reason="fire")
    return url


@pytest.fixture
def source_url(bare_url: URL) -> URL:
    """One with a run as well."""
    with Ledger(bare_url) as ledger, ledger.write() as tx:
        tx.conn.execute(badge_stop.delete())
    with Ledger(bare_url) as ledger:
        settle_as(ledger, requests_of(ledger, plan(ledger, range(1, 8), run("first")))[0].id, Outcome.ENROLLED)
        order_stop(ledger, Scope(SPEC.account), by="Zoë", reason="fire")
    return bare_url


@pytest.fixture
def target_url(empty_database: EmptyDatabase) -> URL:
    return empty_database("postgresql")


def cut_off(source_url: URL, target_url: URL, *, arrived: bool = False) -> None:
    """Copy, and lose the connection at the last commit, which arrived or did not."""
    with Ledger(source_url, though_moved=True) as source, Ledger(target_url, new=True) as target:

        @event.listens_for(target.engine, "commit")
        def lose(conn: Connection) -> None:
            driver: Any = conn.connection.driver_connection
            if arrived:
                driver.commit()
            driver.close()

        with pytest.raises(LedgerUnavailable, match="did not confirm the last commit"):
            copy_ledger(source, target)


def do(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for statement in statements:
            conn.execute(text(statement))
    engine.dispose()


def at_schema(url: URL, path: str) -> URL:
    return url.update_query_dict({"options": f"-csearch_path={path}"})


def mark_of(source_url: URL) -> Moved | None:
    with Ledger(source_url, though_moved=True) as ledger, ledger.read() as tx:
        return moved(tx.conn)


def stops_in(url: URL) -> list[str]:
    with Ledger(url) as ledger, ledger.read() as tx:
        return [stop.reason for stop in in_force(tx)]


# A database without a ledger ----------------------------------------------------------------------------------


def test_an_empty_ledger_is_not_filled_and_its_tables_are_named(source_url: URL, target_url: URL) -> None:
    """After a cut it would be there for anybody to use, without the stop."""
    migrated(target_url)
    with pytest.raises(CopyRefused, match=r"has tables of a ledger, without rows \(badge_auto_approval, ") as caught:
        copied(source_url, target_url)
    assert stops_in(source_url) == ["fire"], "the old one goes on"
    (statement,) = re.findall(r"as their owner: (DROP TABLE .* CASCADE)\.", str(caught.value))
    do(target_url, statement)
    assert tables_in(target_url) == []
    copied(source_url, target_url)
    assert rows_in(target_url) == rows_in(source_url)


def test_one_table_is_a_ledgers_too(source_url: URL, target_url: URL) -> None:
    do(target_url, "CREATE TABLE badge_stop (i int)")
    with pytest.raises(CopyRefused, match=r"without rows \(badge_stop\): .* DROP TABLE public.badge_stop CASCADE"):
        copied(source_url, target_url)
    assert mark_of(source_url) is None


def test_a_view_of_that_name_is_named(source_url: URL, target_url: URL) -> None:
    do(target_url, "CREATE VIEW badge_waiting AS SELECT 1 AS i")
    with pytest.raises(CopyRefused, match=r"without rows \(badge_waiting\): .* drop or rename them"):
        copied(source_url, target_url)
    assert mark_of(source_url) is None


def test_tables_in_several_schemas_are_found_before_anything_is_written(source_url: URL, target_url: URL) -> None:
    do(target_url, "CREATE SCHEMA old", "CREATE SCHEMA new")
    for schema in ("old", "new"):
        migrated(at_schema(target_url, schema))
    do(target_url, "DROP TABLE new.badge_stop")
    with pytest.raises(LedgerRefused, match=r"in several schemas \(badge_stop in old; the others in new\)"):
        copied(source_url, at_schema(target_url, "new,old"))
    assert mark_of(source_url) is None
    assert stops_in(source_url) == ["fire"]


def test_a_ledger_further_on_in_the_search_path_is_found(source_url: URL, target_url: URL) -> None:
    do(target_url, "CREATE SCHEMA old", "CREATE SCHEMA new")
    migrated(at_schema(target_url, "old"))
    with pytest.raises(CopyRefused, match=r"DROP TABLE old\.badge_auto_approval"):
        copied(source_url, at_schema(target_url, "new,old"))
    assert mark_of(source_url) is None


def test_who_copies_makes_the_tables_and_may_set_their_sequences(source_url: URL, target_url: URL) -> None:
    """Tables that an administrator made, and on which tasks have all their rights, are refused before a row is read."""
    migrated(target_url)
    do(
        target_url,
        "CREATE ROLE not_numbering LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO not_numbering",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO not_numbering",
    )
    user = target_url.set(username="not_numbering")
    with pytest.raises(CopyRefused, match="as their owner: DROP TABLE ") as caught:
        copied(source_url, user)
    do(target_url, *re.findall(r"DROP TABLE .* CASCADE", str(caught.value)))
    with pytest.raises(LedgerRefused, match="GRANT CREATE ON SCHEMA public TO not_numbering"):
        copied(source_url, user)
    assert mark_of(source_url) is None
    do(target_url, "GRANT CREATE ON SCHEMA public TO not_numbering")
    copied(source_url, user)
    assert rows_in(target_url) == rows_in(source_url)


# After a cut --------------------------------------------------------------------------------------------------


def test_after_a_cut_there_is_nothing_to_use_and_the_same_command_ends_it(source_url: URL, target_url: URL) -> None:
    cut_off(source_url, target_url)
    assert tables_in(target_url) == []
    with pytest.raises(LedgerMoved, match=INTERRUPTED):
        Ledger(source_url)
    assert not copied(source_url, target_url).before
    assert stops_in(target_url) == ["fire"]


def test_a_ledger_that_was_created_after_a_cut_is_dropped_first(source_url: URL, target_url: URL) -> None:
    cut_off(source_url, target_url)
    migrated(target_url)
    with pytest.raises(CopyRefused, match="without rows") as caught:
        copied(source_url, target_url)
    do(target_url, *re.findall(r"DROP TABLE .* CASCADE", str(caught.value)))
    copied(source_url, target_url)
    assert stops_in(target_url) == ["fire"]


def test_a_ledger_that_was_used_after_a_cut_is_kept(source_url: URL, target_url: URL) -> None:
    cut_off(source_url, target_url)
    with Ledger(migrated(target_url)) as other:
        order_stop(other, Scope(SPEC.account), by="Max", reason="later")
    with pytest.raises(CopyRefused, match=r"was interrupted, .* not empty \(badge_stop\).* capillary ledger import"):
        copied(source_url, target_url)
    assert stops_in(target_url) == ["later"]


@pytest.mark.parametrize("what", ["schema", "database"])
def test_a_target_that_was_dropped_and_made_again_after_a_cut_is_taken(
    source_url: URL, target_url: URL, empty_database: EmptyDatabase, what: str
) -> None:
    cut_off(source_url, target_url)
    if what == "schema":
        do(target_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    else:
        name = target_url.database
        do(empty_database("postgresql"), f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    assert not copied(source_url, target_url).before
    assert stops_in(target_url) == ["fire"]


# Never a second one -------------------------------------------------------------------------------------------


def elsewhere(kind: str, target_url: URL, empty_database: EmptyDatabase) -> URL:
    if kind == "another database":
        return empty_database("postgresql")
    do(target_url, "CREATE SCHEMA s2")
    return at_schema(target_url, "s2")


@pytest.mark.parametrize("kind", ["another database", "another schema"])
@pytest.mark.parametrize("arrived", [False, True], ids=["cut off", "not confirmed"])
def test_what_may_be_in_one_place_is_not_copied_into_another(
    source_url: URL, target_url: URL, empty_database: EmptyDatabase, kind: str, *, arrived: bool
) -> None:
    cut_off(source_url, target_url, arrived=arrived)
    other = elsewhere(kind, target_url, empty_database)
    with pytest.raises(CopyRefused, match=r"\(server \d+, database \d+, schema \d+\), and may be moved there only"):
        copied(source_url, other)
    assert copied(source_url, target_url).before is arrived


def test_another_server_at_the_same_address_is_another_place(source_url: URL, target_url: URL) -> None:
    cut_off(source_url, target_url)
    with Ledger(source_url, though_moved=True) as ledger, ledger.write() as tx:
        tx.conn.execute(text("UPDATE badge_moved SET server = '7'"))
    with pytest.raises(CopyRefused, match=r"\(server 7, .*may be moved there only"):
        copied(source_url, target_url)
    assert tables_in(target_url) == []


def test_a_server_that_refuses_to_tell_is_known_by_what_answered(
    source_url: URL, target_url: URL, empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_target, "system_identifier", lambda _tx: "")
    cut_off(source_url, target_url)
    mark = mark_of(source_url)
    assert mark is not None
    assert re.fullmatch(r".+:\d+", mark.target.server)
    other = empty_database("postgresql")
    do(other, f"DROP DATABASE {target_url.database} WITH (FORCE)", f"CREATE DATABASE {target_url.database}")
    with pytest.raises(CopyRefused, match="may be moved there only"):
        copied(source_url, target_url)  # whether that was its own database nobody can tell


@pytest.mark.parametrize("kind", ["another database", "another schema"])
def test_what_was_copied_whole_is_not_copied_again(
    source_url: URL, target_url: URL, empty_database: EmptyDatabase, kind: str
) -> None:
    copied(source_url, target_url)
    other = elsewhere(kind, target_url, empty_database)
    with pytest.raises(CopyRefused, match=r"was copied whole to postgresql.*, and there is no ledger here"):
        copied(source_url, other)
    migrated(other)
    with pytest.raises(
        CopyRefused,
        match=r"was copied whole to postgresql.*, and the ledger here is not that copy, or has changed since",
    ):
        copied(source_url, other)


def test_a_copy_that_was_lost_later_is_not_made_again(source_url: URL, target_url: URL) -> None:
    """Numbers that it gave and stops that were ordered since are not in the file."""
    copied(source_url, target_url)
    mark = mark_of(source_url)
    assert mark is not None
    assert mark.confirmed
    do(target_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with pytest.raises(CopyRefused, match=r"there is no ledger here. The file is stale .* restore its backup"):
        copied(source_url, target_url)
    assert tables_in(target_url) == []


def test_the_next_command_confirms_what_had_arrived(source_url: URL, target_url: URL) -> None:
    cut_off(source_url, target_url, arrived=True)
    before = mark_of(source_url)
    assert copied(source_url, target_url).before
    after = mark_of(source_url)
    assert before is not None
    assert after == dataclasses.replace(before, confirmed=True)
    assert not before.confirmed


def test_a_file_that_takes_no_note_says_that_the_copy_is_whole(
    source_url: URL, target_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_conn: Connection) -> None:
        raise OperationalError("UPDATE", {}, Exception("disk full"))

    monkeypatch.setattr(move, "confirm_moved", full)
    with pytest.raises(LedgerUnavailable, match=r"the copy at \S+ is whole, .* run the same command again before"):
        copied(source_url, target_url)
    monkeypatch.undo()
    assert copied(source_url, target_url).before


def test_a_clone_of_the_copy_is_not_the_copy(source_url: URL, target_url: URL, empty_database: EmptyDatabase) -> None:
    cut_off(source_url, target_url, arrived=True)
    do(empty_database("postgresql"), f"CREATE DATABASE a_clone TEMPLATE {target_url.database}")
    with pytest.raises(CopyRefused, match="may be moved there only"):
        copied(source_url, target_url.set(database="a_clone"))
    assert copied(source_url, target_url).before


@pytest.mark.parametrize("arrived", [False, True], ids=["cut off", "not confirmed"])
def test_without_runs_every_row_tells_whether_it_is_the_copy(bare_url: URL, target_url: URL, *, arrived: bool) -> None:
    cut_off(bare_url, target_url, arrived=arrived)
    if not arrived:
        with Ledger(migrated(target_url)) as other, other.write() as tx:
            tx.conn.execute(insert(badge_pace), {"account": "other", "next_slot_at": tx.now})
        with pytest.raises(CopyRefused, match=r"not empty \(badge_pace\) and not what the file holds"):
            copied(bare_url, target_url)
        return
    assert copied(bare_url, target_url).before
    assert stops_in(target_url) == ["fire"]


def test_without_runs_a_row_that_differs_is_another_ledgers(bare_url: URL, target_url: URL) -> None:
    cut_off(bare_url, target_url, arrived=True)
    with Ledger(target_url) as target, target.write() as tx:
        tx.conn.execute(update(badge_stop).values(reason="another"))
    with pytest.raises(CopyRefused, match="was interrupted"):
        copied(bare_url, target_url)


@pytest.mark.parametrize("arrived", [False, True], ids=["cut off", "not confirmed"])
def test_without_rows_the_numbers_tell(empty_database: EmptyDatabase, target_url: URL, *, arrived: bool) -> None:
    source_url = migrated(empty_database("sqlite"))
    with Ledger(source_url) as ledger, ledger.write() as tx:
        tx.conn.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('badge_request', 1000)"))
    cut_off(source_url, target_url, arrived=arrived)
    if not arrived:
        migrated(target_url)
        with pytest.raises(CopyRefused, match="without rows"):
            copied(source_url, target_url)
        return
    assert copied(source_url, target_url).before
    with Ledger(target_url) as target, target.read() as tx:
        last = tx.conn.execute(text("SELECT pg_sequence_last_value('badge_request_id_seq')")).scalar_one()
    assert last == 1000


# The file -----------------------------------------------------------------------------------------------------


def plain_copy(source_url: URL, folder: Path) -> URL:
    return URL.create("sqlite", database=str(shutil.copy(str(source_url.database), folder / "later.db")))


def test_a_plain_copy_bears_the_mark_while_others_have_the_file_open(
    source_url: URL, target_url: URL, tmp_path: Path
) -> None:
    with Ledger(source_url, though_moved=True) as task:
        with task.read() as tx:
            tx.conn.execute(select(badge_request.c.id))
        assert not copied(source_url, target_url).is_mark_in_log
        with pytest.raises(LedgerMoved):
            Ledger(plain_copy(source_url, tmp_path))


def test_a_reader_that_keeps_the_mark_in_the_log_is_told_of(
    source_url: URL,
    target_url: URL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0)
    command = ["ledger", "copy", "--url", address(source_url), "--to-url", address(target_url)]
    with Ledger(source_url) as reader:
        with suppress(LedgerMoved), reader.read() as tx:
            tx.conn.execute(select(badge_run.c.id)).all()
            assert main(command) == 0
        assert "in the file beside it that ends in -wal: a plain copy (cp) without" in capsys.readouterr().out
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "an earlier copy" in out
    assert "-wal" not in out
    with pytest.raises(LedgerMoved):
        Ledger(plain_copy(source_url, tmp_path))
