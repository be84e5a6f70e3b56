"""The commands of the emergency stop: ``python -m capillary stop|resume|stopped``."""

from __future__ import annotations

import argparse
import getpass
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import URL

from capillary.api.account import account_named
from capillary.counted import counted
from capillary.errors import CapillaryError, TerminalError
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.opening import DATABASE_ERRORS, broke_off
from capillary.ledger.pace import START_WITHIN_S
from capillary.ledger.stops import (
    WHOLE_ACCOUNT,
    Scope,
    Stop,
    await_claims,
    connections_of,
    end_of,
    in_force,
    known,
    noted,
    order_stop,
    resume,
    unfinished,
)

#: The first words of these commands.
COMMANDS: Final = ("stop", "resume", "stopped")
#: The ledger's connection, where none is named, and the platform's that goes with it.
LEDGER_CONN_ID: Final = "badge_ledger"
PLATFORM_CONN_ID: Final = "capillary"
#: How the message of a failed `stop` ends.
NOTHING_STOPPED: Final = "nothing was stopped by this command"
#: Longest reason, characters: it stands in every stopped task's log.
REASON_LENGTH: Final = 500


class StopRefused(TerminalError):
    """The command does not know what to stop or resume. Nothing was stopped or resumed."""


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add them to the parser of ``python -m capillary``."""
    stop = commands.add_parser("stop", help="stop all sending now, whatever the platform's connection says")
    _add_scope(stop)
    stop.add_argument("--reason", required=True, type=line_of(REASON_LENGTH), help="why; stopped tasks say it")
    stop.add_argument("--by", type=line_of(200), help="who; default: the login name of this machine's user")
    stop.add_argument(
        "--even-unknown", action="store_true", help="stop also what the ledger does not know yet, before its first run"
    )
    again = commands.add_parser("resume", help="release a stop; this alone sends nothing")
    _add_scope(again)
    again.add_argument("--by", type=line_of(200), help="who; default: the login name of this machine's user")
    _add_ledger(commands.add_parser("stopped", help="list what is stopped, since when, who did it and why"))


def run(url: str | URL, arguments: argparse.Namespace) -> tuple[str, bool]:
    """Run one of the commands.

    Args:
        url: the ledger's.
        arguments: as parsed.

    Returns:
        What to say, and whether it was done.

    Raises:
        StopRefused: the account or the campaign is not known, or nobody said who asks.
        LedgerRefused, SchemaBehind, LedgerUnavailable: the ledger cannot be used.
    """
    with Ledger(url, stops_only=True) as ledger:
        if arguments.room == "stopped":
            return _in_force(ledger), True
        by = arguments.by or _login_name()
        if arguments.room == "stop":
            return _stop(ledger, arguments, by)
        return _resume(ledger, _to_resume(ledger, arguments), by)


def failed(room: str, why: str) -> str:
    """Return the message of a command that failed before it changed anything."""
    return f"{room}: {why.rstrip('.')}; {NOTHING_STOPPED}" if room == "stop" else f"{room}: {why}"


def _add_scope(parser: argparse.ArgumentParser) -> None:
    _add_ledger(parser)
    account = parser.add_mutually_exclusive_group()
    account.add_argument("--account", type=line_of(255), help="one account, written as host/organisation")
    account.add_argument(
        "--capillary-conn-id",
        type=line_of(250),
        help="or the account of this platform's connection "
        f"(with --campaign: {PLATFORM_CONN_ID}, or the one by which another ledger's runs were planned)",
    )
    account.add_argument("--all", action="store_true", help="or every account; stop's default where nothing is named")
    parser.add_argument("--campaign", type=line_of(200), help="one campaign; default: all of the account")


def _add_ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
    parser.add_argument(
        "--conn-id", default=LEDGER_CONN_ID, help="Airflow connection of the ledger (default: %(default)s)"
    )


def line_of(longest: int) -> Callable[[str], str]:
    """Return what checks an argument: one line of 1 to `longest` printable characters."""

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


@dataclass(frozen=True, slots=True)
class _Named:
    """What the arguments of a stop name.

    Attributes:
        scopes: what to stop.
        others: accounts that the ledger knows and that stay unstopped, each with its campaigns.
        conn_ids: the platform's connections whose accounts are meant, too.
    """

    scopes: tuple[Scope, ...]
    others: Mapping[str, tuple[str, ...]]
    conn_ids: tuple[str, ...] = ()


def _named(ledger: Ledger, arguments: argparse.Namespace) -> _Named:
    """Return what to stop, and refuse what the ledger does not know: a typing error must not look like a stop."""
    campaigns, whole = _campaigns(ledger)
    campaign = arguments.campaign or WHOLE_ACCOUNT
    even_unknown = arguments.even_unknown or not whole
    if _is_everything(arguments):
        scopes = tuple(Scope(each, campaign) for each in campaigns if _has(campaigns, each, campaign) or even_unknown)
        if campaign and not scopes:
            raise StopRefused(f"the ledger knows no campaign {campaign!r}. {_known(campaigns)}")
        conn_ids = () if campaign else _platform_conn_ids(ledger, arguments)
        if not scopes and not conn_ids:
            raise StopRefused(
                f"the ledger of connection {arguments.conn_id!r} knows no account yet, and nothing tells which "
                "connection of the platform goes with it. Name it: --capillary-conn-id ID --even-unknown"
            )
        return _Named(scopes, {}, conn_ids)
    scope = Scope(_account(ledger, arguments, campaigns), campaign)
    if not even_unknown and not _has(campaigns, scope.account, campaign):
        unknown = str(scope) if scope.account in campaigns else f"account {scope.account}"
        raise StopRefused(
            f"the ledger does not know {unknown}. {_known(campaigns)}. Correct the name, or add --even-unknown to stop "
            "it before its first run"
        )
    with ledger.read() as tx:
        stopped = {stop.scope for stop in in_force(tx)}
    others = {each: names for each, names in campaigns.items() if each != scope.account and Scope(each) not in stopped}
    return _Named((scope,), others)


def _is_everything(arguments: argparse.Namespace) -> bool:
    return arguments.all or not (arguments.account or arguments.capillary_conn_id or arguments.campaign)


def _has(campaigns: Mapping[str, tuple[str, ...]], account: str, campaign: str) -> bool:
    return account in campaigns and (not campaign or campaign in campaigns[account])


def _campaigns(ledger: Ledger) -> tuple[Mapping[str, tuple[str, ...]], bool]:
    """Return the accounts and campaigns that the ledger knows, and whether that is all of them."""
    try:
        with ledger.read() as tx:
            return known(tx), True
    except DATABASE_ERRORS:  # the ledger is of another version, or a right is missing: no reason not to stop
        with ledger.read() as tx:
            return noted(tx), False


def _platform_conn_ids(ledger: Ledger, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the platform's connections that go with the ledger: of another one than usual, those of its runs.

    A stop is written into one ledger and holds there alone. Connection `PLATFORM_CONN_ID` mostly leads to an account of
    the usual ledger: stopped in another one, it would be told as stopped and send on.
    """
    if arguments.url or arguments.conn_id == LEDGER_CONN_ID:
        return (PLATFORM_CONN_ID,)
    try:
        with ledger.read() as tx:
            return tuple(sorted({conn_id for each in known(tx) for conn_id in connections_of(tx, each)}))
    except DATABASE_ERRORS:  # the ledger is of another version, or a right is missing: no reason not to stop
        return ()


