"""A ledger to test on, once on SQLite and once on PostgreSQL, with a clock that the test sets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import metadata
from tests.postgresql import ServerMissing, running_server

BACKENDS = ["sqlite", "postgresql"]
EmptyDatabase = Callable[[str], URL]


class Clock:
    """The ledger's clock: stands still until the test moves it.

    Attributes:
        now: aware UTC; may be set.
    """

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Move the clock on."""
        self.now += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def migrated(url: URL) -> URL:
    """Return ``url`` once its database has the ledger's tables."""
    with Ledger(url, new=True) as ledger:
        create(ledger.engine)
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """A PostgreSQL server of this test session; the test is skipped where none can be started."""
    try:
        with running_server() as server:
            yield server.url
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def empty_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmptyDatabase:
    """Makes a new, empty database of the backend it is given."""
    numbers = count()

    def make(backend: str) -> URL:
        number = next(numbers)
        if backend == "sqlite":
            return URL.create("sqlite", database=str(tmp_path_factory.mktemp("empty") / "ledger.db"))
        server: URL = request.getfixturevalue("postgresql_server")
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            conn.execute(text(f"CREATE DATABASE empty_{number}"))
        engine.dispose()
        return server.set(database=f"empty_{number}")

    return make


@pytest.fixture(scope="session")
def _migrated_sqlite(empty_database: EmptyDatabase) -> URL:
    return migrated(empty_database("sqlite"))


@pytest.fixture(scope="session")
def _migrated_postgresql(empty_database: EmptyDatabase) -> URL:
    return migrated(empty_database("postgresql"))


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, empty_database: EmptyDatabase) -> URL:
    """An empty database, before any migration."""
    backend: str = request.param
    return empty_database(backend)


@pytest.fixture(params=BACKENDS)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """A ledger without rows, at the newest revision."""
    if request.param == "sqlite":
        template: URL = request.getfixturevalue("_migrated_sqlite")
        assert template.database is not None
        return URL.create("sqlite", database=str(shutil.copy(template.database, tmp_path / "ledger.db")))
    url: URL = request.getfixturevalue("_migrated_postgresql")
    engine = create_engine(url)
    with engine.begin() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())  # of few rows faster than TRUNCATE
    engine.dispose()
    return url


@pytest.fixture
def ledger(ledger_url: URL, clock: Clock) -> Iterator[Ledger]:
    """A ledger without rows on each of the two databases; its time is ``clock``'s."""
    with Ledger(ledger_url, clock=clock) as ledger:
        yield ledger
