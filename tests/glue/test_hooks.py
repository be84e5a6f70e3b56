from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import _secrets_masker
from sqlalchemy import make_url, text

from capillary.api.errors import SettingsInvalid
from capillary.api.settings import PlatformSettings
from capillary.connections.errors import ConnectionInvalid, ConnectionMissing, ConnectionUnusable
from capillary.connections.platform_connection import EXTRAS, settings_of
from capillary.connections.warehouse import database_engine_of
from capillary.errors import CapillaryError
from capillary.hooks import CapillaryHook, aledger_url_of, ledger_url_of
from capillary.ledger.errors import LedgerRefused
from capillary.links import CheckerPageLink
from sandbox.server import running_sandbox

PASSWORD = "not-a-password"


def platform(extra: dict[str, object] | str | None = None, **own: Any) -> Connection:  # noqa: ANN401 - the fields of a connection
    facts = {"conn_type": "capillary", "host": "eu.example.com", "login": "till", "password": PASSWORD} | own
    if not isinstance(extra, str):
        extra = json.dumps({"organisation_id": "7"} | (extra or {}))
    return Connection(conn_id="capillary", extra=extra, **facts)


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **facts: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(facts))


@pytest.mark.parametrize(
    ("own", "base_url"),
    [
        ({"host": "https://eu.example.com/"}, "https://eu.example.com"),
        ({"host": "eu.example.com"}, "https://eu.example.com"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8090}, "http://127.0.0.1:8090"),
        ({"host": "http://127.0.0.1", "port": 8090}, "http://127.0.0.1:8090"),
    ],
)
def test_host_port_and_schema_make_the_address(own: dict[str, Any], base_url: str) -> None:
    assert settings_of(platform(**own)).base_url == base_url


def test_every_setting_can_come_from_a_form_or_as_text() -> None:
    written = {"organisation_id": 7, "submitting": "off", "calls_per_minute": "60", "read_timeout_s": "30.5"}
    settings = settings_of(platform({**written, "page_size": 50.0, "environment": None, "proxy": ""}))
    assert (settings.organisation_id, settings.submitting, settings.calls_per_minute) == ("7", False, 60)
    assert (settings.read_timeout_s, settings.page_size, settings.proxy) == (30.5, 50, None)


def test_the_account_address_keeps_the_account_when_the_host_moves() -> None:
    before = settings_of(platform())
    moved = settings_of(platform({"account_address": " https://EU.example.com/ "}, host="gateway.example/loyalty"))
    assert moved.account == before.account == "eu.example.com/7"
    assert moved.base_url == "https://gateway.example/loyalty"
    assert settings_of(platform({"account_address": ""}, host="gateway.example")).account == "gateway.example/7"
    with pytest.raises(
        ConnectionInvalid, match="'capillary', field 'account_address': it is not an http or https address"
    ):
        settings_of(platform({"account_address": "ftp://eu.example.com"}))


def test_extras_are_the_settings_that_have_no_field_of_their_own() -> None:
    own = {"base_url", "login", "password", "inner_login", "inner_password"}
    assert {each.name for each in fields(PlatformSettings)} - own | {"inner_conn_id"} == EXTRAS


@pytest.mark.parametrize(
    ("connection", "field"),
    [
        (platform({"calls_per_minute": "many"}), "calls_per_minute"),
        (platform({"calls_per_minute": 0}), "calls_per_minute"),
        (platform({"submitting": "perhaps"}), "submitting"),
        (platform({"submiting": False}), "submiting"),
        (platform({"organisation_id": ["7"]}), "organisation_id"),
        (platform("{broken"), "extra"),
        (platform("[]"), "extra"),
        (platform("{}"), "organisation_id"),
        (platform(host=""), "host"),
        (platform(host="ftp://eu.example.com"), "host"),
        (platform(password=""), "password"),
    ],
)
def test_a_wrong_field_is_named_with_its_connection_and_without_its_value(connection: Connection, field: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"Connection 'capillary', field '{field}': ") as caught:
        settings_of(connection)
    assert caught.value.field == field
    assert PASSWORD not in str(caught.value)


def test_the_inner_till_comes_from_its_own_connection() -> None:
    inner = Connection(
        conn_id="inner", conn_type="capillary", host="in.example.com", login="two", password="secret-two"
    )
    settings = settings_of(platform({"inner_conn_id": "inner"}), inner)
    assert (settings.inner_login, settings.inner_hostname) == ("two", "https://in.example.com")
    with pytest.raises(SettingsInvalid, match="Connection 'inner', field 'password'"):
        settings_of(platform(), Connection(conn_id="inner", conn_type="capillary", login="two"))


