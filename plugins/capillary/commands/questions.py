"""The commands that answer daily questions: ``python -m capillary attention|failed|waiting|customer|runs``.

They look at the ledger and change nothing. Customer ids stand in their answers, for whoever asks, and in no log.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import URL

from capillary.api.account import account_named
from capillary.commands.output_formats import Row, print_csv, print_json
from capillary.commands.question_rows import QUESTIONS, Question, Rows
from capillary.commands.stop import line_of
from capillary.engine.customer_id import InvalidId, customer_id_of
from capillary.engine.remedies import NO_CODE, code_of
from capillary.errors import TerminalError
from capillary.ledger.answers import Asked
from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.status import RETRYABLE, Outcome
from capillary.ledger.stops import known

#: Most rows of a table, where nobody says otherwise; CSV and JSON hold all.
TABLE_ROWS: Final = 100


class QuestionRefused(TerminalError):
    """The ledger knows no account or campaign of the name that was given: it may be a typing error."""


#: The first words of these commands.
COMMANDS: Final = tuple(QUESTIONS)


def add_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add them to the parser of ``python -m capillary``."""
    for name, question in QUESTIONS.items():
        parser = commands.add_parser(name, help=question.help, description=f"Show {question.help}.")
        if name == "customer":
            parser.add_argument("customer_id", type=customer_id, metavar="ID", help="the platform's id of the customer")
        parser.add_argument("--url", help="SQLAlchemy URL of the ledger; default: that of --conn-id")
        parser.add_argument("--conn-id", default="badge_ledger", help="Airflow connection (default: %(default)s)")
        parser.add_argument("--campaign", type=line_of(200), help="of this campaign alone")
        parser.add_argument("--account", type=line_of(255), help="of this account alone, written as host/organisation")
        if question.since:
            parser.add_argument(
                "--since",
                type=_time,
                metavar="TIME",
                help=f"{question.since} at this time or later: 2026-11-25, or 2026-11-25T06:00, in UTC",
            )
            parser.add_argument(
                "--limit",
                type=_count,
                metavar="N",
                help=f"at most so many rows (default: {TABLE_ROWS} in a table, and all in CSV and JSON)",
            )
        if name == "failed":
            parser.add_argument(
                "--outcome",
                action="append",
                choices=[str(outcome) for outcome in RETRYABLE],
                help="only with this outcome; may be repeated",
            )
            parser.add_argument(
                "--code",
                action="append",
                type=_code,
                metavar="CODE",
                help=f"only with this code of the platform, or {NO_CODE} for none; may be repeated",
            )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="as CSV with a header, times in UTC")
        form.add_argument("--json", action="store_true", help="as a JSON array, times in UTC")


def run(url: str | URL, arguments: argparse.Namespace) -> int:
    """Answer a question on standard output, and return 0; what is said about the answer goes to standard error.

    Raises:
        QuestionRefused: the ledger knows no such account or campaign.
        LedgerRefused, SchemaBehind, SchemaDiffers, LedgerUnavailable: the ledger cannot be used.
    """
    question = QUESTIONS[arguments.room]
    is_table = not (arguments.csv or arguments.json)
    given = getattr(arguments, "limit", None)
    most = TABLE_ROWS if is_table and given is None and question.since else given
    with Ledger(url, reads_only=True) as ledger, ledger.read() as tx:
        asked = Asked(
            account=_known_account(tx, arguments.account),
            campaign=_known_campaign(tx, arguments.campaign),
            since=getattr(arguments, "since", None),
            outcomes=frozenset(map(Outcome, getattr(arguments, "outcome", None) or ())) or None,
            codes=frozenset(map(code_of, getattr(arguments, "code", None) or ())) or None,
            limit=None if most is None else most + 1,  # one more tells that there are more
        )
        printed = print_csv if arguments.csv else print_json if arguments.json else question.for_people
        with closing(question.answer(tx, getattr(arguments, "customer_id", 0), asked)) as rows:
            shown = _Shown(rows, most)
            count = printed(shown, question.table if is_table else question.columns, sys.stdout)
    sys.stdout.flush()
    for line in _about(arguments, question, shown, count):
        sys.stderr.write(f"{arguments.room}: {line}\n")
    return 0


class _Shown:
    """The rows that are printed: it counts what a summary says of them, and sees whether there were more."""

    def __init__(self, rows: Rows, most: int | None) -> None:
        self._rows = rows
        self._most = most
        self.approvals = 0
        self.has_more = False

    def __iter__(self) -> Iterator[Row]:
        for row in islice(self._rows, self._most):
            approvals = row.get("approvals", 0)
            self.approvals += approvals if isinstance(approvals, int) else 0
            yield row
        self.has_more = next(self._rows, None) is not None


def _about(arguments: argparse.Namespace, question: Question, shown: _Shown, count: int) -> Iterator[str]:
    if not count:
        narrowed = any(getattr(arguments, name, None) for name in ("campaign", "account", "since", "outcome", "code"))
        yield f"{question.nothing}{', of what was asked for' if narrowed else ''}"
    if arguments.room == "waiting" and count:
        yield f"approvals needed: {shown.approvals}"
    if shown.has_more:
        yield f"there are more than these {count}: give --limit, or --csv or --json for all"


def _known_campaign(tx: Transaction, campaign: str | None) -> str | None:
    """Return the campaign; a typing error must not look like *nothing failed*."""
    campaigns = sorted({name for names in known(tx).values() for name in names}) if campaign else []
    if campaign and campaign not in campaigns:
        raise QuestionRefused(
            f"the ledger knows no campaign {campaign!r}: correct --campaign. It knows {', '.join(campaigns) or 'none'}"
        )
    return campaign


def _known_account(tx: Transaction, account: str | None) -> str | None:
    """Return the account as the ledger writes it."""
    if account is None:
        return None
    accounts = known(tx)
    told = f"It knows {', '.join(accounts) or 'none'}"
    try:
        named = account_named(account)
    except ValueError as error:
        raise QuestionRefused(f"{account!r} names no account: {error}. {told}") from None
    for each in accounts:
        if each.casefold() == named.casefold():
            return each
    raise QuestionRefused(f"the ledger knows no account {named}: correct --account. {told}")


def customer_id(text: str) -> int:
    """Return a customer id that was typed, or refuse it as `argparse` does."""
    try:
        return customer_id_of(text)
    except InvalidId as error:
        raise argparse.ArgumentTypeError(f"it is not a customer id ({error.reason})") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or int(text) < 1:
        raise argparse.ArgumentTypeError("give a number from 1 upwards")
    return int(text)


def _code(text: str) -> str:
    if text != NO_CODE and not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise argparse.ArgumentTypeError(f"give a code of the platform, such as 816, or {NO_CODE}")
    return text


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("give a day or a time, as 2026-11-25 or 2026-11-25T06:00") from None
