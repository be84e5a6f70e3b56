"""Commands of the package, ``python -m capillary …``.

``check`` before a run; ``attention``, ``failed``, ``waiting``, ``customer`` and ``runs`` to look; ``stop``, ``resume``
and ``stopped`` in an emergency; ``ledger`` to make and to look after one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import URL

from capillary.api.outside_text import on_one_line, shell_word
from capillary.commands import check as check_command
from capillary.commands import ledger_copy as copy_command
from capillary.commands import questions as question_command
from capillary.commands import stop as stop_command
from capillary.counted import counted
from capillary.errors import CapillaryError
from capillary.ledger.check import faults
from capillary.ledger.database import Ledger
from capillary.ledger.erase import erase
from capillary.ledger.migrate import upgrade
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.revision import current_revision
from capillary.ledger.server import untold

LEDGER_CONN_ID = "badge_ledger"
#: What a shell says of a command that SIGPIPE ended.
_BROKEN_PIPE = 141
#: What brings an import further that had to leave tasks out.
_HOW_TO_TRY = (
    "if one of the tasks that were not tried planned a request named above: add a file to the folder, with a DAG whose "
    "PlanBadgesOperator has the values of that run as plain text (the task's Rendered Templates show them), and import "
    "again"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; default: those of the process.

    Returns:
        0, or 1 after a sentence on standard error. ``ledger check`` says 1 where the schema is not the code's or, with
        ``--deep``, a rule is broken, ``import`` where something of ours on the platform is still unknown, ``erase``
        where nothing was erased.
    """
    arguments = _parser().parse_args(argv)
    try:
        if arguments.room == check_command.COMMAND:
            _without_examples()
            return _printed(lambda: check_command.run(arguments))
        url = arguments.url or _url_of_connection(arguments.conn_id)
        if arguments.room in question_command.COMMANDS:
            return _printed(lambda: question_command.run(url, arguments))
        if arguments.room in stop_command.COMMANDS:
            said, done = stop_command.run(url, arguments)
        else:
            said, done = _of_ledger(url, arguments)
    except CapillaryError as error:
        sys.stderr.write(f"{stop_command.failed(arguments.room, str(error))}\n")
        return 1
    except DATABASE_ERRORS as error:
        sys.stderr.write(f"{stop_command.failed(arguments.room, str(broke_off(error)))}\n")
        return 1
    (sys.stdout if done else sys.stderr).write(f"{arguments.room}: {said}\n")
    return 0 if done else 1


