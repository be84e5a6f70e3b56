"""Real servers: a standby that is promoted, and a dump that is brought back into the same server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, NullPool, create_engine, text

from capillary.ledger.database import Ledger, Transaction
from capillary.ledger.errors import LedgerUnavailable
from capillary.ledger.server import Change, Server, told, unread_change
from tests.postgresql import Server as RunningServer
from tests.postgresql import ServerMissing, running_server
from tests.unit.ledger.conftest import Clock, migrated

DOUBT = timedelta(minutes=16)


@pytest.fixture(scope="module")
def primary() -> Iterator[RunningServer]:
    try:
        with running_server() as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def ledger(primary: RunningServer, clock: Clock) -> Iterator[Ledger]:
    """A ledger in a database of its own on the primary."""
    engine = create_engine(primary.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS failing WITH (FORCE)"))
        conn.execute(text("CREATE DATABASE failing"))
    engine.dispose()
    with Ledger(migrated(primary.url.set(database="failing")), clock=clock) as ledger:
        yield ledger


def run(server: RunningServer, command: str, *arguments: str) -> None:
    """Run one of the server's own commands, as the user that the server runs as."""
    user = "pgserver" if os.geteuid() == 0 else None
    subprocess.run([server.psql.parent / command, *arguments], user=user, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - the server's own commands


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user may write."""
    memory = Path("/dev/shm")  # noqa: S108 - a server whose machine dies is not looked at again
    made = Path(tempfile.mkdtemp(prefix="standby-", dir=memory if memory.is_dir() else None))
    if os.geteuid() == 0:
        user = pwd.getpwnam("pgserver")
        os.chown(made, user.pw_uid, user.pw_gid)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def look(ledger: Ledger, clock: Clock) -> Change | None:
    """Ask as a claim does that relies on a reading of the list that begins now."""
    with ledger.write() as tx:
        return unread_change(tx, list_read_at=clock.now, doubt_after=DOUBT)


def told_by(ledger: Ledger) -> Server:
    with ledger.write() as tx:
        server = told(tx)
    assert server is not None
    return server


def socket_of(url: URL) -> str:
    host = url.query.get("host") or url.host
    assert isinstance(host, str)
    return host


def test_a_promoted_standby_is_another_timeline_at_once_and_holds_claims(
    primary: RunningServer, ledger: Ledger, clock: Clock, folder: Path
) -> None:
    assert look(ledger, clock) is None
    before = told_by(ledger)
    connection = ("--host", socket_of(primary.url), "--port", str(primary.url.port or 5432), "--username", "postgres")
    copy = ("--pgdata", str(folder / "data"), "--checkpoint", "fast", "--write-recovery-conf")
    run(primary, "pg_basebackup", *connection, *copy)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c port=5433"
    run(primary, "pg_ctl", "--pgdata", str(folder / "data"), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        standby = URL.create(
            "postgresql+psycopg", username="postgres", database="failing", query={"host": str(folder), "port": "5433"}
        )
        engine = create_engine(standby, poolclass=NullPool)
        with engine.connect() as conn:
            assert told(Transaction(conn, clock.now)) == Server(before.system_identifier, "", before.requests_file)
        with pytest.raises(LedgerUnavailable, match="is a standby, which takes no writes"):
            Ledger(standby, clock=clock)
        run(primary, "pg_ctl", "--pgdata", str(folder / "data"), "-w", "promote")
        _until_it_writes(engine)
        with Ledger(standby, clock=clock) as promoted:
            assert told_by(promoted) == Server(before.system_identifier, "00000002", before.requests_file)
            clock.advance(minutes=1)
            found = clock.now
            assert look(promoted, clock) == Change(found, found + DOUBT)
            clock.advance(minutes=17)
            assert look(promoted, clock) is None
        assert look(ledger, clock) is None, "the primary that was left is what it was"
    finally:
        run(primary, "pg_ctl", "--pgdata", str(folder / "data"), "-m", "immediate", "-w", "stop")


def _until_it_writes(engine: Engine) -> None:
    deadline = time.monotonic() + 30
    while True:
        with engine.connect() as conn:
            if not conn.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("how", [("--clean",), ("--clean", "--if-exists", "--no-owner")])
def test_a_dump_brought_back_into_the_same_server_is_seen_by_the_tables_file(
    primary: RunningServer, ledger: Ledger, clock: Clock, folder: Path, how: tuple[str, ...]
) -> None:
    assert look(ledger, clock) is None
    before = told_by(ledger)
    connection = ("--host", socket_of(primary.url), "--port", str(primary.url.port or 5432), "--username", "postgres")
    dump = str(folder / "ledger.dump")
    run(primary, "pg_dump", *connection, "--format", "custom", "--file", dump, "failing")
    ledger.engine.dispose()
    run(primary, "pg_restore", *connection, "--dbname", "failing", *how, dump)
    clock.advance(minutes=1)
    with pytest.raises(LedgerUnavailable, match="the ledger was restored in the meantime"):
        look(ledger, clock)
    assert_is_found(ledger, clock, before)


@pytest.mark.parametrize("under_its_name", [False, True], ids=["another name", "its name"])
def test_a_copy_of_the_database_is_seen_by_its_number(
    primary: RunningServer, ledger: Ledger, clock: Clock, under_its_name: bool
) -> None:
    """It has the same identifier, timeline and file: fifty customers stood in two live requests."""
    assert look(ledger, clock) is None
    before = told_by(ledger)
    ledger.close()
    engine = create_engine(primary.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text("DROP DATABASE IF EXISTS copied WITH (FORCE)"))
        conn.execute(text("CREATE DATABASE copied TEMPLATE failing"))
        if under_its_name:
            conn.execute(text("DROP DATABASE failing WITH (FORCE)"))
            conn.execute(text("ALTER DATABASE copied RENAME TO failing"))
    engine.dispose()
    clock.advance(minutes=1)
    ledger.url = ledger.url if under_its_name else ledger.url.set(database="copied")
    assert_is_found(ledger, clock, before)


def assert_is_found(ledger: Ledger, clock: Clock, before: Server) -> None:
    """The ledger, opened once more, stands elsewhere on the same server."""
    with Ledger(ledger.url, clock=clock) as brought_back:
        after = told_by(brought_back)
        assert (after.system_identifier, after.timeline) == (before.system_identifier, before.timeline)
        assert after.requests_file != before.requests_file
        assert look(brought_back, clock) == Change(clock.now, clock.now + DOUBT)


def test_a_crash_of_the_server_is_no_change(primary: RunningServer, ledger: Ledger, clock: Clock) -> None:
    assert look(ledger, clock) is None
    data = _data_of(ledger)
    before = told_by(ledger)
    ledger.engine.dispose()
    run(primary, "pg_ctl", "--pgdata", data, "-m", "immediate", "-w", "restart")
    assert told_by(ledger) == before
    assert look(ledger, clock) is None


def _data_of(ledger: Ledger) -> str:
    with ledger.read() as tx:
        data: str = tx.conn.execute(text("SHOW data_directory")).scalar_one()
    return data
