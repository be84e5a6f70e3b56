"""A connection as it was typed: what is said twice, is not a port, or holds what nobody sees is refused by field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Connection

from capillary.connections.as_typed import json_object
from capillary.connections.errors import ConnectionInvalid
from capillary.connections.platform_connection import settings_of
from capillary.connections.warehouse import database_engine_of
from capillary.hooks import CapillaryHook, ledger_url_of
from capillary.visible_text import invisible

PLATFORM: dict[str, Any] = {
    "conn_type": "capillary",
    "host": "https://eu.api.example",
    "login": "maker",
    "password": "hunter2-secret",
    "extra": {"organisation_id": "100458"},
}
POSTGRES: dict[str, Any] = {
    "conn_type": "postgres",
    "host": "db.example",
    "login": "reader",
    "password": "hunter2-secret",
    "schema": "mart",
}
#: what nobody sees, by what it is called
UNSEEN = {
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "no-break space": "\u00a0",
    "narrow no-break space": "\u202f",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "direction": "\u200e",
    "override": "\u202e",
    "line separator": "\u2028",
    "ideographic space": "\u3000",
    "word joiner": "\u2060",
    "line feed": "\n",
    "carriage return": "\r",
    "tab": "\t",
    "NUL": "\x00",
    "C1": "\x85",
    "Hangul filler": "\u3164",
    "Braille blank": "\u2800",
    "selector": "\ufe0f",
    "tag": "\U000e0041",
}
USERS: dict[str, tuple[dict[str, Any], Callable[[str], object]]] = {
    "platform": (PLATFORM, lambda conn_id: CapillaryHook(conn_id).get_settings()),
    "platform, in a trigger": (PLATFORM, lambda conn_id: asyncio.run(CapillaryHook(conn_id).aget_settings())),
    "warehouse": (POSTGRES, database_engine_of),
    "ledger": (POSTGRES, ledger_url_of),
}


def refused(look: Callable[[str], object]) -> str:
    with pytest.raises(ConnectionInvalid) as caught:
        look("typed")
    said = str(caught.value)
    assert "hunter2" not in said
    return said


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", UNSEEN)
@pytest.mark.parametrize("field", ["host", "login", "password"])
def test_what_nobody_sees_is_refused_by_its_field(
    monkeypatch: pytest.MonkeyPatch, user: str, name: str, field: str
) -> None:
    fields, look = USERS[user]
    sign = UNSEEN[name]
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", json.dumps({**fields, field: fields[field] + sign}))
    assert refused(look) == (
        f"Connection 'typed', field {field!r}: it holds an invisible character (U+{ord(sign):04X}). Type it, or "
        "paste it again without one."
    )


@pytest.mark.parametrize("name", sorted(set(UNSEEN) - {"line feed", "carriage return", "tab", "NUL"}))
@pytest.mark.parametrize("extra", ["organisation_id", "oauth_key", "oauth_secret", "ui_token", "environment"])
def test_an_extra_of_the_platform_holds_none_either(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    text = f"1004{UNSEEN[name]}58"
    monkeypatch.setenv(
        "AIRFLOW_CONN_TYPED", json.dumps({**PLATFORM, "extra": {"organisation_id": "100458", extra: text}})
    )
    said = refused(USERS["platform"][1])
    assert said.startswith(f"Connection 'typed', field {extra!r}: it holds an invisible character (U+")


def test_the_inner_till_is_looked_at_as_well() -> None:
    own = Connection(conn_id="typed", **{**PLATFORM, "extra": '{"organisation_id": "1", "inner_conn_id": "till"}'})
    inner = Connection(conn_id="till", conn_type="http", login="till", password="hunter2\u200b")
    with pytest.raises(ConnectionInvalid, match=r"'till', field 'password': it holds an invisible character"):
        settings_of(own, inner)


@pytest.mark.parametrize(
    "text", ["", "maker", "a b", "Zoë Müller", "密码", "пароль", "p@$$ w0rd!", "e\u0301", "👍", "١"]
)
def test_what_is_seen_is_left_alone(text: str) -> None:
    assert invisible(text) is None


VARIABLE = "AIRFLOW_CONN_TYPED"
TWICE = '{"organisation_id": "100458", "submitting": false, "submitting": true}'


@pytest.mark.parametrize(
    ("raw", "field", "where"),
    [
        (json.dumps({**PLATFORM, "extra": TWICE}), "submitting", "the extra"),
        (f'{{"conn_type": "capillary", "host": "x.example", "extra": {TWICE}}}', "submitting", VARIABLE),
        ('{"conn_type": "capillary", "host": "a.example", "host": "b.example"}', "host", VARIABLE),
        (json.dumps({**PLATFORM, "extra": '{"proxies": {"http": "a", "http": "b"}}'}), "http", "the extra"),
        ("capillary://x.example/?organisation_id=1&submitting=false&submitting=true", "submitting", VARIABLE),
    ],
)
def test_what_is_said_twice_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, raw: str, field: str, where: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", raw)
    said = f"Connection 'typed', field {field!r}: {where} gives it twice, and the last one would count"
    assert refused(USERS["platform"][1]) == f"{said}. Leave one of the two out."


@pytest.mark.parametrize("user", ["warehouse", "ledger"])
def test_the_extra_of_a_database_says_nothing_twice(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    extra = '{"sslmode": "verify-full", "sslmode": "disable"}'
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", json.dumps({**POSTGRES, "extra": extra}))
    assert "field 'sslmode': the extra gives it twice" in refused(USERS[user][1])


@pytest.mark.parametrize("port", ["true", "false", "8443.5", "0.5"])
@pytest.mark.parametrize("user", USERS)
def test_a_port_that_is_no_number_is_not_made_one(monkeypatch: pytest.MonkeyPatch, user: str, port: str) -> None:
    fields, look = USERS[user]
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", json.dumps({**fields, "port": json.loads(port)}))
    assert f"field 'port': it is {port} in AIRFLOW_CONN_TYPED, of which Airflow makes" in refused(look)


@pytest.mark.parametrize("port", [5432, "5432", 5432.0, None, 0])
def test_a_port_is_taken_as_airflow_takes_it(monkeypatch: pytest.MonkeyPatch, port: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", json.dumps({**POSTGRES, "port": port}))
    assert ledger_url_of("typed").partition("?")[0].endswith("@db.example:5432/mart" if port else "@db.example/mart")


def test_a_variable_that_does_not_define_the_connection_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secrets backend comes before the environment."""
    monkeypatch.setenv("AIRFLOW_CONN_TYPED", '{"conn_type": "capillary", "host": "other", "host": "others"}')
    found = Connection(conn_id="typed", conn_type="capillary", host="https://x.example", extra='{"a": 1, "b": [1, 1]}')
    assert json_object(found, example="{}") == {"a": 1, "b": [1, 1]}
