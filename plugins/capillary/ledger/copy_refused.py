"""Why a ledger is not copied into a database: its copy is elsewhere or was whole, or a ledger stands there."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table, func, select

from capillary.ledger.copy_target import Found, is_dropped
from capillary.ledger.errors import CopyRefused
from capillary.ledger.moved import Moved, Target


def rows_of(conn: Connection, table: Table) -> int:
    """Return how many rows a table has."""
    found: int = conn.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def assert_not_elsewhere(mark: Moved | None, here: Target, new: Connection, found: Found) -> None:
    """Refuse a file whose copy is whole, or may be whole in another place.

    Raises:
        CopyRefused: naming the place.
    """
    if mark is None:
        return
    when = f"{mark.moved_at:%Y-%m-%d %H:%M} UTC"
    if mark.confirmed:
        seen = "the ledger here is not that copy, or has changed since" if found.names else "there is no ledger here"
        raise CopyRefused(
            f"this ledger was copied whole to {mark.place} on {when}, and {seen}. The file is stale and is not copied "
            "again: what was sent and stopped since is not in it. If the copy was lost, restore its backup "
            "(docs/ledger.md, Backup and restore)"
        )
    if mark.target != here and not is_dropped(mark.target, here, new):
        raise CopyRefused(
            f"this ledger was moved to {mark.place} on {when} (server {mark.target.server}, database "
            f"{mark.target.database_oid}, schema {mark.target.schema_oid}), and may be moved there only; this "
            f"is server {here.server}, database {here.database_oid}, schema {here.schema_oid}. Give that database; if "
            "it is gone and nothing ever ran there, take the mark off (docs/ledger.md, The way back)"
        )


def assert_no_ledger(new: Connection, mark: Moved | None, found: Found, place: str, tables: Iterable[Table]) -> None:
    """Refuse a database with tables of a ledger: after a cut they would stand there, empty, for anybody to use.

    Raises:
        CopyRefused: naming them, and the statement that drops them where nothing is lost by it.
    """
    if not found.names:
        return
    filled = [table.name for table in tables if table.name in found.names and rows_of(new, table)]
    if not filled:
        remedy = f"while no task uses them, as their owner: {found.drop}" if found.drop else "drop or rename them"
        raise CopyRefused(
            f"the database at {place} has tables of a ledger, without rows ({', '.join(sorted(found.names))}): if the "
            f"copy is cut off, tasks take them for the ledger. The copy makes its own; {remedy}. Then run the same "
            "command"
        )
    if mark is None:
        raise CopyRefused(
            f"the ledger at {place} is not empty ({', '.join(filled)}), and two ledgers cannot be joined: give an "
            "empty database"
        )
    raise CopyRefused(
        f"the move to {place} was interrupted, and the ledger there is not empty ({', '.join(filled)}) and not what "
        "the file holds: somebody made it since, or used it. Stop every task, note what is stopped (python -m "
        f"capillary stopped), keep a dump, and drop it: {found.drop}. Run the same command, stop again what was "
        "stopped, and bring back what it had sent: python -m capillary ledger import"
    )
