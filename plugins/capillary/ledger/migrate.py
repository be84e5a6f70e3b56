"""Bring the ledger's schema up to date, and tell when it is not. Alembic does the work.

The version is kept in ``badge_ledger_version``, so that the ledger may share a database with Airflow.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from capillary.ledger.errors import SchemaBehind

VERSION_TABLE = "badge_ledger_version"
UPGRADE_COMMAND = "python -m capillary ledger upgrade"

# Any number will do, as long as two upgrades use the same.
_ADVISORY_LOCK = 0x63617031

# Alembic's `context` and `op` are one per process: threads must take turns.
_ALEMBIC = Lock()


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Migrate to the newest revision, in one transaction; a second upgrade at the same time waits for it.

    Returns:
        The revision before (None: the schema was empty) and the revision now.

    Raises:
        SchemaBehind: the database is at a revision that this code does not know.
    """
    with engine.connect() as conn:
        conn.execution_options(ledger_write=True)
        with conn.begin():
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            before = current_revision(conn)
            if before is not None and before not in _known_revisions():
                raise _newer(before)
            config = _config()
            config.attributes["connection"] = conn
            with _ALEMBIC:
                command.upgrade(config, "head")
            return before, head_revision()


def current_revision(conn: Connection) -> str | None:
    """Return the revision the database is at, or None when it has no ledger."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    # Not Alembic's own reader: it announces itself in the log of every task.
    revision: str | None = conn.execute(
        select(column("version_num")).select_from(table(VERSION_TABLE))
    ).scalar_one_or_none()
    return revision


def head_revision() -> str:
    """Return the newest revision the code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaBehind("the installed package has no ledger migrations; install it again")
    return head


def assert_schema_current(conn: Connection) -> None:
    """Refuse to work on a schema that is not the code's.

    Raises:
        SchemaBehind: with the command that mends it.
    """
    current, head = current_revision(conn), head_revision()
    if current == head:
        return
    if current is None:
        raise SchemaBehind(f"the ledger has no tables yet; create them with: {UPGRADE_COMMAND}")
    if current in _known_revisions():
        raise SchemaBehind(
            f"the ledger's schema is at revision {current}, the code needs {head}; migrate with: {UPGRADE_COMMAND}"
        )
    raise _newer(current)


def _newer(current: str) -> SchemaBehind:
    return SchemaBehind(
        f"the ledger's schema is at revision {current}, which this code does not know (it needs "
        f"{head_revision()}): the ledger was migrated by a newer version; update the installed package"
    )


def _known_revisions() -> frozenset[str]:
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return frozenset(script.revision for script in scripts)


def _config() -> Config:
    config = Config()
    migrations = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", migrations.replace("%", "%%"))  # % is configparser's own
    config.set_main_option("path_separator", "os")
    return config