async def test_both_hooks_read_the_same_settings_and_mask_their_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = {"organisation_id": "7", "inner_conn_id": "inner_till", "ui_token": "token-of-a-user"}
    facts: dict[str, object] = {"conn_type": "capillary", "host": "https://eu.example.com"}
    define(monkeypatch, "cap", **facts, login="till", password=PASSWORD, extra=extra)
    define(monkeypatch, "inner_till", conn_type="generic", login="two", password="secret-two")
    settings = await CapillaryHook("cap").aget_settings()
    assert settings == CapillaryHook("cap").get_settings()
    assert settings.inner_login == "two"
    for secret in settings.secrets():
        assert secret not in str(_secrets_masker().redact(f"seen: {secret}"))


async def test_a_missing_connection_is_named_with_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    with pytest.raises(ConnectionMissing, match=r"'absent'.*airflow connections add absent"):
        CapillaryHook("absent").get_settings()
    with pytest.raises(ConnectionMissing, match="'absent'"):
        await CapillaryHook("absent").aget_settings()
    with pytest.raises(ConnectionMissing, match="'absent'"):
        ledger_url_of("absent")


def test_the_connections_test_reads_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_sandbox() as sandbox:
        till = {"conn_type": "capillary", "host": sandbox.url, "login": "sandbox-maker"}
        extra = {"organisation_id": 100458}
        define(monkeypatch, "cap", **till, password="sandbox-maker", extra=extra)
        good, said = CapillaryHook("cap").test_connection()
        assert (good, "submitting is on" in said) == (True, True), said
        define(monkeypatch, "cap", **till, password="wrong-password", extra=extra)
        good, said = CapillaryHook("cap").test_connection()
        assert (good, "refused" in said) == (False, True), said
    define(monkeypatch, "cap", **till, extra=extra)
    assert CapillaryHook("cap").test_connection()[0] is False


async def test_the_ledger_is_postgresql_or_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "file", conn_type="sqlite", host="/var/lib/badges/ledger.db")
    server = {"host": "db", "login": "badges", "password": "p@ss/word", "schema": "badge_ledger"}
    extra = {"sslmode": "require", "cursor": "dictcursor"}
    define(monkeypatch, "server", conn_type="postgres", **server, port=5433, extra=extra)
    assert ledger_url_of("file") == "sqlite:////var/lib/badges/ledger.db"
    url = "postgresql+psycopg://badges:p%40ss%2Fword@db:5433/badge_ledger?sslmode=require"
    assert ledger_url_of("server") == await aledger_url_of("server") == url
    define(monkeypatch, "socket", conn_type="postgres", host="/run/postgresql", login="me", schema="badge_ledger")
    parsed = make_url(ledger_url_of("socket"))
    assert (parsed.host, parsed.database, parsed.query["host"]) == (None, "badge_ledger", "/run/postgresql")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"conn_type": "sqlite", "host": "ledger.db"}, "absolute path"),
        ({"conn_type": "sqlite"}, "absolute path"),
        ({"conn_type": "snowflake", "host": "x"}, "'snowflake'"),
    ],
)
def test_other_ledgers_are_refused(facts: dict[str, object], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "badge_ledger", **facts)
    with pytest.raises(LedgerRefused, match=reason):
        ledger_url_of("badge_ledger")


def test_the_warehouse_engine_comes_from_its_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "w.db")) as file:
        file.execute("CREATE TABLE member (customer_id INTEGER)")
    define(monkeypatch, "warehouse", conn_type="sqlite", host=str(tmp_path / "w.db"))
    engine = database_engine_of("warehouse")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
    for kind in ("http", "generic", "nothing_known"):
        define(monkeypatch, "warehouse", conn_type=kind, host="https://example.com")
        with pytest.raises(ConnectionUnusable, match=f"'warehouse' of type '{kind}'"):
            database_engine_of("warehouse")


def test_the_link_is_the_checkers_page_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    facts: dict[str, object] = {"conn_type": "capillary", "host": "https://eu.example.com", "login": "till"}
    page = {"organisation_id": "7", "checker_url": "https://in.example.com/requests"}
    define(monkeypatch, "cap", **facts, password=PASSWORD, extra=page)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")

    def link(**operator: object) -> str:
        return CheckerPageLink().get_link(cast("Any", SimpleNamespace(**operator)), ti_key=cast("Any", None))

    assert link(capillary_conn_id="cap") == "https://in.example.com/requests"
    assert link(capillary_conn_id="absent") == link() == ""
    define(monkeypatch, "cap", **facts)
    assert link(capillary_conn_id="cap") == ""


def test_errors_are_this_projects_own() -> None:
    assert issubclass(ConnectionMissing, CapillaryError)


def test_a_command_finds_a_connection_in_airflows_database(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "_AIRFLOW"))} | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(root / "plugins"),
    }

    def python(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    python("-m", "airflow", "db", "migrate")
    ledger = tmp_path / "ledger.db"
    python(
        *("-m", "airflow", "connections", "add", "badge_ledger"),
        *("--conn-type", "sqlite", "--conn-host", str(ledger)),
    )
    said = python("-c", "from capillary.hooks import ledger_url_of; print(ledger_url_of('badge_ledger'))")
    assert said.splitlines()[-1] == f"sqlite:///{ledger}"
