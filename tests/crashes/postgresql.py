"""An empty ledger on a PostgreSQL server."""

from __future__ import annotations

from sqlalchemy import URL, create_engine, inspect, text

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.schema import badge_run, metadata


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
        with Ledger(server, new=True) as ledger:
            create(ledger.engine)
    return server
