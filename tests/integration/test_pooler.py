"""The ledger behind a real PgBouncer in transaction mode, where the next transaction has another session.

Two sessions of the server serve all clients here, and nothing resets them in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import psycopg
import pytest
from sqlalchemy import URL, create_engine, select, text

from capillary.airflow_errors import airflow_failures
from capillary.engine.plan import plan_rows
from capillary.engine.submit import submit_run
from capillary.engine.upkeep import keep_account
from capillary.engine.wait import advance
from capillary.ledger.database import Ledger
from capillary.ledger.errors import LedgerRefused, LedgerUnavailable
from capillary.ledger.guards import Guards
from capillary.ledger.migrate import create
from capillary.ledger.plan import Order, Plan
from capillary.ledger.plan_id import PlanId
from capillary.ledger.schema import badge_enrolment, badge_occasion, badge_request, badge_run, metadata
from capillary.ledger.spec import Spec
from sandbox.server import running_sandbox
from tests.integration.test_database_faults import settings_of
from tests.laboratory.engine_on_sandbox import LEASE, EngineOnSandbox, ShiftedClock
from tests.pooler import SESSIONS, pooler_or_skip, running_pooler
from tests.unit.ledger.conftest import empty_database, postgresql_server  # noqa: F401 - fixtures

#: Of the bar's table (T23).
ROUNDS = 40
#: Customers of each campaign in a round; both campaigns find half of them.
CUSTOMERS = 400
#: The digit of each campaign's badge.
BADGES = {"gold": "a", "silver": "b"}
#: What a session of the server may hold after its transactions, and how to see it.
STATE = {
    "statement": "SELECT name FROM pg_prepared_statements",
    "table": "SELECT relname FROM pg_class WHERE relname IN ('staged_copy', 'cleared_copy')",
    "cursor": "SELECT name FROM pg_cursors WHERE is_holdable",
    "lock": "SELECT locktype FROM pg_locks WHERE locktype = 'advisory'",
}


@pytest.fixture(scope="module")
def pooler(postgresql_server: URL) -> Iterator[URL]:  # noqa: F811 - the fixture above
    """A pooler before the server of this session; skipped where none can be started, but not in CI."""
    with pooler_or_skip(postgresql_server) as url:
        yield url


@pytest.fixture(scope="module")
def migrated(pooler: URL) -> URL:
    with Ledger(pooler, new=True) as ledger:
        create(ledger.engine)
    return pooler


@pytest.fixture
def pooled_url(migrated: URL) -> URL:
    """A ledger without rows behind the pooler."""
    with Ledger(migrated) as ledger, ledger.write() as tx:
        for table in reversed(metadata.sorted_tables):
            tx.conn.execute(table.delete())
    return migrated


def plan_id(plan: Plan) -> PlanId:
    assert plan.plan_id is not None
    return plan.plan_id


def order(campaign: str, badge: str, run_id: str) -> Order:
    spec = Spec("platform.example/1", badge * 24, "Loyalty", "1", "1", "2", "3", "4", "https://platform.example")
    return Order(
        dag_id=campaign,
        run_id=run_id,
        task_id="extract",
        capillary_conn_id="capillary",
        campaign=campaign,
        occasion=campaign,
        spec=spec,
        customers_per_request=150,
        canary=False,
        guards=Guards(max_jump=None, max_requests=None, max_open_requests=None),
    )


def test_the_pooler_gives_the_next_transaction_to_another_session(pooler: URL) -> None:
    """What all other tests here stand on: a session's state reaches strangers."""
    engine = create_engine(pooler, pool_size=2 * SESSIONS)
    clients = [engine.connect() for _ in range(2 * SESSIONS)]
    try:
        with clients[0].begin():
            clients[0].execute(text("CREATE TEMP TABLE left_behind (customer_id bigint)"))
        strangers = 0
        for client in clients[1:]:
            with client.begin():
                strangers += client.execute(text("SELECT to_regclass('left_behind') IS NOT NULL")).scalar_one()
        assert strangers > 0
    finally:
        for client in clients:
            client.close()
        engine.dispose()


