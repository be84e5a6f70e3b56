"""Bring the ledger's schema up to date. Alembic does the work."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from capillary.ledger.database import Transaction
from capillary.ledger.opening import explained
from capillary.ledger.revision import REVISIONS, assert_known, current_revision
from capillary.ledger.server import note_first
from capillary.ledger.soundness import assert_may_create

# Any number will do, as long as two upgrades use the same.
_ADVISORY_LOCK = 0x63617031

# Alembic's `context` and `op` are one per process: threads must take turns.
_ALEMBIC = Lock()


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Migrate to the newest revision, in one transaction; a second upgrade at the same time waits for it.

    Returns:
        The revision before (None: the schema was empty) and the revision now.

    Raises:
        SchemaBehind, SchemaDiffers: the database is at a revision that this code does not know.
        LedgerRefused: the user may not make tables.
        LedgerUnavailable: the database broke off.
    """
    with explained(engine.url), engine.connect() as conn:
        conn.execution_options(ledger_write=True)
        with conn.begin():
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            before = current_revision(conn)
            if before is not None:
                assert_known(before)
            if before != REVISIONS[-1]:
                assert_may_create(conn)
            config = alembic_config()
            config.attributes["connection"] = conn
            with _ALEMBIC:
                command.upgrade(config, "head")
            note_first(Transaction(conn, datetime.now(UTC)))
            return before, REVISIONS[-1]


def alembic_config() -> Config:
    """Return what Alembic needs to find the migrations."""
    config = Config()
    migrations = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", migrations.replace("%", "%%"))  # % is configparser's own
    config.set_main_option("path_separator", "os")
    return config