def _of_ledger(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    match arguments.command:
        case "import":
            return (_not_ours if arguments.not_ours else _import)(url, arguments)
        case "create":
            return _create(url, arguments), True
        case "copy":
            return copy_command.run(url, arguments, _url_of_connection)
        case "check":
            return _check(url, deep=arguments.deep)
        case "erase":
            return _erase(url, arguments.customer, arguments.account)
    return _upgrade(url), True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m capillary", description="Commands of capillary.")
    rooms = parser.add_subparsers(dest="room", required=True)
    ledger = rooms.add_parser("ledger", help="the ledger's tables, and what the platform knows of them")
    ledger.add_argument(
        "command",
        choices=["create", "upgrade", "check", "import", "erase", "copy"],
        help="create: make the tables of a new ledger; upgrade: migrate a ledger; check: only tell; import: write back "
        "what the platform holds and the ledger forgot; erase: take one customer out; copy: move a ledger from SQLite "
        "into PostgreSQL",
    )
    ledger.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
    ledger.add_argument("--conn-id", default=LEDGER_CONN_ID, help="Airflow connection (default: %(default)s)")
    ledger.add_argument(
        "--capillary-conn-id", default="capillary", help="import: the platform's connection (default: %(default)s)"
    )
    ledger.add_argument(
        "--since",
        type=_past_day,
        help="import: first day of the list, as 2026-11-01; you confirm that no request of ours is older "
        "(default: 30 days ago, nothing confirmed)",
    )
    ledger.add_argument("--deep", action="store_true", help="check: hold every row against the ledger's rules, too")
    ledger.add_argument(
        "--customer", type=question_command.customer_id, metavar="ID", help="erase: the platform's id of the customer"
    )
    ledger.add_argument("--account", help="erase: whose customer, where several accounts know the id")
    copy_command.add_arguments(ledger)
    ledger.add_argument("--dags", type=Path, help="import: folder of the campaigns that planned the requests")
    ledger.add_argument(
        "--not-ours",
        action="append",
        metavar="KEY",
        help="import: you confirm that the request with this key, or with the platform request id that a "
        "doubt names, is somebody else's; may be repeated",
    )
    ledger.add_argument(
        "--new-organisation",
        action="store_true",
        help="create: you confirm that the platform of --capillary-conn-id has no request of ours: its list "
        "is not read back",
    )
    stop_command.add_commands(rooms)
    question_command.add_commands(rooms)
    check_command.add_command(rooms)
    return parser


def _printed(answer: Callable[[], int]) -> int:
    """Return the exit code of a command that prints its answer, which nobody need read to its end."""
    try:
        code = answer()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is not written at the exit
        return _BROKEN_PIPE
    return code


def _create(url: str | URL, arguments: argparse.Namespace) -> str:
    from capillary.commands.ledger import create_ledger  # noqa: PLC0415 - a check needs none of it

    _without_examples()
    return create_ledger(url, new_organisation_of=arguments.capillary_conn_id if arguments.new_organisation else None)


def _not_ours(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    from capillary.commands.ledger import note_not_ours  # noqa: PLC0415 - a check needs none of it

    _without_examples()
    with Ledger(url) as ledger:
        return note_not_ours(ledger, arguments.not_ours, capillary_conn_id=arguments.capillary_conn_id), True


def _upgrade(url: str | URL) -> str:
    with Ledger(url, check_schema=False) as ledger:
        before, after = upgrade(ledger.engine)
    return f"already at {after}" if before == after else f"migrated from {before} to {after}"


def _check(url: str | URL, *, deep: bool) -> tuple[str, bool]:
    with Ledger(url) as ledger, ledger.read() as tx:
        at = f"at {current_revision(tx.conn)}, as the code needs it"
        refused = " and ".join(untold(tx))
        found = faults(tx) if deep else ()
    if found:
        return "\n  ".join([f"{at}; its rows break its rules. Keep everything, and report:", *found]), False
    if refused:
        at = (
            f"{at}; the server does not tell {refused}, so a failover or a restore may go unnoticed. After one, submit "
            "nothing for post_timeout_s + visibility_lag_s (16 minutes by default)"
        )
    return (f"{at}; every row keeps its rules" if deep else at), True


def _past_day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a day as 2026-11-01") from None
    if day > datetime.now(UTC).date() + timedelta(days=1):  # somewhere it is tomorrow
        raise argparse.ArgumentTypeError(f"{day} is in the future: give the first day on which there can be a request")
    return day


def _erase(url: str | URL, customer_id: int | None, account: str | None) -> tuple[str, bool]:
    if customer_id is None:
        return "erase needs --customer ID, the platform's id of the customer", False
    with Ledger(url) as ledger, ledger.write() as tx:
        erased = erase(tx, customer_id, account=account)
    if not erased.enrolments:
        return "the ledger has no row of this customer; nothing was erased", False
    on = counted(erased.occasions, "occasion")
    return f"{counted(erased.enrolments, 'row')} of the customer erased, on {on}; the counts stay", True


def _import(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    _without_examples()
    from capillary.commands.import_requests import import_from_platform  # noqa: PLC0415 - Airflow costs seconds

    with Ledger(url) as ledger:
        imported, untold = import_from_platform(
            ledger,
            capillary_conn_id=arguments.capillary_conn_id,
            since=arguments.since or datetime.now(UTC).date() - timedelta(days=30),
            nothing_is_older=arguments.since is not None,
            dags_folder=arguments.dags,
        )
    said = f"{counted(imported.requests, 'request')} with {counted(imported.customers, 'customer')} imported"
    if imported.found:
        said += f", {imported.found} of this ledger found without their key"
    not_tried = [f"not tried: {each}" for each in untold]
    if imported.is_complete and not imported.of_other_users:
        return "\n  ".join([f"{said}; {_what_follows(arguments.since)}", *not_tried]), True
    left = [
        *(
            f"{on_one_line(key)} cannot be recognised: give --dags with its campaign as it was, and --since; if the "
            "platform's address or organisation id was written otherwise then, write the former address into the "
            "connection's field Account address"
            for key in imported.unproven
        ),
        *(
            f"{on_one_line(key)} is in this ledger under account {account!r}: write "
            f"{account.rpartition('/')[0]!r} into the connection's field Account address. If it is another system, "
            "give it a ledger of its own"
            for key, account in imported.elsewhere
        ),
        *(
            f"{on_one_line(key)} holds customers of another request of its occasion: have the checker reject one of "
            "the two"
            for key in imported.clashing
        ),
        *(
            f"{on_one_line(each)} shows neither a key nor customers: if it is not ours, give --not-ours with it"
            for each in imported.hidden
        ),
        *(
            f"{on_one_line(each)} shows no key, and customers of this ledger who are not known to have the badge: look "
            "at it on the checker's page. If it is one of ours, have it rejected; if it is somebody else's, say so: "
            f"python -m capillary ledger import --not-ours {shell_word(each)}"
            for each in imported.keyless
        ),
        *(
            f"{on_one_line(each.key)} was shown to another credential user (sender {each.sender}): import with the "
            "connection of that user, too; or, if the request is rejected and that user is gone, give --not-ours with "
            "the key"
            for each in imported.of_other_users
        ),
        *(
            f"{on_one_line(key)} was on the list before, and does not show in these days: give an earlier --since. "
            f"If the platform no longer has it, or it is somebody else's, say so: python -m capillary ledger import "
            f"--not-ours {shell_word(key)}"
            for key in imported.not_shown
        ),
        *([] if imported.whole else ["the platform's list could not be read to its end: try again"]),
        *not_tried,
        *([_HOW_TO_TRY] if untold else []),
    ]
    return "\n  ".join([f"{said}; submitting stays stopped:", *left]), False


def _what_follows(since: date | None) -> str:
    if since is None:
        return (
            "it knows everything of ours that the platform's list shows for 30 days. The next submit reads the days "
            "before, if they were not read; give --since to say that nothing of ours is older"
        )
    return f"it knows everything of ours that the platform's list shows since {since}, and submitting may continue"


def _url_of_connection(conn_id: str) -> str | URL:
    _without_examples()
    # Airflow costs seconds and --url needs none of it.
    from capillary.connections.errors import ConnectionMissing, ConnectionsUnreadable  # noqa: PLC0415
    from capillary.hooks import ledger_url_of  # noqa: PLC0415

    try:
        url: str | URL = ledger_url_of(conn_id)
    except (ConnectionMissing, ConnectionsUnreadable) as error:
        # Beside an Airflow of another environment, such as that of `make up`, no connection leads to its ledger.
        error.args = (f"{error} Or name the ledger itself by --url.",)
        raise
    return url


def _without_examples() -> None:
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")


# Airflow imports what lies in its plugins folder by the stem of the file, this one as `__main__` without a package.
if __name__ == "__main__" and __package__:
    sys.exit(main())
