"""A database that cannot keep the ledger's promises, or cannot do so now, says so when it is opened."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import URL, create_engine, text

from capillary.__main__ import main
from capillary.errors import CapillaryError, TerminalError, TransientError
from capillary.ledger import soundness, stops
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerRefused, LedgerUnavailable
from capillary.ledger.migrate import create, upgrade
from capillary.ledger.revision import REVISIONS, VERSION_TABLE
from capillary.ledger.schema import metadata
from capillary.ledger.stops import Scope, resume, stop
from tests.postgresql import running_server
from tests.second_migration import SECOND, SecondRelease
from tests.unit.ledger.conftest import EmptyDatabase, migrated

Sql = Callable[[URL, str], None]
_NUMBERS: Final = count()


@pytest.fixture(scope="module")
def database(empty_database: EmptyDatabase) -> URL:
    """A migrated ledger in PostgreSQL, as its owner sees it; it is a superuser."""
    return migrated(empty_database("postgresql"))


def run_sql(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        for statement in statements:
            conn.execute(text(statement))
    engine.dispose()


@pytest.fixture
def role(database: URL) -> Iterator[URL]:
    """The same ledger as a role sees it that has exactly the rights that the documentation names."""
    name = f"tasks_{next(_NUMBERS)}"
    run_sql(
        database,
        f"CREATE ROLE {name} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    yield database.set(username=name)
    run_sql(database, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def refused(url: URL, *, passes: bool = False, check_schema: bool = True, new: bool = False) -> str:
    """Return the sentence with which a ledger is not opened, by the class and by the command."""
    with pytest.raises(LedgerUnavailable if passes else LedgerRefused) as caught:
        Ledger(url, check_schema=check_schema, new=new)
    assert isinstance(caught.value, TransientError if passes else TerminalError)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_the_rights_that_the_documentation_names_are_enough(role: URL) -> None:
    with Ledger(role) as ledger, ledger.write() as tx:
        assert tx.conn.execute(text("SELECT count(*) FROM badge_run")).scalar_one() == 0


def test_who_may_only_read_gets_answers_and_nothing_else(database: URL, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"reports_{next(_NUMBERS)}"
    run_sql(database, f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    reader = database.set(username=name)
    try:
        assert "lacks rights on the ledger's tables" in refused(reader)
        run_sql(database, f"ALTER ROLE {name} SET default_transaction_read_only = on")  # as a standby has it
        for command in ("failed", "waiting", "runs", "customer 4711"):
            arguments = [*command.split(), "--json", "--url", reader.render_as_string()]
            assert main(arguments) == 0, capsys.readouterr()
            assert capsys.readouterr().out == "[]\n"
        run_sql(database, f"REVOKE ALL ON badge_enrolment FROM {name}")
        assert main(["failed", "--url", reader.render_as_string()]) == 1
        said = capsys.readouterr().err
        assert "badge_enrolment: SELECT" in said
        assert f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}" in said
    finally:
        run_sql(database, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_user_without_temporary_tables_is_told_at_the_opening(
    database: URL, role: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sql(database, f"REVOKE TEMPORARY ON DATABASE {database.database} FROM PUBLIC")
    try:
        said = refused(role)
        assert main(["ledger", "check", "--url", role.render_as_string(hide_password=False)]) == 1
    finally:
        run_sql(database, f"GRANT TEMPORARY ON DATABASE {database.database} TO PUBLIC")
    assert f"GRANT TEMPORARY ON DATABASE {database.database} TO {role.username}" in said
    assert capsys.readouterr().err == f"ledger: {said}\n"


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_a_grant_that_was_forgotten_on_one_table_is_named(database: URL, role: URL, table: str) -> None:
    run_sql(database, f"REVOKE UPDATE ON {table} FROM {role.username}")
    said = refused(role)
    assert f"({table}: UPDATE)" in said
    assert f"TO {role.username}" in said


@pytest.mark.parametrize("right", ["SELECT", "INSERT", "DELETE"])
def test_whichever_right_is_missing_is_named(database: URL, role: URL, right: str) -> None:
    run_sql(database, f"REVOKE {right} ON badge_request FROM {role.username}")
    assert f"badge_request: {right}" in refused(role)


def test_a_sequence_that_was_forgotten_is_named(database: URL, role: URL) -> None:
    run_sql(database, f"REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM {role.username}")
    said = refused(role)
    for table in ("badge_occasion", "badge_spec", "badge_run", "badge_request"):
        assert f"{table}: USAGE of its sequence" in said


def test_a_user_who_may_not_read_the_schemas_version_is_told(database: URL, role: URL) -> None:
    run_sql(database, f"REVOKE SELECT ON {VERSION_TABLE} FROM {role.username}")  # noqa: S608 - our own words
    assert "does not give its user the rights" in refused(role)


@pytest.mark.parametrize("may_create", [False, True])
def test_who_does_not_own_the_tables_is_told_who_migrates_them(
    database: URL, role: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, may_create: bool
) -> None:
    if may_create:
        run_sql(database, f"GRANT CREATE ON SCHEMA public TO {role.username}")
    with (
        SecondRelease(monkeypatch, tmp_path).installed(),
        Ledger(role, check_schema=False) as ledger,
        pytest.raises(LedgerRefused, match=rf"{role.username} does not own .* owner \({database.username}\)"),
    ):
        upgrade(ledger.engine)
    Ledger(role).close()


def test_a_member_of_the_tables_owner_may_migrate_them(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = empty_database("postgresql")
    owner, member = f"owner_{next(_NUMBERS)}", f"member_{next(_NUMBERS)}"
    run_sql(url, f"CREATE ROLE {owner} LOGIN", f"GRANT CREATE ON SCHEMA public TO {owner}")
    run_sql(url, f"CREATE ROLE {member} LOGIN IN ROLE {owner}")
    migrated(url.set(username=owner))
    with (
        SecondRelease(monkeypatch, tmp_path).installed(),
        Ledger(url.set(username=member), check_schema=False) as ledger,
    ):
        assert upgrade(ledger.engine) == (REVISIONS[-1], SECOND)
    run_sql(url, f"DROP OWNED BY {owner}", f"DROP ROLE {member}", f"DROP ROLE {owner}")


def test_a_backup_that_was_restored_into_a_newer_ledger_is_told(
    empty_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(empty_url)
    run_sql(empty_url, f"INSERT INTO {VERSION_TABLE} VALUES ('0000')")  # noqa: S608 - our own words
    several = f"several revisions (0000, {REVISIONS[-1]})"
    assert several in refused(empty_url)
    for command in ("check", "upgrade"):
        assert main(["ledger", command, "--url", empty_url.render_as_string(hide_password=False)]) == 1
        assert several in capsys.readouterr().err
    with Ledger(empty_url, new=True) as ledger, pytest.raises(LedgerRefused, match="several revisions"):
        create(ledger.engine)


def test_rows_that_are_hidden_from_the_user_are_as_good_as_lost(database: URL, role: URL) -> None:
    run_sql(database, "ALTER TABLE badge_enrolment ENABLE ROW LEVEL SECURITY")
    try:
        said = refused(role)
    finally:
        run_sql(database, "ALTER TABLE badge_enrolment DISABLE ROW LEVEL SECURITY")
    assert "hides rows of badge_enrolment" in said
    assert f"Give {role.username} BYPASSRLS" in said


def test_a_table_that_is_missing_is_named(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("postgresql"))
    run_sql(url, "DROP TABLE badge_stop")
    assert "table badge_stop is missing" in refused(url)


def test_who_may_not_make_tables_is_told_before_a_migration(
    empty_database: EmptyDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostgreSQL 15's default for the schema public."""
    url, name = empty_database("postgresql"), f"guest_{next(_NUMBERS)}"
    run_sql(url, f"CREATE ROLE {name} LOGIN")
    guest = url.set(username=name)
    with Ledger(guest, new=True) as ledger, pytest.raises(LedgerRefused, match="GRANT CREATE ON SCHEMA"):
        create(ledger.engine)
    assert main(["ledger", "create", "--url", guest.render_as_string(hide_password=False)]) == 1
    assert f"GRANT CREATE ON SCHEMA public TO {name}" in capsys.readouterr().err
    run_sql(url, f"GRANT CREATE ON SCHEMA public TO {name}")
    with Ledger(guest, new=True) as ledger:
        assert create(ledger.engine) == (True, REVISIONS[-1])


