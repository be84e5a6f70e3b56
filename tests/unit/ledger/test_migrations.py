"""Migrations leave exactly the tables of the code, and tell when they have not run."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, column, inspect, table, text, update
from sqlalchemy.engine.interfaces import ReflectedIndex

from capillary.__main__ import main
from capillary.errors import TransientError
from capillary.ledger import revision
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerMissing, LedgerRefused, SchemaBehind, SchemaDiffers
from capillary.ledger.migrate import alembic_config, create, upgrade
from capillary.ledger.revision import RETIRED, REVISIONS, UPGRADE_COMMAND, VERSION_TABLE
from capillary.ledger.schema import metadata
from tests.unit.ledger.conftest import EmptyDatabase, migrated

PLUGINS = Path(__file__).parents[3] / "plugins"


def constraints(conn: Connection) -> dict[str, object]:
    """What Alembic does not compare: keys, checks, and conditions of indexes."""
    found = inspect(conn)
    return {
        name: (
            found.get_pk_constraint(name),
            sorted(map(str, found.get_check_constraints(name))),
            sorted(map(str, found.get_foreign_keys(name))),
            sorted(map(str, found.get_unique_constraints(name))),
            sorted(map(_in_words, found.get_indexes(name))),
        )
        for name in sorted(metadata.tables)
    }


def _in_words(index: ReflectedIndex) -> str:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def without_rowid(conn: Connection) -> list[str]:
    rows = conn.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%' ORDER BY name"))
    return list(rows.scalars())


def self_numbering(conn: Connection) -> list[str]:
    """Tables whose numbers are never given twice, even after a row was deleted."""
    rows = conn.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name"))
    return list(rows.scalars())


def set_revision(ledger: Ledger, number: str) -> None:
    with ledger.write() as tx:
        tx.conn.execute(update(table(VERSION_TABLE, column("version_num"))).values(version_num=number))


def test_a_new_ledger_has_exactly_the_tables_of_the_code(ledger: Ledger) -> None:
    with ledger.read() as tx:
        context = MigrationContext.configure(
            tx.conn,
            opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True},
        )
        assert compare_metadata(context, metadata) == []


def test_a_new_ledger_has_exactly_the_constraints_of_the_code(ledger: Ledger, empty_database: EmptyDatabase) -> None:
    backend = ledger.url.get_backend_name()
    with Ledger(empty_database(backend), new=True) as plain:
        with plain.write() as tx:
            metadata.create_all(tx.conn)
        with plain.read() as tx, ledger.read() as upgraded:
            assert constraints(upgraded.conn) == constraints(tx.conn)
            if backend == "sqlite":
                assert without_rowid(upgraded.conn) == without_rowid(tx.conn)
                assert self_numbering(upgraded.conn) == self_numbering(tx.conn)


_COLLATIONS = {
    "postgresql": """
        SELECT i.relname, c.collname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        CROSS JOIN LATERAL unnest(x.indcollation) AS k(number) JOIN pg_collation c ON c.oid = k.number
        WHERE i.relname LIKE '%badge\\_%' AND i.relname NOT LIKE '%version%' AND pg_table_is_visible(i.oid)
    """,
    "sqlite": """
        SELECT i.name, k.coll FROM sqlite_master i, pragma_index_xinfo(i.name) k
        WHERE i.type = 'index' AND k.key
    """,
}


def test_every_index_goes_by_bytes_and_not_by_a_languages_order(ledger: Ledger) -> None:
    """A language's order changes with the system's libraries: thirty customers of six hundred were planned again."""
    backend = ledger.url.get_backend_name()
    with ledger.read() as tx:
        found = {(row[0], row[1]) for row in tx.conn.execute(text(_COLLATIONS[backend]))}
    by_text = {index for index, _ in found}
    assert {collation for _, collation in found} == {{"postgresql": "C", "sqlite": "BINARY"}[backend]}
    if backend == "postgresql":
        expected = {
            "uq_badge_occasion_account_occasion",
            "uq_badge_request_request_key",
            "pk_badge_stop",
            "pk_badge_sighting",
        }
        assert expected <= by_text


def test_every_revision_that_ever_was_is_known() -> None:
    """The first migration gets a new letter with each change: those before it are retired."""
    newest = REVISIONS[0]
    letters = [chr(letter) for letter in range(ord("b"), ord(newest[-1]))]
    assert {"0001", *(f"0001{letter}" for letter in letters)} == RETIRED


def test_the_code_knows_its_own_migrations() -> None:
    written = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    assert tuple(script.revision for script in written)[::-1] == REVISIONS


def test_an_upgrade_of_a_current_ledger_changes_nothing(empty_url: URL) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        assert upgrade(ledger.engine) == (REVISIONS[-1], REVISIONS[-1])


def test_an_upgrade_makes_no_ledger_where_there_is_none(empty_url: URL) -> None:
    """A volume was lost, or the search path leads elsewhere: an empty ledger would enrol everybody twice."""
    with Ledger(empty_url, new=True) as ledger:
        with pytest.raises(LedgerMissing, match=r"has no tables of a ledger: the ledger was lost.*ledger create"):
            upgrade(ledger.engine)
        with ledger.read() as tx:
            assert inspect(tx.conn).get_table_names() == []


def test_a_ledger_is_made_once(empty_url: URL) -> None:
    with Ledger(empty_url, new=True) as ledger:
        assert create(ledger.engine) == (True, REVISIONS[-1])
        assert create(ledger.engine) == (False, REVISIONS[-1])
    Ledger(empty_url).close()


def test_an_older_ledger_is_left_for_the_upgrade(empty_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        set_revision(ledger, "older")
        monkeypatch.setattr(revision, "REVISIONS", ("older", *REVISIONS))
        assert create(ledger.engine) == (False, "older")


def test_a_ledger_of_another_version_is_no_reason_to_make_one(empty_url: URL) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        set_revision(ledger, "9999")
        with pytest.raises(SchemaDiffers, match="9999, which this code does not know"):
            create(ledger.engine)


def test_a_search_path_that_leads_elsewhere_is_no_reason_to_make_a_ledger(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("postgresql"))
    with Ledger(url) as ledger, ledger.write() as tx:
        tx.conn.execute(text("CREATE SCHEMA elsewhere"))
    elsewhere = url.update_query_dict({"options": "-c search_path=elsewhere"})
    with pytest.raises(LedgerMissing, match="search path"):
        Ledger(elsewhere)
    with Ledger(elsewhere, check_schema=False) as ledger:
        with pytest.raises(LedgerMissing, match="search path"):
            upgrade(ledger.engine)
        with ledger.read() as tx:
            assert inspect(tx.conn).get_table_names() == []


def test_two_threads_may_make_it_at_once(empty_url: URL) -> None:
    results: list[object] = []
    started = threading.Barrier(2)

    def run() -> None:
        try:
            with Ledger(empty_url, new=True) as ledger:
                started.wait(timeout=10)
                results.append(create(ledger.engine))
        except BaseException as error:  # noqa: BLE001 - told by the assert below
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [(False, REVISIONS[-1]), (True, REVISIONS[-1])]


def test_two_processes_may_make_a_new_file_at_once(empty_database: EmptyDatabase) -> None:
    command = [sys.executable, "-m", "capillary", "ledger", "create", "--url", str(empty_database("sqlite"))]
    processes = [
        subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=PLUGINS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60) for process in processes)
    assert said == [
        (f"ledger: created at {REVISIONS[-1]}\n", ""),
        (f"ledger: there already, at {REVISIONS[-1]}; nothing was created\n", ""),
    ]
    assert [process.returncode for process in processes] == [0, 0]


def test_a_creation_that_fails_leaves_nothing_behind(empty_url: URL) -> None:
    with Ledger(empty_url, new=True) as ledger:
        with ledger.write() as tx:
            tx.conn.execute(text("CREATE TABLE badge_scan (account VARCHAR(1))"))
        with pytest.raises(LedgerRefused, match=r"another table (has|under) the name of one of the ledger's"):
            create(ledger.engine)
        with ledger.read() as tx:
            assert inspect(tx.conn).get_table_names() == ["badge_scan"]


def test_a_newer_ledger_is_refused_and_not_touched(empty_url: URL) -> None:
    with Ledger(migrated(empty_url)) as ledger:
        set_revision(ledger, "9999")
        with pytest.raises(SchemaDiffers, match="9999, which this code does not know") as caught:
            Ledger(empty_url)
        assert isinstance(caught.value, TransientError), "a worker that is not updated yet must not end a wait"
        with pytest.raises(SchemaDiffers, match="update the installed package"):
            upgrade(ledger.engine)


def test_a_ledger_that_is_not_migrated_yet_passes(empty_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other order of an update: the worker is new, and badge_upkeep has not migrated yet."""
    migrated(empty_url)
    monkeypatch.setattr(revision, "REVISIONS", (*REVISIONS, "9999"))
    with pytest.raises(SchemaDiffers, match=f"at revision {REVISIONS[-1]}, the code needs 9999") as caught:
        Ledger(empty_url)
    assert isinstance(caught.value, TransientError)
    assert UPGRADE_COMMAND in str(caught.value)
    assert "badge_upkeep" in str(caught.value)


