"""A backup of a test's ledger that can be put back, so that the numbers given since are given once more."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from capillary.ledger.database import Ledger
from capillary.ledger.schema import metadata

_NUMBERED = ("badge_occasion", "badge_spec", "badge_run", "badge_request")


@dataclass
class Backup:
    """The ledger as it was: the file on SQLite, rows and sequences on PostgreSQL."""

    ledger: Ledger
    rows: dict[str, list[dict[str, Any]]]
    numbers: dict[str, tuple[int, bool]]

    def put_back(self) -> None:
        """Bring the ledger to what it was; whoever holds it open continues with it."""
        if self.ledger.url.get_backend_name() == "sqlite":
            _copy(_backup_of(self.ledger), Path(str(self.ledger.url.database)), self.ledger)
            return
        with self.ledger.write() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.conn.execute(table.delete())
            for table in metadata.sorted_tables:
                if self.rows[table.name]:
                    tx.conn.execute(insert(table), self.rows[table.name])
            for name, (last, is_called) in self.numbers.items():
                statement = "SELECT setval(pg_get_serial_sequence(:name, 'id'), :last, :is_called)"
                tx.conn.execute(text(statement), {"name": name, "last": last, "is_called": is_called})


def back_up(ledger: Ledger) -> Backup:
    """Take a backup of the ledger as it is."""
    if ledger.url.get_backend_name() == "sqlite":
        _copy(Path(str(ledger.url.database)), _backup_of(ledger), ledger)
        return Backup(ledger, {}, {})
    with ledger.read() as tx:
        rows = {
            table.name: [dict(row) for row in tx.conn.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
        numbers = {}
        for name in _NUMBERED:
            sequence = tx.conn.execute(text(f"SELECT pg_get_serial_sequence('{name}', 'id')")).scalar_one()
            last, is_called = tx.conn.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608 - its own name
            numbers[name] = (last, is_called)
    return Backup(ledger, rows, numbers)


def restart_numbers(ledger: Ledger) -> None:
    """Let the rows of a ledger without any begin at number 1 again."""
    if ledger.url.get_backend_name() == "sqlite":
        return  # a file of its own
    with ledger.write() as tx:
        for name in _NUMBERED:
            tx.conn.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), 1, false)"), {"name": name})


def _backup_of(ledger: Ledger) -> Path:
    return Path(f"{ledger.url.database}.backup")


def _copy(source: Path, target: Path, ledger: Ledger) -> None:
    ledger.engine.dispose()  # the last connection that closes empties the file's -wal into it
    shutil.copyfile(source, target)
