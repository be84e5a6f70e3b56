"""Commands of the package: ``python -m capillary ledger upgrade|check|import``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import URL

from capillary.errors import CapillaryError
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import upgrade
from capillary.ledger.revision import current_revision
from capillary.ledger.server import untold

LEDGER_CONN_ID = "badge_ledger"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        0, or 1 after a sentence on standard error. ``check`` says 1 where the schema is not the code's, ``import``
        where something of ours on the platform is still unknown.
    """
    arguments = _parser().parse_args(argv)
    try:
        url = arguments.url or _url_of_connection(arguments.conn_id)
        if arguments.command == "import":
            said, done = _import(url, arguments)
        else:
            said, done = (_upgrade(url) if arguments.command == "upgrade" else _check(url)), True
    except CapillaryError as error:
        sys.stderr.write(f"ledger: {error}\n")
        return 1
    (sys.stdout if done else sys.stderr).write(f"ledger: {said}\n")
    return 0 if done else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m capillary", description="Commands of capillary.")
    rooms = parser.add_subparsers(dest="room", required=True)
    ledger = rooms.add_parser("ledger", help="the ledger's tables, and what the platform knows of them")
    ledger.add_argument(
        "command",
        choices=["upgrade", "check", "import"],
        help="upgrade: migrate; check: only tell; import: write back what the platform holds and the ledger forgot",
    )
    ledger.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
    ledger.add_argument("--conn-id", default=LEDGER_CONN_ID, help="Airflow connection (default: %(default)s)")
    ledger.add_argument(
        "--capillary-conn-id", default="capillary", help="import: the platform's connection (default: %(default)s)"
    )
    ledger.add_argument(
        "--since",
        type=date.fromisoformat,
        default=datetime.now(UTC).date() - timedelta(days=30),
        help="import: first day of the list, as 2026-11-01 (default: 30 days ago)",
    )
    ledger.add_argument("--dags", type=Path, help="import: folder of the campaigns that planned the requests")
    return parser


def _upgrade(url: str | URL) -> str:
    with Ledger(url, check_schema=False) as ledger:
        before, after = upgrade(ledger.engine)
    return f"already at {after}" if before == after else f"migrated from {before or 'nothing'} to {after}"


def _check(url: str | URL) -> str:
    with Ledger(url) as ledger, ledger.read() as tx:
        refused = " and ".join(untold(tx))
        said = f"at {current_revision(tx.conn)}, as the code needs it"
    if not refused:
        return said
    return (
        f"{said}; the server does not tell {refused}: a failover or a restore may pass unseen, so let nothing be "
        "submitted after one for post_timeout_s + visibility_lag_s (16 minutes by default)"
    )


def _import(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    _without_examples()
    from capillary.ledger_import import import_from_platform  # noqa: PLC0415 - Airflow costs seconds

    with Ledger(url) as ledger:
        imported = import_from_platform(
            ledger,
            capillary_conn_id=arguments.capillary_conn_id,
            since=arguments.since,
            dags_folder=arguments.dags,
        )
    said = f"{imported.requests} requests with {imported.customers} customers imported"
    if imported.is_complete:
        return f"{said}; it knows all that the platform's list shows of ours, and submitting may go on", True
    left = [
        *(f"{key} cannot be told: give --dags with its campaign as it was, and --since" for key in imported.unproven),
        *(
            f"{key} holds customers of another request of its occasion: have the checker reject one of the two"
            for key in imported.clashing
        ),
        *(
            f"{each} shows neither a key nor customers: if it is none of ours, give --since a day after it"
            for each in imported.hidden
        ),
        *([] if imported.whole else ["the platform's list could not be read to its end: try again"]),
    ]
    return "\n  ".join([f"{said}; submitting stays stopped:", *left]), False


def _url_of_connection(conn_id: str) -> str | URL:
    _without_examples()
    from capillary.hooks import ledger_url_of  # noqa: PLC0415 - Airflow costs seconds and --url needs none of it

    url: str | URL = ledger_url_of(conn_id)
    return url


def _without_examples() -> None:
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")


if __name__ == "__main__":
    sys.exit(main())