@pytest.mark.parametrize("number", sorted(RETIRED))
def test_a_ledger_of_before_the_first_release_is_refused_and_not_touched(
    empty_database: EmptyDatabase, number: str
) -> None:
    """Not as one that a newer version has migrated: what waits would be tried again for ever."""
    empty_url = empty_database("sqlite")
    with Ledger(migrated(empty_url)) as ledger:
        set_revision(ledger, number)
        with pytest.raises(SchemaBehind, match=f"at revision {number}, from before the first release"):
            Ledger(empty_url)
        with pytest.raises(SchemaBehind, match="give connection badge_ledger a new, empty one"):
            upgrade(ledger.engine)


def test_the_commands_make_check_and_migrate_and_say_so(empty_url: URL, capsys: pytest.CaptureFixture[str]) -> None:
    url = empty_url.render_as_string(hide_password=False)
    for command in ("check", "upgrade"):
        assert main(["ledger", command, "--url", url]) == 1
        assert "the ledger was lost" in capsys.readouterr().err
        assert empty_url.get_backend_name() != "sqlite" or not Path(empty_url.database or "").exists()
    for command in ("create", "check", "upgrade", "create"):
        assert main(["ledger", command, "--url", url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"ledger: created at {REVISIONS[-1]}",
        f"ledger: at {REVISIONS[-1]}, as the code needs it",
        f"ledger: already at {REVISIONS[-1]}",
        f"ledger: there already, at {REVISIONS[-1]}; nothing was created",
    ]


def test_the_command_refuses_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "upgrade", "--url", "duckdb:///ledger"]) == 1
    assert "cannot live in duckdb" in capsys.readouterr().err
