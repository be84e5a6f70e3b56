"""The ledger's connection as Airflow keeps it: honoured, or refused by name, in every task and command."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import _secrets_masker
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import make_url, text

from capillary.connections.errors import ConnectionInvalid, ConnectionUnusable
from capillary.connections.ledger import HARMLESS, UNABLE
from capillary.connections.warehouse import database_engine_of
from capillary.hooks import (
    aledger_url_of,
    ledger_url_of,
)
from capillary.operators import IssueBadgeOperator, PlanBadgesOperator, ReportBadgesOperator
from capillary.sensors import BadgeRequestSensor
from capillary.upkeep import BadgeUpkeepOperator, MigrateLedgerOperator
from tests.glue.conftest import BADGE, SQL, Place

SERVER: dict[str, Any] = {"conn_type": "postgres", "host": "db", "login": "badges", "password": "p@ss/word"}


def define(monkeypatch: pytest.MonkeyPatch, extra: object, **facts: object) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("AIRFLOW_CONN_BADGE_LEDGER", json.dumps({**SERVER, **facts, "extra": extra}))


@pytest.mark.parametrize("extra", ["{broken", "[]", '["sslmode"]', '"sslmode"', "5", "null", "true"])
@pytest.mark.parametrize("conn_type", ["postgres", "sqlite"])
async def test_an_extra_that_is_no_object_is_told(conn_type: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "{}", host="/var/lib/ledger.db" if conn_type == "sqlite" else "db", conn_type=conn_type)
    connection = Connection(conn_id="badge_ledger", **{**SERVER, "conn_type": conn_type, "host": "/l"}, extra=extra)
    monkeypatch.setattr("capillary.hooks.BaseHook.get_connection", lambda _: connection)

    async def given(_: str) -> Connection:
        return connection

    monkeypatch.setattr("capillary.hooks.BaseHook.aget_connection", given)
    sentence = "Connection 'badge_ledger', field 'extra': it is not a JSON object"
    with pytest.raises(ConnectionInvalid, match=sentence):
        ledger_url_of("badge_ledger")
    with pytest.raises(ConnectionInvalid, match=sentence):
        await aledger_url_of("badge_ledger")
    with pytest.raises(ConnectionInvalid, match=sentence):
        database_engine_of("badge_ledger")


@pytest.mark.parametrize(
    ("extra", "field", "remedy"),
    [
        ({"ssl_mode": "require"}, "ssl_mode", "Write sslmode"),
        ({"sslMode": "require"}, "sslMode", "Write sslmode"),
        ({"extra__postgres__sslmode": "require"}, "extra__postgres__sslmode", "libpq knows no such parameter"),
        ({"sslmode": True}, "sslmode", "Write it as text"),
        ({"sslmode": {"mode": "require"}}, "sslmode", "Write it as text"),
        ({"keepalives_idle": [30]}, "keepalives_idle", "Write it as text"),
        ({"host": "other"}, "host", "given twice"),
        ({"user": "other"}, "user", "given twice"),
        ({"password": "other-guess-me"}, "password", "given twice"),
        ({"dbname": "other"}, "dbname", "given twice"),
        ({"port": 1}, "port", "given twice"),
        ({"replication": "database"}, "replication", "Remove it"),
        ({"client_encoding": "latin1"}, "client_encoding", "write utf8"),
        ({"connect_timeout": 0}, "connect_timeout", "without end"),
        ({"iam": True}, "iam", "takes no cloud tokens"),
        ({"iam": "true"}, "iam", "takes no cloud tokens"),
        ({"redshift": True}, "redshift", "Give the ledger PostgreSQL"),
        ({"redshift-serverless": 1}, "redshift-serverless", "Give the ledger PostgreSQL"),
        ({"sqlalchemy_query": {"sslmode": "require"}}, "sqlalchemy_query", "as an extra of its own"),
        ({"row_factory": "dict_row"}, "row_factory", "Remove it"),
    ],
    ids=lambda each: json.dumps(each) if isinstance(each, dict) else None,
)
def test_an_extra_that_would_not_be_honoured_is_refused_by_name(
    extra: dict[str, object], field: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, extra, port=5432, schema="ledger")
    with pytest.raises(ConnectionInvalid, match=f"Connection 'badge_ledger', field '{field}': .*{remedy}") as caught:
        ledger_url_of("badge_ledger")
    for secret in ("p@ss", "guess-me"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "query"),
    [
        ({}, {}),
        ({"sslmode": "require", "sslrootcert": "/etc/ca.crt"}, {"sslmode": "require", "sslrootcert": "/etc/ca.crt"}),
        ({"keepalives": False, "keepalives_idle": 5}, {"keepalives": "0", "keepalives_idle": "5"}),
        ({"sslmode": "", "sslcert": None}, {}),
        ({"options": "-c search_path=badges"}, {"options": "-c search_path=badges"}),
        ({"service": "badges", "passfile": "/etc/pgpass"}, {"service": "badges", "passfile": "/etc/pgpass"}),
        ({"hostaddr": "10.0.0.7"}, {"hostaddr": "10.0.0.7"}),
        ({"host": "db"}, {"host": "db"}),
        ({"load_balance_hosts": "random", "min_protocol_version": "3.0"},) * 2,
        ({"cursor": "dictcursor", "sqlalchemy_scheme": "postgresql+psycopg2", "aws_conn_id": "aws"}, {}),
        ({"iam": False, "redshift": "false", "sqlalchemy_query": {}}, {}),
    ],
    ids=json.dumps,
)
def test_every_other_extra_reaches_libpq(
    extra: dict[str, object], query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, extra)
    assert dict(make_url(ledger_url_of("badge_ledger")).query) == query


def test_the_extras_of_airflows_hook_are_all_known() -> None:
    assert HARMLESS.isdisjoint(UNABLE)
    assert HARMLESS | UNABLE.keys() == PostgresHook.ignored_extra_options


def test_a_socket_is_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, {"host": "/run/other"}, host="/run/postgresql")
    with pytest.raises(ConnectionInvalid, match="field 'host': it is given twice"):
        ledger_url_of("badge_ledger")


def test_a_file_takes_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, {"mode": "ro"}, conn_type="sqlite", host="/var/lib/ledger.db")
    with pytest.raises(ConnectionInvalid, match="field 'mode': a ledger in SQLite takes no extras"):
        ledger_url_of("badge_ledger")


async def test_a_password_in_any_form_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, {"sslpassword": "key of the/certificate"}, password="till the/end")
    for url in (ledger_url_of("badge_ledger"), await aledger_url_of("badge_ledger")):
        shown = str(_secrets_masker().redact(f"seen: {url} with till the/end and key of the/certificate"))
        for part in ("till", "end", "certificate", "key"):
            assert part not in shown


@pytest.mark.parametrize(
    "value", ["{broken", "postgres://maker:guess-me@db:port/ledger", '{"conn_type": "postgres", "port": "many"}']
)
async def test_a_variable_that_cannot_be_read_is_not_called_missing(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("AIRFLOW_CONN_BADGE_LEDGER", value)
    sentence = "variable AIRFLOW_CONN_BADGE_LEDGER is neither JSON nor a URI that can be read"
    with pytest.raises(ConnectionUnusable, match=sentence) as caught:
        ledger_url_of("badge_ledger")
    assert "guess-me" not in str(caught.value)
    with pytest.raises(ConnectionUnusable, match=sentence):
        await aledger_url_of("badge_ledger")


@pytest.mark.parametrize(
    "extra", [{"sqlalchemy_query": "sslmode"}, {"sqlalchemy_scheme": "mysql"}, {"sqlalchemy_scheme": "postgresql+none"}]
)
def test_a_warehouse_whose_extra_makes_no_address_is_told(
    extra: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, extra)
    with pytest.raises(
        ConnectionUnusable, match="Connection 'badge_ledger' of type 'postgres' does not make a database address"
    ):
        database_engine_of("badge_ledger")


@dataclass(frozen=True)
class Way:
    """A way in which the ledger cannot be opened.

    Attributes:
        facts: of the connection.
        says: what the sentence holds.
        again: whether Airflow shall try the task again.
    """

    facts: dict[str, object]
    says: str
    again: bool


WAYS = {
    "extra": Way({**SERVER, "extra": {"ssl_mode": "require"}}, "field 'ssl_mode'", again=False),
    "broken extra": Way({**SERVER, "extra": "{broken"}, "field 'extra'", again=False),
    "away": Way({**SERVER, "host": "127.0.0.1", "port": 1}, "nothing listens there", again=True),
    "unknown host": Way({**SERVER, "host": "nowhere.invalid"}, "no address is known for its host", again=True),
    "folder": Way({"conn_type": "sqlite", "host": "/nowhere/at/all/ledger.db"}, "its folder is missing", again=False),
    "dialect": Way({"conn_type": "mysql", "host": "db"}, "cannot live there", again=False),
    "future": Way({}, "does not know", again=True),
}
TASKS: dict[str, Callable[[Place], object]] = {
    "plan": lambda place: PlanBadgesOperator(task_id="t", sql=SQL, **BADGE).execute(place.context()),
    "submit": lambda place: IssueBadgeOperator(task_id="t", customers=[1], **BADGE).execute(place.context()),
    "wait": lambda place: BadgeRequestSensor(task_id="t", plan=planned()).execute(place.context()),
    "poke": lambda place: BadgeRequestSensor(task_id="t", plan=planned(), mode="reschedule").poke(place.context()),
    "report": lambda place: ReportBadgesOperator(task_id="t", plan=planned()).execute(place.context()),
    "migrate": lambda place: MigrateLedgerOperator(task_id="t").execute(place.context()),
    "upkeep": lambda place: BadgeUpkeepOperator(task_id="t").execute(place.context()),
}


def planned() -> dict[str, object]:
    """Return what a task that plans hands on."""
    counts = dict.fromkeys(("requests", "eligible", "invalid", "duplicates", "known_before", "over_cap", "planned"), 1)
    known = {"known_elsewhere": 0, "known_through": ""}
    return {"badge_run_id": 1, "canary": False, "waits_for_canary": False, **counts, **known, "token": "0" * 32}


#: A wait looks at a newer ledger again in place of failing: test_wait_through_changes.py.
_WAITS_ON: Final = {("wait", "future"), ("poke", "future")}


_CASES: Final = [(task, way) for task in TASKS for way in WAYS if (task, way) not in _WAITS_ON]


@pytest.mark.parametrize(("task", "way"), _CASES)
def test_every_task_says_in_one_sentence_why_the_ledger_cannot_be_opened(
    place: Place, task: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    facts, says, again = WAYS[way].facts, WAYS[way].says, WAYS[way].again
    if facts:
        place.connect("badge_ledger", **facts)
    else:
        with place.ledger.write() as tx:
            tx.conn.execute(text("UPDATE badge_ledger_version SET version_num = '9999'"))
    with caplog.at_level(logging.DEBUG), pytest.raises(AirflowException) as caught:
        TASKS[task](place)
    said = str(caught.value)
    assert says in said
    assert "\n" not in said
    assert isinstance(caught.value, AirflowFailException) is not again
    for secret in ("p@ss", "p%40ss"):
        assert secret not in said + caplog.text
    assert place.sandbox.platform.requests() == []


def command(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "_AIRFLOW"))}
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "capillary", "ledger", *arguments],
        env=kept | {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(root / "plugins")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["check", "upgrade", "import"])
def test_a_command_beside_an_airflow_that_is_not_migrated_says_so(tmp_path: Path, name: str) -> None:
    done = command(tmp_path, name)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("ledger: Airflow's database does not give connection 'badge_ledger' (OperationalError)")
    assert "airflow db migrate" in said
    assert "Traceback" not in done.stderr


def test_a_command_whose_connection_has_a_misspelt_extra_ends_with_1(tmp_path: Path) -> None:
    ledger = json.dumps({**SERVER, "extra": {"ssl_mode": "require"}})
    done = command(tmp_path, "check", AIRFLOW_CONN_BADGE_LEDGER=ledger)
    assert done.returncode == 1
    assert "Connection 'badge_ledger', field 'ssl_mode': libpq knows no such parameter" in done.stderr
    assert "Write sslmode" in done.stderr
    assert "Traceback" not in done.stderr
    assert "p@ss" not in done.stderr
