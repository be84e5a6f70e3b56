"""What came of it, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.fire.kills import Victim
from tests.fire.people import Done
from tests.fire.storm import Order, Storm
from tests.fire.third_lost import Lost


def print_storm(storm: Storm, order: Order, console: Console) -> None:
    """Print the figures, the tasks that failed for good, and every broken promise."""
    judgement = storm.judgement
    table = Table(title=f"Under fire, seed {order.seed}", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows: list[tuple[str, object]] = [
        *((f"killed: {victim}", storm.kills.get(victim, 0)) for victim in Victim),
        ("killed in all", sum(storm.kills.values())),
        ("faults of the platform", sum(storm.faults.values())),
        ("runs: success / failed", f"{storm.runs.get('success', 0)} / {storm.runs.get('failed', 0)}"),
        ("requests on the platform", judgement.requests),
        ("most requests open at once", storm.most_open),
        ("requests sent again, their absence confirmed", judgement.sent_again),
        ("customers", judgement.customers),
        *((f"  {outcome}", count) for outcome, count in sorted(judgement.outcomes.items())),
        ("doubled", judgement.doubled),
        ("lost", judgement.lost),
        ("tasks failed for good", len(storm.failed)),
        ("of the housekeeping", len(storm.failed_upkeep)),
        ("minutes of fire / until quiet", f"{storm.minutes[0]:.1f} / {storm.minutes[1]:.1f}"),
    ]
    for what, figure in rows:
        table.add_row(what, str(figure))
    console.print(table)
    for task in (*storm.failed, *storm.failed_upkeep):
        console.print(f"failed for good: {task.dag_id} {task.run_id} {task.task_id}, try {task.tries}: {task.said}")
    if not storm.reached_quiet:
        console.print("BROKEN: not everything had ended by the limit")
    for sentence in judgement.broken:
        console.print(f"BROKEN: {sentence}")


def print_people(done: Sequence[Done], broken: Sequence[str], console: Console) -> None:
    """Print how each deed ended, and what is broken over all of them."""
    table = Table(title="What people do", title_justify="left")
    table.add_column("deed")
    table.add_column("its run ended")
    table.add_column("what is broken")
    for each in done:
        table.add_row(each.deed, each.run_state or "deleted", "; ".join(each.broken) or "nothing")
    console.print(table)
    for sentence in broken:
        console.print(f"BROKEN over all: {sentence}")


def print_lost(lost: Lost, console: Console) -> None:
    """Print the figures of the campaign whose POSTs were lost, and every broken promise."""
    judgement = lost.judgement
    table = Table(title="A third of all POSTs lost", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows: list[tuple[str, object]] = [
        ("the run ended as", lost.state),
        ("seconds", f"{lost.seconds:.0f}"),
        *((f"tries of {task}", tries) for task, tries in sorted(lost.tries.items())),
        *((f"calls: {route}", count) for route, count in sorted(lost.calls.items())),
        ("requests on the platform", judgement.requests),
        ("requests sent again, their absence confirmed", judgement.sent_again),
        ("customers", judgement.customers),
        *((f"  {outcome}", count) for outcome, count in sorted(judgement.outcomes.items())),
        ("doubled", judgement.doubled),
        ("lost", judgement.lost),
    ]
    for what, figure in rows:
        table.add_row(what, str(figure))
    console.print(table)
    for sentence in judgement.broken:
        console.print(f"BROKEN: {sentence}")
