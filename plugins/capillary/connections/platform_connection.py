"""The platform's settings, as an Airflow connection of type `capillary` or `http` says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from airflow.sdk import Connection

from capillary.api.errors import SettingsInvalid
from capillary.api.settings import PlatformSettings
from capillary.api.settings_fields import BOUNDS
from capillary.connections.as_typed import assert_as_typed, json_object
from capillary.connections.errors import ConnectionInvalid
from capillary.connections.fields import as_number, as_switch, as_text, nearest
from capillary.connections.http_connection import OPTIONS, TYPES, address_of, http_meaning

#: Names the connection whose login and password are the till of the wrapped call.
INNER_CONN_ID: Final = "inner_conn_id"
#: Fields of `PlatformSettings` that stand in the connection itself, or in the inner one.
_OWN_FIELDS: Final = {
    "base_url": "host",
    "login": "login",
    "password": "password",
    "inner_login": "login",
    "inner_password": "password",
}
#: Every extra of ours; with the HTTP provider's `OPTIONS` all that are read. Another one is refused, since a misspelt
#: `submitting` would submit.
EXTRAS: Final = frozenset(each.name for each in fields(PlatformSettings)) - frozenset(_OWN_FIELDS) | {INNER_CONN_ID}
_SWITCHES: Final = frozenset(each.name for each in fields(PlatformSettings) if isinstance(each.default, bool))
#: Other words for an extra, too far from it to be taken for misspelt.
_ELSEWHERE: Final = {
    "org_id": "organisation_id",
    "ca_file": "verify",
    "ca_bundle": "verify",
    "verify_tls": "verify",
    "ssl_verify": "verify",
    "client_cert": "cert",
    "http_proxy": "proxies",
    "https_proxy": "proxies",
    "timezone": "cluster_timezone",
    "rate_limit": "calls_per_minute",
}


def settings_of(connection: Connection, inner: Connection | None = None) -> PlatformSettings:
    """Return what a connection says about its account.

    Empty extras mean the default; numbers and booleans may be written as text, as in a connection's URI.

    Args:
        connection: of type `capillary`, or `http`, read by the rules of Airflow's HTTP provider (`http_connection`).
        inner: the connection that `inner_conn_id` names: login and password of the wrapped call, and its
            address where it has a host and `inner_hostname` is not given.

    Raises:
        ConnectionInvalid: naming the connection and the field.
    """
    if connection.conn_type not in TYPES:
        raise ConnectionInvalid(
            conn_id=connection.conn_id,
            field="conn_type",
            problem=f"a connection of type {connection.conn_type!r} leads to no platform",
            remedy="Give a connection of type capillary or http",
        )
    extras = _extras(connection)
    meaning = http_meaning(connection, {name: value for name, value in extras.items() if name in OPTIONS})
    given = dict(meaning.options) | {
        name: _converted(name, value) for name, value in extras.items() if name not in OPTIONS and name != INNER_CONN_ID
    }
    given.setdefault("organisation_id", "")
    given |= {
        "base_url": meaning.base_url,
        "login": connection.login or "",
        "password": connection.password or "",
    }
    spelled = {name: extra for name, extra in meaning.spelled.items() if name not in extras}
    named = {name: (connection.conn_id, own) for name, own in {**spelled, **_OWN_FIELDS}.items()}
    if inner is not None:
        of_inner = _inner(connection, inner, given)
        given |= of_inner
        named |= {name: (inner.conn_id, _OWN_FIELDS.get(name, "host")) for name in of_inner}
    try:
        return PlatformSettings(**given)  # type: ignore[arg-type] # the class checks its own types
    except SettingsInvalid as error:
        conn_id, name = named.get(error.field, (connection.conn_id, error.field))
        if inner is None and error.field in {"inner_login", "inner_password"}:
            name = INNER_CONN_ID
        raise ConnectionInvalid(conn_id=conn_id, field=name, problem=error.problem, remedy=error.remedy) from None


def inner_conn_id(connection: Connection) -> str | None:
    """Return the id of the connection whose till runs the wrapped call; None where the connection's own does.

    Raises:
        ConnectionInvalid: it is not an id, or the connection's own; or the extras are none.
    """
    value = _extras(connection).get(INNER_CONN_ID)
    if value is None:
        return None
    if not isinstance(value, str) or value == connection.conn_id:
        raise ConnectionInvalid(
            conn_id=connection.conn_id,
            field=INNER_CONN_ID,
            problem="it names no other connection",
            remedy="Give the id of the connection with the inner till, or leave it out",
        )
    return value


def _inner(connection: Connection, inner: Connection, given: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that the inner connection says."""
    assert_as_typed(inner)
    for name in ("login", "password"):
        if not getattr(inner, name):
            raise ConnectionInvalid(
                conn_id=inner.conn_id,
                field=name,
                problem="it is missing, and the wrapped call needs a till",
                remedy=f"Fill it in, or clear {INNER_CONN_ID} of connection {connection.conn_id!r}",
            )
    found: dict[str, object] = {"inner_login": inner.login, "inner_password": inner.password}
    if inner.host and "inner_hostname" not in given:
        found["inner_hostname"] = address_of(inner)
    return found


def _extras(connection: Connection) -> Mapping[str, object]:
    """Return the extras of a platform's connection that say something."""
    found = json_object(connection, example='{"organisation_id": "100458"}')
    for name in found:
        if name not in EXTRAS | OPTIONS:
            meant = _ELSEWHERE.get(name.lower()) or nearest(name, EXTRAS | OPTIONS)
            raise ConnectionInvalid(
                conn_id=connection.conn_id,
                field=name,
                problem="there is no such extra, and none is sent as a header",
                remedy=f"Write {meant}" if meant else f"Remove it; there are {', '.join(sorted(EXTRAS | OPTIONS))}",
            )
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _converted(name: str, value: object) -> object:
    """Return an extra as its field wants it; what cannot be converted is left to the field's own check."""
    if name in BOUNDS:
        return as_number(value)
    return as_switch(value) if name in _SWITCHES else as_text(value)