def test_who_may_not_make_tables_may_work_and_finds_nothing_to_migrate(role: URL) -> None:
    with Ledger(role) as ledger:
        assert upgrade(ledger.engine) == (REVISIONS[-1], REVISIONS[-1])


@pytest.mark.parametrize(
    ("path", "why"), [("nowhere", "does not exist"), ("locked_away", "may not be used")], ids=lambda each: each
)
def test_a_search_path_without_a_schema_is_no_empty_ledger(database: URL, role: URL, path: str, why: str) -> None:
    if path == "locked_away":
        run_sql(database, "CREATE SCHEMA IF NOT EXISTS locked_away")
    run_sql(database, f"ALTER ROLE {role.username} SET search_path = {path}")
    for check_schema in (True, False):  # a migration would make its tables nowhere, or elsewhere
        said = refused(role, check_schema=check_schema)
        assert f"search path ({path}) names no schema" in said, why


def test_a_user_who_is_set_to_read_only_passes(database: URL, role: URL) -> None:
    """Some services set it while a disk is nearly full, and people do while a database moves."""
    run_sql(database, f"ALTER ROLE {role.username} SET default_transaction_read_only = on")
    assert "default_transaction_read_only=on" in refused(role, passes=True)


def test_a_standby_passes_for_a_failover_ends() -> None:
    with running_server() as server:
        migrated(server.url)
        data = Path(str(server.url.query["host"]))
        owner = data.stat().st_uid
        (data / "standby.signal").touch()
        os.chown(data / "standby.signal", owner, -1)
        program = str(server.psql.parent / "pg_ctl")
        restart = [program, "-D", str(data), "-w", "-m", "fast", "-l", str(data / "log"), "restart"]
        subprocess.run(restart, check=True, user=owner if os.getuid() == 0 else None, stdout=subprocess.DEVNULL)  # noqa: S603
        assert "is a standby" in refused(server.url, passes=True)
        assert main(["ledger", "check", "--url", server.url.render_as_string(hide_password=False)]) == 1


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_word_is_refused(database: URL, encoding: str) -> None:
    """In SQL_ASCII psycopg gives bytes for text, on which SQLAlchemy breaks before anything can be asked."""
    name = f"enc_{encoding.lower()}"
    run_sql(database, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    assert f"is in encoding {encoding}" in refused(database.set(database=name), check_schema=False)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("DateStyle", "German", "DateStyle=German"),
        ("DateStyle", "'SQL, DMY'", "DateStyle=SQL"),
        ("array_nulls", "off", "array_nulls=off"),
        ("synchronous_commit", "off", "synchronous_commit=off"),
        ("statement_timeout", "'100ms'", "statement_timeout=0.1 s"),
        ("lock_timeout", "'59s'", "lock_timeout=59 s"),
        ("idle_in_transaction_session_timeout", "'1s'", "idle_in_transaction_session_timeout=1 s"),
        ("transaction_timeout", "'30s'", "transaction_timeout=30 s"),
    ],
)
def test_a_setting_with_which_no_run_could_end_well_is_named(
    database: URL, role: URL, setting: str, value: str, says: str
) -> None:
    run_sql(database, f"ALTER ROLE {role.username} SET {setting} = {value}")
    assert says in refused(role)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("TimeZone", "'Asia/Kolkata'"),
        ("TimeZone", "'FOO+3'"),
        ("standard_conforming_strings", "off"),
        ("client_encoding", "latin1"),
        ("default_transaction_isolation", "serializable"),
        ("statement_timeout", "'60s'"),
        ("lock_timeout", "'1d'"),
        ("synchronous_commit", "remote_apply"),
        ("IntervalStyle", "sql_standard"),
        ("extra_float_digits", "-15"),
    ],
)
def test_a_setting_that_changes_nothing_is_taken(database: URL, role: URL, setting: str, value: str) -> None:
    run_sql(database, f"ALTER ROLE {role.username} SET {setting} = {value}")
    with Ledger(role) as ledger, ledger.read() as tx:
        assert abs((tx.now - ledger.now(tx.conn)).total_seconds()) < 5
        assert tx.conn.execute(text("SELECT 'ß'")).scalar_one() == "ß"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lock_timeout", "'100ms'"),
        ("statement_timeout", "'100ms'"),
        ("idle_in_transaction_session_timeout", "'100ms'"),
        ("DateStyle", "'German'"),
        ("array_nulls", "off"),
        ("synchronous_commit", "off"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
    ],
)
def test_a_stop_is_written_and_waits_whatever_is_set_for_the_role(
    database: URL, role: URL, setting: str, value: str
) -> None:
    run_sql(database, f"ALTER ROLE {role.username} SET {setting} = {value}")
    scope = Scope(f"{setting.lower()}.example/1")
    with Ledger(database) as claims, Ledger(role, stops_only=True) as ledger:
        with claims.write() as tx:
            stops._make(tx, scope.account, "spring")
        with ThreadPoolExecutor(1) as beside:
            with claims.write() as tx:
                stops._hold(tx, scope.account, "spring")
                stopping = beside.submit(stop, ledger, scope, by="ann", reason="night")
                with pytest.raises(TimeoutError):
                    stopping.result(0.5)
            ordered = stopping.result(10)
        with claims.read() as tx:
            assert stops.in_force(tx) == (ordered,)
        assert resume(ledger, scope, by="ann") == ordered


