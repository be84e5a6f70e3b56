"""Commands of the package: ``python -m capillary ledger upgrade|check``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sqlalchemy import URL

from capillary.errors import CapillaryError
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.ledger.revision import current_revision

LEDGER_CONN_ID = "badge_ledger"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        0, or 1 after a sentence on standard error. ``check`` says 1 where the schema is not the code's.
    """
    arguments = _parser().parse_args(argv)
    try:
        url = arguments.url or _url_of_connection(arguments.conn_id)
        said = _upgrade(url) if arguments.command == "upgrade" else _check(url)
    except CapillaryError as error:
        sys.stderr.write(f"ledger: {error}\n")
        return 1
    sys.stdout.write(f"ledger: {said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m capillary", description="Commands of capillary.")
    rooms = parser.add_subparsers(dest="room", required=True)
    ledger = rooms.add_parser("ledger", help="the ledger's tables")
    ledger.add_argument("command", choices=["upgrade", "check"], help="upgrade: migrate; check: only tell")
    ledger.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
    ledger.add_argument("--conn-id", default=LEDGER_CONN_ID, help="Airflow connection (default: %(default)s)")
    return parser


def _upgrade(url: str | URL) -> str:
    with Ledger(url, check_schema=False) as ledger:
        before, after = upgrade(ledger.engine)
    return f"already at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"


def _check(url: str | URL) -> str:
    with Ledger(url) as ledger, ledger.read() as tx:
        return f"at {current_revision(tx.conn)}, as the code needs it"


def _url_of_connection(conn_id: str) -> str | URL:
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    from capillary.hooks import ledger_url_of  # noqa: PLC0415 - Airflow costs seconds and --url needs none of it

    url: str | URL = ledger_url_of(conn_id)
    return url


if __name__ == "__main__":
    sys.exit(main())
