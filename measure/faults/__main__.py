"""`python -m measure.faults [script] [dlt] [airflow] [ours]`: measures, and writes its table into docs/faults.md."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from local_airflow.ports import free_port
from measure.faults.contenders import CONTENDERS, OURS, Contender, NotInstalled, measure
from measure.faults.fault import Fault
from measure.faults.page import PAGE, PageDamaged, Row, write
from measure.faults.scene import CHECKOUT, MeasuringFailed
from measure.faults.verdict import Said

EXIT_CODES: Final = (
    "exit codes: 0 this project submitted nobody twice, lost nobody and reported no failure; 1 it did not; "
    "2 something could not be measured"
)
_LOG_COLUMNS: Final = 140


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    words = [contender.word for contender in CONTENDERS]
    if unknown := sorted(set(options.words) - set(words)):
        parser.error(f"there is no contender {', '.join(unknown)}; there are {', '.join(words)}")
    chosen = [each for each in CONTENDERS if not options.words or each.word in options.words]
    console, log = Console(width=None if sys.stdout.isatty() else _LOG_COLUMNS), Console(stderr=True)
    rows: list[Row] = []
    # What was started is ended on the way out, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        try:
            rows += (_row(contender, Path(place), log) for contender in chosen)
        except MeasuringFailed as error:
            log.print(f"faults: {error}", markup=False, highlight=False, soft_wrap=True)
            return 2
    _show(console, rows)
    if len(rows) == len(CONTENDERS):
        try:
            write(rows)
        except (PageDamaged, OSError) as error:
            log.print(f"faults: the page was not written: {error}", markup=False, highlight=False, soft_wrap=True)
            return 2
        console.print(f"written to {PAGE.relative_to(CHECKOUT)}", highlight=False)
    return int(not all(_is_clean(row) for row in rows if row.contender is OURS))


def _row(contender: Contender, place: Path, log: Console) -> Row:
    begun, folder = time.perf_counter(), place / contender.word
    folder.mkdir()

    def say(line: str) -> None:
        log.print(f"{time.perf_counter() - begun:6.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)

    try:
        return Row(contender, measure(contender, folder, port=free_port(), say=say))
    except NotInstalled as error:
        say(f"{contender.name}: not installed here. {error}")
        return Row(contender, ())


def _is_clean(row: Row) -> bool:
    return all((cell.twice, cell.lost, cell.said) == (0, 0, Said.OK) for cell in row.cells)


def _show(console: Console, rows: Sequence[Row]) -> None:
    table = Table(title="5,000 customers in 10 requests, a fault on the third", title_justify="left", show_lines=True)
    for head in ("", *Fault):
        table.add_column(head)
    for row in rows:
        table.add_row(*row.texts(), style="green" if row.cells and _is_clean(row) else None)
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m measure.faults",
        description="What a lost reply does: customers submitted twice, customers lost, and what was reported.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONTENDER",
        help=f"{', '.join(each.word for each in CONTENDERS)}; default: all, and the page is rewritten",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