def test_a_stop_needs_rights_on_its_own_table_alone(database: URL, role: URL) -> None:
    run_sql(
        database,
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role.username}",
        f"GRANT SELECT, INSERT, UPDATE ON badge_stop TO {role.username}",
    )
    url = role.render_as_string(hide_password=False)
    assert main(["stop", "--url", url, "--account", "some.example/1", "--reason", "night"]) == 0
    assert main(["resume", "--url", url, "--account", "some.example/1"]) == 0
    run_sql(database, f"REVOKE UPDATE ON badge_stop FROM {role.username}")
    with pytest.raises(LedgerRefused, match=r"\(badge_stop: UPDATE\)"):
        Ledger(role, stops_only=True)


def test_an_old_server_is_refused(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundness, "OLDEST_POSTGRESQL", 990_000)
    assert "too old: give connection badge_ledger one of version 99 or later" in refused(database)


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    url = URL.create("sqlite", database=str(tmp_path / "ledger.db"))
    assert "use one with 3.35.0 or later" in refused(url, new=True)


def test_a_file_that_cannot_be_written_is_told_at_the_opening(tmp_path: Path) -> None:
    """Opened read-only by its address: to the root of a test machine no file is closed."""
    file = tmp_path / "ledger.db"
    migrated(URL.create("sqlite", database=str(file)))
    said = refused(URL.create("sqlite", database=f"file:{file}", query={"mode": "ro", "uri": "true"}))
    assert "cannot be written" in said
    assert "ledger.db" in said


