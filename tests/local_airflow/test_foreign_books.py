"""The sandbox's books and the ledger of a start belong together."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL

from capillary.ledger.database import Ledger
from local_airflow import foreign_books
from local_airflow.__main__ import main
from local_airflow.environment import LEDGER, PLATFORM, WAREHOUSE, sqlite_connection
from local_airflow.foreign_books import BooksOfAnotherLedgerError, assert_books_are_of
from local_airflow.home import Home
from local_airflow.ports import free_port
from local_airflow.processes import Processes
from sandbox.books_schema import SCHEMA
from tests.docs.conftest import ORDER, plan
from tests.unit.ledger.conftest import (  # noqa: F401 - fixtures
    EmptyDatabase,
    empty_database,
    migrated,
    postgresql_server,
)


def new_ledger(file: Path) -> URL:
    return migrated(URL.create("sqlite", database=str(file)))


def planned_keys(url: URL, customers: int) -> list[str]:
    with Ledger(url) as ledger:
        plan(ledger, ORDER, range(1, customers + 1))
        with ledger.read() as tx:
            return [key for (key,) in tx.conn.exec_driver_sql("SELECT request_key FROM badge_request")]


def write_books(books: Path, keys: list[str]) -> None:
    with closing(sqlite3.connect(books)) as database, database:
        database.executescript(SCHEMA)
        for seq, key in enumerate(keys):
            database.execute(
                "INSERT INTO request (platform_request_id, request_type, state, started, start_time, user_id, "
                "user_name, till_id, store_id, zone_id, concept_id, customers, payload, request_key) "
                "VALUES (?, 'ISSUE_BADGE', 'approved', 0, '', 1, '', '', '', '', '', 1, '', ?)",
                (f"p{seq}", key),
            )


def test_the_ledger_that_sent_them_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_books, "_AT_ONCE", 4)
    ledger = new_ledger(tmp_path / "ledger.db")
    write_books(tmp_path / "books.db", [*planned_keys(ledger, 20), "of another integration"])
    assert_books_are_of(ledger, tmp_path / "books.db")


def test_another_ledger_is_refused_with_what_to_do(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "own.db")
    write_books(tmp_path / "books.db", [*planned_keys(ledger, 2), "cb1.gold-tier.unknown"])
    with pytest.raises(BooksOfAnotherLedgerError, match=r"hold requests of another ledger: this one does not know "):
        assert_books_are_of(ledger, tmp_path / "books.db")


@pytest.mark.parametrize("made", [True, False], ids=["no tables", "no file"])
def test_a_ledger_that_is_not_there_yet_knows_nothing(made: bool, tmp_path: Path) -> None:
    own = tmp_path / "own.db"
    if made:
        own.touch()
    write_books(tmp_path / "books.db", ["cb1.gold-tier.unknown"])
    with pytest.raises(BooksOfAnotherLedgerError, match="`make clean`"):
        assert_books_are_of(f"sqlite:///{own}", tmp_path / "books.db")
    assert own.exists() is made, "a question makes no ledger"


def test_a_ledger_on_postgresql_is_asked_alike(
    empty_database: EmptyDatabase,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    ledger = migrated(empty_database("postgresql"))
    books = tmp_path / "books.db"
    write_books(books, planned_keys(ledger, 2))
    assert_books_are_of(ledger, books)
    write_books(tmp_path / "more.db", ["cb1.gold-tier.unknown"])
    with pytest.raises(BooksOfAnotherLedgerError):
        assert_books_are_of(ledger, tmp_path / "more.db")


@pytest.mark.parametrize("keys", [None, [], ["of another integration"]], ids=["no books", "empty", "not ours"])
def test_books_without_requests_of_ours_suit_every_ledger(keys: list[str] | None, tmp_path: Path) -> None:
    if keys is not None:
        write_books(tmp_path / "books.db", keys)
    assert_books_are_of(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "books.db")


def test_a_ledger_that_cannot_be_reached_is_left_to_who_migrates_it(tmp_path: Path) -> None:
    write_books(tmp_path / "books.db", ["cb1.gold-tier.unknown"])
    assert_books_are_of("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1", tmp_path / "books.db")


@pytest.fixture
def own_environment() -> Iterator[None]:
    """The command takes over the environment of Airflow's processes: the next test must not find it."""
    before = dict(os.environ)
    for name in (PLATFORM, WAREHOUSE, LEDGER):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("command", ["run", "up"])
def test_it_is_said_before_anything_starts(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.remember_sandbox_port(free_port())
    write_books(home.sandbox_books, ["cb1.gold-tier.unknown"])
    monkeypatch.setattr(Processes, "start", lambda *_, **__: pytest.fail("something was started"))
    monkeypatch.setenv(LEDGER, sqlite_connection(tmp_path / "own.db"))
    assert main([command, "--port", str(free_port())], home=home) == 3
    said = capsys.readouterr().err
    assert "hold requests of another ledger" in said
    assert "`make clean`" in said
    assert not home.processes.exists()