def _account(ledger: Ledger, arguments: argparse.Namespace, accounts: Iterable[str]) -> str:
    """Return the account that is named, as the ledger writes it."""
    if not arguments.account:
        try:
            return _account_of(arguments.capillary_conn_id or _only_conn_id(ledger, arguments))
        except StopRefused as error:
            raise StopRefused(f"{error} Or give --account or --all. {_known(accounts)}") from None
    try:
        account = account_named(arguments.account)
    except ValueError as error:
        raise StopRefused(f"{arguments.account!r} names no account: {error}. {_known(accounts)}") from None
    # The ledger keeps the case of an organisation's id; a person need not.
    return next((each for each in accounts if each.casefold() == account.casefold()), account)


def _only_conn_id(ledger: Ledger, arguments: argparse.Namespace) -> str:
    conn_ids = _platform_conn_ids(ledger, arguments)
    if len(conn_ids) != 1:
        raise StopRefused(
            f"the runs in the ledger of connection {arguments.conn_id!r} name "
            f"{counted(len(conn_ids), 'connection')} of "
            "the platform. Name the one that is meant: --capillary-conn-id ID."
        )
    return conn_ids[0]


def _account_of(conn_id: str) -> str:
    try:
        from capillary.hooks import CapillaryHook  # noqa: PLC0415 - Airflow costs seconds, and --account needs none of it

        account: str = CapillaryHook(conn_id).get_settings().account
    except CapillaryError as error:
        raise StopRefused(str(error)) from None
    except Exception as error:  # noqa: BLE001 - Airflow's own; whatever is wrong with it, other accounts are stopped
        raise StopRefused(f"Airflow does not give connection {conn_id!r} ({type(error).__name__}).") from None
    return account


def _known(accounts: Iterable[str]) -> str:
    told = _told(accounts)
    return f"The ledger knows {told}" if told else "The ledger knows no account"


def _told(accounts: Iterable[str]) -> str:
    names = accounts if isinstance(accounts, Mapping) else {}
    return "; ".join(f"{each} ({', '.join(names.get(each, ())) or 'no campaign'})" for each in accounts)


