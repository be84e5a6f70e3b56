"""What came of it, as tables for people; each returns the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from tests.cluster.kills import WEIGHTS
from tests.cluster.long import Long
from tests.cluster.memory import Memory
from tests.cluster.short import Short
from tests.cluster.upkeep import Upkeep
from tests.fire.judge import Judgement
from tests.fire.storm import Order

_Row = tuple[str, object]


def print_short(short: Short, up_s: float, used: Memory, console: Console) -> int:
    """Print seconds, memory, figures, and every broken promise."""
    steps = [(f"seconds: {step}", f"{seconds:.0f}") for step, seconds in short.seconds.items()]
    tries = [(f"tries of submit: {name}", tries) for name, tries in short.tries.items()]
    rows: list[_Row] = [
        *_brought_up(up_s, used),
        *steps,
        ("requests on their way when the worker was killed", short.in_doubt),
        *tries,
        ("triggerers that held deferred runs", len(set().union(*short.deferred.values()))),
        ("tasks run in pods", len(short.pods)),
        ("runs", len(short.runs)),
        *_books(short.judgement),
    ]
    _print("Cluster", rows, console)
    return _say(short.broken, console)


def print_long(long: Long, order: Order, up_s: float, used: Memory, console: Console) -> int:
    """Print kills, memory, figures, and every broken promise."""
    storm = long.storm
    rows: list[_Row] = [
        *_brought_up(up_s, used),
        *((f"killed: {service}", storm.kills.get(service, 0)) for service in WEIGHTS),
        ("killed in all", sum(storm.kills.values())),
        ("faults of the platform", sum(storm.faults.values())),
        ("runs: success / failed", f"{storm.runs.get('success', 0)} / {storm.runs.get('failed', 0)}"),
        ("runs of the backfill: success", long.backfilled["success"]),
        ("most requests open at once", storm.most_open),
        ("requests sent again, their absence confirmed", storm.judgement.sent_again),
        *_books(storm.judgement),
        ("tasks failed for good", len(storm.failed)),
        ("of the housekeeping", len(storm.failed_upkeep)),
        ("minutes of fire / until quiet", f"{storm.minutes[0]:.1f} / {storm.minutes[1]:.1f}"),
    ]
    _print(f"Cluster under fire, seed {order.seed}", rows, console)
    for task in (*storm.failed, *storm.failed_upkeep):
        console.print(f"failed for good: {task.dag_id} {task.run_id} {task.task_id}, try {task.tries}: {task.said}")
    return _say(long.broken, console)


def print_upkeep(upkeep: Upkeep, up_s: float, used: Memory, console: Console) -> int:
    """Print seconds, memory, figures, and every broken promise."""
    rows: list[_Row] = [
        *_brought_up(up_s, used),
        *((f"seconds: {step}", f"{seconds:.0f}") for step, seconds in upkeep.seconds.items()),
        *(_books(upkeep.judgement) if upkeep.judgement is not None else ()),
    ]
    _print("Cluster's upkeep", rows, console)
    return _say(upkeep.broken, console)


def _brought_up(up_s: float, used: Memory) -> list[_Row]:
    return [
        ("seconds: until all is healthy", f"{up_s:.0f}"),
        (f"MiB at most, at {used.peak_at_s:.0f} s, what processes share counted once", used.peak_pss),
        ("MiB at most, what they share counted for each", used.peak_rss),
    ]


def _books(judgement: Judgement) -> list[_Row]:
    return [
        ("requests on the platform", judgement.requests),
        ("customers", judgement.customers),
        *((f"  {name}", count) for name, count in sorted(judgement.outcomes.items())),
        ("doubled", judgement.doubled),
        ("lost", judgement.lost),
    ]


def _print(title: str, rows: Iterable[_Row], console: Console) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in rows:
        table.add_row(what, str(figure))
    console.print(table)


def _say(broken: Sequence[str], console: Console) -> int:
    for sentence in broken:
        console.print(f"BROKEN: {sentence}")
    return 1 if broken else 0
