"""What is proven by which command, and what of its output is the result."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Result = Callable[[str], str | None]

#: Borders of printed tables, and blanks.
_FILLING: Final = re.compile(r"[\s│|]+")


@dataclass(frozen=True, slots=True)
class Proof:
    """One row.

    Attributes:
        name: how the command line calls it.
        what: what is shown.
        command: its words; `make test` runs a form of it where `in_test` says so.
        result: finds the result in what the command printed; None when it is not there.
        in_test: which form of it is part of `make test`.
    """

    name: str
    what: str
    command: str
    result: Result
    in_test: str = "yes"


def last(*patterns: str) -> Result:
    """Take the last match of each pattern; all must be there."""

    def find(printed: str) -> str | None:
        found = [re.findall(pattern, printed, re.MULTILINE) for pattern in patterns]
        return "; ".join(_FILLING.sub(" ", each[-1]).strip() for each in found) if all(found) else None

    return find


def rounds(printed: str) -> str | None:
    """Add the races up."""
    lines = re.findall(r"(\d+) rounds +(\d+) broken", printed)
    played, broken = (sum(int(line[column]) for line in lines) for column in (0, 1))
    return f"{played} rounds of {len(lines)} races, {broken} broken" if lines else None


def mutants(printed: str) -> str | None:
    """Name the numbers of the last line."""
    line = re.search(r"^all +(\d+) +(\d+) +\d+ +(\S+)$", printed, re.MULTILINE)
    return None if line is None else "{} mutants, {} killed, {}".format(*line.groups())


#: What pytest says at its end, without the seconds.
PASSED: Final = last(r"^\d+ (?:passed|failed|skipped)[^\n]*?(?= in [\d.]+s)")


def by_tests(name: str, what: str, *paths: str) -> Proof:
    """Return the proof by tests that run in `make test` as they are."""
    return Proof(name, what, " ".join(("pytest", "-q", *(f"tests/{path}" for path in paths))), PASSED)


PROOFS: Final = (
    by_tests(
        "exploration",
        "every reachable state of one request: two processes, three sends, lost and late replies, a crash, a checker",
        "states/test_exploration.py",
    ),
    Proof(
        "seeds",
        "seeded worlds of faults on a virtual clock: crashes at any commit or call, storms, lag, restored ledgers",
        "python -m tests.simulation --seeds 2000",
        last(r"^\d+ seeds in .*$"),
        "60 seeds; CI plays 1,000",
    ),
    Proof(
        "bugs",
        "bugs planted in the engine, each noticed by those worlds",
        "python -m tests.simulation --bugs",
        last(r"^\d+ of \d+ planted bugs found$"),
    ),
    Proof(
        "soak",
        "a month of 50 campaigns, every day for a growing crowd, one call in a hundred failing: what each day takes",
        "python -m tests.soak --campaigns 50",
        last(r"^\d+ days, .*$"),
        "9 days of two campaigns",
    ),
    Proof(
        "crashes",
        "real processes, real `kill -9` before and after every commit and call of every task, then a second time",
        "python -m tests.crashes --only crashes --double 400",
        last(r"^\d+ single crashes .*$"),
        "a sample of every point",
    ),
    Proof(
        "replies",
        "lost and garbled replies over a real socket, 500 customers each",
        "python -m tests.crashes --only replies",
        last(r"^\d+ lost replies, .*$"),
    ),
    Proof(
        "races",
        "races between real processes, eleven kinds, on SQLite and PostgreSQL",
        "python -m tests.crashes --only races --rounds 50",
        rounds,
        "a round each, behind PgBouncer where there is one",
    ),
    Proof(
        "fire",
        "real Airflow on PostgreSQL, its processes killed at random, until all is quiet",
        "python -m tests.fire --kills 50 --requests 200",
        last(
            r"killed in all\W+\d+",
            r"requests on the platform\W+\d+",
            r"customers\W+\d+",
            r"doubled\W+\d+",
            r"lost\W+\d+",
            r"runs: success / failed\W+\d+ / \d+",
            r"tasks failed for good\W+\d+",
        ),
        "no",
    ),
    Proof(
        "cluster",
        "`docker-compose.yml` as processes, with Celery workers; containers killed at random under a backfill, the "
        "databases' among them",
        "python -m tests.cluster long --kills 50 --requests 200",
        last(
            r"killed in all\W+\d+",
            r"requests on the platform\W+\d+",
            r"customers\W+\d+",
            r"doubled\W+\d+",
            r"lost\W+\d+",
            r"runs: success / failed\W+\d+ / \d+",
            r"runs of the backfill: success\W+\d+",
            r"tasks failed for good\W+\d+",
        ),
        "no; `make cluster` plays a short form",
    ),
    Proof(
        "upkeep",
        "the same under runs that wait: Airflow's database cleaned, everything restarted, a new Fernet key, all "
        "containers down and up twice, an older ledger restored, and what it forgot brought back",
        "python -m tests.cluster upkeep",
        last(
            r"requests on the platform\W+\d+",
            r"customers\W+\d+",
            r"enrolled\W+\d+",
            r"doubled\W+\d+",
            r"lost\W+\d+",
        ),
        "no",
    ),
    Proof(
        "mutants",
        "small changes to transitions, submission and reply parsing, and whether a test fails",
        "make mutants",
        mutants,
        "no",
    ),
    by_tests(
        "engine", "the engine against its sandbox, any task, any mishap: 300 games of 40 rules", "states/test_engine.py"
    ),
    by_tests(
        "lag",
        "a list that lags by 0 to 900 s, shifts its pages, repeats or hides rows, counts pages from 0 or 1",
        "states/test_platform_lag.py",
    ),
    by_tests(
        "sending",
        "every answer to a POST, every reason to stop, what doubt ends by",
        "unit/engine/test_send.py",
        "unit/engine/test_submit.py",
        "unit/engine/test_doubt.py",
    ),
    by_tests("words", "replies, each with its one word", "unit/engine/test_golden_replies.py"),
    by_tests("rows", "values that are not customer ids, named before any call", "unit/engine/test_bad_rows.py"),
    by_tests("guards", "guards, all before the first POST", "unit/ledger/test_guards.py"),
    by_tests("waiting", "`Retry-After`", "unit/api/test_retry_after.py"),
    by_tests(
        "canaries",
        "secrets and customers' data in logs, XCom, rendered fields, triggers, events, errors, ledger",
        "glue/test_canaries.py",
    ),
    by_tests(
        "database",
        "the database full, gone, read-only, locked, in conflict, at each commit",
        "integration/test_database_faults.py",
    ),
    by_tests(
        "clocks",
        "clocks set back and forward, daylight saving, skew",
        "unit/ledger/test_clocks.py",
    ),
    by_tests(
        "behind",
        "a ledger behind the platform: it stops, the import brings it back, the occasion goes on",
        "integration/test_adoption.py",
        "glue/test_ledger_import.py",
    ),
)
