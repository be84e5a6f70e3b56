"""Which version of the ledger's schema the code needs, and which one a database has.

Without Alembic: every task asks this, and importing Alembic costs it 0.2 s.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, String, column, inspect, select, table

from capillary.ledger.errors import LedgerMissing, LedgerRefused, SchemaBehind, SchemaDiffers
from capillary.ledger.opening import place_of

#: Every revision of `migrations/versions`, oldest first. The code needs the last one.
REVISIONS: Final = ("0001f", "0002", "0003")
#: Revisions of before the first release. Nothing migrates from them.
RETIRED: Final = frozenset({"0001", "0001b", "0001c", "0001d", "0001e"})
#: Its own table, so that the ledger may share a database with Airflow.
VERSION_TABLE: Final = "badge_ledger_version"
UPGRADE_COMMAND: Final = "python -m capillary ledger upgrade"


def current_revision(conn: Connection) -> str | None:
    """Return the revision the database is at, or None when it has no ledger.

    Raises:
        LedgerRefused: it is at several: a dump of another version was restored into a ledger.
    """
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    revisions = conn.execute(select(column("version_num", String)).select_from(table(VERSION_TABLE))).scalars().all()
    if len(revisions) > 1:
        raise LedgerRefused(
            f"the ledger's table {VERSION_TABLE} names several revisions ({', '.join(sorted(revisions))}): a backup of "
            "another version was restored into a ledger that was there. Restore it into an empty database, or with "
            "pg_restore --clean --if-exists --single-transaction, and migrate that"
        )
    return revisions[0] if revisions else None


def assert_schema_current(conn: Connection) -> None:
    """Refuse to work on a schema that is not the code's.

    Raises:
        LedgerMissing: there are no tables.
        SchemaBehind: they are from before the first release.
        SchemaDiffers: they are of another version. In an update workers and ledger change one after the other, and
            what waits for days must not fail for it.
    """
    current, needed = current_revision(conn), REVISIONS[-1]
    if current == needed:
        return
    if current is None:
        raise ledger_missing(conn)
    assert_known(current)
    raise SchemaDiffers(
        f"the ledger's schema is at revision {current}, the code needs {needed}; migrate with: {UPGRADE_COMMAND}, or "
        "wait for badge_upkeep, which does it"
    )


def ledger_missing(conn: Connection) -> LedgerMissing:
    """Return what to raise where a database has no ledger."""
    return LedgerMissing(f"the database at {place_of(conn.engine.url)} has no tables of a ledger")


def assert_known(revision: str) -> None:
    """Refuse a schema that this code cannot migrate: a newer version made it, or one from before the first release.

    Raises:
        SchemaBehind: it is from before the first release.
        SchemaDiffers: a newer version made it.
    """
    if revision in RETIRED:
        raise SchemaBehind(
            f"the ledger's schema is at revision {revision}, from before the first release, and nothing migrates it to "
            f"{REVISIONS[-1]}: keep this database for its records, and give connection badge_ledger a new, empty one"
        )
    if revision not in REVISIONS:
        raise SchemaDiffers(
            f"the ledger's schema is at revision {revision}, which this code does not know (it needs "
            f"{REVISIONS[-1]}): the ledger was migrated by a newer version; update the installed package"
        )
