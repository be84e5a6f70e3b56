"""`python -m capillary ledger copy`: the ledger moves from a SQLite file into PostgreSQL."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from sqlalchemy import URL

from capillary.counted import counted
from capillary.ledger.database import Ledger, ledger_url
from capillary.ledger.errors import CopyRefused
from capillary.ledger.move import Copied, copy_ledger, migrate_if_cut_off
from capillary.ledger.stops import in_force


def add_arguments(ledger: argparse.ArgumentParser) -> None:
    """Add the arguments that say where to."""
    ledger.add_argument("--to-conn-id", metavar="ID", help="copy: Airflow connection of the new ledger in PostgreSQL")
    ledger.add_argument("--to-url", metavar="URL", help="copy: its SQLAlchemy URL, in place of --to-conn-id")


def run(url: str | URL, arguments: argparse.Namespace, url_of: Callable[[str], str | URL]) -> tuple[str, bool]:
    """Copy the ledger, and say what was done and what follows.

    Args:
        url: the old ledger's database.
        arguments: of `add_arguments`.
        url_of: looks an Airflow connection up.

    Raises:
        CopyRefused: see :func:`capillary.ledger.move.copy_ledger`.
        LedgerMoved, LedgerMissing, LedgerRefused, LedgerUnavailable, SchemaBehind, SchemaDiffers: same.
    """
    if (arguments.to_conn_id is None) == (arguments.to_url is None):
        return "copy needs --to-conn-id ID or --to-url URL: the new ledger, in PostgreSQL", False
    to = ledger_url(arguments.to_url or url_of(arguments.to_conn_id))
    if ledger_url(url).get_backend_name() != "sqlite" or to.get_backend_name() != "postgresql":
        raise CopyRefused(
            "it copies from a SQLite file into PostgreSQL only. PostgreSQL is copied by pg_dump and pg_restore, a "
            "SQLite file by sqlite3's .backup"
        )
    with Ledger(url, check_schema=False, though_moved=True) as source:
        migrate_if_cut_off(source)
    with Ledger(url, though_moved=True) as source, Ledger(to, new=True) as target:
        copied = copy_ledger(source, target)
    with Ledger(to) as ledger, ledger.read() as tx:
        is_stopped = bool(in_force(tx))
    return _said(copied, is_stopped=is_stopped), True


def _said(copied: Copied, *, is_stopped: bool) -> str:
    held = ", ".join(f"{name} {rows}" for name, rows in copied.rows.items() if rows) or "no rows"
    rows = counted(sum(copied.rows.values()), "row")
    begin = (
        f"an earlier copy to {copied.place} is whole; nothing was left to do: {rows} ({held})"
        if copied.before
        else f"copied to {copied.place}: {rows} ({held}); every row keeps its rules"
    )
    stop = " Sending is stopped there, as it was here." if is_stopped else ""
    log = (
        " Somebody reads the old file, and its mark is for now in the file beside it that ends in -wal: a plain copy "
        "(cp) without that would be taken for a ledger. End who has it open and run the same command again, before you "
        "copy the file."
        if copied.is_mark_in_log
        else ""
    )
    return (
        f"{begin}. The old file is refused from now on: change connection badge_ledger to the new database.{stop}{log}"
    )
