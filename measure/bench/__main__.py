"""`python -m measure.bench [PART …] [--customers N] [--database sqlite|postgresql|both]`: what `make bench` calls."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from sqlalchemy import URL

from measure.bench import counts, million, pages, polls
from measure.bench.figures import Part, show
from measure.bench.machine import facts, load
from measure.bench.measured import BenchFailed
from measure.bench.surroundings import (
    Database,
    DatabaseUnavailable,
    create_database,
    postgresql_ledger,
    postgresql_server,
    sqlite_ledger,
)

PARTS: Final = ("million", "polls", "counts", "pages")
DATABASES: Final = ("sqlite", "postgresql")
MAX_CUSTOMERS: Final = 10_000_000
_LOG_COLUMNS: Final = 140
EXIT_CODES: Final = "exit codes: 0 every bound is kept; 1 one is missed; 2 it could not be measured"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not 1 <= options.customers <= MAX_CUSTOMERS:
        parser.error(f"--customers is {options.customers}: give a number from 1 to {MAX_CUSTOMERS:,}")
    names = options.names or list(PARTS)
    wanted = list(DATABASES) if options.database == "both" else [options.database]
    console, begun = Console(width=None if sys.stdout.isatty() else _LOG_COLUMNS), time.perf_counter()
    parts, load_before, failed = list[Part](), load(), False
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        machine = facts(Path(place))
        try:
            for kind in wanted:
                # Opening the requests takes longest of all, so polls are watched on one database.
                here = [name for name in names if name != "polls" or kind == wanted[-1]]
                for part in _on(kind, here, Path(place), customers=options.customers, log=Console(stderr=True)):
                    parts.append(part)  # what is measured is shown, whatever fails after it
        except (BenchFailed, DatabaseUnavailable) as error:
            Console(stderr=True).print(f"bench: {error}", markup=False, highlight=False, soft_wrap=True)
            failed = True
    taken = f"{time.perf_counter() - begun:.0f} s in all; load {load_before:.1f} before, {load():.1f} at the end"
    show(console, parts, {**machine, "taken": taken})
    if failed:
        return 2
    return 0 if all(part.is_kept for part in parts) else 1


def _on(kind: str, names: Sequence[str], place: Path, *, customers: int, log: Console) -> Iterator[Part]:
    folder = place / kind
    folder.mkdir()
    with _server(kind, folder) as server:
        for name in (each for each in PARTS if each in names):
            begun, part_folder = time.perf_counter(), folder / name
            part_folder.mkdir()

            def say(step: str, name: str = name, begun: float = begun) -> None:
                log.print(f"{time.perf_counter() - begun:6.1f} s  {name}, {kind}: {step}", highlight=False)

            database = _ledger(server, part_folder, name)
            if name == "million":
                conninfo = _conninfo(create_database(server, "floor")) if server else ""
                yield million.measure(database, part_folder, customers=customers, conninfo=conninfo, say=say)
            elif name == "counts":
                yield counts.measure(database, part_folder, say=say)
            elif name == "pages":
                yield pages.measure(database, part_folder, say=say)
            else:
                yield polls.measure(database, part_folder, say=say)


@contextmanager
def _server(kind: str, folder: Path) -> Iterator[URL | None]:
    if kind == "sqlite":
        yield None
        return
    with postgresql_server(folder) as server:
        yield server


def _ledger(server: URL | None, folder: Path, name: str) -> Database:
    return sqlite_ledger(folder) if server is None else postgresql_ledger(server, name)


def _conninfo(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m measure.bench",
        description="Speed and memory against bounds, and against a floor measured in the same run.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("names", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--customers", type=int, default=1_000_000, metavar="N", help="of million; default %(default)s")
    parser.add_argument(
        "--database",
        choices=[*DATABASES, "both"],
        default="both",
        help="default %(default)s; of both, polls take the second",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