def test_a_file_that_another_process_writes_can_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    migrated(URL.create("sqlite", database=str(file)))
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        with Ledger(f"sqlite:///{file}") as ledger, ledger.read() as tx:
            assert tx.conn.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000
    finally:
        writer.close()


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    assert "this is a folder" in refused(URL.create("sqlite", database=str(tmp_path)))


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "its folder is missing" in refused(
        URL.create("sqlite", database=str(tmp_path / "file" / "ledger.db")), new=True
    )


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    migrated(URL.create("sqlite", database=str(file)))
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(CapillaryError, match=r"damaged|no SQLite file"):
        Ledger(f"sqlite:///{file}")


_UNIQUE = {
    "badge_stop (account, campaign)": "ALTER TABLE badge_stop DROP CONSTRAINT pk_badge_stop",
    "badge_occasion (account, occasion)": (
        "ALTER TABLE badge_occasion DROP CONSTRAINT uq_badge_occasion_account_occasion"
    ),
    "badge_enrolment (occasion_id, customer_id)": "DROP INDEX uq_badge_enrolment_open",
    "badge_request (request_key)": "ALTER TABLE badge_request DROP CONSTRAINT uq_badge_request_request_key",
}


@pytest.mark.parametrize("key", _UNIQUE)
def test_a_ledger_that_came_back_without_a_unique_key_is_refused(empty_database: EmptyDatabase, key: str) -> None:
    """Three of four plans at once planned the same customers, and every check passed."""
    url = migrated(empty_database("postgresql"))
    run_sql(url, _UNIQUE[key])
    assert f"lack unique keys: {key}. " in refused(url)


def test_a_sqlite_ledger_without_its_second_guard_is_refused(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("sqlite"))
    with Ledger(url) as ledger, ledger.write() as tx:
        tx.conn.exec_driver_sql("DROP INDEX uq_badge_enrolment_open")
    assert "lack unique keys: badge_enrolment (occasion_id, customer_id). " in refused(url)


def test_tables_that_a_crash_would_empty_are_refused(empty_database: EmptyDatabase) -> None:
    url = migrated(empty_database("postgresql"))
    run_sql(url, "ALTER TABLE badge_result SET UNLOGGED")
    assert "a crash of PostgreSQL would empty these tables of the ledger: badge_result" in refused(url)
