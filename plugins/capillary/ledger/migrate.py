"""Make the ledger's tables, or bring them up to date. Alembic does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from capillary.ledger.database import Transaction
from capillary.ledger.opening import explained
from capillary.ledger.revision import REVISIONS, assert_known, current_revision, ledger_missing
from capillary.ledger.server import note_first
from capillary.ledger.soundness import assert_may_create, assert_owns

# Any number will do, as long as two upgrades use the same.
_ADVISORY_LOCK = 0x63617031

# Alembic's `context` and `op` are one per process: threads must take turns.
_ALEMBIC = Lock()


def create(engine: Engine) -> tuple[bool, str]:
    """Make the ledger's tables where there are none; a second call at the same time waits for the first.

    A ledger that stands there is left as it is, one of an older version too.

    Returns:
        Whether the tables were made, and the revision that stands there now.

    Raises:
        SchemaBehind: a ledger that this code does not know stands there.
    """
    with alone(engine) as conn:
        before = current_revision(conn)
        if before is not None:
            assert_known(before)
            return False, before
        return True, to_newest(conn)


def upgrade(engine: Engine) -> tuple[str, str]:
    """Migrate to the newest revision, in one transaction; a second upgrade at the same time waits for it.

    Returns:
        The revision before and the revision now.

    Raises:
        LedgerMissing: there is no ledger. An empty one in place of one that was lost would forget every customer.
        SchemaBehind, SchemaDiffers: the database is at a revision that this code does not know.
        LedgerRefused: the user does not own the tables, or may not make any.
        LedgerUnavailable: the connection to the database was lost.
    """
    with alone(engine) as conn:
        before = current_revision(conn)
        if before is None:
            raise ledger_missing(conn)
        assert_known(before)
        if before != REVISIONS[-1]:
            assert_owns(conn)
        return before, to_newest(conn)


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """One transaction that no other migration runs beside."""
    with explained(engine.url), engine.connect() as conn:
        conn.execution_options(ledger_write=True)
        with conn.begin():
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            yield conn


def to_newest(conn: Connection) -> str:
    """Make the tables or bring them to the newest revision, in the transaction of `alone`; return the revision."""
    if current_revision(conn) != REVISIONS[-1]:
        assert_may_create(conn)
    config = alembic_config()
    config.attributes["connection"] = conn
    with _ALEMBIC:
        command.upgrade(config, "head")
    note_first(Transaction(conn, datetime.now(UTC)))
    return REVISIONS[-1]


def alembic_config() -> Config:
    """Return what Alembic needs to find the migrations."""
    config = Config()
    migrations = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", migrations.replace("%", "%%"))  # % is configparser's own
    config.set_main_option("path_separator", "os")
    return config
