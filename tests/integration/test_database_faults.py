"""The ledger's database breaks at one commit after the other.

The task fails as one that may pass, its rerun goes on, and the platform's books show each customer once.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import URL, Engine, event, select
from sqlalchemy.exc import DBAPIError

from capillary.airflow_errors import airflow_failures
from capillary.api.client import Client
from capillary.api.settings import PlatformSettings
from capillary.api.transport import AiohttpTransport
from capillary.engine.pace import LedgerPace
from capillary.engine.plan import plan_rows
from capillary.engine.runtime import Runtime
from capillary.engine.send import Sender
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from capillary.engine.watch import cluster_day
from capillary.ledger import history
from capillary.ledger.candidates import copy_in
from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order
from capillary.ledger.plan_id import PlanId, open_plan
from capillary.ledger.reports import funnel
from capillary.ledger.request_rows import discard_unsent
from capillary.ledger.schema import badge_enrolment, badge_run, metadata
from capillary.ledger.spec import Spec
from sandbox.badges import GOLD_CIRCLE
from sandbox.server import running_sandbox
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox, ShiftedClock
from tests.unit.ledger.conftest import empty_database, postgresql_server  # noqa: F401 - fixtures


class Fault(StrEnum):
    """What breaks, in the words of the driver."""

    DISK_FULL = "database or disk is full"
    GONE = "disk I/O error"
    READ_ONLY = "attempt to write a readonly database"
    LOCKED = "database is locked"
    GONE_AFTER = "disk I/O error after the commit"  #: it is committed, and nobody is told
    SERIALIZATION = "could not serialize access due to read/write dependencies among transactions"
    SERVER_GONE = "the connection is closed"


_CODES = {
    Fault.DISK_FULL: sqlite3.SQLITE_FULL,
    Fault.GONE: sqlite3.SQLITE_IOERR,
    Fault.READ_ONLY: sqlite3.SQLITE_READONLY,
    Fault.LOCKED: sqlite3.SQLITE_BUSY,
    Fault.GONE_AFTER: sqlite3.SQLITE_IOERR,
}


@dataclass
class Breaker:
    """Breaks the n-th commit from now, counted from 0; negative: none any more."""

    fault: Fault = Fault.DISK_FULL
    at: int = -1
    at_batch: int = -1

    @property
    def is_due(self) -> bool:
        """Whether the fault is still to come."""
        return self.at >= 0

    def commit(self, driver: Any, really: Callable[[], None]) -> None:  # noqa: ANN401 - either driver's connection
        """Commit, or break."""
        self.at -= 1
        if self.at != -1:
            really()
            return
        if self.fault is Fault.GONE_AFTER:
            really()
        if self.fault is Fault.SERIALIZATION:
            raise psycopg.errors.SerializationFailure(self.fault)
        if self.fault is Fault.SERVER_GONE:
            driver.driver_connection.close()
            really()
        raise self.error()

    def error(self) -> sqlite3.OperationalError:
        """Return the driver's own error."""
        error = sqlite3.OperationalError(str(self.fault))
        error.sqlite_errorcode = _CODES[self.fault]
        return error


