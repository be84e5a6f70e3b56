"""`million`: a million customers in requests of 500, each task in a process of its own, as Airflow runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from measure.bench.figures import Figure, Part
from measure.bench.measured import BenchFailed, Cost, environment, run
from measure.bench.surroundings import Database, connections, make_warehouse, running_sandbox

CUSTOMERS_PER_REQUEST: Final = 500
#: Most memory of any task, MiB.
MEMORY_BOUND_MIB: Final = 300
#: Most seconds of all tasks together, for a million customers on two cores.
TIME_BOUND_S: Final = 120
#: Airflow's triggerer complains of a loop that is held up for twice as long (`triggerer_job_runner`, 0.2 s).
BLOCK_BOUND_MS: Final = 100
#: Most seconds that planning on PostgreSQL may take, as a multiple of the bare COPY of the same customers.
EXTRACT_BOUND: Final = 12
_MILLION: Final = 1_000_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds that the bare work takes."""

    submit_s: float
    read_s: float
    insert_s: float
    update_s: float

    @property
    def all_s(self) -> float:
        """Everything."""
        return self.submit_s + self.read_s + self.insert_s + self.update_s


def measure(database: Database, folder: Path, *, customers: int, conninfo: str, say: Say) -> Part:
    """Measure the floor, then a whole run, each against a platform of its own.

    Args:
        database: an empty ledger.
        folder: for files of this measurement.
        customers: how many the warehouse holds.
        conninfo: a PostgreSQL database for the floor's own table; empty with SQLite.
        say: told what happens.
    """
    warehouse = folder / "warehouse.db"
    make_warehouse(warehouse, customers)
    say("floor")
    floor = _floor(database, folder, customers=customers, conninfo=conninfo)
    costs = _tasks(database, folder, warehouse, customers=customers, say=say)
    return Part(f"million, {database.name}: {customers:,} customers", _figures(costs, floor, customers, database.name))


def _floor(database: Database, folder: Path, *, customers: int, conninfo: str) -> Floor:
    order = {
        "customers": customers,
        "customers_per_request": CUSTOMERS_PER_REQUEST,
        "requests": -(-customers // CUSTOMERS_PER_REQUEST),
        "path": str(folder / "floor.db"),
        "conninfo": conninfo,
    }

    def said(floor: str, url: str = "") -> Mapping[str, float]:
        done = run(
            "measure.bench.floor",
            {**order, "floor": floor, "url": url},
            environment=environment(folder),
            folder=folder,
            name=f"floor-{floor}",
        )
        return done.said

    with running_sandbox(folder) as sandbox:
        submitted = said("submit", sandbox.url)
        sandbox.set_checker("automatic")
        sandbox.wait_until_decided()
        read = said("read", sandbox.url)
    written = said(database.name)
    return Floor(submitted["seconds"], read["seconds"], written["insert_s"], written["update_s"])


def _tasks(database: Database, folder: Path, warehouse: Path, *, customers: int, say: Say) -> dict[str, Cost]:
    with running_sandbox(folder) as sandbox:
        around = environment(folder, **connections(database, sandbox, warehouse=warehouse))

        def task(name: str, **order: object) -> Cost:
            say(name)
            return run("measure.bench.tasks", {"task": name, **order}, environment=around, folder=folder, name=name)

        extract = task("extract", customers_per_request=CUSTOMERS_PER_REQUEST)
        plan = dict(extract.said)
        submit = task("submit", plan=plan)
        defer = task("defer", plan=plan)
        say("the checker decides")
        sandbox.set_checker("automatic")
        sandbox.wait_until_decided()
        say("trigger")
        trigger = run(
            "measure.bench.triggerer",
            {
                "triggers": [defer.said],
                "quiet_s": 0.1,
                "poll_interval_s": 1.0,
                "for_s": 0.0,
                "readings": 1_000,
                "at_most_s": 300.0,
            },
            environment=around,
            folder=folder,
            name="trigger",
        )
        if trigger.said["events"] != ["work"]:
            raise BenchFailed(f"the trigger should have called for a worker; its events: {trigger.said['events']}")
        resume = task("resume", plan=plan, event={"status": "work"})
    if resume.said["outcomes"] != {"enrolled": customers}:
        raise BenchFailed(f"{customers} customers should be enrolled; the run ended with {resume.said['outcomes']}")
    return {"extract": extract, "submit": submit, "defer": defer, "trigger": trigger, "resume": resume}


def _figures(costs: Mapping[str, Cost], floor: Floor, customers: int, database: str) -> list[Figure]:
    extract_bound_s = EXTRACT_BOUND * floor.insert_s if database == "postgresql" else None
    floors = {
        "extract": ("extract", floor.insert_s),
        "submit": ("submit", floor.submit_s),
        "defer": ("wait, first look", None),
        "resume": ("wait, settling", floor.read_s + floor.update_s),
    }
    figures = []
    for name, (shown, least_s) in floors.items():
        cost = costs[name]
        note = f"CPU {cost.cpu_s:.1f} s with imports; {customers / cost.work_s:,.0f} customers a second"
        bound_s = extract_bound_s if name == "extract" else None
        figures.append(Figure(shown, cost.work_s, "s", bound=bound_s, floor=least_s, note=note))
        figures.append(Figure("  its peak memory", cost.peak_mib, "MiB", bound=MEMORY_BOUND_MIB))
    tasks = [costs[name] for name in floors]
    trigger = costs["trigger"]
    begin, end, pages = trigger.said["readings"][0]
    return [
        *figures,
        Figure("one poll, all decided", end - begin, "s", note=f"in the triggerer, {pages} list reads"),
        Figure("  its peak memory", trigger.peak_mib, "MiB", bound=MEMORY_BOUND_MIB),
        Figure("  longest block of its loop", trigger.said["longest_block_s"] * 1000, "ms", bound=BLOCK_BOUND_MS),
        Figure("work of all tasks", sum(cost.work_s for cost in tasks), "s", floor=floor.all_s),
        Figure(
            "all task processes",
            sum(cost.process_s for cost in tasks),
            "s",
            bound=TIME_BOUND_S * max(1.0, customers / _MILLION),
            note=f"with start and imports; CPU {sum(cost.cpu_s for cost in tasks):.1f} s",
        ),
    ]