def test_two_campaigns_at_once_never_mix(pooled_url: URL) -> None:
    """In 39 of 40 rounds customers of one campaign were planned for the other's badge before."""
    found = {"gold": range(1, 1 + CUSTOMERS), "silver": range(1 + CUSTOMERS // 2, 1 + CUSTOMERS * 3 // 2)}

    def plan(campaign: str, number: int, together: Barrier) -> Plan:
        customers = [100_000 * number + customer for customer in found[campaign]]
        batches = [customers[at : at + 50] for at in range(0, CUSTOMERS, 50)]
        with Ledger(pooled_url) as ledger:
            together.wait(timeout=30)
            return plan_rows(
                ledger, batches, order(campaign, campaign[0].replace("s", "a").replace("g", "b"), f"r{number}")
            )

    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            together = Barrier(2)
            plans = list(pool.map(plan, found, [number] * 2, [together] * 2))
            assert [(each.eligible, each.duplicates, each.known_before, each.planned) for each in plans] == [
                (CUSTOMERS, 0, 0, CUSTOMERS)
            ] * 2
    with Ledger(pooled_url) as ledger, ledger.read() as tx:
        rows = tx.conn.execute(
            select(badge_run.c.run_id, badge_run.c.campaign, badge_occasion.c.occasion, badge_enrolment.c.customer_id)
            .select_from(badge_enrolment)
            .join(badge_request, badge_request.c.id == badge_enrolment.c.request_id)
            .join(badge_run, badge_run.c.id == badge_request.c.badge_run_id)
            .join(badge_occasion, badge_occasion.c.id == badge_enrolment.c.occasion_id)
        ).all()
    assert len(rows) == 2 * ROUNDS * CUSTOMERS
    mixed = [
        row
        for row in rows
        if row.campaign != row.occasion or row.customer_id - 100_000 * int(row.run_id[1:]) not in found[row.campaign]
    ]
    assert mixed == []


async def test_a_run_goes_from_plan_to_outcome(pooled_url: URL) -> None:
    clock = ShiftedClock()
    with running_sandbox() as sandbox, Ledger(pooled_url, clock=clock) as ledger:
        sandboxed = EngineOnSandbox(ledger, sandbox, settings_of(sandbox.url), clock)
        first = sandboxed.plan(range(1, 8), size=2, run="first")
        async with sandboxed.sender() as sender:
            await submit_run(sender, plan_id(first), lease=LEASE)
            sandbox.approve_all()
            await advance(sender, plan_id(first), reader="task", lease=LEASE)
            second = sandboxed.plan(range(1, 10), size=2, run="second")
            assert (second.known_before, second.planned) == (7, 2)
            await submit_run(sender, plan_id(second), lease=LEASE)
            sandbox.approve_all()
            kept = await keep_account(sender, reader="upkeep")
        assert kept.settled == 1
        with ledger.read() as tx:
            outcomes = tx.conn.execute(select(badge_enrolment.c.customer_id, badge_enrolment.c.outcome)).all()
        assert sorted((row.customer_id, row.outcome) for row in outcomes) == [(n, "enrolled") for n in range(1, 10)]
        assert [len(sandboxed.requests_of(customer)) for customer in range(1, 10)] == [1] * 9


def test_no_session_keeps_anything(pooled_url: URL) -> None:
    with Ledger(pooled_url) as ledger:
        for number in range(12):  # the driver would prepare a statement at its sixth time
            plan_rows(ledger, [[1, 2, number + 3]], order("gold", "b", f"run {number}"))
    pooled = pooled_url.set(drivername="postgresql").render_as_string(hide_password=False)
    clients = [psycopg.connect(pooled, prepare_threshold=None) for _ in range(SESSIONS)]
    try:  # each keeps its transaction open, so that every session of the server is looked at
        sessions = {client.execute("SELECT pg_backend_pid()").fetchone() for client in clients}
        left = {
            name: [client.execute(query.encode()).fetchall() for client in clients] for name, query in STATE.items()
        }
    finally:
        for client in clients:
            client.close()
    assert len(sessions) == SESSIONS
    assert left == dict.fromkeys(STATE, [[]] * SESSIONS)


def test_options_that_the_pooler_refuses_are_an_error_and_no_other_ledger(pooled_url: URL) -> None:
    with pytest.raises((LedgerUnavailable, LedgerRefused)):
        Ledger(pooled_url.update_query_dict({"options": "-csearch_path=elsewhere"}))


def test_options_that_the_pooler_drops_are_an_error_and_no_other_ledger(
    pooled_url: URL,
    postgresql_server: URL,  # noqa: F811 - a fixture
) -> None:
    """The same connection without the pooler leads to another schema: sent twice, behind a passing canary."""
    asked = pooled_url.update_query_dict({"options": r"-c search_path=elsewhere,\ public -c statement_timeout=30s"})
    with running_pooler(postgresql_server, ignored="options") as dropping:
        here = asked.set(port=dropping.port)
        with pytest.raises(LedgerRefused, match="asks for search_path=elsewhere, public in its options") as caught:
            Ledger(here)
        assert "a pooler on the way drops options" in str(caught.value)
        with pytest.raises(LedgerRefused, match="asks for statement_timeout=30s"):
            Ledger(here.update_query_dict({"options": "-cstatement_timeout=30000"}))


def test_options_of_the_environment_that_the_pooler_drops_are_an_error(
    pooled_url: URL,
    postgresql_server: URL,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    refused = pytest.raises(LedgerRefused, match="asks for search_path=elsewhere in its options")
    with running_pooler(postgresql_server, ignored="options") as dropping, refused:
        Ledger(pooled_url.set(port=dropping.port))


@pytest.mark.parametrize("options", ["-cstatement_timeout=90000", "--statement_timeout=90s -c lock_timeout=2min"])
def test_options_that_hold_are_no_error(postgresql_server: URL, migrated: URL, options: str) -> None:  # noqa: F811
    assert migrated.database == postgresql_server.database
    with Ledger(postgresql_server.update_query_dict({"options": options})) as ledger, ledger.read() as tx:
        assert tx.conn.execute(text("SHOW statement_timeout")).scalar_one() == "90s"


def test_a_role_whose_default_is_repeatable_read_changes_nothing(pooled_url: URL, postgresql_server: URL) -> None:  # noqa: F811
    """477 of 600 takings of the pace failed under such a role."""
    database = postgresql_server.database
    engine = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = 'repeatable read'"))
    try:
        for url in (postgresql_server, pooled_url):
            with Ledger(url) as ledger, ledger.write() as tx:
                assert tx.conn.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    finally:
        with engine.connect() as conn:
            conn.execute(text(f'ALTER DATABASE "{database}" RESET default_transaction_isolation'))
        engine.dispose()


def test_a_slow_warehouse_holds_no_connection(pooled_url: URL, postgresql_server: URL) -> None:  # noqa: F811 - a fixture
    """A server that ends idle connections made every try of such an extract fail."""
    engine = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    backends = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slow extract' AND pid <> pg_backend_pid()"
    )
    seen: list[int] = []

    def batches() -> Iterator[list[object]]:
        for customer in range(1, 4):
            with engine.connect() as conn:
                seen.append(conn.execute(backends).scalar_one())
            yield [customer]

    direct = postgresql_server.update_query_dict({"application_name": "slow extract"})
    with Ledger(direct) as ledger, airflow_failures():
        with ledger.read():
            pass  # the badge was looked at first: it takes slots of the ledger's pace
        made = plan_rows(ledger, batches(), replace(order("gold", "b", "slow"), occasion="slow"))
    engine.dispose()
    assert seen == [0, 0, 0]
    assert made.planned == 3
