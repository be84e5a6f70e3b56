"""The commands of the emergency stop: ``python -m capillary stop|resume|stopped``."""

from __future__ import annotations

import argparse
import getpass
import sys
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import URL

from capillary.errors import CapillaryError, TerminalError
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.stops import (
    WHOLE_ACCOUNT,
    Scope,
    await_claims,
    in_force,
    known,
    order_stop,
    resume,
    unfinished,
)

#: The first words of these commands.
COMMANDS: Final = ("stop", "resume", "stopped")
#: Longest reason, characters: it stands in every stopped task's log.
REASON_LENGTH: Final = 500


class StopRefused(TerminalError):
    """The command does not know what to stop or resume. Nothing was changed."""


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add them to the parser of ``python -m capillary``."""
    stop = commands.add_parser("stop", help="stop all sending, now, whatever the platform's connection says")
    _add_scope(stop)
    stop.add_argument("--reason", required=True, type=_text(REASON_LENGTH), help="why; stopped tasks say it")
    stop.add_argument("--by", type=_text(200), help="who; default: the login name of this machine's user")
    stop.add_argument(
        "--even-unknown", action="store_true", help="stop also what the ledger does not know yet, before its first run"
    )
    again = commands.add_parser("resume", help="release a stop; nothing is sent by this alone")
    _add_scope(again)
    again.add_argument("--by", type=_text(200), help="who; default: the login name of this machine's user")
    _add_ledger(commands.add_parser("stopped", help="list what is stopped, since when, by whom and why"))


def run(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    """Run one of the commands.

    Args:
        url: the ledger's.
        arguments: as parsed.

    Returns:
        What to say, and whether it was done.

    Raises:
        StopRefused: the account or the campaign is not known, or nobody said who asks.
        ConnectionMissing, SettingsInvalid: the platform's connection cannot be used to tell the account.
        LedgerRefused, SchemaBehind, LedgerUnavailable: the ledger cannot be used.
    """
    with Ledger(url) as ledger:
        if arguments.room == "stopped":
            return _in_force(ledger), True
        by = arguments.by or _login_name()
        scopes = _scopes(ledger, arguments)
        if arguments.room == "stop":
            return _stop(ledger, scopes, by, arguments.reason), True
        return _resume(ledger, scopes, by)


def _add_scope(parser: argparse.ArgumentParser) -> None:
    _add_ledger(parser)
    account = parser.add_mutually_exclusive_group()
    account.add_argument("--account", type=_text(255), help="the account, as the ledger writes it")
    account.add_argument(
        "--capillary-conn-id",
        default="capillary",
        help="or the platform's connection that leads to it (default: %(default)s)",
    )
    account.add_argument("--all", action="store_true", help="or every account that the ledger knows")
    parser.add_argument("--campaign", type=_text(200), help="one campaign; default: all of the account")


def _add_ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
    parser.add_argument("--conn-id", default="badge_ledger", help="Airflow connection (default: %(default)s)")


def _text(longest: int) -> Callable[[str], str]:
    def checked(value: str) -> str:
        words = unicodedata.normalize("NFC", value.strip())  # as campaigns' names are kept
        if not words or len(words) > longest or not words.isprintable():
            raise argparse.ArgumentTypeError(f"give 1 to {longest} printable characters in one line")
        return words

    return checked


def _login_name() -> str:
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):  # a container's user need have no name
        raise StopRefused("this machine's user has no name; say who you are with --by") from None


def _scopes(ledger: Ledger, arguments: argparse.Namespace) -> list[Scope]:
    """Return what the arguments name, and refuse what the ledger does not know: a typo must not look like a stop."""
    with ledger.read() as tx:
        campaigns = known(tx)
    campaign = arguments.campaign or WHOLE_ACCOUNT
    if arguments.all:
        scopes = [Scope(account, campaign) for account in campaigns if not campaign or campaign in campaigns[account]]
        if not scopes:
            what = f"no campaign {campaign!r}" if campaign else "no account yet"
            raise StopRefused(f"the ledger knows {what}; nothing was changed. {_known(campaigns)}")
        return scopes
    scope = Scope(arguments.account or _account_of(arguments.capillary_conn_id, campaigns), campaign)
    if scope.account not in campaigns:
        unknown = f"account {scope.account}"
    elif campaign and campaign not in campaigns[scope.account]:
        unknown = str(scope)
    else:
        return [scope]
    if not getattr(arguments, "even_unknown", False):
        or_so = "" if arguments.room == "resume" else ", or add --even-unknown to stop it before its first run"
        raise StopRefused(
            f"the ledger does not know {unknown}; nothing was changed. {_known(campaigns)}. Correct the name{or_so}"
        )
    return [scope]


def _account_of(conn_id: str, campaigns: Mapping[str, tuple[str, ...]]) -> str:
    from capillary.hooks import CapillaryHook  # noqa: PLC0415 - Airflow costs seconds, and --account needs none of it

    try:
        account: str = CapillaryHook(conn_id).get_settings().account
    except CapillaryError as error:
        raise StopRefused(f"{error} Or give --account or --all. {_known(campaigns)}") from None
    return account


def _known(campaigns: Mapping[str, tuple[str, ...]]) -> str:
    if not campaigns:
        return "The ledger knows no account"
    told = (f"{account} ({', '.join(names) or 'no campaign'})" for account, names in campaigns.items())
    return f"The ledger knows {'; '.join(told)}"


def _stop(ledger: Ledger, scopes: list[Scope], by: str, reason: str) -> str:
    for scope in scopes:
        stop = order_stop(ledger, scope, by=by, reason=reason)
        # Said at once: a claim that hangs may keep the rest waiting, and the stop holds already.
        sys.stdout.write(f"stop: stopped: {stop}\n")
    sys.stdout.write("stop: waiting for claims that are open; the stop holds, also if you end this command now\n")
    sys.stdout.flush()
    for scope in scopes:
        await_claims(ledger, scope)
    lines = ["no process claims another request of it"]
    with ledger.read() as tx:
        lines += [line for scope in scopes for line in _left(tx, scope)]
    resume_each = " and ".join(f"python -m capillary resume {scope.options}" for scope in scopes)
    lines.append(f"to go on: {resume_each}; it sends nothing by itself")
    return "\n  ".join(lines)


def _resume(ledger: Ledger, scopes: list[Scope], by: str) -> tuple[str, bool]:
    released = [(scope, resume(ledger, scope, by=by)) for scope in scopes]
    lines = [f"resumed: {stop}" if stop else f"{scope} was not stopped under this name" for scope, stop in released]
    with ledger.read() as tx:
        left = [stop for stop in in_force(tx) if any(_overlap(stop.scope, scope) for scope in scopes)]
    lines += [f"still stopped: {stop}" for stop in left]
    lines.append(
        "nothing is sent by this alone: runs that were stopped have ended, and their customers are planned by the next "
        "run of their campaign. Requests in doubt are sent again by the next wait, submit or badge_upkeep, once their "
        "absence is confirmed"
    )
    return "\n  ".join(lines), any(stop for _, stop in released)


def _in_force(ledger: Ledger) -> str:
    with ledger.read() as tx:
        stops = in_force(tx)
    return "\n  ".join(map(str, stops)) if stops else "nothing is stopped"


def _left(tx: Transaction, scope: Scope) -> list[str]:
    left = unfinished(tx, scope)
    return [
        f"requests of {scope}:",
        f"  {left.may_leave} claimed before and not answered yet: each may still leave for {START_WITHIN_S:.0f} s",
        f"  {left.in_doubt} in doubt: looked for on the platform, not sent again",
        f"  {left.waiting} with the checker: may still be approved, and are settled as ever",
        f"  {left.unsent} not sent: their runs give them back",
    ]


def _overlap(one: Scope, other: Scope) -> bool:
    return one.account == other.account and (one.campaign == other.campaign or not (one.campaign and other.campaign))
