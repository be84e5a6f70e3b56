"""The example warehouse: customers at any size, in any database that SQLAlchemy reaches.

`python -m sandbox.warehouse --url sqlite:///warehouse.db` fills it. Done once, it is left alone; an example
of another size, seed or month is replaced; a database with somebody else's tables of these names is refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, Engine, Table, create_engine, insert, inspect, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError

from sandbox.warehouse_rows import Found, Generator, dimension_rows
from sandbox.warehouse_schema import EXAMPLE_WAREHOUSE, INDEXES, METADATA

DEFAULT_CUSTOMERS = 5_000
DEFAULT_SEED = 2026
MAX_CUSTOMERS = 100_000_000

#: Customers made and inserted at a time: memory stays flat at a few tens of megabytes.
BATCH_CUSTOMERS = 10_000


class NotOurWarehouseError(Exception):
    """The database holds tables that this example did not make."""


@dataclass(frozen=True, slots=True)
class WarehouseSummary:
    """What is in the warehouse, and what the three campaigns' queries find in it.

    `gold_rows` and `arrival_rows` count what the queries return, duplicates and malformed ids included;
    `gold_eligible`, `streak_eligible` (in the month of seeding) and `arrival_eligible` count customers.
    `created` is false where an equal warehouse was there already.
    """

    customers: int
    gold_eligible: int
    gold_rows: int
    streak_eligible: int
    arrival_eligible: int
    arrival_rows: int
    arrival_invalid: int
    created: bool

    def sentence(self) -> str:
        """One line for a person."""
        state = "seeded" if self.created else "already there, left as it is"
        people = f"{self.customers:,} customer{'' if self.customers == 1 else 's'}"
        return (
            f"example warehouse {state}: {people}, {self.gold_eligible:,} of them "
            f"due the gold badge, {self.streak_eligible:,} the monthly streak, "
            f"{self.arrival_eligible:,} the arrival badge"
        )


def seed(
    url: str, *, customers: int = DEFAULT_CUSTOMERS, seed: int = DEFAULT_SEED, today: date | None = None
) -> WarehouseSummary:
    """Fill the database with an example warehouse and say what is in it.

    Args:
        url: any SQLAlchemy URL; tried with SQLite and PostgreSQL.
        customers: 1 to 100,000,000, by default 5,000.
        seed: the same seed gives the same customers.
        today: the last day with purchases, by default today in UTC.

    Raises:
        NotOurWarehouseError: a table of one of our names is there, and this example did not make it.
        ValueError: `customers` is out of bounds.
    """
    if not 1 <= customers <= MAX_CUSTOMERS:
        raise ValueError(f"customers is {customers}: give a number from 1 to {MAX_CUSTOMERS:,}")
    today = today or datetime.now(UTC).date()
    engine = create_engine(url)
    try:
        found = _existing(engine, customers=customers, seed=seed, month=_month(today))
        if found is not None:
            return WarehouseSummary(**asdict(found), created=False)
        _prepare(engine, seed=seed, month=_month(today))
        return WarehouseSummary(**asdict(_fill(engine, customers=customers, seed=seed, today=today)), created=True)
    finally:
        engine.dispose()


def _month(day: date) -> str:
    return day.strftime("%Y-%m")


def _existing(engine: Engine, *, customers: int, seed: int, month: str) -> Found | None:
    """The finished example of this size, seed and month, if it is there."""
    if not inspect(engine).has_table(EXAMPLE_WAREHOUSE.name):
        return None
    mark = EXAMPLE_WAREHOUSE.c
    with engine.connect() as connection:
        row = connection.execute(
            select(*(mark[name] for name in asdict(Found()))).where(
                mark.month == month, mark.seed == seed, mark.finished == 1, mark.customers == customers
            )
        ).first()
    return Found(**row._mapping) if row else None  # noqa: SLF001 - the public accessor, by SQLAlchemy's docs


def _prepare(engine: Engine, *, seed: int, month: str) -> None:
    """Make empty tables with our mark beside them: a seeding that dies here is begun again and not refused."""
    present = set(inspect(engine).get_table_names())
    ours = EXAMPLE_WAREHOUSE.name in present
    foreign = sorted(present & (METADATA.tables.keys() - {EXAMPLE_WAREHOUSE.name}))
    if foreign and not ours:
        raise NotOurWarehouseError(
            f"{_shown(engine)} holds tables that this example did not make ({', '.join(foreign)}): "
            "give the URL of an empty database"
        )
    if ours:
        METADATA.drop_all(engine, tables=[t for t in METADATA.sorted_tables if t is not EXAMPLE_WAREHOUSE])
        EXAMPLE_WAREHOUSE.drop(engine)
    EXAMPLE_WAREHOUSE.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(EXAMPLE_WAREHOUSE).values(month=month, seed=seed, finished=0, **asdict(Found())))
    tables = [table for table in METADATA.sorted_tables if table is not EXAMPLE_WAREHOUSE]
    METADATA.create_all(engine, tables=tables)
    for index in INDEXES:
        index.drop(engine)


def _fill(engine: Engine, *, customers: int, seed: int, today: date) -> Found:
    generator = Generator(seed=seed, today=today)
    with engine.begin() as connection:
        _insert(connection, dimension_rows(today))
        for batch in generator.batches(customers, size=BATCH_CUSTOMERS):
            _insert(connection, batch.tables())
        for index in INDEXES:
            index.create(connection)
        connection.execute(update(EXAMPLE_WAREHOUSE).values(finished=1, **asdict(generator.found)))
    return generator.found


def _insert(connection: Connection, tables: Iterable[tuple[Table, list[dict[str, object]]]]) -> None:
    for table, rows in tables:
        connection.execute(insert(table), rows)


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the warehouse is there, 2 when it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.warehouse", description="Fill an example warehouse.")
    parser.add_argument("--url", required=True, help="SQLAlchemy URL, such as sqlite:///warehouse.db")
    parser.add_argument("--customers", type=int, default=DEFAULT_CUSTOMERS, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="default %(default)s")
    parser.add_argument("--today", type=date.fromisoformat, help="last day with purchases (YYYY-MM-DD), default today")
    options = parser.parse_args(arguments)
    try:
        summary = seed(options.url, customers=options.customers, seed=options.seed, today=options.today)
    except (NotOurWarehouseError, ValueError) as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    except SQLAlchemyError as error:
        # The full text of a driver's error may hold the URL with its password.
        shown = make_url(options.url).render_as_string(hide_password=True)
        sys.stderr.write(
            f"{shown} cannot be filled ({type(error).__name__}): check that the database is there and may be written\n"
        )
        return 2
    sys.stdout.write(f"{summary.sentence()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
