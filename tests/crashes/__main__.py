"""The long form: `python -m tests.crashes [--double N] [--rounds N] [--seed N] [--only PART]`.

Every single crash, N double crashes, every lost reply and N rounds of each race, each on SQLite and, for the
races, on PostgreSQL. Prints a table of points and what became of the cases; the exit code is 1 if a promise
was broken. Takes about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from random import Random

from sqlalchemy import URL

from tests.crashes import races, replies
from tests.crashes.draw import doubles, every_single
from tests.crashes.installation_factory import InstallationFactory, installation_factory
from tests.crashes.matrix import Case, Matrix
from tests.crashes.postgresql import empty_ledger
from tests.crashes.replies import every_case
from tests.crashes.table import table
from tests.postgresql import ServerMissing, running_server

PARTS = ("crashes", "replies", "races")


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description="Crashes, lost replies, races.")
    parser.add_argument("--double", type=int, default=400, help="double crashes; default %(default)s")
    parser.add_argument("--rounds", type=int, default=50, help="rounds of each race; default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="draws the double crashes; default %(default)s")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    given = parser.parse_args(arguments)
    parts = [given.only] if given.only else list(PARTS)
    broken = 0
    with installation_factory() as opened:
        if "crashes" in parts:
            broken += _crashes(opened, Random(given.seed), given.double)  # noqa: S311 - a draw that can be repeated
        if "replies" in parts:
            broken += _replies(opened)
        if "races" in parts:
            broken += _races(opened, given.rounds)
    return 1 if broken else 0


def _crashes(opened: InstallationFactory, random: Random, count: int) -> int:
    matrix, begun = Matrix(opened), time.monotonic()
    cases = list(_told(chain(every_single(matrix), doubles(matrix, random, count))))
    matrix.close()
    _say(table(cases))
    singles = [case for case in cases if len(case.strikes) == 1]
    twice = sum(case.struck == 2 for case in cases if len(case.strikes) == 2)
    broken = sum(bool(case.faults) for case in cases)
    _say(
        f"{len(singles)} single crashes ({sum(case.struck for case in singles)} struck), {twice} double ones "
        f"({len(cases) - len(singles) - twice} more were killed once), {broken} with a broken promise, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return broken


def _replies(opened: InstallationFactory) -> int:
    cases, broken = [*every_case(repeated=False), *every_case(repeated=True)], 0
    for case in cases:
        faults = replies.play(opened, case)
        broken += bool(faults)
        for fault in faults:
            _say(f"BROKEN {case}: {fault}")
    customers = len(cases) * len(replies.CUSTOMERS)
    _say(f"{len(cases)} lost replies, {customers} customers, {broken} cases with a broken promise")
    return broken


def _races(opened: InstallationFactory, rounds: int) -> int:
    broken = _rounds(opened, "SQLite", rounds, lambda _: None)
    try:
        with running_server() as server:
            broken += _rounds(
                opened, "PostgreSQL", rounds, lambda race: empty_ledger(server.url, tables=race is not races.migrations)
            )
    except ServerMissing as error:
        _say(f"races on PostgreSQL left out: {error}")
    return broken


def _rounds(opened: InstallationFactory, database: str, rounds: int, ledger: Callable[[races.Race], URL | None]) -> int:
    broken = 0
    for race in races.RACES:
        begun, wrong = time.monotonic(), 0
        for number in range(rounds):
            faults = races.play(opened, race, ledger(race))
            wrong += bool(faults)
            for fault in faults:
                _say(f"BROKEN {race.__name__} on {database}, round {number + 1}: {fault}")
        took = f"{time.monotonic() - begun:>7.0f} s"
        _say(f"{race.__name__:<30} {database:<10} {rounds:>4} rounds {wrong:>4} broken {took}")
        broken += wrong
    return broken


def _told(cases: Iterable[Case]) -> Iterator[Case]:
    for case in cases:
        for fault in case.faults:
            _say(f"BROKEN {case}: {fault}")
        yield case


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