def breaks(engine: Engine, breaker: Breaker) -> None:
    """Let the engine's connections break: SQLite's by a driver's connection of our own, PostgreSQL's in the dialect."""
    if engine.dialect.name == "postgresql":
        really = engine.dialect.do_commit

        def do_commit(dbapi_connection: Any) -> None:  # noqa: ANN401 - psycopg's, wrapped by the pool
            breaker.commit(dbapi_connection, lambda: really(dbapi_connection))

        engine.dialect.do_commit = do_commit  # type: ignore[method-assign]
        return

    class BreakingCursor(sqlite3.Cursor):
        def executemany(self, sql: str, parameters: Any, /) -> Self:  # noqa: ANN401 - the driver's
            breaker.at_batch -= 1
            if breaker.at_batch == -1:
                raise breaker.error()
            return super().executemany(sql, parameters)

    class BreakingConnection(sqlite3.Connection):
        def commit(self) -> None:
            breaker.commit(self, super().commit)

        def cursor(self, factory: Any = None, /) -> Any:  # noqa: ANN401 - the driver's
            return super().cursor(factory or BreakingCursor)

    def connect(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
        options["factory"] = BreakingConnection

    def hurry(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        # No power is lost here; the ledger has made sure of the disk when it was opened.
        dbapi_connection.execute("PRAGMA synchronous=OFF")

    engine.dispose()
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", hurry)


Houses = Callable[[], AbstractContextManager[EngineOnSandbox]]


class Task(StrEnum):
    """What Airflow would run, in order; the upkeep at any time."""

    PLAN = "plan"
    SUBMIT = "submit"
    WAIT = "wait"
    REPORT = "report"
    UPKEEP = "upkeep"


@asynccontextmanager
async def sender_of(sandboxed: EngineOnSandbox) -> AsyncIterator[Sender]:
    """A sender whose waiting moves the ledger's clock on: a reader that died keeps its turn for five minutes."""

    async def sleep(seconds: float) -> None:
        sandboxed.clock.shift += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def monotonic() -> float:
        return sandboxed.clock.shift.total_seconds()

    runtime = Runtime(sleep=sleep, monotonic=monotonic)
    settings = sandboxed.settings
    pace = LedgerPace(sandboxed.ledger, settings.account, calls_per_minute=settings.calls_per_minute, runtime=runtime)
    client = Client(
        settings,
        transport=AiohttpTransport(connect_timeout_s=settings.connect_timeout_s, connections=4),
        pace=pace,
        sleep=runtime.sleep,
        monotonic=runtime.monotonic,
        random=runtime.random,
    )

    async def may_submit() -> bool:
        return True

    async with client:
        yield Sender(sandboxed.ledger, client, runtime, may_submit)


#: What no ledger has.
NOT_PLANNED: Final = PlanId(0, "not planned yet")


@dataclass
class Campaign:
    """One run of a campaign, task by task: four customers in two requests."""

    sandboxed: EngineOnSandbox
    plan: PlanId = NOT_PLANNED
    customers: range = range(700_001, 700_005)

    def run(self, task: Task) -> None:
        """Run a task as its operator does, with its errors in Airflow's terms."""
        self.sandboxed.ledger.engine.dispose()  # every task is a process of its own
        with airflow_failures():
            if task is Task.PLAN:
                self._plan()
            elif task is Task.REPORT:
                self._report()
            else:
                asyncio.run(self._online(task))

    def _plan(self) -> None:
        spec = Spec(self.sandboxed.settings.account, GOLD_CIRCLE.badge_id, "Loyalty", "42", "1", "2", "3", "4", "")
        order = Order(
            dag_id="gold",
            run_id="run",
            task_id="extract",
            capillary_conn_id="capillary",
            campaign="gold",
            occasion="gold",
            spec=replace(spec, hostname=self.sandboxed.settings.base_url),
            customers_per_request=2,
            canary=False,
        )
        plan = plan_rows(self.sandboxed.ledger, [list(self.customers[:3]), list(self.customers[3:])], order)
        assert plan.plan_id is not None
        assert plan.planned == 4
        self.plan = plan.plan_id
        self._read_all_but_three_parts()

    def _read_all_but_three_parts(self) -> None:
        """Each part of the account's first reading is a commit like the next: three of them break like sixty."""
        settings = self.sandboxed.settings
        with self.sandboxed.ledger.write() as tx:
            today = cluster_day(tx.now, settings)
            begun = history.begin(tx, settings.account, settings.sender, today=today)
            assert begun.next_day is not None
            done = history.Days(begun.next_day, today - timedelta(days=80))
            assert history.advance(tx, settings.account, settings.sender, done, refused=False)

    def _report(self) -> None:
        with self.sandboxed.ledger.write() as tx:
            badge_run_id = open_plan(tx, self.plan)
            discard_unsent(tx, badge_run_ids=[badge_run_id])
            funnel(tx, badge_run_id)

    async def _online(self, task: Task) -> None:
        async with sender_of(self.sandboxed) as sender:
            if task is Task.SUBMIT:
                waits = (await submit_run(self._hasty(sender), self.plan, lease=LEASE)).waits
                if waits is not None:  # after a step forward what broke is waited for, and no retry is used
                    raise AirflowException(waits.why)
            elif task is Task.WAIT:
                await advance(sender, self.plan, reader="task", lease=LEASE)
            else:
                kept = await keep_account(sender, reader="upkeep")
                assert kept.broken == ()

    def _hasty(self, sender: Sender) -> Sender:
        """A sleep within the task moves the ledger's clock on, and takes no time."""

        async def sleep(seconds: float) -> None:
            self.sandboxed.clock.shift += timedelta(seconds=seconds)

        def monotonic() -> float:
            return time.monotonic() + self.sandboxed.clock.shift.total_seconds()

        return replace(sender, runtime=replace(sender.runtime, sleep=sleep, monotonic=monotonic))

    def resolve_doubt(self) -> None:
        """A claim whose commit was not told is in doubt though nothing was sent: it is sent once the doubt is over."""
        if len(self.sandboxed.sandbox.platform.requests()) < 2:
            self.sandboxed.clock.shift += timedelta(hours=2)
            self.run(Task.WAIT)
            self.sandboxed.sandbox.approve_all()
            self.run(Task.WAIT)

    def assert_ended_well(self) -> None:
        """Everybody in one request on the platform, enrolled on its word, and counted."""
        for customer in self.customers:
            assert len(self.sandboxed.requests_of(customer)) == 1
        with self.sandboxed.ledger.read() as tx:
            counts = funnel(tx, open_plan(tx, self.plan))
            runs = tx.conn.execute(select(badge_run.c.id)).all()
            rows = tx.conn.execute(
                select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome).where(
                    badge_enrolment.c.customer_id.in_(self.customers)
                )
            ).all()
        assert len(runs) == 1
        assert sorted((row.customer_id, row.outcome) for row in rows) == [(c, "enrolled") for c in self.customers]
        assert (counts.eligible, counts.planned, counts.open) == (4, 4, 0)


def tasks_with(broken: Task) -> tuple[Task, ...]:
    """The tasks of a run; the upkeep takes the place of the wait where it is the one to break."""
    decided = Task.UPKEEP if broken is Task.UPKEEP else Task.WAIT
    return Task.PLAN, Task.SUBMIT, decided, Task.REPORT


def failed_in_passing(campaign: Campaign, task: Task) -> bool:
    """Run a task; return whether it failed, which it may only do as one that Airflow tries again."""
    try:
        campaign.run(task)
    except AirflowFailException:
        raise
    except AirflowException as error:
        said = str(error)
    else:
        return False
    assert said.removeprefix("LedgerUnavailable: ").startswith("lost the connection to the ledger's database (")
    assert not any(str(customer) in said for customer in campaign.customers)
    return True


def play(houses: Houses, broken: Task, fault: Fault, *, step: int) -> int:
    """Break one task at every `step`-th commit of it, each time on a new sandbox; return how often it broke."""
    for times in count():
        breaker = Breaker()
        with houses() as sandboxed:
            breaks(sandboxed.ledger.engine, breaker)
            campaign = Campaign(sandboxed)
            for task in tasks_with(broken):
                if task is broken:
                    breaker.fault, breaker.at = fault, times * step
                    failed = failed_in_passing(campaign, task)
                    assert failed == (not breaker.is_due)
                    breaker.at = -1
                campaign.run(task)  # of the broken one, the retry
                if task is Task.SUBMIT:
                    sandboxed.sandbox.approve_all()
            campaign.resolve_doubt()
            campaign.assert_ended_well()
        if not failed:
            break
    return times


#: Break at every so-many-th commit of a task.
STEPS = {Fault.DISK_FULL: 1, Fault.GONE_AFTER: 2}


@pytest.fixture
def houses_on_sqlite(tmp_path: Path) -> Houses:
    template = tmp_path / "template.db"
    with Ledger(f"sqlite:///{template}", new=True) as empty:
        create(empty.engine)

    @contextmanager
    def new() -> Iterator[EngineOnSandbox]:
        shutil.copy(template, tmp_path / "ledger.db")
        with house_on(f"sqlite:///{tmp_path}/ledger.db") as sandboxed:
            yield sandboxed
        for left in tmp_path.glob("ledger.db*"):
            left.unlink()

    return new


@pytest.fixture
def houses_on_postgresql(empty_database: Callable[[str], URL]) -> Houses:  # noqa: F811 - the fixture above
    url = empty_database("postgresql")
    with Ledger(url, new=True) as empty:
        create(empty.engine)

    @contextmanager
    def new() -> Iterator[EngineOnSandbox]:
        with house_on(url) as sandboxed:
            with sandboxed.ledger.write() as tx:
                for table in reversed(metadata.sorted_tables):
                    tx.conn.execute(table.delete())
            yield sandboxed

    return new


@contextmanager
def house_on(url: str | URL) -> Iterator[EngineOnSandbox]:
    clock = ShiftedClock()
    # Both clocks go on with what is slept: one that jumps by itself holds every doubt for a lag.
    of_platform = running_sandbox(clock=lambda: clock().timestamp())
    with of_platform as sandbox, Ledger(url, clock=clock) as ledger:
        yield EngineOnSandbox(ledger, sandbox, settings_of(sandbox.url), clock)


@pytest.mark.parametrize("fault", list(_CODES), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("task", list(Task))
def test_sqlite_breaks_at_a_commit(houses_on_sqlite: Houses, task: Task, fault: Fault) -> None:
    times = play(houses_on_sqlite, task, fault, step=STEPS.get(fault, 5))
    print(f"\n{task}, {fault}: {times} times")  # noqa: T201 - how many cases there were is the result
    assert times >= (5 if fault is Fault.DISK_FULL and task not in {Task.PLAN, Task.REPORT} else 1)


@pytest.mark.parametrize("fault", [Fault.SERIALIZATION, Fault.SERVER_GONE], ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("task", list(Task))
def test_postgresql_breaks_at_a_commit(houses_on_postgresql: Houses, task: Task, fault: Fault) -> None:
    times = play(houses_on_postgresql, task, fault, step=4)
    print(f"\n{task}, {fault}: {times} times")  # noqa: T201 - same
    assert times >= 1


def settings_of(url: str) -> PlatformSettings:
    return PlatformSettings(
        base_url=url,
        organisation_id="100458",
        login="sandbox-maker",
        password="sandbox-maker",
        calls_per_minute=60_000,
        cluster_timezone="Asia/Kolkata",
        visibility_lag_s=1,
        post_timeout_s=3,
        connect_timeout_s=1,
    )


@pytest.mark.parametrize("batch", ["requests", "enrolments"])
@pytest.mark.parametrize("fault", [Fault.DISK_FULL, Fault.GONE])
def test_a_database_that_breaks_while_a_plan_is_written_is_named(
    sandboxed: EngineOnSandbox, fault: Fault, batch: str
) -> None:
    breaker = Breaker(fault, at_batch=["requests", "enrolments"].index(batch))
    breaks(sandboxed.ledger.engine, breaker)
    campaign = Campaign(sandboxed)
    with pytest.raises(AirflowException, match="lost the connection to the ledger's database") as caught:
        campaign.run(Task.PLAN)
    assert breaker.at_batch < 0
    assert not isinstance(caught.value, AirflowFailException)
    for task in tasks_with(Task.PLAN):
        campaign.run(task)
        sandboxed.sandbox.approve_all()
    campaign.assert_ended_well()


def test_postgresqls_words_about_copied_rows_hold_no_customer(houses_on_postgresql: Houses) -> None:
    beyond = 2**63  # stands for any row at which the server stops

    def copy() -> None:
        with houses_on_postgresql() as sandboxed, airflow_failures(), sandboxed.ledger.write() as tx:
            copy_in(
                tx.conn, "badge_enrolment (occasion_id, customer_id, attempt, request_id)", [f"1\t{beyond}\t1\t1\n"]
            )

    with pytest.raises(AirflowException, match=r"lost the connection .* while customers were planned") as caught:
        copy()
    assert str(beyond) not in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_read_only_file_fails_as_one_that_may_pass(tmp_path: Path) -> None:
    """The real thing once: SQLite itself refuses to write."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    with Ledger(url) as ledger:
        with ledger.engine.connect() as conn:
            conn.exec_driver_sql("PRAGMA query_only=ON")

        def write() -> None:
            with airflow_failures(), ledger.write() as tx:
                tx.conn.execute(badge_run.delete())

        with pytest.raises(AirflowException, match="lost the connection") as caught:
            write()
    assert not isinstance(caught.value, AirflowFailException)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """The real thing once: the file may not grow, and grows again later."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url, new=True) as empty:
        create(empty.engine)
    spec = Spec("https://platform.example/1", "b" * 24, "Loyalty", "1", "1", "2", "3", "4", "https://platform.example")
    order = Order("gold", "run", "extract", "capillary", "gold", "gold", spec, canary=False)
    with Ledger(url) as ledger:
        limit: list[int] = [0]

        def full(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
            if limit[0]:
                dbapi_connection.execute(f"PRAGMA max_page_count={limit[0]}")

        event.listen(ledger.engine, "connect", full)
        ledger.engine.dispose()
        with ledger.engine.connect() as conn:
            limit[0] = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        ledger.engine.dispose()
        with pytest.raises(AirflowException, match="lost the connection"), airflow_failures():
            plan_rows(ledger, [list(range(1, 2_001))], order)
        limit[0] = 0
        ledger.engine.dispose()
        assert plan_rows(ledger, [list(range(1, 2_001))], order).planned == 2_000


def test_a_damaged_ledger_fails_a_task_for_good() -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    with pytest.raises(AirflowFailException, match="restore the ledger from its backup"), airflow_failures():
        raise DBAPIError("SELECT", None, error)