def _stop(ledger: Ledger, arguments: argparse.Namespace, by: str) -> tuple[str, bool]:
    named = _named(ledger, arguments)
    stops, undone = _order(ledger, named.scopes, by, arguments.reason)
    notes = [f"NOT stopped: {_told(named.others)}"] if named.others else []
    # After the others: Airflow may take long to answer, or not answer at all.
    for conn_id in named.conn_ids:
        try:
            scope = Scope(_account_of(conn_id))
        except StopRefused as error:
            notes.append(f"NOT stopped, unless it is named above: the account of connection {conn_id!r}. {error}")
        else:
            if scope not in {*named.scopes, *(stop.scope for stop in stops)}:
                ordered, failures = _order(ledger, [scope], by, arguments.reason)
                stops, undone = stops + ordered, undone + failures
    if _is_everything(arguments) and not arguments.campaign:
        notes.append(
            "NOT stopped: accounts that run here for the first time from now on; stop these beforehand with "
            "--capillary-conn-id and --even-unknown"
        )
    if not stops:
        raise StopRefused("; ".join(undone or ["the ledger knows no account yet", *notes[:1]]))
    sys.stdout.write("stop: waiting for claims that are open; the stop holds, also if you end this command now\n")
    sys.stdout.flush()
    lines, holds = _await(ledger, stops)
    lines += [f"NOT stopped: {each}" for each in undone]
    lines += notes
    if holds:
        resume_each = " and ".join(f"python -m capillary resume {stop.scope.options}" for stop in stops)
        lines.append(f"to go on: {resume_each}; it sends nothing by itself")
    return "\n  ".join(lines), holds and not undone


def _order(ledger: Ledger, scopes: Iterable[Scope], by: str, reason: str) -> tuple[list[Stop], list[str]]:
    """Stop each, whatever becomes of the others; return the stops, and what could not be stopped and why."""
    stops, undone = list[Stop](), list[str]()
    for scope in scopes:
        try:
            stop = order_stop(ledger, scope, by=by, reason=reason)
        except CapillaryError as error:
            undone.append(f"{scope}: {error}")
        except DATABASE_ERRORS as error:
            undone.append(f"{scope}: {broke_off(error)}")
        else:
            stops.append(stop)
            # Said at once: a claim that hangs may keep the rest waiting, and the stop holds already.
            sys.stdout.write(f"stop: stopped: {stop}\n")
            sys.stdout.flush()
    return stops, undone


def _await(ledger: Ledger, stops: Iterable[Stop]) -> tuple[list[str], bool]:
    """Wait for the claims of each stop; return what is so then, and whether every stop is still in force."""
    try:
        for stop in stops:
            await_claims(ledger, stop.scope)
        with ledger.read() as tx:
            ends = {stop.scope: end_of(tx, stop) for stop in stops}
            left = in_force(tx)
    except DATABASE_ERRORS as error:
        return [f"the stop holds, but claims of before may still be open: {broke_off(error)}"], False
    if any(ends.values()):
        return [
            "somebody resumed while this command waited: run it again to stop what it names",
            *(f"{scope}: {end}" for scope, end in ends.items() if end),
            *_stopped_now(left),
        ], False
    lines = ["no process claims another request of it"]
    try:
        with ledger.read() as tx:
            lines += [line for stop in stops for line in _left(tx, stop.scope)]
    except DATABASE_ERRORS as error:  # the ledger is of another version, or a right is missing
        lines.append(f"its requests could not be counted ({type(error).__name__})")
    return lines, True


def _stopped_now(stops: Iterable[Stop]) -> list[str]:
    return [f"still stopped: {stop}" for stop in stops] or ["nothing is stopped now"]


def _to_resume(ledger: Ledger, arguments: argparse.Namespace) -> list[Scope]:
    """Return what to release. A person says what: released by accident, everything would be sent."""
    with ledger.read() as tx:
        stopped = [stop.scope for stop in in_force(tx)]
    campaign = arguments.campaign or WHOLE_ACCOUNT
    if arguments.all:
        return [scope for scope in stopped if scope.campaign == campaign]
    if _is_everything(arguments):
        raise StopRefused(
            "say what to resume: --account, --capillary-conn-id or --campaign, or --all for every account; nothing was "
            "resumed"
        )
    if Scope(arguments.account or "", campaign) in stopped:  # as it was written when it was stopped
        return [Scope(arguments.account, campaign)]
    return [Scope(_account(ledger, arguments, [scope.account for scope in stopped]), campaign)]


def _resume(ledger: Ledger, scopes: list[Scope], by: str) -> tuple[str, bool]:
    released = [(scope, resume(ledger, scope, by=by)) for scope in scopes]
    lines = [f"resumed: {stop}" if stop else f"{scope} was not stopped under this name" for scope, stop in released]
    with ledger.read() as tx:
        left = in_force(tx)
    lines += _stopped_now(left)
    lines.append(
        "this alone sends nothing: runs that were stopped have ended, and their customers are planned by the next "
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
        f"  {left.waiting} with the checker: may still be approved, and are settled as usual",
        f"  {left.unsent} not sent: their runs give them back",
    ]
